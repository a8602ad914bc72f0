mod args;
mod check;
mod command;
mod run;
mod server;

fn main() -> std::process::ExitCode {
    edge::main("site-serve", args::parse, run::run)
}
