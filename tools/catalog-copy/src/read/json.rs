//! `pkgs-all.json` of the public index: the same catalog, as much of it as JSON can say.
//!
//! The index writes symbols as strings, keywords as `{"kw": …}`, regular expressions as `{"regexp": …}`. What each
//! key of an entry holds is known, so that it can be undone.

use crate::gather::Gatherer;
use crate::read::{Origin, bad_name};
use catalog::Name;
use edge::{Failure, Result, progress};
use racket_data::{Hash, HashKind, Value};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value as Json;
use std::fmt;
use std::io::Read;

/// Adds the entries of a `pkgs-all.json`, one at a time.
pub fn read(source: impl Read, shown: &str, base: &str, into: &mut Gatherer) -> Result<()> {
    let bar = progress::items("reading", None);
    let origin = Origin::new(shown, base, into);
    let mut failure = None;
    let mut each = |name: String, entry: Json| -> bool {
        bar.inc(1);
        let added =
            Name::new(name.as_str()).map_err(|bad| bad_name(&bad.0, shown)).and_then(|name| match entry {
                Json::Object(_) => {
                    let entry = origin.entry(&name, entry_from(&entry))?;
                    into.add(name, entry)
                }
                _ => Err(Failure::data(format!(
                    "cannot read catalog \"{shown}\": entry of package {name} is no object"
                ))),
            });
        failure = added.err();
        failure.is_none()
    };
    let mut parser = serde_json::Deserializer::from_reader(std::io::BufReader::new(source));
    let done = Entries { each: &mut each }.deserialize(&mut parser);
    bar.finish_and_clear();
    match (failure, done) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(Failure::data(format!("cannot read catalog \"{shown}\": {error}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// Goes through an object without holding all of it.
struct Entries<'a> {
    each: &'a mut dyn FnMut(String, Json) -> bool,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry a package")
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<(), M::Error> {
        while let Some((name, entry)) = map.next_entry()? {
            if !(self.each)(name, entry) {
                return Err(M::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

fn entry_from(entry: &Json) -> Value {
    let mut hash = Hash::new(HashKind::Equal);
    for (key, json) in entry.as_object().into_iter().flatten() {
        let value = match key.as_str() {
            "versions" => table(json, HashKind::Equal, &|key| match key {
                "default" => Value::symbol("default"),
                version => Value::string(version),
            }),
            "modules" => list(json, module),
            "dependencies" | "rt-dependencies" => list(json, dependency),
            "search-terms" => table(json, HashKind::Eq, &symbol),
            "implies" => list(json, |json| match json {
                Json::String(name) if name == "core" => Value::symbol("core"),
                other => plain(other),
            }),
            // `(multi)`
            "collection" => list(json, |json| match json {
                Json::String(name) => Value::symbol(name.as_str()),
                other => plain(other),
            }),
            _ => plain(json),
        };
        hash.items.push((Value::symbol(key.as_str()), value));
    }
    Value::Hash(hash)
}

fn plain(json: &Json) -> Value {
    match json {
        Json::Null => Value::Bool(false),
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => racket_data::read(number.to_string().as_bytes())
            .ok()
            .flatten()
            .unwrap_or_else(|| Value::string(number.to_string())),
        Json::String(text) => Value::string(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(plain).collect()),
        Json::Object(object) => match (object.len(), object.get("kw"), object.get("regexp")) {
            (1, Some(Json::String(keyword)), _) => Value::Keyword(keyword.clone()),
            (1, _, Some(Json::String(pattern))) => {
                Value::Regexp { px: false, bytes: false, pattern: pattern.clone().into_bytes() }
            }
            _ => table(json, HashKind::Equal, &symbol),
        },
    }
}

fn symbol(name: &str) -> Value {
    Value::symbol(name)
}

fn list(json: &Json, item: impl Fn(&Json) -> Value) -> Value {
    match json {
        Json::Array(items) => Value::List(items.iter().map(item).collect()),
        other => plain(other),
    }
}

/// An object; its inner objects are the `#hasheq` that the index has there.
fn table(json: &Json, kind: HashKind, key: &dyn Fn(&str) -> Value) -> Value {
    let Json::Object(object) = json else { return plain(json) };
    let mut hash = Hash::new(kind);
    for (name, value) in object {
        let value = match value {
            Json::Object(_) => table(value, HashKind::Eq, &symbol),
            other => plain(other),
        };
        hash.items.push((key(name), value));
    }
    Value::Hash(hash)
}

/// `["lib", "a/b.rkt"]`
fn module(json: &Json) -> Value {
    match json.as_array().map(Vec::as_slice) {
        Some([Json::String(lib), rest @ ..]) => {
            let rest = rest.iter().map(plain);
            Value::List(std::iter::once(Value::symbol(lib.as_str())).chain(rest).collect())
        }
        _ => plain(json),
    }
}

/// `"p"`, `["p", {"kw": "version"}, "1.0", {"kw": "platform"}, "windows"]`. The names of system types are symbols in
/// Racket, other platforms strings.
fn dependency(json: &Json) -> Value {
    let Json::Array(items) = json else { return plain(json) };
    let mut values: Vec<Value> = items.iter().map(plain).collect();
    for at in 1..values.len() {
        let platform = matches!(&values[at - 1], Value::Keyword(keyword) if keyword == "platform");
        if let Value::String(text) = &values[at]
            && platform
            && ["unix", "windows", "macosx"].contains(&text.as_str())
        {
            values[at] = Value::symbol(text.as_str());
        }
    }
    Value::List(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_keywords_and_versions_come_back() {
        let json = serde_json::json!({
            "source": "http://h/a.zip", "ring": 1, "last-updated": 1550432934.5, "license": false,
            "versions": {"default": {"source": "s", "checksum": "c"}, "6.0": {"checksum": "d"}},
            "dependencies": ["base", ["x", {"kw": "version"}, "1.0", {"kw": "platform"}, "windows"],
                             ["y", {"kw": "platform"}, {"regexp": "^x"}]],
            "modules": [["lib", "a/b.rkt"]],
            "search-terms": {"ring:1": true},
        });
        assert_eq!(
            racket_data::write(&entry_from(&json)),
            concat!(
                "#hash((dependencies . (\"base\" (\"x\" #:version \"1.0\" #:platform windows) (\"y\" #:platform #rx\"^x\"))) ",
                "(last-updated . 1550432934.5) (license . #f) (modules . ((lib \"a/b.rkt\"))) (ring . 1) ",
                "(search-terms . #hasheq((ring:1 . #t))) (source . \"http://h/a.zip\") ",
                "(versions . #hash((default . #hasheq((checksum . \"c\") (source . \"s\"))) (\"6.0\" . #hasheq((checksum . \"d\"))))))"
            )
        );
    }
}
