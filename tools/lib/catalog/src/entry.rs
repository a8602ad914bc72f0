use crate::{BadDependency, Dependency, Platform};
use racket_data::{Hash, HashKind, Value};

/// One entry of a catalog: the hash as it was read, with every key, known or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry(
    /// Always a [`Value::Hash`].
    Value,
);

impl Entry {
    /// An entry with nothing in it.
    pub fn new(kind: HashKind) -> Entry {
        Entry(Value::Hash(Hash::new(kind)))
    }
    pub fn from_hash(hash: Hash) -> Entry {
        Entry(Value::Hash(hash))
    }
    /// `None` when it is no hash.
    pub fn from_value(value: Value) -> Option<Entry> {
        matches!(value, Value::Hash(_)).then_some(Entry(value))
    }
    pub fn hash(&self) -> &Hash {
        match &self.0 {
            Value::Hash(hash) => hash,
            _ => unreachable!("an entry is made of a hash"),
        }
    }
    pub fn hash_mut(&mut self) -> &mut Hash {
        match &mut self.0 {
            Value::Hash(hash) => hash,
            _ => unreachable!("an entry is made of a hash"),
        }
    }
    pub fn value(&self) -> &Value {
        &self.0
    }
    pub fn into_value(self) -> Value {
        self.0
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.hash().get(key).and_then(Value::as_str)
    }
    fn list(&self, key: &str) -> &[Value] {
        self.hash().get(key).and_then(Value::as_list).unwrap_or_default()
    }

    /// Where the package is; see [`crate::Source::parse`].
    pub fn source(&self) -> Option<&str> {
        self.text("source")
    }
    /// Git commit, SHA-1 of an archive, or `""`.
    pub fn checksum(&self) -> Option<&str> {
        self.text("checksum")
    }
    /// Space-separated e-mail addresses.
    pub fn author(&self) -> Option<&str> {
        self.text("author")
    }
    pub fn description(&self) -> Option<&str> {
        self.text("description")
    }
    pub fn tags(&self) -> Vec<&str> {
        self.list("tags").iter().filter_map(Value::as_str).collect()
    }
    /// 0 (main distribution), 1, 2; `None` when absent or `#f`.
    pub fn ring(&self) -> Option<i64> {
        match self.hash().get("ring") {
            Some(Value::Int(ring)) => Some(*ring),
            _ => None,
        }
    }
    /// Elements of `dependencies`, the bad ones as written.
    pub fn dependencies(&self) -> impl Iterator<Item = Result<Dependency, (BadDependency, &Value)>> {
        self.list("dependencies").iter().map(|value| Dependency::parse(value).map_err(|bad| (bad, value)))
    }
    /// Names of the packages it depends on (on `platform`, when given), in the order written. For the sake of the
    /// graph a dependency that is only badly versioned still counts.
    pub fn dependency_names(&self, platform: Option<&Platform>) -> Vec<String> {
        let mut names = Vec::new();
        for value in self.list("dependencies") {
            let name = match Dependency::parse(value) {
                Ok(dependency) => {
                    platform.is_none_or(|p| dependency.applies(p)).then(|| dependency.name.into())
                }
                Err(BadDependency::Shape | BadDependency::Name) => None,
                Err(_) => match value {
                    Value::List(items) => items.first().and_then(|source| Dependency::parse(source).ok()),
                    _ => None,
                }
                .map(|dependency| dependency.name.into()),
            };
            names.extend(name);
        }
        names
    }
    /// Module paths `(lib "a/b.rkt")` as `a/b.rkt`; other forms are left out.
    pub fn modules(&self) -> Vec<&str> {
        self.list("modules").iter().filter_map(module_path).collect()
    }
    /// The `versions` table.
    pub fn versions(&self) -> Option<&Hash> {
        self.hash().get("versions").and_then(Value::as_hash)
    }

    /// The entry as a client of this version sees it: overridden by the hash at exactly `version`, else by the one
    /// at `default`, else untouched. No range of versions, no layering. `versions` itself goes away only
    /// with `drop_versions`.
    #[must_use]
    pub fn for_version(&self, version: &str) -> Entry {
        let mut entry = self.clone();
        entry.choose_version(version);
        entry
    }

    /// [`Entry::for_version`] in place.
    pub fn choose_version(&mut self, version: &str) {
        let Some(versions) = self.versions() else { return };
        let chosen = versions.get_str(version).or_else(|| versions.get("default")).and_then(Value::as_hash);
        for (key, value) in chosen.map(|hash| hash.items.clone()).unwrap_or_default() {
            match self.hash_mut().items.iter_mut().find(|(old, _)| *old == key) {
                Some((_, old)) => *old = value,
                None => self.hash_mut().items.push((key, value)),
            }
        }
    }

    /// Takes the `versions` table away.
    pub fn drop_versions(&mut self) {
        self.hash_mut().remove("versions");
    }
}

/// `a/b.rkt` of `(lib "a/b.rkt")`.
pub fn module_path(value: &Value) -> Option<&str> {
    match value.as_list()? {
        [Value::Symbol(lib), Value::String(path)] if lib == "lib" => Some(path),
        _ => None,
    }
}
