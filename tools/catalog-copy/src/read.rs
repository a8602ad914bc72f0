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
use std::sync::Arc;

/// Where entries come from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// For messages.
    pub shown: String,
    /// What relative sources are combined with; `None` leaves them.
    pub base: Option<String>,
}

impl Origin {
    /// For entries that go into this gatherer.
    pub fn new(shown: &str, base: &str, into: &Gatherer) -> Arc<Origin> {
        Arc::new(Origin { shown: shown.to_owned(), base: into.wants_absolute().then(|| base.to_owned()) })
    }

    /// A value as an entry; its relative sources become absolute.
    pub fn entry(&self, name: &Name, value: Value) -> Result<Entry> {
        let Some(mut entry) = Entry::from_value(value) else {
            let shown = &self.shown;
            return Err(Failure::data(format!(
                "cannot read catalog \"{shown}\": entry of package {name} is no hash"
            )));
        };
        if let Some(base) = &self.base {
            entry.make_absolute(base);
        }
        Ok(entry)
    }

    /// The text of one entry, from `place`.
    pub fn read_entry(&self, name: &Name, text: &[u8], place: &str) -> Result<Entry> {
        let value = racket_data::read(text)
            .map_err(|error| Failure::data(format!("cannot read catalog entry \"{place}\": {error}")))?
            .ok_or_else(|| Failure::data(format!("cannot read catalog entry \"{place}\": nothing in it")))?;
        let origin = Origin { shown: place.to_owned(), base: self.base.clone() };
        origin.entry(name, value)
    }
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
