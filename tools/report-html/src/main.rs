mod args;
mod formats;
mod input;
mod model;
mod pages;
mod run;
mod site;
mod watch;

fn main() -> std::process::ExitCode {
    edge::main("report-html", args::parse, run::run)
}
