//! What is to be run: the package or cycle as the archive knows it, and whether its fate is already sealed, because it
//! could not be archived or because a package it depends on has no built form.

use crate::config::Config;
use contract::archived::{Archived, Status};
use contract::installation::Installation;
use contract::run::{Blame, Cause, Outcome, Run};
use edge::{Failure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Largest manifest, result or installation document.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// Sorted: one package, or all of a cycle.
    pub packages: Vec<String>,
    pub checksum: BTreeMap<String, String>,
    pub source: BTreeMap<String, String>,
    /// Direct dependencies that apply here, sorted, without those inside the cycle.
    pub dependencies: Vec<String>,
    pub dependents: u64,
    pub author: Option<String>,
    pub catalog_id: String,
    /// Module path to the package of the archive that has it.
    pub modules: BTreeMap<String, String>,
    /// Modules that another package of the archive defines as well, with that package.
    pub conflicts: Vec<(String, String)>,
}

/// A verdict that needs no machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Foregone {
    pub outcome: Outcome,
    pub cause: Cause,
    pub blame: Blame,
}

/// The subject, with a foregone verdict when there is one.
pub fn find(config: &Config) -> Result<(Subject, Option<Foregone>)> {
    let path = config.archive.join("manifest.jsonl");
    let text =
        edge::read_input(&path, MAX_BYTES).map_err(|failure| failure.hint("pkg-archive makes an archive"))?;
    let manifest: Vec<Archived> = contract::read_lines(&text).map_err(|(line, error)| {
        Failure::data(format!("cannot read \"{}\" line {line}: {error}", path.display()))
    })?;
    let installed = match &config.installed {
        None => BTreeSet::new(),
        Some(path) => {
            let document: Installation = contract::read(&edge::read_input(path, MAX_BYTES)?)
                .map_err(|error| Failure::data(format!("cannot read \"{}\": {error}", path.display())))?;
            document.packages.into_iter().collect()
        }
    };
    let records = Records { config, manifest: index(manifest), installed };
    let named = &config.packages;
    let first = records.get(&named[0])?;
    let mut packages = if first.cycle.is_empty() { vec![first.package.clone()] } else { first.cycle.clone() };
    packages.sort();
    if let Some(other) = named.iter().find(|name| !packages.contains(name)) {
        records.get(other)?;
        return Err(Failure::usage(format!("\"{}\" and \"{other}\" are in no cycle together", named[0]))
            .hint("run them one after the other; packages.mk knows the order"));
    }
    let members: Vec<Archived> = packages.iter().map(|name| records.get(name)).collect::<Result<_>>()?;
    if let Some(there) = members.iter().find(|member| member.in_installation) {
        return Err(Failure::usage(format!(
            "package \"{}\" belongs to the installation: it is not built",
            there.package
        )));
    }
    let subject = subject(packages, &members, &records);
    let foregone = archive_failure(&subject, &members);
    let foregone = match foregone {
        None if !config.try_anyway => failed_dependency(&subject, &members, &records)?,
        other => other,
    };
    Ok((subject, foregone))
}

fn index(manifest: Vec<Archived>) -> BTreeMap<String, Archived> {
    manifest
        .into_iter()
        .filter(|record| record.status != Status::Removed)
        .map(|record| (record.package.clone(), record))
        .collect()
}

struct Records<'a> {
    config: &'a Config,
    manifest: BTreeMap<String, Archived>,
    installed: BTreeSet<String>,
}

impl Records<'_> {
    /// The record of a package: that of the manifest, or what is told of its failure.
    fn get(&self, name: &str) -> Result<Archived> {
        let failed = self.config.archive.join("failed").join(format!("{name}.json"));
        if failed.exists() {
            return contract::read(&edge::read_input(&failed, MAX_BYTES)?)
                .map_err(|error| Failure::data(format!("cannot read \"{}\": {error}", failed.display())));
        }
        self.manifest.get(name).cloned().ok_or_else(|| {
            let failure = Failure::unavailable(format!("package \"{name}\" is not in the archive"))
                .detail("archive", self.config.archive.display());
            match nearest(name, self.manifest.keys()) {
                Some(near) => failure.hint(format!("did you mean \"{near}\"?")),
                None => failure,
            }
        })
    }

    fn is_installed(&self, name: &str) -> bool {
        self.installed.contains(name) || self.manifest.get(name).is_some_and(|record| record.in_installation)
    }
}

fn subject(packages: Vec<String>, members: &[Archived], records: &Records) -> Subject {
    let map = |value: &dyn Fn(&Archived) -> Option<String>| {
        members.iter().filter_map(|member| Some((member.package.clone(), value(member)?))).collect()
    };
    let dependencies: BTreeSet<String> = members
        .iter()
        .flat_map(|member| &member.dependencies)
        .filter(|dependency| applies_here(dependency.platform.as_deref()))
        .map(|dependency| dependency.name.clone())
        .filter(|name| !packages.contains(name))
        .collect();
    let modules = records
        .manifest
        .values()
        .flat_map(|record| record.modules.iter().map(|module| (module.clone(), record.package.clone())))
        .collect();
    let own: BTreeSet<&String> = members.iter().flat_map(|member| &member.modules).collect();
    let conflicts: BTreeSet<(String, String)> = records
        .manifest
        .values()
        .filter(|record| !packages.contains(&record.package))
        .flat_map(|record| {
            record.modules.iter().filter(|m| own.contains(m)).map(|m| (m.clone(), record.package.clone()))
        })
        .collect();
    Subject {
        conflicts: conflicts.into_iter().collect(),
        checksum: map(&|member| member.zip_checksum.clone()),
        source: map(&|member| Some(member.source.clone())),
        dependencies: dependencies.into_iter().collect(),
        dependents: members.iter().map(|member| member.dependents).max().unwrap_or(0),
        author: members.iter().find_map(|member| member.author.clone()),
        catalog_id: members
            .iter()
            .map(|member| member.catalog_id.clone())
            .find(|id| !id.is_empty())
            .unwrap_or_default(),
        modules,
        packages,
    }
}

/// Only what certainly applies counts beforehand; the rest is left to the package manager in the machine.
fn applies_here(platform: Option<&str>) -> bool {
    matches!(platform, None | Some("unix"))
}

fn archive_failure(subject: &Subject, members: &[Archived]) -> Option<Foregone> {
    let failed = members.iter().find(|member| member.status == Status::Failed)?;
    let cause = failed.cause.and_then(|cause| serde_json::to_value(cause).ok());
    let code = match cause.as_ref().and_then(|value| value.as_str()) {
        Some("gone") => "source-gone".to_owned(),
        Some(other) => other.to_owned(),
        None => "archive-failed".to_owned(),
    };
    let message = failed.message.clone().unwrap_or_else(|| "its source could not be archived".to_owned());
    let own = subject.packages[0].clone();
    let is_own = failed.package == own || subject.packages.contains(&failed.package);
    let blame = Blame {
        package: failed.package.clone(),
        chain: vec![failed.package.clone()],
        code,
        file: None,
        line: None,
        message,
    };
    is_own.then_some(Foregone { outcome: Outcome::ArchiveFail, cause: Cause::Package, blame })
}

fn failed_dependency(subject: &Subject, members: &[Archived], records: &Records) -> Result<Option<Foregone>> {
    for name in &subject.dependencies {
        if records.is_installed(name)
            || !records.manifest.contains_key(name) && !has_failed_record(records, name)
        {
            continue;
        }
        let Some(run) = result_of(records.config, name)? else {
            let built = records.config.built.join("catalog/pkg").join(name);
            if built.exists() {
                continue;
            }
            let by = members
                .iter()
                .find(|member| member.dependencies.iter().any(|dependency| dependency.name == *name));
            return Err(Failure::unavailable(format!("package \"{name}\" has not been run yet"))
                .detail("needed by", by.map_or("", |member| &member.package))
                .hint("run it first, as packages.mk does; --try-anyway goes on without it"));
        };
        if run.built.is_empty() {
            return Ok(Some(by_dependency(&subject.packages[0], name, &run)));
        }
    }
    Ok(None)
}

fn has_failed_record(records: &Records, name: &str) -> bool {
    records.config.archive.join("failed").join(format!("{name}.json")).exists()
}

fn by_dependency(own: &str, dependency: &str, run: &Run) -> Foregone {
    let theirs = run.blame.clone().unwrap_or_default();
    let mut chain = vec![own.to_owned()];
    if theirs.chain.first().map(String::as_str) != Some(dependency) {
        chain.push(dependency.to_owned());
    }
    chain.extend(theirs.chain.iter().cloned());
    let package = chain.last().cloned().unwrap_or_default();
    let blame = Blame { package, chain, ..theirs };
    Foregone { outcome: Outcome::DependencyFail, cause: Cause::Dependency, blame }
}

/// The result of another package of this side.
fn result_of(config: &Config, name: &str) -> Result<Option<Run>> {
    let path = config.out.join("results").join(format!("{name}.json"));
    if !path.exists() {
        return Ok(None);
    }
    let text = edge::read_input(&path, MAX_BYTES)?;
    contract::read(&text)
        .map(Some)
        .map_err(|error| Failure::data(format!("cannot read \"{}\": {error}", path.display())))
}

/// The most similar name, when it is similar.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    names
        .map(|other| (distance(name, other), other))
        .filter(|(d, _)| *d <= 2 + name.len() / 6)
        .min()
        .map(|(_, n)| n)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
