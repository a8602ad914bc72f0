use crate::run::{Cause, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "recipe"`: how packages of one ecosystem are built, judged and tested. Data only: an ecosystem is added by
/// writing one (`pkg-run-one --recipe FILE`); the one for Racket is built in (`--print-recipe racket`).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Recipe {
    pub kind: String,
    pub v: u32,
    pub name: String,
    /// Environment of every command; values may use placeholders.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files put into the machine before a stage: name to text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Each stage has a machine of its own; they run in order, and the first that fails ends the run.
    pub stages: Vec<Stage>,
    /// Tried in order on the log of a failed phase; the first that matches decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// One command in one fresh instance. It may do several phases: then it says so on lines of its log that start with
/// `@downstream ` and hold one JSON object (see recipe(5)).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Stage {
    /// `build`, `test`.
    pub name: String,
    /// Phases it does, in order; the first is under way when it starts.
    pub phases: Vec<String>,
    /// argv; placeholders `{package}`, `{packages}`, `{archive}`, `{built}`, `{files}`, `{work}`, `{out}` are replaced.
    pub run: Vec<String>,
    /// What a failure in each phase means; a phase that is not named fails nothing.
    #[serde(default)]
    pub fails_as: BTreeMap<String, Outcome>,
}

/// Evidence in a log: which text means what.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Rule {
    /// Phases it is for; empty: all.
    #[serde(default)]
    pub phases: Vec<String>,
    /// Regular expression, searched line by line (`(?s)` to span lines). Named groups `package`, `file`, `line`,
    /// `message` fill the blame.
    pub pattern: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// `code` of the blame.
    pub code: String,
}

impl crate::Document for Recipe {
    const KIND: &'static str = "recipe";
}
