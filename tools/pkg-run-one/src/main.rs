mod args;
mod attempt;
mod config;
mod keyboard;
mod log;
mod marks;
mod output;
mod plan;
mod recipe;
mod record;
mod run;
mod script;
mod stage;
mod subject;
mod test_counts;
mod testbed;
mod verdict;
mod watch;

fn main() -> std::process::ExitCode {
    edge::main("pkg-run-one", args::parse, run::run)
}
