//! What is to be done for each package, decided from the catalog and from what is remembered. Pure.

pub mod conclude;
pub mod durations;
pub mod make_rules;

use crate::archive::state::Kept;
use crate::archive::store::Zip;
use crate::args::{Config, Mode};
use crate::content::checksum::sha1_hex;
use crate::sources::git::Want;
use crate::trouble::Trouble;
use catalog::{Catalog, Entry, Kind, Name, Platform, Source, near_names};
use edge::{Failure, Result};
use racket_data::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One package to archive.
#[derive(Clone, Debug)]
pub struct Task {
    pub name: String,
    /// As a client of the chosen version sees it.
    pub entry: Entry,
    pub source_text: String,
    pub source: std::result::Result<Source, Trouble>,
    pub checksum: String,
    /// Hash of what in the entry decides about facts.
    pub entry_key: String,
}

impl Task {
    /// An entry whose source is another package's name is archived from where that package is.
    pub fn new(name: &Name, entry: &Entry, catalog: &Catalog) -> Task {
        let source_text = entry.source().unwrap_or("").to_owned();
        let mut checksum = entry.checksum().unwrap_or("");
        let mut source = parse_source(entry);
        for _ in 0..NAMES_MAX {
            let Ok(Source { kind: Kind::Name(other), .. }) = &source else { break };
            let Some(target) = catalog.get(other.as_str()) else {
                source = Err(Trouble::gone(format!(
                    "its source is the package \"{other}\", which is in no catalog"
                )));
                break;
            };
            if checksum.is_empty() {
                checksum = target.checksum().unwrap_or("");
            }
            source = parse_source(target);
        }
        if let Ok(Source { kind: Kind::Name(other), .. }) = &source {
            source = Err(Trouble::bad_source(format!(
                "its source is the name of a package, \"{other}\", without end"
            )));
        }
        let key = entry.hash().get("dependencies").map(racket_data::write).unwrap_or_default();
        Task {
            name: name.as_str().to_owned(),
            entry: entry.clone(),
            source_text,
            source,
            checksum: checksum.to_ascii_lowercase(),
            entry_key: sha1_hex(key.as_bytes()),
        }
    }

    /// Where it is in git; `None` for other kinds.
    pub fn want(&self) -> Option<(String, Want)> {
        let source = self.source.as_ref().ok()?;
        let url = source.git_url()?;
        let commit = (!self.checksum.is_empty()).then(|| self.checksum.clone());
        Some((url, Want { commit, reference: source.reference().map(str::to_owned) }))
    }
}

/// Names that stand for names in a row.
const NAMES_MAX: usize = 10;

fn parse_source(entry: &Entry) -> std::result::Result<Source, Trouble> {
    match entry.source() {
        None => Err(Trouble::bad_source("the catalog entry has no source")),
        Some(text) => Source::parse(text).map_err(|bad| Trouble::bad_source(bad.to_string())),
    }
}

/// What has to be done to know that a package is archived as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Nothing: the catalog says that it is what was archived.
    Unchanged,
    /// Look at a directory or file on this machine.
    Look,
    /// Ask a server whether it is still the same.
    Ask,
    /// Get it.
    Fetch,
}

/// Decides by the catalog's word alone; `zip` is what is on disk of what is remembered.
pub fn step(task: &Task, kept: Option<&Kept>, zip: &Zip, mode: Mode) -> Step {
    let same = kept.is_some_and(|kept| {
        *zip != Zip::Lost && kept.source == task.source_text && kept.checksum == task.checksum
    });
    let promised = !task.checksum.is_empty();
    match task.source.as_ref().map(|source| &source.kind) {
        Err(_) | Ok(Kind::Name(_)) => Step::Fetch,
        Ok(Kind::Dir { .. }) if same && kept.is_some_and(|kept| kept.mode == mode) => Step::Look,
        Ok(Kind::Dir { .. } | Kind::DirUrl { .. }) => Step::Fetch,
        Ok(_) if same && promised => Step::Unchanged,
        Ok(Kind::File { .. }) => Step::Look,
        Ok(Kind::FileUrl { .. } | Kind::Git { .. } | Kind::GitHub { .. }) if same => Step::Ask,
        Ok(_) => Step::Fetch,
    }
}

/// The packages to archive, before dependencies are known from what was archived. `installed` are left out.
pub fn select(
    catalog: &Catalog,
    config: &Config,
    installed: &BTreeSet<String>,
    platform: Option<&Platform>,
) -> Result<BTreeSet<String>> {
    let has = |name: &str| catalog.contains_key(name);
    let Some(include) = &config.include else {
        return Ok(catalog
            .keys()
            .map(|name| name.as_str().to_owned())
            .filter(|name| !skipped(name, config))
            .collect());
    };
    let unknown: Vec<&String> =
        include.iter().filter(|name| !has(name) && !installed.contains(*name)).collect();
    if let Some(first) = unknown.first() {
        let mut failure =
            Failure::data(format!("cannot include \"{first}\": no such package in the catalog"));
        if unknown.len() > 1 {
            failure = failure
                .detail("also", unknown[1..].iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "));
        }
        let near = near_names(first, catalog.keys().map(Name::as_str));
        if !near.is_empty() {
            failure = failure.hint(format!("did you mean {}?", near.join(", ")));
        }
        return Err(failure);
    }
    let mut selected = BTreeSet::new();
    let mut todo: Vec<String> = include.iter().cloned().collect();
    while let Some(name) = todo.pop() {
        if skipped(&name, config) || selected.contains(&name) {
            continue;
        }
        let Some(entry) = catalog.get(name.as_str()) else { continue };
        // what the installation carries has its dependencies there too
        if config.include_deps && !installed.contains(&name) {
            todo.extend(entry.dependency_names(platform));
        }
        selected.insert(name);
    }
    Ok(selected)
}

/// Excluded, or the name of the language itself, which is never a package to build.
pub fn skipped(name: &str, config: &Config) -> bool {
    name == "racket" || config.exclude.contains(name)
}

/// Repositories with the tasks (by index) that are served from each, in the order of their first task.
pub fn repositories(tasks: &[Task], indices: &[usize]) -> Vec<(String, Vec<usize>)> {
    let mut order: Vec<(String, Vec<usize>)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for &index in indices {
        let Some((url, _)) = tasks[index].want() else { continue };
        let repository = tasks[index].source.as_ref().ok().and_then(Source::repository);
        // the same repository by two transports is asked once, by the first
        let key = repository.map_or_else(|| url.clone(), |repository| repository.to_string());
        let at = *known.entry(key).or_insert_with(|| {
            order.push((url, Vec::new()));
            order.len() - 1
        });
        order[at].1.push(index);
    }
    order
}

/// The entry as it stands in the archive's own catalog.
pub fn archived_entry(task: &Task, kept: &Kept, source: &str) -> Entry {
    let mut entry = task.entry.clone();
    entry.drop_versions();
    let hash = entry.hash_mut();
    hash.set("name", Value::string(&task.name));
    hash.set("source", Value::string(source));
    hash.set("checksum", Value::string(&kept.zip.sha1));
    for key in ["author", "description"] {
        if hash.get(key).is_none() {
            hash.set(key, Value::string(""));
        }
    }
    if hash.get("tags").is_none() {
        hash.set("tags", Value::List(Vec::new()));
    }
    if kept.facts.dependencies_from != contract::archived::DependenciesFrom::Catalog {
        let dependencies = kept.facts.dependencies.iter().filter_map(dependency_value).collect();
        hash.set("dependencies", Value::List(dependencies));
    }
    let modules = kept.facts.modules.iter();
    let modules = modules.map(|path| Value::List(vec![Value::symbol("lib"), Value::string(path)])).collect();
    hash.set("modules", Value::List(modules));
    entry
}

fn dependency_value(dependency: &contract::archived::Dependency) -> Option<Value> {
    let platform = match &dependency.platform {
        None => None,
        Some(written) => Some(racket_data::read(written.as_bytes()).ok()??),
    };
    let name = Name::new(dependency.name.as_str()).ok()?;
    let dependency =
        catalog::Dependency { name, source: None, version: dependency.version.clone(), platform };
    Some(dependency.to_value())
}
