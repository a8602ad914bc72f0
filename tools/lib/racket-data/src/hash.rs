//! Building hash tables: the last of equal keys wins, also in a table of a hundred thousand.

use crate::{Hash, HashKind, Value, write};
use std::collections::HashMap;

/// Up to here looking at every key is quicker than an index.
const SMALL: usize = 24;

pub(crate) struct HashBuilder {
    hash: Hash,
    /// Written form of the key to its place, once there are more than [`SMALL`].
    index: HashMap<String, usize>,
}

impl HashBuilder {
    pub fn new(kind: HashKind) -> HashBuilder {
        HashBuilder { hash: Hash::new(kind), index: HashMap::new() }
    }

    pub fn insert(&mut self, key: Value, value: Value) {
        let kind = self.hash.kind;
        let items = &mut self.hash.items;
        if items.len() < SMALL {
            match items.iter_mut().find(|(old, _)| same_key(kind, old, &key)) {
                Some((_, old)) => *old = value,
                None => items.push((key, value)),
            }
            return;
        }
        if self.index.is_empty() {
            for (at, (key, _)) in items.iter().enumerate() {
                if comparable(kind, key) {
                    self.index.insert(write(key), at);
                }
            }
        }
        if comparable(kind, &key) {
            let at = *self.index.entry(write(&key)).or_insert(items.len());
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
