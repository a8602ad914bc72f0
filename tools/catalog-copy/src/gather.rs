//! The entries of all sources, merged: which one of a name stays, and where its text lies.

use crate::crew::{Crew, Turns};
use crate::prepare::{Prepared, Shape, Work, prepare};
use crate::spool::{Span, Spool};
use catalog::{Entry, EntryDigest, Name};
use edge::{Context, Exit, Failure, Result, say};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Entries that are added one by one go to another thread in batches of this many.
const BATCH: usize = 16;

/// Takes entries, or work that makes entries, from whoever reads them. Other threads do the work, side by side;
/// one more merges and keeps what comes out, in the order given.
pub struct Gatherer {
    batch: Vec<(Name, Entry)>,
    source: u32,
    wants_absolute: bool,
    crew: Crew<(u32, Work)>,
    /// `None` once it has been waited for.
    thread: Option<JoinHandle<Result<Gathered>>>,
}

impl Gatherer {
    pub fn new(shape: Shape) -> Gatherer {
        let wants_absolute = !shape.as_written;
        let shape = Arc::new(shape);
        let (crew, turns) = Crew::new(move |(source, work): (u32, Work)| (source, prepare(&shape, work)));
        let thread = Some(std::thread::spawn(move || Gathered::gather(turns)));
        Gatherer { batch: Vec::with_capacity(BATCH), source: 0, wants_absolute, crew, thread }
    }

    /// Whether relative sources are to become absolute.
    pub fn wants_absolute(&self) -> bool {
        self.wants_absolute
    }

    /// Entries of the next source come. Those of earlier sources stay.
    pub fn begin_source(&mut self) -> Result<()> {
        self.send_batch()?;
        self.source += 1;
        Ok(())
    }

    /// Adds an entry of the current source. Within one source the last of a name stays, as for `read`.
    pub fn add(&mut self, name: Name, entry: Entry) -> Result<()> {
        self.batch.push((name, entry));
        if self.batch.len() < BATCH { Ok(()) } else { self.send_batch() }
    }

    fn send_batch(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.send(Box::new(move |add| batch.into_iter().try_for_each(|(name, entry)| add(name, entry))))
    }

    /// Adds entries of the current source that another thread is to make. The first failure of all is what counts.
    pub fn add_work(&mut self, work: Work) -> Result<()> {
        self.send_batch()?;
        self.send(work)
    }

    fn send(&mut self, work: Work) -> Result<()> {
        // the others go away only when something failed there
        if self.crew.give((self.source, work)) { Ok(()) } else { self.join().map(|_| ()) }
    }

    fn join(&mut self) -> Result<Gathered> {
        self.crew.end();
        let result = self.thread.take().map(JoinHandle::join);
        result
            .and_then(std::result::Result::ok)
            .unwrap_or_else(|| Err(Failure::bug("the gathering thread died")))
    }

    /// Reading failed: was there a failure in what came before it? Then that one is told, whichever thread is quicker.
    pub fn first_failure(&mut self, failure: Failure) -> Failure {
        if let Err(earlier) = self.send_batch() {
            return earlier;
        }
        let earlier = self.thread.is_some().then(|| self.join().err()).flatten();
        earlier.unwrap_or(failure)
    }

    pub fn finish(mut self) -> Result<Gathered> {
        self.send_batch()?;
        self.join()
    }
}

/// Entries by name, each as the text that Racket's `write` prints, in bounded memory.
#[derive(Debug, Default)]
pub struct Gathered {
    slots: BTreeMap<Name, Slot>,
    spool: Spool,
}

/// An entry that stayed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub span: Span,
    pub digest: EntryDigest,
    source: u32,
}

impl Gathered {
    fn gather(mut turns: Turns<(u32, Prepared)>) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        while let Some((source, prepared)) = turns.next()? {
            for entry in prepared.entries {
                if gathered.slots.get(entry.name.as_str()).is_some_and(|slot| slot.source != source) {
                    continue;
                }
                for warning in entry.warnings {
                    say::warning(warning, None);
                }
                let (range, digest) = entry.result?;
                let text = &prepared.text.as_bytes()[range];
                let span = gathered.spool.push(text).context(Exit::CantCreate, cannot_keep)?;
                gathered.slots.insert(entry.name, Slot { span, digest, source });
            }
            prepared.outcome?;
        }
        Ok(gathered)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Names with their slots, sorted.
    pub fn slots(&self) -> impl Iterator<Item = (&Name, &Slot)> {
        self.slots.iter()
    }

    /// The text of an entry, perhaps in `scratch`. Any number of threads may do this.
    pub fn text<'s>(&'s self, slot: &Slot, scratch: &'s mut Vec<u8>) -> Result<&'s [u8]> {
        self.spool.read(slot.span, scratch).context(Exit::CantCreate, cannot_keep)
    }

    /// The entry again.
    fn entry(&self, name: &Name, slot: &Slot, scratch: &mut Vec<u8>) -> Result<Entry> {
        racket_data::read(self.text(slot, scratch)?)
            .ok()
            .flatten()
            .and_then(Entry::from_value)
            .ok_or_else(|| Failure::bug(format!("what was written for package {name} does not read back")))
    }

    /// Other threads make something of every entry; it is handed over in the order of names.
    pub fn each<R: Send + 'static>(
        self: &Arc<Self>,
        make: impl Fn(Name, Entry) -> R + Clone + Send + 'static,
        mut take: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let gathered = Arc::clone(self);
        let (mut crew, mut turns) = Crew::new(move |slots: Vec<(Name, Slot)>| -> Result<Vec<R>> {
            let mut scratch = Vec::new();
            let made = slots.into_iter().map(|(name, slot)| {
                let entry = gathered.entry(&name, &slot, &mut scratch)?;
                Ok(make(name, entry))
            });
            made.collect()
        });
        let (mut slots, mut ahead) = (self.slots().map(|(name, slot)| (name.clone(), *slot)), 0);
        loop {
            let batch: Vec<_> = slots.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            // a thread that is not there any more is told of when its turn comes
            crew.give(batch);
            ahead += 1;
            if ahead > crew.room() / 2 {
                ahead -= 1;
                turns.next()?.unwrap_or_else(|| Ok(Vec::new()))?.into_iter().try_for_each(&mut take)?;
            }
        }
        crew.end();
        while let Some(made) = turns.next()? {
            made?.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    pub fn digests(&self) -> BTreeMap<Name, EntryDigest> {
        self.slots.iter().map(|(name, slot)| (name.clone(), slot.digest)).collect()
    }
}

fn cannot_keep() -> String {
    format!("cannot keep entries in \"{}\"", std::env::temp_dir().display())
}
