//! What the six tables of a SQLite catalog hold of an entry.

use crate::version::WantedVersion;
use catalog::{Entry, Name};
use edge::{Failure, Result, say};
use racket_data::{Hash, HashKind, Value};

/// Cuts entries down to the columns.
#[derive(Debug)]
pub struct Columns {
    pub version: WantedVersion,
}

impl Columns {
    /// The entry as reading the database will give it: for one version, its nine keys, dependencies in full form.
    /// A dependency that no Racket could read is left out and told; with raco it would abort the whole copy.
    pub fn keep(&self, name: &Name, entry: &Entry) -> Result<Entry> {
        let selected = match entry.versions() {
            Some(versions) => {
                let other_keys = versions.items.iter().any(|(key, _)| key.as_str().is_some());
                entry.for_version(if other_keys { self.version.get().unwrap_or("") } else { "" })
            }
            None => entry.clone(),
        };
        let text = |key: &str| selected.hash().get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        if selected.source().is_none() {
            return Err(Failure::data(format!("cannot copy package {name}: its entry has no source")));
        }
        let mut dependencies = Vec::new();
        for dependency in selected.dependencies() {
            match dependency {
                Ok(dependency) => dependencies.push(full_form(&dependency.to_value())),
                Err((bad, value)) => say::warning(
                    format!("package {name}: dependency {} left out: {bad}", racket_data::write(value)),
                    None,
                ),
            }
        }
        let list = |key: &str| selected.hash().get(key).and_then(Value::as_list).unwrap_or_default().to_vec();
        let ring = selected.ring().map_or(Value::Bool(false), Value::Int);
        let mut tags: Vec<Value> = list("tags").into_iter().filter(|tag| tag.as_str().is_some()).collect();
        tags.dedup();
        let mut hash = Hash::new(HashKind::Equal);
        for (key, value) in [
            ("author", Value::String(text("author"))),
            ("checksum", Value::String(text("checksum"))),
            ("dependencies", Value::List(dependencies)),
            ("description", Value::String(text("description"))),
            ("modules", Value::List(list("modules"))),
            ("name", Value::string(name.as_str())),
            ("ring", ring),
            ("source", Value::String(text("source"))),
            ("tags", Value::List(tags)),
        ] {
            hash.items.push((Value::symbol(key), value));
        }
        Ok(Entry::from_hash(hash))
    }
}

/// `"b"` as `("b")`: the form that comes out of a database.
fn full_form(value: &Value) -> Value {
    match value {
        Value::String(_) => Value::List(vec![value.clone()]),
        other => other.clone(),
    }
}
