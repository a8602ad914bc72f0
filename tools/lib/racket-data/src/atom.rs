//! Everything that starts with `#`, and strings, byte strings and characters.

use crate::read::{Outcome, Reader, fail};
use crate::text::{letter_escape, named_char, push_decoded};
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

    fn bad_syntax<T>(&mut self, start: usize) -> Outcome<T> {
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
    fn bytes(&mut self) -> Outcome<Vec<u8>> {
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
        let Some(length) = rest.iter().position(|b| matches!(b, b'"' | b'\\')) else {
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
    fn here_string(&mut self) -> Outcome<Value> {
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

/// For messages: no more than a line of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
