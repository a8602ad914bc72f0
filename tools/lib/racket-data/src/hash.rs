//! Building hash tables: the last of equal keys wins, also in a table of a hundred thousand.

use crate::{Hash, HashKind, Value, write};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Up to here looking at every key is quicker than an index.
const SMALL: usize = 24;

pub(crate) struct HashBuilder {
    hash: Hash,
    /// The keys so far ascend, as in everything that Racket wrote: then a greater one is a new one.
    ascending: bool,
    /// Written form of the key to its place, once there are more than [`SMALL`].
    index: Option<HashMap<String, usize>>,
}

impl HashBuilder {
    pub fn new(kind: HashKind) -> HashBuilder {
        HashBuilder { hash: Hash::new(kind), ascending: true, index: None }
    }

    pub fn insert(&mut self, key: Value, value: Value) {
        let kind = self.hash.kind;
        let items = &mut self.hash.items;
        if self.ascending {
            if items.last().is_none_or(|(last, _)| compare_names(last, &key) == Some(Ordering::Less)) {
                return items.push((key, value));
            }
            self.ascending = false;
        }
        if items.len() < SMALL {
            match items.iter_mut().find(|(old, _)| same_key(kind, old, &key)) {
                Some((_, old)) => *old = value,
                None => items.push((key, value)),
            }
            return;
        }
        let index = self.index.get_or_insert_with(|| {
            let keys = items.iter().enumerate().filter(|(_, (key, _))| comparable(kind, key));
            keys.map(|(at, (key, _))| (write(key), at)).collect()
        });
        if comparable(kind, &key) {
            let at = *index.entry(write(&key)).or_insert(items.len());
            if at < items.len() {
                items[at].1 = value;
                return;
            }
        }
        items.push((key, value));
    }

    pub fn finish(self) -> Hash {
        self.hash
    }
}

fn compare_names(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) | (Value::Symbol(one), Value::Symbol(other)) => {
            Some(one.cmp(other))
        }
        _ => None,
    }
}

fn same_key(kind: HashKind, one: &Value, other: &Value) -> bool {
    comparable(kind, one) && one == other
}

/// Whether two keys that look the same are one key: in `#hasheq` strings, lists and so on never are.
fn comparable(kind: HashKind, key: &Value) -> bool {
    match kind {
        HashKind::Equal | HashKind::EqualAlways => true,
        HashKind::Eqv | HashKind::Eq => match key {
            Value::Bool(_) | Value::Int(_) | Value::Char(_) | Value::Symbol(_) | Value::Keyword(_) => true,
            Value::List(items) => items.is_empty(),
            Value::Number(_) => kind == HashKind::Eqv,
            _ => false,
        },
    }
}
