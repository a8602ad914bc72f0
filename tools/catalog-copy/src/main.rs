mod args;
mod configured;
mod gather;
mod place;
mod read;
mod run;
mod spool;
mod version;
mod write;

fn main() -> std::process::ExitCode {
    edge::main("catalog-copy", args::parse, run::run)
}
