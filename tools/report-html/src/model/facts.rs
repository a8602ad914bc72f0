use crate::input::log::clean_line;
use crate::model::sum::Sum;
use contract::report::{Side, State};
use contract::run::{Cause, Finding, Observed, Outcome, PhaseStatus, Run};
use std::collections::{BTreeMap, BTreeSet};

/// Everything the model needs to know of one side. Kept small: a side may have 20,000 packages.
#[derive(Debug, Default)]
pub struct SideFacts {
    pub label: String,
    pub states: BTreeMap<String, PackageFacts>,
    /// The manifest of its archive and its failures; `None` when there is no archive beside the results.
    pub manifest: Option<BTreeMap<String, Archive>>,
    /// Result files that could not be read: path relative to the side, and why.
    pub unreadable: Vec<(String, String)>,
    /// What is summed up over the runs of the side.
    pub sum: Sum,
}

/// A package as one side's `run` document tells it.
#[derive(Debug)]
pub struct PackageFacts {
    pub state: State,
    /// Whole text; what it differs by does not matter, only that it differs.
    pub checksum: String,
    pub dependencies: Vec<String>,
    pub dependents: u64,
    pub author: Option<String>,
    /// Index in the side's limits; none when nothing ran, or nothing was limited.
    pub limits: Option<usize>,
    pub image_id: String,
}

/// A package as one side's archive tells it.
#[derive(Debug, Default)]
pub struct Archive {
    /// What makes it this content: checksum of the zip, or of the source.
    pub content: String,
    pub source: String,
    pub dependencies: Vec<String>,
    pub dependents: u64,
    pub author: Option<String>,
    pub in_installation: bool,
    /// Why there is no zip: stable name and sentence.
    pub failed: Option<(String, String)>,
    pub findings: Vec<Finding>,
}

impl PackageFacts {
    /// Boils a run down to what is known of `package`, one of its packages.
    pub fn of(run: &Run, package: &str, sum: &mut Sum) -> PackageFacts {
        let limits = sum.add(run, run.packages.first().is_none_or(|first| first == package));
        let text = |map: &BTreeMap<String, String>| map.get(package).cloned().unwrap_or_default();
        PackageFacts {
            checksum: text(&run.checksum),
            dependencies: run.dependencies.clone(),
            dependents: run.dependents,
            author: run.author.clone(),
            limits,
            image_id: run.image_id.clone(),
            state: state(run, package),
        }
    }
}

fn state(run: &Run, package: &str) -> State {
    let failed =
        run.phases.iter().rev().find(|p| p.status == PhaseStatus::Fail && run.outcome != Outcome::Pass);
    let blame = run.blame.as_ref().filter(|_| run.outcome != Outcome::Pass);
    let chain = match blame {
        None => Vec::new(),
        Some(blame) if !blame.chain.is_empty() => blame.chain.clone(),
        Some(blame) if blame.package.is_empty() || blame.package == package => vec![package.to_owned()],
        Some(blame) => vec![package.to_owned(), blame.package.clone()],
    };
    let mut observed: Vec<Observed> = run.observed.iter().filter(|seen| seen.times > 0).cloned().collect();
    if observed.is_empty() {
        observed.push(Observed { outcome: run.outcome, cause: run.cause, times: 1 });
    }
    let peak = run
        .phases
        .iter()
        .filter_map(|phase| phase.peak_memory_mb)
        .fold(None, |max: Option<f64>, mb| Some(max.map_or(mb, |max| max.max(mb))));
    State {
        outcome: run.outcome,
        cause: run.cause.filter(|_| run.outcome != Outcome::Pass),
        code: blame.map(|blame| blame.code.clone()).unwrap_or_default(),
        message: blame.map(|blame| first_line(&blame.message)).unwrap_or_default(),
        file: blame.and_then(|blame| blame.file.as_deref().map(clean_line)),
        line: blame.and_then(|blame| blame.line),
        chain,
        cycle: if run.packages.len() > 1 { run.packages.clone() } else { Vec::new() },
        phase: failed.map(|phase| phase.phase.clone()),
        signal: failed.and_then(|phase| phase.signal),
        tests: run.phases.iter().rev().find_map(|phase| phase.tests.clone()),
        findings: run.findings.clone(),
        docs: run.docs.iter().filter(|doc| doc.status == "main").map(|doc| doc.name.clone()).collect(),
        wall_s: run.wall_s,
        peak_memory_mb: peak,
        observed,
    }
}

/// The first line that says something, clean and not too long.
pub fn first_line(message: &str) -> String {
    let line = message.lines().map(clean_line).find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = line.trim();
    match line.char_indices().nth(400) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// A package that could not be archived and has no run document of its own.
pub fn archive_failure(package: &str, code: &str, message: &str) -> State {
    State {
        outcome: Outcome::ArchiveFail,
        cause: Some(Cause::Package),
        code: code.to_owned(),
        message: first_line(message),
        file: None,
        line: None,
        chain: vec![package.to_owned()],
        cycle: Vec::new(),
        phase: None,
        signal: None,
        tests: None,
        findings: Vec::new(),
        docs: Vec::new(),
        wall_s: 0.0,
        peak_memory_mb: None,
        observed: vec![Observed { outcome: Outcome::ArchiveFail, cause: Some(Cause::Package), times: 1 }],
    }
}

impl SideFacts {
    /// The part of the report that says what the side was.
    pub fn summary(&self) -> Side {
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for facts in self.states.values() {
            *outcomes.entry(outcome_name(facts.state.outcome).to_owned()).or_default() += 1;
        }
        let in_installation =
            self.manifest.as_ref().map_or(0, |all| all.values().filter(|a| a.in_installation).count());
        let mut side = self.sum.side.clone();
        side.label.clone_from(&self.label);
        side.expected = self.expected().count() as u64;
        side.results = self.states.len() as u64;
        side.in_installation = in_installation as u64;
        side.outcomes = outcomes;
        side.wall_s = round(side.wall_s);
        side.phases_s.values_mut().for_each(|seconds| *seconds = round(*seconds));
        side
    }

    /// Packages that this side is to judge, sorted.
    pub fn expected(&self) -> impl Iterator<Item = &str> {
        let from_manifest = self.manifest.iter().flatten().filter(|(_, archive)| !archive.in_installation);
        let mut names: BTreeSet<&str> = from_manifest.map(|(name, _)| name.as_str()).collect();
        names.extend(self.states.keys().map(String::as_str));
        names.into_iter()
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::ArchiveFail => "archive-fail",
        Outcome::DependencyFail => "dependency-fail",
        Outcome::InstallFail => "install-fail",
        Outcome::BuildFail => "build-fail",
        Outcome::TestFail => "test-fail",
        Outcome::Pass => "pass",
    }
}
