/// A Racket value as `read` gives it.
///
/// Proper lists are [`Value::List`] (the empty list is the empty vector); a pair chain that ends in something else
/// is [`Value::Dotted`], whose tail is never a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    /// Exact integer that fits; other numbers keep their written form in [`Value::Number`].
    Int(i64),
    /// Any other number, in the form `write` prints (`1/2`, `1e21`, `+nan.0`, a bignum).
    Number(String),
    Char(char),
    String(String),
    Bytes(Vec<u8>),
    Symbol(String),
    Keyword(String),
    List(Vec<Value>),
    /// At least one item, then the tail: `(a b . c)`.
    Dotted(Vec<Value>, Box<Value>),
    Vector(Vec<Value>),
    Boxed(Box<Value>),
    Hash(Hash),
    /// Prefab structure: the key as written (symbol or list), then the fields.
    Prefab(Box<Value>, Vec<Value>),
    /// `#rx"…"` (`px` false, `bytes` false), `#px`, `#rx#`, `#px#`: the pattern.
    Regexp {
        px: bool,
        bytes: bool,
        pattern: Vec<u8>,
    },
}

/// Which equality the keys of a hash are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKind {
    /// `#hash`
    Equal,
    /// `#hasheqv`
    Eqv,
    /// `#hasheq`
    Eq,
    /// `#hashalw`
    EqualAlways,
}

/// An immutable hash table, items in the order read; no key twice (in the sense of its kind).
#[derive(Clone, Debug)]
pub struct Hash {
    pub kind: HashKind,
    pub items: Vec<(Value, Value)>,
}

impl Hash {
    pub fn new(kind: HashKind) -> Hash {
        Hash { kind, items: Vec::new() }
    }
    /// The value of a symbol key.
    pub fn get(&self, symbol: &str) -> Option<&Value> {
        self.items.iter().find(|(k, _)| matches!(k, Value::Symbol(s) if s == symbol)).map(|(_, v)| v)
    }
    /// The value of a string key.
    pub fn get_str(&self, string: &str) -> Option<&Value> {
        self.items.iter().find(|(k, _)| matches!(k, Value::String(s) if s == string)).map(|(_, v)| v)
    }
    /// Sets the value of a symbol key: in its place if there, at the end if not.
    pub fn set(&mut self, symbol: &str, value: Value) {
        match self.items.iter_mut().find(|(k, _)| matches!(k, Value::Symbol(s) if s == symbol)) {
            Some((_, old)) => *old = value,
            None => self.items.push((Value::Symbol(symbol.to_owned()), value)),
        }
    }
    pub fn remove(&mut self, symbol: &str) -> Option<Value> {
        let at = self.items.iter().position(|(k, _)| matches!(k, Value::Symbol(s) if s == symbol))?;
        Some(self.items.remove(at).1)
    }
}

/// Order of items does not count.
impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        if self.kind != other.kind || self.items.len() != other.items.len() {
            return false;
        }
        // nearly always the order is the same: then no look-up is needed
        let first_difference = self.items.iter().zip(&other.items).position(|(one, other)| one.0 != other.0);
        let Some(from) = first_difference else {
            return self.items.iter().zip(&other.items).all(|(one, other)| one.1 == other.1);
        };
        let same_start = self.items[..from].iter().zip(&other.items).all(|(one, other)| one.1 == other.1);
        same_start && same_in_any_order(&self.items[from..], &other.items[from..])
    }
}

fn same_in_any_order(ones: &[(Value, Value)], others: &[(Value, Value)]) -> bool {
    let mut by_key: std::collections::HashMap<String, Vec<&(Value, Value)>> =
        std::collections::HashMap::new();
    for item in others {
        by_key.entry(crate::write(&item.0)).or_default().push(item);
    }
    ones.iter().all(|(key, value)| {
        let Some(candidates) = by_key.get_mut(&crate::write(key)) else { return false };
        // a `#hasheq` may hold several keys that look the same: each counts once
        match candidates.iter().position(|(k, v)| k == key && v == value) {
            Some(at) => {
                candidates.swap_remove(at);
                true
            }
            None => false,
        }
    })
}

impl Value {
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }
    pub fn as_symbol(&self) -> Option<&str> {
        match self {
            Value::Symbol(s) => Some(s),
            _ => None,
        }
    }
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }
    pub fn as_hash(&self) -> Option<&Hash> {
        match self {
            Value::Hash(hash) => Some(hash),
            _ => None,
        }
    }
    /// Number of values in it, itself included.
    pub fn size(&self) -> usize {
        1 + match self {
            Value::List(items) | Value::Vector(items) => items.iter().map(Value::size).sum(),
            Value::Dotted(items, tail) => items.iter().map(Value::size).sum::<usize>() + tail.size(),
            Value::Boxed(value) => value.size(),
            Value::Hash(hash) => hash.items.iter().map(|(k, v)| k.size() + v.size()).sum(),
            Value::Prefab(key, fields) => key.size() + fields.iter().map(Value::size).sum::<usize>(),
            _ => 0,
        }
    }
    pub fn string(s: impl Into<String>) -> Value {
        Value::String(s.into())
    }
    pub fn symbol(s: impl Into<String>) -> Value {
        Value::Symbol(s.into())
    }
}
