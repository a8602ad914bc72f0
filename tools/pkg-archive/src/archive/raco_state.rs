//! The state file of `raco pkg catalog-archive --state`: which source checksum each zip was made from. Either program
//! goes on where the other stopped.

use super::state::{Kept, Stamp, State};
use super::store::Store;
use crate::args::Mode;
use crate::content::checksum::sha1_hex;
use crate::content::facts::Facts;
use edge::{Context, Exit, Failure, Result};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// As Racket makes it, so that Racket can use it.
const SCHEMA: &str = "
    CREATE TABLE catalog (id SMALLINT, url TEXT, pos SMALLINT);
    CREATE TABLE pkg (name TEXT, catalog SMALLINT, author TEXT, source TEXT, checksum TEXT, desc TEXT);
    CREATE INDEX pkg_index ON pkg (name, catalog);
    CREATE TABLE tags (pkg TEXT, catalog SMALLINT, tag TEXT);
    CREATE INDEX tags_index ON tags (pkg, catalog);
    CREATE TABLE modules (name TEXT, pkg TEXT, catalog SMALLINT, checksum TEXT);
    CREATE INDEX modules_index ON modules (pkg, catalog, checksum);
    CREATE TABLE dependencies (onpkg TEXT, onversion TEXT, onplatform TEXT, pkg TEXT, catalog SMALLINT, checksum TEXT);
    CREATE INDEX dependencies_index ON dependencies (pkg, catalog, checksum);
    INSERT INTO catalog VALUES (0, 'local', 0);
";

/// One row: what a package was made from. A package that failed has nothing but its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub author: String,
    pub source: String,
    pub checksum: String,
    pub description: String,
}

pub type Rows = BTreeMap<String, Row>;

/// Reads the rows; none when there is no file.
pub fn read(path: &Path) -> Result<Rows> {
    if !path.exists() {
        return Ok(Rows::new());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let rows = || -> rusqlite::Result<Rows> {
        let database = Connection::open_with_flags(path, flags)?;
        let mut statement = database.prepare("SELECT name, author, source, checksum, desc FROM pkg")?;
        let rows = statement.query_map([], |row| {
            let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
            let (author, source, checksum, description) = (text(1)?, text(2)?, text(3)?, text(4)?);
            Ok((row.get::<_, String>(0)?, Row { author, source, checksum, description }))
        })?;
        rows.collect()
    };
    rows().context(Exit::Data, || format!("cannot read state \"{}\"", path.display()))
}

/// Writes the rows, whole or not at all, if they differ from what is there.
pub fn write(path: &Path, rows: &Rows) -> Result<()> {
    if path.exists() && read(path).is_ok_and(|old| old == *rows) {
        return Ok(());
    }
    let cannot = || format!("cannot write state \"{}\"", path.display());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).context(Exit::CantCreate, cannot)?;
    let beside = path.with_extension(format!("sqlite.{}.tmp", std::process::id()));
    let cleanup = {
        let beside = beside.clone();
        edge::on_exit(move || drop(std::fs::remove_file(beside)))
    };
    let fill = || -> rusqlite::Result<()> {
        let mut database = Connection::open(&beside)?;
        let transaction = database.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        for (name, row) in rows {
            transaction.execute(
                "INSERT INTO pkg VALUES (?1, 0, ?2, ?3, ?4, ?5)",
                [name, &row.author, &row.source, &row.checksum, &row.description],
            )?;
        }
        transaction.commit()?;
        database.close().map_err(|(_, error)| error)
    };
    let _ = std::fs::remove_file(&beside);
    fill().context(Exit::CantCreate, cannot)?;
    std::fs::rename(&beside, path).map_err(|error| Failure::cant_create(format!("{}: {error}", cannot())))?;
    cleanup.forget();
    Ok(())
}

/// What a row and the zip on disk say together; `None` when the zip is not the one that its checksum file tells.
pub fn kept(package: &str, row: &Row, store: &Store) -> Option<Kept> {
    let path = store.zip(package);
    let bytes = std::fs::read(&path).ok()?;
    let sha1 = sha1_hex(&bytes);
    let told = std::fs::read_to_string(path.with_extension("zip.CHECKSUM")).ok()?;
    let metadata = std::fs::metadata(&path).ok()?;
    (told == sha1 && !row.source.is_empty()).then(|| Kept {
        making: State::making(),
        package: package.to_owned(),
        source: row.source.clone(),
        checksum: row.checksum.clone(),
        mode: Mode::default(),
        resolved: row.checksum.clone(),
        fingerprint: None,
        // nothing is known yet: the zip will be examined
        entry_key: String::new(),
        zip: Stamp { sha1, bytes: bytes.len() as u64, inode: metadata.ino(), changed_ns: 0 },
        facts: Facts::default(),
    })
}
