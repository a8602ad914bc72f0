//! `--exec`: a command that runs while the site is served.

use edge::{Exit, Failure, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A command that is told to stop gets so long.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the command to its end. Gives its exit status, 128 and the signal when one killed it.
pub fn run(argv: &[OsString], url: &str) -> Result<u8> {
    let (program, arguments) = argv.split_first().ok_or_else(|| Failure::usage("no command after --"))?;
    let mut child = Command::new(program).args(arguments).env("SITE_URL", url).spawn().map_err(|error| {
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
        Failure::new(Exit::Unavailable, format!("cannot run \"{}\": {why}", program.display()))
    })?;
    // its number may be given to somebody else once it is waited for, so then it is forgotten
    let running = Arc::new(Mutex::new(Pid::from_raw(child.id().cast_signed())));
    let to_stop = running.clone();
    let cleanup = edge::on_exit(move || stop(&to_stop));
    let status = loop {
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        match child.try_wait() {
            Ok(Some(status)) => {
                *running = None;
                break status;
            }
            Ok(None) => {}
            Err(error) => {
                return Err(Failure::bug(format!("cannot wait for \"{}\": {error}", program.display())));
            }
        }
        drop(running);
        std::thread::sleep(Duration::from_millis(20));
    };
    cleanup.forget();
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

fn stop(running: &Mutex<Option<Pid>>) {
    let pid = || *running.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(first) = pid() else { return };
    let _ = kill_process(first, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while pid().is_some() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(stubborn) = pid() {
        let _ = kill_process(stubborn, Signal::KILL);
    }
}
