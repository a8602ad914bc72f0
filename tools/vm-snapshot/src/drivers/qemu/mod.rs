//! Driver `qemu`: a virtual machine for each instance, on a copy-on-write disk over an image. A snapshot holds the memory
//! too, so that opening one does not boot. Commands go in by ssh.
//!
//! Settings: `image` (qcow2), `kernel`, `initrd`, `append`, `identity` (private key), `known_hosts` (where the machine is
//! called `vm`), `seed` (of cloud-init: an image or a directory), all files relative to the document; `login`, `user`, `accel`
//! (`tcg` or `kvm`; default: KVM where it is proved), `boot_timeout_s`.

use super::guest::{self, Channel};
use super::{Driver, Request, Running, check_settings};
use crate::process::before_exec;
use crate::state::store::Seat;
use contract::machines::Network;
use contract::testbed::{Mount, Usage};
use edge::{Context, Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

mod accel;
mod memory;
mod monitor;
mod plan;

use accel::Accel;
use plan::{OWN_DISK, base, memory, noted_port, qemu_args, ram, size, target};
pub(super) use plan::{become_user, file, login, user};

pub struct Qemu;

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
const WORK_DIR: &str = "/work";
const BOOT_TIMEOUT_S: u64 = 120;
/// Sets the clock to the first argument (seconds and nanoseconds), or to the machine's own clock, which goes on with that
/// of the host but is read in seconds, where connecting took longer than that; mixes the second into the kernel's random numbers and
/// makes it use them at once (RNDRESEEDCRNG): a mere write has an effect only at the next reseed, up to a minute later, and
/// until then all instances draw the same numbers. One program, because starting one takes long in an emulated machine.
const SET_RIGHT: &str = r#"($s, $n) = split(/,/, $ARGV[0]); open(R, "<", "/sys/class/rtc/rtc0/since_epoch") && ($r = int(<R>));
($s, $n) = ($r, 0) if $r > $s && $r < $s + 60; syscall(227, 0, pack("qq", $s, $n)) == 0 && open(F, "+>", "/dev/urandom") && syswrite(F, $ARGV[1]) && ioctl(F, 0x5207, 0) || exit 1"#;
/// Another may take a port between our choosing it and qemu's taking it.
const PORT_TRIES: u32 = 5;

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn spawn(seat: &Seat, port: u16, accel: Accel) -> Result<Child> {
    let mut args = qemu_args(seat, port, accel, ram(seat).as_ref());
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
    fn begin(&self, seat: &Seat, accel: Accel) -> Result<(Child, u16)> {
        let name = &seat.instance.machine.name;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_port().context(Exit::TryAgain, || "cannot find a free port".to_owned())?;
            let mut child = spawn(seat, port, accel)?;
            match self.wait_until_up(seat, &mut child, port) {
                Ok(()) => return Ok((child, port)),
                Err(failure) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let log = fs::read_to_string(seat.dir.join("qemu.log")).unwrap_or_default();
                    if !(log.contains("Could not set up host forwarding rule") && tries < PORT_TRIES) {
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

    /// Makes a machine that just began to run ready, and says `up`.
    fn ready_script(&self, seat: &Seat) -> Result<String> {
        // the clock stood still since the snapshot, and the random numbers would be the same again
        let seed = crate::instance::open::random_hex(64)?;
        let now = jiff::Timestamp::now();
        let (s, ns) = (now.as_second(), now.subsec_nanosecond());
        let right = format!(
            "perl -e '{SET_RIGHT}' {s},{ns} {seed} 2>/dev/null || {{ date -s @{s} >/dev/null; echo {seed} >/dev/urandom; }}"
        );
        if memory(seat).is_some() {
            // the rest was done before the snapshot was taken
            return Ok(format!("{right}; echo up"));
        }
        // without a route an attempt fails at once instead of waiting for an answer that never comes
        let cut = if seat.instance.machine.network == Network::None { "ip route del default; " } else { "" };
        let (user, login) = (user(seat), login(seat));
        Ok(format!(
            "{cut}{right}; mkdir -p {WORK_DIR} /share && chown {user} {WORK_DIR} && chown {login} /share && echo up"
        ))
    }

    fn wait_until_up(&self, seat: &Seat, child: &mut Child, port: u16) -> Result<()> {
        let seconds = seat.instance.machine.settings.get("boot_timeout_s").and_then(Value::as_u64);
        let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(BOOT_TIMEOUT_S));
        if let Some(memory) = memory(seat) {
            memory::load(seat, &memory, child, until)
                .context(Exit::TryAgain, || "cannot restore its memory".to_owned())?;
        }
        let target = target(seat, port);
        let script = self.ready_script(seat)?;
        loop {
            let said = match target.connect(&as_root(seat, &script), &seat.dir.join("ssh.log"))? {
                Ok(()) => return Ok(()),
                Err(said) => said,
            };
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Failure::try_again(format!("qemu ended with {status}")));
            }
            for (text, hint) in [
                (
                    "Permission denied",
                    "the setting \"identity\" must name the private key that the image lets in",
                ),
                (
                    "Host key verification failed",
                    "the setting \"known_hosts\" must name a file with the key of \"vm\"",
                ),
            ] {
                if said.contains(text) {
                    return Err(Failure::unavailable(text.to_lowercase()).hint(hint));
                }
            }
            if caller_is_gone() {
                return Err(Failure::try_again("nobody waits for it any more"));
            }
            if Instant::now() > until {
                return Err(Failure::try_again("it did not answer in time").detail("ssh", said.trim()));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

/// Whether the command that opens the machine has ended: the keeper's stdin is a socket to it.
fn caller_is_gone() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && fds[0].revents().intersects(PollFlags::HUP)
}

/// A script that runs as root, whoever ssh lets in.
fn as_root(seat: &Seat, script: &str) -> String {
    match login(seat) {
        "root" => script.to_owned(),
        _ => format!("exec sudo -n sh -c '{}'", script.replace('\'', "'\\''")),
    }
}

impl Channel for Qemu {
    fn command(&self, seat: &Seat, argv: &[OsString], name: Option<&str>, tty: bool) -> Command {
        let target = target(seat, noted_port(seat));
        let mut words = become_user(seat, name.unwrap_or_else(|| user(seat)));
        words.extend(argv.iter().cloned());
        target.command(&words, tty)
    }

    fn answers(&self, seat: &Seat) -> bool {
        guest::ask(self, seat, ":").is_some()
    }

    fn own_codes(&self) -> &'static [i32] {
        &[255]
    }

    fn is_whole_machine(&self) -> bool {
        true
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
        let mut identity = String::new();
        for name in FILES {
            let Some(path) = file(seat, name) else { continue };
            let meta = fs::metadata(&path).map_err(|error| {
                Failure::unavailable(format!("cannot find {name} \"{}\": {error}", path.display()))
                    .hint("scripts/make-image makes an image")
            })?;
            identity.push_str(&format!("{name} {} {:?}\n", meta.len(), meta.modified().ok()));
        }
        accel::choose(seat)?;
        Ok(identity)
    }

    fn image_made(&self, seat: &Seat) -> Option<jiff::Timestamp> {
        jiff::Timestamp::try_from(fs::metadata(file(seat, "image")?).ok()?.modified().ok()?).ok()
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let disk = seat.dir.join("disk.qcow2");
        if disk.exists() {
            fs::write(seat.dir.join(OWN_DISK), "")
                .context(Exit::CantCreate, || "cannot write in the instance".to_owned())?;
        }
        let mut accel = accel::choose(seat)?;
        if let Some(memory) = memory(seat) {
            let note = |name: &str| fs::read_to_string(memory.with_file_name(name)).unwrap_or_default();
            // a memory holds the state of a processor that only its own accelerator has
            accel = Accel::from_name(&note("accel")).unwrap_or(accel);
            let taken = note("size");
            if taken != size(seat) {
                return Err(Failure::usage(format!(
                    "cannot open machine \"{}\" with {}: the memory of its snapshot was taken with {taken}",
                    seat.instance.machine.name,
                    size(seat)
                )));
            }
        }
        if !disk.exists() {
            let base = base(seat).ok_or_else(|| Failure::bug("no image"))?;
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(&base)
                .arg(&disk)
                .stdin(Stdio::null())
                .output()
                .map_err(|error| {
                    Failure::unavailable(format!("cannot run qemu-img: {error}")).hint("install qemu-utils")
                })?;
            if !made.status.success() {
                return Err(Failure::cant_create(format!("cannot make a disk over \"{}\"", base.display()))
                    .detail("qemu-img", String::from_utf8_lossy(&made.stderr).trim()));
            }
        }
        let (mut child, port) = self.begin(seat, accel)?;
        let target = target(seat, port);
        for mount in &seat.instance.mounts {
            if let Err(failure) = target.send(mount) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failure);
            }
        }
        let pid = rustix::process::Pid::from_child(&child);
        let persistent = seat.instance.persistent;
        let end = move || {
            if persistent {
                let argv: Vec<OsString> = vec!["sync".into()];
                let _ = target.command(&argv, false).stdin(Stdio::null()).output();
            }
            let _ = child.kill();
            let _ = child.wait();
            target.disconnect();
        };
        Ok(Running {
            note: json!({"port": port, "accel": accel.name()}),
            watch: rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok(),
            tick: None,
            end: Box::new(end),
        })
    }

    fn reap(&self, seat: &Seat) {
        // qemu died with its keeper; the master connection of ssh may still be there
        target(seat, noted_port(seat)).disconnect();
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        let home = match request.user.as_deref() {
            Some("root") => "/root".to_owned(),
            name if name.is_none_or(|name| name == user(seat)) => format!("/home/{}", user(seat)),
            name => {
                let name = name.unwrap_or_default();
                return Err(Failure::usage(format!("cannot run as \"{name}\": no such user in the machine"))
                    .detail("users", format!("root, {}", user(seat))));
            }
        };
        guest::enter(seat, request, &home, &self.work_dir(seat))
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        guest::measure(self, seat, usage);
        usage.disk_mb = fs::metadata(seat.dir.join("disk.qcow2")).ok().map(|meta| {
            (std::os::unix::fs::MetadataExt::blocks(&meta) as f64 / 2048.0 * 100.0).round() / 100.0
        });
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let mut has = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot", "root", "limits-cpu"];
        if seat.instance.machine.network == Network::None {
            has.push("no-network");
        }
        if seat.instance.machine.memory_mb > 0 {
            has.push("limits-memory");
        }
        has.into_iter().map(str::to_owned).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        seat.instance.machine.work_dir.clone().unwrap_or_else(|| WORK_DIR.to_owned())
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(format!("/share/{name}"))
    }

    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        seat.instance.mounts.clone()
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
            fs::write(new.join("size"), size(seat))?;
            let accel = seat.running().and_then(|note| Accel::from_name(note["accel"].as_str()?));
            let accel = accel.unwrap_or(Accel::Tcg);
            fs::write(new.join("accel"), accel.name())?;
            memory::save(seat, &new, accel)?;
            fs::rename(&new, layer)
        };
        freeze().map_err(|error: io::Error| {
            crate::state::store::remove_tree(&new);
            Failure::cant_create(format!("{}: {error}", cannot()))
        })
    }
}
