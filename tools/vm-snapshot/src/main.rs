mod args;
mod drivers;
mod instance;
mod internal;
mod process;
mod run;
mod selftest;
mod state;

fn main() -> std::process::ExitCode {
    match internal::role() {
        Some(code) => code,
        None => edge::main("vm-snapshot", args::parse, run::run),
    }
}
