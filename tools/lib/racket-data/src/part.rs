//! Parts of a large hash, to be read by several threads.

use crate::error::{Limits, Place};
use crate::read::{Reader, Trouble};
use crate::{Item, ReadError};

/// Text of some items of a hash, one after the other, not yet read. See [`crate::HashStream::next_part`].
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) text: Vec<u8>,
    pub(crate) place: Place,
    pub(crate) limits: Limits,
}

impl Part {
    /// Byte of the stream that is the first after it.
    pub fn end(&self) -> u64 {
        (self.place.offset + self.text.len()) as u64
    }

    /// Reads the items. They, and the places of errors, are what the stream itself would have given; the iterator
    /// ends after an error.
    pub fn items(&self) -> Items<'_> {
        Items { part: self, at: 0 }
    }
}

/// Iterates over the items of a [`Part`].
#[derive(Debug)]
pub struct Items<'p> {
    part: &'p Part,
    at: usize,
}

impl Iterator for Items<'_> {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = &self.part.text;
        let mut reader = Reader::new(text, self.part.limits);
        reader.at = self.at;
        let item = reader.item_or_end();
        self.at = reader.at;
        match item {
            Ok(None) => None,
            Ok(Some((key, value, range))) => {
                let base = self.part.place.offset as u64;
                let range = base + range.start as u64..base + range.end as u64;
                Some(Ok(Item { key, value, range }))
            }
            Err(Trouble { offset, message }) => {
                self.at = text.len();
                let before = &text[..offset.min(text.len())];
                Some(Err(self.part.place.after(before).error(message)))
            }
        }
    }
}
