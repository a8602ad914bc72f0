//! Writing: the directory of the report.

pub mod write;

use edge::{Failure, Result};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Says that the directory is ours: only then may anything in it be removed.
const MARKER: &str = ".report-html";
/// Directories whose files all are ours.
const DIRS: [&str; 4] = ["packages", "logs", "badges", "feeds"];

/// The directory of the report. A file whose content is already there is not touched; any other appears whole. Nothing is
/// synced file by file: a report can be made again, and 20,000 of them would take minutes.
#[derive(Debug)]
pub struct Site {
    /// Held while the report is written: one after the other, never two into each other's files.
    _lock: File,
    root: PathBuf,
    pub written: AtomicU64,
    pub unchanged: AtomicU64,
    serial: AtomicU64,
}

impl Site {
    pub fn open(root: &Path) -> Result<Site> {
        let marker = root.join(MARKER);
        // first the directories are looked for, then the marker: whoever makes them has made it before
        if let Some(dir) = DIRS.iter().map(|dir| root.join(dir)).find(|dir| dir.exists())
            && !marker.exists()
        {
            return Err(Failure::cant_create(format!(
                "cannot write a report to \"{}\": \"{}\" is there and was not made by report-html",
                root.display(),
                dir.display()
            ))
            .hint("name a directory of its own for the report"));
        }
        let make = |dir: &Path| {
            fs::create_dir_all(dir).map_err(|e| {
                Failure::cant_create(format!("cannot make directory \"{}\": {e}", dir.display()))
            })
        };
        make(root)?;
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&marker)
            .and_then(|file| {
                rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
                Ok(file)
            })
            .map_err(|e| Failure::cant_create(format!("cannot write \"{}\": {e}", marker.display())))?;
        for dir in DIRS {
            make(&root.join(dir))?;
        }
        Ok(Site {
            _lock: lock,
            root: root.to_owned(),
            written: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            serial: AtomicU64::new(0),
        })
    }

    /// Makes `relative` hold `data`; its directory is made when missing.
    pub fn write(&self, relative: &str, data: &[u8]) -> Result<()> {
        let path = self.root.join(relative);
        if same(&path, data) {
            self.unchanged.fetch_add(1, Relaxed);
            return Ok(());
        }
        let cannot =
            |e: std::io::Error| Failure::cant_create(format!("cannot write \"{}\": {e}", path.display()));
        let parent = path.parent().unwrap_or(&self.root);
        let temporary =
            parent.join(format!(".{}.{}.tmp", std::process::id(), self.serial.fetch_add(1, Relaxed)));
        let written = match fs::write(&temporary, data) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(parent).and_then(|()| fs::write(&temporary, data))
            }
            other => other,
        };
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &path)) {
            let _ = fs::remove_file(&temporary);
            return Err(cannot(error));
        }
        self.written.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Takes away what a killed run left beside the pages.
    pub fn prune_temporary(&self) -> Result<()> {
        self.prune("", |name| !(name.starts_with('.') && name.ends_with(".tmp")))
    }

    /// Takes away files in `dir` that `keep` does not want: pages of packages that are gone, what a killed run left.
    pub fn prune(&self, dir: &str, keep: impl Fn(&str) -> bool) -> Result<()> {
        let path = self.root.join(dir);
        let Ok(entries) = fs::read_dir(&path) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(&keep) {
                continue;
            }
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed =
                if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Failure::cant_create(format!(
                        "cannot remove \"{}\": {error}",
                        entry.path().display()
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// True when the file holds just this.
fn same(path: &Path, data: &[u8]) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == data.len() as u64) {
        return false;
    }
    let mut there = Vec::with_capacity(data.len());
    file.read_to_end(&mut there).is_ok() && there == data
}
