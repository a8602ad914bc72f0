use crate::args::Config;
use crate::pages::refresh;
use crate::run::once;
use edge::{Done, Exit, Result, out};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Writes the report again while results arrive, until no package is pending. However it ends, the overview no longer says
/// that it reloads itself.
pub fn watch(config: &Config, seconds: u32) -> Result<Done> {
    let index = config.out.as_ref().map(|dir| dir.join("index.html"));
    let _calm = edge::on_exit(move || {
        let Some(path) = index else { return };
        if let Ok(page) = std::fs::read_to_string(&path)
            && let Some(calm) = refresh::without(&page, seconds)
        {
            // the page is true as it stands, if it cannot be written
            let _ = edge::write_atomic(path, calm.as_bytes());
        }
    });
    let mut seen = None;
    loop {
        // looked at before it is read: what arrives meanwhile is seen the next time
        let there = times(config);
        if seen.as_ref() != Some(&there) {
            match once(config) {
                Ok((done, false)) => return Ok(done),
                Ok((_, true)) => out::flush()?,
                // not begun yet
                Err(failure) if failure.exit == Exit::Unavailable && seen.is_none() => {}
                Err(failure) => return Err(failure),
            }
            seen = Some(there);
        }
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }
}

/// When what the sides are made of last changed: results appear by being renamed into their directory.
fn times(config: &Config) -> Vec<Option<SystemTime>> {
    let parts = ["", "results", "out", "out/results", "archive", "archive/manifest.jsonl", "archive/failed"];
    let paths: Vec<PathBuf> = [Some(&config.new), config.old.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|side| parts.map(|part| side.join(part)))
        .collect();
    paths.iter().map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok()).collect()
}
