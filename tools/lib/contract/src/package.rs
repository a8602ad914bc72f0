//! `kind: "package"`: one catalog entry a line, the stream between catalog tools.

mod form;
mod twin;

pub use twin::{field_from_json, field_to_json};

use crate::{Document, DocumentError};
use catalog::{Entry, Name};
use form::Form;
use racket_data::{HashKind, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

/// `kind: "package"`: one entry of a catalog.
///
/// ```json
/// {"kind": "package", "v": 1, "name": "gui-lib", "source": "git://github.com/racket/gui?path=gui-lib",
///  "checksum": "9eb9…", "author": "a@example.org b@example.org", "description": "…", "tags": ["gui"],
///  "versions": {"default": {"source": "…", "checksum": "…", "source_url": "…"}, "6.0": {"checksum": "…"}},
///  "dependencies": [{"name": "base", "version": "6.2"}, {"name": "x", "platform": "windows"}],
///  "modules": ["racket/gui.rkt"], "ring": 0, "last-updated": 1550432934}
/// ```
///
/// `name` is the entry's key in the catalog. Every other field is a key of the entry (a symbol), except `kind`, `v`,
/// `why` (why an edit selected it; see [`Why`]) and `racket_form`. Values:
///
/// | Racket | JSON |
/// |---|---|
/// | `#t`, `#f`, string, list | `true`, `false`, string, array |
/// | exact integer up to 2^53 either side of 0 | number |
/// | `#hash` with symbol keys | object |
/// | anything else (symbol, keyword, regexp, float, bytes, pair, …) | `{"racket": "<its written form>"}` |
/// | `versions`: `#hash` whose keys are strings and the symbol `default` | object |
/// | `dependencies`, `rt-dependencies`: see [`catalog::Dependency`] | array of `{"name", "source"?, "version"?, "platform"?}`; `source` when a whole package source is written in place of the name, `platform` in written form |
/// | `modules`: list of `(lib "a/b.rkt")` | array of `"a/b.rkt"` |
///
/// Written back, every field becomes the simplest Racket value with that twin: `{"name": "base"}` becomes `"base"`.
/// Where the entry had something else, `racket_form` remembers it, so that catalog -> lines -> catalog gives back
/// `equal?` data; it is absent when there is nothing to remember. It has up to five members:
///
/// - `hash`: `hasheq`, `hasheqv` or `hashalw` when the entry itself is no `#hash`;
/// - `hasheq`: fields whose objects are `#hasheq` (in `versions`, the inner ones);
/// - `fields`: written form of fields with another shape than the simplest. It counts only while the field still has
///   the value that the form stands for: an edit of the field wins;
/// - `name`: written form of the entry's own key `name` when it is not the string `name`; `null` when it has none;
/// - `items`: written pairs of the entry whose key is no symbol, or one of `kind`, `v`, `why`, `racket_form`.
///
/// A field that is `null` is an absent one.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    pub name: Name,
    pub entry: Entry,
    /// Why it was selected; only on lines made with `--explain`. Not part of the entry.
    pub why: Option<Why>,
}

/// Why `catalog-edit --explain` has a package in its selection.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Why {
    pub role: Role,
    /// One sentence for people: `served from github.com/u/r`, `depends on a, which depends on b (served from …)`.
    pub reason: String,
    /// From this package to the selected one it was reached from, each depending on the next (`dependent`) or needed
    /// by the next (`dependency`); empty when it was selected itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

/// What a package is in a subset.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Selected by itself: by name, repository, tag and so on.
    Selected,
    /// Depends on a selected one: to be tested.
    Dependent,
    /// Needed by one of the above: to be built, not to be judged.
    Dependency,
}

/// Fields that are no keys of the entry.
const RESERVED: [&str; 5] = ["kind", "v", "name", "why", "racket_form"];

/// Known fields come first and in this order, the rest follows sorted.
const ORDER: [&str; 9] =
    ["source", "checksum", "author", "description", "tags", "versions", "dependencies", "modules", "ring"];

impl Document for Package {
    const KIND: &'static str = "package";
}

impl Package {
    pub fn new(name: Name, entry: Entry) -> Package {
        Package { name, entry, why: None }
    }

    /// Reads one line. Same as [`crate::read`], in one pass.
    pub fn read(line: &[u8]) -> Result<Package, DocumentError> {
        let map: Map<String, Json> =
            serde_json::from_slice(line).map_err(|error| DocumentError::Json(error.to_string()))?;
        if map.get("kind").and_then(Json::as_str) != Some(Package::KIND) {
            let found = map.get("kind").unwrap_or(&Json::Null).to_string();
            return Err(DocumentError::Kind { expected: Package::KIND, found });
        }
        if map.get("v").and_then(Json::as_u64) != Some(u64::from(crate::V)) {
            let found = map.get("v").unwrap_or(&Json::Null).to_string();
            return Err(DocumentError::Version { kind: Package::KIND, found });
        }
        Package::from_map(map).map_err(DocumentError::Json)
    }

    fn from_map(mut map: Map<String, Json>) -> Result<Package, String> {
        let name = match map.get("name") {
            Some(Json::String(name)) => Name::new(name.as_str()).map_err(|bad| bad.to_string())?,
            Some(_) => return Err("field \"name\" is no string".to_owned()),
            None => return Err("missing field \"name\"".to_owned()),
        };
        let why = match map.remove("why").filter(|why| !why.is_null()) {
            Some(why) => serde_json::from_value(why).map_err(|e| format!("field \"why\": {e}"))?,
            None => None,
        };
        let form = Form::from_json(map.remove("racket_form"))?;
        let mut entry = Entry::new(form.kind());
        let items = &mut entry.hash_mut().items;
        for (key, json) in map {
            if RESERVED.contains(&key.as_str()) || json.is_null() {
                continue;
            }
            let value = match form.field(&key, &json)? {
                Some(value) => value,
                None => twin::from_json(&key, &json, form.objects_of(&key))
                    .map_err(|error| format!("field {key:?}: {error}"))?,
            };
            items.push((Value::Symbol(key), value));
        }
        if let Some(value) = form.name(name.as_str())? {
            items.push((Value::symbol("name"), value));
        }
        items.extend(form.items()?);
        Ok(Package { name, entry, why })
    }

    /// The line as JSON.
    pub fn to_json(&self) -> Map<String, Json> {
        let mut form = Form::default();
        let mut fields: Vec<(&str, Json)> = Vec::with_capacity(self.entry.hash().items.len());
        let mut own_name = None;
        form.set_kind(self.entry.hash().kind);
        for (key, value) in &self.entry.hash().items {
            match key {
                Value::Symbol(key) if key == "name" => own_name = Some(value),
                Value::Symbol(key) if !RESERVED.contains(&key.as_str()) => {
                    let twin = twin::to_json(key, value);
                    if twin.objects == HashKind::Eq {
                        form.add_hasheq(key);
                    }
                    if !twin.exact {
                        form.add_field(key, value);
                    }
                    fields.push((key, twin.json));
                }
                _ => form.add_item(key, value),
            }
        }
        form.set_name(self.name.as_str(), own_name);
        let rank = |key: &str| ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len());
        fields.sort_by(|(a, _), (b, _)| (rank(a), *a).cmp(&(rank(b), *b)));
        let mut map = Map::with_capacity(fields.len() + 5);
        map.insert("kind".into(), Package::KIND.into());
        map.insert("v".into(), crate::V.into());
        map.insert("name".into(), self.name.as_str().into());
        map.extend(fields.into_iter().map(|(key, json)| (key.to_owned(), json)));
        if let Some(why) = &self.why {
            map.insert("why".into(), serde_json::to_value(why).unwrap_or_default());
        }
        if let Some(form) = form.into_json() {
            map.insert("racket_form".into(), form);
        }
        map
    }
}

impl Serialize for Package {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Package {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Package, D::Error> {
        Package::from_map(Map::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
