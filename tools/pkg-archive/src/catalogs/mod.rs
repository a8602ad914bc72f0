//! Reads the catalogs to archive: servers, directories, SQLite files, package lines.

pub mod configured;
mod sqlite;

use crate::args::{CatalogPlace, Config};

use catalog::{Catalog, ContentId, Name};
use contract::package::Package;
use edge::{Context, Exit, Failure, Result};
use fetch::{Class, Client};
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Largest `pkgs-all` or stream of package lines; the public one has 7 MB.
const CATALOG_BYTES_MAX: u64 = 512 << 20;

/// What was read from one place: entries as written, and the address that relative sources are relative to.
struct Read {
    catalog: Catalog,
    base: Option<String>,
}

/// All catalogs, merged: of two entries with the same name the first one stays. Relative sources are made absolute;
/// the id is that of the entries as written, so that a catalog keeps its id when it is moved.
pub fn read_all(config: &Config, places: &[CatalogPlace], client: &Client) -> Result<(Catalog, String)> {
    let mut all = Catalog::new();
    let mut id = ContentId::new();
    for place in places {
        let read = match place {
            CatalogPlace::Stdin => lines()?,
            CatalogPlace::Url(url) => server(client, url, config.version.as_deref())?,
            CatalogPlace::Sqlite(path) => sqlite::read_catalog(path)?,
            CatalogPlace::Directory(path) => directory(path)?,
        };
        for (name, mut entry) in read.catalog {
            if let Entry::Vacant(vacant) = all.entry(name) {
                id.add(vacant.key().as_str(), catalog::entry_digest(&entry));
                if let Some(base) = &read.base {
                    entry.make_absolute(base);
                }
                vacant.insert(entry);
            }
        }
    }
    Ok((all, id.finish()))
}

fn lines() -> Result<Read> {
    edge::refuse_terminal_stdin("package lines")?;
    let text = edge::read_input(Path::new("-"), CATALOG_BYTES_MAX)?;
    let packages = contract::read_lines::<Package>(&text).map_err(|(line, error)| {
        Failure::data(format!("cannot read package lines from stdin: line {line}: {error}"))
    })?;
    // the program in front of us failed: emptying the archive is not what is wanted then
    if packages.is_empty() {
        return Err(Failure::data("cannot read package lines from stdin: there are none")
            .hint("did the program before this one in the pipeline fail?"));
    }
    let mut catalog = Catalog::new();
    for package in packages {
        catalog.entry(package.name).or_insert(package.entry);
    }
    let here = std::env::current_dir().ok();
    Ok(Read { catalog, base: here.map(|dir| catalog::file_url(&format!("{}/", dir.display()))) })
}

fn directory(path: &Path) -> Result<Read> {
    let cannot = |what: &str| format!("cannot read catalog \"{}\": {what}", path.display());
    let metadata = fs::metadata(path).map_err(|error| {
        Failure::unavailable(cannot(&error.to_string()))
            .hint("a catalog is a directory, a URL, FILE.sqlite or -")
    })?;
    if !metadata.is_dir() {
        return Err(Failure::data(cannot("not a directory"))
            .hint("a catalog is a directory, a URL, FILE.sqlite (by that name) or -"));
    }
    let all = path.join("pkgs-all");
    let catalog = if all.is_file() {
        let text = edge::read_input(&all, CATALOG_BYTES_MAX)?;
        catalog::read_pkgs_all(&text).context(Exit::Data, || cannot("pkgs-all"))?
    } else {
        let entries = fs::read_dir(path.join("pkg")).map_err(|_| {
            Failure::data(cannot("no file pkgs-all and no directory pkg in it"))
                .hint("is this the catalog itself, and not the directory above it?")
        })?;
        let mut catalog = Catalog::new();
        for entry in entries {
            let entry = entry.context(Exit::Unavailable, || cannot("pkg"))?;
            if entry.path().is_file() {
                let file = entry.file_name().to_string_lossy().into_owned();
                let name = Name::new(file.as_str()).context(Exit::Data, || cannot("pkg"))?;
                let text = edge::read_input(&entry.path(), CATALOG_BYTES_MAX)?;
                let read = catalog::read_entry(&text);
                catalog.insert(name, read.context(Exit::Data, || cannot(&format!("pkg/{file}")))?);
            }
        }
        catalog
    };
    let absolute = path.canonicalize().context(Exit::Unavailable, || cannot("path"))?;
    Ok(Read { catalog, base: Some(catalog::file_url(&format!("{}/", absolute.display()))) })
}

/// A server has everything in `pkgs-all`, or names in `pkgs` and one file for each in `pkg/`.
fn server(client: &Client, url: &str, version: Option<&str>) -> Result<Read> {
    let cannot = |what: String| format!("cannot read catalog \"{url}\": {what}");
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let base = if plain.ends_with('/') { plain.to_owned() } else { format!("{plain}/") };
    let query = version.map(|version| format!("?version={}", fetch::url::encode_segment(version)));
    let at = |file: &str| format!("{base}{file}{}", query.as_deref().unwrap_or(""));
    let failed = |error: fetch::FetchError| {
        let exit = match error.trouble.class() {
            Class::Damaged | Class::BadRequest => Exit::Data,
            Class::Busy => Exit::TryAgain,
            _ => Exit::Unavailable,
        };
        let mut failure = Failure::new(exit, cannot(error.to_string()));
        if let Some(hint) = error.hint() {
            failure = failure.hint(hint);
        }
        failure
    };
    let catalog = match client.request(&at("pkgs-all")).max_bytes(CATALOG_BYTES_MAX).bytes() {
        Ok((text, _)) => catalog::read_pkgs_all(&text).context(Exit::Data, || cannot("pkgs-all".into()))?,
        Err(error) if error.trouble.class() == Class::Gone => {
            let (names, _) =
                client.request(&at("pkgs")).max_bytes(CATALOG_BYTES_MAX).bytes().map_err(failed)?;
            let names = catalog::read_names(&names).context(Exit::Data, || cannot("pkgs".into()))?;
            one_by_one(&names, |name| {
                let file = format!("pkg/{name}");
                let (text, _) =
                    client.request(&at(&file)).max_bytes(CATALOG_BYTES_MAX).bytes().map_err(failed)?;
                catalog::read_entry(&text).context(Exit::Data, || cannot(file))
            })?
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(Read { catalog, base: Some(base) })
}

/// Entries fetched side by side; the first failure by name counts.
fn one_by_one(names: &[Name], fetch: impl Fn(&Name) -> Result<catalog::Entry> + Sync) -> Result<Catalog> {
    let next = AtomicUsize::new(0);
    let entries: Mutex<Vec<(usize, Result<catalog::Entry>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..8.min(names.len()) {
            scope.spawn(|| {
                while let Some((at, name)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, names.get(at)?)))
                {
                    let entry = fetch(name);
                    let failed = entry.is_err();
                    if let Ok(mut entries) = entries.lock() {
                        entries.push((at, entry));
                    }
                    if failed {
                        next.store(names.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut entries = entries.into_inner().unwrap_or_default();
    entries.sort_by_key(|(at, _)| *at);
    entries.into_iter().map(|(at, entry)| Ok((names[at].clone(), entry?))).collect()
}
