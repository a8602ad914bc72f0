//! A directory on this machine: what of it belongs to the package, its content, and a fingerprint that tells without
//! reading a byte that nothing in it changed.

use super::git_program;
use crate::args::Mode;
use crate::content::tree::{Tree, TreePath};
use crate::trouble::{Limits, Trouble};
use contract::archived::Cause;
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a directory holds, before any of it is read.
#[derive(Debug)]
pub struct Scan {
    entries: Vec<(TreePath, Option<PathBuf>, u64, bool)>,
    /// Hash over names, sizes, times, inodes and modes of everything that belongs to the package.
    pub fingerprint: String,
    /// False when something changed so recently that it may change again without a trace in its times.
    pub settled: bool,
    /// Links that point to nothing, repositories inside this one: left out.
    pub dangling: Vec<TreePath>,
    pub submodules: Vec<TreePath>,
}

/// Two changes closer than this may carry the same time.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// Looks at a directory. `now` is the time before the first look.
pub fn scan(dir: &Path, mode: Mode, limits: &Limits, now: SystemTime) -> Result<Scan, Trouble> {
    let root = dir.canonicalize().map_err(|error| cannot_read(dir, &error))?;
    if !root.is_dir() {
        return Err(Trouble::gone(format!("no such directory: {}", dir.display())));
    }
    let work_tree = work_tree_of(&root);
    let tracked = match (&work_tree, mode) {
        (Some(top), Mode::Auto | Mode::Source) => git_program::work_tree_files(top, &root)?,
        _ => None,
    };
    let rule = match (&tracked, mode) {
        (Some(files), _) => Rule::Listed(files),
        (None, Mode::Source) => Rule::Source,
        (None, Mode::Auto) if [".hg", ".svn"].iter().any(|name| root.join(name).exists()) => Rule::Source,
        (None, _) => Rule::Everything,
    };
    let mut walk = Walk {
        // a link may point to anything that travels with the package
        boundary: work_tree.unwrap_or_else(|| root.clone()),
        rule,
        limits,
        newest: SystemTime::UNIX_EPOCH,
        hash: Sha1::new(),
        total_bytes: 0,
        open: Vec::new(),
        scan: Scan {
            entries: Vec::new(),
            fingerprint: String::new(),
            settled: false,
            dangling: Vec::new(),
            submodules: Vec::new(),
        },
    };
    walk.directory(&root, None)?;
    let mut scan = walk.scan;
    scan.fingerprint = crate::content::checksum::hex(&walk.hash.finalize());
    scan.settled = walk.newest + CLOCK_GRAIN < now;
    Ok(scan)
}

impl Scan {
    /// Reads everything.
    pub fn load(&self) -> Result<Tree, Trouble> {
        let mut tree = Tree::default();
        for (name, path, size, executable) in &self.entries {
            match path {
                None => tree.add_directory(name.clone()),
                Some(path) => {
                    let mut data = Vec::with_capacity(usize::try_from(*size).unwrap_or(0) + 1);
                    // a file that grows meanwhile is read no further than its limit
                    fs::File::open(path)
                        .and_then(|file| file.take(size.saturating_mul(2) + (1 << 20)).read_to_end(&mut data))
                        .map_err(|error| cannot_read(path, &error))?;
                    tree.add_file(name.clone(), Arc::new(data), *executable);
                }
            }
        }
        Ok(tree)
    }
}

/// The directory that a version-controlled directory is checked out in.
fn work_tree_of(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|dir| dir.join(".git").exists()).map(Path::to_owned)
}

/// What belongs to a package.
enum Rule<'a> {
    Everything,
    /// What `raco pkg create --source` leaves out by name.
    Source,
    /// Files that git would carry, absolute.
    Listed(&'a BTreeSet<PathBuf>),
}

impl Rule<'_> {
    fn keeps(&self, path: &Path, name: &str, is_dir: bool) -> bool {
        match self {
            Rule::Everything => true,
            Rule::Source => {
                let version_control =
                    name.starts_with(".git") || matches!(name, ".hg" | ".hgignore" | ".svn" | "CVS");
                let backup =
                    name.ends_with('~') || name.len() > 1 && name.starts_with('#') && name.ends_with('#');
                let made = is_dir && matches!(name, "compiled" | "doc");
                !(version_control || backup || made || name == "synced.rktd")
            }
            // a directory is kept for the files in it; one that is listed itself is a repository of its own
            Rule::Listed(files) if is_dir => {
                let first = files.range(path.to_owned()..).next();
                first.is_some_and(|first| first.starts_with(path) && first != path)
            }
            Rule::Listed(files) => files.contains(path),
        }
    }
}

struct Walk<'a> {
    boundary: PathBuf,
    rule: Rule<'a>,
    limits: &'a Limits,
    newest: SystemTime,
    hash: Sha1,
    total_bytes: u64,
    /// Directories being walked, to see cycles of links.
    open: Vec<PathBuf>,
    scan: Scan,
}

impl Walk<'_> {
    fn directory(&mut self, dir: &Path, at: Option<&TreePath>) -> Result<(), Trouble> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(|error| cannot_read(dir, &error))? {
            let entry = entry.map_err(|error| cannot_read(dir, &error))?;
            let kind = entry.file_type().map_err(|error| cannot_read(dir, &error))?;
            let name = entry.file_name().into_string().map_err(|name| {
                Trouble::bad_archive(format!("file name that is not UTF-8 in {}: {name:?}", dir.display()))
            })?;
            names.push((name, kind));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        self.open.push(dir.to_owned());
        for (name, kind) in names {
            let path = dir.join(&name);
            let target = TreePath::below(at, &name);
            if kind.is_symlink() {
                self.link(&path, &name, target)?;
            } else if self.rule.keeps(&path, &name, kind.is_dir()) {
                let metadata = fs::symlink_metadata(&path).map_err(|error| cannot_read(&path, &error))?;
                self.add(&path, target, &metadata)?;
            } else if kind.is_dir() && matches!(self.rule, Rule::Listed(files) if files.contains(&path)) {
                self.scan.submodules.push(target);
            }
        }
        self.open.pop();
        Ok(())
    }

    /// A link stands for a copy of what it points to.
    fn link(&mut self, path: &Path, name: &str, target: TreePath) -> Result<(), Trouble> {
        if !self.rule.keeps(path, name, false) {
            return Ok(());
        }
        let Ok(real) = path.canonicalize() else {
            self.scan.dangling.push(target);
            return Ok(());
        };
        if !real.starts_with(&self.boundary) {
            return Err(Trouble::bad_archive(format!(
                "symbolic link {:?} points outside the package: {}",
                target.as_str(),
                real.display()
            )));
        }
        if self.open.contains(&real) {
            return Err(Trouble::bad_archive(format!(
                "symbolic link {:?} leads back into itself",
                target.as_str()
            )));
        }
        let metadata = fs::metadata(&real).map_err(|error| cannot_read(path, &error))?;
        self.add(&real, target, &metadata)
    }

    fn add(&mut self, path: &Path, target: TreePath, metadata: &Metadata) -> Result<(), Trouble> {
        let is_dir = metadata.is_dir();
        if !is_dir && !metadata.is_file() {
            return Err(Trouble::bad_archive(format!("{:?} is no file", target.as_str())));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.hash.update(target.as_str());
        self.hash.update([0, u8::from(is_dir), u8::from(executable)]);
        if is_dir {
            // its own times say nothing that its entries do not
            self.scan.entries.push((target.clone(), None, 0, false));
        } else {
            for field in [
                metadata.size(),
                metadata.ino(),
                metadata.mtime() as u64,
                metadata.mtime_nsec() as u64,
                metadata.ctime() as u64,
                metadata.ctime_nsec() as u64,
            ] {
                self.hash.update(field.to_le_bytes());
            }
            let changed = Duration::new(metadata.ctime().max(0) as u64, metadata.ctime_nsec() as u32);
            self.newest = self.newest.max(SystemTime::UNIX_EPOCH + changed);
            self.newest = self.newest.max(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            self.total_bytes += metadata.size();
            self.limits.check_size(self.total_bytes, self.total_bytes)?;
            self.scan.entries.push((target.clone(), Some(path.to_owned()), metadata.size(), executable));
        }
        self.limits.check_entries(self.scan.entries.len())?;
        if is_dir { self.directory(path, Some(&target)) } else { Ok(()) }
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Trouble {
    let cause = if error.kind() == std::io::ErrorKind::NotFound { Cause::Gone } else { Cause::Refused };
    let what = if cause == Cause::Gone { "no such file or directory" } else { "cannot read" };
    match cause {
        Cause::Gone => Trouble::new(cause, format!("{what}: {}", path.display())),
        _ => Trouble::new(cause, format!("{what} {}: {error}", path.display())),
    }
}
