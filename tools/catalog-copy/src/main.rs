mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("catalog-copy", args::parse, run::run)
}
