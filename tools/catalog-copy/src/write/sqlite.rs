//! A SQLite file with exactly the tables and indices that Racket makes and reads.

use crate::gather::Gathered;
use crate::write::cannot_write;
use catalog::Entry;
use edge::{Failure, Result, progress};
use racket_data::{Value, write};
use rusqlite::{Connection, Transaction};
use std::path::Path;

const TABLES: &str = "
CREATE TABLE catalog (id SMALLINT, url TEXT, pos SMALLINT);
CREATE TABLE pkg (name TEXT, catalog SMALLINT, author TEXT, source TEXT, checksum TEXT, desc TEXT);
CREATE TABLE tags (pkg TEXT, catalog SMALLINT, tag TEXT);
CREATE TABLE modules (name TEXT, pkg TEXT, catalog SMALLINT, checksum TEXT);
CREATE TABLE dependencies (onpkg TEXT, onversion TEXT, onplatform TEXT, pkg TEXT, catalog SMALLINT, checksum TEXT);
CREATE TABLE ring (pkg TEXT, catalog SMALLINT, ring SMALLINT);
INSERT INTO catalog VALUES (0, 'local', 0);
";
const INDICES: &str = "
CREATE INDEX pkg_index ON pkg (name, catalog);
CREATE INDEX tags_index ON tags (pkg, catalog);
CREATE INDEX modules_index ON modules (pkg, catalog, checksum);
CREATE INDEX dependencies_index ON dependencies (pkg, catalog, checksum);
CREATE INDEX ring_index ON ring (pkg, catalog);
";

/// Writes the catalog into a database, which appears whole or not at all.
pub fn write_database(gathered: &Gathered, path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let new = tempfile::Builder::new()
        .prefix(".")
        .suffix(".sqlite.tmp")
        .permissions(mode)
        .tempfile_in(parent)
        .map_err(|error| cannot_write(path, &error))?
        .into_temp_path();
    let leftover = new.to_path_buf();
    let cleanup = edge::on_exit(move || {
        let _ = std::fs::remove_file(&leftover);
    });
    fill(gathered, &new).map_err(|trouble| match trouble {
        Trouble::Failure(failure) => failure,
        Trouble::Sqlite(error) => {
            Failure::cant_create(format!("cannot write \"{}\": {error}", path.display()))
        }
    })?;
    std::fs::File::open(&new).and_then(|file| file.sync_all()).map_err(|error| cannot_write(path, &error))?;
    // where a directory stands, --force puts the file in its place as raco does
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        std::fs::remove_dir_all(path).map_err(|error| cannot_write(path, &error))?;
    }
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    new.persist(&target).map_err(|error| cannot_write(path, &error.error))?;
    cleanup.forget();
    Ok(())
}

enum Trouble {
    Failure(Failure),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Failure(failure)
    }
}

fn fill(gathered: &Gathered, path: &Path) -> std::result::Result<(), Trouble> {
    let mut database = Connection::open(path)?;
    // nobody sees the file before it is whole: no journal is needed
    database
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;")?;
    let transaction = database.transaction()?;
    transaction.execute_batch(TABLES)?;
    insert(gathered, &transaction)?;
    transaction.execute_batch(INDICES)?;
    transaction.commit()?;
    database.close().map_err(|(_, error)| error)?;
    Ok(())
}

fn insert(gathered: &Gathered, database: &Transaction<'_>) -> std::result::Result<(), Trouble> {
    let mut packages = database.prepare("INSERT INTO pkg VALUES (?1, 0, ?2, ?3, ?4, ?5)")?;
    let mut tags = database.prepare("INSERT INTO tags VALUES (?1, 0, ?2)")?;
    let mut modules = database.prepare("INSERT INTO modules VALUES (?1, ?2, 0, ?3)")?;
    let mut dependencies = database.prepare("INSERT INTO dependencies VALUES (?1, ?2, ?3, ?4, 0, ?5)")?;
    let mut rings = database.prepare("INSERT INTO ring VALUES (?1, 0, ?2)")?;
    let bar = progress::items("writing", Some(gathered.len() as u64));
    let mut scratch = Vec::new();
    for (name, slot) in gathered.slots() {
        bar.inc(1);
        let entry = gathered.entry(name, slot, &mut scratch)?;
        let (name, checksum) = (name.as_str(), entry.checksum().unwrap_or(""));
        let (author, description) = (entry.author().unwrap_or(""), entry.description().unwrap_or(""));
        packages.execute((name, author, entry.source().unwrap_or(""), checksum, description))?;
        for tag in entry.tags() {
            tags.execute((name, tag))?;
        }
        for module in entry.hash().get("modules").and_then(Value::as_list).unwrap_or_default() {
            modules.execute((write(module), name, checksum))?;
        }
        for row in dependency_rows(&entry) {
            dependencies.execute((row.package, row.version, row.platform, name, checksum))?;
        }
        if let Some(ring) = entry.ring() {
            rings.execute((name, ring))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

struct DependencyRow {
    package: String,
    /// Empty where there is none.
    version: String,
    /// Written form, empty where there is none.
    platform: String,
}

/// Dependencies in the full form that [`crate::write::tables::Columns`] leaves.
fn dependency_rows(entry: &Entry) -> Vec<DependencyRow> {
    let list = entry.hash().get("dependencies").and_then(Value::as_list).unwrap_or_default();
    let rows = list.iter().filter_map(Value::as_list).filter_map(|items| {
        let package = items.first()?.as_str()?.to_owned();
        let after = |keyword: &str| {
            let at = items.iter().position(|item| matches!(item, Value::Keyword(k) if k == keyword))?;
            items.get(at + 1)
        };
        let version = after("version").and_then(Value::as_str).unwrap_or("").to_owned();
        Some(DependencyRow { package, version, platform: after("platform").map(write).unwrap_or_default() })
    });
    rows.collect()
}
