//! The checked configuration of one run.

use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
pub enum Job {
    PrintRecipe(String),
    Run(Box<Config>),
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Sorted, without doubles.
    pub packages: Vec<String>,
    pub archive: PathBuf,
    pub out: PathBuf,
    pub built: PathBuf,
    pub side: String,
    pub installed: Option<PathBuf>,
    pub recipe: String,
    pub try_anyway: bool,
    pub compile_any: bool,
    pub machines: PathBuf,
    /// At least one; the others are spares.
    pub machine: Vec<String>,
    pub snapshot: Option<String>,
    pub open: Option<String>,
    pub jobs: Option<u32>,
    pub limits: Option<PathBuf>,
    pub retries: u32,
    pub retry_wait_s: f64,
    /// How long a machine that keeps failing is left out, in seconds; 0: never.
    pub rest_s: f64,
    /// At least 1.
    pub repeat: u32,
    pub explain: bool,
    pub keyboard: Keyboard,
    pub keep: bool,
    pub bundle: Option<PathBuf>,
    pub replay: Option<PathBuf>,
    /// argv of this process.
    pub command: Vec<String>,
}

/// When a person gets a shell in the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyboard {
    Nobody,
    ShellBefore(String),
    ShellAfter(String),
    ShellOnFailure,
}
