mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("vm-snapshot", args::parse, run::run)
}
