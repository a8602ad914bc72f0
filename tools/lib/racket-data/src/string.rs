//! Strings, byte strings and here strings.

use crate::Value;
use crate::atom::shortened;
use crate::read::{Outcome, Reader, fail};
use crate::text::{letter_escape, push_decoded};

impl Reader<'_> {
    /// A string, at its opening quote.
    pub(crate) fn string(&mut self) -> Outcome<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            self.plain_part(start, "string", |part| push_decoded(&mut text, part))?;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Ok(text);
            }
            let escape = self.at;
            self.at += 1;
            let Some(letter) = self.peek() else { return fail(start, "expected `\"` to close this string") };
            self.at += 1;
            match letter {
                b'u' => text.push(self.unicode_escape(escape)?),
                b'U' => {
                    let code = self.hex_digits(8);
                    let c = code.and_then(char::from_u32);
                    let Some(c) = c else { return fail(escape, "bad `\\U` escape in a string") };
                    text.push(c);
                }
                _ => {
                    if let Some(code) = self.simple_escape(letter, escape)? {
                        text.push(char::from(code));
                    }
                }
            }
        }
    }

    /// The inside of `#"…"`, at the quote.
    pub(crate) fn bytes(&mut self) -> Outcome<Vec<u8>> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let part_start = self.at;
            let mut beyond = false;
            self.plain_part(start, "byte string", |part| {
                if part.is_ascii() {
                    return bytes.extend_from_slice(part);
                }
                let mut text = String::new();
                push_decoded(&mut text, part);
                for c in text.chars() {
                    match u8::try_from(c) {
                        Ok(byte) => bytes.push(byte),
                        Err(_) => beyond = true,
                    }
                }
            })?;
            if beyond {
                return fail(part_start, "character above 255 in a byte string");
            }
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Ok(bytes);
            }
            let escape = self.at;
            self.at += 1;
            let Some(letter) = self.peek() else {
                return fail(start, "expected `\"` to close this byte string");
            };
            self.at += 1;
            if let Some(code) = self.simple_escape(letter, escape)? {
                bytes.push(code);
            }
        }
    }

    /// Hands over everything up to the next quote or backslash.
    fn plain_part(&mut self, start: usize, what: &str, mut take: impl FnMut(&[u8])) -> Outcome<()> {
        let rest = &self.text[self.at..];
        let Some(length) = memchr::memchr2(b'"', b'\\', rest) else {
            self.touched_end = true;
            if rest.len() > self.limits.max_atom_bytes {
                self.at = self.text.len();
                self.check_atom(start)?;
            }
            return fail(start, format!("expected `\"` to close this {what}"));
        };
        take(&rest[..length]);
        self.at += length;
        self.check_atom(start)
    }

    /// Escapes that strings and byte strings share; `None` for an escaped line end.
    fn simple_escape(&mut self, letter: u8, escape: usize) -> Outcome<Option<u8>> {
        if let Some(byte) = letter_escape(letter) {
            return Ok(Some(byte));
        }
        match letter {
            b'\n' => Ok(None),
            b'\r' => {
                if self.peek() == Some(b'\n') {
                    self.at += 1;
                }
                Ok(None)
            }
            b'x' => match self.hex_digits(2) {
                Some(code) => Ok(Some(code as u8)),
                None => fail(escape, "expected a hexadecimal digit after `\\x`"),
            },
            b'0'..=b'7' => {
                let mut code = u32::from(letter - b'0');
                for _ in 0..2 {
                    match self.peek() {
                        Some(digit @ b'0'..=b'7') => code = code * 8 + u32::from(digit - b'0'),
                        _ => break,
                    }
                    self.at += 1;
                }
                u8::try_from(code).map(Some).or_else(|_| fail(escape, "octal escape is over 377"))
            }
            _ => {
                self.at = escape + 1;
                let c = self.peek_char().map_or(' ', |(c, _)| c);
                fail(escape, format!("unknown escape `\\{c}` in a string"))
            }
        }
    }

    /// Up to `most` hexadecimal digits; `None` if there is not one.
    fn hex_digits(&mut self, most: usize) -> Option<u32> {
        let mut code = None;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(16)) else { break };
            code = Some(code.unwrap_or(0) * 16 + digit);
            self.at += 1;
        }
        code
    }

    /// After `\u`: one to four digits; two escapes that are a surrogate pair are one character.
    fn unicode_escape(&mut self, escape: usize) -> Outcome<char> {
        let Some(code) = self.hex_digits(4) else {
            return fail(escape, "expected a hexadecimal digit after `\\u`");
        };
        if let Some(c) = char::from_u32(code) {
            return Ok(c);
        }
        if (0xD800..0xDC00).contains(&code) && self.peek() == Some(b'\\') && self.peek_second() == Some(b'u')
        {
            self.at += 2;
            if let Some(low @ 0xDC00..0xE000) = self.hex_digits(4)
                && let Some(c) = char::from_u32(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00))
            {
                return Ok(c);
            }
        }
        fail(escape, "bad `\\u` escape in a string: half of a surrogate pair")
    }

    /// `#<<END`, lines, `END`.
    pub(crate) fn here_string(&mut self) -> Outcome<Value> {
        let start = self.at;
        if self.text.get(start + 2) != Some(&b'<') {
            return self.bad_syntax(start);
        }
        let mut lines = self.text[start + 3..].split(|b| *b == b'\n');
        let mark = lines.next().unwrap_or_default();
        self.at = start + 3 + mark.len() + 1;
        let mut body: Vec<&[u8]> = Vec::new();
        for line in lines {
            if line == mark {
                self.at += line.len();
                self.touched_end |= self.at == self.text.len();
                let mut text = String::new();
                push_decoded(&mut text, &body.join(&b'\n'));
                return Ok(Value::String(text));
            }
            self.at += line.len() + 1;
            self.check_atom(start)?;
            body.push(line);
        }
        self.touched_end = true;
        fail(
            start,
            format!("expected a line `{}` to end this string", shortened(&String::from_utf8_lossy(mark))),
        )
    }
}
