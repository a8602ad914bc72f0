//! The catalogs that Racket is configured with (`--from-config`).

use crate::place::Source;
use crate::version::racket;
use edge::{Failure, Result, say};
use racket_data::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages are looked up when nothing is configured.
const DEFAULT: [&str; 2] = ["https://pkgs.racket-lang.org", "https://planet-compats.racket-lang.org"];

/// The catalogs, in order: as the `racket` on PATH says, without one as its configuration files say.
pub fn sources(version: Option<&str>) -> Result<Vec<Source>> {
    let texts = match racket() {
        Some(program) => ask(&program)?,
        None => {
            say::detail("no racket on PATH: looking at its configuration files");
            from_files(version)
        }
    };
    say::detail(format!("configured catalogs: {}", texts.join(" ")));
    texts.into_iter().map(|text| Source::parse(text.into())).collect()
}

fn ask(program: &Path) -> Result<Vec<String>> {
    let script = "(for-each displayln ((dynamic-require 'pkg/lib 'pkg-config-catalogs)))";
    let output = Command::new(program)
        .args(["-l", "racket/base", "-e", script])
        .output()
        .map_err(|error| Failure::unavailable(format!("cannot run \"{}\": {error}", program.display())))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::unavailable(format!(
            "cannot ask \"{}\" for its catalogs: {}",
            program.display(),
            output.status
        ))
        .detail("stderr", stderr.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The user's file for this version of Racket (else the newest), then the installation's, then the default.
fn from_files(version: Option<&str>) -> Vec<String> {
    let user = user_directories().into_iter().flat_map(|directory| versions_in(&directory, version));
    let user = user.map(|directory| directory.join("pkgs/config.rktd"));
    let installation = std::env::var_os("PLTCONFIGDIR").map(PathBuf::from).into_iter().chain(
        ["/etc/racket", "/usr/racket/etc", "/usr/local/racket/etc", "/usr/share/racket/etc"]
            .map(PathBuf::from),
    );
    let installation = installation.map(|directory| directory.join("config.rktd"));
    match user.chain(installation).find_map(|file| catalogs_in(&file)) {
        Some(catalogs) => catalogs
            .into_iter()
            .flat_map(|one| one.map_or(DEFAULT.map(String::from).to_vec(), |c| vec![c]))
            .collect(),
        None => DEFAULT.map(String::from).to_vec(),
    }
}

fn user_directories() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directory) = variable("PLTADDONDIR") {
        return vec![directory];
    }
    let home = variable("PLTUSERHOME").or_else(|| variable("HOME"));
    let data = variable("XDG_DATA_HOME").filter(|_| std::env::var_os("PLTUSERHOME").is_none());
    let data = data.or_else(|| home.as_ref().map(|home| home.join(".local/share")));
    data.map(|data| data.join("racket")).into_iter().chain(home.map(|home| home.join(".racket"))).collect()
}

/// Directories of versions in a user's directory: the wanted one, else all, newest first.
fn versions_in(directory: &Path, version: Option<&str>) -> Vec<PathBuf> {
    if let Some(version) = version {
        return vec![directory.join(version)];
    }
    let mut found: Vec<(catalog::Version, PathBuf)> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((catalog::Version::parse(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, path)| path).collect()
}

/// The `catalogs` of a configuration file; `None` in it stands for the default ones.
fn catalogs_in(file: &Path) -> Option<Vec<Option<String>>> {
    let text = std::fs::read(file).ok()?;
    let value = racket_data::read(&text).ok()??;
    let catalogs = value.as_hash()?.get("catalogs")?.as_list()?.to_vec();
    say::detail(format!("catalogs as configured in {}", file.display()));
    let one = |value: Value| match value {
        Value::String(text) => Some(Some(text)),
        Value::Bool(false) => Some(None),
        _ => None,
    };
    Some(catalogs.into_iter().filter_map(one).collect())
}
