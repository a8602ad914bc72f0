//! `racket_form`: what the JSON twin of an entry alone cannot say.

use super::{RESERVED, twin};
use racket_data::{HashKind, Value};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hasheq: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
    /// Outer: is there something to say; inner: the written form, or that there is no such key.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present_or_null")]
    name: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    items: Vec<String>,
}

/// Tells `"name": null` from no `name` at all.
mod present_or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Option<String>>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(s)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Option<String>>, D::Error> {
        Option::deserialize(d).map(Some)
    }
}

/// Reading it back.
impl Form {
    pub fn from_json(json: Option<Json>) -> Result<Form, String> {
        let form: Form = match json.filter(|json| !json.is_null()) {
            Some(json) => serde_json::from_value(json).map_err(|e| format!("field \"racket_form\": {e}"))?,
            None => return Ok(Form::default()),
        };
        match form.hash.as_deref() {
            None | Some("hash" | "hasheq" | "hasheqv" | "hashalw") => Ok(form),
            Some(other) => Err(format!("field \"racket_form\": unknown kind of hash {other:?}")),
        }
    }

    pub fn kind(&self) -> HashKind {
        match self.hash.as_deref() {
            Some("hasheq") => HashKind::Eq,
            Some("hasheqv") => HashKind::Eqv,
            Some("hashalw") => HashKind::EqualAlways,
            _ => HashKind::Equal,
        }
    }

    /// Kind of hash that objects of a field stand for.
    pub fn objects_of(&self, field: &str) -> HashKind {
        if self.hasheq.iter().any(|known| known == field) { HashKind::Eq } else { HashKind::Equal }
    }

    /// The remembered value of a field, if the field still is what the value stands for.
    pub fn field(&self, field: &str, json: &Json) -> Result<Option<Value>, String> {
        let Some(written) = self.fields.get(field) else { return Ok(None) };
        let value = read(written)?;
        Ok((twin::to_json(field, &value).json == *json).then_some(value))
    }

    /// Value of the entry's own key `name`; `None` when it has none.
    pub fn name(&self, name: &str) -> Result<Option<Value>, String> {
        match &self.name {
            None => Ok(Some(Value::string(name))),
            Some(None) => Ok(None),
            Some(Some(written)) => read(written).map(Some),
        }
    }

    pub fn items(&self) -> Result<Vec<(Value, Value)>, String> {
        self.items
            .iter()
            .map(|written| {
                let bad = || format!("field \"racket_form\": {written:?} is no pair with a key of its own");
                let (key, value) = match read(written)? {
                    Value::Dotted(mut items, tail) if items.len() == 1 => (items.remove(0), *tail),
                    // (k . (a b)) and (k . (a . b)) read as one longer list
                    Value::Dotted(mut items, tail) => (items.remove(0), Value::Dotted(items, tail)),
                    Value::List(mut items) if !items.is_empty() => (items.remove(0), Value::List(items)),
                    _ => return Err(bad()),
                };
                match key.as_symbol() {
                    Some(symbol) if !RESERVED.contains(&symbol) || symbol == "name" => Err(bad()),
                    _ => Ok((key, value)),
                }
            })
            .collect()
    }
}

/// Writing it.
impl Form {
    pub fn set_kind(&mut self, kind: HashKind) {
        self.hash = match kind {
            HashKind::Equal => None,
            HashKind::Eq => Some("hasheq".to_owned()),
            HashKind::Eqv => Some("hasheqv".to_owned()),
            HashKind::EqualAlways => Some("hashalw".to_owned()),
        };
    }
    pub fn add_hasheq(&mut self, field: &str) {
        self.hasheq.push(field.to_owned());
    }
    pub fn add_field(&mut self, field: &str, value: &Value) {
        self.fields.insert(field.to_owned(), racket_data::write(value));
    }
    pub fn add_item(&mut self, key: &Value, value: &Value) {
        let pair = match value {
            Value::List(items) => {
                let mut all = vec![key.clone()];
                all.extend(items.iter().cloned());
                Value::List(all)
            }
            Value::Dotted(items, tail) => {
                let mut all = vec![key.clone()];
                all.extend(items.iter().cloned());
                Value::Dotted(all, tail.clone())
            }
            other => Value::Dotted(vec![key.clone()], Box::new(other.clone())),
        };
        self.items.push(racket_data::write(&pair));
    }
    pub fn set_name(&mut self, name: &str, own: Option<&Value>) {
        self.name = match own {
            Some(value) if value.as_str() == Some(name) => None,
            Some(value) => Some(Some(racket_data::write(value))),
            None => Some(None),
        };
    }
    /// `None` when there is nothing to remember.
    pub fn into_json(mut self) -> Option<Json> {
        if self == Form::default() {
            return None;
        }
        self.hasheq.sort_unstable();
        self.items.sort_unstable();
        serde_json::to_value(self).ok()
    }
}

pub(super) fn read(written: &str) -> Result<Value, String> {
    match racket_data::read(written.as_bytes()) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!("cannot read the written form {written:?}: nothing in it")),
        Err(error) => Err(format!("cannot read the written form {written:?}: {error}")),
    }
}
