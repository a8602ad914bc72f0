use crate::{Exit, Failure, Result};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file that appears whole or not at all: written beside its place, synced, renamed.
#[derive(Debug)]
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts the file; parent directories are made.
    pub fn create(path: impl Into<PathBuf>) -> Result<AtomicFile> {
        let path = path.into();
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let make = || {
            std::fs::create_dir_all(parent)?;
            // the mode of an ordinary new file, not the 0600 of a temporary one
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            tempfile::Builder::new().prefix(".").suffix(".tmp").permissions(mode).tempfile_in(parent)
        };
        match make() {
            Ok(file) => Ok(AtomicFile { file, path }),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    /// Syncs and renames into place.
    pub fn commit(self) -> Result<()> {
        self.file.as_file().sync_all().map_err(|error| cannot_write(&self.path, &error))?;
        match self.file.persist(&self.path) {
            Ok(_) => Ok(()),
            Err(error) => Err(cannot_write(&self.path, &error.error)),
        }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.file.write(data)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file atomically.
pub fn write_atomic(path: impl Into<PathBuf>, data: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(data).map_err(|error| cannot_write(&file.path, &error))?;
    file.commit()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CantCreate, format!("cannot write \"{}\": {error}", path.display()))
}

/// Reads a file, or stdin for `-`. At most `max_bytes` (more is [`Exit::Data`]); missing file is [`Exit::Unavailable`].
pub fn read_input(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(max_bytes + 1).read_to_end(&mut data)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut data))
    };
    let shown = if path == Path::new("-") { "stdin".to_owned() } else { format!("\"{}\"", path.display()) };
    read.map_err(|error| {
        let exit =
            if error.kind() == std::io::ErrorKind::IsADirectory { Exit::Data } else { Exit::Unavailable };
        Failure::new(exit, format!("cannot read {shown}: {error}"))
    })?;
    if data.len() as u64 > max_bytes {
        return Err(Failure::data(format!("cannot read {shown}: more than {max_bytes} bytes")));
    }
    Ok(data)
}
