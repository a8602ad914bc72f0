use crate::model::facts::SideFacts;
use std::collections::{BTreeMap, BTreeSet};

/// Who depends on whom, over both sides together, by number.
#[derive(Debug, Default)]
pub struct Graph {
    pub names: Vec<String>,
    numbers: BTreeMap<String, usize>,
    /// Direct dependencies that are packages of the run, sorted.
    pub dependencies: Vec<Vec<usize>>,
    /// Packages that depend directly on it, sorted.
    pub dependents: Vec<Vec<usize>>,
}

impl Graph {
    pub fn of(sides: &[&SideFacts]) -> Graph {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for side in sides {
            names.extend(side.expected());
        }
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let numbers: BTreeMap<String, usize> =
            names.iter().cloned().enumerate().map(|(n, name)| (name, n)).collect();
        let mut dependencies: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        for side in sides {
            let runs = side.states.iter().map(|(name, facts)| (name, &facts.dependencies));
            let archive = side.manifest.iter().flatten().map(|(name, archive)| (name, &archive.dependencies));
            for (name, on) in runs.chain(archive) {
                if let Some(n) = numbers.get(name) {
                    dependencies[*n]
                        .extend(on.iter().filter_map(|name| numbers.get(name)).filter(|on| *on != n));
                }
            }
        }
        let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        for (n, on) in dependencies.iter_mut().enumerate() {
            on.sort_unstable();
            on.dedup();
            for on in on.iter() {
                dependents[*on].push(n);
            }
        }
        Graph { names, numbers, dependencies, dependents }
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// For each package which of `roots` (at most 64; bit i is root i) it is or depends on, directly or not.
    pub fn reached_from(&self, roots: &[usize]) -> Vec<u64> {
        let mut masks = vec![0u64; self.names.len()];
        let mut work: Vec<usize> = Vec::new();
        for (bit, root) in roots.iter().take(64).enumerate() {
            masks[*root] |= 1 << bit;
            work.push(*root);
        }
        while let Some(n) = work.pop() {
            for dependent in &self.dependents[n] {
                if masks[*dependent] | masks[n] != masks[*dependent] {
                    masks[*dependent] |= masks[n];
                    work.push(*dependent);
                }
            }
        }
        masks
    }

    /// Packages that are one of `roots` or depend on one, directly or not.
    pub fn touched(&self, roots: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let mut touched = vec![false; self.names.len()];
        let mut work: Vec<usize> = roots.into_iter().collect();
        while let Some(n) = work.pop() {
            if !std::mem::replace(&mut touched[n], true) {
                work.extend(&self.dependents[n]);
            }
        }
        touched
    }
}

/// Packages whose archived content differs between the sides, or that only one side has. `None` where that cannot be known.
pub fn changed(old: &SideFacts, new: &SideFacts) -> BTreeSet<String> {
    let names: BTreeSet<&str> = old.expected().chain(new.expected()).collect();
    names.into_iter().filter(|name| differs(old, new, name)).map(str::to_owned).collect()
}

fn differs(old: &SideFacts, new: &SideFacts, name: &str) -> bool {
    fn archive<'a>(side: &'a SideFacts, name: &str) -> Option<Option<(&'a str, bool, bool)>> {
        let archive = side.manifest.as_ref()?.get(name);
        Some(archive.map(|a| (a.content.as_str(), a.failed.is_some(), a.in_installation)))
    }
    if let (Some(old), Some(new)) = (archive(old, name), archive(new, name)) {
        return old != new;
    }
    fn checksum<'a>(side: &'a SideFacts, name: &str) -> Option<&'a str> {
        side.states.get(name).map(|facts| facts.checksum.as_str())
    }
    match (checksum(old, name), checksum(new, name)) {
        (Some(old), Some(new)) => !old.is_empty() && !new.is_empty() && old != new,
        _ => false,
    }
}
