//! From the outcome of every package to the archive's documents: who depends on whom, who is in a cycle, what is wrong
//! between packages. Pure.

use crate::archive::state::Kept;
use crate::content::facts::{Facts, finding, list, record};
use crate::plan::Task;
use crate::plan::make_rules::{Group, Member, USUAL_DURATION_S};
use crate::trouble::Trouble;
use catalog::{Catalog, Graph, Platform, Version};
use contract::archived::{Archived, DependenciesFrom, Dependency, Status};
use std::collections::{BTreeMap, BTreeSet};

/// What is known at the end of a run about one package of the selection.
#[derive(Debug)]
pub enum Known<'a> {
    Archived { kept: &'a Kept, touched: bool },
    Failed(&'a Trouble),
    Installed,
}

pub struct World<'a> {
    pub catalog: &'a Catalog,
    pub installed: &'a BTreeSet<String>,
    pub platform: Option<&'a Platform>,
    pub catalog_id: &'a str,
}

/// The records, by name, and the graph of what is to be built.
pub fn records(world: &World, packages: &[(&Task, Known)]) -> (Vec<Archived>, Graph) {
    let under_base = under_base(world, packages);
    let graph = Graph::new(packages.iter().filter_map(|(task, known)| match known {
        Known::Installed => None,
        // nothing is built of it, so it waits for nothing
        Known::Failed(_) => Some((task.name.clone(), Vec::new())),
        Known::Archived { kept, .. } => {
            let mut needed = needed(&kept.facts, world);
            needed.retain(|name| name != "racket" || !under_base.contains(task.name.as_str()));
            Some((task.name.clone(), needed))
        }
    }));
    let dependents = dependents(&graph);
    let mut cycles: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for cycle in graph.cycles().into_iter().filter(|cycle| cycle.len() > 1) {
        let names: Vec<String> = cycle.iter().map(|package| graph.name(*package).to_owned()).collect();
        cycles.extend(cycle.into_iter().map(|package| (package, names.clone())));
    }
    let between = Between::new(world, packages);
    let mut records: Vec<Archived> = packages
        .iter()
        .map(|(task, known)| {
            let mut record = blank(task, world.catalog_id);
            match known {
                Known::Installed => {
                    record.status = Status::Unchanged;
                    record.in_installation = true;
                    (record.dependencies, record.dependencies_from) = catalog_dependencies(task);
                }
                Known::Failed(trouble) => {
                    record.status = Status::Failed;
                    record.cause = Some(trouble.cause);
                    record.message = Some(trouble.message.clone());
                    (record.dependencies, record.dependencies_from) = catalog_dependencies(task);
                }
                Known::Archived { kept, touched } => {
                    record.status = if *touched { Status::Archived } else { Status::Unchanged };
                    record.checksum.clone_from(&kept.resolved);
                    record.zip_checksum = Some(kept.zip.sha1.clone());
                    record.zip_bytes = Some(kept.zip.bytes);
                    record.dependencies.clone_from(&kept.facts.dependencies);
                    record.dependencies_from = kept.facts.dependencies_from;
                    record.modules.clone_from(&kept.facts.modules);
                    record.implies.clone_from(&kept.facts.implies);
                    record.version.clone_from(&kept.facts.version);
                    record.findings = between.findings(&task.name, &kept.facts);
                }
            }
            if let Some(package) = graph.find(&task.name) {
                record.dependents = dependents[package];
                record.cycle = cycles.get(&package).cloned().unwrap_or_default();
            }
            record
        })
        .collect();
    records.sort_by(|a, b| a.package.cmp(&b.package));
    (records, graph)
}

/// A package that left the selection.
pub fn removed(package: &str, catalog_id: &str) -> Archived {
    Archived {
        kind: "archived".to_owned(),
        v: contract::V,
        package: package.to_owned(),
        status: Status::Removed,
        catalog_id: catalog_id.to_owned(),
        ..Archived::default()
    }
}

fn blank(task: &Task, catalog_id: &str) -> Archived {
    Archived {
        kind: "archived".to_owned(),
        v: contract::V,
        package: task.name.clone(),
        source: task.source_text.clone(),
        checksum: task.checksum.clone(),
        author: task.entry.author().filter(|author| !author.is_empty()).map(str::to_owned),
        ring: task.entry.ring(),
        catalog_id: catalog_id.to_owned(),
        ..Archived::default()
    }
}

fn catalog_dependencies(task: &Task) -> (Vec<Dependency>, DependenciesFrom) {
    let dependencies = task.entry.dependencies().filter_map(Result::ok);
    (dependencies.map(|dependency| record(&dependency, false)).collect(), DependenciesFrom::Catalog)
}

/// Names of the packages that must be built first, on the platform that counts.
fn needed(facts: &Facts, world: &World) -> Vec<String> {
    facts
        .dependencies
        .iter()
        .filter(|dependency| applies(dependency, world.platform))
        .map(|dependency| dependency.name.clone())
        .filter(|name| !world.installed.contains(name))
        .collect()
}

/// `base` and everything it needs. A dependency on `racket`, which is one on the core of the language, is taken for one
/// on `base`; among these packages that would make a cycle out of nothing.
fn under_base<'a>(world: &World, packages: &'a [(&Task, Known)]) -> BTreeSet<&'a str> {
    let needs: BTreeMap<&str, (&'a str, Vec<String>)> = packages
        .iter()
        .filter_map(|(task, known)| match known {
            Known::Archived { kept, .. } => {
                Some((task.name.as_str(), (task.name.as_str(), needed(&kept.facts, world))))
            }
            _ => None,
        })
        .collect();
    let mut found = BTreeSet::new();
    let mut todo = vec!["base".to_owned()];
    while let Some(name) = todo.pop() {
        if let Some((name, more)) = needs.get(name.as_str())
            && found.insert(*name)
        {
            todo.extend(more.iter().cloned());
        }
    }
    found
}

/// True when the dependency counts on the platform (always, when that is not known).
pub fn applies(dependency: &Dependency, platform: Option<&Platform>) -> bool {
    let (Some(platform), Some(written)) = (platform, &dependency.platform) else { return true };
    racket_data::read(written.as_bytes()).ok().flatten().is_none_or(|spec| platform.matches(&spec))
}

/// How many packages depend on each, directly or not.
fn dependents(graph: &Graph) -> Vec<u64> {
    let words = graph.len().div_ceil(64);
    let mut above: Vec<Vec<u64>> = vec![Vec::new(); graph.len()];
    // groups come after what they need, so in reverse every dependent is complete before it is added to its needs
    for group in graph.groups().into_iter().rev() {
        let mut all = vec![0u64; words];
        for &package in &group {
            all[package / 64] |= 1 << (package % 64);
            for &dependent in graph.next(package, catalog::Direction::Dependents) {
                all[dependent / 64] |= 1 << (dependent % 64);
                for (word, more) in all.iter_mut().zip(&above[dependent]) {
                    *word |= more;
                }
            }
        }
        for &package in &group {
            above[package].clone_from(&all);
        }
    }
    let mut counts = vec![0; graph.len()];
    for (package, all) in above.iter().enumerate() {
        let count: u32 = all.iter().map(|word| word.count_ones()).sum();
        // not itself
        counts[package] = u64::from(count.saturating_sub(1));
    }
    counts
}

/// What is wrong between packages.
struct Between<'a> {
    world: &'a World<'a>,
    selected: BTreeSet<&'a str>,
    versions: BTreeMap<&'a str, &'a str>,
    /// Per package: the packages it shares modules with, and the modules.
    conflicts: BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a str>>>,
}

impl<'a> Between<'a> {
    fn new(world: &'a World<'a>, packages: &'a [(&'a Task, Known<'a>)]) -> Between<'a> {
        let mut definers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut versions = BTreeMap::new();
        for (task, known) in packages {
            let modules: Vec<&str> = match known {
                Known::Archived { kept, .. } => {
                    versions.insert(task.name.as_str(), kept.facts.version.as_deref().unwrap_or("0.0"));
                    kept.facts.modules.iter().map(String::as_str).collect()
                }
                Known::Installed => task.entry.modules(),
                Known::Failed(_) => Vec::new(),
            };
            for module in modules {
                definers.entry(module).or_default().push(&task.name);
            }
        }
        let mut conflicts: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for (module, packages) in definers.iter().filter(|(_, packages)| packages.len() > 1) {
            for one in packages {
                for other in packages.iter().filter(|other| *other != one) {
                    conflicts.entry(one).or_default().entry(other).or_default().push(module);
                }
            }
        }
        let selected = packages.iter().map(|(task, _)| task.name.as_str()).collect();
        Between { world, selected, versions, conflicts }
    }

    fn findings(&self, package: &str, facts: &Facts) -> Vec<contract::archived::Finding> {
        let mut findings = facts.findings.clone();
        for dependency in &facts.dependencies {
            let name = dependency.name.as_str();
            if name == "racket" || self.world.installed.contains(name) {
                continue;
            }
            if !self.selected.contains(name) {
                // one that is for another platform, or may be, is not missed here
                let elsewhere = match self.world.platform {
                    Some(_) => !applies(dependency, self.world.platform),
                    None => dependency.platform.is_some(),
                };
                if elsewhere {
                    continue;
                }
                findings.push(match self.world.catalog.contains_key(name) {
                    true => finding(
                        "dependency-not-archived",
                        format!("depends on \"{name}\", which is in the catalog but not in this archive"),
                    ),
                    false => finding(
                        "dependency-not-in-catalog",
                        format!("depends on \"{name}\", which is in no catalog"),
                    ),
                });
                continue;
            }
            let wanted = dependency.version.as_deref().and_then(Version::parse);
            let there = self.versions.get(name).and_then(|version| Version::parse(version));
            if let (Some(wanted), Some(there)) = (wanted, there)
                && there < wanted
            {
                findings.push(finding(
                    "dependency-too-old",
                    format!("needs \"{name}\" of version {wanted} or later, and version {there} is here"),
                ));
            }
        }
        for (other, modules) in self.conflicts.get(package).into_iter().flatten() {
            let message =
                format!("defines modules that \"{other}\" defines too: {}", list(modules.iter().copied()));
            findings.push(finding("module-conflict", message));
        }
        findings.sort();
        findings.dedup();
        findings
    }
}

/// What `packages.mk` is made of, in an order in which every group comes after those it needs.
pub fn groups(records: &[Archived], graph: &Graph, durations_s: &BTreeMap<String, f64>) -> Vec<Group> {
    let failed: BTreeSet<&str> = records
        .iter()
        .filter(|record| record.status == Status::Failed)
        .map(|record| record.package.as_str())
        .collect();
    let usual = match durations_s.len() {
        0 => USUAL_DURATION_S,
        count => durations_s.values().sum::<f64>() / count as f64,
    };
    graph
        .groups()
        .into_iter()
        .map(|group| {
            let mut needs: BTreeSet<&str> = BTreeSet::new();
            for &package in &group {
                for &need in graph.next(package, catalog::Direction::Dependencies) {
                    if !group.contains(&need) {
                        needs.insert(graph.name(need));
                    }
                }
            }
            let names: Vec<&str> = group.iter().map(|package| graph.name(*package)).collect();
            // a cycle is built in one go, and each of its packages tells the time of all
            let duration_s =
                names.iter().filter_map(|name| durations_s.get(*name)).copied().fold(f64::NAN, f64::max);
            Group {
                packages: names
                    .iter()
                    .map(|name| Member { name: (*name).to_owned(), archived: !failed.contains(name) })
                    .collect(),
                needs: needs.into_iter().map(str::to_owned).collect(),
                duration_s: if duration_s.is_nan() { usual } else { duration_s },
            }
        })
        .collect()
}
