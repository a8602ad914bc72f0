//! A catalog in a directory: `pkgs-all`, else every file in `pkg/`.

use crate::gather::Gatherer;
use crate::place::base_url;
use crate::read::{Origin, bad_name, cannot_read, checked_name};
use catalog::{Entry, Name};
use edge::{Failure, Result, progress, say};
use racket_data::{HashStream, Item, Portion, ReadError, StreamError};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Text goes to other threads in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// Other threads read so many files at a time.
const FILES: usize = 16;

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
    let origin = Origin::new(shown, base, into);
    let mut stream = HashStream::new(source);
    while let Some(portion) = stream.next_part(PIECE_BYTES) {
        let portion = portion.map_err(|error| match error {
            StreamError::Io(error) => Failure::unavailable(format!("cannot read \"{shown}\": {error}")),
            StreamError::Read(error) => unreadable(&origin, &error),
        })?;
        match portion {
            Portion::Part(part) => {
                bar.set_position(part.end());
                let origin = Arc::clone(&origin);
                into.add_work(Box::new(move |add| {
                    part.items().try_for_each(|item| {
                        let (name, entry) =
                            entry_of(item.map_err(|error| unreadable(&origin, &error))?, &origin)?;
                        add(name, entry)
                    })
                }))?;
            }
            Portion::Item(item) => {
                bar.set_position(item.range.end);
                let (name, entry) = entry_of(item, &origin)?;
                into.add(name, entry)?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn unreadable(origin: &Origin, error: &ReadError) -> Failure {
    Failure::data(format!("cannot read catalog \"{}\": {error}", origin.shown))
}

fn entry_of(item: Item, origin: &Origin) -> Result<(Name, Entry)> {
    let name = checked_name(&item.key, &origin.shown)?;
    let entry = origin.entry(&name, item.value)?;
    Ok((name, entry))
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
    let origin = Origin::new(&path.display().to_string(), base, into);
    for files in files.chunks(FILES) {
        let (files, dir, origin) = (files.to_vec(), dir.clone(), Arc::clone(&origin));
        bar.inc(files.len() as u64);
        into.add_work(Box::new(move |add| {
            let mut text = Vec::new();
            for file in files {
                let path = dir.join(&file);
                let shown = path.display().to_string();
                let Some(name) = file.to_str() else {
                    return Err(bad_name(&file.to_string_lossy(), &shown));
                };
                if name.starts_with('.') {
                    say::detail(format!("skipping {shown}: a hidden file"));
                    continue;
                }
                let name = Name::new(name).map_err(|bad| bad_name(&bad.0, &shown))?;
                text.clear();
                File::open(&path)
                    .and_then(|mut file| file.read_to_end(&mut text))
                    .map_err(|error| cannot_read(&path, &error))?;
                let entry = origin.read_entry(&name, &text, &shown)?;
                add(name, entry)?;
            }
            Ok(())
        }))?;
    }
    bar.finish_and_clear();
    Ok(())
}
