//! What an archived package is found to declare and define. Pure: a tree in, facts out.

use crate::content::info::declared::{self, AskRacket, Declared, Remark};
use crate::content::info::modules::modules;
use crate::content::tree::{Node, Tree, TreePath};
use crate::trouble::Trouble;
use catalog::Entry;
use contract::archived::{Cause, DependenciesFrom, Dependency, Finding};
use serde::{Deserialize, Serialize};

/// Everything that depends on the content of one package and on nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Facts {
    pub dependencies: Vec<Dependency>,
    pub dependencies_from: DependenciesFrom,
    pub modules: Vec<String>,
    pub implies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub findings: Vec<Finding>,
}

/// What was left out on the way from the source to the tree.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    pub submodules: Vec<TreePath>,
    pub dangling: Vec<TreePath>,
    /// The catalog promised no checksum and the server had none.
    pub unverified: bool,
}

/// Examines a package. `tree` is as an installer sees it, without a wrapper directory.
/// `ask` evaluates an `info.rkt` that goes beyond the language read here.
pub fn examine(
    package: &str,
    tree: &Tree,
    entry: &Entry,
    left_out: &LeftOut,
    ask: Option<AskRacket>,
) -> Result<Facts, Trouble> {
    let declared = declared::declarations(package, tree, ask)
        .map_err(|message| Trouble::new(Cause::BadInfo, message))?;
    let mut findings: Vec<Finding> = declared.remarks.iter().map(remark).collect();
    let modules = modules(tree, &declared.collection, declared::assumes_virtual_sources);
    let from_catalog: Vec<Declared> =
        entry.dependencies().filter_map(Result::ok).map(|dependency| (dependency, false)).collect();
    let (dependencies, dependencies_from) = match declared.dependencies {
        Some(own) => {
            findings.extend(difference(&own, &from_catalog, entry));
            let from = if declared.from_racket { DependenciesFrom::Racket } else { DependenciesFrom::Info };
            (own, from)
        }
        None => (from_catalog, DependenciesFrom::Catalog),
    };
    if declared.silent && !modules.is_empty() {
        findings.push(finding("no-dependencies", "info.rkt declares no dependencies, not even on \"base\""));
    }
    let names: Vec<&str> = dependencies.iter().map(|(dependency, _)| dependency.name.as_str()).collect();
    for implied in declared.implies.iter().filter(|implied| *implied != "core") {
        if !names.contains(&implied.as_str()) && dependencies_from != DependenciesFrom::Catalog {
            let message = format!("implies {implied:?}, which is no dependency");
            findings.push(finding("implies-no-dependency", message));
        }
    }
    if names.contains(&package) {
        findings.push(finding("depends-on-itself", "declares a dependency on itself"));
    }
    findings.extend(pointers(tree));
    for (code, what, paths) in [
        ("submodule", "git submodules that are not archived", &left_out.submodules),
        ("dangling-link", "symbolic links to nothing", &left_out.dangling),
    ] {
        if !paths.is_empty() {
            findings.push(finding(code, format!("{what}: {}", list(paths.iter().map(TreePath::as_str)))));
        }
    }
    if left_out.unverified {
        let message = "neither the catalog nor the server gives a checksum: taken as it came";
        findings.push(finding("unverified", message));
    }
    findings.sort();
    findings.dedup();
    Ok(Facts {
        dependencies: dependencies.iter().map(|(dependency, build)| record(dependency, *build)).collect(),
        dependencies_from,
        modules,
        implies: declared.implies,
        version: declared.version,
        findings,
    })
}

/// A catalog's dependency as the manifest says it.
pub fn record(dependency: &catalog::Dependency, build: bool) -> Dependency {
    Dependency {
        name: dependency.name.as_str().to_owned(),
        version: dependency.version.clone(),
        platform: dependency.platform.as_ref().map(racket_data::write),
        build,
    }
}

pub fn finding(code: &str, message: impl Into<String>) -> Finding {
    Finding { code: code.to_owned(), message: message.into() }
}

/// Code of the finding that something in `info.rkt` needs a running Racket.
pub const NOT_EVALUATED: &str = "not-evaluated";

fn remark(remark: &Remark) -> Finding {
    match remark {
        Remark::BadDependency { field, element, why } => finding(
            "bad-dependency",
            format!("element {element} of {field} in info.rkt is no dependency: {why}"),
        ),
        Remark::BadField { field, value } => {
            finding("bad-field", format!("{field} in info.rkt has a value it cannot have: {value}"))
        }
        Remark::Beyond { field, why } => finding(
            NOT_EVALUATED,
            format!("{field} in info.rkt cannot be evaluated without Racket: {why}; the catalog's is kept"),
        ),
    }
}

/// What the catalog says otherwise; nothing when it does not speak of dependencies at all.
fn difference(own: &[Declared], catalog: &[Declared], entry: &Entry) -> Option<Finding> {
    entry.hash().get("dependencies")?;
    let names = |all: &[Declared]| -> std::collections::BTreeSet<String> {
        all.iter().map(|(dependency, _)| dependency.name.as_str().to_owned()).collect()
    };
    let (own, catalog) = (names(own), names(catalog));
    let parts: Vec<String> =
        [("not in the catalog", &own - &catalog), ("only in the catalog", &catalog - &own)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", list(names.iter().map(String::as_str))))
            .collect();
    (!parts.is_empty()).then(|| {
        finding(
            "catalog-differs",
            format!("dependencies of info.rkt and of the catalog differ ({})", parts.join("; ")),
        )
    })
}

/// Files that only point at a large file elsewhere (git LFS).
fn pointers(tree: &Tree) -> Option<Finding> {
    let names: Vec<&str> = tree
        .iter()
        .filter_map(|(path, node)| match node {
            Node::File { data, .. } if data.len() < 1024 && data.starts_with(LFS_MARK) => Some(path.as_str()),
            _ => None,
        })
        .collect();
    (!names.is_empty()).then(|| {
        finding("lfs-pointer", format!("git LFS pointers instead of contents: {}", list(names.into_iter())))
    })
}

const LFS_MARK: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The first few names, and how many more there are.
pub fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
