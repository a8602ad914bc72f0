//! The reader: one datum of a text, as Racket's `read` takes it.

use crate::error::{Limits, Place};
use crate::text::decode;
use crate::{ReadError, Value};
use std::collections::BTreeMap;

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
    pub(crate) fold_case: bool,
    /// Items of the lists being read, innermost last.
    pub(crate) items: Vec<Value>,
    pub(crate) graph: BTreeMap<u64, Option<Value>>,
    pub(crate) copied: usize,
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t [u8], limits: Limits) -> Reader<'t> {
        Reader {
            text,
            at: 0,
            touched_end: false,
            limits,
            depth: 0,
            fold_case: false,
            items: Vec::new(),
            graph: BTreeMap::new(),
            copied: 0,
        }
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

    pub fn check_atom(&self, start: usize) -> Outcome<()> {
        if self.at - start > self.limits.max_atom_bytes {
            return fail(start, format!("text of one atom is over {} bytes", self.limits.max_atom_bytes));
        }
        Ok(())
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
