//! What the six tables of a SQLite catalog hold of an entry.

use crate::version::WantedVersion;
use catalog::{Entry, Name};
use edge::{Failure, Result};
use racket_data::{Hash, HashKind, Value};

/// Keys that columns are made of, and the one that selects among them.
const KEYS: [&str; 10] = [
    "author",
    "checksum",
    "dependencies",
    "description",
    "modules",
    "name",
    "ring",
    "source",
    "tags",
    "versions",
];

/// Cuts entries down to the columns.
#[derive(Debug)]
pub struct Columns {
    pub version: WantedVersion,
}

impl Columns {
    /// The entry as reading the database will give it: for one version, its nine keys, dependencies in full form.
    /// A dependency that no Racket could read is left out and told in `warnings`; with raco it would abort the whole copy.
    pub fn keep(&self, name: &Name, mut entry: Entry, warnings: &mut Vec<String>) -> Result<Entry> {
        entry.hash_mut().items.retain(|(key, _)| key.as_symbol().is_some_and(|key| KEYS.contains(&key)));
        if let Some(versions) = entry.versions() {
            let other_keys = versions.items.iter().any(|(key, _)| key.as_str().is_some());
            entry.choose_version(if other_keys { self.version.get().unwrap_or("") } else { "" });
        }
        if entry.source().is_none() {
            return Err(Failure::data(format!("cannot copy package {name}: its entry has no source")));
        }
        let mut dependencies = Vec::new();
        for dependency in entry.dependencies() {
            match dependency {
                Ok(dependency) => dependencies.push(full_form(dependency.to_value())),
                Err((bad, value)) => warnings.push(format!(
                    "package {name}: dependency {} left out: {bad}",
                    racket_data::write(value)
                )),
            }
        }
        let ring = entry.ring().map_or(Value::Bool(false), Value::Int);
        let old = entry.hash_mut();
        let mut text = |key: &str| match old.remove(key) {
            Some(Value::String(text)) => Value::String(text),
            _ => Value::string(""),
        };
        let [author, checksum, description, source] =
            ["author", "checksum", "description", "source"].map(&mut text);
        let mut list = |key: &str| match old.remove(key) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        };
        let (modules, mut tags) = (list("modules"), list("tags"));
        tags.retain(|tag| tag.as_str().is_some());
        tags.dedup();
        let mut hash = Hash::new(HashKind::Equal);
        for (key, value) in [
            ("author", author),
            ("checksum", checksum),
            ("dependencies", Value::List(dependencies)),
            ("description", description),
            ("modules", Value::List(modules)),
            ("name", Value::string(name.as_str())),
            ("ring", ring),
            ("source", source),
            ("tags", Value::List(tags)),
        ] {
            hash.items.push((Value::symbol(key), value));
        }
        Ok(Entry::from_hash(hash))
    }
}

/// `"b"` as `("b")`: the form that comes out of a database.
fn full_form(value: Value) -> Value {
    match value {
        Value::String(_) => Value::List(vec![value]),
        other => other,
    }
}
