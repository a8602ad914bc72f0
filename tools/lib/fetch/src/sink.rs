//! Where a body goes: memory or a file that is not there until it is whole.

use crate::error::Trouble;
use sha1::{Digest, Sha1};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub(crate) struct Sink {
    target: Target,
    hasher: Sha1,
    size_bytes: u64,
}

enum Target {
    Memory(Vec<u8>),
    File { path: PathBuf, file: tempfile::NamedTempFile },
}

impl Sink {
    pub fn memory() -> Sink {
        Sink { target: Target::Memory(Vec::new()), hasher: Sha1::new(), size_bytes: 0 }
    }

    /// A file that will be renamed to `path`; parent directories are made.
    pub fn file(path: &Path) -> Result<Sink, Trouble> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let make = || {
            std::fs::create_dir_all(parent)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            tempfile::Builder::new().prefix(".").suffix(".tmp").permissions(mode).tempfile_in(parent)
        };
        let file = make().map_err(|error| cannot_write(path, &error))?;
        let target = Target::File { path: path.to_owned(), file };
        Ok(Sink { target, hasher: Sha1::new(), size_bytes: 0 })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn is_file(&self) -> bool {
        matches!(self.target, Target::File { .. })
    }

    pub fn write(&mut self, data: &[u8]) -> Result<(), Trouble> {
        match &mut self.target {
            Target::Memory(bytes) => bytes.extend_from_slice(data),
            Target::File { path, file } => {
                file.as_file_mut().write_all(data).map_err(|error| cannot_write(path, &error))?;
            }
        }
        self.hasher.update(data);
        self.size_bytes += data.len() as u64;
        Ok(())
    }

    /// Forgets what came so far.
    pub fn restart(&mut self) -> Result<(), Trouble> {
        match &mut self.target {
            Target::Memory(bytes) => bytes.clear(),
            Target::File { path, file } => {
                let file = file.as_file_mut();
                file.set_len(0)
                    .and_then(|()| file.seek(SeekFrom::Start(0)))
                    .map_err(|error| cannot_write(path, &error))?;
            }
        }
        self.hasher = Sha1::new();
        self.size_bytes = 0;
        Ok(())
    }

    /// sha1 of what came so far, 40 hex digits.
    pub fn sha1(&self) -> String {
        self.hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads back what came, for the cache.
    pub fn with_content<T>(&self, read: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> io::Result<T> {
        match &self.target {
            Target::Memory(bytes) => read(&mut bytes.as_slice()),
            Target::File { file, .. } => read(&mut File::open(file.path())?),
        }
    }

    /// The bytes in memory, or the file renamed into place.
    pub fn finish(self) -> Result<Vec<u8>, Trouble> {
        match self.target {
            Target::Memory(bytes) => Ok(bytes),
            Target::File { path, file } => {
                file.as_file().sync_all().map_err(|error| cannot_write(&path, &error))?;
                match file.persist(&path) {
                    Ok(_) => Ok(Vec::new()),
                    Err(error) => Err(cannot_write(&path, &error.error)),
                }
            }
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Trouble {
    Trouble::CannotWrite { path: path.to_owned(), cause: error.to_string() }
}
