//! A catalog in a SQLite file, in the tables that Racket keeps it in.

use crate::gather::Gatherer;
use crate::place::base_url;
use crate::read::{Origin, bad_name};
use catalog::Name;
use edge::{Failure, Result, progress, say};
use racket_data::{Hash, HashKind, Value};
use rusqlite::{Connection, OpenFlags, Row, Statement};
use std::path::Path;

/// Adds the entries of a database. Several catalogs may be in one; those with the lower `pos` win.
pub fn read(path: &Path, into: &mut Gatherer) -> Result<()> {
    let shown = path.display().to_string();
    if !path.is_file() {
        return Err(Failure::unavailable(format!("cannot read catalog \"{shown}\": no such file")));
    }
    say::detail(format!("reading {shown}"));
    let origin = Origin::new(&shown, &base_url(path, false), into);
    let failed = |error: rusqlite::Error| Failure::data(format!("cannot read catalog \"{shown}\": {error}"));
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let tables = Tables::new(&database).map_err(failed)?;
    if !tables.has("pkg") {
        return Err(Failure::data(format!("cannot read catalog \"{shown}\": no table pkg in it")));
    }
    // the lowest `pos` comes last: within one source the last of a name stays
    let mut packages = database
        .prepare(if tables.has("catalog") {
            "SELECT pkg.name, pkg.catalog, author, source, checksum, desc FROM pkg \
             LEFT JOIN catalog ON catalog.id = pkg.catalog ORDER BY catalog.pos DESC, catalog.id DESC, pkg.name"
        } else {
            "SELECT name, catalog, author, source, checksum, desc FROM pkg ORDER BY catalog DESC, name"
        })
        .map_err(failed)?;
    let mut parts = Parts::prepare(&database, &tables).map_err(failed)?;
    let bar = progress::items("reading", None);
    let mut rows = packages.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let name = text(row, 0).map_err(failed)?;
        let name = Name::new(name.as_str()).map_err(|bad| bad_name(&bad.0, &shown))?;
        let entry = entry(&name, row, &mut parts).map_err(failed)?.map_err(|(what, error)| {
            Failure::data(format!("cannot read catalog \"{shown}\": package {name}: {what}: {error}"))
        })?;
        let entry = origin.entry(&name, Value::Hash(entry))?;
        into.add(name, entry)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

struct Tables(Vec<String>);

impl Tables {
    fn new(database: &Connection) -> rusqlite::Result<Tables> {
        let mut names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
        let names = names.query_map([], |row| row.get(0))?;
        Ok(Tables(names.collect::<rusqlite::Result<_>>()?))
    }
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|table| table == name)
    }
}

/// What is looked up for each package. A table that is not there has nothing in it.
struct Parts<'d> {
    tags: Option<Statement<'d>>,
    modules: Option<Statement<'d>>,
    dependencies: Option<Statement<'d>>,
    ring: Option<Statement<'d>>,
}

impl<'d> Parts<'d> {
    fn prepare(database: &'d Connection, tables: &Tables) -> rusqlite::Result<Parts<'d>> {
        let prepare = |table: &str, sql: &str| tables.has(table).then(|| database.prepare(sql)).transpose();
        Ok(Parts {
            tags: prepare("tags", "SELECT tag FROM tags WHERE pkg = ?1 AND catalog = ?2")?,
            modules: prepare(
                "modules",
                "SELECT name FROM modules WHERE pkg = ?1 AND catalog = ?2 AND checksum = ?3",
            )?,
            dependencies: prepare(
                "dependencies",
                "SELECT onpkg, onversion, onplatform FROM dependencies WHERE pkg = ?1 AND catalog = ?2 AND checksum = ?3",
            )?,
            ring: prepare("ring", "SELECT ring FROM ring WHERE pkg = ?1 AND catalog = ?2")?,
        })
    }
}

/// NULL is nothing.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
}

type Unreadable = (&'static str, String);

fn entry(
    name: &Name,
    row: &Row<'_>,
    parts: &mut Parts<'_>,
) -> rusqlite::Result<std::result::Result<Hash, Unreadable>> {
    let catalog: Option<i64> = row.get(1)?;
    let checksum = text(row, 4)?;
    let (by_name, by_checksum) = ((name.as_str(), catalog), (name.as_str(), catalog, checksum.as_str()));
    let mut tags = Vec::new();
    if let Some(statement) = &mut parts.tags {
        let mut rows = statement.query(by_name)?;
        while let Some(row) = rows.next()? {
            tags.push(Value::String(text(row, 0)?));
        }
    }
    let mut modules = Vec::new();
    if let Some(statement) = &mut parts.modules {
        let mut rows = statement.query(by_checksum)?;
        while let Some(row) = rows.next()? {
            match datum(&text(row, 0)?) {
                Ok(module) => modules.push(module),
                Err(error) => return Ok(Err(("module", error))),
            }
        }
    }
    let mut dependencies = Vec::new();
    if let Some(statement) = &mut parts.dependencies {
        let mut rows = statement.query(by_checksum)?;
        while let Some(row) = rows.next()? {
            let (version, platform) = (text(row, 1)?, text(row, 2)?);
            let mut dependency = vec![Value::String(text(row, 0)?)];
            if !version.is_empty() {
                dependency.extend([Value::Keyword("version".to_owned()), Value::String(version)]);
            }
            if !platform.is_empty() {
                match datum(&platform) {
                    Ok(platform) => dependency.extend([Value::Keyword("platform".to_owned()), platform]),
                    Err(error) => return Ok(Err(("platform of a dependency", error))),
                }
            }
            dependencies.push(Value::List(dependency));
        }
    }
    let mut ring = Value::Bool(false);
    if let Some(statement) = &mut parts.ring {
        let mut rows = statement.query(by_name)?;
        if let Some(number) = rows.next()?.map(|row| row.get::<_, Option<i64>>(0)).transpose()?.flatten() {
            ring = Value::Int(number);
        }
    }
    let mut hash = Hash::new(HashKind::Equal);
    for (key, value) in [
        ("author", Value::String(text(row, 2)?)),
        ("checksum", Value::String(checksum.clone())),
        ("dependencies", Value::List(dependencies)),
        ("description", Value::String(text(row, 5)?)),
        ("modules", Value::List(modules)),
        ("name", Value::string(name.as_str())),
        ("ring", ring),
        ("source", Value::String(text(row, 3)?)),
        ("tags", Value::List(tags)),
    ] {
        hash.items.push((Value::symbol(key), value));
    }
    Ok(Ok(hash))
}

fn datum(text: &str) -> std::result::Result<Value, String> {
    match racket_data::read(text.as_bytes()) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err("nothing written".to_owned()),
        Err(error) => Err(format!("\"{text}\": {error}")),
    }
}
