use crate::run::{Cause, Finding, Observed, Outcome, Tests};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// `kind: "report"`: what a change broke, and why (`report.json`). `report-html` works it out from the `run` and
/// `archived` documents of one or two sides; every page and every other output is made from it. Packages are sorted by
/// name, groups by weight. It holds no clock: `newest` is the start of the latest run in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Report {
    pub kind: String,
    pub v: u32,
    pub title: String,
    /// One sentence: the answer. Another follows where the sides are unlike, or where a run is still going.
    pub headline: String,
    /// What became of the other packages, in a sentence; `""` when there are none.
    #[serde(default)]
    pub rest: String,
    /// True when a side still has packages to run.
    pub running: bool,
    /// How far the run is; only while it is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Start of the latest run, RFC 3339 UTC; `""` when nothing ran.
    pub newest: String,
    /// The side with the change.
    pub new: Side,
    /// What it is compared with; absent for a report on one side.
    #[serde(default)]
    pub old: Option<Side>,
    /// In what the two sides differ, the packages' results apart.
    #[serde(default)]
    pub differences: Vec<Difference>,
    /// Packages whose archived content differs between the sides (or which one side lacks), sorted: the change.
    #[serde(default)]
    pub changed: Vec<String>,
    /// Number of packages a verdict; verdicts that no package has are absent.
    pub counts: BTreeMap<String, u64>,
    /// Regressions by first cause, each package in exactly one group; weightiest first.
    pub groups: Vec<Group>,
    /// All failures of the new side by normalised message, most frequent first.
    pub messages: Vec<MessageGroup>,
    /// Things a person should know that are no verdict (files that could not be read, stale known failures).
    #[serde(default)]
    pub notes: Vec<Note>,
    pub packages: Vec<Entry>,
}

impl crate::Document for Report {
    const KIND: &'static str = "report";
}

/// How far a run is, counted in runs of a package on a side.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Progress {
    pub done: u64,
    /// Still to come, as far as can be known: the old side may yet be asked about packages that fail.
    pub left: u64,
    /// Packages that fail on the new side so far.
    pub failing: u64,
    /// How long the rest takes at the rate so far; absent before two runs have begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<f64>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Side {
    /// `new` or `old`, or the label its runs carry.
    pub label: String,
    /// Packages that are to be judged: those of its manifest that the installation does not carry, or all with a
    /// result where there is no manifest.
    pub expected: u64,
    /// Packages with a result.
    pub results: u64,
    /// Packages that the installation carries: not judged.
    pub in_installation: u64,
    /// Number of packages an outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Normally one; more when the runs of this side are not all of a kind. The same holds for the next four.
    pub catalog_ids: BTreeSet<String>,
    pub image_ids: BTreeSet<String>,
    pub versions: BTreeSet<String>,
    pub recipes: BTreeSet<String>,
    pub limits: Vec<BTreeMap<String, u64>>,
    /// Machines that phases ran on, and how many phases.
    pub machines: BTreeMap<String, u64>,
    /// Start of the first and of the last run; `""` when nothing ran.
    pub first: String,
    pub last: String,
    /// Sum over its runs: machine time, not the time a person waited.
    pub wall_s: f64,
    /// The same a phase.
    pub phases_s: BTreeMap<String, f64>,
}

/// Something the two sides do not have in common.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Difference {
    /// `packages`, `catalog`, `image`, `version`, `limits`, `recipe`, or `mixed` (one side is not of a piece).
    pub what: String,
    pub sentence: String,
    /// True when it weakens the comparison; a changed package is what the comparison is for, so false.
    pub unlike: bool,
}

/// What became of a package from the old side to the new one, worst first.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Passed on the old side, fails on the new one, and neither chance nor surroundings explain it.
    Regressed,
    /// Failing; there is no old side to compare with.
    Failing,
    /// The sides differ, but by a limit, a refused network, a source server or a machine: not enough evidence.
    Indeterminate,
    /// Seen to pass and to fail on the same side, or differing where nothing it is made from differs.
    Flaky,
    /// Fails on both sides; see [`Trend`].
    StillFailing,
    /// Only on the new side.
    New,
    /// Fails on the old side, passes on the new one.
    Fixed,
    /// Passes; the old side was not run, or there is none.
    Passing,
    StillPassing,
    /// Only on the old side.
    Gone,
    /// Not judged yet: a side has not run it.
    #[default]
    Pending,
}

/// How a failure that stands on both sides moved.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Trend {
    /// It gets less far than before, or tests fail that did not.
    Worse,
    /// It fails in another way.
    Changed,
    Same,
    /// It gets further than before, or fewer tests fail.
    Better,
}

/// One package.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Entry {
    pub package: String,
    pub verdict: Verdict,
    /// Only with `still-failing` and `flaky`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// Why the verdict is what it is, with the number of observations it rests on: one sentence.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<State>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<State>,
    /// True when its own content differs between the sides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub changed: bool,
    /// Changed packages it depends on, directly or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<String>,
    /// Number of packages that depend on it, directly or not.
    #[serde(default)]
    pub dependents: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `id` of its group; only for regressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Tests that fail on the new side only, as `FILE` or `FILE: NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests_broken: Vec<String>,
    /// Tests that fail on the old side only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests_fixed: Vec<String>,
    /// Differences beside the outcome: `fewer-tests`, `slower`, `more-memory`, `docs-lost`, `finding-gained`, ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Finding>,
    /// The known failure that covers it, if one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownFailure>,
    /// How often it was seen to disagree with itself (`--flake-rates`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flake: Option<FlakeRate>,
    /// Verdicts of earlier reports (`--history`), oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Past>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A package on one side: its `run` document in short.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct State {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Code of the blame, `""` for a pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The telling line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// From this package down to the one at fault; empty for a pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// All packages of its cycle; empty when it is in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycle: Vec<String>,
    /// Phase that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<Tests>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Documents that were rendered without trouble.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub docs: Vec<String>,
    pub wall_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
    pub observed: Vec<Observed>,
}

/// Regressions with one first cause.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Group {
    /// `g1`, `g2`, … in order.
    pub id: String,
    /// What happened, for people: the telling line of the example.
    pub title: String,
    /// The telling line without what differs from package to package.
    pub message: String,
    pub code: String,
    /// Package whose failure is shown.
    pub example: String,
    /// Packages that fail in this way themselves, most dependents first.
    pub roots: Vec<String>,
    /// Packages that regressed only because one of `roots` did, with the chain from the package to the root.
    pub fallen: Vec<Vec<String>>,
    /// Regressed packages in the group.
    pub size: u64,
    /// Packages that depend on a root, directly or not, regressed or not.
    pub dependents: u64,
    /// Changed packages that all roots depend on (or are).
    pub suspects: Vec<String>,
    /// True when a root is itself a changed package.
    pub changed: bool,
}

/// Failures of the new side that say the same.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct MessageGroup {
    pub message: String,
    pub code: String,
    /// Telling line of the first package, as it stands in the log.
    pub example: String,
    /// Packages, sorted; failures that only follow from a dependency are not counted.
    pub packages: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Note {
    /// `unreadable`, `known-expired`, `known-passes`, `known-unknown`, ….
    pub code: String,
    pub message: String,
}

/// A verdict of an earlier report.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Past {
    /// `newest` of that report.
    pub at: String,
    pub verdict: Verdict,
    /// Outcome on its new side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// `kind: "known-failures"`: failures that somebody answers for. A regression that an entry covers is shown, but not
/// counted by `--check`. An entry that has expired covers nothing, and so does one whose package passes; both are told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct KnownFailures {
    pub kind: String,
    pub v: u32,
    pub failures: Vec<KnownFailure>,
}

impl crate::Document for KnownFailures {
    const KIND: &'static str = "known-failures";
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct KnownFailure {
    pub package: String,
    pub reason: String,
    pub owner: String,
    /// Day it was entered, `YYYY-MM-DD`.
    pub date: String,
    /// Last day it holds, `YYYY-MM-DD`.
    pub expires: String,
    /// Only this outcome is covered; any failure when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// `kind: "flake-rates"`: how often each package disagreed with itself, learnt by running one side several times.
/// `report-html --calibrate` writes it, `--flake-rates` reads it. Packages that never did are in it too: their number of
/// runs is evidence.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct FlakeRates {
    pub kind: String,
    pub v: u32,
    pub packages: BTreeMap<String, FlakeRate>,
    /// Sides that are counted, by their first and last run: a side is not counted twice.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sides: BTreeSet<String>,
}

impl crate::Document for FlakeRates {
    const KIND: &'static str = "flake-rates";
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct FlakeRate {
    /// Runs of the same inputs.
    pub runs: u64,
    /// Those of them that did not pass though others did, or the other way round: the rarer kind.
    pub odd: u64,
}

impl Verdict {
    pub const ALL: [Verdict; 11] = [
        Verdict::Regressed,
        Verdict::Failing,
        Verdict::Indeterminate,
        Verdict::Flaky,
        Verdict::StillFailing,
        Verdict::New,
        Verdict::Fixed,
        Verdict::Passing,
        Verdict::StillPassing,
        Verdict::Gone,
        Verdict::Pending,
    ];
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Regressed => "regressed",
            Verdict::Failing => "failing",
            Verdict::Indeterminate => "indeterminate",
            Verdict::Flaky => "flaky",
            Verdict::StillFailing => "still-failing",
            Verdict::New => "new",
            Verdict::Fixed => "fixed",
            Verdict::Passing => "passing",
            Verdict::StillPassing => "still-passing",
            Verdict::Gone => "gone",
            Verdict::Pending => "pending",
        }
    }
}
