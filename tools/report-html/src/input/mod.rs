//! Reading: sides, logs, and the documents that go with them.

pub mod documents;
pub mod evidence;
pub mod log;
pub mod whole;

use crate::input::log::Log;
use crate::model::facts::{Archive, PackageFacts, SideFacts, archive_failure};
use crate::model::sum::Sum;
use contract::archived::{Archived, Status};
use contract::run::{Finding, Outcome, Run};
use contract::{Document, DocumentError};
use edge::{Exit, Failure, Result};
use rustix::fs::{CWD, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

/// No result is larger; what claims to be is not read.
const RESULT_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of a log that are searched for a telling line when the result names none.
const SEARCH_BYTES: u64 = 64 * 1024;

/// Results are read twice, for the model and for their pages; so many bytes of a side are kept from the first time.
const KEPT_BYTES: usize = 24 * 1024 * 1024;

/// Where the parts of a side are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Holds `results`, `logs`, `built`.
    pub out: PathBuf,
    /// Holds `manifest.jsonl` and `failed`; may be missing.
    pub archive: Option<PathBuf>,
    /// Results that were read, by package: as many as are worth keeping.
    kept: BTreeMap<String, Box<[u8]>>,
}

impl Layout {
    /// The run of a package; `None` when the archive failed and nothing ran, or when it was replaced by something else
    /// meanwhile.
    pub fn run_of(&self, package: &str) -> Option<Run> {
        if package.contains('/') {
            return None;
        }
        if let Some(text) = self.kept.get(package) {
            return parse_run(text).ok();
        }
        let path = self.out.join("results").join(format!("{package}.json"));
        parse_run(&read_text(CWD, &path).ok()?).ok()
    }
}

/// Finds the parts of a side: `dir` is what pkg-run-one wrote, or a directory with `out` and `archive` in it.
pub fn layout(dir: &Path) -> Result<Layout> {
    let is_archive = |dir: &Path| dir.join("manifest.jsonl").is_file() || dir.join("failed").is_dir();
    let inner = dir.join("archive");
    if dir.join("results").is_dir() {
        let beside =
            dir.canonicalize().ok().and_then(|dir| dir.parent().map(|parent| parent.join("archive")));
        let archive = Some(inner).filter(|dir| is_archive(dir)).or(beside.filter(|dir| is_archive(dir)));
        return Ok(Layout { out: dir.to_owned(), archive, ..Layout::default() });
    }
    if dir.join("out").is_dir() || is_archive(&inner) {
        let archive = Some(inner).filter(|dir| is_archive(dir));
        return Ok(Layout { out: dir.join("out"), archive, ..Layout::default() });
    }
    let why = if dir.is_dir() {
        "neither \"results\" nor \"out\" nor \"archive\" is in it"
    } else {
        "no such directory"
    };
    Err(Failure::unavailable(format!("cannot read side \"{}\": {why}", dir.display()))
        .hint("name the directory that pkg-run-one --out wrote to, or the one that holds out/ and archive/"))
}

/// Reads all of a side. A file that is no result does not end it: it is listed in [`SideFacts::unreadable`].
pub fn read_side(layout: &mut Layout, label: &str) -> Result<SideFacts> {
    let mut side = SideFacts { label: label.to_owned(), ..SideFacts::default() };
    if let Some(archive) = &layout.archive {
        side.manifest = Some(read_archive(archive, &mut side.unreadable)?);
    }
    let names = result_names(&layout.out.join("results"))?;
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    let out = layout.out.as_path();
    let parts: Vec<Part> = std::thread::scope(|scope| {
        let work: Vec<_> = names
            .chunks(names.len().div_ceil(threads).max(1))
            .map(|names| scope.spawn(move || read_part(out, names, KEPT_BYTES / threads)))
            .collect();
        work.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    for part in parts {
        let places = side.sum.merge(part.sum);
        for (name, mut facts) in part.packages {
            facts.limits = facts.limits.and_then(|at| places.get(at).copied());
            side.states.insert(name, facts);
        }
        side.unreadable.extend(part.unreadable);
        layout.kept.extend(part.kept);
    }
    let failed = side.manifest.iter().flatten().filter_map(|(name, archive)| {
        let (code, message) = archive.failed.as_ref()?;
        Some((name.clone(), code.clone(), message.clone(), archive))
    });
    for (name, code, message, archive) in failed {
        match side.states.get_mut(&name) {
            // the archive knows better than the run why there was no source
            Some(facts) if facts.state.outcome == Outcome::ArchiveFail => {
                facts.state = crate::model::facts::archive_failure(&name, &code, &message);
            }
            Some(_) => {}
            None => {
                let facts = PackageFacts {
                    state: archive_failure(&name, &code, &message),
                    checksum: String::new(),
                    dependencies: Vec::new(),
                    dependents: archive.dependents,
                    author: archive.author.clone(),
                    limits: None,
                    image_id: String::new(),
                };
                side.states.insert(name, facts);
            }
        }
    }
    // what the archive found wrong with the declarations belongs to the package's findings
    for (name, archive) in side.manifest.iter_mut().flatten() {
        if let Some(facts) = side.states.get_mut(name) {
            facts.state.findings.append(&mut archive.findings);
            facts.state.findings.sort();
            facts.state.findings.dedup();
        }
    }
    side.unreadable.sort();
    Ok(side)
}

/// File names in `results`, sorted; none when the directory is not there yet.
fn result_names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::unavailable(format!("cannot read results \"{}\": {error}", dir.display())));
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json") && !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    Ok(names)
}

#[derive(Default)]
struct Part {
    packages: Vec<(String, PackageFacts)>,
    unreadable: Vec<(String, String)>,
    sum: Sum,
    kept: Vec<(String, Box<[u8]>)>,
}

fn read_part(out: &Path, names: &[String], keep_bytes: usize) -> Part {
    let mut part = Part::default();
    let mut left = keep_bytes;
    let how = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(out.join("results"), how, Mode::empty()) else { return part };
    for name in names {
        let read =
            read_text(directory.as_fd(), Path::new(name)).and_then(|text| Ok((parse_run(&text)?, text)));
        match read {
            Ok((run, text)) => {
                let stem = name.strip_suffix(".json").unwrap_or(name);
                // the document of a cycle stands under each of its names: each file is about its own
                let package = match run.packages.iter().find(|package| *package == stem) {
                    Some(package) => package.clone(),
                    None if run.packages.len() == 1 => run.packages[0].clone(),
                    None => stem.to_owned(),
                };
                let mut facts = PackageFacts::of(&run, &package, &mut part.sum);
                if facts.state.outcome != Outcome::Pass && facts.state.message.is_empty() {
                    facts.state.message = telling_line(out, &run).unwrap_or_default();
                }
                if let Some(rest) = left.checked_sub(text.len()) {
                    left = rest;
                    part.kept.push((package.clone(), text.into_boxed_slice()));
                }
                part.packages.push((package, facts));
            }
            Err(why) => part.unreadable.push((format!("results/{name}"), why)),
        }
    }
    part
}

/// One `run` document. There may be 40,000: the text is parsed once, and a second time only to say what is wrong with it.
fn parse_run(text: &[u8]) -> std::result::Result<Run, String> {
    match serde_json::from_slice::<Run>(text) {
        Ok(run) if run.kind == Run::KIND && run.v == contract::V => Ok(run),
        _ => contract::read(text).map_err(|error| error.to_string()),
    }
}

fn read_document<D: Document>(path: &Path) -> std::result::Result<D, String> {
    contract::read(&read_text(CWD, path)?).map_err(|error| error.to_string())
}

/// All of a small file, with as few system calls as can be.
fn read_text(directory: BorrowedFd, path: &Path) -> std::result::Result<Vec<u8>, String> {
    let file = rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| std::io::Error::from(error).to_string())?;
    let mut text = Vec::with_capacity(8 * 1024);
    File::from(file).take(RESULT_MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > RESULT_MAX_BYTES {
        return Err(format!("more than {RESULT_MAX_BYTES} bytes"));
    }
    Ok(text)
}

/// The telling line of the log of the phase that failed.
fn telling_line(out: &Path, run: &Run) -> Option<String> {
    let failed = run.phases.iter().rev().find(|phase| phase.status == contract::run::PhaseStatus::Fail)?;
    let log = Log::read(&log_path(out, failed.log.as_deref()?)?, SEARCH_BYTES, SEARCH_BYTES).ok()?;
    let last = || log.lines().rev().find(|(_, line)| !line.trim().is_empty()).map(|(at, _)| at);
    let at = log.telling("").or_else(last)?;
    log.lines().nth(at).map(|(_, line)| crate::model::facts::first_line(line))
}

/// Path of a log below `out`; `None` for one that would leave it.
pub fn log_path(out: &Path, relative: &str) -> Option<PathBuf> {
    let relative = Path::new(relative);
    let stays = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    stays.then(|| out.join(relative))
}

/// `manifest.jsonl` line by line, then `failed/*.json`.
fn read_archive(dir: &Path, unreadable: &mut Vec<(String, String)>) -> Result<BTreeMap<String, Archive>> {
    let mut packages = BTreeMap::new();
    let manifest = dir.join("manifest.jsonl");
    match File::open(&manifest) {
        Ok(file) => {
            let mut lines = BufReader::with_capacity(256 * 1024, file);
            let mut line = Vec::new();
            for number in 1.. {
                line.clear();
                let read = lines.by_ref().take(RESULT_MAX_BYTES).read_until(b'\n', &mut line);
                match read {
                    Ok(0) => break,
                    Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
                    Ok(_) => match contract::read::<Archived>(&line) {
                        Ok(record) => drop(packages.insert(record.package.clone(), archive_facts(record))),
                        // a summary may end the file
                        Err(DocumentError::Kind { .. }) => {}
                        Err(error) => {
                            unreadable.push((format!("manifest.jsonl:{number}"), error.to_string()))
                        }
                    },
                    Err(error) => {
                        return Err(Failure::new(
                            Exit::Unavailable,
                            format!("cannot read manifest \"{}\": {error}", manifest.display()),
                        ));
                    }
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Failure::unavailable(format!(
                "cannot read manifest \"{}\": {error}",
                manifest.display()
            )));
        }
    }
    for name in result_names(&dir.join("failed"))? {
        match read_document::<Archived>(&dir.join("failed").join(&name)) {
            Ok(record) => drop(packages.insert(record.package.clone(), archive_facts(record))),
            Err(why) => unreadable.push((format!("failed/{name}"), why)),
        }
    }
    Ok(packages)
}

fn archive_facts(record: Archived) -> Archive {
    let failed = (record.status == Status::Failed).then(|| {
        let code = record.cause.and_then(|cause| serde_json::to_value(cause).ok());
        let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("archive").to_owned();
        (code, record.message.unwrap_or_else(|| "could not be archived".to_owned()))
    });
    let mut dependencies: Vec<String> =
        record.dependencies.into_iter().map(|dependency| dependency.name).collect();
    dependencies.sort_unstable();
    dependencies.dedup();
    Archive {
        content: record.zip_checksum.unwrap_or(record.checksum),
        source: record.source,
        dependencies,
        dependents: record.dependents,
        author: record.author,
        in_installation: record.in_installation,
        failed,
        findings: record
            .findings
            .into_iter()
            .map(|finding| Finding { code: finding.code, message: finding.message })
            .collect(),
    }
}
