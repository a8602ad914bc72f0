//! Puts the changed files of a catalog directory in place, all at once: a copy of the directory (hard links to what
//! does not change) is made beside it and swapped with it in one system call. Whoever looks finds the old catalog
//! or the new one, after kill -9 too.

use super::Files;
use edge::{Context, Exit, Failure, Result};
use rustix::fs::{FlockOperation, RenameFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
            return Ok(Lock { _file: file });
        }
    }
}

/// Replaces the files.
pub fn replace(lock: Lock, directory: &Path, files: &Files) -> Result<()> {
    let action = || format!("cannot write catalog \"{}\"", directory.display());
    let parent =
        directory.parent().ok_or_else(|| Failure::cant_create(format!("{}: it is the root", action())))?;
    clear_leftovers(parent, directory);
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let staging = tempfile::Builder::new()
        .prefix(&format!("{STAGING}{name}-"))
        .suffix(".tmp")
        .tempdir_in(parent)
        .context(Exit::CantCreate, action)?
        .keep();
    // true once the program is on its way out: then the copy goes away and must not be swapped in half gone
    let stopping = Arc::new(Mutex::new(false));
    let cleanup = {
        let (staging, stopping) = (staging.clone(), stopping.clone());
        edge::on_exit(move || {
            *stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
            let _ = fs::remove_dir_all(staging);
        })
    };
    let copied = copy(directory, &staging, Path::new(""), files, &|| is_set(&stopping));
    copied.context(Exit::CantCreate, action)?;
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
    swapped.map_err(|error| {
        Failure::cant_create(format!("{}: {error}", action()))
            .hint("a mount point cannot be swapped: keep the catalog in a directory below it")
    })?;
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    // what is at `staging` now is the old catalog
    drop(cleanup);
    drop(lock);
    synced.context(Exit::CantCreate, action)
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
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Fills `to` with what `from` has, apart from the changed files, which are written.
fn copy(
    from: &Path,
    to: &Path,
    below: &Path,
    files: &Files,
    stopping: &dyn Fn() -> bool,
) -> std::io::Result<()> {
    let mut made: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from.join(below))? {
        if stopping() {
            die();
        }
        let entry = entry?;
        let path = below.join(entry.file_name());
        let (old, new) = (from.join(&path), to.join(&path));
        let kind = entry.file_type()?;
        match files.get(&path) {
            Some(None) => {}
            Some(Some(text)) => {
                write(&new, text, Some(&old))?;
                made.push(path);
            }
            None if kind.is_dir() => {
                fs::create_dir(&new)?;
                copy(from, to, &path, files, stopping)?;
            }
            None if kind.is_symlink() => std::os::unix::fs::symlink(fs::read_link(&old)?, &new)?,
            None => {
                if fs::hard_link(&old, &new).is_err() {
                    fs::copy(&old, &new)?;
                }
            }
        }
    }
    // an entry that only pkgs-all had
    for (path, text) in files {
        let missing = path.parent() == Some(below) && !made.contains(path);
        if let Some(text) = text.as_ref().filter(|_| missing) {
            write(&to.join(path), text, None)?;
        }
    }
    let (dir, like) = (to.join(below), fs::metadata(from.join(below))?);
    let _ = std::os::unix::fs::chown(&dir, Some(like.uid()), Some(like.gid()));
    fs::set_permissions(&dir, like.permissions())?;
    File::open(&dir)?.sync_all()
}

/// Writes a file, synced, with owner and mode of the one it replaces.
fn write(path: &Path, text: &[u8], like: Option<&Path>) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(text)?;
    if let Some(like) = like.and_then(|like| fs::metadata(like).ok()) {
        let _ = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
        file.set_permissions(like.permissions())?;
    }
    file.sync_all()
}
