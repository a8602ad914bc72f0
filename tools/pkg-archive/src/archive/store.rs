//! The archive directory: zips, their checksum files, and what else stands beside them. A file appears whole or not
//! at all, and one whose content stays is not touched: make goes by the times.

use crate::archive::state::Stamp;
use crate::content::checksum::sha1_hex;
use edge::{Context, Exit, Failure, Result};
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Store {
    pub dir: PathBuf,
    _lock: Option<File>,
}

/// How a zip on disk compares with what is remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zip {
    /// As remembered.
    Intact(Stamp),
    /// The zip is right, its checksum file is not.
    ChecksumLost(Stamp),
    Lost,
}

impl Store {
    /// Opens or makes the directory, alone: a second run on it at the same time is refused.
    pub fn open(dir: &Path) -> Result<Store> {
        let own = dir.join(OWN);
        fs::create_dir_all(dir.join("pkgs"))
            .and_then(|()| fs::create_dir_all(&own))
            .context(Exit::CantCreate, || format!("cannot write \"{}\"", dir.display()))?;
        let dir =
            dir.canonicalize().context(Exit::CantCreate, || format!("cannot write \"{}\"", dir.display()))?;
        let lock = File::create(own.join("lock"))
            .context(Exit::CantCreate, || format!("cannot write \"{}\"", own.display()))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Failure::try_again(format!(
                "cannot archive into \"{}\": another pkg-archive is at work there",
                dir.display()
            ))
            .hint("wait for it, or choose another directory"));
        }
        let store = Store { dir, _lock: Some(lock) };
        store.tidy();
        Ok(store)
    }

    /// The directory as it is, for looking only.
    pub fn look(dir: &Path) -> Store {
        Store { dir: dir.canonicalize().unwrap_or_else(|_| dir.to_owned()), _lock: None }
    }

    /// Names of the packages that have a zip.
    pub fn archived(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.dir.join("pkgs")).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".zip")?.to_owned()))
            .collect()
    }

    /// Leftovers of runs that were killed.
    fn tidy(&self) {
        let _ = fs::remove_dir_all(self.work_dir());
        for entry in fs::read_dir(self.dir.join("pkgs")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub fn own_dir(&self) -> PathBuf {
        self.dir.join(OWN)
    }
    /// For repositories and other things of one run.
    pub fn work_dir(&self) -> PathBuf {
        self.own_dir().join("work")
    }
    pub fn zip(&self, package: &str) -> PathBuf {
        self.dir.join("pkgs").join(format!("{package}.zip"))
    }
    fn checksum(&self, package: &str) -> PathBuf {
        self.dir.join("pkgs").join(format!("{package}.zip.CHECKSUM"))
    }

    /// Compares a zip with what is remembered; it is read only when the file looks touched.
    pub fn check(&self, package: &str, stamp: &Stamp) -> Zip {
        let Ok(metadata) = fs::metadata(self.zip(package)) else { return Zip::Lost };
        let mut seen = stamp_of(&metadata, stamp.sha1.clone());
        if seen != *stamp {
            let Ok(bytes) = fs::read(self.zip(package)) else { return Zip::Lost };
            seen.sha1 = sha1_hex(&bytes);
            if seen.sha1 != stamp.sha1 {
                return Zip::Lost;
            }
        }
        match fs::read(self.checksum(package)) {
            Ok(text) if text == stamp.sha1.as_bytes() => Zip::Intact(seen),
            _ => Zip::ChecksumLost(seen),
        }
    }

    /// Puts a zip and its checksum in place. True when a file was touched.
    pub fn put(&self, package: &str, zip: &[u8]) -> Result<(Stamp, bool)> {
        let sha1 = sha1_hex(zip);
        let path = self.zip(package);
        let mut touched = false;
        let same = fs::metadata(&path).is_ok_and(|metadata| metadata.len() == zip.len() as u64)
            && fs::read(&path).is_ok_and(|old| old == zip);
        if !same {
            place(&path, zip)?;
            touched = true;
        }
        touched |= self.put_checksum(package, &sha1)?;
        let metadata = fs::metadata(&path)
            .context(Exit::CantCreate, || format!("cannot write \"{}\"", path.display()))?;
        Ok((stamp_of(&metadata, sha1), touched))
    }

    /// The checksum file, if it is not as it should be already.
    pub fn put_checksum(&self, package: &str, sha1: &str) -> Result<bool> {
        let path = self.checksum(package);
        if fs::read(&path).is_ok_and(|old| old == sha1.as_bytes()) {
            return Ok(false);
        }
        place(&path, sha1.as_bytes())?;
        Ok(true)
    }

    /// Removes every zip, checksum and failure record of packages that are not in `keep`. Gives their names.
    pub fn remove_others(
        &self,
        dir: &str,
        suffixes: &[&str],
        keep: &BTreeSet<&str>,
    ) -> Result<BTreeSet<String>> {
        let mut removed = BTreeSet::new();
        for entry in fs::read_dir(self.dir.join(dir)).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let package = suffixes.iter().find_map(|suffix| file.strip_suffix(suffix));
            if let Some(package) = package.filter(|package| !keep.contains(package)) {
                fs::remove_file(entry.path())
                    .context(Exit::CantCreate, || format!("cannot remove \"{}\"", entry.path().display()))?;
                removed.insert(package.to_owned());
            }
        }
        Ok(removed)
    }

    /// Writes a file of the archive if its content differs.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<bool> {
        let path = self.dir.join(name);
        if fs::read(&path).is_ok_and(|old| old == content) {
            return Ok(false);
        }
        edge::write_atomic(path, content)?;
        Ok(true)
    }

    /// Replaces a directory of files in one step; files that stay keep their times.
    pub fn write_directory(&self, name: &str, files: &[(String, Vec<u8>)]) -> Result<bool> {
        let old = self.dir.join(name);
        let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let same =
            files.iter().all(|(file, content)| fs::read(old.join(file)).is_ok_and(|seen| seen == *content))
                && all_files(&old, "").iter().all(|file| names.contains(file.as_str()));
        if same {
            return Ok(false);
        }
        let new = self.own_dir().join(format!("{name}.new"));
        let made = || -> std::io::Result<()> {
            let _ = fs::remove_dir_all(&new);
            fs::create_dir_all(&new)?;
            for (file, content) in files {
                let path = new.join(file);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let stays = fs::read(old.join(file)).is_ok_and(|seen| seen == *content);
                if !(stays && fs::hard_link(old.join(file), &path).is_ok()) {
                    fs::write(&path, content)?;
                }
            }
            sync(&new)?;
            exchange(&new, &old)
        };
        made().context(Exit::CantCreate, || format!("cannot write \"{}\"", old.display()))?;
        let _ = fs::remove_dir_all(&new);
        Ok(true)
    }

    /// Makes everything written so far survive a power failure.
    pub fn sync(&self) -> Result<()> {
        sync(&self.dir).context(Exit::CantCreate, || format!("cannot write \"{}\"", self.dir.display()))
    }
}

const OWN: &str = ".pkg-archive";

fn sync(dir: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

/// Swaps two directories in one step; where the file system cannot, in two.
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    if !old.exists() {
        return fs::rename(new, old);
    }
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(_) => {
            let aside = new.with_extension("old");
            let _ = fs::remove_dir_all(&aside);
            fs::rename(old, &aside)?;
            fs::rename(new, old)?;
            fs::remove_dir_all(&aside)
        }
    }
}

fn all_files(dir: &Path, prefix: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(all_files(&entry.path(), &format!("{name}/")));
        } else {
            files.push(name);
        }
    }
    files
}

fn stamp_of(metadata: &Metadata, sha1: String) -> Stamp {
    let changed_ns = metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec());
    Stamp { sha1, bytes: metadata.len(), inode: metadata.ino(), changed_ns }
}

/// Written beside, then renamed. Synced with everything else before the run says that it is done.
fn place(path: &Path, content: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.tmp"));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        file.write_all(content)?;
        drop(file);
        fs::rename(&beside, path)
    };
    write().context(Exit::CantCreate, || format!("cannot write \"{}\"", path.display())).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
