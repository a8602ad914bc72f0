mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("report-html", args::parse, run::run)
}
