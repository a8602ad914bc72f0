//! The reader: one datum of a text, as Racket's `read` takes it.

use crate::error::{Limits, Place};
use crate::hash::HashBuilder;
use crate::text::{decode, is_whitespace};
use crate::{HashKind, ReadError, Value, number};
use std::collections::BTreeMap;

/// Values that graph references (`#0#`) may copy in one text.
const MAX_COPIED_VALUES: usize = 1_000_000;
/// Length that `#1000(x)` may ask for.
const MAX_VECTOR_LENGTH: usize = 1_000_000;

/// Reads the first datum; what follows it is ignored, as Racket does. `None` if there is nothing but white space
/// and comments.
///
/// # Errors
/// Not readable, or beyond the limits: with the position.
pub fn read(text: &[u8]) -> Result<Option<Value>, ReadError> {
    read_within(text, &Limits::default())
}

/// [`read`] with limits of your own.
pub fn read_within(text: &[u8], limits: &Limits) -> Result<Option<Value>, ReadError> {
    let mut reader = Reader::new(text, *limits);
    reader.check_size().and_then(|()| reader.datum_or_end()).map_err(|error| error.at(text))
}

/// Reads every datum of a text.
///
/// # Errors
/// As [`read`].
pub fn read_all(text: &[u8]) -> Result<Vec<Value>, ReadError> {
    let mut reader = Reader::new(text, Limits::default());
    let mut all = || {
        reader.check_size()?;
        let mut values = Vec::new();
        while let Some(value) = reader.datum_or_end()? {
            values.push(value);
        }
        Ok(values)
    };
    all().map_err(|error: Trouble| error.at(text))
}

/// An error whose place is not yet worked out.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub offset: usize,
    pub message: String,
}

impl Trouble {
    pub fn at(self, text: &[u8]) -> ReadError {
        Place::default().after(&text[..self.offset.min(text.len())]).error(self.message)
    }
}

pub(crate) type Outcome<T> = Result<T, Trouble>;

pub(crate) struct Reader<'t> {
    pub text: &'t [u8],
    pub at: usize,
    /// Set when a decision depended on the text ending where it does: a longer text may read otherwise.
    pub touched_end: bool,
    pub limits: Limits,
    depth: usize,
    fold_case: bool,
    graph: BTreeMap<u64, Option<Value>>,
    copied: usize,
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t [u8], limits: Limits) -> Reader<'t> {
        let graph = BTreeMap::new();
        Reader { text, at: 0, touched_end: false, limits, depth: 0, fold_case: false, graph, copied: 0 }
    }

    pub fn check_size(&self) -> Outcome<()> {
        if self.text.len() > self.limits.max_bytes {
            return fail(self.limits.max_bytes, format!("text is over {} bytes", self.limits.max_bytes));
        }
        Ok(())
    }

    pub fn peek(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.touched_end |= byte.is_none();
        byte
    }

    pub fn peek_second(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at + 1).copied();
        self.touched_end |= byte.is_none();
        byte
    }

    pub fn peek_char(&mut self) -> Option<(char, usize)> {
        if self.text.len() < self.at + 4 {
            self.touched_end = true;
        }
        decode(self.text.get(self.at..)?)
    }

    /// Runs a nested read one level deeper.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= self.limits.max_depth {
            return fail(self.at, format!("nesting is deeper than {}", self.limits.max_depth));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Skips white space and comments, also `#;datum`.
    pub fn skip_atmosphere(&mut self) -> Outcome<()> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0xB | 0xC) => self.at += 1,
                Some(b';') => self.skip_line(false),
                Some(b'#') => match self.peek_second() {
                    Some(b'|') => self.skip_block_comment()?,
                    Some(b';') => {
                        let start = self.at;
                        self.at += 2;
                        if self.nested(Reader::datum_or_end)?.is_none() {
                            return fail(start, "expected a datum to comment out after `#;`");
                        }
                    }
                    Some(b'!') if matches!(self.text.get(self.at + 2), Some(b' ' | b'/')) => {
                        self.skip_line(true)
                    }
                    _ => return Ok(()),
                },
                Some(0x80..) => match self.peek_char() {
                    Some((c, length)) if is_whitespace(c) => self.at += length,
                    _ => return Ok(()),
                },
                _ => return Ok(()),
            }
        }
    }

    /// To the end of a line comment; in a `#!` comment a backslash carries it over to the next line.
    fn skip_line(&mut self, backslash_continues: bool) {
        while let Some((c, length)) = self.peek_char() {
            self.at += length;
            if c == '\n' {
                return;
            }
            if backslash_continues && c == '\\' && self.peek().is_some() {
                self.at += 1;
            }
        }
    }

    fn skip_block_comment(&mut self) -> Outcome<()> {
        let (start, mut open) = (self.at, 0usize);
        while let Some(byte) = self.peek() {
            match (byte, self.peek_second()) {
                (b'#', Some(b'|')) => (open, self.at) = (open + 1, self.at + 2),
                (b'|', Some(b'#')) => {
                    (open, self.at) = (open - 1, self.at + 2);
                    if open == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        fail(start, "expected `|#` to close this comment")
    }

    pub fn datum_or_end(&mut self) -> Outcome<Option<Value>> {
        self.skip_atmosphere()?;
        match self.peek() {
            None => Ok(None),
            Some(first) => self.datum_from(first).map(Some),
        }
    }

    /// A datum that must be there; `wanted` says what for.
    pub fn datum(&mut self, wanted: &str) -> Outcome<Value> {
        let start = self.at;
        match self.datum_or_end()? {
            Some(value) => Ok(value),
            None => fail(start, format!("expected {wanted}, found the end")),
        }
    }

    fn datum_from(&mut self, first: u8) -> Outcome<Value> {
        match first {
            b'(' | b'[' | b'{' => self.nested(Reader::list),
            b')' | b']' | b'}' => fail(self.at, format!("unexpected `{}`", char::from(first))),
            b'"' => self.string().map(Value::String),
            b'\'' => self.abbreviation(1, "quote"),
            b'`' => self.abbreviation(1, "quasiquote"),
            b',' if self.peek_second() == Some(b'@') => self.abbreviation(2, "unquote-splicing"),
            b',' => self.abbreviation(1, "unquote"),
            b'#' => self.hash_syntax(),
            _ => self.symbol_or_number(),
        }
    }

    pub fn abbreviation(&mut self, length: usize, name: &str) -> Outcome<Value> {
        let start = self.at;
        self.at += length;
        let value = self.nested(Reader::datum_or_end)?;
        match value {
            Some(value) => Ok(Value::List(vec![Value::symbol(name), value])),
            None => {
                let sign = String::from_utf8_lossy(&self.text[start..start + length]).into_owned();
                fail(start, format!("expected a datum after `{sign}`"))
            }
        }
    }

    /// A list or pair, at its opening parenthesis.
    fn list(&mut self) -> Outcome<Value> {
        let start = self.at;
        let close = self.open();
        let mut items = Vec::new();
        loop {
            if self.at_close(close, start)? {
                return Ok(Value::List(items));
            }
            if !self.at_dot() {
                items.push(self.datum("an item")?);
                continue;
            }
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

    /// Steps over an opening parenthesis; gives the one that closes it.
    pub fn open(&mut self) -> u8 {
        let close = match self.text[self.at] {
            b'(' => b')',
            b'[' => b']',
            _ => b'}',
        };
        self.at += 1;
        close
    }

    /// Skips to the next item; true (and past it) if that is the closing parenthesis.
    pub fn at_close(&mut self, close: u8, start: usize) -> Outcome<bool> {
        self.skip_atmosphere()?;
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            Some(byte @ (b')' | b']' | b'}')) => {
                let (expected, found) = (char::from(close), char::from(byte));
                fail(self.at, format!("expected `{expected}`, found `{found}`"))
            }
            Some(_) => Ok(false),
            None => fail(start, format!("expected `{}` to close this", char::from(close))),
        }
    }

    /// True at a dot that stands alone.
    pub fn at_dot(&mut self) -> bool {
        if self.peek() != Some(b'.') {
            return false;
        }
        let here = self.at;
        self.at += 1;
        let alone = self.at_delimiter();
        self.at = here;
        alone
    }

    /// True at the end of a token.
    pub fn at_delimiter(&mut self) -> bool {
        match self.peek() {
            None => true,
            Some(byte @ 0..0x80) => is_delimiter(byte),
            Some(_) => self.peek_char().is_some_and(|(c, _)| is_whitespace(c)),
        }
    }

    /// The bytes up to the next delimiter.
    pub fn token(&mut self) -> &'t [u8] {
        let start = self.at;
        while !self.at_delimiter() {
            self.at += self.peek_char().map_or(1, |(_, length)| length);
        }
        &self.text[start..self.at]
    }

    fn symbol_or_number(&mut self) -> Outcome<Value> {
        let start = self.at;
        let (text, quoted) = self.symbol_text()?;
        if quoted {
            return Ok(Value::Symbol(text));
        }
        if text == "." {
            return fail(start, "unexpected `.`");
        }
        match number::parse(&text) {
            None => Ok(Value::Symbol(text)),
            Some(Ok(number)) => Ok(number),
            Some(Err(message)) => fail(start, message),
        }
    }

    /// The text of a symbol or keyword without its quoting, and whether there was any.
    pub fn symbol_text(&mut self) -> Outcome<(String, bool)> {
        let start = self.at;
        // nearly all: ASCII without quoting
        while let Some(byte) = self.peek() {
            if is_plain(byte) {
                self.at += 1;
            } else {
                break;
            }
        }
        let mut text = String::new();
        crate::text::push_decoded(&mut text, &self.text[start..self.at]);
        let (mut quoted, fold) = (false, self.fold_case);
        let push = |text: &mut String, c: char, literal: bool| {
            if fold && !literal {
                text.extend(c.to_lowercase());
            } else {
                text.push(c);
            }
        };
        if fold {
            text = text.to_lowercase();
        }
        while !self.at_delimiter() {
            self.check_atom(start)?;
            let Some((c, length)) = self.peek_char() else { break };
            self.at += length;
            match c {
                '\\' => {
                    quoted = true;
                    let Some((c, length)) = self.peek_char() else {
                        return fail(start, "expected a character after `\\`");
                    };
                    self.at += length;
                    push(&mut text, c, true);
                }
                '|' => {
                    quoted = true;
                    loop {
                        self.check_atom(start)?;
                        let Some((c, length)) = self.peek_char() else {
                            return fail(start, "expected `|` to close this symbol");
                        };
                        self.at += length;
                        if c == '|' {
                            break;
                        }
                        push(&mut text, c, true);
                    }
                }
                c => push(&mut text, c, false),
            }
        }
        self.check_atom(start)?;
        Ok((text, quoted))
    }

    pub fn check_atom(&self, start: usize) -> Outcome<()> {
        if self.at - start > self.limits.max_atom_bytes {
            return fail(start, format!("text of one atom is over {} bytes", self.limits.max_atom_bytes));
        }
        Ok(())
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

    /// Reads one datum with or without regard to case: `#ci`, `#cs`.
    pub fn with_fold_case(&mut self, fold_case: bool) -> Outcome<Value> {
        let before = std::mem::replace(&mut self.fold_case, fold_case);
        let value = self.nested(|reader| reader.datum("a datum after `#ci` or `#cs`"));
        self.fold_case = before;
        value
    }
}

pub(crate) fn fail<T>(offset: usize, message: impl Into<String>) -> Outcome<T> {
    Err(Trouble { offset, message: message.into() })
}

fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | 0xB
            | 0xC
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'"'
            | b','
            | b'\''
            | b'`'
            | b';'
    )
}

/// Part of a symbol or number, for sure.
fn is_plain(byte: u8) -> bool {
    byte < 0x80 && !is_delimiter(byte) && byte != b'\\' && byte != b'|'
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
