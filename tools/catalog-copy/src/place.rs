//! What a word of the command line names.

use edge::{Failure, Result};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where a catalog is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Http(String),
    Directory(PathBuf),
    Sqlite(PathBuf),
    /// `pkgs-all.json` of the public index, saved.
    Json(PathBuf),
    Stdin,
}

/// Where the catalog goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dest {
    Directory(PathBuf),
    Sqlite(PathBuf),
    Stdout,
}

impl Source {
    /// Nothing is looked at in the file system.
    pub fn parse(word: OsString) -> Result<Source> {
        if word == "-" {
            return Ok(Source::Stdin);
        }
        Ok(match scheme(&word) {
            Some(("http" | "https", text)) => Source::Http(text.to_owned()),
            Some(("file", text)) => Source::of_path(file_path(text)?),
            Some((scheme, text)) => return Err(unknown_scheme(scheme, text)),
            None => Source::of_path(PathBuf::from(word)),
        })
    }

    fn of_path(path: PathBuf) -> Source {
        match path.extension().and_then(OsStr::to_str) {
            Some("sqlite") => Source::Sqlite(path),
            Some("json") => Source::Json(path),
            _ => Source::Directory(path),
        }
    }
}

impl Dest {
    pub fn parse(word: OsString) -> Result<Dest> {
        if word == "-" {
            return Ok(Dest::Stdout);
        }
        let path = match scheme(&word) {
            Some(("http" | "https", text)) => {
                return Err(Failure::usage(format!(
                    "cannot copy to \"{text}\": it is no place in the file system"
                ))
                .hint("copy to a directory, then serve it with site-serve"));
            }
            Some(("file", text)) => file_path(text)?,
            Some((scheme, text)) => return Err(unknown_scheme(scheme, text)),
            None => PathBuf::from(word),
        };
        Ok(match path.extension().and_then(OsStr::to_str) {
            Some("sqlite") => Dest::Sqlite(path),
            Some("json") => {
                return Err(Failure::usage(format!("cannot write JSON to \"{}\"", path.display()))
                    .hint("write package lines to stdout: catalog-copy SOURCE - > FILE"));
            }
            _ => Dest::Directory(path),
        })
    }
}

/// The scheme in lower case, and the whole text, of what looks like a URL.
fn scheme(word: &OsStr) -> Option<(&'static str, &str)> {
    let text = word.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let known = ["http", "https", "file"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
    match known {
        Some(known) => Some((known, text)),
        None if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => Some(("", text)),
        None => None,
    }
}

fn unknown_scheme(_scheme: &str, text: &str) -> Failure {
    Failure::usage(format!("cannot read catalog \"{text}\": not a kind of URL that catalogs have"))
        .hint("http://, https:// and file:// are known; for a file of that name write ./ before it")
}

/// The path of a `file://` URL.
fn file_path(text: &str) -> Result<PathBuf> {
    let rest = &text["file://".len()..];
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(Failure::usage(format!("cannot use \"{text}\": a file URL needs an absolute path"))
            .hint("write it as file:///PATH"));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// The `file://` URL that relative sources of a catalog at this path are combined with: a directory gets a final slash.
pub fn base_url(path: &Path, is_directory: bool) -> String {
    let absolute =
        path.canonicalize().unwrap_or_else(|_| std::path::absolute(path).unwrap_or(path.to_owned()));
    let mut bytes = absolute.as_os_str().as_bytes().to_vec();
    if is_directory && bytes.last() != Some(&b'/') {
        bytes.push(b'/');
    }
    catalog::file_url(&String::from_utf8_lossy(&bytes))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Http(url) => f.write_str(url),
            Source::Directory(path) | Source::Sqlite(path) | Source::Json(path) => path.display().fmt(f),
            Source::Stdin => f.write_str("-"),
        }
    }
}

impl fmt::Display for Dest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dest::Directory(path) | Dest::Sqlite(path) => path.display().fmt(f),
            Dest::Stdout => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Option<Source> {
        Source::parse(OsString::from(text)).ok()
    }

    #[test]
    fn words_and_what_they_name() {
        assert_eq!(source("-"), Some(Source::Stdin));
        assert_eq!(source("https://h/"), Some(Source::Http("https://h/".into())));
        assert_eq!(source("HTTP://h"), Some(Source::Http("HTTP://h".into())));
        assert_eq!(source("a/b"), Some(Source::Directory("a/b".into())));
        assert_eq!(source("a.sqlite"), Some(Source::Sqlite("a.sqlite".into())));
        assert_eq!(source("file:///a%20b/c.sqlite"), Some(Source::Sqlite("/a b/c.sqlite".into())));
        assert_eq!(source("file:///a?x#y"), Some(Source::Directory("/a".into())));
        assert_eq!(source("pkgs-all.json"), Some(Source::Json("pkgs-all.json".into())));
        for bad in ["ftp://h/", "file://host/x", "file://rel"] {
            assert_eq!(source(bad), None, "{bad}");
        }
        assert!(Dest::parse("http://h/".into()).is_err());
        assert_eq!(Dest::parse("-".into()).ok(), Some(Dest::Stdout));
    }
}
