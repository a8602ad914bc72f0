//! A directory that takes the place of another one at one instant.

use crate::write::cannot_write;
use edge::{Cleanup, Failure, Result, say};
use rustix::fs::{FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Part of the name of every directory that is still being made.
const MARK: &str = ".catalog-copy.";

/// A directory being made beside its place (inside it, where the parent cannot be written). It goes away unless
/// [`NewDirectory::commit`] is reached; one that a killed run left behind is removed by the next run.
#[derive(Debug)]
pub struct NewDirectory {
    /// The place, links resolved.
    place: PathBuf,
    path: PathBuf,
    inside: bool,
    cleanup: Option<Cleanup>,
    /// Locked as long as this run lives.
    lock: OwnedFd,
}

impl NewDirectory {
    pub fn create(place: &Path) -> Result<NewDirectory> {
        let place = resolved(place)?;
        let parent = place.parent().unwrap_or(Path::new("/")).to_owned();
        fs::create_dir_all(&parent).map_err(|error| cannot_write(&parent, &error))?;
        let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let inside = is_mount_point(&place) || (place.is_dir() && !is_writable(&parent));
        let around = if inside { &place } else { &parent };
        // one at a time from here: what is made but not yet locked would look like a leftover
        let turn = wait_for_turn(around);
        let path = make(around, &name).map_err(|error| cannot_write(&place, &error))?;
        let lock = open_locked(&path).map_err(|error| cannot_write(&path, &error.into()))?;
        let leftover = path.clone();
        let cleanup = Some(edge::on_exit(move || {
            // what an exchange brought here may be a file
            let _ = fs::remove_dir_all(&leftover).or_else(|_| fs::remove_file(&leftover));
        }));
        if turn.is_some() {
            remove_leftovers(around, &name, &path);
        }
        drop(turn);
        if let Ok(metadata) = fs::metadata(&place)
            && metadata.is_dir()
            && !inside
        {
            let _ = fs::set_permissions(&path, metadata.permissions());
        }
        Ok(NewDirectory { place, path, inside, cleanup, lock })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes along what else is in the old directory: everything but the files of a catalog. Files are linked, not
    /// copied.
    pub fn keep_strays(&self) -> Result<()> {
        if self.inside || !self.place.is_dir() {
            return Ok(());
        }
        let is_stray = |path: &Path, depth: usize| match depth {
            0 => !["pkgs", "pkgs-all"].iter().any(|name| path.ends_with(name)),
            1 if path.parent().is_some_and(|parent| parent.ends_with("pkg")) => path.is_dir(),
            _ => true,
        };
        link_tree(&self.place, &self.path, 0, &is_stray)
    }

    /// Waits until the file system has all of it on the disk.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.lock).map_err(|error| cannot_write(&self.path, &error.into()))
    }

    /// Takes the place. Whoever looks sees the old directory or the new one, whole.
    pub fn commit(mut self) -> Result<()> {
        let result = if self.inside { self.swap_inside() } else { self.swap() };
        result.map_err(|error| cannot_write(&self.place, &error))?;
        // what now lies at `path` is the old directory, if there was one: dropping `cleanup` removes it
        drop(self.cleanup.take());
        Ok(())
    }

    fn swap(&self) -> io::Result<()> {
        let cwd = rustix::fs::CWD;
        match rustix::fs::renameat_with(cwd, &self.path, cwd, &self.place, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            // a file system without the flag: an empty place can be renamed to all the same
            Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(&self.place).is_err() => {
                return fs::rename(&self.path, &self.place);
            }
            Err(Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::renameat_with(cwd, &self.path, cwd, &self.place, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                say::detail("this file system cannot exchange directories: for an instant none is there");
                let old = self.path.with_extension("old");
                fs::rename(&self.place, &old)?;
                if let Err(error) = fs::rename(&self.path, &self.place) {
                    fs::rename(&old, &self.place)?;
                    return Err(error);
                }
                fs::rename(&old, &self.path)
            }
            result => Ok(result?),
        }
    }

    /// Where only the inside can be written each part is exchanged by itself, `pkgs-all` first.
    fn swap_inside(&self) -> io::Result<()> {
        say::detail("cannot exchange the directory as a whole: exchanging pkgs-all, pkgs and pkg one by one");
        let cwd = rustix::fs::CWD;
        for name in ["pkgs-all", "pkgs", "pkg"] {
            let (new, place) = (self.path.join(name), self.place.join(name));
            match rustix::fs::renameat_with(cwd, &new, cwd, &place, RenameFlags::EXCHANGE) {
                Ok(()) => {}
                Err(Errno::NOENT) => fs::rename(&new, &place)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The place with its links followed: a link to a directory stays a link.
fn resolved(place: &Path) -> Result<PathBuf> {
    match place.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        _ => {
            let absolute = std::path::absolute(place).map_err(|error| cannot_write(place, &error))?;
            // a link to nowhere is itself replaced
            match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
                (Some(parent), Some(name)) => Ok(parent.join(name)),
                _ => Ok(absolute),
            }
        }
    }
}

/// A mount point cannot be renamed.
fn is_mount_point(place: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let asked = statx(CWD, place, AtFlags::empty(), StatxFlags::TYPE);
    asked.is_ok_and(|answer| answer.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn make(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    let made = tempfile::Builder::new()
        .prefix(&format!(".{name}{MARK}"))
        .permissions(mode)
        .disable_cleanup(true)
        .tempdir_in(parent)?;
    Ok(made.keep())
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn open_locked(path: &Path) -> rustix::io::Result<OwnedFd> {
    let directory = open_directory(path)?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        // no locks on this file system: leftovers stay
        Err(error) if error != Errno::WOULDBLOCK => Ok(directory),
        result => result.map(|()| directory),
    }
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

/// A lock on the directory around; given up after a second, as somebody else may hold it for reasons of their own.
fn wait_for_turn(around: &Path) -> Option<OwnedFd> {
    let directory = open_directory(around).ok()?;
    for _ in 0..100 {
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(_) => return None,
            Ok(()) => return Some(directory),
        }
    }
    None
}

/// Removes what killed runs left: directories of our naming whose lock nobody holds.
fn remove_leftovers(around: &Path, name: &str, ours: &Path) {
    let prefix = format!(".{name}{MARK}");
    for entry in fs::read_dir(around).into_iter().flatten().flatten() {
        let path = entry.path();
        if path != ours
            && entry.file_name().to_string_lossy().starts_with(&prefix)
            && open_locked(&path).is_ok()
        {
            say::detail(format!("removing {}, left behind by an earlier run", path.display()));
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn link_tree(from: &Path, to: &Path, depth: usize, keep: &dyn Fn(&Path, usize) -> bool) -> Result<()> {
    let failed = |path: &Path, error: io::Error| {
        Failure::cant_create(format!("cannot keep \"{}\": {error}", path.display()))
    };
    for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
        let path = entry.map_err(|error| failed(from, error))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if !keep(&path, depth) {
            continue;
        }
        let kind = fs::symlink_metadata(&path).map_err(|error| failed(&path, error))?;
        let done = if kind.is_dir() {
            match fs::create_dir(&target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => {
                    link_tree(&path, &target, depth + 1, keep)?;
                    fs::set_permissions(&target, kind.permissions())
                }
            }
        } else if kind.is_symlink() {
            fs::read_link(&path).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else {
            fs::hard_link(&path, &target).or_else(|_| fs::copy(&path, &target).map(|_| ()))
        };
        done.map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
