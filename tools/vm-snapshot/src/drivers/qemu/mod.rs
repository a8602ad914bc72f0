//! Driver `qemu`: a virtual machine for each instance, on a copy-on-write disk over an image. A snapshot holds the memory
//! too, so that opening one does not boot. Commands go in by ssh.
//!
//! Settings: `image` (qcow2), `kernel`, `initrd`, `append`, `identity` (private key), `known_hosts` (where the machine is
//! called `vm`), `seed` (of cloud-init: an image or a directory), all files relative to the document; `login`, `user`, `accel`
//! (`tcg` or `kvm`; default: KVM where it is proved), `boot_timeout_s`.

use super::guest::{self, Channel};
use super::ssh::Target;
use super::vm::{self, Vm, agent, boot, disk};
use super::{Driver, Request, Running, check_settings};
use crate::process::before_exec;
use crate::state::store::Seat;
use contract::testbed::Usage;
use edge::{Context, Exit, Failure, Result, say};
use rustix::process::Signal;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod memory;
mod monitor;
mod plan;

use super::vm::accel::{self, Accel};
use disk::memory;
use plan::{Ports, qemu_args, ram};

pub struct Qemu;

/// Marks a snapshot whose memory has a resident.
const AGENT: &str = "agent";

/// Settings that name a file.
const FILES: [&str; 6] = ["image", "kernel", "initrd", "identity", "known_hosts", "seed"];
const SETTINGS: [&str; 11] = [
    "image",
    "kernel",
    "initrd",
    "identity",
    "known_hosts",
    "seed",
    "append",
    "accel",
    "boot_timeout_s",
    "login",
    "user",
];
/// How long a resident may take to answer that was part of a snapshot, or has just been started.
const AGENT_S: u64 = 10;

fn spawn(seat: &Seat, ports: Ports, accel: Accel) -> Result<Child> {
    let mut args = qemu_args(seat, ports, accel, ram(seat).as_ref());
    if memory(seat).is_some() {
        args.extend(["-incoming", "defer"].map(OsString::from));
    }
    spawn_with(&seat.dir, &args).map_err(|error| {
        Failure::unavailable(format!("cannot run qemu-system-x86_64: {error}"))
            .hint("install qemu-system-x86 and qemu-utils")
    })
}

/// Runs qemu in a directory, where its disk, console and monitor are.
fn spawn_with(dir: &Path, args: &[OsString]) -> io::Result<Child> {
    let log = File::create(dir.join("qemu.log"))?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // a keeper that is killed takes its machine along
    before_exec(&mut command, || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    command.spawn()
}

impl Qemu {
    /// Starts qemu and waits until a command can be run.
    fn begin(&self, seat: &Seat, accel: Accel) -> Result<(Child, Ports)> {
        let name = &seat.instance.machine.name;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = || boot::free_port().context(Exit::TryAgain, || "cannot find a free port".to_owned());
            let ports = Ports { ssh: port()?, agent: port()? };
            let mut child = spawn(seat, ports, accel)?;
            match self.wait_until_up(seat, &mut child, ports) {
                Ok(()) => return Ok((child, ports)),
                Err(failure) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let log = fs::read_to_string(seat.dir.join("qemu.log")).unwrap_or_default();
                    if !(log.contains("Could not set up host forwarding rule") && tries < boot::PORT_TRIES) {
                        let console = fs::read_to_string(seat.dir.join("console")).unwrap_or_default();
                        let tail: Vec<&str> = console.lines().rev().take(5).collect();
                        let mut failure = failure;
                        failure.message = format!("cannot open machine \"{name}\": {}", failure.message);
                        for (key, text) in [("qemu", log.trim()), ("console", &tail.join("\n"))] {
                            if !text.is_empty() {
                                failure = failure.detail(key, text);
                            }
                        }
                        return Err(failure);
                    }
                }
            }
        }
    }

    fn wait_until_up(&self, seat: &Seat, child: &mut Child, ports: Ports) -> Result<()> {
        let until = boot::until(seat);
        let wake = || {
            let woken = agent::wake(seat, ports.agent, Instant::now() + Duration::from_secs(AGENT_S));
            if let Err(error) = &woken {
                say::detail(format!("no resident in the machine ({error}): all goes by ssh"));
            }
            woken.unwrap_or(false)
        };
        if let Some(memory) = memory(seat) {
            memory::load(seat, &memory, child, until)
                .context(Exit::TryAgain, || "cannot restore its memory".to_owned())?;
            if memory.with_file_name(AGENT).exists() && wake() {
                return Ok(());
            }
        }
        let mut ended = || {
            let status = child.try_wait().ok()??;
            Some(Failure::try_again(format!("qemu ended with {status}")))
        };
        boot::wait_until_up(seat, &boot::target(seat, ports.ssh), until, &mut ended)?;
        if memory(seat).is_none() {
            wake();
        }
        Ok(())
    }
}

impl Vm for Qemu {
    fn target(&self, seat: &Seat) -> Target {
        boot::target(seat, boot::noted_port(seat))
    }
}

impl Driver for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &SETTINGS)?;
        for name in ["image", "identity"] {
            guest::needed(seat, name)?;
        }
        let identity = vm::identity(vm::files(seat, &FILES))?;
        accel::choose(seat)?;
        Ok(identity)
    }

    fn image_made(&self, seat: &Seat) -> Option<jiff::Timestamp> {
        vm::made(&vm::file(seat, "image")?)
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        disk::note_own(seat)?;
        let mut accel = accel::choose(seat)?;
        if let Some(memory) = memory(seat) {
            let note = fs::read_to_string(memory.with_file_name("accel")).unwrap_or_default();
            // a memory holds the state of a processor that only its own accelerator has
            accel = Accel::from_name(&note).unwrap_or(accel);
            disk::check_size(seat, &memory, &disk::size(seat))?;
        }
        let base = disk::base(seat).ok_or_else(|| Failure::bug("no image"))?;
        disk::make_over(&base, disk::format_of(&base), &seat.dir.join(disk::DISK))?;
        let (mut child, ports) = self.begin(seat, accel)?;
        let target = boot::target(seat, ports.ssh);
        for mount in &seat.instance.mounts {
            if let Err(failure) = vm::send(seat, &target, mount) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failure);
            }
        }
        let pid = rustix::process::Pid::from_child(&child);
        let held = seat.clone();
        let end = move || {
            if held.instance.persistent {
                let _ = guest::ask(&Qemu, &held, "sync");
            }
            let _ = child.kill();
            let _ = child.wait();
            target.disconnect();
        };
        Ok(Running {
            note: json!({"port": ports.ssh, "accel": accel.name()}),
            watch: rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok(),
            tick: None,
            end: Box::new(end),
        })
    }

    fn reap(&self, seat: &Seat) {
        // qemu died with its keeper; the master connection of ssh may still be there
        self.target(seat).disconnect();
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        vm::enter(seat, request)
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        guest::measure_group(self, seat, usage, &agent::group(seat).unwrap_or_default());
        usage.disk_mb = disk::taken_mb(&seat.dir.join(disk::DISK));
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        vm::capabilities(seat)
    }

    fn work_dir(&self, seat: &Seat) -> String {
        vm::work_dir(seat)
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(vm::share_point(name))
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Qemu)
    }

    fn freezes_alive(&self) -> bool {
        true
    }

    /// Stops the machine for a moment, writes its memory to a file and copies its disk; then it goes on.
    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        let cannot = || format!("cannot take a snapshot of \"{}\"", seat.instance.id);
        let new = layer.with_extension("new");
        let freeze = || {
            fs::create_dir(&new)?;
            fs::write(new.join("size"), disk::size(seat))?;
            let accel = seat.running().and_then(|note| Accel::from_name(note["accel"].as_str()?));
            let accel = accel.unwrap_or(Accel::Tcg);
            fs::write(new.join("accel"), accel.name())?;
            if agent::lives(seat) {
                fs::write(new.join(AGENT), "")?;
            }
            memory::save(seat, &new, accel)?;
            fs::rename(&new, layer)
        };
        freeze().map_err(|error: io::Error| {
            crate::state::store::remove_tree(&new);
            Failure::cant_create(format!("{}: {error}", cannot()))
        })
    }
}
