mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("pkg-archive", args::parse, run::run)
}
