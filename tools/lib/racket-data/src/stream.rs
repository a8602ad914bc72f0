//! A large top-level hash, item by item, in memory for one item.

use crate::error::{Limits, Place};
use crate::read::{Outcome, Reader, Trouble, fail};
use crate::skim::skim_items;
use crate::{HashKind, Part, ReadError, Value};
use std::fmt;
use std::io::Read;
use std::ops::Range;

const CHUNK_BYTES: usize = 256 << 10;

/// Why a stream stopped.
#[derive(Debug)]
pub enum StreamError {
    /// The source could not be read.
    Io(std::io::Error),
    /// What was read is not a hash of readable data.
    Read(ReadError),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Io(error) => error.fmt(f),
            StreamError::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StreamError {}

/// One item of a hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub key: Value,
    pub value: Value,
    /// Bytes of the stream that `(key . value)` stands in.
    pub range: Range<u64>,
}

/// What [`HashStream::next_part`] gives.
#[derive(Debug)]
pub enum Portion {
    /// Items whose ends were found without reading them.
    Part(Part),
    /// An item that only reading finds the end of.
    Item(Item),
}

/// Iterates over the items of the first datum of a stream, which must be a hash. Text after it is not looked at.
/// Equal keys are all given, in order (for `read` the last one counts). The iterator ends after an error.
#[derive(Debug)]
pub struct HashStream<R> {
    source: R,
    limits: Limits,
    buffer: Vec<u8>,
    /// Start of what is not yet consumed.
    start: usize,
    /// Place in the stream of `buffer[start]`.
    place: Place,
    source_ended: bool,
    state: State,
    kind: Option<HashKind>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Before,
    /// Inside, with the parenthesis that will end it.
    Inside(u8),
    Ended,
}

/// What one look at the buffer found.
enum Step {
    Opened(HashKind, u8),
    Item(Value, Value, Range<usize>),
    Closed,
}

impl<R: Read> HashStream<R> {
    pub fn new(source: R) -> HashStream<R> {
        HashStream::within(source, Limits::default())
    }

    /// With limits of your own; `max_bytes` is for one item.
    pub fn within(source: R, limits: Limits) -> HashStream<R> {
        HashStream {
            source,
            limits,
            buffer: Vec::new(),
            start: 0,
            place: Place::default(),
            source_ended: false,
            state: State::Before,
            kind: None,
        }
    }

    /// The kind of the hash, once the first item (or the end) has been given.
    pub fn kind(&self) -> Option<HashKind> {
        self.kind
    }

    /// The next items, as text where that can be: about `size_bytes` of it, for other threads to read. Together the
    /// portions are what the iterator would have given, the first error included. A portion may hold no item.
    pub fn next_part(&mut self, size_bytes: usize) -> Option<Result<Portion, StreamError>> {
        if let Err(error) = self.open() {
            self.state = State::Ended;
            return Some(Err(error));
        }
        while let State::Inside(_) = self.state {
            let text = &self.buffer[self.start..];
            let skimmed = skim_items(text, size_bytes);
            if skimmed.end > 0 {
                let part =
                    Part { text: text[..skimmed.end].to_vec(), place: self.place, limits: self.limits };
                self.place = self.place.after(&part.text);
                self.start += skimmed.end;
                return Some(Ok(Portion::Part(part)));
            }
            if !skimmed.more || self.source_ended || text.len() > self.limits.max_bytes {
                break;
            }
            if let Err(error) = self.fill() {
                self.state = State::Ended;
                return Some(Err(StreamError::Io(error)));
            }
        }
        self.next().map(|item| item.map(Portion::Item))
    }

    /// To behind the opening parenthesis.
    fn open(&mut self) -> Result<(), StreamError> {
        if self.state == State::Before
            && let Step::Opened(kind, close) = self.step()?
        {
            self.kind = Some(kind);
            self.state = State::Inside(close);
        }
        Ok(())
    }

    fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        // grow by what is there: an item of n bytes is looked at log n times
        let target = self.buffer.len() + self.buffer.len().max(CHUNK_BYTES);
        let mut filled = self.buffer.len();
        self.buffer.resize(target, 0);
        let result = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Ok(0) => {
                    self.source_ended = true;
                    break Ok(());
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if filled == target {
                break Ok(());
            }
        };
        self.buffer.truncate(filled);
        result
    }

    /// The next step, with more text read as long as it depends on that.
    fn step(&mut self) -> Result<Step, StreamError> {
        loop {
            let text = &self.buffer[self.start..];
            let mut reader = Reader::new(text, self.limits);
            let step = match self.state {
                State::Inside(close) => inside(&mut reader, close),
                _ => opening(&mut reader),
            };
            let unsure = reader.touched_end
                && !self.source_ended
                && step.as_ref().map_or(true, |s| {
                    // a closing parenthesis has been seen: nothing later can change that
                    !matches!(s, Step::Item(..) | Step::Closed | Step::Opened(..))
                });
            if !unsure {
                let step = step.map_err(|Trouble { offset, message }| {
                    let before = &text[..offset.min(text.len())];
                    StreamError::Read(self.place.after(before).error(message))
                })?;
                let end = reader.at;
                self.place = self.place.after(&text[..end]);
                self.start += end;
                return Ok(step);
            }
            if text.len() > self.limits.max_bytes {
                let message = format!("item is over {} bytes", self.limits.max_bytes);
                return Err(StreamError::Read(self.place.error(message)));
            }
            self.fill().map_err(StreamError::Io)?;
        }
    }
}

fn opening(reader: &mut Reader<'_>) -> Outcome<Step> {
    reader.skip_atmosphere()?;
    let start = reader.at;
    let word: Vec<u8> = reader.text[start..]
        .iter()
        .take(10)
        .take_while(|b| !b"([{".contains(b))
        .map(u8::to_ascii_lowercase)
        .collect();
    let kind = match word.as_slice() {
        b"#hash" => HashKind::Equal,
        b"#hasheq" => HashKind::Eq,
        b"#hasheqv" => HashKind::Eqv,
        b"#hashalw" => HashKind::EqualAlways,
        found => {
            reader.touched_end |= reader.text.len() < start + 10;
            return match reader.text.len() == start && found.is_empty() {
                true => fail(start, "expected a hash, found the end"),
                false => fail(start, "expected a hash"),
            };
        }
    };
    reader.at = start + word.len();
    if reader.peek().is_none() {
        return fail(start, "expected `(` after the name of a hash");
    }
    let close = reader.open();
    Ok(Step::Opened(kind, close))
}

fn inside(reader: &mut Reader<'_>, close: u8) -> Outcome<Step> {
    let start = reader.at;
    if reader.at_close(close, start)? {
        return Ok(Step::Closed);
    }
    let (key, value, range) = reader.item()?;
    Ok(Step::Item(key, value, range))
}

impl<R: Read> Iterator for HashStream<R> {
    type Item = Result<Item, StreamError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let item = self.open().and_then(|()| {
            let base = self.place.offset as u64;
            Ok(match self.step()? {
                Step::Item(key, value, range) => {
                    let range = base + range.start as u64..base + range.end as u64;
                    Some(Item { key, value, range })
                }
                Step::Opened(..) | Step::Closed => None,
            })
        });
        if !matches!(item, Ok(Some(_))) {
            self.state = State::Ended;
        }
        item.transpose()
    }
}
