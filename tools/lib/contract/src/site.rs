use serde::{Deserialize, Serialize};

/// `kind: "site"`: what `site-serve --check` found: whether a directory is an installer site that a build machine can
/// use, and which installers it has.
///
/// A usable site has `installers/table.rktd`, at least one installer in it, every installer of it whole, and a
/// readable `catalog/` whose packages are there. Everything that is missing is in `problems`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Site {
    pub kind: String,
    pub v: u32,
    /// As given.
    pub dir: String,
    pub usable: bool,
    /// One sentence each, sorted as found: installers first, then the catalog.
    pub problems: Vec<String>,
    /// Sorted by description.
    pub installers: Vec<SiteInstaller>,
    /// Absent when there is no readable catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<SiteCatalog>,
}

/// One row of `installers/table.rktd`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SiteInstaller {
    /// `{1} Racket | {3} Linux | {1} 64-bit x86_64; built on Debian 10`: `|` separates levels, `{…}` only sorts.
    pub description: String,
    /// File name below `installers/`.
    pub name: String,
    /// Absent when the file is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Checksums and size agree with `installers.rktd`; absent when that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// The catalog of a site.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct SiteCatalog {
    pub packages: u64,
    /// Packages whose source is a file of this site, and is there with the right `.CHECKSUM`.
    pub present: u64,
    /// Packages whose source is elsewhere (http, git).
    pub elsewhere: u64,
    /// Names of the packages that nobody could install from here, sorted.
    pub missing: Vec<String>,
}

impl crate::Document for Site {
    const KIND: &'static str = "site";
}
