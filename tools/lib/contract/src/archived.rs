use serde::{Deserialize, Serialize};

/// `kind: "archived"`: one package of an archive. `pkg-archive` prints one a package, and `manifest.jsonl` holds the
/// same records (sorted by name, without the removed ones), so that every later step knows what each package is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Archived {
    pub kind: String,
    pub v: u32,
    pub package: String,
    pub status: Status,
    /// Why it failed; only with `status: failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One line for people; only with `status: failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Source as the catalog gave it.
    pub source: String,
    /// Checksum of the source: git commit, SHA-1 of an archive, `""` for a directory.
    pub checksum: String,
    /// SHA-1 of `pkgs/NAME.zip`, lower-case hex: the checksum in the archive's own catalog. Absent when failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip_checksum: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip_bytes: Option<u64>,
    /// What the package declares, `deps` then `build-deps`.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// Where `dependencies` come from.
    #[serde(default)]
    pub dependencies_from: DependenciesFrom,
    /// Module paths the package defines, as `a/b.rkt` (collection path), sorted.
    #[serde(default)]
    pub modules: Vec<String>,
    #[serde(default)]
    pub implies: Vec<String>,
    /// `version` of the archived `info.rkt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<i64>,
    /// All packages of the dependency cycle it belongs to, itself included, sorted; empty when it is in none.
    #[serde(default)]
    pub cycle: Vec<String>,
    /// True when the installation already carries it (`--installed`): neither archived nor built.
    #[serde(default)]
    pub in_installation: bool,
    /// How many archived packages depend on it, directly or not.
    #[serde(default)]
    pub dependents: u64,
    /// What is wrong with the declarations: sentences for people, sorted.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Hash of the catalog that the archive was made from (see `kind: "catalog"`).
    #[serde(default)]
    pub catalog_id: String,
}

/// One dependency of a package.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    pub name: String,
    /// Least version that will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Platform it is limited to, in Racket's written form: `windows`, `"x86_64-linux"`, `#rx"linux"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// True for `build-deps`.
    #[serde(default)]
    pub build: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// New, or its content changed.
    #[default]
    Archived,
    /// As it was; its files were not touched.
    Unchanged,
    /// No longer in the selection; its files are gone.
    Removed,
    Failed,
}

/// Whose fault a failed archiving is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The server answers, the thing is not there (404, no such file, no such branch or commit).
    Gone,
    /// No answer: name not found, refused, time-out.
    Unreachable,
    /// The server answered with an error (403, 500).
    Refused,
    /// What came does not have the checksum that was promised.
    Checksum,
    /// What came is no package archive, or an unsafe one.
    BadArchive,
    /// The source is of no form that Racket packages have.
    BadSource,
    /// `info.rkt` cannot be read.
    BadInfo,
    /// Larger than the limit.
    TooLarge,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DependenciesFrom {
    /// Read from the archived `info.rkt`.
    #[default]
    Info,
    /// The archived `info.rkt` goes beyond the plain language: Racket evaluated it in a machine.
    Racket,
    /// `info.rkt` goes beyond the plain language and no Racket was asked: what the catalog says is kept.
    Catalog,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Stable name: `bad-dependency`, `no-dependencies`, `dependency-not-in-catalog`, `module-conflict`, ….
    pub code: String,
    pub message: String,
}

impl crate::Document for Archived {
    const KIND: &'static str = "archived";
}

/// `kind: "archive"`: the summary that ends the output of `pkg-archive`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ArchiveSummary {
    pub kind: String,
    pub v: u32,
    pub destination: String,
    pub catalog_id: String,
    pub packages: u64,
    pub archived: u64,
    pub unchanged: u64,
    pub removed: u64,
    pub failed: u64,
    pub in_installation: u64,
    pub fetched_bytes: u64,
    pub wall_s: f64,
}

impl crate::Document for ArchiveSummary {
    const KIND: &'static str = "archive";
}
