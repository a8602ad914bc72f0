//! Driver `uml`: user-mode Linux, a real kernel of its own in an ordinary process: neither KVM nor root, and some three
//! times slower than the host. Its network is one of two: it and its jail. Commands go in by ssh.
//!
//! - `plan`: the jail it runs in, its command line and its process 1, as data
//! - `jail`: makes the jail; `line`: joins ssh to the machine; `cow`: what a copy-on-write disk holds
//!
//! Settings: `image` (raw, one ext4 file system), `identity` (private key), `known_hosts` (where the machine is called `vm`),
//! `kernel` (a program; default `linux.uml`), all files relative to the document; `user`, `boot_timeout_s`.

use super::guest::{self, Channel};
use super::ssh::Target;
use super::vm::{self, Vm, file};
use super::{Driver, Request, Running, Tick, check_settings, setting_number};
use crate::instance::owner::Owner;
use crate::process::before_exec;
use crate::state::store::{Seat, remove_tree};
use contract::machines::Network;
use contract::testbed::Usage;
use edge::{Context, Exit, Failure, Result};
use rustix::process::{Pid, Signal};
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

mod cow;
mod jail;
mod line;
mod plan;
mod usage;

pub use jail::role as jail_role;
pub use line::role as line_role;

pub struct Uml;

const SETTINGS: [&str; 6] = ["image", "identity", "known_hosts", "kernel", "user", "boot_timeout_s"];
const BOOT_TIMEOUT_S: u64 = 60;
/// A console that is longer is emptied, at the next look.
const CONSOLE_BYTES: u64 = 1 << 20;
const CONSOLE_EVERY: Duration = Duration::from_secs(1);
/// How often to connect, should a first connection fail.
const CONNECT_TRIES: u32 = 3;

/// The kernel as a program of the host.
fn kernel(seat: &Seat) -> Option<PathBuf> {
    if super::setting(seat, "kernel").is_some_and(|name| name.contains('/')) {
        return file(seat, "kernel").filter(|path| path.is_file());
    }
    let name = super::setting(seat, "kernel").unwrap_or("linux.uml");
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Libraries that the kernel needs, as it is a program like others.
fn libraries(kernel: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(kernel).stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_ascii_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

/// Starts the kernel in its jail, with its serial line as stdin.
fn spawn(seat: &Seat, line: UnixStream) -> io::Result<Child> {
    // a machine that was started before has one
    let _ = fs::remove_file(seat.dir.join("console"));
    let console = File::options().create(true).append(true).open(seat.dir.join("console"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("internal-jail").arg(&seat.dir);
    command.stdin(OwnedFd::from(line)).stdout(console.try_clone()?).stderr(console);
    command.env_clear().current_dir("/");
    // a keeper that is killed takes its machine along
    before_exec(&mut command, || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    command.spawn()
}

/// Reads the serial line up to the word of process 1 that it listens.
fn wait_until_ready(line: &mut UnixStream, child: &mut Child, until: Instant) -> io::Result<()> {
    line.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(plan::READY.as_bytes()) {
        match line.read(&mut byte) {
            Ok(1..) => said.push(byte[0]),
            Ok(0) => return Err(io::Error::other("its kernel ended")),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if child.try_wait()?.is_some() {
                    return Err(io::Error::other("its kernel ended"));
                }
                if Instant::now() > until {
                    return Err(io::Error::other("it did not boot in time"));
                }
                crate::instance::keeper::caller_waits()
                    .map_err(|failure| io::Error::other(failure.message))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    line.set_read_timeout(None)
}

impl Uml {
    fn begin(&self, seat: &Seat, child: &mut Child, mut line: UnixStream) -> Result<()> {
        let timeout_s = setting_number(seat, "boot_timeout_s").unwrap_or(BOOT_TIMEOUT_S);
        let until = Instant::now() + Duration::from_secs(timeout_s);
        wait_until_ready(&mut line, child, until)
            .context(Exit::TryAgain, || "it does not boot".to_owned())?;
        let target = plan::target(seat);
        let script = format!("cd {} && echo up", vm::WORK_DIR);
        let mut said = String::new();
        for _ in 0..CONNECT_TRIES {
            said = match target.connect(&script, &seat.dir.join("ssh.log"))? {
                Ok(()) => return Ok(()),
                Err(said) => said,
            };
            if let Some(failure) = vm::refusal(&said) {
                return Err(failure);
            }
        }
        Err(Failure::try_again("no answer").detail("ssh", said.trim()))
    }
}

/// Writes what process 1 and the jail need beside the disk.
fn prepare(seat: &Seat) -> io::Result<()> {
    for name in ["disk", "boot", "root"] {
        fs::create_dir_all(seat.dir.join(name))?;
    }
    let kernel = kernel(seat).unwrap_or_default();
    let about = json!({"kernel": kernel, "libraries": libraries(&kernel), "cpu": usage::idlest_cpu(seat)});
    fs::write(seat.dir.join("host.json"), about.to_string())?;
    for (name, text) in
        [("init", plan::init(seat)), ("fstab", plan::mounts(seat)), ("network", plan::network())]
    {
        fs::write(seat.dir.join("boot").join(name), text)?;
    }
    // of a snapshot that was taken meanwhile
    let own = plan::own_disk(seat);
    let others = fs::read_dir(seat.dir.join("disk"))?.flatten().map(|entry| entry.path());
    others.filter(|path| *path != own).try_for_each(fs::remove_file)
}

/// Root inside may print on the console without end, and would fill the disk of the host.
fn keep_short(seat: &Seat) -> Tick {
    let console = seat.dir.join("console");
    let action = move || {
        if fs::metadata(&console).is_ok_and(|meta| meta.len() > CONSOLE_BYTES) {
            let _ = File::options().write(true).open(&console).and_then(|file| file.set_len(0));
        }
        CONSOLE_EVERY
    };
    Tick { every: CONSOLE_EVERY, action: Box::new(action) }
}

/// Ends the jail with all in it, and waits until it has.
fn end(seat: &Seat, child: &mut Child) {
    if let Some(init) = usage::init(seat).filter(Owner::is_alive).and_then(|owner| Pid::from_raw(owner.pid)) {
        let _ = rustix::process::kill_process(init, Signal::KILL);
    } else {
        let _ = child.kill();
    }
    let _ = child.wait();
}

impl Vm for Uml {
    fn target(&self, seat: &Seat) -> Target {
        plan::target(seat)
    }

    fn limited(&self, _seat: &Seat) -> Vec<OsString> {
        vm::enter_group(guest::GROUP)
    }
}

impl Driver for Uml {
    fn name(&self) -> &'static str {
        "uml"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &SETTINGS)?;
        let name = &seat.instance.machine.name;
        if seat.instance.machine.network != Network::None {
            return Err(Failure::data(format!(
                "cannot use machine \"{name}\": driver \"uml\" has no network"
            ))
            .hint("leave \"network\" out, or use another driver"));
        }
        let kernel = kernel(seat).ok_or_else(|| {
            Failure::unavailable("cannot find linux.uml")
                .hint("install user-mode-linux, or name the program with the setting \"kernel\"")
        })?;
        guest::needed(seat, "image")?;
        guest::needed(seat, "identity")?;
        let mut files = vm::files(seat, &["image", "identity", "known_hosts"]);
        files.push(("kernel", kernel));
        vm::identity(files)
    }

    fn image_made(&self, seat: &Seat) -> Option<jiff::Timestamp> {
        vm::made(&file(seat, "image")?)
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let name = &seat.instance.machine.name;
        let cannot =
            |cause: &io::Error| Failure::try_again(format!("cannot open machine \"{name}\": {cause}"));
        prepare(seat).map_err(|error| cannot(&error))?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| cannot(&error))?;
        let mut child = spawn(seat, theirs).map_err(|error| cannot(&error))?;
        if let Err(mut failure) = self.begin(seat, &mut child, ours) {
            end(seat, &mut child);
            failure.message = format!("cannot open machine \"{name}\": {}", failure.message);
            let console = fs::read(seat.dir.join("console")).unwrap_or_default();
            let console = String::from_utf8_lossy(&console).into_owned();
            if let Some((cause, advice)) = jail::refusal(&console) {
                return Err(
                    Failure::unavailable(format!("cannot open machine \"{name}\": {cause}")).hint(advice)
                );
            }
            // without the stack of a kernel that gave up
            let lines: Vec<&str> = console.lines().filter(|line| !line.starts_with(' ')).collect();
            return Err(failure.detail("console", lines[lines.len().saturating_sub(8)..].join("\n")));
        }
        let watch = usage::init(seat).and_then(|init| init.watch());
        let held = seat.clone();
        let over = move || {
            if held.instance.persistent
                && let Err(failure) = Uml.flush(&held)
            {
                edge::say::failure(&failure);
            }
            end(&held, &mut child);
            plan::target(&held).disconnect();
        };
        Ok(Running { note: json!({}), watch, tick: Some(keep_short(seat)), end: Box::new(over) })
    }

    fn reap(&self, seat: &Seat) {
        // the kernel died with its keeper; the master connection of ssh may still be there
        plan::target(seat).disconnect();
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        vm::enter(seat, request)
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        guest::measure(self, seat, usage);
        usage::outside(seat, usage);
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let machine = &seat.instance.machine;
        let always =
            ["fresh", "kill-tree", "exec-options", "usage", "snapshot", "root", "limits-cpu", "no-network"];
        let limits = [
            (machine.memory_mb, "limits-memory"),
            (machine.processes, "limits-processes"),
            (machine.disk_mb, "limits-disk"),
        ];
        let limits = limits.into_iter().filter(|(limit, _)| *limit > 0).map(|(_, name)| name);
        always.into_iter().chain(limits).map(str::to_owned).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        vm::work_dir(seat)
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(vm::share_point(name))
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Uml)
    }

    fn flush(&self, seat: &Seat) -> Result<()> {
        let settled = guest::ask(self, seat, plan::SETTLE).map(|_| ());
        settled.ok_or_else(|| Failure::try_again("what was written in it cannot be brought to its disk"))
    }

    fn escape(&self) -> Option<&'static str> {
        Some(plan::ESCAPE)
    }

    /// A whole disk again, because a copy-on-write disk stands on a whole one only: any number can be opened from it.
    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        let new = layer.with_extension("new");
        let base = plan::base(seat).ok_or_else(|| Failure::bug("no image"))?;
        let merge = || {
            fs::create_dir(&new)?;
            cow::merge(&base, &plan::own_disk(seat), &new.join("disk.raw"))?;
            fs::rename(&new, layer)
        };
        merge().map_err(|error| {
            remove_tree(&new);
            Failure::cant_create(format!("cannot take a snapshot of \"{}\": {error}", seat.instance.id))
        })
    }
}
