use std::fmt;

/// Why a text is not readable data, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Byte offset from the start of the text.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, lower case, no final stop.
    pub message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ReadError {}

/// What the reader refuses to go beyond, so that no text can exhaust the stack or the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of lists, hashes, quotations and comments.
    pub max_depth: usize,
    /// Size of one string, symbol or number in the text.
    pub max_atom_bytes: usize,
    /// Size of the text; for a stream, of one item of its hash.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 200 levels, atoms of 16 MiB, texts of 512 MiB. The deepest of 1,378 real catalog entries has 6 levels.
    fn default() -> Limits {
        Limits { max_depth: 200, max_atom_bytes: 16 << 20, max_bytes: 512 << 20 }
    }
}

/// A place in a text that goes on: what came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub offset: usize,
    /// Line feeds so far.
    pub lines: usize,
    /// Characters since the last of them.
    pub columns: usize,
}

impl Place {
    /// The place after `text`.
    pub fn after(self, text: &[u8]) -> Place {
        let last = memchr::memrchr(b'\n', text);
        let newlines = last.map_or(0, |last| count(&text[..=last], |byte| byte == b'\n'));
        let tail = &text[last.map_or(0, |at| at + 1)..];
        let characters = count(tail, |byte| byte & 0xC0 != 0x80);
        Place {
            offset: self.offset + text.len(),
            lines: self.lines + newlines,
            columns: if last.is_some() { characters } else { self.columns + characters },
        }
    }
    pub fn error(self, message: String) -> ReadError {
        ReadError { offset: self.offset, line: self.lines + 1, column: self.columns + 1, message }
    }
}

/// Number of such bytes; so written that the compiler compares many at once.
fn count(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let few = |bytes: &[u8]| usize::from(bytes.iter().map(|byte| u8::from(is(*byte))).sum::<u8>());
    text.chunks(255).map(few).sum()
}
