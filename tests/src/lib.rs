//! The harness: drives the seven programs as users do.
//!
//! A test case is a folder `tests/cases/TOOL/NAME/` with `cmd` (a shell script; the programs are first on PATH) and, as
//! needed, `stdin`, `in/` (copied into a fresh directory where `cmd` runs), and what is expected: `stdout`, `stderr`
//! (absent: must be empty), `status` (absent: 0) and `out/` (files that must be there afterwards with this content).
//! `UPDATE_CASES=1` accepts what was seen; `CASE=NAME` runs one.

mod case;
pub mod liar;
mod serve;

pub use case::run_cases;
pub use serve::Served;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// Where cargo put the programs of this build (`cargo build` first: `make check` does).
pub fn bin_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    exe.parent().and_then(Path::parent).expect("target/PROFILE/deps").to_owned()
}

/// Path of one of the seven programs. Panics with advice when it was not built.
pub fn program(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(
        path.exists(),
        "{} is not there: run `make build` (or cargo build, same profile) first",
        path.display()
    );
    path
}

/// PATH with the programs first.
pub fn path_variable() -> String {
    format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap_or_default())
}

/// A command with an environment that no developer's settings leak into: PATH with the programs first, HOME and
/// XDG_CACHE_HOME in `scratch`.
pub fn command(program: impl AsRef<std::ffi::OsStr>, scratch: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(scratch)
        .env_clear()
        .env("PATH", path_variable())
        .env("HOME", scratch)
        .env("XDG_CACHE_HOME", scratch.join(".cache"))
        .env("LC_ALL", "C.UTF-8")
        .env("NO_COLOR", "1")
        .env("TMPDIR", std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

/// Runs a shell script line in `scratch`; for tests that read like what a user types.
pub fn sh(script: &str, scratch: &Path) -> Output {
    command("sh", scratch).arg("-euc").arg(script).output().expect("sh runs")
}

/// Like [`sh`], but it must succeed; gives its stdout.
pub fn sh_ok(script: &str, scratch: &Path) -> String {
    let output = sh(script, scratch);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n  failed with {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// True when a program is on PATH.
pub fn have(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

/// A test that cannot run here says so by name. `DOWNSTREAM_REQUIRE_ALL=1` (CI) makes that an error.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("DOWNSTREAM_REQUIRE_ALL").is_none(), "{test} must run here, but: {why}");
    eprintln!("skipped: {test}: {why}");
}

/// True when every named program is there; otherwise the test is [`skip`]ped by name.
pub fn require(test: &str, programs: &[&str]) -> bool {
    match programs.iter().find(|program| !have(program)) {
        None => true,
        Some(missing) => {
            skip(test, &format!("{missing} is not installed"));
            false
        }
    }
}
