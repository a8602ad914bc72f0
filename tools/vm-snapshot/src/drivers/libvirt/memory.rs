//! A snapshot of a running domain: what its disks hold and, where QEMU can move it, its memory. A memory that libvirt itself
//! saves belongs to a domain of the same name and UUID, so that only one could go on from it; this one fits any number.

use super::domain::{self, Disk};
use super::instance;
use super::virsh::Virsh;
use crate::drivers::vm::disk;
use crate::state::store::Seat;
use edge::{Failure, Result, say};
use serde_json::json;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// Name of the description that a machine was made by, in the directory of an instance and in a layer.
pub const MACHINE: &str = "machine.xml";
/// What the disks were that a machine stands on, in the directory of an instance and in a layer.
pub const BASES: &str = "bases";
/// Variables of the firmware, where it has any.
pub const VARIABLES: &str = "variables";

/// Stops a domain for a moment and writes what it is into the directory `new`; then it goes on.
pub fn save(seat: &Seat, virsh: &Virsh, new: &Path) -> Result<()> {
    let uuid = instance::uuid(seat);
    let machine = fs::read_to_string(seat.dir.join(MACHINE))
        .map_err(|error| Failure::bug(format!("{MACHINE}: {error}")))?;
    let disks = domain::disks(&domain::parse(&machine)?)?;
    virsh.monitor(&uuid, "stop", &json!({}))?;
    let saved = write(seat, virsh, &uuid, new, &disks);
    let goes_on = virsh.monitor(&uuid, "cont", &json!({}));
    saved.and(goes_on).map(|_| ())
}

fn write(seat: &Seat, virsh: &Virsh, uuid: &str, new: &Path, disks: &[Disk]) -> Result<()> {
    let cannot = |error: &std::io::Error| Failure::cant_create(format!("cannot write a snapshot: {error}"));
    let memory = new.join("memory");
    let file = File::create(&memory).map_err(|error| cannot(&error))?;
    // 0: as fast as it goes
    virsh.monitor(uuid, "migrate-set-parameters", &json!({"max-bandwidth": 0}))?;
    if let Err(failure) = virsh.migrate(uuid, "migrate", &file) {
        say::detail(format!("{}; the snapshot has its disk only", failure.message));
        fs::remove_file(&memory).map_err(|error| cannot(&error))?;
    }
    for name in
        disks.iter().map(Disk::file_name).chain([VARIABLES, MACHINE, BASES, "size"].map(str::to_owned))
    {
        let from = seat.dir.join(&name);
        if !from.exists() {
            continue;
        }
        let copied = Command::new("cp").arg("--sparse=always").arg(from).arg(new.join(&name)).status();
        if !copied.map_err(|error| cannot(&error))?.success() {
            return Err(Failure::cant_create(format!("cannot copy {name} into the snapshot")));
        }
    }
    Ok(())
}

/// Gives a domain that waits for it the memory of a snapshot, and lets it run.
pub fn load(seat: &Seat, virsh: &Virsh) -> Result<()> {
    let Some(memory) = disk::memory(seat) else { return Ok(()) };
    let file = File::open(&memory)
        .map_err(|error| Failure::try_again(format!("cannot read \"{}\": {error}", memory.display())))?;
    let uuid = instance::uuid(seat);
    virsh.migrate(&uuid, "migrate-incoming", &file)?;
    virsh.run(&["resume", &uuid]).map(|_| ())
}
