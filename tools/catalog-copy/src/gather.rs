//! The entries of all sources, merged: which one of a name stays, and where its text lies.

use crate::spool::{Span, Spool};
use catalog::{Entry, EntryDigest, Name, entry_digest};
use edge::{Context, Exit, Failure, Result};
use racket_data::write_hash;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Entries change threads in batches of this many.
const BATCH: usize = 16;
/// So many batches may wait.
const WAITING: usize = 4;

/// Takes entries from whoever reads them; another thread merges and keeps them meanwhile.
#[derive(Debug)]
pub struct Gatherer {
    batch: Vec<(u32, Name, Entry)>,
    source: u32,
    wants_absolute: bool,
    /// `None` once the thread has been asked to end.
    sender: Option<SyncSender<Vec<(u32, Name, Entry)>>>,
    thread: Option<JoinHandle<Result<Gathered>>>,
}

impl Gatherer {
    pub fn new(shape: Shape) -> Gatherer {
        let (sender, receiver) = sync_channel(WAITING);
        let wants_absolute = !shape.as_written;
        let thread = Some(std::thread::spawn(move || Gathered::gather(shape, &receiver)));
        Gatherer { batch: Vec::with_capacity(BATCH), source: 0, wants_absolute, sender: Some(sender), thread }
    }

    /// Whether relative sources are to become absolute.
    pub fn wants_absolute(&self) -> bool {
        self.wants_absolute
    }

    /// Entries of the next source come. Those of earlier sources stay.
    pub fn begin_source(&mut self) {
        self.source += 1;
    }

    /// Adds an entry of the current source. Within one source the last of a name stays, as for `read`.
    pub fn add(&mut self, name: Name, entry: Entry) -> Result<()> {
        self.batch.push((self.source, name, entry));
        if self.batch.len() < BATCH { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(batch).is_ok());
        // the other thread goes away only when something failed there
        if sent { Ok(()) } else { self.join().map(|_| ()) }
    }

    fn join(&mut self) -> Result<Gathered> {
        self.sender = None;
        let result = self.thread.take().map(JoinHandle::join);
        result
            .and_then(std::result::Result::ok)
            .unwrap_or_else(|| Err(Failure::bug("the gathering thread died")))
    }

    pub fn finish(mut self) -> Result<Gathered> {
        if !self.batch.is_empty() {
            self.send()?;
        }
        self.join()
    }
}

/// Entries by name, each as the text that Racket's `write` prints, in bounded memory.
#[derive(Debug, Default)]
pub struct Gathered {
    slots: BTreeMap<Name, Slot>,
    spool: Spool,
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
    fn gather(shape: Shape, entries: &Receiver<Vec<(u32, Name, Entry)>>) -> Result<Gathered> {
        let mut gathered = Gathered { shape, ..Gathered::default() };
        for (source, name, entry) in entries.iter().flatten() {
            gathered.add(source, name, entry)?;
        }
        Ok(gathered)
    }

    fn add(&mut self, source: u32, name: Name, mut entry: Entry) -> Result<()> {
        if self.slots.get(name.as_str()).is_some_and(|slot| slot.source != source) {
            return Ok(());
        }
        if let Some(columns) = &self.shape.tables {
            entry = columns.keep(&name, entry)?;
        }
        if let Some(directory) = &self.shape.relative_to {
            entry.make_relative(directory);
        }
        let digest = entry_digest(&entry);
        self.text.clear();
        write_hash(&mut self.text, entry.hash());
        let span = self.spool.push(self.text.as_bytes()).context(Exit::CantCreate, cannot_keep)?;
        self.slots.insert(name, Slot { span, digest, source });
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
