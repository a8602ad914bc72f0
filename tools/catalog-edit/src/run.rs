use crate::args::Config;
use crate::checkout::Checkouts;
use crate::select::{Absent, Fate, Member, decide};
use crate::steps::{Edit, Selector, Step};
use crate::{diff, directory, git, lines};
use catalog::{Entry, Name, Target};
use edge::{Context, Done, Exit, Failure, Result};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

/// Lists of names are written by people or by other programs; 64 MiB are millions of names.
const MAX_NAMES_BYTES: u64 = 64 << 20;

pub fn run(mut config: Config) -> Result<Done> {
    let is_filter = config.is_filter();
    read_names(&mut config.steps, is_filter)?;
    let mut job = Job { config, checkouts: Checkouts::default() };
    if job.config.is_filter() {
        edge::refuse_terminal_stdin("package lines")?;
        return lines::filter(&mut job);
    }
    let catalog = job.config.catalog.clone();
    let shown = catalog.display();
    if catalog.to_str().is_some_and(|text| text.starts_with("http://") || text.starts_with("https://")) {
        return Err(Failure::usage(format!("cannot edit \"{shown}\" in place: it is on a server"))
            .hint(format!("catalog-copy {shown} - | catalog-edit … | catalog-copy - DIR")));
    }
    let metadata = std::fs::metadata(&catalog)
        .context(Exit::Unavailable, || format!("cannot read catalog \"{shown}\""))?;
    if metadata.is_dir() {
        return directory::edit(&mut job, &catalog);
    }
    if is_sqlite(&catalog) {
        return Err(Failure::usage(format!("cannot edit \"{shown}\" in place: it is a SQLite database"))
            .hint(format!("catalog-copy {shown} - | catalog-edit … | catalog-copy --force - {shown}")));
    }
    lines::edit_file(&mut job, &catalog)
}

fn is_sqlite(path: &Path) -> bool {
    let mut start = [0; 16];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
    path.extension().is_some_and(|suffix| suffix == "sqlite")
        || (read.is_ok() && &start == b"SQLite format 3\0")
}

/// Fills in the names of `--names-from`.
fn read_names(steps: &mut [Step], is_filter: bool) -> Result<()> {
    for step in steps {
        let Step::Select(Selector::NamesFrom(path, names)) = step else { continue };
        if path == Path::new("-") && is_filter {
            return Err(Failure::usage("stdin cannot be both package lines and --names-from")
                .hint("name the catalog: … | catalog-edit --names-from - DIR"));
        }
        let text = edge::read_input(path, MAX_NAMES_BYTES)?;
        for (at, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()) {
                let name = Name::new(word).map_err(|bad| {
                    Failure::data(format!(
                        "cannot read names from \"{}\": line {}: {bad}",
                        path.display(),
                        at + 1
                    ))
                })?;
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(Failure::data(format!("cannot select by \"{}\": no name in it", path.display())));
        }
        names.sort_unstable();
        names.dedup();
    }
    Ok(())
}

/// What is to be done, and what was found out for it.
pub struct Job {
    pub config: Config,
    checkouts: Checkouts,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Tally {
    pub selected: u64,
    pub changed: u64,
    pub removed: u64,
}

impl Job {
    /// True when there is something to edit; false when the selection is only to be printed.
    pub fn edits(&self) -> bool {
        self.config.steps.iter().any(|step| matches!(step, Step::Edit(_)))
    }

    /// Decides on every package, and finds out what the decisions need: commits, working copies.
    pub fn decide(&mut self, members: &[Member], place: &str) -> Result<Vec<Fate>> {
        let fates = decide(&self.config.steps, members).map_err(|absent| not_found(absent, place))?;
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for (at, step) in self.config.steps.iter_mut().enumerate() {
            match step {
                Step::Edit(Edit::ToCheckout(dir)) => self.checkouts.add(dir)?,
                Step::Edit(Edit::To { target, commit: commit @ None })
                    if fates.iter().any(|fate| fate.edits.contains(&at)) =>
                {
                    let key =
                        format!("{} {}", target.git_url(), target.reference.as_deref().unwrap_or_default());
                    *commit = Some(match found.get(&key) {
                        Some(known) => known.clone(),
                        None => {
                            let looked_up = look_up(target)?;
                            found.entry(key).or_insert(looked_up).clone()
                        }
                    });
                }
                _ => {}
            }
        }
        Ok(fates)
    }

    /// Edits one entry as its fate says; tells the difference. True when it changed.
    pub fn apply(&mut self, fate: &Fate, name: &Name, entry: &mut Entry) -> Result<bool> {
        let old = entry.clone();
        crate::apply::apply(&self.config, &fate.edits, &mut self.checkouts, name, entry)?;
        if self.config.diff {
            show(&diff::changed(name, &old, entry));
        }
        Ok(old != *entry)
    }

    /// Tells the difference that taking out a package makes.
    pub fn tell_removed(&self, name: &Name, entry: &Entry) {
        if self.config.diff {
            show(&diff::removed(name, entry));
        }
    }
}

fn look_up(target: &Target) -> Result<String> {
    let commit = git::look_up(target)?;
    let reference = target.reference.as_deref().unwrap_or("the head");
    edge::say::detail(format!("{reference} of \"{}\" is at {commit}", target.git_url()));
    Ok(commit)
}

fn not_found(absent: Vec<Absent>, place: &str) -> Failure {
    let near: Vec<&str> = absent.iter().flat_map(|absent| &absent.near).map(String::as_str).collect();
    let mut failure = Failure::unavailable(match absent.first() {
        Some(first) => format!("cannot find {} in {place}", first.what),
        None => format!("cannot find everything in {place}"),
    });
    for more in absent.iter().skip(1).take(20) {
        failure = failure.detail("nor", &more.what);
    }
    if absent.len() > 21 {
        failure = failure.detail("nor", format!("{} more", absent.len() - 21));
    }
    if !near.is_empty() {
        let near: Vec<&str> = near.iter().take(6).copied().collect();
        failure = failure.hint(format!("did you mean {}?", near.join(", ")));
    }
    failure
}

/// A difference on stderr, in colour on a terminal.
fn show(difference: &str) {
    let colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    if !colour {
        return edge::say::text(difference);
    }
    let painted: String = difference
        .lines()
        .map(|line| match line.as_bytes().first() {
            _ if line.starts_with("---") || line.starts_with("+++") => format!("\x1b[1m{line}\x1b[0m\n"),
            Some(b'-') => format!("\x1b[31m{line}\x1b[0m\n"),
            Some(b'+') => format!("\x1b[32m{line}\x1b[0m\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    edge::say::text(&painted);
}
