mod apply;
mod args;
mod checkout;
mod diff;
mod directory;
mod git;
mod lines;
mod run;
mod select;
mod steps;

fn main() -> std::process::ExitCode {
    edge::main("catalog-edit", args::parse, run::run)
}
