//! Local working copies: which directory of one a package is, and what is in it.

use catalog::{Entry, Kind, Name, Pointed, Source, file_url};
use edge::{Context, Exit, Failure, Result};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The working copies of this run, and the checksums already worked out.
#[derive(Debug, Default)]
pub struct Checkouts {
    roots: BTreeMap<PathBuf, PathBuf>,
    checksums: BTreeMap<PathBuf, String>,
}

impl Checkouts {
    /// Makes sure that a working copy is there.
    pub fn add(&mut self, dir: &Path) -> Result<()> {
        let root = dir
            .canonicalize()
            .context(Exit::Unavailable, || format!("cannot find working copy \"{}\"", dir.display()))?;
        if !root.is_dir() {
            return Err(Failure::unavailable(format!(
                "cannot use working copy \"{}\": not a directory",
                dir.display()
            )));
        }
        self.roots.insert(dir.to_owned(), root);
        Ok(())
    }

    /// The source that points an entry at its directory in a working copy, and the checksum of what is there now.
    pub fn point(&mut self, dir: &Path, name: &Name, entry: &Entry) -> Result<(Pointed, String)> {
        let root = match self.roots.get(dir) {
            Some(root) => root.clone(),
            None => return Err(Failure::bug("a working copy was not looked at")),
        };
        let package = package_directory(&root, entry.source().unwrap_or_default());
        if !package.is_dir() {
            let missing = package.strip_prefix(&root).unwrap_or(&package);
            return Err(Failure::unavailable(format!(
                "cannot point package \"{name}\" at working copy \"{}\": no directory \"{}\" in it",
                dir.display(),
                missing.display()
            ))
            .detail("source", entry.source().unwrap_or_default())
            .hint("DIR is the top of the working copy; is the right branch checked out?"));
        }
        let path = package.to_str().ok_or_else(|| {
            Failure::data(format!("cannot point package \"{name}\" at \"{}\": not UTF-8", package.display()))
        })?;
        let checksum = match self.checksums.get(&package) {
            Some(checksum) => checksum.clone(),
            None => {
                edge::say::detail(format!("reading \"{path}\""));
                let checksum = content_checksum(&package)
                    .context(Exit::Unavailable, || format!("cannot read working copy \"{path}\""))?;
                self.checksums.insert(package.clone(), checksum.clone());
                checksum
            }
        };
        let mut source = file_url(path);
        // a directory named like an archive
        if !matches!(Source::parse(&source).map(|source| source.kind), Ok(Kind::Dir { .. })) {
            source.push_str("?type=dir");
        }
        Ok((Pointed { source_url: source.clone(), source }, checksum))
    }
}

/// Where the package is in the working copy: at the path that its source has in the repository. A source that already
/// points into the working copy stays.
fn package_directory(root: &Path, source: &str) -> PathBuf {
    let Ok(source) = Source::parse(source) else { return root.to_owned() };
    match &source.kind {
        Kind::Dir { path, .. } if Path::new(path).starts_with(root) => {
            PathBuf::from(path.trim_end_matches('/'))
        }
        _ => root.join(source.subdirectory().iter().collect::<PathBuf>()),
    }
}

/// SHA-1 over the files below a directory: path, executable bit and content of each, sorted by path; symbolic links
/// count with their target. What version control and compiling leave there (`.git`, `compiled`) does not count.
fn content_checksum(dir: &Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    list(dir, &PathBuf::new(), &mut files)?;
    files.sort_unstable();
    let mut hash = Sha1::new();
    for path in files {
        let file = dir.join(&path);
        let metadata = file.symlink_metadata()?;
        let name = path.as_os_str().as_encoded_bytes();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        if metadata.is_symlink() {
            let target = fs::read_link(&file)?;
            hash.update(b"l");
            hash.update((target.as_os_str().len() as u64).to_le_bytes());
            hash.update(target.as_os_str().as_encoded_bytes());
            continue;
        }
        hash.update(if metadata.permissions().mode() & 0o100 != 0 { b"x" } else { b"f" });
        let (length, content) = content_hash(&file)?;
        hash.update(length.to_le_bytes());
        hash.update(content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn list(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if entry.file_name() != ".git" && entry.file_name() != "compiled" {
                list(root, &path, files)?;
            }
        } else if (kind.is_file() && entry.file_name() != ".git") || kind.is_symlink() {
            files.push(path);
        }
    }
    Ok(())
}

fn content_hash(file: &Path) -> std::io::Result<(u64, [u8; 20])> {
    let mut source = fs::File::open(file)?;
    let (mut hash, mut length, mut buffer) = (Sha1::new(), 0, vec![0; 64 * 1024]);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return Ok((length, hash.finalize().into()));
        }
        length += read as u64;
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_about_content_only() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("info.rkt", "#lang info");
        write("sub/main.rkt", "1");
        let before = content_checksum(dir.path()).unwrap();
        assert_eq!(before.len(), 40);
        write(".git/HEAD", "x");
        write("compiled/main_rkt.zo", "x");
        write("sub/compiled/main_rkt.zo", "x");
        assert_eq!(content_checksum(dir.path()).unwrap(), before);
        write("sub/main.rkt", "2");
        assert_ne!(content_checksum(dir.path()).unwrap(), before);
        write("sub/main.rkt", "1");
        assert_eq!(content_checksum(dir.path()).unwrap(), before);
        fs::rename(dir.path().join("sub"), dir.path().join("other")).unwrap();
        assert_ne!(content_checksum(dir.path()).unwrap(), before);
    }

    #[test]
    fn a_package_is_where_its_source_says() {
        let root = Path::new("/w/checkout");
        assert_eq!(package_directory(root, "git://github.com/u/r?path=a/b#c"), Path::new("/w/checkout/a/b"));
        assert_eq!(package_directory(root, "github://github.com/u/r/branch"), root);
        assert_eq!(package_directory(root, "file:///w/checkout/sub/"), Path::new("/w/checkout/sub"));
        assert_eq!(package_directory(root, "file:///w/elsewhere/sub"), root);
        assert_eq!(package_directory(root, "https://h/x.zip"), root);
    }
}
