//! What separates data: white space, comments, delimiters; and the tokens between, symbols and numbers.

use crate::read::{Outcome, Reader, fail};
use crate::text::is_whitespace;
use crate::{Value, number};

impl<'t> Reader<'t> {
    /// Skips white space and comments, also `#;datum`.
    #[inline]
    pub fn skip_atmosphere(&mut self) -> Outcome<()> {
        // nearly always one space, or nothing
        if self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(byte) if !may_be_atmosphere(*byte) => Ok(()),
            _ => self.skip_all_atmosphere(),
        }
    }

    fn skip_all_atmosphere(&mut self) -> Outcome<()> {
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

    pub(crate) fn symbol_or_number(&mut self) -> Outcome<Value> {
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
}

/// First byte of white space or of a comment, perhaps.
fn may_be_atmosphere(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0xB | 0xC | b';' | b'#' | 0x80..)
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
