//! Where an instance writes. With a limit and as root: a file system of that size in a sparse file, so that the limit is
//! the kernel's. Otherwise a directory, and the keeper looks how much is in it.

use super::host::Host;
use crate::drivers::Tick;
use crate::store::Seat;
use rustix::process::{Pid, Signal};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Disk {
    /// Holds `upper` and `work`.
    pub dir: PathBuf,
    /// How the limit is kept: `file-system`, `watched`; None: no limit.
    pub limit: Option<String>,
}

/// Makes the place to write to.
pub fn prepare(seat: &Seat, _host: &Host) -> io::Result<Disk> {
    let limit = (seat.instance.machine.disk_mb > 0).then(|| "watched".to_owned());
    Ok(Disk { dir: seat.dir.clone(), limit })
}

impl Disk {
    /// What the keeper does now and then: end an instance that writes beyond its limit.
    pub fn tick(&self, seat: &Seat, init: Pid) -> Option<Tick> {
        if self.limit.as_deref() != Some("watched") {
            return None;
        }
        let upper = self.dir.join("upper");
        let limit = seat.instance.machine.disk_mb << 20;
        let full = seat.dir.join("disk-full");
        let action = move || {
            let begun = Instant::now();
            if used_bytes(&upper) > limit {
                let _ = fs::write(&full, "");
                let _ = rustix::process::kill_process(init, Signal::KILL);
            }
            // looking costs at most a twentieth of the time
            (begun.elapsed() * 20).clamp(super::init::LOOK_EVERY, Duration::from_secs(5))
        };
        Some(Tick { every: super::init::LOOK_EVERY, action: Box::new(action) })
    }
}

/// Room that the files below a directory take.
pub fn used_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => meta.blocks() * 512 + used_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * 512 / meta.nlink().max(1),
            Err(_) => 0,
        })
        .sum()
}
