//! The disk of an instance, which stands on that of a snapshot or on the image, and what a snapshot holds beside it: the
//! memory of the machine, and what must be the same for that to fit.

use super::file;
use crate::state::store::Seat;
use edge::{Context, Exit, Failure, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Name of the disk in the directory of an instance and in a layer.
pub const DISK: &str = "disk.qcow2";
/// Marks an instance whose disk has gone on since the snapshot it stands on: it boots, because the memory of the snapshot
/// knows another disk.
const OWN_DISK: &str = "own-disk";
const DEFAULT_MEMORY_MB: u64 = 1024;

/// The disk that an instance stands on.
pub fn base(seat: &Seat) -> Option<PathBuf> {
    match seat.instance.layers.first() {
        Some(layer) => Some(layer.join(DISK)),
        None => file(seat, "image"),
    }
}

/// The memory that an instance starts with; None: it boots.
pub fn memory(seat: &Seat) -> Option<PathBuf> {
    let layer = seat.instance.layers.first().filter(|_| !seat.dir.join(OWN_DISK).exists())?;
    Some(layer.join("memory")).filter(|file| file.exists())
}

/// Memory of the machine, MiB.
pub fn memory_mb(seat: &Seat) -> u64 {
    let machine = &seat.instance.machine;
    if machine.memory_mb > 0 { machine.memory_mb } else { DEFAULT_MEMORY_MB }
}

/// What must be the same when a memory is to fit.
pub fn size(seat: &Seat) -> String {
    format!("{} MiB and {} processors", memory_mb(seat), seat.instance.machine.cpus.max(1))
}

/// Refuses a size that the memory of the snapshot does not fit.
pub fn check_size(seat: &Seat, memory: &Path, size: &str) -> Result<()> {
    let taken = fs::read_to_string(memory.with_file_name("size")).unwrap_or_default();
    if taken == size {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "cannot open machine \"{}\" with {size}: the memory of its snapshot was taken with {taken}",
        seat.instance.machine.name
    )))
}

/// A started machine that has a disk goes on with it: notes that.
pub fn note_own(seat: &Seat) -> Result<()> {
    if seat.dir.join(DISK).exists() {
        fs::write(seat.dir.join(OWN_DISK), "")
            .context(Exit::CantCreate, || "cannot write in the instance".to_owned())?;
    }
    Ok(())
}

/// Makes a copy-on-write disk over another of that format, unless it is there.
pub fn make_over(base: &Path, format: &str, disk: &Path) -> Result<()> {
    if disk.exists() {
        return Ok(());
    }
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .arg(base)
        .arg(disk)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::unavailable(format!("cannot run qemu-img: {error}")).hint("install qemu-utils")
        })?;
    if made.status.success() {
        return Ok(());
    }
    Err(Failure::cant_create(format!("cannot make a disk over \"{}\"", base.display()))
        .detail("qemu-img", String::from_utf8_lossy(&made.stderr).trim()))
}

/// What a disk takes on this host, MiB.
pub fn taken_mb(disk: &Path) -> Option<f64> {
    let blocks = fs::metadata(disk).ok()?.blocks();
    Some((blocks as f64 / 2048.0 * 100.0).round() / 100.0)
}
