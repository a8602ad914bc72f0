//! The command line as a list of steps, read from left to right.

use catalog::{Direction, Name, Repository, Target};
use racket_data::Value;
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub enum Step {
    /// Adds packages to the selection.
    Select(Selector),
    /// Adds what is around the selection.
    Expand(Expand),
    /// Keeps a package out of the selection.
    Except(Name),
    /// Changes what is selected so far.
    Edit(Edit),
}

#[derive(Clone, Debug)]
pub enum Selector {
    Package(Name),
    Repository(Repository),
    Ring(i64),
    Tag(String),
    Author(String),
    Match(regex::Regex),
    /// The names are filled in when the file has been read.
    NamesFrom(PathBuf, Vec<Name>),
    All,
    /// A package and what is around it.
    Around(Name, Expand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expand {
    pub direction: Direction,
    /// Most steps away; `None` for all.
    pub depth: Option<usize>,
}

impl Expand {
    pub fn dependents() -> Expand {
        Expand { direction: Direction::Dependents, depth: None }
    }
    pub fn dependencies() -> Expand {
        Expand { direction: Direction::Dependencies, depth: None }
    }
}

#[derive(Clone, Debug)]
pub enum Edit {
    /// The commit is filled in when it has been looked up.
    To {
        target: Target,
        commit: Option<String>,
    },
    ToCheckout(PathBuf),
    /// `None` takes the key away.
    Set {
        key: String,
        value: Option<Value>,
    },
    Remove,
    Keep,
}

/// Why a package that it selects is selected: `served from github.com/u/r`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Package(_) | Selector::Around(..) => f.write_str("named"),
            Selector::Repository(Repository::Local(path)) => write!(f, "served from \"{path}\""),
            Selector::Repository(repository) => write!(f, "served from {repository}"),
            Selector::Ring(ring) => write!(f, "in ring {ring}"),
            Selector::Tag(tag) => write!(f, "tagged \"{tag}\""),
            Selector::Author(author) => write!(f, "by {author}"),
            Selector::Match(regex) => write!(f, "its name matches \"{regex}\""),
            Selector::NamesFrom(path, _) => write!(f, "named in \"{}\"", path.display()),
            Selector::All => f.write_str("everything is selected"),
        }
    }
}
