use serde::{Deserialize, Serialize};

/// `kind: "installation"`: which packages an installation already carries, and what it is. Written by
/// `scripts/install-racket` beside the snapshot `installed`; `pkg-archive --installed` and `pkg-run-one --installed`
/// read it: packages in it are not archived again and not rebuilt.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Installation {
    pub kind: String,
    pub v: u32,
    /// Version of the language, as `(version)` prints it.
    pub version: String,
    /// `chez-scheme`, `racket` (BC) or whatever `(system-type 'vm)` prints.
    pub vm: String,
    /// Library subpath, for `#:platform`: `x86_64-linux`.
    pub platform: String,
    /// Operating system, for `#:platform` symbols: `unix`, `windows`, `macosx`.
    pub system: String,
    /// Names of the packages in installation scope, sorted.
    pub packages: Vec<String>,
    /// Where it came from: an installer's URL or name, `host`.
    pub origin: String,
}

impl crate::Document for Installation {
    const KIND: &'static str = "installation";
}
