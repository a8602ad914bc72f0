//! What is done with each entry by itself, so that threads can do it side by side: it takes the shape that the
//! destination wants, is hashed and printed.

use crate::write::tables::Columns;
use catalog::{Entry, EntryDigest, Name, entry_digest};
use edge::Result;
use racket_data::write_hash;
use std::ops::Range;

/// Makes entries and hands them over in their order.
pub type Work = Box<dyn FnOnce(&mut dyn FnMut(Name, Entry) -> Result<()>) -> Result<()> + Send>;

/// What the destination makes of entries.
#[derive(Debug, Default)]
pub struct Shape {
    /// Sources become relative to this absolute path of a directory.
    pub relative_to: Option<String>,
    /// Relative sources are left as they are: for looking at what a destination has.
    pub as_written: bool,
    /// Only what the tables of a SQLite catalog hold, for one version.
    pub tables: Option<Columns>,
}

/// What came out of one piece of work.
#[derive(Debug)]
pub struct Prepared {
    pub entries: Vec<PreparedEntry>,
    /// The texts of the entries.
    pub text: String,
    /// How the work ended, after these entries.
    pub outcome: Result<()>,
}

#[derive(Debug)]
pub struct PreparedEntry {
    pub name: Name,
    /// Where its text is, and its digest. A failure, and the warnings, count only if the entry stays.
    pub result: Result<(Range<usize>, EntryDigest)>,
    pub warnings: Vec<String>,
}

pub fn prepare(shape: &Shape, work: Work) -> Prepared {
    let (mut entries, mut text) = (Vec::new(), String::new());
    let outcome = work(&mut |name, entry| {
        let mut warnings = Vec::new();
        let result = shaped(shape, &name, entry, &mut warnings).map(|entry| {
            let start = text.len();
            write_hash(&mut text, entry.hash());
            (start..text.len(), entry_digest(&entry))
        });
        entries.push(PreparedEntry { name, result, warnings });
        Ok(())
    });
    Prepared { entries, text, outcome }
}

fn shaped(shape: &Shape, name: &Name, mut entry: Entry, warnings: &mut Vec<String>) -> Result<Entry> {
    if let Some(columns) = &shape.tables {
        entry = columns.keep(name, entry, warnings)?;
    }
    if let Some(directory) = &shape.relative_to {
        entry.make_relative(directory);
    }
    Ok(entry)
}
