//! Racket values and their twins in JSON.

use super::form::read;
use catalog::{Dependency, Name, module_path};
use racket_data::{Hash, HashKind, Value};
use serde_json::{Map, Value as Json};

/// A field in JSON, and what it leaves open.
pub(super) struct Twin {
    pub json: Json,
    /// True when [`from_json`] gives exactly the value back.
    pub exact: bool,
    /// Kind of hash that the objects in it stand for.
    pub objects: HashKind,
}

/// Beyond this nesting a value is given in written form: JSON readers have limits of their own (jq 256, serde 128).
const MAX_DEPTH: u32 = 48;

/// jq and JavaScript hold integers exactly up to here.
const MAX_INTEGER: u64 = 1 << 53;

/// The JSON twin of an entry's field.
pub fn field_to_json(field: &str, value: &Value) -> Json {
    to_json(field, value).json
}

/// The value of an entry's field that has this JSON twin, the simplest there is. The error says what is wrong.
pub fn field_from_json(field: &str, json: &Json) -> Result<Value, String> {
    from_json(field, json, HashKind::Equal)
}

pub(super) fn to_json(field: &str, value: &Value) -> Twin {
    let objects = first_objects(value).unwrap_or(HashKind::Equal);
    let exactly = |json| Twin { json, exact: true, objects };
    let whole = || Twin { json: written(value), exact: true, objects: HashKind::Equal };
    match (field, value) {
        ("dependencies" | "rt-dependencies", Value::List(items)) => {
            let mut exact = true;
            let json = items.iter().map(|item| dependency_to_json(item, &mut exact)).collect();
            Twin { json: Json::Array(json), exact, objects: HashKind::Equal }
        }
        ("modules", Value::List(items)) => {
            let module = |item: &Value| module_path(item).map_or_else(|| written(item), Json::from);
            Twin { objects: HashKind::Equal, ..exactly(items.iter().map(module).collect()) }
        }
        ("versions", Value::Hash(versions)) => match versions_to_json(versions) {
            Some(twin) => twin,
            None => whole(),
        },
        ("dependencies" | "rt-dependencies" | "modules" | "versions", _) => whole(),
        _ => exactly(generic(value, objects, 0)),
    }
}

pub(super) fn from_json(field: &str, json: &Json, objects: HashKind) -> Result<Value, String> {
    if let Some(form) = written_form(json) {
        return read(form);
    }
    match (field, json) {
        ("dependencies" | "rt-dependencies", Json::Array(items)) => {
            items.iter().map(dependency_from_json).collect::<Result<_, _>>().map(Value::List)
        }
        ("modules", Json::Array(items)) => items
            .iter()
            .map(|item| match item {
                Json::String(path) => Ok(Value::List(vec![Value::symbol("lib"), Value::string(path)])),
                _ => plain(item, HashKind::Equal),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        ("versions", Json::Object(versions)) => {
            let mut hash = Hash::new(HashKind::Equal);
            for (version, json) in versions {
                let key =
                    if version == "default" { Value::symbol("default") } else { Value::string(version) };
                hash.items.push((key, plain(json, objects)?));
            }
            Ok(Value::Hash(hash))
        }
        ("dependencies" | "rt-dependencies" | "modules", _) => Err("expected an array".to_owned()),
        ("versions", _) => Err("expected an object".to_owned()),
        _ => plain(json, objects),
    }
}

fn written(value: &Value) -> Json {
    let mut object = Map::with_capacity(1);
    object.insert("racket".to_owned(), Json::String(racket_data::write(value)));
    Json::Object(object)
}

/// The text in `{"racket": "text"}`.
fn written_form(json: &Json) -> Option<&str> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.get("racket")?.as_str()
}

/// Kind of the first hash with symbol keys in it: the one that objects of this field stand for.
fn first_objects(value: &Value) -> Option<HashKind> {
    match value {
        Value::List(items) => items.iter().find_map(first_objects),
        Value::Hash(hash) => {
            let symbols = hash.items.iter().all(|(key, _)| key.as_symbol().is_some());
            match hash.kind {
                HashKind::Equal | HashKind::Eq if symbols => Some(hash.kind),
                _ => hash.items.iter().find_map(|(_, value)| first_objects(value)),
            }
        }
        _ => None,
    }
}

fn generic(value: &Value, objects: HashKind, depth: u32) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) if number.unsigned_abs() <= MAX_INTEGER => Json::from(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) if depth < MAX_DEPTH => {
            items.iter().map(|item| generic(item, objects, depth + 1)).collect()
        }
        Value::Hash(hash) if hash.kind == objects && depth < MAX_DEPTH => {
            let mut keys: Vec<(&str, &Value)> = Vec::with_capacity(hash.items.len());
            for (key, item) in &hash.items {
                match key {
                    Value::Symbol(key) => keys.push((key, item)),
                    _ => return written(value),
                }
            }
            // would read as a written form
            if keys.len() == 1 && keys[0].0 == "racket" {
                return written(value);
            }
            keys.sort_unstable_by_key(|(key, _)| *key);
            Json::Object(
                keys.into_iter().map(|(k, v)| (k.to_owned(), generic(v, objects, depth + 1))).collect(),
            )
        }
        _ => written(value),
    }
}

/// Twin of [`generic`].
fn plain(json: &Json, objects: HashKind) -> Result<Value, String> {
    if let Some(form) = written_form(json) {
        return read(form);
    }
    Ok(match json {
        Json::Null => Value::Bool(false),
        Json::Bool(value) => Value::Bool(*value),
        // a number in JSON is one in Racket: exact when it is written without fraction and exponent
        Json::Number(number) => read(&number.to_string())?,
        Json::String(text) => Value::string(text),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| plain(item, objects)).collect::<Result<_, _>>()?)
        }
        Json::Object(object) => {
            let mut hash = Hash::new(objects);
            for (key, value) in object {
                hash.items.push((Value::symbol(key), plain(value, objects)?));
            }
            Value::Hash(hash)
        }
    })
}

fn versions_to_json(versions: &Hash) -> Option<Twin> {
    if versions.kind != HashKind::Equal {
        return None;
    }
    let objects = versions.items.iter().find_map(|(_, v)| first_objects(v)).unwrap_or(HashKind::Equal);
    let mut items = Vec::with_capacity(versions.items.len());
    for (key, value) in &versions.items {
        match key {
            Value::Symbol(key) if key == "default" => items.push((0, key, value)),
            Value::String(key) if key != "default" => items.push((1, key, value)),
            _ => return None,
        }
    }
    // {"racket": "…"} would read as a written form
    if items.len() == 1 && items[0].1 == "racket" {
        return None;
    }
    items.sort_unstable_by_key(|(rank, key, _)| (*rank, *key));
    let json = items.into_iter().map(|(_, key, value)| (key.clone(), generic(value, objects, 1))).collect();
    Some(Twin { json: Json::Object(json), exact: true, objects })
}

/// Clears `exact` when the element is not the shape that [`dependency_from_json`] gives back.
fn dependency_to_json(item: &Value, exact: &mut bool) -> Json {
    let Ok(dependency) = Dependency::parse(item) else { return written(item) };
    if dependency.to_value() != *item {
        *exact = false;
    }
    let mut object = Map::with_capacity(4);
    object.insert("name".to_owned(), dependency.name.as_str().into());
    if let Some(source) = dependency.source {
        object.insert("source".to_owned(), source.into());
    }
    if let Some(version) = dependency.version {
        object.insert("version".to_owned(), version.into());
    }
    if let Some(platform) = &dependency.platform {
        object.insert("platform".to_owned(), racket_data::write(platform).into());
    }
    Json::Object(object)
}

fn dependency_from_json(json: &Json) -> Result<Value, String> {
    if let Some(form) = written_form(json) {
        return read(form);
    }
    let object = match json {
        Json::String(name) => return Ok(Value::string(name)),
        Json::Object(object) => object,
        _ => return Err(format!("expected a dependency, found {json}")),
    };
    let text = |key: &str| match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(format!("dependency: field {key:?} is no string: {other}")),
    };
    let name = text("name")?.ok_or_else(|| format!("dependency without a name: {json}"))?;
    let name = Name::new(name).map_err(|bad| bad.to_string())?;
    // the name counts where it no longer is the one in the source
    let source = text("source")?.filter(|source| {
        Dependency::parse(&Value::string(*source)).is_ok_and(|dependency| dependency.name == name)
    });
    let platform = text("platform")?.map(read).transpose()?;
    let dependency = Dependency {
        name,
        source: source.map(str::to_owned),
        version: text("version")?.map(str::to_owned),
        platform,
    };
    Ok(dependency.to_value())
}
