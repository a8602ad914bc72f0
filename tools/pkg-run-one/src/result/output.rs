//! What a run leaves behind: logs, built packages, and last the result, each whole or not at all; several processes may
//! write into the same OUT at once.

use crate::config::Config;
use contract::run::{Built, Doc, Run};
use edge::{Cleanup, Exit, Failure, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One run's right to write the files of its packages. Held by a lock that goes with the process.
#[derive(Debug)]
pub struct Output {
    out: PathBuf,
    built: PathBuf,
    packages: Vec<String>,
    /// Where files are until they are whole: below OUT, and below the directory of built packages, which may be on
    /// another disk. Not beside their places: every file in a catalog directory is an entry to those who read it.
    scratch: PathBuf,
    built_scratch: PathBuf,
    /// Removes both, also when a signal ends the program.
    clean: Cleanup,
    _lock: File,
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let text = format!("cannot {action} \"{}\": {error}", path.display());
    match error.kind() {
        StorageFull | QuotaExceeded => {
            Failure::try_again(text).hint("make room and try again; no result was written")
        }
        _ => Failure::new(Exit::CantCreate, text),
    }
}

impl Output {
    /// Makes the directories and waits for another process that runs the same package.
    pub fn open(config: &Config, packages: &[String]) -> Result<Output> {
        let (out, built) = (config.out.clone(), config.built.clone());
        let make = |dir: &Path| fs::create_dir_all(dir).map_err(|error| cannot("make", dir, &error));
        for dir in ["results", "logs", ".locks"] {
            make(&out.join(dir))?;
        }
        for dir in ["pkgs", "catalog/pkg"] {
            make(&built.join(dir))?;
        }
        let path = out.join(".locks").join(&packages[0]);
        let lock = File::create(&path).map_err(|error| cannot("open", &path, &error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            edge::say::info(format!("another process runs {}: waiting for it", packages[0]));
            flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| cannot("lock", &path, &error.into()))?;
        }
        let name = format!(".{}.new", packages[0]);
        let (scratch, built_scratch) = (out.join(&name), built.join(&name));
        let both = [scratch.clone(), built_scratch.clone()];
        let clean = edge::on_exit(move || {
            both.iter().for_each(|dir| {
                let _ = fs::remove_dir_all(dir);
            });
        });
        for dir in [&scratch, &built_scratch] {
            // left by a run that was killed
            let _ = fs::remove_dir_all(dir);
        }
        make(&scratch.join("logs"))?;
        make(&built_scratch)?;
        Ok(Output { out, built, packages: packages.to_vec(), scratch, built_scratch, clean, _lock: lock })
    }

    /// Whether this run is about a package.
    pub fn is_of(&self, package: &str) -> bool {
        self.packages.iter().any(|name| name == package)
    }

    /// Keeps a log; gives its path relative to OUT, as it will be.
    pub fn keep_log(&self, name: &str, log: &crate::machine::log::Log) -> Result<Option<String>> {
        if log.bytes == 0 {
            return Ok(None);
        }
        let path = self.scratch.join("logs").join(name);
        let mut file = File::create(&path).map_err(|error| cannot("write", &path, &error))?;
        log.write_to(&mut file).map_err(|error| cannot("write", &path, &error))?;
        Ok(Some(format!("logs/{}/{name}", self.packages[0])))
    }

    /// Puts a package in built form among the built packages, from where other machines install it; a zip file also
    /// into the catalog. `file` is its name in the machine: what follows the package's name is kept.
    pub fn keep_built(&self, package: &str, file: &str, data: &[u8]) -> Result<Built> {
        let checksum = sha1_hex(data);
        let name = built_name(package, file);
        let path = self.built.join("pkgs").join(&name);
        let sum = self.built.join("pkgs").join(format!("{name}.CHECKSUM"));
        put(&self.built_scratch, &path, data)?;
        put(&self.built_scratch, &sum, checksum.as_bytes())?;
        if name.ends_with(".zip") {
            let entry = format!(
                "#hash((author . \"\") (checksum . \"{checksum}\") (description . \"\") (name . \"{package}\") (source . \"../pkgs/{package}.zip\"))"
            );
            put(&self.built_scratch, &self.built.join("catalog/pkg").join(package), entry.as_bytes())?;
        }
        Ok(Built { package: package.to_owned(), zip: self.shown(&path), checksum })
    }

    /// Keeps what a failed build left, where nothing installs from.
    pub fn keep_salvage(&self, package: &str, file: &str, data: &[u8]) -> Result<Built> {
        let path = self.out.join("salvage/pkgs").join(built_name(package, file));
        put(&self.scratch, &path, data)?;
        Ok(Built { package: package.to_owned(), zip: self.shown(&path), checksum: sha1_hex(data) })
    }

    /// Documents that this run could not render are kept as an earlier run rendered them: `salvage/docs/PACKAGE.zip`.
    pub fn keep_earlier_docs(&self, package: &str, run: &mut Run) -> Result<()> {
        let results = self.out.join("results").join(format!("{package}.json"));
        let Some(earlier) = fs::read(results).ok().and_then(|text| contract::read::<Run>(&text).ok()) else {
            return Ok(());
        };
        let is_rendered = |doc: &Doc| doc.status != "none";
        if run.docs.iter().any(is_rendered) || !earlier.docs.iter().any(is_rendered) {
            return Ok(());
        }
        let place = self.out.join("salvage/docs").join(format!("{package}.zip"));
        if let Ok(zip) = fs::read(self.built.join("pkgs").join(format!("{package}.zip"))) {
            put(&self.scratch, &place, &zip)?;
        }
        if place.exists() {
            let shown = self.shown(&place);
            run.docs = earlier.docs.into_iter().filter(is_rendered).collect();
            for doc in &mut run.docs {
                (doc.status, doc.path) = ("salvage".to_owned(), Some(shown.clone()));
            }
        }
        Ok(())
    }

    /// A failed package has no built form, whatever an earlier run left. The catalog entry goes first.
    pub fn drop_built(&self, package: &str) -> Result<()> {
        let pkgs = self.built.join("pkgs");
        let mut paths = vec![self.built.join("catalog/pkg").join(package)];
        for ending in [".zip", ".tar.gz", ".tar", ".crate"] {
            paths.push(pkgs.join(format!("{package}{ending}.CHECKSUM")));
            paths.push(pkgs.join(format!("{package}{ending}")));
        }
        for path in paths {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.out).unwrap_or(path).display().to_string()
    }

    /// The logs take their place, then the result: with it the run counts.
    pub fn commit(self, run: &Run) -> Result<()> {
        crate::machine::stop::park_if_stopping();
        let mut text =
            serde_json::to_vec_pretty(run).map_err(|e| Failure::bug(format!("cannot render JSON: {e}")))?;
        text.push(b'\n');
        // all that takes room on the disk comes first
        let results: Vec<(PathBuf, PathBuf)> = self
            .packages
            .iter()
            .map(|package| format!("{package}.json"))
            .map(|name| (self.scratch.join("results").join(&name), self.out.join("results").join(&name)))
            .collect();
        for (written, _) in &results {
            put(&self.scratch, written, &text)?;
        }
        let place = self.out.join("logs").join(&self.packages[0]);
        let _ = fs::rename(&place, self.scratch.join("old"));
        fs::rename(self.scratch.join("logs"), &place).map_err(|error| cannot("write", &place, &error))?;
        for (written, result) in &results {
            fs::rename(written, result).map_err(|error| cannot("write", result, &error))?;
        }
        drop(self.clean);
        Ok(())
    }
}

/// `PACKAGE.zip`, or with the ending that the file has.
fn built_name(package: &str, file: &str) -> String {
    let ending = [".tar.gz", ".tar", ".crate"].into_iter().find(|ending| file.ends_with(ending));
    format!("{package}{}", ending.unwrap_or(".zip"))
}

/// Writes a file whole or not at all: in `scratch`, synced, then renamed to its place.
fn put(scratch: &Path, path: &Path, data: &[u8]) -> Result<()> {
    let temporary = scratch.join("file");
    let write = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::create(&temporary)?;
        file.write_all(data)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| cannot("write", path, &error))
}

pub fn sha1_hex(data: &[u8]) -> String {
    use sha1::{Digest, Sha1};
    Sha1::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
