use crate::{Catalog, Entry, Name, entry_digest};

/// Which entry stays when two catalogs have the same name. Always whole entries, never key by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wins {
    /// The one that is already there (catalogs are searched in order).
    First,
    /// The one that comes (`--override`).
    Last,
}

/// Adds the entries of another catalog.
pub fn merge(catalog: &mut Catalog, other: impl IntoIterator<Item = (Name, Entry)>, wins: Wins) {
    for (name, entry) in other {
        match wins {
            Wins::First => {
                catalog.entry(name).or_insert(entry);
            }
            Wins::Last => {
                catalog.insert(name, entry);
            }
        }
    }
}

/// How a catalog differs from an earlier one; an entry has changed when its content has ([`entry_digest`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<Name>,
    pub changed: Vec<Name>,
    pub removed: Vec<Name>,
}

pub fn changes(old: &Catalog, new: &Catalog) -> Changes {
    let mut changes = Changes::default();
    for (name, entry) in new {
        match old.get(name.as_str()) {
            None => changes.added.push(name.clone()),
            Some(before) if before != entry && entry_digest(before) != entry_digest(entry) => {
                changes.changed.push(name.clone());
            }
            Some(_) => {}
        }
    }
    changes.removed = old.keys().filter(|name| !new.contains_key(name.as_str())).cloned().collect();
    changes
}
