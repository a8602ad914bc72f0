use crate::model::depend::Graph;
use crate::model::normalise::{is_specific, normalise};
use contract::report::{Entry, Group, MessageGroup, Verdict};
use contract::run::{Cause, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// The package that a failure comes down to: the end of the chain of blame, followed through failures that only follow from
/// others. A cycle is known by its first package.
pub fn root_of<'a>(name: &'a str, entries: &'a BTreeMap<&str, &Entry>) -> &'a str {
    let mut name = name;
    let mut seen = BTreeSet::new();
    while seen.insert(name) {
        let Some(state) = entries.get(name).and_then(|entry| entry.new.as_ref()) else { return name };
        if state.outcome == Outcome::DependencyFail {
            match state.chain.last().filter(|last| *last != name) {
                Some(last) => name = last,
                None => return name,
            }
        } else {
            return match state.cycle.first() {
                Some(first) if state.outcome != Outcome::Pass => first,
                _ => name,
            };
        }
    }
    name
}

/// What is put together by its first cause: regressions, and on a report of one side all failures.
pub fn is_grouped(entry: &Entry) -> bool {
    matches!(entry.verdict, Verdict::Regressed | Verdict::Failing)
}

/// Regressions by first cause: packages whose failure comes down to the same root are together, and so are roots that say the
/// same. Every such package is in exactly one group.
pub fn groups(entries: &[Entry], graph: &Graph) -> (Vec<Group>, BTreeMap<String, String>) {
    let by_name: BTreeMap<&str, &Entry> =
        entries.iter().map(|entry| (entry.package.as_str(), entry)).collect();
    let mut by_root: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_grouped(entry)) {
        by_root.entry(root_of(&entry.package, &by_name)).or_default().push(entry);
    }
    // roots that say the same, by code and normalised message; one that says nothing stands for itself
    let mut by_message: BTreeMap<(String, String, String), Vec<&str>> = BTreeMap::new();
    for root in by_root.keys() {
        let state = by_name.get(root).and_then(|entry| entry.new.as_ref());
        let message = state.map(|state| normalise(&state.message, root)).unwrap_or_default();
        let code = state.map(|state| state.code.clone()).unwrap_or_default();
        // limits and signals say the same of whatever they end
        let own = state.is_some_and(|state| state.cause == Some(Cause::Package) && state.signal.is_none());
        let apart =
            if own && code != "limit" && is_specific(&message) { String::new() } else { (*root).to_owned() };
        let key = (code, message, apart);
        by_message.entry(key).or_default().push(root);
    }
    let dependents = |name: &str| by_name.get(name).map_or(0, |entry| entry.dependents);
    let mut groups: Vec<Group> = by_message
        .into_iter()
        .map(|((code, message, _), mut roots)| {
            roots.sort_by(|a, b| {
                let changed = |name: &str| by_name.get(name).is_some_and(|entry| entry.changed);
                (changed(b), dependents(b)).cmp(&(changed(a), dependents(a))).then(a.cmp(b))
            });
            let mut group = Group { code, message, example: roots[0].to_owned(), ..Group::default() };
            let state = by_name.get(roots[0]).and_then(|entry| entry.new.as_ref());
            group.title = state
                .map(|state| state.message.clone())
                .filter(|message| !message.is_empty())
                .unwrap_or_else(|| format!("{} has no built form", roots[0]));
            group.size = roots.iter().map(|root| by_root[root].len() as u64).sum();
            let touched = graph.touched(roots.iter().filter_map(|root| graph.number(root)));
            group.dependents = touched.iter().filter(|touched| **touched).count() as u64;
            group.dependents = group.dependents.saturating_sub(roots.len() as u64);
            group.changed = roots.iter().any(|root| by_name.get(root).is_some_and(|entry| entry.changed));
            group.suspects = common_suspects(&roots, &by_name);
            for root in &roots {
                for entry in &by_root[root] {
                    // the other packages of a cycle fail themselves
                    let own = entry.package == *root
                        || entry.new.as_ref().is_some_and(|state| state.outcome != Outcome::DependencyFail);
                    if own && entry.package != *root {
                        group.roots.push(entry.package.clone());
                    } else if !own {
                        let chain = entry.new.as_ref().map(|state| state.chain.clone()).unwrap_or_default();
                        group.fallen.push(if chain.len() > 1 {
                            chain
                        } else {
                            vec![entry.package.clone(), (*root).to_owned()]
                        });
                    }
                }
            }
            let mut own: Vec<String> = roots.iter().map(|root| (*root).to_owned()).collect();
            own.append(&mut group.roots);
            group.roots = own;
            group.fallen.sort();
            group
        })
        .collect();
    groups.sort_by(|a, b| {
        (b.changed, b.dependents, b.size)
            .cmp(&(a.changed, a.dependents, a.size))
            .then(a.example.cmp(&b.example))
    });
    let mut of_package = BTreeMap::new();
    for (at, group) in groups.iter_mut().enumerate() {
        group.id = format!("g{}", at + 1);
        for name in group.roots.iter().chain(group.fallen.iter().filter_map(|chain| chain.first())) {
            of_package.insert(name.clone(), group.id.clone());
        }
    }
    (groups, of_package)
}

fn common_suspects(roots: &[&str], by_name: &BTreeMap<&str, &Entry>) -> Vec<String> {
    let of = |root: &str| -> BTreeSet<String> {
        by_name.get(root).map(|entry| entry.suspects.iter().cloned().collect()).unwrap_or_default()
    };
    let mut common = of(roots[0]);
    for root in &roots[1..] {
        let other = of(root);
        common.retain(|name| other.contains(name));
    }
    common.into_iter().collect()
}

/// All failures of the new side by what they say, most frequent first. Those that follow from a dependency say nothing new.
pub fn message_groups(entries: &[Entry]) -> Vec<MessageGroup> {
    let mut by_message: BTreeMap<(String, String), MessageGroup> = BTreeMap::new();
    for entry in entries {
        let Some(state) = &entry.new else { continue };
        if matches!(state.outcome, Outcome::Pass | Outcome::DependencyFail) {
            continue;
        }
        let message = normalise(&state.message, &entry.package);
        let group = by_message.entry((state.code.clone(), message.clone())).or_default();
        if group.packages.is_empty() {
            group.message = message;
            group.code.clone_from(&state.code);
            group.example.clone_from(&state.message);
        }
        group.packages.push(entry.package.clone());
    }
    let mut groups: Vec<MessageGroup> = by_message.into_values().collect();
    groups.sort_by(|a, b| b.packages.len().cmp(&a.packages.len()).then(a.packages.cmp(&b.packages)));
    groups
}
