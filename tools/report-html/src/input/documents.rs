use contract::Document;
use contract::report::{FlakeRates, KnownFailure, KnownFailures, Past, Report, Side, State};
use contract::run::{Cause, Outcome};
use edge::{Context as _, Exit, Failure, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MAX_BYTES: u64 = 1 << 30;

fn read<D: Document>(path: &Path) -> Result<D> {
    let text = edge::read_input(path, MAX_BYTES)?;
    contract::read(&text).context(Exit::Data, || format!("cannot read \"{}\"", path.display()))
}

/// The known failures, sorted by package.
pub fn known_failures(path: &Path) -> Result<Vec<KnownFailure>> {
    let document: KnownFailures = read(path)?;
    let mut failures = document.failures;
    for failure in &failures {
        for (field, day) in [("date", &failure.date), ("expires", &failure.expires)] {
            if !is_day(day) {
                return Err(Failure::data(format!(
                    "cannot read \"{}\": bad {field} \"{day}\" of {}: expected YYYY-MM-DD",
                    path.display(),
                    failure.package
                )));
            }
        }
    }
    failures.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(failures)
}

fn is_day(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() })
}

pub fn flake_rates(path: &Path) -> Result<FlakeRates> {
    read(path)
}

/// What `--calibrate` adds to: the rates in the file, or none yet.
pub fn flake_rates_so_far(path: &Path) -> Result<FlakeRates> {
    if path.exists() {
        return flake_rates(path);
    }
    Ok(FlakeRates { kind: FlakeRates::KIND.to_owned(), v: contract::V, ..FlakeRates::default() })
}

/// The verdicts of earlier reports, a package, oldest first.
pub fn history(paths: &[PathBuf]) -> Result<BTreeMap<String, Vec<Past>>> {
    let mut history: BTreeMap<String, Vec<Past>> = BTreeMap::new();
    let mut reports = Vec::new();
    for path in paths {
        for file in earlier_reports(path)? {
            let report: Report = read(&file)?;
            reports.push((report.newest, report.packages));
        }
    }
    // the same instant: in the order given
    reports.sort_by(|a, b| a.0.cmp(&b.0));
    for (newest, packages) in reports {
        for entry in packages {
            history.entry(entry.package).or_default().push(Past {
                at: newest.clone(),
                verdict: entry.verdict,
                outcome: entry.new.map(|state| state.outcome),
            });
        }
    }
    Ok(history)
}

/// The documents that a path stands for: itself, that of its directory, or those of the directory's directories and files.
fn earlier_reports(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let own = path.join("report.json");
    if own.exists() {
        return Ok(vec![own]);
    }
    let entries = std::fs::read_dir(path)
        .context(Exit::Unavailable, || format!("cannot read \"{}\"", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .map(|path| if path.is_dir() { path.join("report.json") } else { path })
        .filter(|path| path.extension().is_some_and(|is| is == "json") && path.is_file())
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// Adds to `rates` what two sides with the same inputs show: every observation is a run, and the rarer of passing and not
/// passing is odd. Trouble of a machine says nothing about the package, and a side that was counted says nothing new.
pub fn calibrate(rates: &mut FlakeRates, report: &Report) {
    let mut is_new = |side: &Side| {
        let runs = format!(
            "{}: {} to {}, {} results, {} s",
            side.label, side.first, side.last, side.results, side.wall_s
        );
        rates.sides.insert(runs)
    };
    let (old_counts, new_counts) = (report.old.as_ref().is_some_and(&mut is_new), is_new(&report.new));
    for entry in &report.packages {
        let of = |state: &Option<State>| state.as_ref().map_or((0, 0), observations);
        let ((old_pass, old_fail), (new_pass, new_fail)) = (of(&entry.old), of(&entry.new));
        let (pass, fail) = (old_pass + new_pass, old_fail + new_fail);
        let counted =
            u64::from(old_counts) * (old_pass + old_fail) + u64::from(new_counts) * (new_pass + new_fail);
        if counted > 0 {
            let rate = rates.packages.entry(entry.package.clone()).or_default();
            rate.runs += counted;
            // an odd one of a side that was counted was odd before
            rate.odd = (rate.odd + pass.min(fail).min(counted)).min(rate.runs / 2);
        }
    }
}

fn observations(state: &State) -> (u64, u64) {
    // what was never tried is no observation of this package
    let real = state.observed.iter().filter(|seen| {
        seen.cause != Some(Cause::Machine)
            && !matches!(seen.outcome, Outcome::ArchiveFail | Outcome::DependencyFail)
    });
    real.fold((0, 0), |(pass, fail), seen| match seen.outcome {
        Outcome::Pass => (pass + u64::from(seen.times), fail),
        _ => (pass, fail + u64::from(seen.times)),
    })
}
