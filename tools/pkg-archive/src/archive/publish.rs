//! Brings the archive directory in line with what a run gathered: catalog, manifest, rules, records of failures.

use super::raco_state;
use super::state::{Kept, State};
use super::store::Store;
use crate::args::Config;
use crate::plan::conclude::{self, Known, World};
use crate::plan::{self, Task, durations, make_rules};
use crate::work;
use catalog::{Catalog, Graph, Name};
use contract::archived::{Archived, Status};
use edge::{Context, Exit, Failure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What the packages of a run came to.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Without an outcome: in the installation.
    pub packages: BTreeMap<String, (Task, Option<work::Outcome>)>,
    pub fetched_bytes: u64,
}

/// Brings the directory in line with what was gathered; gives the records to print.
pub fn publish(
    config: &Config,
    store: &Store,
    state: &State,
    world: &World,
    harvest: &Harvest,
) -> Result<Vec<Archived>> {
    let known: Vec<(&Task, Known)> = harvest
        .packages
        .values()
        .map(|(task, outcome)| {
            let known = match outcome {
                None => Known::Installed,
                Some(Ok(done)) => Known::Archived { kept: &done.kept, touched: done.touched },
                Some(Err(trouble)) => Known::Failed(trouble),
            };
            (task, known)
        })
        .collect();
    let (mut records, graph) = conclude::records(world, &known);
    let archived: Vec<(&Task, &Kept)> = known
        .iter()
        .filter_map(|(task, known)| match known {
            Known::Archived { kept, .. } => Some((*task, *kept)),
            _ => None,
        })
        .collect();
    let kept_names: BTreeSet<&str> = archived.iter().map(|(task, _)| task.name.as_str()).collect();
    write_failures(store, &records)?;
    write_catalog(config, store, &archived)?;
    write_rules(config, store, &records, &graph)?;
    let manifest = manifest(&records)?;
    store.write("manifest.jsonl", &manifest)?;
    if records.iter().any(|record| record.status == Status::Archived) {
        store.sync()?;
    }
    state.save(archived.iter().map(|(_, kept)| *kept))?;
    if let Some(path) = &config.state {
        raco_state::write(path, &raco_rows(&known))?;
    }
    // last, when nothing speaks of them any more
    let removed = store.remove_others("pkgs", &[".zip", ".zip.CHECKSUM"], &kept_names)?;
    let failed = names_of(&records, Status::Failed);
    store.remove_others("failed", &[".json"], &failed)?;
    let selected: BTreeSet<&str> = harvest.packages.keys().map(String::as_str).collect();
    let gone = removed.iter().filter(|name| !selected.contains(name.as_str()));
    records.extend(gone.map(|name| conclude::removed(name, world.catalog_id)));
    records.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(records)
}

/// What was archived from what; a package that failed has a row with nothing in it.
fn raco_rows(known: &[(&Task, Known)]) -> raco_state::Rows {
    let rows = known.iter().filter_map(|(task, known)| {
        let row = match known {
            Known::Installed => return None,
            Known::Failed(_) => raco_state::Row::default(),
            Known::Archived { kept, .. } => raco_state::Row {
                author: task.entry.author().unwrap_or("").to_owned(),
                source: task.source_text.clone(),
                checksum: kept.resolved.clone(),
                description: task.entry.description().unwrap_or("").to_owned(),
            },
        };
        Some((task.name.clone(), row))
    });
    rows.collect()
}

/// One record for each package that failed; a record that says the same as before is not touched.
fn write_failures(store: &Store, records: &[Archived]) -> Result<()> {
    for record in records.iter().filter(|record| record.status == Status::Failed) {
        let mut text = serde_json::to_vec_pretty(record)
            .map_err(|error| Failure::bug(format!("cannot render JSON: {error}")))?;
        text.push(b'\n');
        store.write(&format!("failed/{}.json", record.package), &text)?;
    }
    Ok(())
}

fn names_of(records: &[Archived], status: Status) -> BTreeSet<&str> {
    records.iter().filter(|record| record.status == status).map(|record| record.package.as_str()).collect()
}

fn write_catalog(config: &Config, store: &Store, archived: &[(&Task, &Kept)]) -> Result<()> {
    let mut catalog = Catalog::new();
    for (task, kept) in archived {
        let source = match config.relative {
            true => format!("../pkgs/{}.zip", task.name),
            false => store.zip(&task.name).display().to_string(),
        };
        let name = Name::new(task.name.as_str()).context(Exit::Data, || "cannot write catalog".to_owned())?;
        catalog.insert(name, plan::archived_entry(task, kept, &source));
    }
    let mut files = vec![
        ("pkgs".to_owned(), catalog::write_names(catalog.keys()).into_bytes()),
        ("pkgs-all".to_owned(), catalog::write_pkgs_all(&catalog).into_bytes()),
    ];
    for (name, entry) in &catalog {
        files.push((format!("pkg/{name}"), catalog::write_entry(entry).into_bytes()));
    }
    store.write_directory("catalog", &files)?;
    Ok(())
}

fn write_rules(config: &Config, store: &Store, records: &[Archived], graph: &Graph) -> Result<()> {
    let durations_s = match &config.durations {
        Some(dir) => durations::read(dir)?,
        None => BTreeMap::new(),
    };
    let groups = conclude::groups(records, graph, &durations_s);
    store.write("packages.mk", make_rules::write(&groups).as_bytes())?;
    Ok(())
}

/// The manifest says what is there, so a package that was archived just now and one that was before look the same.
fn manifest(records: &[Archived]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for record in records {
        let mut record = record.clone();
        if record.status == Status::Unchanged && !record.in_installation {
            record.status = Status::Archived;
        }
        let line = serde_json::to_vec(&record);
        text.extend(line.map_err(|error| Failure::bug(format!("cannot render JSON: {error}")))?);
        text.push(b'\n');
    }
    Ok(text)
}
