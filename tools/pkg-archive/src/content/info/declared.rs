//! What a package says about itself in its `info.rkt`.

use super::language::{self, Info};
use crate::content::tree::Tree;
use catalog::Dependency;
use racket_data::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collection {
    /// Every directory at the root is a collection.
    Multi,
    /// The whole package is one collection of this name.
    Single(String),
}

/// Has Racket evaluate the text of an `info.rkt`: its fields as a written hash, or the reason why there is no answer.
pub type AskRacket<'a> = &'a dyn Fn(&[u8]) -> Result<Vec<u8>, String>;

/// One dependency and whether it stands in `build-deps`.
pub type Declared = (Dependency, bool);

/// The fields that matter here. What could not be read is told in `remarks`.
#[derive(Debug)]
pub struct Declarations {
    pub collection: Collection,
    /// `deps`, then `build-deps`, in their order; `None` when `info.rkt` goes beyond the language that is read here.
    pub dependencies: Option<Vec<Declared>>,
    /// Racket evaluated it, because it goes beyond that language.
    pub from_racket: bool,
    /// Neither `deps` nor `build-deps` is there.
    pub silent: bool,
    pub implies: Vec<String>,
    pub version: Option<String>,
    pub remarks: Vec<Remark>,
}

/// Something wrong with a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    BadDependency {
        field: &'static str,
        element: String,
        why: String,
    },
    BadField {
        field: &'static str,
        value: String,
    },
    /// Needs a running Racket.
    Beyond {
        field: &'static str,
        why: String,
    },
}

/// Reads `info.rkt` (or `info.ss`) of a package. `Err` is a sentence: the file is there and is no `info.rkt`.
/// Where it needs a running Racket, `ask` is asked, if there is one.
pub fn declarations(package: &str, tree: &Tree, ask: Option<AskRacket>) -> Result<Declarations, String> {
    let found = ["info.rkt", "info.ss"].into_iter().find_map(|name| Some((name, tree.file(name)?)));
    let mut info = match found {
        None => Info::default(),
        Some((name, bytes)) => language::read(bytes).map_err(|bad| format!("cannot read {name}: {bad}"))?,
    };
    let mut remarks = Vec::new();
    let mut from_racket = false;
    let mut no_answer = String::new();
    if let (Some((_, bytes)), Some(ask)) = (found, ask)
        && ["collection", "deps", "build-deps", "implies", "version"]
            .iter()
            .any(|name| info.get(name).is_err())
    {
        match ask(bytes).and_then(|answer| evaluated(&answer)) {
            Ok(answer) => (info, from_racket) = (answer, true),
            Err(why) => no_answer = format!("; {why}"),
        }
    }
    let single = Collection::Single(package.to_owned());
    let collection = match info.get("collection") {
        Ok(None) => single,
        Ok(Some(Value::Symbol(symbol))) if symbol == "multi" => Collection::Multi,
        Ok(Some(Value::Symbol(symbol))) if symbol == "use-pkg-name" => single,
        Ok(Some(Value::String(name))) if !name.is_empty() && !name.contains('/') => {
            Collection::Single(name.clone())
        }
        Ok(Some(other)) => {
            remarks.push(Remark::BadField { field: "collection", value: racket_data::write(other) });
            // as Racket does: the definition is ignored and every directory is taken for a collection
            Collection::Multi
        }
        Err(beyond) => {
            remarks.push(Remark::Beyond { field: "collection", why: beyond.0.clone() });
            single
        }
    };
    let mut dependencies = Some(Vec::new());
    let mut silent = true;
    for (field, build) in [("deps", false), ("build-deps", true)] {
        match info.get(field) {
            Ok(None) => {}
            Ok(Some(Value::List(elements))) => {
                silent = false;
                for element in elements {
                    match (Dependency::parse(element), &mut dependencies) {
                        (Ok(dependency), Some(all)) => all.push((dependency, build)),
                        (Ok(_), None) => {}
                        (Err(bad), _) => remarks.push(Remark::BadDependency {
                            field,
                            element: racket_data::write(element),
                            why: bad.to_string(),
                        }),
                    }
                }
            }
            Ok(Some(other)) => {
                silent = false;
                remarks.push(Remark::BadField { field, value: racket_data::write(other) });
            }
            Err(beyond) => {
                silent = false;
                dependencies = None;
                remarks.push(Remark::Beyond { field, why: beyond.0.clone() });
            }
        }
    }
    let version = match info.get("version") {
        Ok(Some(Value::String(version))) => Some(version.clone()),
        _ => None,
    };
    let implies = implies(&info, &mut remarks);
    for remark in &mut remarks {
        if let Remark::Beyond { why, .. } = remark {
            why.push_str(&no_answer);
        }
    }
    Ok(Declarations { collection, dependencies, from_racket, silent, implies, version, remarks })
}

fn evaluated(answer: &[u8]) -> Result<Info, String> {
    match racket_data::read(answer) {
        Ok(Some(Value::Hash(fields))) => Ok(Info::evaluated(fields)),
        Ok(_) => Err("what racket printed is no hash".to_owned()),
        Err(error) => Err(format!("what racket printed cannot be read: {error}")),
    }
}

fn implies(info: &Info, remarks: &mut Vec<Remark>) -> Vec<String> {
    match info.get("implies") {
        Ok(None) => Vec::new(),
        Ok(Some(Value::List(items))) => {
            items.iter().filter_map(|item| item.as_str().or(item.as_symbol())).map(str::to_owned).collect()
        }
        Ok(Some(other)) => {
            remarks.push(Remark::BadField { field: "implies", value: racket_data::write(other) });
            Vec::new()
        }
        Err(beyond) => {
            remarks.push(Remark::Beyond { field: "implies", why: beyond.0.clone() });
            Vec::new()
        }
    }
}

/// Whether the `info.rkt` of a directory says that compiled modules without source are modules too.
pub fn assumes_virtual_sources(info: &[u8]) -> bool {
    language::read(info).is_ok_and(
        |info| matches!(info.get("assume-virtual-sources"), Ok(Some(value)) if *value != Value::Bool(false)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tree::TreePath;
    use std::sync::Arc;

    fn declared(info: &str) -> Result<Declarations, String> {
        let mut tree = Tree::default();
        let name = TreePath::parse(b"info.rkt").unwrap().unwrap();
        tree.add_file(name, Arc::new(info.as_bytes().to_vec()), false);
        declarations("p", &tree, None)
    }

    #[test]
    fn dependencies_keep_their_order_and_kind() {
        let seen = declared(
            "#lang info\n(define collection 'multi)\n(define deps '(\"b\" (\"a\" #:version \"1.0\")))\n\
             (define build-deps '(\"c\" 7))\n(define implies '(core))\n(define version \"2.1\")",
        )
        .unwrap();
        assert_eq!(seen.collection, Collection::Multi);
        let names: Vec<String> =
            seen.dependencies.unwrap().iter().map(|(d, build)| format!("{} {build}", d.name)).collect();
        assert_eq!(names, ["b false", "a false", "c true"]);
        assert_eq!(seen.implies, ["core"]);
        assert_eq!(seen.version.as_deref(), Some("2.1"));
        assert!(matches!(&seen.remarks[..], [Remark::BadDependency { field: "build-deps", .. }]));
    }

    #[test]
    fn no_info_is_a_package_too() {
        let seen = declarations("p", &Tree::default(), None).unwrap();
        assert_eq!(seen.collection, Collection::Single("p".into()));
        assert!(seen.silent);
    }

    #[test]
    fn beyond_the_language_leaves_the_dependencies_unknown() {
        let seen = declared("#lang info\n(define deps (collection-path \"x\"))").unwrap();
        assert_eq!(seen.dependencies, None);
        assert!(declared("#lang info\n(define deps '(").unwrap_err().contains("info.rkt"));
    }
}
