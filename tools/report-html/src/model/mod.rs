//! What became of each package, and why: pure, from facts to the report.

pub mod depend;
pub mod differences;
pub mod facts;
pub mod groups;
pub mod headline;
pub mod known;
pub mod listing;
pub mod normalise;
pub mod progress;
pub mod sum;
pub mod verdict;

use crate::model::depend::{Graph, changed};
use crate::model::facts::{PackageFacts, SideFacts, outcome_name};
use crate::model::verdict::{Around, judge, test_difference};
use contract::report::{Entry, FlakeRate, KnownFailure, Note, Past, Report, State, Verdict};
use contract::run::{Finding, Outcome};
use std::collections::{BTreeMap, BTreeSet};

/// What the report is made from, beside the sides.
#[derive(Debug, Default)]
pub struct Extra {
    pub title: String,
    pub confirm: u32,
    pub known: Vec<KnownFailure>,
    pub flake_rates: BTreeMap<String, FlakeRate>,
    /// Earlier verdicts, a package, oldest first.
    pub history: BTreeMap<String, Vec<Past>>,
}

/// Works out the report. Pure: the same facts give the same report.
pub fn report(mut new: SideFacts, mut old: Option<SideFacts>, extra: &Extra) -> (Report, Graph) {
    let (mut report, graph) = judge_all(&new, old.as_ref(), extra);
    // the states move into the entries: a side of 20,000 packages is held once
    for entry in &mut report.packages {
        entry.new = new.states.remove(&entry.package).map(|facts| facts.state);
        entry.old = old.as_mut().and_then(|old| old.states.remove(&entry.package)).map(|facts| facts.state);
    }
    // what is left of them is many small pieces, and nobody waits for those
    std::thread::spawn(move || drop((new, old)));
    conclude(&mut report, &graph, extra);
    (report, graph)
}

/// Everything that needs the facts: verdicts one by one, the sides, their differences.
fn judge_all(new: &SideFacts, old: Option<&SideFacts>, extra: &Extra) -> (Report, Graph) {
    let sides: Vec<&SideFacts> = old.into_iter().chain([new]).collect();
    let graph = Graph::of(&sides);
    let changed: BTreeSet<String> = old.map(|old| changed(old, new)).unwrap_or_default();
    let changed_numbers: Vec<usize> = changed.iter().filter_map(|name| graph.number(name)).collect();
    let touched = graph.touched(changed_numbers.iter().copied());
    let suspects = graph.reached_from(&changed_numbers);
    let reach: Vec<u64> = graph.names.iter().map(|name| dependents(name, new, old)).collect();

    let mut entries: Vec<Entry> = Vec::with_capacity(graph.names.len());
    for (n, name) in graph.names.iter().enumerate() {
        let (old_facts, new_facts) = (old.and_then(|old| old.states.get(name)), new.states.get(name));
        let around = Around {
            two_sides: old.is_some(),
            new_expected: expects(new, name),
            old_expected: old.is_some_and(|old| expects(old, name)),
            same_inputs: old.and_then(|old| same_inputs(old, new, old_facts?, new_facts?, touched[n])),
            same_source: old.is_some_and(|old| same_source(old, new, name)),
            flake: extra.flake_rates.get(name).copied().unwrap_or_default(),
            confirm: extra.confirm,
        };
        let (old_state, new_state) = (old_facts.map(|f| &f.state), new_facts.map(|f| &f.state));
        let judgement = judge(old_state, new_state, &around);
        let (tests_broken, tests_fixed) = test_difference(old_state, new_state);
        entries.push(Entry {
            package: name.clone(),
            verdict: judgement.verdict,
            trend: judgement.trend,
            reason: judgement.reason,
            changes: changes(old_state, new_state),
            old: None,
            new: None,
            changed: changed.contains(name),
            suspects: changed_numbers
                .iter()
                .take(64)
                .enumerate()
                .filter(|(bit, on)| suspects[n] >> bit & 1 == 1 && **on != n)
                .map(|(_, on)| graph.names[*on].clone())
                .collect(),
            dependents: reach[n],
            author: author(name, new, old),
            group: None,
            tests_broken,
            tests_fixed,
            known: None,
            flake: extra.flake_rates.get(name).copied(),
            history: extra.history.get(name).cloned().unwrap_or_default(),
        });
    }
    let newest =
        [Some(new), old].into_iter().flatten().map(|side| side.sum.side.last.as_str()).max().unwrap_or("");
    let report = Report {
        kind: "report".to_owned(),
        v: contract::V,
        title: if extra.title.is_empty() {
            title(&changed, |name| old.is_some_and(|old| expects(old, name)) && expects(new, name))
        } else {
            extra.title.clone()
        },
        progress: Some(progress::progress(new, old)),
        newest: newest.to_owned(),
        new: new.summary(),
        old: old.map(SideFacts::summary),
        differences: old.map(|old| differences::between(old, new, &changed)).unwrap_or_default(),
        changed: changed.into_iter().collect(),
        notes: unreadable(new, old),
        packages: entries,
        ..Report::default()
    };
    (report, graph)
}

/// Everything that follows from the verdicts of all packages together.
fn conclude(report: &mut Report, graph: &Graph, extra: &Extra) {
    follow_dependencies(&mut report.packages);
    report.notes.extend(known::apply(&mut report.packages, &extra.known, &report.newest));
    let (groups, of_package) = groups::groups(&report.packages, graph);
    for entry in &mut report.packages {
        entry.group = of_package.get(&entry.package).cloned();
    }
    for entry in &report.packages {
        match report.counts.get_mut(entry.verdict.name()) {
            Some(times) => *times += 1,
            None => drop(report.counts.insert(entry.verdict.name().to_owned(), 1)),
        }
    }
    report.running = report.counts.contains_key("pending");
    report.progress = report.progress.filter(|_| report.running);
    report.messages = groups::message_groups(&report.packages);
    report.groups = groups;
    report.headline = headline::headline(report);
    report.rest = headline::rest(report);
}

/// What the report is called when nobody says.
fn title(changed: &BTreeSet<String>, on_both: impl Fn(&str) -> bool) -> String {
    let mut edited = changed.iter().filter(|name| on_both(name));
    match edited.next() {
        Some(only) if edited.next().is_none() => format!("Downstream of {only}"),
        _ => "Downstream report".to_owned(),
    }
}

fn expects(side: &SideFacts, name: &str) -> bool {
    side.manifest.as_ref().and_then(|all| all.get(name)).is_some_and(|archive| !archive.in_installation)
}

/// `Some(true)` only where it is proved: both manifests are there and no dependency of it changed, both runs name the same
/// image, and the limits are the same.
fn same_inputs(
    old: &SideFacts,
    new: &SideFacts,
    old_facts: &PackageFacts,
    new_facts: &PackageFacts,
    touched: bool,
) -> Option<bool> {
    if touched {
        return Some(false);
    }
    if old.manifest.is_none() || new.manifest.is_none() {
        return None;
    }
    if old_facts.image_id.is_empty() || new_facts.image_id.is_empty() {
        return None;
    }
    let limits = |side: &SideFacts, facts: &PackageFacts| side.sum.side.limits.get(facts.limits?).cloned();
    let (old_limits, new_limits) = (limits(old, old_facts)?, limits(new, new_facts)?);
    Some(old_facts.image_id == new_facts.image_id && old_limits == new_limits)
}

fn same_source(old: &SideFacts, new: &SideFacts, name: &str) -> bool {
    let source =
        |side: &SideFacts| Some(side.manifest.as_ref()?.get(name)?.source.clone()).filter(|s| !s.is_empty());
    matches!((source(old), source(new)), (Some(old), Some(new)) if old == new)
}

fn dependents(name: &str, new: &SideFacts, old: Option<&SideFacts>) -> u64 {
    let of = |side: &SideFacts| {
        let archive =
            side.manifest.as_ref().and_then(|all| all.get(name)).map_or(0, |archive| archive.dependents);
        archive.max(side.states.get(name).map_or(0, |facts| facts.dependents))
    };
    of(new).max(old.map_or(0, of))
}

fn author(name: &str, new: &SideFacts, old: Option<&SideFacts>) -> Option<String> {
    [Some(new), old].into_iter().flatten().find_map(|side| {
        let run = side.states.get(name).and_then(|facts| facts.author.clone());
        run.or_else(|| side.manifest.as_ref()?.get(name)?.author.clone())
            .filter(|author| !author.trim().is_empty())
    })
}

/// A failure that only follows from a dependency is worth no more than the verdict on that dependency.
fn follow_dependencies(entries: &mut [Entry]) {
    let verdicts: BTreeMap<String, Verdict> =
        entries.iter().map(|entry| (entry.package.clone(), entry.verdict)).collect();
    for entry in entries {
        let side = match entry.verdict {
            Verdict::Regressed => &entry.new,
            Verdict::Fixed => &entry.old,
            _ => continue,
        };
        let Some(state) = side.as_ref().filter(|state| state.outcome == Outcome::DependencyFail) else {
            continue;
        };
        let Some(root) = state.chain.last().filter(|root| **root != entry.package) else { continue };
        let verdict = verdicts.get(root).copied();
        if let Some(verdict @ (Verdict::Indeterminate | Verdict::Flaky | Verdict::Pending)) = verdict {
            entry.reason = format!("stands or falls with {root}, which is {}", verdict.name());
            entry.verdict = verdict;
        }
    }
}

/// What differs beside the outcome.
fn changes(old: Option<&State>, new: Option<&State>) -> Vec<Finding> {
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    let mut changes = Vec::new();
    let mut add = |code: &str, message: String| changes.push(Finding { code: code.to_owned(), message });
    if new.outcome == Outcome::Pass && old.outcome == Outcome::Pass {
        if let (Some(was), Some(is)) = (&old.tests, &new.tests) {
            let count = |tests: &contract::run::Tests| (tests.passed + tests.failed).max(tests.files);
            if count(is) < count(was) {
                add("fewer-tests", format!("{} tests ran, {} before", count(is), count(was)));
            }
        }
        if new.wall_s > old.wall_s * 2.0 && new.wall_s - old.wall_s > 10.0 {
            add("slower", format!("took {:.0} s, {:.0} s before", new.wall_s, old.wall_s));
        }
        if let (Some(was), Some(is)) = (old.peak_memory_mb, new.peak_memory_mb)
            && is > was * 2.0
            && is - was > 256.0
        {
            add("more-memory", format!("needed {is:.0} MiB, {was:.0} MiB before"));
        }
    }
    for doc in old.docs.iter().filter(|doc| !new.docs.contains(doc)) {
        if new.outcome >= Outcome::TestFail {
            add("docs-lost", format!("documentation \"{doc}\" was rendered before"));
        }
    }
    for finding in
        new.findings.iter().filter(|finding| !old.findings.iter().any(|known| known.code == finding.code))
    {
        if old.outcome >= Outcome::TestFail && finding.code != "flaky" {
            add(
                "finding-gained",
                format!("{}: {}", finding.code, crate::model::facts::first_line(&finding.message)),
            );
        }
    }
    changes
}

fn unreadable(new: &SideFacts, old: Option<&SideFacts>) -> Vec<Note> {
    let sides = [Some(new), old].into_iter().flatten();
    sides
        .flat_map(|side| side.unreadable.iter().map(move |(file, why)| (side, file, why)))
        .map(|(side, file, why)| Note {
            code: "unreadable".to_owned(),
            message: format!(
                "cannot read {file} of the {} side: {}",
                side.label,
                crate::model::facts::first_line(why)
            ),
        })
        .collect()
}

/// Packages that the report calls regressed and nobody answers for.
pub fn regressed(report: &Report) -> impl Iterator<Item = &Entry> {
    report.packages.iter().filter(|entry| entry.verdict == Verdict::Regressed && entry.known.is_none())
}

/// The state on the new side in a word or two.
pub fn state_phrase(state: &State) -> String {
    match state.cause.filter(|cause| crate::model::verdict::is_soft(*cause)) {
        Some(cause) => {
            format!("{} ({})", outcome_name(state.outcome), crate::model::verdict::cause_phrase(cause))
        }
        None => outcome_name(state.outcome).to_owned(),
    }
}
