use crate::args::{Config, Logs as Which};
use crate::formats::atom;
use crate::formats::badge;
use crate::formats::junit;
use crate::formats::markdown;
use crate::formats::summary_rktd::{Logs, summary};
use crate::input::evidence::{Excerpt, LogPage, excerpt, logs, read_log};
use crate::input::{Layout, log_path};
use crate::model::depend::Graph;
use crate::pages::html::{address, file_name};
use crate::pages::package::{Neighbours, SideView};
use crate::pages::regressions::GROUPS_IN_FULL;
use crate::pages::{self, package_href, shell_line};
use crate::pages::{graph as picture_of, plots};
use crate::run;
use crate::site::Site;
use contract::report::{Entry, Report, Verdict};
use contract::run::{Outcome, Run};
use edge::{Result, progress, say};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More packages than this: `--logs auto` leaves out the logs of those that pass on both sides.
const MANY: usize = 500;
/// Lines before and after the telling one, in a card of the overview and in a package's page.
const CARD_LINES: (usize, usize) = (3, 5);
const PAGE_LINES: (usize, usize) = (8, 12);

/// Where the runs' own files are.
#[derive(Debug)]
pub struct Sides<'a> {
    pub new: &'a Layout,
    pub old: Option<&'a Layout>,
}

/// Writes the whole site. Pages of packages come first and the overview last, so that nothing leads to a page that is not there
/// yet; what belongs to packages that are gone is removed at the end.
pub fn write(config: &Config, site: &Site, report: &Report, graph: &Graph, sides: &Sides) -> Result<()> {
    for dir in ["packages", "logs"] {
        site.begin(dir)?;
    }
    // the model is the longest of the files that wait for nothing
    let (model, done) = both(
        || site.write("report.json", &run::pretty(report)?),
        || package_pages(config, site, report, graph, sides),
    );
    model?;
    let done = done?;
    for dir in ["packages", "logs"] {
        site.end(dir)?;
    }
    let evidence = evidence(report, sides, &done.logs);
    let (names, lists) = both(|| formats(config, site, report, &evidence, &done), || lists(site, report));
    let (feeds, badges) = names?;
    lists?;
    let picture = picture_of::fallen(report, graph);
    site.write("index.html", &pages::index::index(report, &evidence, picture.as_ref(), config.watch))?;

    let wanted: BTreeSet<String> =
        report.packages.iter().map(|entry| format!("{}.html", file_name(&entry.package))).collect();
    site.prune_temporary()?;
    site.prune("packages", |name| wanted.contains(name))?;
    site.prune("feeds", |name| feeds.contains(name))?;
    site.prune("badges", |name| badges.contains(name))?;
    site.prune("logs", |name| name == "new" || name == "old")?;
    for side in ["new", "old"] {
        let directories: BTreeSet<&str> =
            done.log_files.iter().filter_map(|path| inside(path, side)).collect();
        site.prune(&format!("logs/{side}"), |name| directories.contains(name))?;
        for directory in directories {
            let prefix = format!("logs/{side}/{directory}");
            site.prune(&prefix, |name| done.log_files.contains(&format!("{prefix}/{name}")))?;
        }
    }
    say::detail(format!(
        "{} files written, {} as they were",
        site.written.load(Relaxed),
        site.unchanged.load(Relaxed)
    ));
    Ok(())
}

/// Two pieces of work side by side.
fn both<A: Send, B>(
    a: impl FnOnce() -> Result<A> + Send,
    b: impl FnOnce() -> Result<B>,
) -> (Result<A>, Result<B>) {
    std::thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b();
        (a.join().unwrap_or_else(|_| Err(edge::Failure::bug("a thread that writes panicked"))), b)
    })
}

/// The pages of all packages together.
fn lists(site: &Site, report: &Report) -> Result<()> {
    site.write("packages.html", &pages::packages::packages(report))?;
    site.write("plots.html", &plots::plots(report))?;
    site.write("messages.html", &pages::messages::messages(report))?;
    site.write("findings.html", &pages::findings::findings(report))?;
    site.write("about.html", &pages::about::about(report))
}

/// The report in forms that others read; gives the names in `feeds` and in `badges`.
fn formats(
    config: &Config,
    site: &Site,
    report: &Report,
    evidence: &BTreeMap<String, (Excerpt, String)>,
    done: &Written,
) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let base_url = config.base_url.as_deref();
    site.write("report.md", markdown::markdown(report, evidence, base_url).as_bytes())?;
    site.write("junit.xml", &junit::junit(report))?;
    site.write("summary.rktd", summary(report, &done.logs).as_bytes())?;
    let mut feeds = BTreeSet::new();
    for (path, data) in atom::feeds(report, base_url) {
        site.write(&path, &data)?;
        feeds.extend(path.strip_prefix("feeds/").map(str::to_owned));
    }
    let mut badges = BTreeSet::from(["packages".to_owned()]);
    for (path, data) in badge::badges(report) {
        site.write(&path, &data)?;
        badges.extend(path.strip_prefix("badges/").map(str::to_owned));
    }
    site.link_all("badges/packages", &badge::of_packages(report))?;
    Ok((feeds, badges))
}

/// `DIR` of `logs/SIDE/DIR/FILE`.
fn inside<'a>(path: &'a str, side: &str) -> Option<&'a str> {
    path.strip_prefix("logs/")?.strip_prefix(side)?.strip_prefix('/')?.split('/').next()
}

#[derive(Default)]
struct Written {
    /// For summary.rktd, and for the links of the overview.
    logs: BTreeMap<String, Logs>,
    log_files: BTreeSet<String>,
}

fn package_pages(
    config: &Config,
    site: &Site,
    report: &Report,
    graph: &Graph,
    sides: &Sides,
) -> Result<Written> {
    let bar = progress::items("pages", Some(report.packages.len() as u64));
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    let parts: Vec<Result<Written>> = std::thread::scope(|scope| {
        let work = || -> Result<Written> {
            let mut written = Written::default();
            loop {
                let from = next.fetch_add(64, Relaxed);
                let Some(entries) = report.packages.get(from..report.packages.len().min(from + 64)) else {
                    break;
                };
                if entries.is_empty() {
                    break;
                }
                for (n, entry) in entries.iter().enumerate() {
                    one_package(config, site, report, graph, sides, entry, from + n, &mut written)?;
                }
                bar.inc(entries.len() as u64);
            }
            Ok(written)
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|_| Err(edge::Failure::bug("a thread that writes pages panicked")))
            })
            .collect()
    });
    bar.finish_and_clear();
    let mut all = Written::default();
    for part in parts {
        let part = part?;
        all.logs.extend(part.logs);
        all.log_files.extend(part.log_files);
    }
    Ok(all)
}

#[allow(clippy::too_many_arguments)]
fn one_package(
    config: &Config,
    site: &Site,
    report: &Report,
    graph: &Graph,
    sides: &Sides,
    entry: &Entry,
    number: usize,
    written: &mut Written,
) -> Result<()> {
    let passing = matches!(entry.verdict, Verdict::StillPassing | Verdict::Passing);
    let with_logs = match config.logs {
        Which::All => true,
        Which::None => false,
        Which::Failed => !passing,
        Which::Auto => !passing || report.packages.len() <= MANY,
    };
    let mut views = [SideView::default(), SideView::default()];
    let places = [("old", sides.old, &entry.old), ("new", Some(sides.new), &entry.new)];
    for (view, (side, layout, state)) in views.iter_mut().zip(places) {
        let (Some(layout), Some(state)) = (layout, state) else { continue };
        view.run = layout.run_of(&entry.package);
        let Some(run) = &view.run else { continue };
        if with_logs {
            for mut page in logs(run, side, &entry.package) {
                let Some(log) = read_log(layout, &page.log) else { continue };
                if log.skipped_bytes.is_some() && log.total_bytes <= config.whole_logs_bytes {
                    let whole = format!("{}.txt", page.page.trim_end_matches(".html"));
                    if let Some(path) = log_path(&layout.out, &page.log) {
                        site.copy_log(&whole, &path)?;
                        written.log_files.insert(whole.clone());
                        page.whole = Some(whole);
                    }
                }
                let fails = run.phases.iter().any(|phase| {
                    phase.log.as_ref() == Some(&page.log) && phase.status == contract::run::PhaseStatus::Fail
                });
                let hit = if fails { log.telling(&state.message) } else { None };
                site.write(&page.page, &pages::log::log_page(report, &page, &log, hit))?;
                written.log_files.insert(page.page.clone());
                view.logs.push(page);
            }
        }
        if state.outcome != Outcome::Pass {
            view.excerpt = excerpt(layout, run, &state.message, &view.logs, PAGE_LINES.0, PAGE_LINES.1);
        }
    }
    let [old, mut new] = views;
    new.documents =
        config.site.as_deref().map(|place| documents(site, place, new.run.as_ref())).unwrap_or_default();
    let name_of = |n: &usize| graph.names[*n].as_str();
    let depends = Neighbours {
        dependencies: graph.dependencies[number].iter().map(name_of).collect(),
        dependents: graph.dependents[number].iter().map(name_of).collect(),
    };
    site.write(&package_href(&entry.package), &pages::package::package(report, entry, &old, &new, &depends))?;
    if let Some(run) = new.run {
        let pages = by_phase(&new.logs);
        if !pages.is_empty() || !run.docs.is_empty() {
            written.logs.insert(entry.package.clone(), Logs { pages, docs: run.docs });
        }
    }
    Ok(())
}

/// The documents of a run that the site has, and where they are, seen from a package's page.
fn documents(site: &Site, place: &str, run: Option<&Run>) -> BTreeMap<String, String> {
    let is_url = place.starts_with("https://") || place.starts_with("http://");
    let names = run.iter().flat_map(|run| &run.docs).filter(|doc| doc.status != "none").map(|doc| &doc.name);
    // a name with a slash is no name of a document
    names
        .filter(|name| !name.contains('/') && !name.starts_with('.'))
        .filter_map(|name| {
            let index = format!("doc/{}/index.html", address(name));
            let there = || Path::new(place).join("doc").join(name).join("index.html").is_file();
            let href = match is_url {
                true => format!("{place}/{index}"),
                false if there() => format!("../{}/{index}", site.way_to(Path::new(place))?),
                false => return None,
            };
            Some((name.clone(), href))
        })
        .collect()
}

fn by_phase(logs: &[LogPage]) -> BTreeMap<String, String> {
    let pairs = logs.iter().flat_map(|log| log.phases.iter().map(|phase| (phase.clone(), log.page.clone())));
    pairs.collect()
}

/// For each group the telling lines of its example and the command that repeats it.
fn evidence(
    report: &Report,
    sides: &Sides,
    logs: &BTreeMap<String, Logs>,
) -> BTreeMap<String, (Excerpt, String)> {
    let mut evidence = BTreeMap::new();
    for group in report.groups.iter().take(GROUPS_IN_FULL) {
        let Some(run) = sides.new.run_of(&group.example) else { continue };
        let pages: Vec<LogPage> = crate::input::evidence::logs(&run, "new", &group.example)
            .into_iter()
            .filter(|page| {
                logs.get(&group.example)
                    .is_some_and(|made| made.pages.values().any(|made| *made == page.page))
            })
            .collect();
        let lines = excerpt(sides.new, &run, &group.title, &pages, CARD_LINES.0, CARD_LINES.1);
        evidence.insert(group.id.clone(), (lines.unwrap_or_default(), shell_line(&run.command)));
    }
    evidence
}
