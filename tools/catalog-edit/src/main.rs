mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("catalog-edit", args::parse, run::run)
}
