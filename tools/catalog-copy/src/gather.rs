//! The entries of all sources, merged: which one of a name stays, and where its text lies.

use crate::spool::{Span, Spool};
use catalog::{ContentId, Entry, EntryDigest, Name, entry_digest};
use edge::{Context, Exit, Failure, Result};
use racket_data::write_hash;
use std::collections::BTreeMap;

/// Entries by name, each as the text that Racket's `write` prints, in bounded memory.
#[derive(Debug, Default)]
pub struct Gathered {
    slots: BTreeMap<Name, Slot>,
    spool: Spool,
    source: u32,
    new_wins: bool,
    shape: Shape,
    text: String,
}

/// What the destination makes of entries.
#[derive(Debug, Default)]
pub struct Shape {
    /// Sources become relative to this absolute path of a directory.
    pub relative_to: Option<String>,
    /// Relative sources are left as they are: for looking at what a destination has.
    pub as_written: bool,
    /// Only what the tables of a SQLite catalog hold, for one version.
    pub tables: Option<crate::write::tables::Columns>,
}

/// An entry that stayed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub span: Span,
    pub digest: EntryDigest,
    source: u32,
}

impl Gathered {
    pub fn new(shape: Shape) -> Gathered {
        Gathered { shape, ..Gathered::default() }
    }

    /// Whether relative sources are to become absolute.
    pub fn wants_absolute(&self) -> bool {
        !self.shape.as_written
    }

    /// Entries of the next source come; `wins` tells whether they go over those that are there.
    pub fn begin_source(&mut self, wins: bool) {
        self.source += 1;
        self.new_wins = wins;
    }

    /// Adds an entry of the current source. Within one source the last of a name stays, as for `read`.
    pub fn add(&mut self, name: Name, mut entry: Entry) -> Result<()> {
        if let Some(slot) = self.slots.get(name.as_str())
            && slot.source != self.source
            && !self.new_wins
        {
            return Ok(());
        }
        if let Some(columns) = &self.shape.tables {
            entry = columns.keep(&name, &entry)?;
        }
        if let Some(directory) = &self.shape.relative_to {
            entry.make_relative(directory);
        }
        let digest = entry_digest(&entry);
        self.text.clear();
        write_hash(&mut self.text, entry.hash());
        let span = self.spool.push(self.text.as_bytes()).context(Exit::CantCreate, cannot_keep)?;
        self.slots.insert(name, Slot { span, digest, source: self.source });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Names with their slots, sorted.
    pub fn slots(&self) -> impl Iterator<Item = (&Name, &Slot)> {
        self.slots.iter()
    }

    /// Appends the text of an entry. Any number of threads may do this.
    pub fn text(&self, slot: &Slot, into: &mut Vec<u8>) -> Result<()> {
        self.spool.read(slot.span, into).context(Exit::CantCreate, cannot_keep)
    }

    /// The entry again.
    pub fn entry(&self, name: &Name, slot: &Slot, scratch: &mut Vec<u8>) -> Result<Entry> {
        scratch.clear();
        self.text(slot, scratch)?;
        racket_data::read(scratch)
            .ok()
            .flatten()
            .and_then(Entry::from_value)
            .ok_or_else(|| Failure::bug(format!("what was written for package {name} does not read back")))
    }

    pub fn digests(&self) -> BTreeMap<Name, EntryDigest> {
        self.slots.iter().map(|(name, slot)| (name.clone(), slot.digest)).collect()
    }
}

fn cannot_keep() -> String {
    format!("cannot keep entries in \"{}\"", std::env::temp_dir().display())
}

pub fn catalog_id(digests: &BTreeMap<Name, EntryDigest>) -> String {
    let mut id = ContentId::new();
    for (name, digest) in digests {
        id.add(name.as_str(), *digest);
    }
    id.finish()
}
