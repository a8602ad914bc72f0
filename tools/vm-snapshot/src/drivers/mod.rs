//! Drivers: the only rooms that know a hypervisor, a container engine or the kernel's namespaces by name.
//! A driver is one file here (or one directory) and one line in [`DRIVERS`].

pub mod command;
pub mod docker;
pub mod guest;
pub mod libvirt;
pub mod local;
pub mod qemu;
mod relay;
pub mod sandbox;
pub mod ssh;
pub mod uml;
pub mod virtualbox;
pub mod vm;

use crate::state::snapshots::Snapshot;
use crate::state::store::Seat;
use contract::machines::Machine;
use contract::testbed::{Mount, Usage};
use edge::{Failure, Result};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// All drivers, in the order in which they are listed.
pub const DRIVERS: [&dyn Driver; 9] = [
    &sandbox::Sandbox,
    &qemu::Qemu,
    &uml::Uml,
    &docker::Docker,
    &virtualbox::VirtualBox,
    &libvirt::Libvirt,
    &ssh::Ssh,
    &local::Local,
    &command::Command,
];

/// A kind of machine. Everything is told to it in a [`Seat`]: the record of the instance and its directory.
pub trait Driver: Sync {
    fn name(&self) -> &'static str;

    /// Refuses settings it does not understand and hosts it cannot work on. Says what the bare machine (no snapshot) is:
    /// a text that changes when the machine changes.
    fn identify(&self, seat: &Seat) -> Result<String>;

    /// When the image of the bare machine was made, where it has one.
    fn image_made(&self, _seat: &Seat) -> Option<jiff::Timestamp> {
        None
    }

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

    /// Turns the state of an instance into a layer: a directory that is not there yet. The instance has ended, unless
    /// [`Driver::freezes_alive`].
    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()>;

    /// Whether a snapshot is taken of the running instance, which then simply goes on.
    fn freezes_alive(&self) -> bool {
        false
    }

    /// Writes what the instance still holds in memory to its disk: asked before it is ended for a snapshot, which is not
    /// taken if that fails.
    fn flush(&self, _seat: &Seat) -> Result<()> {
        Ok(())
    }

    /// A script that, run as root inside, prints what of the host can be reached and should not.
    fn escape(&self) -> Option<&'static str> {
        None
    }

    /// Removes what a layer has outside its directory; asked of every driver for every layer.
    fn forget(&self, _layer: &Path) {}

    /// Removes the disk of a persistent instance, as far as it is outside its directory.
    fn discard(&self, _seat: &Seat) {}

    /// Makes what the bare machine is made of, if that can be made and is not there; for `create`.
    fn prepare(&self, _seat: &Seat) -> Result<()> {
        Ok(())
    }

    /// The snapshots of a machine, where the driver keeps them itself.
    fn own_snapshots(&self, _machine: &Machine) -> Option<&'static dyn OwnSnapshots> {
        None
    }

    /// Whether the names of snapshots are the driver's own business.
    fn has_own_snapshots(&self) -> bool {
        false
    }

    /// Where the shared directories are inside.
    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        seat.instance.mounts.clone()
    }

    /// Where the shared directories are served to the inside.
    fn host_url(&self, _seat: &Seat) -> Option<String> {
        None
    }

    /// How commands get inside, for drivers whose commands are wrapped by [`guest`].
    fn channel(&self) -> Option<&'static dyn guest::Channel> {
        None
    }
}

/// Snapshots that a driver keeps itself, with the machine. The seats of all but `take` are those of machines, not of open
/// instances.
pub trait OwnSnapshots: Sync {
    /// By name.
    fn list(&self, seat: &Seat) -> Result<Vec<Snapshot>>;

    /// One of them.
    fn find(&self, seat: &Seat, name: &str) -> Result<Snapshot>;

    /// Of an open instance, which goes on afterwards, on top of it.
    fn take(&self, seat: &Seat, name: &str, replace: bool) -> Result<Snapshot>;

    /// What the machine holds is lost.
    fn restore(&self, seat: &Seat, name: &str) -> Result<()>;

    /// Refuses with exit 1 while other snapshots are based on it.
    fn delete(&self, seat: &Seat, name: &str) -> Result<()>;
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

/// A setting of the machine that is a whole number, not negative.
pub fn setting_number(seat: &Seat, name: &str) -> Option<u64> {
    seat.instance.machine.settings.get(name)?.as_u64()
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
