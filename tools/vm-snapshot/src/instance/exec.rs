//! Commands in instances: exec, shell, status, copy-in, copy-out.

use crate::args::Exec;
use crate::drivers::{self, Request};
use crate::instance::terminal;
use crate::state::store::{Seat, Store};
use contract::testbed::Usage;
use edge::{Context, Done, Exit, Failure, Result, say};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// The file that a running command holds locked, shared; see `take`.
pub fn busy_file(dir: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(dir.join("busy"))
        .context(Exit::TryAgain, || format!("cannot enter instance \"{}\"", dir.display()))
}

fn request(exec: &Exec, argv: Vec<OsString>) -> Request {
    Request {
        argv,
        env: exec.env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
        cwd: exec.cwd.clone(),
        user: exec.user.clone(),
        tty: exec.tty,
    }
}

/// Runs a command and ends this program with its exit code.
pub fn exec(store: &Store, id: &str, exec: &Exec, argv: Vec<OsString>) -> Result<Done> {
    let seat = store.living(id)?;
    let status = run(&seat, &request(exec, argv))?;
    finish(&seat, status)
}

fn run(seat: &Seat, request: &Request) -> Result<ExitStatus> {
    let busy = busy_file(&seat.dir)?;
    flock(&busy, FlockOperation::LockShared)
        .context(Exit::TryAgain, || format!("cannot enter instance \"{}\"", seat.instance.id))?;
    let mut command = enter(seat, request)?;
    if request.tty {
        return terminal::run(command);
    }
    command.status().context(Exit::TryAgain, || format!("cannot enter instance \"{}\"", seat.instance.id))
}

pub fn enter(seat: &Seat, request: &Request) -> Result<Command> {
    drivers::find(&seat.instance.machine.driver)?.enter(seat, request)
}

fn finish(seat: &Seat, status: ExitStatus) -> Result<Done> {
    match status.code() {
        Some(code) => Ok(Done::Status(code as u8)),
        None if seat.dir.join("disk-full").exists() => {
            say::warning(format!("ended the commands in \"{}\": its disk is full", seat.instance.id), None);
            Ok(Done::Status(137))
        }
        None => Err(Failure::try_again(format!(
            "cannot run the command in \"{}\": the machine ended under it",
            seat.instance.id
        ))
        .hint(format!("vm-snapshot status {} tells whether it is there", seat.instance.id))),
    }
}

/// A terminal inside: the user's login shell, in the work directory.
pub fn shell(store: &Store, id: &str, options: &Exec) -> Result<Done> {
    let script = "if [ -x /bin/bash ]; then exec /bin/bash -i; else exec /bin/sh -i; fi";
    let mut options = Exec { tty: true, ..options.clone() };
    if let Ok(term) = std::env::var("TERM") {
        options.env.insert(0, ("TERM".to_owned(), term));
    }
    exec(store, id, &options, vec!["/bin/sh".into(), "-c".into(), script.into()])
}

/// What an instance has used.
pub fn usage(store: &Store, id: &str) -> Result<Usage> {
    let seat = store.living(id)?;
    let mut usage = Usage { kind: "usage".into(), v: contract::V, id: id.to_owned(), ..Usage::default() };
    drivers::find(&seat.instance.machine.driver)?.usage(&seat, &mut usage);
    Ok(usage)
}
