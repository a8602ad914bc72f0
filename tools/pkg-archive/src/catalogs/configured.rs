//! The catalogs that the Racket installation of this machine is configured with, as `raco pkg config catalogs` tells.

use crate::args::CatalogPlace;
use edge::{Failure, Result};
use racket_data::Value;
use std::path::{Path, PathBuf};

/// What `#f` in the list of catalogs stands for, and what is searched where nothing is configured.
const DEFAULT_CATALOGS: [&str; 2] =
    ["https://pkgs.racket-lang.org", "https://planet-compats.racket-lang.org"];

/// The user's list if there is one, else the installation's, else the default.
pub fn catalogs(version: Option<&str>) -> Result<Vec<CatalogPlace>> {
    let mut found = None;
    for file in config_files(version) {
        let Ok(text) = std::fs::read(&file) else { continue };
        let value = racket_data::read(&text).map_err(|error| {
            Failure::data(format!("cannot read configuration \"{}\": {error}", file.display()))
        })?;
        let list = value.as_ref().and_then(Value::as_hash).and_then(|hash| hash.get("catalogs"));
        if let Some(list) = list.and_then(Value::as_list) {
            found = Some((file.clone(), list.to_vec()));
            break;
        }
    }
    let Some((file, list)) = found else {
        return DEFAULT_CATALOGS.iter().map(|text| CatalogPlace::parse(text)).collect();
    };
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut places = Vec::new();
    for item in &list {
        match item {
            Value::Bool(false) => {
                for text in DEFAULT_CATALOGS {
                    places.push(CatalogPlace::parse(text)?);
                }
            }
            Value::String(text) if text.contains("://") => places.push(CatalogPlace::parse(text)?),
            Value::String(text) => places.push(CatalogPlace::parse(&base.join(text).display().to_string())?),
            other => {
                return Err(Failure::data(format!(
                    "cannot read configuration \"{}\": {} is no catalog",
                    file.display(),
                    racket_data::write(other)
                )));
            }
        }
    }
    Ok(places)
}

/// Where lists of catalogs may stand, the first that has one counts.
fn config_files(version: Option<&str>) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut files = Vec::new();
    let home = variable("PLTUSERHOME").or_else(|| variable("HOME"));
    let addon = variable("PLTADDONDIR")
        .into_iter()
        .chain(home.iter().map(|home| home.join(".local/share/racket")))
        .chain(home.iter().map(|home| home.join(".racket")));
    if let Some(version) = version {
        files.extend(addon.map(|dir| dir.join(version).join("pkgs/config.rktd")));
    }
    files.extend(variable("PLTCONFIGDIR").map(|dir| dir.join("config.rktd")));
    let racket = variable("PATH").and_then(|path| {
        let found =
            std::env::split_paths(&path).map(|dir| dir.join("racket")).find(|racket| racket.is_file());
        found.and_then(|racket| racket.canonicalize().ok())
    });
    if let Some(prefix) = racket.as_deref().and_then(Path::parent).and_then(Path::parent) {
        files.push(prefix.join("etc/config.rktd"));
        files.push(prefix.join("etc/racket/config.rktd"));
    }
    files.push("/etc/racket/config.rktd".into());
    files
}
