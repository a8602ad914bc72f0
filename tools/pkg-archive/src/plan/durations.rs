//! How long packages took in an earlier run, from its result documents.

use contract::run::Run;
use edge::{Context, Exit, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Seconds by package name. Files that are no `run` documents are passed over: they only say less about the order.
pub fn read(dir: &Path) -> Result<BTreeMap<String, f64>> {
    let mut durations_s = BTreeMap::new();
    let entries =
        fs::read_dir(dir).context(Exit::Unavailable, || format!("cannot read \"{}\"", dir.display()))?;
    for entry in entries.flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let run = match contract::read::<Run>(&fs::read(entry.path()).unwrap_or_default()) {
            Ok(run) => run,
            Err(error) => {
                edge::say::detail(format!("no duration in \"{}\": {error}", entry.path().display()));
                continue;
            }
        };
        let wall_s = run.wall_s;
        for package in run.packages {
            durations_s.insert(package, wall_s);
        }
    }
    Ok(durations_s)
}
