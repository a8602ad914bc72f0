use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "run"`: what became of one package, or of one cycle of packages that are built and judged together, on one
/// side of a comparison. `pkg-run-one` prints it and writes it to `OUT/results/NAME.json` (the same document under each
/// name of a cycle). Paths in it are relative to OUT.
///
/// Two axes, never mixed: [`Outcome`] says how far it got, [`Cause`] whose fault it is that it got no further.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Run {
    pub kind: String,
    pub v: u32,
    /// Sorted; more than one only for a cycle.
    pub packages: Vec<String>,
    /// Label of the side, mostly `old` or `new`; `""` when there is only one.
    #[serde(default)]
    pub side: String,
    /// Checksum in the archive, a package.
    #[serde(default)]
    pub checksum: BTreeMap<String, String>,
    /// Source in the catalog that was archived, a package.
    #[serde(default)]
    pub source: BTreeMap<String, String>,
    /// Direct dependencies, sorted, without those inside the cycle.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// How many packages of the archive depend on it, directly or not.
    #[serde(default)]
    pub dependents: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    pub catalog_id: String,
    /// Name of the recipe.
    pub recipe: String,
    /// Built in a form that runs on every machine (`--compile-any`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compile_any: bool,
    /// Identity of the image or snapshot that the deciding phases started from.
    #[serde(default)]
    pub image_id: String,
    /// Version of the language as the machine told it.
    #[serde(default)]
    pub version: String,
    /// Limits in force, by name (`time_s`, `silence_s`, `memory_mb`, `log_mb`, `disk_mb`, `processes`).
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    pub outcome: Outcome,
    /// Absent for a pass.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Absent for a pass.
    #[serde(default)]
    pub blame: Option<Blame>,
    #[serde(default)]
    pub findings: Vec<Finding>,
    pub phases: Vec<Phase>,
    /// Documents it has.
    #[serde(default)]
    pub docs: Vec<Doc>,
    /// What it adds to an installation, apart from documents.
    #[serde(default)]
    pub adds: Adds,
    /// The packages in built form; empty when the build failed.
    #[serde(default)]
    pub built: Vec<Built>,
    /// What a failed build left, packed for those who want to look into it: `salvage/pkgs/NAME.zip`. Never installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub salvaged: Vec<Built>,
    /// How often each result was seen when the run was repeated; one entry, `times` 1, for a single run.
    #[serde(default)]
    pub observed: Vec<Observed>,
    /// argv that repeats this run from the directory it was started in.
    #[serde(default)]
    pub command: Vec<String>,
    /// Instant of the start, RFC 3339 UTC.
    pub started: String,
    pub wall_s: f64,
}

impl crate::Document for Run {
    const KIND: &'static str = "run";
}

/// How far it got, worst first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its source could not be archived: nothing was tried.
    ArchiveFail,
    /// A package it depends on has no built form: nothing was tried (unless told to).
    DependencyFail,
    /// The package manager would not install it.
    InstallFail,
    /// Installed, but it does not compile or its documents do not render.
    BuildFail,
    /// Built, but its tests fail.
    TestFail,
    /// Built and tested; see `tests` in the phase `test` for how much was tested.
    Pass,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The package itself.
    Package,
    /// A package it depends on.
    Dependency,
    /// Limits: it ran longer than allowed.
    Time,
    /// No output and no activity for longer than allowed.
    Silence,
    Memory,
    Log,
    Disk,
    Processes,
    /// It wanted the network and was refused.
    NetworkDenied,
    /// The machine; never a verdict of a finished run.
    Machine,
}

/// Where the fault lies, as precisely as there is evidence for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Blame {
    /// The package at fault: itself, or the first failing one in the chain of dependencies.
    pub package: String,
    /// From the failing package down to the one at fault: `[this, dependency, …, package]`.
    #[serde(default)]
    pub chain: Vec<String>,
    /// Stable name: `compile-error`, `missing-package`, `missing-dependency`, `undeclared-dependency`, `conflict`,
    /// `docs-error`, `bad-info`, `test-failure`, `stderr-output`, `crash`, `limit`, `checksum`, `source-gone`, ….
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The telling line of the log.
    pub message: String,
}

/// Something to be told that is no failure: `needs-extended`, `needs-fallback`, `undeclared-dependencies`, `conflicts`,
/// `no-tests`, `flaky`, ….
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub code: String,
    pub message: String,
}

/// One phase on one machine, in the order they ran.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Phase {
    /// `install`, `undeclared`, `deps`, `adds`, `pack`, `test`, or a name of the recipe's own.
    pub phase: String,
    /// Package it is about; absent when it is about all packages of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Name of the machine.
    pub machine: String,
    pub variant: Variant,
    /// From 1; more than 1 after machine trouble or a repeat.
    pub attempt: u32,
    pub status: PhaseStatus,
    #[serde(default)]
    pub cause: Option<Cause>,
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    pub wall_s: f64,
    #[serde(default)]
    pub cpu_s: Option<f64>,
    #[serde(default)]
    pub peak_memory_mb: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_processes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<f64>,
    /// Attempts to reach a network that the machine refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_refusals: Option<u64>,
    /// Path of the log, relative to OUT; absent when it printed nothing.
    #[serde(default)]
    pub log: Option<String>,
    /// Bytes it printed, kept or not.
    #[serde(default)]
    pub log_bytes: u64,
    /// True when only head and tail of the log were kept.
    #[serde(default)]
    pub log_truncated: bool,
    #[serde(default)]
    pub tests: Option<Tests>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    Minimal,
    Extended,
    Fallback,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseStatus {
    Ok,
    Fail,
    /// Not reached.
    NotRun,
    /// Trouble of the machine: no verdict.
    Trouble,
}

/// What the test phase counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Tests {
    /// `passed`, `failed`, `no-tests` or `not-run`: never `passed` without a test or a test file that ran.
    pub status: String,
    /// Test files run.
    pub files: u64,
    pub files_failed: u64,
    /// Test cases, where the test library counts them.
    pub passed: u64,
    pub failed: u64,
    /// Failing files and cases, so that two runs can be compared test by test.
    #[serde(default)]
    pub failures: Vec<TestFailure>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestFailure {
    pub file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doc {
    pub name: String,
    /// `main` (rendered), `extract` (rendered, but with problems), `salvage` (from an earlier run), `none`.
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Adds {
    #[serde(default)]
    pub executables: Vec<String>,
    #[serde(default)]
    pub libraries: Vec<String>,
    #[serde(default)]
    pub man_pages: Vec<String>,
    #[serde(default)]
    pub modules: Vec<String>,
    /// Files it puts among the shared files of the installation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Built {
    pub package: String,
    /// Zip in built form, relative to OUT: `built/pkgs/NAME.zip`.
    pub zip: String,
    /// SHA-1 of it.
    pub checksum: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Observed {
    pub outcome: Outcome,
    #[serde(default)]
    pub cause: Option<Cause>,
    pub times: u32,
}
