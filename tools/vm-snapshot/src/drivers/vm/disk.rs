//! The disk of an instance, which stands on that of a snapshot or on the image, and what a snapshot holds beside it: the
//! memory of the machine, and what must be the same for that to fit.

use super::file;
use crate::state::store::Seat;
use edge::{Context, Exit, Failure, Result};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
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
    if disk.exists() || copy_of_empty(base, disk) {
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
        keep_empty(base, disk);
        return Ok(());
    }
    Err(Failure::cant_create(format!("cannot make a disk over \"{}\"", base.display()))
        .detail("qemu-img", String::from_utf8_lossy(&made.stderr).trim()))
}

/// The name under which the first empty disk over that of a snapshot stays beside it: a copy costs a tenth of making one.
const EMPTY: &str = "empty.qcow2";

/// Makes a disk of the empty one beside `base`, if that is there and over this very file.
fn copy_of_empty(base: &Path, disk: &Path) -> bool {
    let Ok(bytes) = fs::read(base.with_file_name(EMPTY)) else { return false };
    backing(&bytes) == Some(base.as_os_str().as_bytes()) && fs::write(disk, bytes).is_ok()
}

fn keep_empty(base: &Path, disk: &Path) {
    // beside an image, which is the user's, nothing is put
    if base.file_name() == Some(DISK.as_ref()) {
        let new = base.with_file_name(format!("{EMPTY}.{}", std::process::id()));
        let _ = fs::copy(disk, &new).and_then(|_| fs::rename(&new, base.with_file_name(EMPTY)));
    }
}

/// The name of the file that a qcow2 disk stands on: its place is at 8 in the header, its length at 16.
fn backing(bytes: &[u8]) -> Option<&[u8]> {
    let at = usize::try_from(u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?)).ok()?;
    let length = usize::try_from(u32::from_be_bytes(bytes.get(16..20)?.try_into().ok()?)).ok()?;
    bytes.get(at..at.checked_add(length)?)
}

/// What a disk is, by its first bytes; said to qemu, which would otherwise guess from what a guest may have written.
pub fn format_of(disk: &Path) -> &'static str {
    let mut magic = [0; 4];
    let read = fs::File::open(disk).and_then(|mut file| file.read_exact(&mut magic));
    match &magic {
        _ if read.is_err() => "raw",
        b"QFI\xfb" => "qcow2",
        b"KDMV" => "vmdk",
        _ => "raw",
    }
}

/// What a disk takes on this host, MiB.
pub fn taken_mb(disk: &Path) -> Option<f64> {
    let blocks = fs::metadata(disk).ok()?.blocks();
    Some((blocks as f64 / 2048.0 * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_disk_is_used_only_over_the_disk_it_was_made_for() {
        let dir = std::env::temp_dir().join(format!("disk-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (base, disk) = (dir.join(DISK), dir.join("new"));
        let name = base.as_os_str().as_bytes();
        let mut bytes = b"QFI\xfb\0\0\0\x03\0\0\0\0\0\0\0\x20".to_vec();
        bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        bytes.resize(32, 0);
        bytes.extend(name);
        assert!(!copy_of_empty(&base, &disk));
        fs::write(dir.join(EMPTY), &bytes).unwrap();
        assert!(copy_of_empty(&base, &disk));
        assert_eq!((fs::read(&disk).unwrap(), format_of(&disk)), (bytes, "qcow2"));
        assert!(!copy_of_empty(&dir.join("other"), &disk), "it is over another disk");
        assert_eq!(backing(b"QFI\xfb\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01"), None);
        fs::remove_dir_all(&dir).unwrap();
    }
}
