//! `info.rkt` in both of its forms, as data.

use crate::read::{Outcome, Reader, Trouble, fail};
use crate::{Limits, ReadError, Value};

/// A module file: `#lang info …` or `(module info setup/infotab …)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// `info`, `setup/infotab`, `racket/base`, … as written.
    pub language: String,
    /// Its forms; a `#%module-begin` around them is taken off.
    pub body: Vec<Value>,
}

/// Reads a module file whose body is in the plain syntax of `read` (as that of `info` is).
///
/// # Errors
/// Neither form, or not readable: with the position.
pub fn read_module(text: &[u8]) -> Result<Module, ReadError> {
    let mut reader = Reader::new(text, Limits::default());
    module(&mut reader).map_err(|error: Trouble| error.at(text))
}

fn module(reader: &mut Reader<'_>) -> Outcome<Module> {
    reader.check_size()?;
    reader.skip_atmosphere()?;
    let start = reader.at;
    let rest = &reader.text[start..];
    let lang = [b"#lang ".as_slice(), b"#!"].into_iter().find(|prefix| rest.starts_with(prefix));
    if let Some(prefix) = lang {
        reader.at += prefix.len();
        let language = String::from_utf8_lossy(reader.token()).into_owned();
        if language.is_empty() {
            return fail(start, "expected the name of a language after `#lang`");
        }
        let mut body = Vec::new();
        while let Some(form) = reader.datum_or_end()? {
            body.push(form);
        }
        return Ok(Module { language, body });
    }
    let not_a_module = "expected `#lang` or `(module NAME LANGUAGE …)`";
    let Some(Value::List(form)) = reader.datum_or_end()? else { return fail(start, not_a_module) };
    let mut form = form.into_iter();
    let (head, _name, language) = (form.next(), form.next(), form.next());
    let (Some(head), Some(language)) = (head, language) else { return fail(start, not_a_module) };
    if head.as_symbol() != Some("module") {
        return fail(start, not_a_module);
    }
    let body: Vec<Value> = form.collect();
    let body = match body.as_slice() {
        [Value::List(only)] if only.first().and_then(Value::as_symbol) == Some("#%module-begin") => {
            only[1..].to_vec()
        }
        _ => body,
    };
    let language = language.as_symbol().map_or_else(|| crate::write(&language), str::to_owned);
    Ok(Module { language, body })
}
