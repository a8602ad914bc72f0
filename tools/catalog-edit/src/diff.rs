//! What changed in an entry, as people read differences: field by field.

use catalog::{Entry, Name};
use contract::package::Package;
use serde_json::Value as Json;

/// Lines for a package whose entry was edited; empty when nothing changed.
pub fn changed(name: &Name, old: &Entry, new: &Entry) -> String {
    let (old, new) = (fields(name, old), fields(name, new));
    let mut lines = String::new();
    for (field, value) in &old {
        if let Some((_, after)) = new.iter().find(|(other, _)| other == field) {
            compare(field, value, after, &mut lines);
        } else {
            one('-', field, value, &mut lines);
        }
    }
    for (field, value) in &new {
        if !old.iter().any(|(other, _)| other == field) {
            one('+', field, value, &mut lines);
        }
    }
    if lines.is_empty() { lines } else { format!("--- {name}\n+++ {name}\n{lines}") }
}

/// One line for a package that is taken out.
pub fn removed(name: &Name, entry: &Entry) -> String {
    format!("--- {name}\n-{name}: {}\n", entry.source().unwrap_or("(no source)"))
}

fn fields(name: &Name, entry: &Entry) -> Vec<(String, Json)> {
    let line = Package::new(name.clone(), entry.clone()).to_json();
    line.into_iter()
        .filter(|(key, _)| !matches!(key.as_str(), "kind" | "v" | "name" | "racket_form"))
        .collect()
}

fn one(sign: char, field: &str, value: &Json, lines: &mut String) {
    match value {
        Json::Object(object) if !object.is_empty() && object.len() < 8 && !object.contains_key("racket") => {
            for (key, value) in object {
                one(sign, &format!("{field}.{key}"), value, lines);
            }
        }
        _ => lines.push_str(&format!("{sign}{field}: {value}\n")),
    }
}

fn compare(field: &str, old: &Json, new: &Json, lines: &mut String) {
    if old == new {
        return;
    }
    match (old, new) {
        (Json::Object(before), Json::Object(after)) => {
            for (key, value) in before {
                let field = format!("{field}.{key}");
                match after.get(key) {
                    Some(new) => compare(&field, value, new, lines),
                    None => one('-', &field, value, lines),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                one('+', &format!("{field}.{key}"), value, lines);
            }
        }
        (Json::Array(before), Json::Array(after)) => {
            let gone: Vec<&Json> = before.iter().filter(|item| !after.contains(item)).collect();
            let come: Vec<&Json> = after.iter().filter(|item| !before.contains(item)).collect();
            if gone.is_empty() && come.is_empty() {
                // another order, or other repetitions
                lines.push_str(&format!("-{field}: {old}\n+{field}: {new}\n"));
            }
            gone.iter().for_each(|item| lines.push_str(&format!("-{field}[]: {item}\n")));
            come.iter().for_each(|item| lines.push_str(&format!("+{field}[]: {item}\n")));
        }
        _ => lines.push_str(&format!("-{field}: {old}\n+{field}: {new}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_changed_and_no_others() {
        let entry = |text: &str| catalog::read_entry(text.as_bytes()).unwrap();
        let name = Name::new("a").unwrap();
        let old = entry(
            r#"#hash((name . "a") (source . "s") (tags . ("x" "y")) (ring . 1) (versions . #hash((default . #hash((source . "s"))))))"#,
        );
        let new = entry(
            r#"#hash((name . "a") (source . "t") (tags . ("y" "z")) (new . #t) (versions . #hash((default . #hash((source . "t"))))))"#,
        );
        let expected = "--- a\n+++ a\n-source: \"s\"\n+source: \"t\"\n-tags[]: \"x\"\n+tags[]: \"z\"\n\
            -versions.default.source: \"s\"\n+versions.default.source: \"t\"\n-ring: 1\n+new: true\n";
        assert_eq!(changed(&name, &old, &new), expected);
        assert_eq!(changed(&name, &old, &old), "");
    }
}
