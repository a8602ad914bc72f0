//! Drivers: the only rooms that know a hypervisor, a container engine or the kernel's namespaces by name.
//! A driver is one file here (or one directory) and one line in [`DRIVERS`].

pub mod local;
pub mod sandbox;

use crate::store::Seat;
use contract::testbed::Usage;
use edge::{Failure, Result};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// All drivers, in the order in which they are listed.
pub const DRIVERS: [&dyn Driver; 2] = [&sandbox::Sandbox, &local::Local];

/// A kind of machine. Everything is told to it in a [`Seat`]: the record of the instance and its directory.
pub trait Driver: Sync {
    fn name(&self) -> &'static str;

    /// Refuses settings it does not understand and hosts it cannot work on. Says what the bare machine (no snapshot) is:
    /// a text that changes when the machine changes.
    fn identify(&self, seat: &Seat) -> Result<String>;

    /// Runs in the keeper: makes the instance and returns when it is ready for commands.
    fn start(&self, seat: &Seat) -> Result<Running>;

    /// Removes whatever a dead instance may have left outside its directory. Must do nothing the second time.
    fn reap(&self, seat: &Seat);

    /// The host command that runs a command in the instance, with stdin, stdout, stderr and exit status its own, and
    /// that takes the whole tree of processes inside with it when it is killed.
    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command>;

    /// Fills in what can be measured.
    fn usage(&self, seat: &Seat, usage: &mut Usage);

    /// What an instance can do or guarantees: see the testbed document.
    fn capabilities(&self, seat: &Seat) -> Vec<String>;

    /// Directory inside where commands start.
    fn work_dir(&self, seat: &Seat) -> String;

    /// Where a shared directory of the host is inside; `None` when the driver cannot share.
    fn share_point(&self, name: &str, host: &str) -> Option<String>;

    /// Turns the state of an ended instance into a layer: a directory that is not there yet.
    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()>;
}

/// A command to run in an instance.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub argv: Vec<OsString>,
    /// Added to the environment of the machine.
    pub env: Vec<(OsString, OsString)>,
    pub cwd: Option<OsString>,
    /// `root`, or the ordinary user of the machine when absent.
    pub user: Option<String>,
    /// stdin, stdout and stderr are a terminal, which the command is to control.
    pub tty: bool,
}

/// An instance that runs, as the keeper holds it.
pub struct Running {
    /// What the other commands need to know about it; kept in `running.json`.
    pub note: serde_json::Value,
    /// Becomes readable when the instance ends by itself.
    pub watch: Option<OwnedFd>,
    /// Something to do now and then.
    pub tick: Option<Tick>,
    /// Ends it.
    pub end: Box<dyn FnOnce()>,
}

pub struct Tick {
    pub every: Duration,
    /// Gives the time until the next one.
    pub action: Box<dyn FnMut() -> Duration>,
}

pub fn find(name: &str) -> Result<&'static dyn Driver> {
    DRIVERS.into_iter().find(|driver| driver.name() == name).ok_or_else(|| {
        let names: Vec<&str> = DRIVERS.iter().map(|driver| driver.name()).collect();
        Failure::unavailable(format!("cannot find driver \"{name}\"")).detail("available", names.join(", "))
    })
}

/// A text setting of the machine.
pub fn setting<'a>(seat: &'a Seat, name: &str) -> Option<&'a str> {
    seat.instance.machine.settings.get(name)?.as_str()
}

/// A setting of the machine that is a list of texts.
pub fn setting_list(seat: &Seat, name: &str) -> Vec<String> {
    let list = seat.instance.machine.settings.get(name).and_then(serde_json::Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Refuses settings that the driver does not know, so that a misspelt one is not silently without effect.
pub fn check_settings(seat: &Seat, known: &[&str]) -> Result<()> {
    match seat.instance.machine.settings.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(Failure::data(format!(
            "cannot use machine \"{}\": driver \"{}\" has no setting \"{unknown}\"",
            seat.instance.machine.name, seat.instance.machine.driver
        ))
        .detail("settings", known.join(", "))),
    }
}
