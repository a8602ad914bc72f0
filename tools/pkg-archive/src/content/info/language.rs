//! Evaluates `info.rkt`. The language has definitions, quotation, `if`, and a dozen functions on lists, hashes and
//! strings: small enough to run here, without Racket and without trusting the file.
//!
//! Both written forms are read: `#lang info` (or `#lang setup/infotab`) followed by definitions, and
//! `(module info setup/infotab (#%module-begin …))`. What lies beyond (`collection-path`, the environment) poisons only
//! the definitions that need it.

use racket_data::{Hash, HashKind, Value};
use std::collections::BTreeMap;
use std::fmt;

/// The definitions of an `info.rkt`.
#[derive(Debug, Default)]
pub struct Info {
    definitions: BTreeMap<String, Result<Value, Beyond>>,
}

/// A definition that cannot be evaluated here, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond(pub String);

/// Why a file is no `info.rkt` at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadInfo {
    /// Not readable: message with line and column.
    Read(String),
    /// Another language.
    Language(String),
    /// `(define …)` expected.
    Definition(String),
    Twice(String),
}

impl fmt::Display for BadInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadInfo::Read(message) => f.write_str(message),
            BadInfo::Language(language) => write!(f, "written in {language}, not in #lang info"),
            BadInfo::Definition(form) => write!(f, "not a well-formed definition: {form}"),
            BadInfo::Twice(name) => write!(f, "duplicate definition of {name}"),
        }
    }
}

impl Info {
    /// The definitions as Racket evaluated them.
    pub fn evaluated(fields: Hash) -> Info {
        let field = |(key, value): (Value, Value)| Some((key.as_symbol()?.to_owned(), Ok(value)));
        Info { definitions: fields.items.into_iter().filter_map(field).collect() }
    }

    /// The value of a field; `Ok(None)` when it is not defined.
    pub fn get(&self, name: &str) -> Result<Option<&Value>, &Beyond> {
        self.definitions.get(name).map(Result::as_ref).transpose()
    }
}

/// Languages under which `info.rkt` may be written.
const LANGUAGES: [&str; 7] = [
    "info",
    "setup/infotab",
    r#"(lib "infotab.rkt" "setup")"#,
    r#"(lib "infotab.ss" "setup")"#,
    r#"(lib "setup/infotab.rkt")"#,
    r#"(lib "setup/infotab.ss")"#,
    r#"(lib "main.rkt" "info")"#,
];

/// Reads and evaluates the text of an `info.rkt`.
pub fn read(text: &[u8]) -> Result<Info, BadInfo> {
    let module = racket_data::read_module(text).map_err(|error| BadInfo::Read(error.to_string()))?;
    if !LANGUAGES.contains(&module.language.as_str()) {
        return Err(BadInfo::Language(module.language));
    }
    evaluate(&module.body)
}

fn evaluate(forms: &[Value]) -> Result<Info, BadInfo> {
    let mut machine = Machine { info: Info::default(), budget: BUDGET };
    for form in forms {
        let (name, value) = match form.as_list() {
            Some([define, Value::Symbol(name), value]) if define.as_symbol() == Some("define") => {
                (name, value)
            }
            _ => return Err(BadInfo::Definition(racket_data::write(form))),
        };
        let value = machine.value(value);
        if machine.info.definitions.insert(name.clone(), value).is_some() {
            return Err(BadInfo::Twice(name.clone()));
        }
    }
    Ok(machine.info)
}

/// Strings and items that one `info.rkt` may produce: far beyond any real one, far below what hurts.
const BUDGET: usize = 4 << 20;

struct Machine {
    info: Info,
    budget: usize,
}

type Evaluated = Result<Value, Beyond>;

fn beyond<T>(what: impl Into<String>) -> Result<T, Beyond> {
    Err(Beyond(what.into()))
}

impl Machine {
    fn value(&mut self, form: &Value) -> Evaluated {
        match form {
            Value::Symbol(name) => match self.info.definitions.get(name) {
                Some(Ok(value)) => {
                    let value = value.clone();
                    self.spend(size(&value))?;
                    Ok(value)
                }
                Some(Err(why)) => Err(why.clone()),
                None => beyond(format!("{name} is not defined before it is used")),
            },
            Value::List(items) => match items.split_first() {
                Some((Value::Symbol(head), arguments)) => self.call(head, arguments),
                _ => beyond(format!("no function: {}", racket_data::write(form))),
            },
            Value::Dotted(..) | Value::Keyword(_) => {
                beyond(format!("no expression: {}", racket_data::write(form)))
            }
            literal => Ok(literal.clone()),
        }
    }

    fn call(&mut self, head: &str, arguments: &[Value]) -> Evaluated {
        match (head, arguments) {
            (name, _) if self.info.definitions.contains_key(name) => beyond(format!("{name} is no function")),
            ("quote", [datum]) => Ok(datum.clone()),
            ("quasiquote", [template]) => self.template(template, 0),
            ("if", [test, then, otherwise]) => {
                let branch = if self.value(test)? == Value::Bool(false) { otherwise } else { then };
                self.value(branch)
            }
            ("quote" | "quasiquote" | "if", _) => beyond(format!("bad syntax: {head}")),
            _ => {
                let values = arguments.iter().map(|form| self.value(form)).collect::<Result<Vec<_>, _>>()?;
                let result = apply(head, values)?;
                self.spend(size(&result))?;
                Ok(result)
            }
        }
    }

    fn template(&mut self, template: &Value, depth: usize) -> Evaluated {
        let items = match template {
            Value::List(items) => items,
            Value::Dotted(items, tail) => {
                let front = self.template(&Value::List(items.clone()), depth)?;
                let tail = self.template(tail, depth)?;
                return append(front, tail);
            }
            Value::Vector(items) => {
                return match self.template(&Value::List(items.clone()), depth)? {
                    Value::List(items) => Ok(Value::Vector(items)),
                    _ => beyond("bad splicing"),
                };
            }
            atom => return Ok(atom.clone()),
        };
        let head = items.first().and_then(Value::as_symbol);
        match (head, items.as_slice()) {
            (Some("unquote"), [_, form]) if depth == 0 => return self.value(form),
            (Some(tag @ ("unquote" | "quasiquote")), [_, inner]) => {
                let depth = if tag == "unquote" { depth - 1 } else { depth + 1 };
                return Ok(Value::List(vec![Value::symbol(tag), self.template(inner, depth)?]));
            }
            _ => {}
        }
        // `(a . ,b)` is read as `(a unquote b)`
        if let [front @ .., Value::Symbol(tag), form] = items.as_slice()
            && tag == "unquote"
            && depth == 0
        {
            let front = self.template(&Value::List(front.to_vec()), depth)?;
            let tail = self.value(form)?;
            return append(front, tail);
        }
        let mut out = Vec::new();
        for item in items {
            match item.as_list() {
                Some([Value::Symbol(tag), form]) if tag == "unquote-splicing" && depth == 0 => {
                    match self.value(form)? {
                        Value::List(spliced) => out.extend(spliced),
                        _ => return beyond("spliced value is no list"),
                    }
                }
                _ => out.push(self.template(item, depth)?),
            }
        }
        Ok(Value::List(out))
    }

    fn spend(&mut self, cost: usize) -> Result<(), Beyond> {
        match self.budget.checked_sub(cost) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => beyond("it produces too much"),
        }
    }
}

/// Rough memory of a value, in items and bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len(),
        Value::Bytes(bytes) => 1 + bytes.len(),
        Value::List(items) | Value::Vector(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Dotted(items, tail) => 1 + size(tail) + items.iter().map(size).sum::<usize>(),
        Value::Hash(hash) => 1 + hash.items.iter().map(|(key, value)| size(key) + size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// The functions that the language provides.
fn apply(name: &str, arguments: Vec<Value>) -> Evaluated {
    let wrong = || beyond(format!("{name} is given the wrong arguments"));
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next();
    match name {
        "list" => Ok(Value::List(arguments.collect())),
        "cons" => match (next(), next(), next()) {
            (Some(first), Some(rest), None) => append(Value::List(vec![first]), rest),
            _ => wrong(),
        },
        "list*" => {
            let mut items: Vec<Value> = arguments.collect();
            match items.pop() {
                Some(tail) => append(Value::List(items), tail),
                None => wrong(),
            }
        }
        "append" => {
            let mut all: Vec<Value> = arguments.collect();
            let last = all.pop().unwrap_or(Value::List(Vec::new()));
            all.into_iter().rev().try_fold(last, |tail, front| match front {
                front @ Value::List(_) => append(front, tail),
                _ => wrong(),
            })
        }
        "car" => match (next(), next()) {
            (Some(Value::List(items) | Value::Dotted(items, _)), None) if !items.is_empty() => {
                Ok(items.into_iter().next().unwrap_or(Value::Bool(false)))
            }
            _ => wrong(),
        },
        "cdr" => match (next(), next()) {
            (Some(Value::List(mut items)), None) if !items.is_empty() => {
                items.remove(0);
                Ok(Value::List(items))
            }
            (Some(Value::Dotted(mut items, tail)), None) => {
                items.remove(0);
                append(Value::List(items), *tail)
            }
            _ => wrong(),
        },
        "reverse" => match (next(), next()) {
            (Some(Value::List(mut items)), None) => {
                items.reverse();
                Ok(Value::List(items))
            }
            _ => wrong(),
        },
        "equal?" => match (next(), next(), next()) {
            (Some(a), Some(b), None) => Ok(Value::Bool(a == b)),
            _ => wrong(),
        },
        "string-append" | "build-path" => {
            let mut parts = Vec::new();
            for argument in arguments {
                match argument {
                    Value::String(text) => parts.push(text),
                    // 'up and 'same in a path
                    Value::Symbol(text) if name == "build-path" && text == "up" => parts.push("..".into()),
                    Value::Symbol(text) if name == "build-path" && text == "same" => parts.push(".".into()),
                    _ => return wrong(),
                }
            }
            Ok(Value::String(parts.join(if name == "build-path" { "/" } else { "" })))
        }
        // paths are kept as their text here
        "path->string" => match (next(), next()) {
            (Some(text @ Value::String(_)), None) => Ok(text),
            _ => wrong(),
        },
        // only names that the user allows are looked up, and none are
        "getenv" => match (next(), next()) {
            (Some(Value::String(_)), None) => Ok(Value::Bool(false)),
            _ => wrong(),
        },
        "hash" => update_hash(Hash::new(HashKind::Equal), arguments).map_or_else(wrong, Ok),
        "hash-set" | "hash-set*" => match next() {
            Some(Value::Hash(hash)) => update_hash(hash, arguments).map_or_else(wrong, Ok),
            _ => wrong(),
        },
        "hash-remove" => match (next(), next(), next()) {
            (Some(Value::Hash(mut hash)), Some(key), None) => {
                hash.items.retain(|(known, _)| *known != key);
                Ok(Value::Hash(hash))
            }
            _ => wrong(),
        },
        "hash-clear" => match (next(), next()) {
            (Some(Value::Hash(hash)), None) => Ok(Value::Hash(Hash::new(hash.kind))),
            _ => wrong(),
        },
        "make-immutable-hash" => {
            let pairs = match (next(), next()) {
                (Some(Value::List(pairs)), None) => pairs,
                (None, None) => Vec::new(),
                _ => return wrong(),
            };
            let mut flat = Vec::new();
            for pair in pairs {
                match pair {
                    Value::List(mut items) if !items.is_empty() => {
                        flat.push(items.remove(0));
                        flat.push(Value::List(items));
                    }
                    Value::Dotted(mut items, tail) => {
                        flat.push(items.remove(0));
                        flat.push(append(Value::List(items), *tail)?);
                    }
                    _ => return wrong(),
                }
            }
            update_hash(Hash::new(HashKind::Equal), flat.into_iter()).map_or_else(wrong, Ok)
        }
        "collection-path" | "system-library-subpath" | "hash-update" => {
            beyond(format!("{name} needs a running Racket"))
        }
        _ => beyond(format!("{name} is not in the language")),
    }
}

fn update_hash(mut hash: Hash, mut arguments: impl Iterator<Item = Value>) -> Option<Value> {
    while let Some(key) = arguments.next() {
        let value = arguments.next()?;
        match hash.items.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => hash.items.push((key, value)),
        }
    }
    Some(Value::Hash(hash))
}

/// A list followed by anything: a longer list, or a pair chain.
fn append(front: Value, tail: Value) -> Evaluated {
    let Value::List(mut items) = front else { return beyond("not a list") };
    Ok(match tail {
        Value::List(rest) => {
            items.extend(rest);
            Value::List(items)
        }
        Value::Dotted(rest, end) => {
            items.extend(rest);
            Value::Dotted(items, end)
        }
        tail if items.is_empty() => tail,
        tail => Value::Dotted(items, Box::new(tail)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str, name: &str) -> String {
        match read(text.as_bytes()) {
            Err(bad) => format!("bad: {bad}"),
            Ok(info) => match info.get(name) {
                Ok(Some(value)) => racket_data::write(value),
                Ok(None) => "absent".into(),
                Err(Beyond(why)) => format!("beyond: {why}"),
            },
        }
    }
    fn lang(body: &str) -> String {
        format!("#lang info\n{body}")
    }

    #[test]
    fn both_forms() {
        let module = "(module info setup/infotab (#%module-begin (define version \"8.7\") (define deps (quasiquote \
                      (\"racket-lib\" (\"racket\" #:version (unquote version)))))))";
        assert_eq!(field(module, "deps"), r#"("racket-lib" ("racket" #:version "8.7"))"#);
        let bare = "(module info (lib \"infotab.ss\" \"setup\") (define name \"x\"))";
        assert_eq!(field(bare, "name"), "\"x\"");
        let lang = ";; a comment\n#| more |# #lang setup/infotab (define a '(1 2))\n";
        assert_eq!(field(lang, "a"), "(1 2)");
        assert_eq!(field("\u{feff}#lang info\n(define a 'b)", "a"), "b");
    }

    #[test]
    fn the_language() {
        for (form, value) in [
            ("(list 1 \"two\" 'three)", "(1 \"two\" three)"),
            ("(cons 1 (cons 2 '()))", "(1 2)"),
            ("(cons 1 2)", "(1 . 2)"),
            ("(list* 1 2 '(3))", "(1 2 3)"),
            ("(append '(1) '() '(2 3))", "(1 2 3)"),
            ("(car '(1 2))", "1"),
            ("(cdr '(1 2))", "(2)"),
            ("(cdr '(1 . 2))", "2"),
            ("(reverse '(1 2))", "(2 1)"),
            ("(if (equal? \"a\" \"a\") 1 2)", "1"),
            ("(if #f 1 2)", "2"),
            ("(string-append \"a\" \"b\")", "\"ab\""),
            ("(build-path \"a\" \"b\")", "\"a/b\""),
            ("(getenv \"HOME\")", "#f"),
            ("(make-immutable-hash '((a . 1) (b 2)))", "#hash((a . 1) (b . (2)))"),
            ("(hash-set (hash 'a 1) 'a 2)", "#hash((a . 2))"),
            ("(hash-remove (hash 'a 1) 'a)", "#hash()"),
            ("`(1 ,(list 2) ,@(list 3 4))", "(1 (2) 3 4)"),
            ("`(1 `(2 ,(3 ,(list 4))))", "(1 (quasiquote (2 (unquote (3 (4))))))"),
            ("`(1 . ,(list 2))", "(1 2)"),
            ("#rx\"^x\"", "#rx\"^x\""),
        ] {
            assert_eq!(field(&lang(&format!("(define x {form})")), "x"), value, "{form}");
        }
    }

    #[test]
    fn beyond_the_language_poisons_only_its_definition() {
        let text = lang("(define a (collection-path \"x\"))\n(define b a)\n(define deps '(\"base\"))");
        assert_eq!(field(&text, "deps"), "(\"base\")");
        assert!(field(&text, "b").contains("needs a running Racket"));
        assert!(field(&lang("(define a b)(define b 1)"), "a").contains("not defined before"));
        assert!(field(&lang("(define a (lambda (x) x))"), "a").contains("beyond"));
    }

    #[test]
    fn what_is_no_info_says_why() {
        assert!(field("#lang racket/base\n(define a 1)", "a").contains("written in racket/base"));
        assert!(field("(module m racket/base)", "a").contains("written in racket/base"));
        assert!(field("", "a").starts_with("bad: line 1"));
        assert!(field(&lang("(define a 1"), "a").starts_with("bad:"));
        assert!(field(&lang("(define-values (a) 1)"), "a").contains("not a well-formed definition"));
        assert!(field(&lang("(display 1)"), "a").contains("not a well-formed definition: (display 1)"));
        assert!(field(&lang("(define a 1)(define a 2)"), "a").contains("duplicate definition of a"));
    }

    #[test]
    fn a_doubling_definition_is_stopped() {
        let mut body = "(define a0 \"0123456789abcdef\")\n".to_owned();
        for level in 1..60 {
            body.push_str(&format!("(define a{level} (string-append a{0} a{0}))\n", level - 1));
        }
        assert!(field(&lang(&body), "a59").contains("too much"));
    }
}
