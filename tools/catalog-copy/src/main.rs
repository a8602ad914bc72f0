mod args;
mod configured;
mod crew;
mod gather;
mod place;
mod prepare;
mod read;
mod run;
mod spool;
mod version;
mod write;

fn main() -> std::process::ExitCode {
    edge::main("catalog-copy", args::parse, run::run)
}
