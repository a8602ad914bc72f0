//! A catalog directory: `pkg/NAME`, `pkgs` and `pkgs-all`, byte for byte as Racket writes them, names sorted.

use crate::gather::{Gathered, Slot};
use crate::write::cannot_write;
use crate::write::swap::NewDirectory;
use catalog::Name;
use edge::{Failure, Result, progress};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Writes the catalog into a new directory. It has not taken its place yet.
pub fn write(gathered: &Gathered, new: &NewDirectory) -> Result<()> {
    let root = new.path();
    let pkg = root.join("pkg");
    std::fs::create_dir(&pkg).map_err(|error| cannot_write(&pkg, &error))?;
    let slots: Vec<(&Name, &Slot)> = gathered.slots().collect();
    let bar = progress::items("writing", Some(slots.len() as u64));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let done = || bar.inc(1);
    let part = slots.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        let files: Vec<_> = slots
            .chunks(part)
            .map(|part| {
                let (pkg, done) = (&pkg, &done);
                scope.spawn(move || write_files(gathered, part, pkg, done))
            })
            .collect();
        let lists = write_lists(gathered, &slots, root);
        files.into_iter().fold(lists, |result, thread| {
            let written = thread.join().unwrap_or_else(|_| Err(Failure::bug("a writing thread died")));
            result.and(written)
        })
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Writes `pkg/NAME`. Paths are relative to the open directory: the kernel need not walk to it 2,500 times.
fn write_files(
    gathered: &Gathered,
    slots: &[(&Name, &Slot)],
    pkg: &Path,
    done: &(impl Fn() + Sync),
) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| cannot_write(path, &error);
    let directory = rustix::fs::open(pkg, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed(pkg, error.into()))?;
    let (flags, mode) =
        (OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o666));
    let mut scratch = Vec::new();
    for (name, slot) in slots {
        let text = gathered.text(slot, &mut scratch)?;
        let name = name.as_str();
        rustix::fs::openat(&directory, name, flags, mode)
            .map_err(std::io::Error::from)
            .and_then(|file| File::from(file).write_all(text))
            .map_err(|error| failed(&pkg.join(name), error))?;
        done();
    }
    Ok(())
}

fn write_lists(gathered: &Gathered, slots: &[(&Name, &Slot)], root: &Path) -> Result<()> {
    let path = root.join("pkgs-all");
    let write = || -> std::io::Result<std::result::Result<(), Failure>> {
        let mut file = BufWriter::with_capacity(64 << 10, File::create(&path)?);
        file.write_all(b"#hash(")?;
        let mut scratch = Vec::new();
        for (at, (name, slot)) in slots.iter().enumerate() {
            write!(file, "{}(\"{name}\" . ", if at > 0 { " " } else { "" })?;
            match gathered.text(slot, &mut scratch) {
                Ok(text) => file.write_all(text)?,
                Err(failure) => return Ok(Err(failure)),
            }
            file.write_all(b")")?;
        }
        file.write_all(b")")?;
        file.flush()?;
        Ok(Ok(()))
    };
    write().map_err(|error| cannot_write(&path, &error))??;
    let path = root.join("pkgs");
    let names: Vec<String> = slots.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    std::fs::write(&path, format!("({})", names.join(" "))).map_err(|error| cannot_write(&path, &error))
}
