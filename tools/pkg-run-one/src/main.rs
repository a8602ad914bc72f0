mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("pkg-run-one", args::parse, run::run)
}
