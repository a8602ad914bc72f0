//! Characters: decoding as Racket's ports do it, escapes inside strings, names of characters.

/// The character at the start of `bytes` and its length. A byte that starts no UTF-8 sequence is U+FFFD, alone.
pub(crate) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((char::from(first), 1));
    }
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default(),
    };
    Some(valid.chars().next().map_or(('\u{FFFD}', 1), |c| (c, c.len_utf8())))
}

/// Appends bytes as text, replacing what is not UTF-8 the way [`decode`] does.
pub(crate) fn push_decoded(into: &mut String, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match std::str::from_utf8(bytes) {
            Ok(text) => return into.push_str(text),
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                into.push_str(std::str::from_utf8(good).unwrap_or_default());
                into.push('\u{FFFD}');
                bytes = &bad[1..];
            }
        }
    }
}

pub(crate) fn is_whitespace(c: char) -> bool {
    c.is_whitespace() || c == '\u{FEFF}'
}

/// The byte of a one-letter escape, the same in strings and byte strings.
pub(crate) fn letter_escape(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 7,
        b'b' => 8,
        b't' => 9,
        b'n' => 10,
        b'v' => 11,
        b'f' => 12,
        b'r' => 13,
        b'e' => 27,
        b'"' | b'\'' | b'\\' => letter,
        _ => return None,
    })
}

/// The letter that `write` prints after a backslash for this byte.
pub(crate) fn escape_letter(byte: u8) -> Option<u8> {
    Some(match byte {
        7 => b'a',
        8 => b'b',
        9 => b't',
        10 => b'n',
        11 => b'v',
        12 => b'f',
        13 => b'r',
        27 => b'e',
        b'"' | b'\\' => byte,
        _ => return None,
    })
}

/// Names of characters as `write` prints them after `#\`; `read` knows some more ([`named_char`]).
pub(crate) fn char_name(c: char) -> Option<&'static str> {
    Some(match c {
        '\0' => "nul",
        '\u{8}' => "backspace",
        '\t' => "tab",
        '\n' => "newline",
        '\u{B}' => "vtab",
        '\u{C}' => "page",
        '\r' => "return",
        ' ' => "space",
        '\u{7F}' => "rubout",
        _ => return None,
    })
}

/// A character by its name, in any case.
pub(crate) fn named_char(name: &str) -> Option<char> {
    Some(match name.to_ascii_lowercase().as_str() {
        "nul" | "null" => '\0',
        "backspace" => '\u{8}',
        "tab" => '\t',
        "newline" | "linefeed" => '\n',
        "vtab" => '\u{B}',
        "page" => '\u{C}',
        "return" => '\r',
        "space" => ' ',
        "rubout" => '\u{7F}',
        _ => return None,
    })
}
