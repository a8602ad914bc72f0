//! Puts the changed files of a catalog directory in place, all at once: a copy of the directory (hard links to what
//! does not change) is made beside it and swapped with it in one system call. Whoever looks finds the old catalog
//! or the new one, after kill -9 too. Where that cannot be done, file by file (see [`super::journal`]).

use super::{Files, journal};
use edge::{Context, Exit, Failure, Result};
use rustix::fs::{AtFlags, FlockOperation, RenameFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Start of the names of the copies; what a killed run leaves is cleared away by the next one.
const STAGING: &str = ".catalog-edit-";

/// Keeps other edits of the same directory waiting.
pub struct Lock {
    _file: File,
}

/// Waits until no other edit has the directory, and keeps it.
pub fn lock(directory: &Path) -> Result<Lock> {
    let action = || format!("cannot lock \"{}\"", directory.display());
    loop {
        let file = File::open(directory).context(Exit::Unavailable, action)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            edge::say::detail(format!("waiting for another edit of \"{}\"", directory.display()));
            rustix::fs::flock(&file, FlockOperation::LockExclusive).context(Exit::Unavailable, action)?;
        }
        // the one before may have put another directory there
        let locked = file.metadata().context(Exit::Unavailable, action)?;
        let there = fs::metadata(directory).context(Exit::Unavailable, action)?;
        if (locked.dev(), locked.ino()) == (there.dev(), there.ino()) {
            journal::finish(directory).context(Exit::CantCreate, || {
                format!("cannot finish an edit of \"{}\" that was interrupted", directory.display())
            })?;
            return Ok(Lock { _file: file });
        }
    }
}

/// Replaces the files.
pub fn replace(lock: Lock, directory: &Path, files: &Files) -> Result<()> {
    let action = || format!("cannot write catalog \"{}\"", directory.display());
    // whoever stands in the directory would stand in the old one afterwards: most likely the user's shell
    let stands_in_it = std::env::current_dir().is_ok_and(|here| here.starts_with(directory));
    let swapped = match directory.parent() {
        Some(parent) if !stands_in_it => swap(parent, directory, files),
        _ => Err(Trouble::NotHere("somebody stands in it".to_owned())),
    };
    match swapped {
        Ok(()) => {}
        Err(Trouble::NotHere(why)) => {
            edge::say::detail(format!("replacing the files one by one: {why}"));
            journal::replace(directory, files).context(Exit::CantCreate, action)?;
        }
        Err(Trouble::Io(error)) => return Err(Failure::cant_create(format!("{}: {error}", action()))),
    }
    drop(lock);
    Ok(())
}

enum Trouble {
    /// This directory cannot be swapped: a mount point, no right to write beside it, a file system without it.
    NotHere(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

fn swap(parent: &Path, directory: &Path, files: &Files) -> std::result::Result<(), Trouble> {
    clear_leftovers(parent, directory);
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let made =
        tempfile::Builder::new().prefix(&format!("{STAGING}{name}-")).suffix(".tmp").tempdir_in(parent);
    let staging = match made {
        Ok(staging) => staging.keep(),
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            return Err(Trouble::NotHere(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    // true once the program is on its way out: then the copy goes away and must not be swapped in half gone
    let stopping = Arc::new(Mutex::new(false));
    let cleanup = {
        let (staging, stopping) = (staging.clone(), stopping.clone());
        edge::on_exit(move || {
            *stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
            let _ = fs::remove_dir_all(staging);
        })
    };
    copy(directory, &staging, files, &|| is_set(&stopping))?;
    let swapped = {
        let stopping = stopping.lock().unwrap_or_else(PoisonError::into_inner);
        if *stopping {
            drop(stopping);
            die();
        }
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            &staging,
            rustix::fs::CWD,
            directory,
            RenameFlags::EXCHANGE,
        )
    };
    match swapped {
        Ok(()) => {}
        Err(error @ (Errno::BUSY | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) => {
            return Err(Trouble::NotHere(error.to_string()));
        }
        Err(error) => return Err(Trouble::Io(error.into())),
    }
    File::open(parent)?.sync_all()?;
    // what is at `staging` now is the old catalog
    drop(cleanup);
    Ok(())
}

fn is_set(flag: &Mutex<bool>) -> bool {
    *flag.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that got the signal ends the program; until then nothing more is to be done.
fn die() -> ! {
    loop {
        std::thread::park();
    }
}

/// Copies of runs that were killed. Safe under the lock: no other run is making one for this directory.
fn clear_leftovers(parent: &Path, directory: &Path) {
    let prefix = format!("{STAGING}{}-", directory.file_name().unwrap_or_default().to_string_lossy());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        // six letters and `.tmp`: not the copy of a catalog whose name is longer
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 10 && rest.ends_with(".tmp")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Fills `to` with what `from` has, apart from the changed files, which are written.
fn copy(from: &Path, to: &Path, files: &Files, stopping: &(dyn Fn() -> bool + Sync)) -> std::io::Result<()> {
    let write_at = |at_top: bool| -> std::io::Result<()> {
        for (path, text) in files {
            let is_at_top = path.parent() == Some(Path::new(""));
            if let Some(text) = text.as_ref().filter(|_| is_at_top == at_top) {
                write(&to.join(path), text, Some(&from.join(path)))?;
            }
        }
        Ok(())
    };
    // pkgs-all is on its way to the disk while the thousands of others are linked
    std::thread::scope(|scope| {
        let written = scope.spawn(|| write_at(true));
        let linked = link(from, to, Path::new(""), files, stopping);
        written.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread ended early"))).and(linked)
    })?;
    write_at(false)?;
    let mut directories: Vec<&Path> = files.keys().filter_map(|path| path.parent()).collect();
    directories.dedup();
    directories.into_iter().try_for_each(|dir| File::open(to.join(dir))?.sync_all())?;
    File::open(to)?.sync_all()
}

/// Links everything that does not change.
fn link(
    from: &Path,
    to: &Path,
    below: &Path,
    files: &Files,
    stopping: &dyn Fn() -> bool,
) -> std::io::Result<()> {
    let (old_dir, new_dir) = (File::open(from.join(below))?, File::open(to.join(below))?);
    for entry in fs::read_dir(from.join(below))? {
        if stopping() {
            die();
        }
        let entry = entry?;
        let name = entry.file_name();
        let path = below.join(&name);
        let kind = entry.file_type()?;
        if files.contains_key(&path) {
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(to.join(&path))?;
            link(from, to, &path, files, stopping)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(from.join(&path))?, to.join(&path))?;
        } else if rustix::fs::linkat(&old_dir, &name, &new_dir, &name, AtFlags::empty()).is_err() {
            fs::copy(from.join(&path), to.join(&path))?;
        }
    }
    let like = old_dir.metadata()?;
    let _ = std::os::unix::fs::fchown(&new_dir, Some(like.uid()), Some(like.gid()));
    new_dir.set_permissions(like.permissions())
}

/// Writes a file, synced, with owner and mode of the one it replaces.
pub fn write(path: &Path, text: &[u8], like: Option<&Path>) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(text)?;
    if let Some(like) = like.and_then(|like| fs::metadata(like).ok()) {
        let _ = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
        file.set_permissions(like.permissions())?;
    }
    file.sync_all()
}
