mod args;
mod run;

fn main() -> std::process::ExitCode {
    edge::main("site-serve", args::parse, run::run)
}
