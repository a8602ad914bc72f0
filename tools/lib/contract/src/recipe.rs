use crate::run::{Cause, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "recipe"`: how packages of one ecosystem are built, judged and tested. Data only: an ecosystem is added by
/// writing one (`pkg-run-one --recipe FILE`); `pkg-run-one --print-recipe NAME` prints those that are built in.
///
/// Placeholders in `env` values and `run`: `{package}` (the first), `{packages}` (all; an argument of its own becomes one
/// argument each), `{archive}` and `{built}` (where the machine reads those directories: a path or a URL), `{work}` (an
/// empty writable directory), `{files}` (where the recipe's files are), `{out}` (where built forms are left), `{jobs}`
/// (processors to use), `{mark}` (the word that starts a mark). Anything else between braces stays as it is.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub kind: String,
    pub v: u32,
    pub name: String,
    /// Environment of every command; values may use placeholders.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files put into the machine before a stage: name to text. A name may have `/` in it.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Ways of building it has beside the plain one, `compile-any`: built forms that run on every machine; then
    /// DOWNSTREAM_COMPILE_ANY is in the environment of the stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<String>,
    /// Files and directories of the archive that the stages read beside those of the packages; a bundle takes them along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<String>,
    /// Each stage has a machine of its own; they run in order, and the first that fails ends the run.
    pub stages: Vec<Stage>,
    /// Tried in order on the log of a failed phase; the first that matches decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How the output of the phase `test` is counted.
    #[serde(default)]
    pub tests: Vec<TestRule>,
}

/// One command in one fresh instance. It may do several phases: then it says so with marks, lines of its output that
/// start with the word `{mark}` (also in the environment as DOWNSTREAM_MARK) and hold one JSON object. Known keys:
///
/// | object | meaning |
/// |---|---|
/// | `{"begin": PHASE}` | a phase starts; what is printed from here is its log |
/// | `{"end": PHASE, "exit_code": N}` | it ended; 0 is success |
/// | `{"done": true}` | the stage ran to its end: without this it crashed |
/// | `{"version": V}` | version of the language |
/// | `{"package": P, "dir": D}` | where the package is in the machine |
/// | `{"package": P, "adds": {..}}`, `{"package": P, "docs": [..]}` | see `run` |
/// | `{"package": P, "file": F}` | its built form: fetched and put into the built catalog |
/// | `{"salvage": true}` | what follows is of a failed build: kept apart, never installed |
/// | `{"finding": {"code": C, "message": M}}` | told in the result |
/// | `{"trouble": TEXT}` | not the package's fault: no verdict |
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// `build`, `test`.
    pub name: String,
    /// Phases it does, in order; the first is under way when it starts.
    pub phases: Vec<String>,
    /// argv, with placeholders.
    pub run: Vec<String>,
    /// True when it prints marks; needed when it has more than one phase.
    #[serde(default)]
    pub marks: bool,
    /// What a failure in each phase means; a phase that is not named fails nothing.
    #[serde(default)]
    pub fails_as: BTreeMap<String, Outcome>,
    /// Phases whose log must match a regular expression before exit status 0 is believed: code of a package that ends
    /// the process early must not look like success.
    #[serde(default)]
    pub evidence: BTreeMap<String, String>,
    /// Milestones inside a phase: once its log has the pattern, a failure means something else.
    #[serde(default)]
    pub past: BTreeMap<String, Milestone>,
}

/// A point that a phase may get past.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Milestone {
    /// Regular expression for the log.
    pub pattern: String,
    pub fails_as: Outcome,
}

/// Evidence in a log: which text means what.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Phases it is for; empty: all.
    #[serde(default)]
    pub phases: Vec<String>,
    /// Regular expression, searched line by line; it spans lines when it starts with `(?s)` or has `\n` in it (then `^`
    /// and `$` still match at line ends). Named groups `package`, `file`, `line`, `message` fill the blame.
    pub pattern: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// `code` of the blame, or of the finding.
    pub code: String,
    /// Message, with the pattern's named groups as `{group}`; without it the group `message`, or else the matching line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// True: every match adds a finding, whether the phase failed or not, and decides nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finding: bool,
    /// Counter of the machine (`network_refusals`, `memory_kills`, `process_refusals`, `disk_full`) that must have
    /// moved during the phase, so that text alone is never taken for evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
}

/// How one kind of line of test output counts.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TestRule {
    /// Regular expression for one line; groups `file`, `name`, `check`, `location` (the name of a case that has none),
    /// `message`, `passed`, `failed`, `total`, `text`.
    pub pattern: String,
    pub counts: Counts,
    /// For [`Counts::Text`]: the rule for what is found in the group `text`, once its `\n`, `\"`, `\\` are resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Box<TestRule>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// A test file (`file`) is run.
    File,
    /// A case (`name`, `file`) passed.
    Pass,
    /// A case failed: `name`, `file`, `message`.
    Failure,
    /// Something about a file that failed: `file`, `message`; tells more than [`Counts::Totals`] alone.
    FileMessage,
    /// Numbers of a file or of all: two of `passed`, `failed` (absent: 0) and `total`.
    Totals,
    /// `text` holds the output of the tests of `file`, escaped.
    Text,
}

impl crate::Document for Recipe {
    const KIND: &'static str = "recipe";
}
