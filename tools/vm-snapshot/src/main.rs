mod args;
mod copy;
mod drivers;
mod exec;
mod internal;
mod keeper;
mod list;
mod machines;
mod open;
mod owner;
mod process;
mod run;
mod selftest;
mod snapshots;
mod store;
mod terminal;

fn main() -> std::process::ExitCode {
    match internal::role() {
        Some(code) => code,
        None => edge::main("vm-snapshot", args::parse, run::run),
    }
}
