//! Writing: the directory of the report.

pub mod write;

use crate::input::whole::clean_copy;
use crate::pages::html::address;
use edge::{Failure, Result};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Says that the directory is ours: only then may anything in it be removed.
const MARKER: &str = ".report-html";
/// Directories whose files all are ours.
const DIRS: [&str; 4] = ["packages", "logs", "badges", "feeds"];

/// The directory of the report. A file whose content is already there is not touched; any other appears whole. Nothing is
/// synced file by file: a report can be made again, and 20,000 of them would take minutes.
///
/// A first report of 20,000 packages is mostly system calls. So files of a directory that holds none yet are made in a
/// directory beside it ([`Site::begin`]), which appears whole ([`Site::end`]): no file has to be looked for and renamed.
#[derive(Debug)]
pub struct Site {
    /// Held while the report is written: one after the other, never two into each other's files.
    _lock: File,
    root: PathBuf,
    /// Paths are taken from here.
    directory: OwnedFd,
    /// Directories that are being made beside their place.
    fresh: Mutex<BTreeSet<&'static str>>,
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
        let directory = rustix::fs::open(root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Failure::cant_create(format!("cannot open \"{}\": {e}", root.display())))?;
        Ok(Site {
            _lock: lock,
            root: root.to_owned(),
            directory,
            fresh: Mutex::default(),
            written: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            serial: AtomicU64::new(0),
        })
    }

    /// From here to [`Site::end`] the files of `dir` are made beside it, if it is empty.
    pub fn begin(&self, dir: &'static str) -> Result<()> {
        if fs::read_dir(self.root.join(dir)).is_ok_and(|mut entries| entries.next().is_none()) {
            let beside = self.root.join(beside(dir));
            // what a killed run left
            let _ = fs::remove_dir_all(&beside);
            fs::create_dir(&beside).map_err(|e| self.cannot(&beside, e))?;
            self.fresh().insert(dir);
        }
        Ok(())
    }

    pub fn end(&self, dir: &'static str) -> Result<()> {
        if self.fresh().remove(dir) {
            let place = self.root.join(dir);
            fs::rename(self.root.join(beside(dir)), &place).map_err(|e| self.cannot(&place, e))?;
        }
        Ok(())
    }

    /// Makes `relative` hold `data`; its directory is made when missing.
    pub fn write(&self, relative: &str, data: &[u8]) -> Result<()> {
        let cannot = |e: Errno| self.cannot(&self.root.join(relative), e.into());
        let (dir, _) = relative.split_once('/').unwrap_or_default();
        if self.fresh().contains(dir) {
            let path = format!("{}{}", beside(dir), &relative[dir.len()..]);
            self.create(&path, data).map_err(cannot)?;
        } else if self.same(relative, data) {
            self.unchanged.fetch_add(1, Relaxed);
            return Ok(());
        } else {
            let parent = relative.rfind('/').map_or("", |at| &relative[..=at]);
            let temporary =
                format!("{parent}.{}.{}.tmp", std::process::id(), self.serial.fetch_add(1, Relaxed));
            let written = self
                .create(&temporary, data)
                .and_then(|()| rustix::fs::renameat(&self.directory, &temporary, &self.directory, relative));
            if let Err(error) = written {
                let _ = rustix::fs::unlinkat(&self.directory, &temporary, AtFlags::empty());
                return Err(cannot(error));
            }
        }
        self.written.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Makes `relative` a clean copy of a log. One that is as old as the log is of it: neither is read again.
    pub fn copy_log(&self, relative: &str, log: &Path) -> Result<()> {
        let (dir, _) = relative.split_once('/').unwrap_or_default();
        let place = if self.fresh().contains(dir) {
            self.root.join(format!("{}{}", beside(dir), &relative[dir.len()..]))
        } else {
            self.root.join(relative)
        };
        let copy = || -> std::io::Result<bool> {
            let from = File::open(log)?;
            let made = from.metadata()?.modified()?;
            if fs::metadata(&place).and_then(|there| there.modified()).is_ok_and(|there| there == made) {
                return Ok(false);
            }
            let parent = place.parent().unwrap_or(&self.root);
            fs::create_dir_all(parent)?;
            let temporary =
                parent.join(format!(".{}.{}.tmp", std::process::id(), self.serial.fetch_add(1, Relaxed)));
            let to = File::create(&temporary)?;
            let copied =
                clean_copy(BufReader::with_capacity(1 << 16, from), BufWriter::with_capacity(1 << 16, &to))
                    .and_then(|()| to.set_modified(made))
                    .and_then(|()| fs::rename(&temporary, &place));
            if copied.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            copied.map(|()| true)
        };
        match copy() {
            Ok(true) => self.written.fetch_add(1, Relaxed),
            Ok(false) => self.unchanged.fetch_add(1, Relaxed),
            Err(error) => return Err(self.cannot(&place, error)),
        };
        Ok(())
    }

    /// Makes the files of `dir` other names of files of the report: `names` has for each the file's address.
    pub fn link_all(&self, dir: &str, names: &BTreeMap<String, String>) -> Result<()> {
        let place = self.root.join(dir);
        let cannot = |error: std::io::Error| self.cannot(&place, error);
        fs::create_dir_all(&place).map_err(cannot)?;
        let there: BTreeMap<String, u64> = fs::read_dir(&place)
            .map_err(cannot)?
            .filter_map(|entry| {
                entry.ok().and_then(|entry| Some((entry.file_name().into_string().ok()?, entry.ino())))
            })
            .collect();
        let mut files: BTreeMap<&str, u64> = BTreeMap::new();
        for file in names.values() {
            if !files.contains_key(file.as_str()) {
                files.insert(file, fs::metadata(self.root.join(file)).map_err(cannot)?.ino());
            }
        }
        for (name, file) in names {
            let (from, to) = (self.root.join(file), place.join(name));
            match there.get(name) {
                Some(inode) if *inode == files[file.as_str()] => continue,
                // where files cannot have many names, it is a file of its own
                Some(_) => {
                    let beside = place.join(format!(".{}.tmp", std::process::id()));
                    let made = fs::hard_link(&from, &beside).or_else(|_| fs::copy(&from, &beside).map(drop));
                    made.and_then(|()| fs::rename(&beside, &to)).map_err(cannot)?;
                }
                None => {
                    fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).map_err(cannot)?
                }
            }
        }
        self.prune(dir, |name| names.contains_key(name))
    }

    /// A new file at `path`, its directory too when that is missing.
    fn create(&self, path: &str, data: &[u8]) -> std::result::Result<(), Errno> {
        let open = || {
            let how = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&self.directory, path, how, Mode::from_raw_mode(0o666))
        };
        let file = match open() {
            Err(Errno::NOENT) => {
                let parent = self.root.join(path);
                let _ = parent.parent().map(fs::create_dir_all);
                open()?
            }
            other => other?,
        };
        let mut rest = data;
        while !rest.is_empty() {
            match rustix::io::write(&file, rest) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// True when the file holds just this.
    fn same(&self, relative: &str, data: &[u8]) -> bool {
        let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(file) = rustix::fs::openat(&self.directory, relative, how, Mode::empty()) else {
            return false;
        };
        let mut rest = data;
        let mut buffer = vec![0; data.len().clamp(1, 256 * 1024)];
        loop {
            match rustix::io::read(&file, &mut buffer[..]) {
                Ok(0) => return rest.is_empty(),
                Ok(n) if rest.starts_with(&buffer[..n]) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                _ => return false,
            }
        }
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cannot(&self, path: &Path, error: std::io::Error) -> Failure {
        Failure::cant_create(format!("cannot write \"{}\": {error}", path.display()))
    }

    /// Address of another directory, seen from the directory of the report.
    pub fn way_to(&self, other: &Path) -> Option<String> {
        let (here, there) = (self.root.canonicalize().ok()?, other.canonicalize().ok()?);
        let common = here.components().zip(there.components()).take_while(|(a, b)| a == b).count();
        let up = here.components().skip(common).map(|_| "..".to_owned());
        let down = there.components().skip(common).map(|part| address(&part.as_os_str().to_string_lossy()));
        Some(up.chain(down).collect::<Vec<_>>().join("/"))
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

/// Where a directory is made before it appears.
fn beside(dir: &str) -> String {
    format!(".{dir}.tmp")
}
