//! Catalogs and archive states in the SQLite form that Racket writes.

use super::Read;
use catalog::{Catalog, Entry, Name};
use edge::{Context, Exit, Failure, Result};
use racket_data::{HashKind, Value};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

fn open(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Reads a catalog database; of several catalogs in it the one with the lowest position wins.
pub(super) fn read_catalog(path: &Path) -> Result<Read> {
    let cannot = || format!("cannot read catalog \"{}\"", path.display());
    if !path.is_file() {
        return Err(Failure::unavailable(format!("{}: no such file", cannot())));
    }
    let base = path.canonicalize().context(Exit::Unavailable, cannot)?;
    let catalog = open(path).and_then(|database| entries(&database)).context(Exit::Data, cannot)?;
    Ok(Read { catalog, base: Some(catalog::file_url(&base.display().to_string())) })
}

/// Rows of a table that hang on a package: (package, catalog) to values.
type Details = BTreeMap<(String, i64), Vec<Value>>;

fn details(
    database: &Connection,
    table: &str,
    query: &str,
    value: impl Fn(&rusqlite::Row) -> rusqlite::Result<Option<Value>>,
) -> rusqlite::Result<Details> {
    let mut details = Details::new();
    if !has_table(database, table)? {
        return Ok(details);
    }
    let mut statement = database.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(value) = value(row)? {
            details.entry((row.get(0)?, row.get(1)?)).or_default().push(value);
        }
    }
    Ok(details)
}

fn has_table(database: &Connection, table: &str) -> rusqlite::Result<bool> {
    database.query_row("SELECT count(*) FROM sqlite_master WHERE type='table' AND name=?1", [table], |row| {
        row.get::<_, i64>(0).map(|count| count > 0)
    })
}

fn entries(database: &Connection) -> rusqlite::Result<Catalog> {
    let mut catalog = Catalog::new();
    if !has_table(database, "pkg")? {
        return Ok(catalog);
    }
    let tags = details(database, "tags", "SELECT pkg, catalog, tag FROM tags ORDER BY tag", |row| {
        Ok(Some(Value::string(row.get::<_, String>(2)?)))
    })?;
    let modules = details(
        database,
        "modules",
        "SELECT m.pkg, m.catalog, m.name FROM modules m JOIN pkg p \
         ON m.pkg = p.name AND m.catalog = p.catalog AND m.checksum = p.checksum ORDER BY m.name",
        |row| Ok(racket_data::read(row.get::<_, String>(2)?.as_bytes()).ok().flatten()),
    )?;
    let dependencies = details(
        database,
        "dependencies",
        "SELECT d.pkg, d.catalog, d.onpkg, d.onversion, d.onplatform FROM dependencies d JOIN pkg p \
         ON d.pkg = p.name AND d.catalog = p.catalog AND d.checksum = p.checksum ORDER BY d.onpkg, d.rowid",
        |row| {
            let mut items = vec![Value::string(row.get::<_, String>(2)?)];
            let (version, platform): (String, String) = (row.get(3)?, row.get(4)?);
            if !version.is_empty() {
                items.extend([Value::Keyword("version".into()), Value::string(version)]);
            }
            if let Some(platform) = racket_data::read(platform.as_bytes()).ok().flatten() {
                items.extend([Value::Keyword("platform".into()), platform]);
            }
            Ok(Some(if items.len() == 1 { items.remove(0) } else { Value::List(items) }))
        },
    )?;
    let rings = details(database, "ring", "SELECT pkg, catalog, ring FROM ring", |row| {
        Ok(row.get::<_, Option<i64>>(2)?.map(Value::Int))
    })?;
    let mut statement = database.prepare(
        "SELECT p.name, p.catalog, p.author, p.source, p.checksum, p.desc FROM pkg p \
         LEFT JOIN catalog c ON c.id = p.catalog ORDER BY c.pos, p.catalog, p.name",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, id): (String, i64) = (row.get(0)?, row.get(1)?);
        let Ok(package) = Name::new(name.as_str()) else { continue };
        let mut entry = Entry::new(HashKind::Equal);
        let key = (name.clone(), id);
        let list = |details: &Details| Value::List(details.get(&key).cloned().unwrap_or_default());
        let hash = entry.hash_mut();
        hash.set("name", Value::string(name.as_str()));
        for (field, column) in [("author", 2), ("source", 3), ("checksum", 4), ("description", 5)] {
            hash.set(field, Value::string(row.get::<_, Option<String>>(column)?.unwrap_or_default()));
        }
        hash.set("tags", list(&tags));
        hash.set("modules", list(&modules));
        hash.set("dependencies", list(&dependencies));
        if let Some(ring) = rings.get(&key).and_then(|rings| rings.first()) {
            hash.set("ring", ring.clone());
        }
        catalog.entry(package).or_insert(entry);
    }
    Ok(catalog)
}
