//! The printer: what Racket's `write` prints, byte for byte.

use crate::text::{char_name, escape_letter, is_whitespace};
use crate::{Hash, HashKind, Value, number, order, unicode};
use std::cmp::Ordering;
use std::fmt::Write as _;

/// The written form of a value: `read` gives back an equal one. Byte for byte what Racket 8.7's `write` prints,
/// but for hashes with keys of mixed types, which keep their order here.
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    write_into(&mut out, value);
    out
}

/// [`write`] at the end of a string.
pub fn write_into(out: &mut String, value: &Value) {
    match value {
        Value::Bool(true) => out.push_str("#t"),
        Value::Bool(false) => out.push_str("#f"),
        Value::Int(int) => {
            let _ = write!(out, "{int}");
        }
        Value::Number(text) => out.push_str(text),
        Value::Char(c) => write_char(out, *c),
        Value::String(text) => write_str(out, text),
        Value::Bytes(bytes) => write_bytes(out, bytes),
        Value::Symbol(text) => write_symbol(out, text),
        Value::Keyword(text) => {
            out.push_str("#:");
            write_symbol_text(out, text, true);
        }
        Value::List(items) => write_items(out, "(", items, ")"),
        Value::Dotted(items, tail) => {
            write_items(out, "(", items, " . ");
            write_into(out, tail);
            out.push(')');
        }
        Value::Vector(items) => write_items(out, "#(", items, ")"),
        Value::Boxed(value) => {
            out.push_str("#&");
            write_into(out, value);
        }
        Value::Hash(hash) => write_hash(out, hash),
        Value::Prefab(key, fields) => {
            out.push_str("#s(");
            write_into(out, key);
            for field in fields {
                out.push(' ');
                write_into(out, field);
            }
            out.push(')');
        }
        Value::Regexp { px, bytes, pattern } => {
            out.push_str(if *px { "#px" } else { "#rx" });
            match std::str::from_utf8(pattern) {
                Ok(text) if !bytes => write_str(out, text),
                _ => write_bytes(out, pattern),
            }
        }
    }
}

fn write_items(out: &mut String, open: &str, items: &[Value], close: &str) {
    out.push_str(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write_into(out, item);
    }
    out.push_str(close);
}

/// The prefix of a hash of this kind, parenthesis included.
pub fn hash_open(kind: HashKind) -> &'static str {
    match kind {
        HashKind::Equal => "#hash(",
        HashKind::Eqv => "#hasheqv(",
        HashKind::Eq => "#hasheq(",
        HashKind::EqualAlways => "#hashalw(",
    }
}

/// [`write_into`] for a hash that is not wrapped in a value.
pub fn write_hash(out: &mut String, hash: &Hash) {
    out.push_str(hash_open(hash.kind));
    let mut item = |at: usize, (key, value): &(Value, Value)| {
        out.push_str(if at > 0 { " (" } else { "(" });
        write_into(out, key);
        out.push_str(" . ");
        write_into(out, value);
        out.push(')');
    };
    let in_order =
        |pair: &[(Value, Value)]| compare_keys(&pair[0].0, &pair[1].0).is_some_and(Ordering::is_le);
    if hash.items.windows(2).all(in_order) || !sortable(hash) {
        hash.items.iter().enumerate().for_each(|(at, pair)| item(at, pair));
    } else {
        let mut sorted: Vec<&(Value, Value)> = hash.items.iter().collect();
        sorted.sort_by(|one, other| compare_keys(&one.0, &other.0).unwrap_or(Ordering::Equal));
        sorted.into_iter().enumerate().for_each(|(at, pair)| item(at, pair));
    }
    out.push(')');
}

fn sortable(hash: &Hash) -> bool {
    hash.items
        .first()
        .is_none_or(|(first, _)| hash.items.iter().all(|(key, _)| compare_keys(first, key).is_some()))
}

/// Order of keys of one type; `None` where Racket does not sort.
fn compare_keys(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other))
        | (Value::Symbol(one), Value::Symbol(other))
        | (Value::Keyword(one), Value::Keyword(other)) => Some(one.cmp(other)),
        (Value::Bytes(one), Value::Bytes(other)) => Some(one.cmp(other)),
        (Value::Int(_) | Value::Number(_), Value::Int(_) | Value::Number(_)) => order::compare(one, other),
        _ => None,
    }
}

/// A string in quotes, as `write` prints it.
pub fn write_str(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push('"');
    if bytes.chunks(32).all(is_plain) {
        out.push_str(text);
        out.push('"');
        return;
    }
    // `done` is written, `at` is looked at: long runs go out in one piece
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if (0x20..0x7F).contains(&byte) && byte != b'"' && byte != b'\\' {
            at += 1;
            // an ASCII character takes along only what is not ASCII
            if byte != b' ' && bytes.get(at).is_some_and(|next| *next >= 0x80) {
                at += unicode::cluster_tail(char::from(byte), &text[at..]);
            }
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        if byte >= 0x80 && unicode::is_graphic(c) {
            at += c.len_utf8();
            at += unicode::cluster_tail(c, &text[at..]);
            continue;
        }
        if unicode::is_space_separator(c) {
            at += c.len_utf8();
            continue;
        }
        out.push_str(&text[done..at]);
        at += c.len_utf8();
        done = at;
        match u8::try_from(c).ok().and_then(escape_letter) {
            Some(letter) => {
                out.push('\\');
                out.push(char::from(letter));
            }
            None if u32::from(c) > 0xFFFF => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            None => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}

/// Nothing to escape; so written that the compiler looks at many bytes at once.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: u8| (0x20..0x7F).contains(&byte) & (byte != b'"') & (byte != b'\\');
    bytes.iter().fold(true, |all, byte| all & plain(*byte))
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push_str("#\"");
    for (at, byte) in bytes.iter().copied().enumerate() {
        match escape_letter(byte) {
            Some(letter) => {
                out.push('\\');
                out.push(char::from(letter));
            }
            None if (0x20..0x7F).contains(&byte) => out.push(char::from(byte)),
            None => {
                let padded = bytes.get(at + 1).is_some_and(|next| (b'0'..=b'7').contains(next));
                let _ = if padded { write!(out, "\\{byte:03o}") } else { write!(out, "\\{byte:o}") };
            }
        }
    }
    out.push('"');
}

fn write_char(out: &mut String, c: char) {
    out.push_str("#\\");
    match char_name(c) {
        Some(name) => out.push_str(name),
        None if unicode::is_graphic(c) => out.push(c),
        None if u32::from(c) > 0xFFFF => {
            let _ = write!(out, "U{:08X}", u32::from(c));
        }
        None => {
            let _ = write!(out, "u{:04X}", u32::from(c));
        }
    }
}

/// A symbol as `write` prints it: with bars or backslashes where `read` would take it for something else.
pub fn write_symbol(out: &mut String, text: &str) {
    write_symbol_text(out, text, false);
}

fn write_symbol_text(out: &mut String, text: &str, is_keyword: bool) {
    let mut bytes = text.bytes();
    if bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':'))
    {
        return out.push_str(text);
    }
    let special_start = text.starts_with('#') && !text.starts_with("#%");
    let is_special = |at: usize, c: char| {
        matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '"' | '\\' | '\'' | ',' | ';' | '`' | '|')
            || is_whitespace(c)
            || (at == 0 && special_start)
    };
    let has_special = text.char_indices().any(|(at, c)| is_special(at, c));
    let other_meaning = || text == "." || (!is_keyword && (text.is_empty() || number::parse(text).is_some()));
    if !has_special && !other_meaning() {
        return out.push_str(text);
    }
    if !text.contains('|') {
        let _ = write!(out, "|{text}|");
        return;
    }
    for (at, c) in text.char_indices() {
        if is_special(at, c) {
            out.push('\\');
        }
        out.push(c);
    }
}
