//! The text of the files of a directory catalog: `pkgs-all` (name to entry), `pkgs` (list of names), `pkg/NAME` (one
//! entry). As Racket writes them: sorted where Racket sorts, no final newline. Of each file only the first datum counts.

use crate::{BadName, Catalog, Entry, Name};
use racket_data::{HashStream, ReadError, StreamError, Value};
use std::fmt;

/// Why a file is not what its place in a catalog says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryError {
    Read(ReadError),
    /// Nothing in it, or another kind of value: what was expected.
    Expected(&'static str),
    /// A key or list item that is no package name.
    Name(BadName),
    /// The value of this package is no hash.
    Entry(Name),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Read(error) => error.fmt(f),
            DirectoryError::Expected(what) => write!(f, "expected {what}"),
            DirectoryError::Name(bad) => bad.fmt(f),
            DirectoryError::Entry(name) => write!(f, "entry of \"{name}\" is no hash"),
        }
    }
}

impl std::error::Error for DirectoryError {}

impl From<StreamError> for DirectoryError {
    fn from(error: StreamError) -> DirectoryError {
        match error {
            StreamError::Read(error) => DirectoryError::Read(error),
            // reading from memory does not fail
            StreamError::Io(_) => DirectoryError::Expected("readable text"),
        }
    }
}

/// Name and entry of an item of `pkgs-all`.
pub fn check_item(key: Value, value: Value) -> Result<(Name, Entry), DirectoryError> {
    let Value::String(key) = key else {
        return Err(DirectoryError::Expected("a hash from strings to entries"));
    };
    let name = Name::new(key).map_err(DirectoryError::Name)?;
    match Entry::from_value(value) {
        Some(entry) => Ok((name, entry)),
        None => Err(DirectoryError::Entry(name)),
    }
}

/// Reads `pkgs-all`.
pub fn read_pkgs_all(text: &[u8]) -> Result<Catalog, DirectoryError> {
    let mut catalog = Catalog::new();
    for item in HashStream::new(text) {
        let item = item?;
        let (name, entry) = check_item(item.key, item.value)?;
        catalog.insert(name, entry);
    }
    Ok(catalog)
}

/// Reads `pkg/NAME`.
pub fn read_entry(text: &[u8]) -> Result<Entry, DirectoryError> {
    let value = racket_data::read(text).map_err(DirectoryError::Read)?;
    value.and_then(Entry::from_value).ok_or(DirectoryError::Expected("a hash"))
}

/// Reads `pkgs`.
pub fn read_names(text: &[u8]) -> Result<Vec<Name>, DirectoryError> {
    let expected = DirectoryError::Expected("a list of package names");
    let Some(Value::List(items)) = racket_data::read(text).map_err(DirectoryError::Read)? else {
        return Err(expected);
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(name) => Name::new(name).map_err(DirectoryError::Name),
            _ => Err(expected.clone()),
        })
        .collect()
}

/// Writes `pkgs-all`.
pub fn write_pkgs_all<'c>(catalog: impl IntoIterator<Item = (&'c Name, &'c Entry)>) -> String {
    let mut text = String::from("#hash(");
    for (at, (name, entry)) in catalog.into_iter().enumerate() {
        text.push_str(if at > 0 { " (" } else { "(" });
        racket_data::write_str(&mut text, name.as_str());
        text.push_str(" . ");
        write_entry_into(&mut text, entry);
        text.push(')');
    }
    text.push(')');
    text
}

/// Writes `pkg/NAME`.
pub fn write_entry(entry: &Entry) -> String {
    let mut text = String::new();
    write_entry_into(&mut text, entry);
    text
}

/// [`write_entry`] at the end of a string.
pub fn write_entry_into(text: &mut String, entry: &Entry) {
    racket_data::write_into(text, entry.value());
}

/// Writes `pkgs`.
pub fn write_names<'c>(names: impl IntoIterator<Item = &'c Name>) -> String {
    let mut text = String::from("(");
    for (at, name) in names.into_iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        racket_data::write_str(&mut text, name.as_str());
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = br#"#hash(("a" . #hash((source . "a.zip") (versions . #hash((default . #hasheq()))))) ("b-c" . #hasheq()))"#;
        let catalog = read_pkgs_all(text).unwrap();
        assert_eq!(write_pkgs_all(&catalog).as_bytes(), text);
        let names = write_names(catalog.keys());
        assert_eq!(names, r#"("a" "b-c")"#);
        assert_eq!(read_names(names.as_bytes()).unwrap().len(), 2);
        let entry = &catalog["a"];
        assert_eq!(read_entry(write_entry(entry).as_bytes()).as_ref(), Ok(entry));
    }

    #[test]
    fn wrong_files() {
        let name = |text: &[u8]| read_pkgs_all(text).unwrap_err().to_string();
        assert!(name(br#"#hash(("../../evil" . #hash()))"#).starts_with("\"../../evil\" is no package name"));
        assert_eq!(name(br#"#hash(("a" . 1))"#), "entry of \"a\" is no hash");
        assert_eq!(name(br#"#hash((a . #hash()))"#), "expected a hash from strings to entries");
        assert!(name(b"(").contains("expected a hash"));
        assert_eq!(read_entry(b"").unwrap_err().to_string(), "expected a hash");
        assert_eq!(read_names(b"(a)").unwrap_err().to_string(), "expected a list of package names");
        assert!(matches!(read_names(b"(\"a\""), Err(DirectoryError::Read(_))));
    }
}
