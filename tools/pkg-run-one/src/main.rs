mod args;
mod attempt;
mod bundle;
mod config;
mod machine;
mod plan;
mod recipe;
mod result;
mod run;
mod subject;
mod verdict;

fn main() -> std::process::ExitCode {
    edge::main("pkg-run-one", args::parse, run::run)
}
