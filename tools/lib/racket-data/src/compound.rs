//! Lists, vectors, hashes and shared data.

use crate::hash::HashBuilder;
use crate::read::{Outcome, Reader, fail};
use crate::{HashKind, Value};
use std::ops::Range;

/// Values that graph references (`#0#`) may copy in one text.
const MAX_COPIED_VALUES: usize = 1_000_000;
/// Length that `#1000(x)` may ask for.
const MAX_VECTOR_LENGTH: usize = 1_000_000;

impl Reader<'_> {
    /// A list or pair, at its opening parenthesis.
    pub(crate) fn list(&mut self) -> Outcome<Value> {
        let start = self.at;
        let close = self.open();
        // collected on a stack that all lists share, so that each is allocated once and in its size
        let first = self.items.len();
        loop {
            if self.at_close(close, start)? {
                return Ok(Value::List(self.items.drain(first..).collect()));
            }
            if !self.at_dot() {
                let item = self.datum("an item")?;
                self.items.push(item);
                continue;
            }
            let mut items: Vec<Value> = self.items.drain(first..).collect();
            let dot = self.at;
            self.at += 1;
            if items.is_empty() {
                return fail(dot, "unexpected `.`");
            }
            self.skip_atmosphere()?;
            if matches!(self.peek(), Some(b')' | b']' | b'}')) {
                return fail(dot, "expected a datum after `.`");
            }
            let tail = self.datum("a datum after `.`")?;
            if self.at_close(close, start)? {
                return Ok(dotted(items, tail));
            }
            // `(a . f . b)` is `(f a b)`
            if !self.at_dot() {
                return fail(dot, "expected one datum after `.`");
            }
            self.at += 1;
            items.insert(0, tail);
            self.skip_atmosphere()?;
            if matches!(self.peek(), Some(b')' | b']' | b'}') | None) {
                return fail(dot, "expected a datum after `.`");
            }
            items.push(self.datum("a datum after `.`")?);
            while !self.at_close(close, start)? {
                if self.at_dot() {
                    return fail(self.at, "unexpected `.`");
                }
                items.push(self.datum("an item")?);
            }
            return Ok(Value::List(items));
        }
    }

    /// The items of `#(…)`, at the parenthesis.
    pub fn vector_items(&mut self) -> Outcome<Vec<Value>> {
        let start = self.at;
        let close = self.open();
        let mut items = Vec::new();
        while !self.at_close(close, start)? {
            if self.at_dot() {
                return fail(self.at, "unexpected `.`");
            }
            items.push(self.datum("an item")?);
        }
        Ok(items)
    }

    /// `#3(a b)`: the last item fills up.
    pub fn vector_of_length(&mut self, length: u64, start: usize) -> Outcome<Value> {
        let mut items = self.nested(Reader::vector_items)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < items.len() {
            return fail(start, format!("vector is longer than the length {length} given for it"));
        }
        if length > MAX_VECTOR_LENGTH {
            return fail(start, format!("vector length {length} is over {MAX_VECTOR_LENGTH}"));
        }
        let last = items.last().cloned().unwrap_or(Value::Int(0));
        self.count_copies(last.size().saturating_mul(length - items.len()), start)?;
        items.resize(length, last);
        Ok(Value::Vector(items))
    }

    fn count_copies(&mut self, copies: usize, start: usize) -> Outcome<()> {
        self.copied = self.copied.saturating_add(copies);
        if self.copied > MAX_COPIED_VALUES {
            return fail(start, format!("copies of shared data are over {MAX_COPIED_VALUES} values"));
        }
        Ok(())
    }

    /// A hash, at its parenthesis.
    pub fn hash(&mut self, kind: HashKind) -> Outcome<Value> {
        let start = self.at;
        let close = self.open();
        let mut hash = HashBuilder::new(kind);
        while !self.at_close(close, start)? {
            let (key, value) = self.nested(Reader::hash_item)?;
            hash.insert(key, value);
        }
        Ok(Value::Hash(hash.finish()))
    }

    /// An item of a large hash, at its parenthesis, and where it stands.
    pub fn item(&mut self) -> Outcome<(Value, Value, Range<usize>)> {
        let from = self.at;
        let (key, value) = self.nested(Reader::hash_item)?;
        Ok((key, value, from..self.at))
    }

    /// [`Reader::item`], unless there is nothing more.
    pub fn item_or_end(&mut self) -> Outcome<Option<(Value, Value, Range<usize>)>> {
        self.skip_atmosphere()?;
        if self.peek().is_none() { Ok(None) } else { self.item().map(Some) }
    }

    /// `(key . value)`, at its parenthesis.
    pub fn hash_item(&mut self) -> Outcome<(Value, Value)> {
        let start = self.at;
        if !matches!(self.peek(), Some(b'(' | b'[' | b'{')) {
            return fail(start, "expected `(` to start an item of a hash");
        }
        let close = self.open();
        let key = self.datum("a key")?;
        self.skip_atmosphere()?;
        if !self.at_dot() {
            return fail(self.at, "expected `.` between key and value of a hash");
        }
        self.at += 1;
        let value = self.datum("a value")?;
        if !self.at_close(close, start)? {
            return fail(self.at, format!("expected `{}` after the value of a hash item", char::from(close)));
        }
        Ok((key, value))
    }

    /// `#0=datum`
    pub fn graph_definition(&mut self, name: u64, start: usize) -> Outcome<Value> {
        if self.graph.insert(name, None).is_some() {
            return fail(start, format!("`#{name}=` is there twice"));
        }
        let value = self.nested(|reader| reader.datum("a datum after `=`"))?;
        self.graph.insert(name, Some(value.clone()));
        Ok(value)
    }

    /// `#0#`
    pub fn graph_reference(&mut self, name: u64, start: usize) -> Outcome<Value> {
        match self.graph.get(&name).cloned() {
            Some(Some(value)) => {
                self.count_copies(value.size(), start)?;
                Ok(value)
            }
            Some(None) => fail(start, "data that contains itself is not supported"),
            None => fail(start, format!("no `#{name}=` before this")),
        }
    }
}

fn dotted(mut items: Vec<Value>, tail: Value) -> Value {
    match tail {
        Value::List(more) => {
            items.extend(more);
            Value::List(items)
        }
        Value::Dotted(more, tail) => {
            items.extend(more);
            Value::Dotted(items, tail)
        }
        tail => Value::Dotted(items, Box::new(tail)),
    }
}
