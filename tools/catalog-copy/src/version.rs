//! The version of Racket that a copy is for.

use edge::say;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// As given, else that of the `racket` on PATH, asked for only when it matters.
#[derive(Debug, Default)]
pub struct WantedVersion {
    given: Option<String>,
    found: OnceLock<Option<String>>,
}

impl WantedVersion {
    pub fn new(given: Option<String>) -> WantedVersion {
        WantedVersion { given, found: OnceLock::new() }
    }

    /// `None` where there is no Racket either.
    pub fn get(&self) -> Option<&str> {
        if self.given.is_some() {
            return self.given.as_deref();
        }
        self.found.get_or_init(installed).as_deref()
    }
}

/// The program `racket`, if it is on PATH.
pub fn racket() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("racket")).find(|program| program.is_file())
}

/// Asking takes a tenth of a second: the answer is kept together with what the program file looked like.
fn installed() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let program = racket()?.canonicalize().ok()?;
    let metadata = std::fs::metadata(&program).ok()?;
    let looks =
        format!("{} {} {}", program.display(), metadata.len(), metadata.mtime_nsec() + metadata.mtime());
    let kept = fetch::default_cache_dir().map(|dir| dir.with_file_name("racket-version"));
    let text = kept.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    if let Some((version, rest)) = text.trim_end().split_once(' ')
        && rest == looks
    {
        return Some(version.to_owned());
    }
    let version = ask(&program)?;
    say::detail(format!("{} is version {version}", program.display()));
    if let Some(path) = kept {
        // only a saving of time: it does not matter whether it can be kept
        let _ = edge::write_atomic(path, format!("{version} {looks}\n").as_bytes());
    }
    Some(version)
}

/// `Welcome to Racket v8.7 [cs].`
fn ask(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?.trim_end_matches('.');
    catalog::Version::parse(version).map(|_| version.to_owned())
}
