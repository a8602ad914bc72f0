//! The edge between a program of the suite and the world: what it prints, how it fails, how it stops.
//!
//! Every program's `main` is one call of [`main`]. The program itself returns `Result<Done, Failure>` and never
//! prints to stderr or exits on its own; stdout is reached through [`out`], stderr through [`say`].

mod args;
mod cleanup;
mod failure;
mod files;
mod manners;
pub mod out;
pub mod progress;
pub mod say;

pub use args::{parse_args, parse_args_from, refuse_terminal_stdin};
pub use cleanup::{Cleanup, on_exit};
pub use failure::{Context, Exit, Failure, Result};
pub use files::{AtomicFile, read_input, write_atomic};
pub use manners::{Manners, MessageFormat};

use std::process::ExitCode;

/// What a program that did its work says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All of it: exit 0.
    All,
    /// Done, but the answer is no or some items failed, each told in the output: exit 1.
    No,
    /// The program ran a command of the user's and ends as that did.
    Status(u8),
}

/// Runs a program: parse, run, report, exit code.
///
/// `parse` turns the command line into a configuration and the common output flags (clap prints help and usage
/// errors itself, exit 2); `run` does the work. A closed stdout is no error: the program ends quietly.
pub fn main<C>(
    program: &'static str,
    parse: impl FnOnce() -> Result<(C, Manners)>,
    run: impl FnOnce(C) -> Result<Done>,
) -> ExitCode {
    say::set_program(program);
    cleanup::install_signal_handler();
    let result = parse().and_then(|(config, manners)| {
        say::set_manners(&manners);
        run(config)
    });
    let result = result.and_then(|done| out::flush().map(|()| done));
    cleanup::run_all();
    match result {
        Ok(Done::All) => ExitCode::from(Exit::Ok as u8),
        Ok(Done::No) => ExitCode::from(Exit::No as u8),
        Ok(Done::Status(status)) => ExitCode::from(status),
        Err(failure) if failure.is_closed_pipe() => ExitCode::from(Exit::Ok as u8),
        Err(failure) => {
            say::failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
