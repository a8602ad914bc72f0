//! Reads `.plt` archives, the form before zip: base64 of gzip of `PLT`, two expressions, then tagged files. Nothing in
//! it is evaluated.

use super::tar::gunzip;
use super::unzip::{Unzipped, file_as_directory, tree_of};
use crate::content::links::{self, Item, Listing};
use crate::content::tree::TreePath;
use crate::trouble::{Limits, Trouble};
use racket_data::Value;
use std::sync::Arc;

/// What Racket adds where there is no `info.rkt`: such an archive never is a single collection.
const DEFAULT_INFO: &[u8] = b"#lang setup/infotab\n(define collection 'multi)\n";

pub fn read(plt: &[u8], limits: &Limits) -> Result<Unzipped, Trouble> {
    let packed = base64(plt).ok_or_else(|| bad("is no base64"))?;
    let bytes = gunzip(&packed, limits)?;
    let mut text = Text { rest: bytes.strip_prefix(b"PLT").ok_or_else(|| bad("is no .plt archive"))? };
    // what it is called and requires, and where its collections are: nothing that matters here
    text.datum()?;
    text.datum()?;
    let mut listing: Listing<Arc<Vec<u8>>> = Listing::new();
    let mut total = 0;
    while let Some(tag) = text.word() {
        let path = text.path()?;
        limits.check_entries(listing.len() + 1)?;
        match (tag, path) {
            (b"dir", None) => {}
            (b"dir", Some(path)) => drop(listing.insert(path, Item::Directory)),
            (b"file" | b"file-replace", Some(path)) => {
                let data = text.file()?;
                total += data.len() as u64;
                limits.check_size(total, plt.len() as u64)?;
                listing.insert(path, Item::File { content: Arc::new(data.to_vec()), executable: false });
            }
            _ => return Err(bad("has something that is neither file nor directory")),
        }
    }
    let info = TreePath::below(None, "info.rkt");
    listing
        .entry(info)
        .or_insert_with(|| Item::File { content: Arc::new(DEFAULT_INFO.to_vec()), executable: false });
    if let Some(clash) = file_as_directory(&listing) {
        return Err(bad(&format!("has {clash:?} both as a file and as a directory")));
    }
    links::complete(&mut listing);
    tree_of(listing, limits, false)
}

struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
    fn take(&mut self, length: usize) -> Result<&'a [u8], Trouble> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| bad("is cut short"))?;
        self.rest = rest;
        Ok(taken)
    }
    /// A bare word; `None` at the end.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let length = self.rest.iter().position(|byte| byte.is_ascii_whitespace() || b"()*".contains(byte));
        let (word, rest) = self.rest.split_at(length.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!word.is_empty() || !rest.is_empty()).then_some(word)
    }
    /// A parenthesised expression, as text.
    fn datum(&mut self) -> Result<&'a [u8], Trouble> {
        self.skip_space();
        let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
        for (at, byte) in self.rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'(' => depth += 1,
                b')' if depth <= 1 => return self.take(at + 1),
                b')' => depth -= 1,
                _ if depth == 0 => break,
                _ => {}
            }
        }
        Err(bad("has a broken expression"))
    }
    /// A list of names from the root; the first one, `collects`, stands for the root itself.
    fn path(&mut self) -> Result<Option<TreePath>, Trouble> {
        let Ok(Some(Value::List(parts))) = racket_data::read(self.datum()?) else {
            return Err(bad("has a name that is no list"));
        };
        let mut names = Vec::new();
        for part in &parts {
            match part {
                Value::String(name) if !name.contains('/') => names.push(name.as_str()),
                Value::Symbol(name) if name == "same" => {}
                _ => {
                    return Err(bad(&format!(
                        "has a name that is not allowed: {}",
                        racket_data::write(part)
                    )));
                }
            }
        }
        if names.first() == Some(&"collects") {
            names.remove(0);
        }
        if names.is_empty() {
            return Ok(None);
        }
        TreePath::parse(names.join("/").as_bytes()).map_err(|error| bad(&format!("has an {error}")))
    }
    /// A size, a star, and that many bytes.
    fn file(&mut self) -> Result<&'a [u8], Trouble> {
        let size = self.word().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        self.skip_space();
        match (size, self.take(1)?) {
            (Some(size), b"*") => self.take(size),
            _ => Err(bad("has a file without a size")),
        }
    }
}

/// Decodes; white space does not count, and what follows the padding is ignored.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}

fn bad(what: &str) -> Trouble {
    Trouble::bad_archive(format!("the archive {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_any_length() {
        assert_eq!(base64(b"").unwrap(), b"");
        assert_eq!(base64(b"Zg==").unwrap(), b"f");
        assert_eq!(base64(b"Zm9v\nYmE=\n").unwrap(), b"fooba");
        assert_eq!(base64(b"Zm9vYmFy").unwrap(), b"foobar");
        assert_eq!(base64(b"Zm9v?"), None);
    }

    #[test]
    fn entries() {
        let mut text = Text {
            rest: b" (\"a)\" (x \"\\\"\")) file (\"collects\" \"a\" same \"b\") 3 \n*123dir (\"collects\")",
        };
        assert_eq!(text.datum().unwrap(), b"(\"a)\" (x \"\\\"\"))");
        assert_eq!(text.word().unwrap(), b"file");
        assert_eq!(text.path().unwrap().unwrap().as_str(), "a/b");
        assert_eq!(text.file().unwrap(), b"123");
        assert_eq!(text.word().unwrap(), b"dir");
        assert_eq!(text.path().unwrap(), None);
        assert_eq!(text.word(), None);
        for bad in ["(\"..\" \"x\")", "(up \"x\")", "(\"/etc\" \"x\")", "(1)", "x", "(\"a\""] {
            assert!(Text { rest: bad.as_bytes() }.path().is_err(), "{bad}");
        }
    }
}
