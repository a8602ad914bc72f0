//! Reading catalogs of every form.

pub mod directory;
pub mod http;
pub mod json;
pub mod lines;
pub mod sqlite;

use crate::gather::Gatherer;
use catalog::{Entry, Name};
use edge::{Exit, Failure, Result};
use racket_data::Value;
use std::path::Path;

/// Adds one entry; relative sources become absolute.
pub fn add(name: Name, value: Value, shown: &str, base: &str, into: &mut Gatherer) -> Result<()> {
    let Some(mut entry) = Entry::from_value(value) else {
        return Err(Failure::data(format!(
            "cannot read catalog \"{shown}\": entry of package {name} is no hash"
        )));
    };
    if into.wants_absolute() {
        entry.make_absolute(base);
    }
    into.add(name, entry)
}

/// The key of an entry as a package name. It will be the name of a file: anything else is refused.
pub fn checked_name(key: &Value, shown: &str) -> Result<Name> {
    match key {
        Value::String(text) => Name::new(text.as_str()).map_err(|bad| bad_name(&bad.0, shown)),
        other => Err(bad_name(&racket_data::write(other), shown)),
    }
}

pub fn bad_name(key: &str, shown: &str) -> Failure {
    Failure::data(format!("cannot use catalog \"{shown}\": key {key:?} is no package name"))
        .hint("names have letters, digits, - and _ only; as a file name anything else could lead out of the catalog")
}

pub fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot read \"{}\": {error}", path.display()))
}
