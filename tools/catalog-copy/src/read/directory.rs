//! A catalog in a directory: `pkgs-all`, else every file in `pkg/`.

use crate::gather::Gatherer;
use crate::place::base_url;
use crate::read::{add, bad_name, cannot_read, checked_name};
use catalog::Name;
use edge::{Failure, Result, progress, say};
use racket_data::{HashStream, Limits, StreamError, read_within};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Adds the entries of the catalog in a directory; relative sources become absolute.
pub fn read(path: &Path, into: &mut Gatherer) -> Result<()> {
    let (directory, all) = match is_all(path) {
        true => (path.parent().unwrap_or(path).to_owned(), path.to_owned()),
        false => (path.to_owned(), path.join("pkgs-all")),
    };
    let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
    let base = base_url(&directory, true);
    match File::open(&all) {
        Ok(file) => {
            say::detail(format!("reading {}", all.display()));
            let total = file.metadata().ok().map(|metadata| metadata.len());
            read_all(file, total, &all.display().to_string(), &base, into)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => read_each(path, &base, into),
        Err(error) => Err(cannot_read(&all, &error)),
    }
}

/// A file `pkgs-all` stands for the directory that it is in.
pub fn is_all(path: &Path) -> bool {
    path.ends_with("pkgs-all") && path.is_file()
}

/// Adds the entries of a `pkgs-all`: a hash of strings to hashes. `shown` is its place for messages, `base` what
/// relative sources are combined with.
pub fn read_all(
    source: impl Read,
    total_bytes: Option<u64>,
    shown: &str,
    base: &str,
    into: &mut Gatherer,
) -> Result<()> {
    let bar = progress::bytes("reading", total_bytes);
    for item in HashStream::new(source) {
        let item = item.map_err(|error| match error {
            StreamError::Io(error) => Failure::unavailable(format!("cannot read \"{shown}\": {error}")),
            StreamError::Read(error) => Failure::data(format!("cannot read catalog \"{shown}\": {error}")),
        })?;
        bar.set_position(item.range.end);
        let name = checked_name(&item.key, shown)?;
        add(name, item.value, shown, base, into)?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn read_each(path: &Path, base: &str, into: &mut Gatherer) -> Result<()> {
    let dir = path.join("pkg");
    let entries = std::fs::read_dir(&dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound if path.is_dir() => Failure::data(format!(
            "cannot read catalog \"{}\": no pkgs-all and no pkg/ in it",
            path.display()
        ))
        .hint("a catalog directory holds a file pkgs-all, or a directory pkg with one file a package"),
        ErrorKind::NotFound => {
            Failure::unavailable(format!("cannot read catalog \"{}\": no such directory", path.display()))
                .hint("a catalog is a URL, a directory, or a file whose name ends in .sqlite or .json")
        }
        _ => cannot_read(&dir, &error),
    })?;
    say::detail(format!("reading {}/*", dir.display()));
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| cannot_read(&dir, &error))?;
        if std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            files.push(entry.file_name());
        }
    }
    files.sort();
    let bar = progress::items("reading", Some(files.len() as u64));
    let mut text = Vec::new();
    for file in files {
        bar.inc(1);
        let path = dir.join(&file);
        let shown = path.display().to_string();
        let Some(name) = file.to_str() else { return Err(bad_name(&file.to_string_lossy(), &shown)) };
        if name.starts_with('.') {
            say::detail(format!("skipping {shown}: a hidden file"));
            continue;
        }
        let name = Name::new(name).map_err(|bad| bad_name(&bad.0, &shown))?;
        text.clear();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|error| cannot_read(&path, &error))?;
        let value = read_within(&text, &Limits::default())
            .map_err(|error| Failure::data(format!("cannot read catalog entry \"{shown}\": {error}")))?
            .ok_or_else(|| Failure::data(format!("cannot read catalog entry \"{shown}\": nothing in it")))?;
        add(name, value, &shown, base, into)?;
    }
    bar.finish_and_clear();
    Ok(())
}
