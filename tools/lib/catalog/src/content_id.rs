use crate::{Catalog, Dependency, Entry, Name};
use racket_data::{Hash, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// SHA-256 over the content of one entry; see [`ContentId`].
pub type EntryDigest = [u8; 32];

/// Makes a `catalog_id`: a hash of a catalog's content that is the same whatever form it has on disk.
///
/// It is the first 32 hex digits (128 bits) of a SHA-256 over, for each package in name order, its name and the
/// digest of its entry. The digest of an entry covers every key and value of it, except that these do not count:
///
/// - order of keys, and the kind of a hash (`#hash`, `#hasheq`), at any depth;
/// - the key `name`, which repeats the name of the package;
/// - the difference between absent and empty: `author`, `checksum` and `description` of `""`, `tags`, `modules`,
///   `dependencies` and `versions` with nothing in them, `ring` of `#f`;
/// - order and repetition in `tags`, `modules` and `dependencies`, and which of the equivalent shapes a dependency is
///   written in.
///
/// So a directory, a SQLite file that could hold all its keys, and package lines with the same packages have the same
/// id. Sources count as written: make them absolute (or relative) before comparing catalogs at different places.
#[derive(Clone, Debug, Default)]
pub struct ContentId(BTreeMap<String, EntryDigest>);

impl ContentId {
    pub fn new() -> ContentId {
        ContentId::default()
    }
    /// Adds a package; one of the same name is replaced.
    pub fn add(&mut self, name: &str, digest: EntryDigest) {
        self.0.insert(name.to_owned(), digest);
    }
    /// Takes a package out.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }
    /// The id: 32 lower-case hex digits.
    pub fn finish(&self) -> String {
        ContentId::of_sorted(self.0.iter().map(|(name, digest)| (name.as_str(), digest)))
    }
    /// The id of packages that come sorted by name, each once: nothing need be kept of them.
    pub fn of_sorted<'p>(packages: impl IntoIterator<Item = (&'p str, &'p EntryDigest)>) -> String {
        let mut hash = Sha256::new();
        for (name, digest) in packages {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(digest);
        }
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The id of a whole catalog; see [`ContentId`].
pub fn catalog_id(catalog: &Catalog) -> String {
    let mut id = ContentId::new();
    for (name, entry) in catalog {
        id.add(name.as_str(), entry_digest(entry));
    }
    id.finish()
}

/// Digest of an entry's content; see [`ContentId`] for what counts.
pub fn entry_digest(entry: &Entry) -> EntryDigest {
    let mut text = Vec::with_capacity(4096);
    let mut items: Vec<(&Value, &Value)> = entry.hash().items.iter().map(|(k, v)| (k, v)).collect();
    items.retain(|(key, value)| counts(key, value));
    items.sort_by(|(a, _), (b, _)| key_order(a).cmp(&key_order(b)));
    for (key, value) in items {
        encode(key, &mut text);
        match (key.as_symbol(), value) {
            (Some("tags" | "modules"), Value::List(items)) => encode_set(items, encode, &mut text),
            (Some("dependencies"), Value::List(items)) => encode_set(items, encode_dependency, &mut text),
            _ => encode(value, &mut text),
        }
    }
    Sha256::digest(&text).into()
}

fn counts(key: &Value, value: &Value) -> bool {
    let Some(key) = key.as_symbol() else { return true };
    match (key, value) {
        ("name", _) | ("ring", Value::Bool(false)) => false,
        ("author" | "checksum" | "description", Value::String(text)) => !text.is_empty(),
        ("tags" | "modules" | "dependencies", Value::List(items)) => !items.is_empty(),
        ("versions", Value::Hash(versions)) => !versions.items.is_empty(),
        _ => true,
    }
}

/// Symbols first and by name, which is nearly all there is; everything else by its encoding.
fn key_order(key: &Value) -> (&str, Vec<u8>) {
    match key {
        Value::Symbol(name) => (name, Vec::new()),
        other => ("", one(other)),
    }
}

fn one(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    encode(value, &mut text);
    text
}

fn encode_dependency(value: &Value, out: &mut Vec<u8>) {
    match value {
        // the shape that nearly all have, and that the others are turned into
        Value::String(name) if Name::is_valid(name) => encode(value, out),
        _ => match Dependency::parse(value) {
            Ok(dependency) => encode(&dependency.to_value(), out),
            Err(_) => encode(value, out),
        },
    }
}

fn encode_set(items: &[Value], encode: impl Fn(&Value, &mut Vec<u8>), out: &mut Vec<u8>) {
    let mut text = Vec::with_capacity(items.len() * 64);
    let mut ranges = Vec::with_capacity(items.len());
    for item in items {
        let start = text.len();
        encode(item, &mut text);
        ranges.push(start..text.len());
    }
    ranges.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
    ranges.dedup_by(|a, b| text[a.clone()] == text[b.clone()]);
    tagged(b'L', ranges.len(), out);
    for range in ranges {
        out.extend(&text[range]);
    }
}

fn tagged(tag: u8, length: usize, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((length as u64).to_le_bytes());
}

fn bytes(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    tagged(tag, content.len(), out);
    out.extend(content);
}

/// One letter for the type, a length, the content: no two values have the same encoding, kinds of hashes apart.
fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
        Value::Int(number) => bytes(b'N', number.to_string().as_bytes(), out),
        Value::Number(written) => bytes(b'N', written.as_bytes(), out),
        Value::Char(letter) => bytes(b'C', letter.to_string().as_bytes(), out),
        Value::String(text) => bytes(b'S', text.as_bytes(), out),
        Value::Bytes(content) => bytes(b'B', content, out),
        Value::Symbol(name) => bytes(b'Y', name.as_bytes(), out),
        Value::Keyword(name) => bytes(b'K', name.as_bytes(), out),
        Value::List(items) => sequence(b'L', items, out),
        Value::Dotted(items, tail) => {
            sequence(b'D', items, out);
            encode(tail, out);
        }
        Value::Vector(items) => sequence(b'V', items, out),
        Value::Boxed(content) => {
            out.push(b'&');
            encode(content, out);
        }
        Value::Hash(hash) => encode_hash(hash, out),
        Value::Prefab(key, fields) => {
            out.push(b'P');
            encode(key, out);
            sequence(b'L', fields, out);
        }
        Value::Regexp { px, bytes: is_bytes, pattern } => {
            let tag = match (px, is_bytes) {
                (false, false) => b'r',
                (true, false) => b'p',
                (false, true) => b's',
                (true, true) => b'q',
            };
            bytes(tag, pattern, out);
        }
    }
}

fn sequence(tag: u8, items: &[Value], out: &mut Vec<u8>) {
    tagged(tag, items.len(), out);
    for item in items {
        encode(item, out);
    }
}

fn encode_hash(hash: &Hash, out: &mut Vec<u8>) {
    let mut items: Vec<(&Value, &Value)> = hash.items.iter().map(|(k, v)| (k, v)).collect();
    items.sort_by(|(a, _), (b, _)| key_order(a).cmp(&key_order(b)));
    tagged(b'H', items.len(), out);
    for (key, value) in items {
        encode(key, out);
        encode(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> EntryDigest {
        entry_digest(&crate::read_entry(text.as_bytes()).unwrap())
    }

    #[test]
    fn form_and_order_do_not_count() {
        let one = digest(
            r#"#hash((name . "a") (source . "s") (checksum . "") (tags . ("x" "y")) (ring . #f) (description . "")
               (dependencies . ("b" ("c" "1.0") ("d" #:platform unix #:version "2.0"))) (modules . ())
               (versions . #hash((default . #hash((source . "t") (checksum . "u"))) ("6.0" . #hasheq())))
               (search-terms . #hasheq((p . #t) (q . #t))))"#,
        );
        let other = digest(
            r#"#hasheq((search-terms . #hash((q . #t) (p . #t)))
               (versions . #hash(("6.0" . #hash()) (default . #hasheq((checksum . "u") (source . "t")))))
               (dependencies . (("d" #:version "2.0" #:platform unix) ("c" #:version "1.0") ("b") "b"))
               (tags . ("y" "x" "x")) (author . "") (source . "s"))"#,
        );
        assert_eq!(one, other);
    }

    #[test]
    fn content_counts() {
        let base = digest(r#"#hash((source . "s") (tags . ("x")) (u . ("p" "q")))"#);
        for other in [
            r#"#hash((source . "t") (tags . ("x")) (u . ("p" "q")))"#,
            r#"#hash((source . "s") (tags . ("y")) (u . ("p" "q")))"#,
            r#"#hash((source . "s") (tags . ("x")) (u . ("q" "p")))"#,
            r#"#hash((source . "s") (tags . ("x")) (u . ("p" q)))"#,
            r#"#hash((source . "s") (tags . ("x")) (u . ("pq")))"#,
            r#"#hash((source . "s") (tags . ("x")) (u . ("p" "q")) (checksum . "c"))"#,
            r#"#hash((source . "s") (tags . ("x")) (v . ("p" "q")))"#,
        ] {
            assert_ne!(digest(other), base, "{other}");
        }
    }

    #[test]
    fn id_of_a_catalog() {
        let mut id = ContentId::new();
        assert_eq!(id.finish(), "e3b0c44298fc1c149afbf4c8996fb924", "the empty catalog");
        let entry = digest(r#"#hash((source . "s"))"#);
        id.add("b", entry);
        id.add("a", entry);
        let both = id.finish();
        assert_eq!(both.len(), 32);
        let mut other = ContentId::new();
        other.add("a", entry);
        other.add("b", entry);
        assert_eq!(other.finish(), both);
        assert_eq!(ContentId::of_sorted([("a", &entry), ("b", &entry)]), both);
        other.remove("b");
        assert_ne!(other.finish(), both);
    }
}
