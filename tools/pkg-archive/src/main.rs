mod archive;
mod args;
mod catalogs;
mod content;
mod plan;
mod run;
mod sources;
mod trouble;
mod work;

fn main() -> std::process::ExitCode {
    edge::main("pkg-archive", args::parse, run::run)
}
