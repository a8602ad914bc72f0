//! A catalog directory, edited in place: `pkgs-all`, `pkgs` and `pkg/NAME`, whichever of them are there, change
//! together. What is not edited stays byte for byte.

use crate::lines::summary;
use crate::run::{Job, Tally};
use crate::select::{Fate, Member, examine};
use crate::steps::{Edit, Step};
use catalog::{ContentId, DirectoryError, Entry, Name, check_item, entry_digest};
use contract::package::Package;
use edge::{Context, Done, Exit, Failure, Result, out, progress};
use racket_data::HashStream;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

mod journal;
mod pieces;
mod replace;

/// What is in the directory.
struct Directory {
    path: PathBuf,
    /// Text of `pkgs-all`.
    all: Option<Vec<u8>>,
    /// Text of `pkgs`.
    names: Option<Vec<u8>>,
    /// True when there is a `pkg/`.
    has_files: bool,
    /// Sorted by name.
    packages: Vec<Found>,
}

struct Found {
    member: Member,
    /// Where its item stands in `pkgs-all`.
    range: Range<usize>,
}

/// What is to be written: text by path relative to the directory, `None` for what is to go away.
pub type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

pub fn edit(job: &mut Job, path: &Path) -> Result<Done> {
    let place = format!("\"{}\"", path.display());
    let real = path.canonicalize().context(Exit::Unavailable, || format!("cannot read catalog {place}"))?;
    let lock = if job.edits() && !job.config.dry_run { Some(replace::lock(&real)?) } else { None };
    let mut id = ContentId::new();
    let directory = Directory::read(path, job, &mut id)?;
    let (members, ranges): (Vec<Member>, Vec<Range<usize>>) =
        directory.packages.into_iter().map(|found| (found.member, found.range)).unzip();
    let directory = Directory { packages: Vec::new(), ..directory };
    let fates = job.decide(&members, &place)?;
    let mut edited: HashMap<usize, Option<Entry>> = HashMap::new();
    let mut tally = Tally::default();
    for (at, (member, fate)) in members.iter().zip(&fates).enumerate() {
        tally.selected += u64::from(fate.why.is_some());
        let why = fate.why.as_ref().filter(|_| !job.edits() || job.config.explain);
        if fate.gone && job.edits() {
            if job.config.diff {
                job.tell_removed(&member.name, &directory.entry(&member.name, &ranges[at])?);
            }
            tally.removed += 1;
            edited.insert(at, None);
        }
        if fate.gone || (fate.edits.is_empty() && why.is_none()) {
            continue;
        }
        let mut entry = directory.entry(&member.name, &ranges[at])?;
        let changed = job.apply(fate, &member.name, &mut entry)?;
        if let Some(why) = why {
            let why = Some(why.clone()).filter(|_| job.config.explain);
            out::json_line(&Package { why, ..Package::new(member.name.clone(), entry.clone()) })?;
        }
        if changed {
            tally.changed += 1;
            id.add(member.name.as_str(), entry_digest(&entry));
            edited.insert(at, Some(entry));
        }
    }
    if !job.edits() {
        return Ok(Done::All);
    }
    let mut files = directory.changes(&members, &fates, &ranges, &edited)?;
    if job.config.steps.iter().any(|step| matches!(step, Step::Edit(Edit::Keep))) {
        files.extend(directory.strays(&members)?);
    }
    if let Some(lock) = lock.filter(|_| !files.is_empty()) {
        replace::replace(lock, &real, &files)?;
    }
    for (member, fate) in members.iter().zip(&fates) {
        if fate.gone {
            id.remove(member.name.as_str());
        }
    }
    out::json_line(&summary(path, &tally, members.len(), &id))?;
    Ok(Done::All)
}

impl Directory {
    fn read(path: &Path, job: &Job, id: &mut ContentId) -> Result<Directory> {
        let (all, names) = (read_if_there(&path.join("pkgs-all"))?, read_if_there(&path.join("pkgs"))?);
        let has_files = path.join("pkg").is_dir();
        if all.is_none() && !has_files {
            return Err(Failure::data(format!(
                "\"{}\" is no catalog: neither \"pkgs-all\" nor \"pkg\" in it",
                path.display()
            ))
            .hint("catalog-copy SOURCE DIR makes one"));
        }
        let mut directory = Directory { path: path.to_owned(), all, names, has_files, packages: Vec::new() };
        let bar = progress::items("reading", None);
        let look = |name: Name, entry: Entry, range: Range<usize>| {
            bar.inc(1);
            let member = examine(&job.config.steps, job.config.platform.as_ref(), &name, &entry);
            (entry_digest(&entry), Found { member, range })
        };
        let looked_at = match &directory.all {
            Some(all) => {
                pieces::read(all, &look).map_err(|error| cannot_read(&path.join("pkgs-all"), &error))?
            }
            None => directory
                .file_names()?
                .into_iter()
                .map(|name| directory.entry(&name, &(0..0)).map(|entry| look(name, entry, 0..0)))
                .collect::<Result<_>>()?,
        };
        bar.finish_and_clear();
        // of the same key twice the last one counts
        let mut packages: BTreeMap<Name, Found> = BTreeMap::new();
        for (digest, found) in looked_at {
            id.add(found.member.name.as_str(), digest);
            packages.insert(found.member.name.clone(), found);
        }
        directory.packages = packages.into_values().collect();
        Ok(directory)
    }

    /// Names of the files in `pkg/`; what cannot be a package there is left alone.
    fn file_names(&self) -> Result<Vec<Name>> {
        let dir = self.path.join("pkg");
        let list = || -> std::io::Result<Vec<Name>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&dir)? {
                let entry = entry?;
                let name = entry.file_name().into_string().ok().and_then(|name| Name::new(name).ok());
                if let Some(name) = name.filter(|_| entry.path().is_file()) {
                    names.push(name);
                }
            }
            Ok(names)
        };
        list().context(Exit::Unavailable, || format!("cannot read \"{}\"", dir.display()))
    }

    /// The entry of a package, from where it counts: `pkgs-all` if there is one, else `pkg/NAME`.
    fn entry(&self, name: &Name, range: &Range<usize>) -> Result<Entry> {
        if let Some(all) = &self.all {
            let mut text = b"#hash(".to_vec();
            text.extend(&all[range.clone()]);
            text.push(b')');
            let item = HashStream::new(text.as_slice()).next();
            let item =
                item.and_then(std::result::Result::ok).and_then(|item| check_item(item.key, item.value).ok());
            return match item {
                Some((_, entry)) => Ok(entry),
                None => Err(Failure::bug(format!("entry of \"{name}\" is not where it was"))),
            };
        }
        let path = self.path.join("pkg").join(name.as_str());
        let text = edge::read_input(&path, MAX_BYTES)?;
        catalog::read_entry(&text).map_err(|error| cannot_read(&path, &error))
    }

    /// Files in `pkg/` that `pkgs-all` does not know, and that a look-up of one name would find all the same.
    fn strays(&self, members: &[Member]) -> Result<Files> {
        if self.all.is_none() || !self.has_files {
            return Ok(Files::new());
        }
        // members are sorted by name
        let is_known = |name: &Name| members.binary_search_by(|member| member.name.cmp(name)).is_ok();
        let strays = self.file_names()?.into_iter().filter(|name| !is_known(name));
        Ok(strays.map(|name| (Path::new("pkg").join(name.as_str()), None)).collect())
    }

    /// The files that change.
    fn changes(
        &self,
        members: &[Member],
        fates: &[Fate],
        ranges: &[Range<usize>],
        edited: &HashMap<usize, Option<Entry>>,
    ) -> Result<Files> {
        let mut files = Files::new();
        if edited.is_empty() {
            return Ok(files);
        }
        if let Some(all) = &self.all {
            files.insert("pkgs-all".into(), Some(splice(all, members, ranges, edited)));
        }
        let removes = fates.iter().any(|fate| fate.gone);
        if let Some(names) = self.names.as_ref().filter(|_| removes) {
            let path = self.path.join("pkgs");
            let listed = catalog::read_names(names).map_err(|error| cannot_read(&path, &error))?;
            let gone: std::collections::HashSet<&Name> = members
                .iter()
                .zip(fates)
                .filter(|(_, fate)| fate.gone)
                .map(|(member, _)| &member.name)
                .collect();
            let mut text = catalog::write_names(listed.iter().filter(|name| !gone.contains(name)));
            if names.ends_with(b"\n") {
                text.push('\n');
            }
            files.insert("pkgs".into(), Some(text.into_bytes()));
        }
        if self.has_files {
            for (at, entry) in edited {
                let path = Path::new("pkg").join(members[*at].name.as_str());
                files.insert(path, entry.as_ref().map(|entry| catalog::write_entry(entry).into_bytes()));
            }
        }
        Ok(files)
    }
}

/// `pkgs-all` with the edited entries in their old places and everything between them as it was.
fn splice(
    all: &[u8],
    members: &[Member],
    ranges: &[Range<usize>],
    edited: &HashMap<usize, Option<Entry>>,
) -> Vec<u8> {
    let mut order: Vec<usize> = edited.keys().copied().collect();
    order.sort_by_key(|at| ranges[*at].start);
    let mut text = Vec::with_capacity(all.len() + 1024);
    let mut done = 0;
    for at in order {
        let range = &ranges[at];
        text.extend(&all[done..range.start]);
        done = range.end;
        match &edited[&at] {
            Some(entry) => {
                let mut item = String::from("(");
                racket_data::write_str(&mut item, members[at].name.as_str());
                item.push_str(" . ");
                catalog::write_entry_into(&mut item, entry);
                item.push(')');
                text.extend(item.as_bytes());
            }
            // the space before it goes too, or for the first one the space after it
            None if text.ends_with(b" ") || text.ends_with(b"\n") => {
                text.pop();
            }
            None if all[done..].starts_with(b" ") => done += 1,
            None => {}
        }
    }
    text.extend(&all[done..]);
    text
}

/// Largest file of a catalog; 2,500 packages have 7 MB.
const MAX_BYTES: u64 = 2 << 30;

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => edge::read_input(path, MAX_BYTES).map(Some),
    }
}

fn cannot_read(path: &Path, error: &DirectoryError) -> Failure {
    let failure = Failure::data(format!("cannot read \"{}\": {error}", path.display()));
    match error {
        DirectoryError::Name(_) => failure.hint("such a key is never written: take it out by hand"),
        _ => failure,
    }
}
