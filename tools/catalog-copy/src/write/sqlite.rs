//! A SQLite file with exactly the tables and indices that Racket makes and reads.

use crate::gather::Gathered;
use crate::write::cannot_write;
use catalog::{Entry, Name};
use edge::{Failure, Result, progress};
use racket_data::{Value, write};
use rusqlite::{Connection, OpenFlags, Statement};
use std::path::Path;
use std::sync::Arc;

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
pub fn write_database(gathered: &Arc<Gathered>, path: &Path) -> Result<()> {
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
    fill(gathered, &new, path)?;
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

fn fill(gathered: &Arc<Gathered>, new: &Path, path: &Path) -> Result<()> {
    let failed = |error: rusqlite::Error| {
        Failure::cant_create(format!("cannot write \"{}\": {error}", path.display()))
    };
    // one thread uses it, and nobody sees the file before it is whole: no locks and no journal are needed
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(new, flags).map_err(failed)?;
    database
        .execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY;
             PRAGMA locking_mode = EXCLUSIVE;",
        )
        .map_err(failed)?;
    let transaction = database.transaction().map_err(failed)?;
    transaction.execute_batch(TABLES).map_err(failed)?;
    let mut insert = Insert::prepare(&transaction).map_err(failed)?;
    let bar = progress::items("writing", Some(gathered.len() as u64));
    gathered.each(Rows::new, |rows| {
        bar.inc(1);
        insert.rows(&rows).map_err(failed)
    })?;
    bar.finish_and_clear();
    drop(insert);
    transaction.execute_batch(INDICES).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    database.close().map_err(|(_, error)| failed(error))
}

/// What the tables hold of one package.
struct Rows {
    name: Name,
    author: String,
    source: String,
    checksum: String,
    description: String,
    tags: Vec<String>,
    /// Module paths in written form.
    modules: Vec<String>,
    dependencies: Vec<DependencyRow>,
    ring: Option<i64>,
}

impl Rows {
    fn new(name: Name, entry: Entry) -> Rows {
        let text = |text: Option<&str>| text.unwrap_or("").to_owned();
        let modules = entry.hash().get("modules").and_then(Value::as_list).unwrap_or_default();
        Rows {
            name,
            author: text(entry.author()),
            source: text(entry.source()),
            checksum: text(entry.checksum()),
            description: text(entry.description()),
            tags: entry.tags().into_iter().map(str::to_owned).collect(),
            modules: modules.iter().map(write).collect(),
            dependencies: dependency_rows(&entry),
            ring: entry.ring(),
        }
    }
}

struct Insert<'d> {
    package: Statement<'d>,
    tag: Statement<'d>,
    module: Statement<'d>,
    dependency: Statement<'d>,
    ring: Statement<'d>,
}

impl<'d> Insert<'d> {
    fn prepare(database: &'d Connection) -> rusqlite::Result<Insert<'d>> {
        Ok(Insert {
            package: database.prepare("INSERT INTO pkg VALUES (?1, 0, ?2, ?3, ?4, ?5)")?,
            tag: database.prepare("INSERT INTO tags VALUES (?1, 0, ?2)")?,
            module: database.prepare("INSERT INTO modules VALUES (?1, ?2, 0, ?3)")?,
            dependency: database.prepare("INSERT INTO dependencies VALUES (?1, ?2, ?3, ?4, 0, ?5)")?,
            ring: database.prepare("INSERT INTO ring VALUES (?1, 0, ?2)")?,
        })
    }

    fn rows(&mut self, rows: &Rows) -> rusqlite::Result<()> {
        let (name, checksum) = (rows.name.as_str(), &rows.checksum);
        self.package.execute((name, &rows.author, &rows.source, checksum, &rows.description))?;
        for tag in &rows.tags {
            self.tag.execute((name, tag))?;
        }
        for module in &rows.modules {
            self.module.execute((module, name, checksum))?;
        }
        for row in &rows.dependencies {
            self.dependency.execute((&row.package, &row.version, &row.platform, name, checksum))?;
        }
        if let Some(ring) = rows.ring {
            self.ring.execute((name, ring))?;
        }
        Ok(())
    }
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
