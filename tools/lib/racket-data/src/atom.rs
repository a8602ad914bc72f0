//! Everything that starts with `#`, and strings, byte strings and characters.

use crate::read::{Outcome, Reader, fail};
use crate::text::named_char;
use crate::{HashKind, Value, number};

impl Reader<'_> {
    pub(crate) fn hash_syntax(&mut self) -> Outcome<Value> {
        let start = self.at;
        let Some(second) = self.peek_second() else { return fail(start, "expected more after `#`") };
        match second {
            b'(' | b'[' | b'{' => {
                self.at += 1;
                self.nested(Reader::vector_items).map(Value::Vector)
            }
            b'\'' => self.abbreviation(2, "syntax"),
            b'`' => self.abbreviation(2, "quasisyntax"),
            b',' if self.text.get(start + 2) == Some(&b'@') => self.abbreviation(3, "unsyntax-splicing"),
            b',' => {
                self.touched_end |= self.text.len() == start + 2;
                self.abbreviation(2, "unsyntax")
            }
            b'&' => {
                self.at += 2;
                let value = self.nested(|reader| reader.datum("a datum after `#&`"))?;
                Ok(Value::Boxed(Box::new(value)))
            }
            b'"' => {
                self.at += 1;
                self.bytes().map(Value::Bytes)
            }
            b'\\' => self.character(),
            b':' => {
                self.at += 2;
                match self.symbol_text()? {
                    (text, false) if text == "." => fail(start, "unexpected `.`"),
                    (text, _) => Ok(Value::Keyword(text)),
                }
            }
            b'%' => self.symbol_text().map(|(text, _)| Value::Symbol(text)),
            b'<' => self.here_string(),
            b'0'..=b'9' => self.numbered(),
            b't' | b'T' | b'f' | b'F' => self.boolean(),
            b'h' | b'H' => self.hash_table(),
            b's' => self.prefab(),
            b'r' | b'R' | b'p' | b'P' => self.regexp(),
            b'c' | b'C' => self.case_sensitivity(),
            b'e' | b'E' | b'i' | b'I' | b'd' | b'D' | b'b' | b'B' | b'o' | b'O' | b'x' | b'X' => {
                let token = String::from_utf8_lossy(self.token()).into_owned();
                self.check_atom(start)?;
                match number::parse(&token) {
                    Some(Ok(number)) => Ok(number),
                    Some(Err(message)) => fail(start, message),
                    None => fail(start, format!("bad syntax `{}`", shortened(&token))),
                }
            }
            _ => self.bad_syntax(start),
        }
    }

    pub(crate) fn bad_syntax<T>(&mut self, start: usize) -> Outcome<T> {
        self.at = start;
        let token = String::from_utf8_lossy(self.token()).into_owned();
        fail(start, format!("bad syntax `{}`", shortened(&token)))
    }

    fn boolean(&mut self) -> Outcome<Value> {
        let start = self.at;
        let value = match self.token() {
            b"#t" | b"#T" | b"#true" => true,
            b"#f" | b"#F" | b"#false" => false,
            b"#fl" | b"#Fl" | b"#fx" | b"#Fx" => {
                return fail(start, "vectors of flonums or fixnums are not supported");
            }
            _ => return self.bad_syntax(start),
        };
        Ok(Value::Bool(value))
    }

    /// The letters and digits after `#`, in lower case, without moving.
    fn word(&mut self) -> String {
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().take(16).take_while(|b| b.is_ascii_alphanumeric()).count();
        self.touched_end |= length == rest.len();
        String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase()
    }

    fn hash_table(&mut self) -> Outcome<Value> {
        let start = self.at;
        let word = self.word();
        let kind = match word.as_str() {
            "hash" => HashKind::Equal,
            "hasheq" => HashKind::Eq,
            "hasheqv" => HashKind::Eqv,
            "hashalw" => HashKind::EqualAlways,
            _ => return self.bad_syntax(start),
        };
        self.at += 1 + word.len();
        if !matches!(self.peek(), Some(b'(' | b'[' | b'{')) {
            return fail(start, format!("expected `(` after `#{word}`"));
        }
        self.nested(|reader| reader.hash(kind))
    }

    fn prefab(&mut self) -> Outcome<Value> {
        let start = self.at;
        self.at += 2;
        if !matches!(self.peek(), Some(b'(' | b'[' | b'{')) {
            return self.bad_syntax(start);
        }
        let mut items = self.nested(Reader::vector_items)?.into_iter();
        let key = items.next();
        let fields: Vec<Value> = items.collect();
        match key.and_then(|key| crate::prefab::normal_key(key, fields.len())) {
            Some(key) => Ok(Value::Prefab(Box::new(key), fields)),
            None => fail(start, "bad key of a prefab structure"),
        }
    }

    fn regexp(&mut self) -> Outcome<Value> {
        let start = self.at;
        let px = match self.text.get(start + 1..start + 3) {
            Some(b"rx") => false,
            Some(b"px") => true,
            _ => return self.bad_syntax(start),
        };
        self.at += 3;
        let bytes = self.peek() == Some(b'#');
        if bytes {
            self.at += 1;
        }
        if self.peek() != Some(b'"') {
            return fail(start, "expected a string after `#rx` or `#px`");
        }
        let pattern = if bytes { self.bytes()? } else { self.string()?.into_bytes() };
        Ok(Value::Regexp { px, bytes, pattern })
    }

    fn case_sensitivity(&mut self) -> Outcome<Value> {
        let start = self.at;
        let fold_case = match self.text.get(start + 2) {
            Some(b'i' | b'I') => true,
            Some(b's' | b'S') => false,
            _ => return self.bad_syntax(start),
        };
        self.at += 3;
        self.with_fold_case(fold_case)
    }

    /// `#3(…)`, `#0=…`, `#0#`
    fn numbered(&mut self) -> Outcome<Value> {
        let start = self.at;
        let digits = self.text[start + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = std::str::from_utf8(&self.text[start + 1..start + 1 + digits])
            .ok()
            .filter(|text| text.len() <= 9)
            .and_then(|text| text.parse().ok());
        let Some(number) = number else { return fail(start, "number after `#` is too large") };
        self.at += 1 + digits;
        match self.peek() {
            Some(b'(' | b'[' | b'{') => self.vector_of_length(number, start),
            Some(b'=') => {
                self.at += 1;
                self.graph_definition(number, start)
            }
            Some(b'#') => {
                self.at += 1;
                self.graph_reference(number, start)
            }
            _ => self.bad_syntax(start),
        }
    }

    fn character(&mut self) -> Outcome<Value> {
        let start = self.at;
        self.at += 2;
        let Some((first, length)) = self.peek_char() else {
            return fail(start, "expected a character after `#\\`");
        };
        let rest = &self.text[self.at..];
        let count =
            |most: usize, is: fn(&u8) -> bool| rest[1..].iter().take(most).take_while(|b| is(b)).count();
        let digits = match first {
            '0'..='7' => {
                Some((0, 1 + count(2, |b| (b'0'..=b'7').contains(b)), 8)).filter(|octal| octal.1 > 1)
            }
            'u' => Some((1, count(4, u8::is_ascii_hexdigit), 16)),
            'U' => Some((1, count(8, u8::is_ascii_hexdigit), 16)),
            _ => None,
        };
        self.touched_end |= rest.len() < 12;
        if let Some((from, length, radix)) = digits {
            if length == 0 {
                self.at += 1;
                return Ok(Value::Char(first));
            }
            let text = std::str::from_utf8(&rest[from..from + length]).unwrap_or_default();
            self.at += from + length;
            let code = u32::from_str_radix(text, radix).unwrap_or(u32::MAX);
            return match char::from_u32(code) {
                Some(c) if radix == 16 || (length == 3 && code <= 0o377) => Ok(Value::Char(c)),
                _ => fail(start, format!("bad character constant `#\\{}{text}`", &"u"[..from])),
            };
        }
        self.at += length;
        if !first.is_alphabetic() {
            return Ok(Value::Char(first));
        }
        while let Some((c, length)) = self.peek_char()
            && c.is_alphabetic()
        {
            self.at += length;
            self.check_atom(start)?;
        }
        let name = String::from_utf8_lossy(&self.text[start + 2..self.at]).into_owned();
        let single = name.chars().count() == 1;
        match named_char(&name).or(single.then_some(first)) {
            Some(c) => Ok(Value::Char(c)),
            None => fail(start, format!("bad character constant `#\\{}`", shortened(&name))),
        }
    }
}

/// For messages: no more than a line of it.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
