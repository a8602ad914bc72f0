//! Which modules a package defines, so that two packages with the same module are known before anything is built.

use super::declared::Collection;
use crate::content::tree::{Node, Tree, TreePath};
use std::collections::{BTreeMap, BTreeSet};

/// Collection paths of the modules, `a/b.rkt`, sorted. As Racket counts them: files `.rkt`, `.ss` (named `.rkt`) and
/// `.scrbl` but no `info.rkt`; of a multi-collection package none at its root; compiled modules without source only
/// below a directory whose `info.rkt` says `assume-virtual-sources`, which `virtual_sources` decides.
pub fn modules(tree: &Tree, collection: &Collection, virtual_sources: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut assumed: BTreeMap<TreePath, bool> = BTreeMap::new();
    for (path, node) in tree.iter() {
        if matches!(node, Node::Directory) {
            let above = path.parent().is_some_and(|parent| assumed.get(&parent) == Some(&true));
            let here = above
                || tree
                    .file(&format!("{path}/info.rkt"))
                    .or_else(|| tree.file(&format!("{path}/info.ss")))
                    .is_some_and(&virtual_sources);
            assumed.insert(path.clone(), here);
            continue;
        }
        let parent = path.parent();
        if parent.is_none() && *collection == Collection::Multi {
            continue;
        }
        let name = path.file_name();
        if matches!(name, "info.rkt" | "info.ss") {
            continue;
        }
        let module = if let Some(stem) = name.strip_suffix(".ss") {
            sibling(path, &format!("{stem}.rkt"))
        } else if name.ends_with(".rkt") || name.ends_with(".scrbl") {
            path.as_str().to_owned()
        } else if let (true, Some(source)) =
            (parent.as_ref().is_some_and(|parent| assumed.get(parent) == Some(&true)), compiled_source(path))
        {
            source
        } else {
            continue;
        };
        if module.split('/').all(is_collection_element) {
            found.insert(match collection {
                Collection::Multi => module,
                Collection::Single(name) => format!("{name}/{module}"),
            });
        }
    }
    found.into_iter().collect()
}

/// The module whose compiled form `a/compiled/b_rkt.zo` is; none at the root of a package.
fn compiled_source(zo: &TreePath) -> Option<String> {
    let stem = zo.file_name().strip_suffix(".zo")?;
    let stem = ["_rkt", "_ss", "_scrbl"].iter().find_map(|suffix| stem.strip_suffix(suffix))?;
    let compiled = zo.parent()?;
    let directory = compiled.parent()?;
    (compiled.file_name() == "compiled" && stem != "info").then(|| format!("{directory}/{stem}.rkt"))
}

fn sibling(path: &TreePath, name: &str) -> String {
    match path.parent() {
        Some(parent) => format!("{parent}/{name}"),
        None => name.to_owned(),
    }
}

/// What may stand between slashes in `(lib "…")`: letters, digits, `-_+.`, and other characters as `%` with two lower-case
/// hexadecimal digits.
fn is_collection_element(element: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte);
    let mut pieces = element.split('%');
    let first = pieces.next().unwrap_or("");
    !matches!(element, "" | "." | "..")
        && first.bytes().all(plain)
        && pieces.all(|piece| {
            let hex = piece.as_bytes().get(..2);
            hex.is_some_and(|hex| hex.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
                && piece[2..].bytes().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for name in names {
            tree.add_file(TreePath::parse(name.as_bytes()).unwrap().unwrap(), Arc::new(vec![]), false);
        }
        tree
    }

    #[test]
    fn single_and_multi() {
        let tree = tree(&[
            "info.rkt",
            "main.rkt",
            "a/b.ss",
            "a/c.scrbl",
            "a/info.rkt",
            "a/d.txt",
            "x y/z.rkt",
            "%3a1/%zz.rkt",
            "%3a1.rkt",
        ]);
        let single = modules(&tree, &Collection::Single("p".into()), |_| false);
        assert_eq!(single, ["p/%3a1.rkt", "p/a/b.rkt", "p/a/c.scrbl", "p/main.rkt"]);
        assert_eq!(modules(&tree, &Collection::Multi, |_| false), ["a/b.rkt", "a/c.scrbl"]);
    }

    #[test]
    fn compiled_modules_count_where_virtual_sources_are_assumed() {
        let tree = tree(&["a/info.rkt", "a/compiled/b_rkt.zo", "c/compiled/d_rkt.zo"]);
        assert_eq!(modules(&tree, &Collection::Multi, |_| true), ["a/b.rkt"]);
        assert!(modules(&tree, &Collection::Multi, |_| false).is_empty());
    }
}
