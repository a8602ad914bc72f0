//! The memory of a snapshot. It is kept in two files: `ram`, the memory itself as it lies, and `memory`, the state of the
//! devices. Opening maps `ram` privately, so that nothing of it is read or copied but what the machine touches, and all
//! instances share what none of them has changed. Where qemu cannot part the two, `memory` holds both.

use super::monitor::Monitor;
use super::plan::{Ports, Ram, qemu_args, ram};
use super::{Accel, spawn_with};
use crate::drivers::vm::agent;
use crate::drivers::vm::disk::{DISK, memory_mb};
use crate::state::store::Seat;
use serde_json::json;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long qemu may take to move a memory.
const PATIENCE: Duration = Duration::from_secs(60);

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// Connects to a qemu that was just started.
fn monitor(dir: &Path, child: &mut Child, until: Instant) -> io::Result<Monitor> {
    loop {
        match Monitor::connect(dir) {
            Ok(monitor) => return Ok(monitor),
            Err(error) if Instant::now() > until || child.try_wait()?.is_some() => return Err(error),
            Err(_) => sleep(Duration::from_millis(2)),
        }
    }
}

/// Tells qemu whether the memory itself is in a file and not in what it reads or writes.
fn apart(monitor: &mut Monitor, are: bool) -> io::Result<()> {
    let capability = json!([{"capability": "x-ignore-shared", "state": are}]);
    monitor.run("migrate-set-capabilities", json!({"capabilities": capability})).map(drop)
}

/// Gives a qemu that waits for it the memory of a snapshot, and lets it run.
pub(super) fn load(seat: &Seat, memory: &Path, child: &mut Child, until: Instant) -> io::Result<()> {
    let mut monitor = monitor(&seat.dir, child, until)?;
    if ram(seat).is_some() {
        apart(&mut monitor, true)?;
    }
    monitor.run("migrate-incoming", json!({"uri": format!("exec:cat {}", quoted(memory))}))?;
    monitor.migrated()?;
    // it may run already
    let _ = monitor.run("cont", json!({}));
    Ok(())
}

/// Stops the machine for a moment and writes its memory and its disk into the directory `new`; then it goes on.
pub(super) fn save(seat: &Seat, new: &Path, accel: Accel) -> io::Result<()> {
    let mut monitor = Monitor::connect(&seat.dir)?;
    monitor.run("stop", json!({}))?;
    // it may have been opened so; older versions of qemu do not know it
    let _ = apart(&mut monitor, false);
    // 0: as fast as it goes
    monitor.run("migrate-set-parameters", json!({"max-bandwidth": 0}))?;
    monitor.run("migrate", json!({"uri": format!("exec:cat > {}", quoted(&new.join("memory")))}))?;
    monitor.migrated()?;
    let copied =
        Command::new("cp").arg("--sparse=always").arg(seat.dir.join(DISK)).arg(new.join(DISK)).status()?;
    monitor.run("cont", json!({}))?;
    if !copied.success() {
        return Err(io::Error::other(format!("cp ended with {copied}")));
    }
    if part(seat, new, accel).is_err() {
        let _ = fs::remove_file(new.join("ram"));
    }
    for name in ["state", "qmp", "console", "qemu.log", agent::LINE] {
        let _ = fs::remove_file(new.join(name));
    }
    Ok(())
}

/// Parts `memory` into memory and state of the devices: a second qemu loads it with its memory in a file.
fn part(seat: &Seat, new: &Path, accel: Accel) -> io::Result<()> {
    let ram = new.join("ram");
    File::create(&ram)?.set_len(memory_mb(seat) << 20)?;
    let mut args = qemu_args(seat, Ports::default(), accel, Some(&Ram { file: ram, shared: true }));
    args.extend(["-S", "-incoming", "defer"].map(OsString::from));
    let mut child = spawn_with(new, &args)?;
    let until = Instant::now() + PATIENCE;
    let mut go = || {
        let mut monitor = monitor(new, &mut child, until)?;
        monitor
            .run("migrate-incoming", json!({"uri": format!("exec:cat {}", quoted(&new.join("memory")))}))?;
        monitor.migrated()?;
        apart(&mut monitor, true)?;
        monitor.run("migrate", json!({"uri": format!("exec:cat > {}", quoted(&new.join("state")))}))?;
        monitor.migrated()
    };
    let parted = go();
    let _ = child.kill();
    let _ = child.wait();
    parted?;
    fs::rename(new.join("state"), new.join("memory"))
}
