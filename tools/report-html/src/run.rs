use crate::args::Config;
use crate::input::documents;
use crate::input::{layout, read_side};
use crate::model::listing;
use crate::model::{Extra, regressed, report};
use crate::site::Site;
use crate::site::write;
use crate::watch::watch;
use contract::report::{Report, Verdict};
use edge::{Done, Result, out, say};

pub fn run(config: Config) -> Result<Done> {
    match config.watch {
        Some(seconds) => watch(&config, seconds),
        None => Ok(once(&config)?.0),
    }
}

/// Reads, judges, writes; says how it went and whether the run is still going.
pub fn once(config: &Config) -> Result<(Done, bool)> {
    let mut new_layout = layout(&config.new)?;
    let mut old_layout = config.old.as_deref().map(layout).transpose()?;
    // two reports into one directory come one after the other, and each reads after the one before it has written: the last
    // one to write has read the latest
    let site = config.out.as_deref().map(Site::open).transpose()?;
    let new = read_side(&mut new_layout, "new")?;
    let old = old_layout.as_mut().map(|layout| read_side(layout, "old")).transpose()?;
    let extra = extra(config)?;
    let damaged = [Some(&new), old.as_ref()].into_iter().flatten().any(|side| !side.unreadable.is_empty());
    let (report, graph) = report(new, old, &extra);
    for note in &report.notes {
        say::warning(&note.message, None);
    }
    if let Some(path) = &config.calibrate {
        let mut rates = documents::flake_rates_so_far(path)?;
        documents::calibrate(&mut rates, &report);
        edge::write_atomic(path, &pretty(&rates)?)?;
    }
    if let Some(site) = &site {
        let sides = write::Sides { new: &new_layout, old: old_layout.as_ref() };
        write::write(config, site, &report, &graph, &sides)?;
    }
    match config.list {
        Some(what) => {
            for name in listing::names(&report, what, config.confirm) {
                out::line(name)?;
            }
        }
        None => {
            out::json_line(&summary(config, &report))?;
            say::info(format!("{} {}", report.headline, report.rest).trim_end());
        }
    }
    let bad = if report.old.is_some() {
        regressed(&report).next().is_some()
    } else {
        report.packages.iter().any(|entry| entry.verdict == Verdict::Failing && entry.known.is_none())
    };
    Ok((if (config.check && bad) || damaged { Done::No } else { Done::All }, report.running))
}

fn extra(config: &Config) -> Result<Extra> {
    Ok(Extra {
        title: config.title.clone().unwrap_or_default(),
        confirm: config.confirm,
        known: config
            .known_failures
            .as_deref()
            .map(documents::known_failures)
            .transpose()?
            .unwrap_or_default(),
        flake_rates: config
            .flake_rates
            .as_deref()
            .map(documents::flake_rates)
            .transpose()?
            .unwrap_or_default()
            .packages,
        history: documents::history(&config.history)?,
    })
}

/// What a person or a script wants to know at once; `report.json` has the rest.
fn summary(config: &Config, report: &Report) -> serde_json::Value {
    let index = config.out.as_ref().map(|dir| dir.join("index.html").display().to_string());
    serde_json::json!({
        "kind": "report-summary", "v": contract::V, "headline": report.headline, "rest": report.rest, "counts": report.counts,
        "causes": report.groups.len(), "running": report.running, "progress": report.progress, "index": index,
    })
}

pub fn pretty(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(document)
        .map_err(|error| edge::Failure::bug(format!("cannot render JSON: {error}")))?;
    text.push(b'\n');
    Ok(text)
}
