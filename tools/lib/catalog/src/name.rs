use std::borrow::Borrow;
use std::fmt;

/// A package name: `^[-_a-zA-Z0-9]+$`, and so safe as a file name and in a URL.
///
/// Keys of a catalog are untrusted text (`"../../evil"` is one that a server may send); whoever makes a path of one
/// goes through this type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A text that is no package name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(pub String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no package name (letters, digits, \"-\" and \"_\" only)", self.0)
    }
}

impl std::error::Error for BadName {}

impl Name {
    pub fn new(text: impl Into<Box<str>>) -> Result<Name, BadName> {
        let text = text.into();
        if Name::is_valid(&text) { Ok(Name(text)) } else { Err(BadName(text.into())) }
    }
    pub fn is_valid(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Same order as the text, so that a map of names can be asked with a `&str`.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_digits_dash_and_underscore() {
        for good in ["a", "2d", "x-y_Z9", "-", "racket-i386-macosx-2"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../../evil", "a/b", "a b", "a.b", "é", "a\n", "a\0"] {
            assert_eq!(Name::new(bad), Err(BadName(bad.to_owned())));
        }
    }
}
