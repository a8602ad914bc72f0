use crate::archive::publish::{self, Harvest};
use crate::archive::state::State;
use crate::archive::store::Store;
use crate::args::Config;
use crate::catalogs::{self, configured};
use crate::plan::conclude::{self, World};
use crate::plan::{self, Step, Task};
use crate::trouble::Trouble;
use crate::work::Workshop;
use crate::work::info_machine::InfoMachine;
use catalog::{Catalog, Platform};
use contract::archived::{ArchiveSummary, Archived, Status};
use contract::installation::Installation;
use edge::{Context, Done, Exit, Failure, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Largest `--installed` document.
const INSTALLATION_BYTES_MAX: u64 = 16 << 20;

pub fn run(mut config: Config) -> Result<Done> {
    let started = Instant::now();
    let installation = match &config.installed {
        None => None,
        Some(path) => Some(read_installation(path)?),
    };
    let platform = platform(&config, installation.as_ref());
    let installed: BTreeSet<String> =
        installation.as_ref().map(|it| it.packages.iter().cloned().collect()).unwrap_or_default();
    config.version = config.version.or(installation.map(|installation| installation.version));
    let client = client(&config);
    let mut places = config.catalogs.clone();
    if config.from_config {
        places.extend(configured::catalogs(config.version.as_deref())?);
    }
    let (catalog, catalog_id) = catalogs::read_all(&config, &places, &client)?;
    let catalog = for_version(catalog, config.version.as_deref());
    let selected = plan::select(&catalog, &config, &installed, platform.as_ref())?;
    let world = World {
        catalog: &catalog,
        installed: &installed,
        platform: platform.as_ref(),
        catalog_id: &catalog_id,
    };

    if config.dry_run {
        return dry_run(&config, &client, &world, &selected);
    }
    let store = Store::open(&config.destination)?;
    let cleanup = {
        let work = store.work_dir();
        edge::on_exit(move || drop(std::fs::remove_dir_all(work)))
    };
    let state = State::load(&store.own_dir(), &store, config.state.as_deref())?;
    let harvest = gather(&config, &client, &store, &state, &world, selected)?;
    drop(cleanup);
    let report = publish::publish(&config, &store, &state, &world, &harvest)?;
    let mut summary = ArchiveSummary {
        kind: "archive".to_owned(),
        v: contract::V,
        destination: config.destination.display().to_string(),
        catalog_id: catalog_id.clone(),
        packages: 0,
        archived: 0,
        unchanged: 0,
        removed: 0,
        failed: 0,
        in_installation: 0,
        fetched_bytes: harvest.fetched_bytes,
        wall_s: (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    };
    for record in &report {
        summary.packages += u64::from(record.status != Status::Removed);
        *match record.status {
            _ if record.in_installation => &mut summary.in_installation,
            Status::Archived => &mut summary.archived,
            Status::Unchanged => &mut summary.unchanged,
            Status::Removed => &mut summary.removed,
            Status::Failed => &mut summary.failed,
        } += 1;
        edge::out::json_line(record)?;
    }
    edge::out::json_line(&summary)?;
    tell(&report, &summary);
    Ok(if summary.failed > 0 { Done::No } else { Done::All })
}

/// Failures told one by one; a dead network must not scroll everything else away.
const FAILURES_TOLD_MAX: usize = 20;

/// What a person wants to know at the end.
fn tell(report: &[Archived], summary: &ArchiveSummary) {
    let failed = || report.iter().filter(|record| record.status == Status::Failed);
    for record in failed().take(FAILURES_TOLD_MAX) {
        edge::say::warning(
            format!("cannot archive \"{}\": {}", record.package, record.message.as_deref().unwrap_or("")),
            None,
        );
    }
    if let Some(more) = failed().count().checked_sub(FAILURES_TOLD_MAX + 1) {
        let hint = "each has its record in the output and in failed/";
        edge::say::warning(format!("cannot archive {} more", more + 1), Some(hint));
    }
    edge::say::info(format!(
        "{} packages: {} archived, {} unchanged, {} failed, {} removed, {} in the installation",
        summary.packages,
        summary.archived,
        summary.unchanged,
        summary.failed,
        summary.removed,
        summary.in_installation
    ));
}

fn read_installation(path: &Path) -> Result<Installation> {
    let text = edge::read_input(path, INSTALLATION_BYTES_MAX)?;
    contract::read(&text).context(Exit::Data, || format!("cannot read installation \"{}\"", path.display()))
}

fn platform(config: &Config, installation: Option<&Installation>) -> Option<Platform> {
    match (&config.platform, installation) {
        (Some(subpath), _) => {
            let system = match subpath.to_ascii_lowercase() {
                lower if lower.contains("win32") || lower.contains("windows") => "windows",
                lower if lower.contains("macosx") => "macosx",
                _ => "unix",
            };
            Some(Platform { system: system.to_owned(), subpath: subpath.clone() })
        }
        (None, Some(it)) => Some(Platform { system: it.system.clone(), subpath: it.platform.clone() }),
        (None, None) => None,
    }
}

fn client(config: &Config) -> fetch::Client {
    fetch::Client::new(fetch::Options {
        per_host: config.per_host,
        retries: config.retries,
        read_timeout: config.silence,
        connect_timeout: config.silence.min(std::time::Duration::from_secs(15)),
        max_bytes: config.limits.packed_bytes,
        cache: if config.cache { fetch::default_cache_dir() } else { None },
        on_event: (edge::say::verbosity() > 0)
            .then(|| Arc::new(|event: &fetch::Event| edge::say::detail(event.to_string())) as _),
        ..fetch::Options::from_environment()
    })
}

/// The catalog as a client of this version of Racket sees it; of no version in particular without one.
fn for_version(catalog: Catalog, version: Option<&str>) -> Catalog {
    let version = version.unwrap_or("default");
    catalog
        .into_iter()
        .map(|(name, entry)| match entry.versions() {
            None => (name, entry),
            Some(_) => {
                let entry = entry.for_version(version);
                (name, entry)
            }
        })
        .collect()
}

/// Archives the selection, and with `--include-deps` what the archived packages turn out to depend on.
fn gather(
    config: &Config,
    client: &fetch::Client,
    store: &Store,
    state: &State,
    world: &World,
    mut selected: BTreeSet<String>,
) -> Result<Harvest> {
    let failed_before: BTreeSet<String> = std::fs::read_dir(store.dir.join("failed"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    let machine = config.info_machine.as_deref().map(InfoMachine::new);
    let mut harvest = Harvest { packages: BTreeMap::new(), fetched_bytes: 0 };
    loop {
        let mut tasks = Vec::new();
        for name in selected.iter().filter(|name| !harvest.packages.contains_key(*name)) {
            let Some((name, entry)) = world.catalog.get_key_value(name.as_str()) else { continue };
            tasks.push(Task::new(name, entry, world.catalog));
        }
        if tasks.is_empty() {
            return Ok(harvest);
        }
        let (installed, tasks): (Vec<Task>, Vec<Task>) =
            tasks.into_iter().partition(|task| world.installed.contains(&task.name));
        harvest.packages.extend(installed.into_iter().map(|task| (task.name.clone(), (task, None))));
        let packages_bar = edge::progress::items("archiving", Some(tasks.len() as u64));
        let fetched = AtomicU64::new(harvest.fetched_bytes);
        let on_package = || packages_bar.inc(1);
        let on_bytes = |bytes| {
            let total = fetched.fetch_add(bytes, Ordering::Relaxed) + bytes;
            packages_bar.set_message(format!("archiving, {:.1} MiB fetched", total as f64 / 1_048_576.0));
        };
        let workshop = Workshop::new(config, client, store, state, machine.as_ref(), &on_package, &on_bytes);
        let outcomes = workshop.run(&tasks, &failed_before)?;
        packages_bar.finish_and_clear();
        harvest.fetched_bytes += workshop.fetched_bytes.load(Ordering::Relaxed);
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            if let (true, Some(Err(trouble))) = (config.fail_fast, &outcome) {
                return Err(stopped(&task, trouble));
            }
            if let (true, Some(Ok(done))) = (config.include_deps, &outcome) {
                let more = done.kept.facts.dependencies.iter();
                let more = more.filter(|dependency| conclude::applies(dependency, world.platform));
                selected.extend(more.map(|it| it.name.clone()).filter(|name| !plan::skipped(name, config)));
            }
            harvest.packages.insert(task.name.clone(), (task, outcome));
        }
    }
}

fn stopped(task: &Task, trouble: &Trouble) -> Failure {
    Failure::new(Exit::No, format!("cannot archive \"{}\": {}", task.name, trouble.message))
        .detail("source", &task.source_text)
        .hint("what was archived before stays; run again to go on, without --fail-fast to skip it")
}

/// One step of a plan that is only told.
#[derive(serde::Serialize)]
struct Planned<'a> {
    kind: &'static str,
    v: u32,
    package: &'a str,
    step: &'static str,
    source: &'a str,
    checksum: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
}

fn dry_run(
    config: &Config,
    client: &fetch::Client,
    world: &World,
    selected: &BTreeSet<String>,
) -> Result<Done> {
    let store = Store::look(&config.destination);
    let state = State::load(&store.own_dir(), &store, config.state.as_deref())?;
    let workshop = Workshop::new(config, client, &store, &state, None, &|| (), &|_| ());
    let mut plan = BTreeMap::new();
    for name in selected {
        let Some((key, entry)) = world.catalog.get_key_value(name.as_str()) else { continue };
        let task = Task::new(key, entry, world.catalog);
        let step = match workshop.step(&task).0 {
            _ if world.installed.contains(name) => "installed",
            Step::Unchanged => "unchanged",
            Step::Look => "look",
            Step::Ask => "ask",
            Step::Fetch => "fetch",
        };
        plan.insert(name.clone(), (Some(task), step));
    }
    for name in store.archived() {
        plan.entry(name).or_insert((None, "remove"));
    }
    for (name, (task, step)) in &plan {
        edge::out::json_line(&Planned {
            kind: "archive-step",
            v: contract::V,
            package: name,
            step,
            source: task.as_ref().map_or("", |task| &task.source_text),
            checksum: task.as_ref().map_or("", |task| &task.checksum),
            repository: task.as_ref().and_then(|task| Some(task.want()?.0)),
        })?;
    }
    Ok(Done::All)
}
