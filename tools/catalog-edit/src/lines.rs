//! Package lines: as a filter from stdin to stdout, and a file of them edited in place.
//!
//! Two passes, so that nothing is printed before everything asked for has been found, and so that memory stays
//! bounded however long the stream is: what selects is remembered of each line, the lines themselves go to a spool.

use crate::run::{Job, Tally};
use crate::select::{Fate, Member, examine};
use catalog::{ContentId, entry_digest};
use contract::catalog_summary::CatalogSummary;
use contract::package::Package;
use edge::{AtomicFile, Context, Done, Exit, Failure, Result, out, progress};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use tempfile::SpooledTempFile;

/// Longest line; the longest of 1,378 real ones is some 30 KiB.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// A stream up to here is held in memory, a longer one in a temporary file.
const MAX_MEMORY_BYTES: usize = 16 << 20;

/// stdin to stdout.
pub fn filter(job: &mut Job) -> Result<Done> {
    let mut spool = SpooledTempFile::new(MAX_MEMORY_BYTES);
    let mut members = Vec::new();
    let mut names = HashSet::new();
    let bar = progress::items("reading", None);
    read_lines(&mut BufReader::with_capacity(1 << 18, std::io::stdin().lock()), "stdin", |line, at| {
        bar.inc(1);
        let package = parse(line, at, "stdin")?;
        members.push(member(job, &package, at, "stdin", &mut names)?);
        let spooled = spool.write_all(line).and_then(|()| spool.write_all(b"\n"));
        spooled.context(Exit::CantCreate, || "cannot write a temporary file".to_owned())
    })?;
    bar.finish_and_clear();
    let fates = job.decide(&members, "the package lines on stdin")?;
    spool.rewind().context(Exit::CantCreate, || "cannot read a temporary file".to_owned())?;
    let tally = write(job, &fates, &mut BufReader::new(spool), "stdin", &mut |line| {
        out::bytes(line)?;
        out::bytes(b"\n")
    })?;
    tell(&tally, members.len());
    Ok(Done::All)
}

/// A file of package lines, in place.
pub fn edit_file(job: &mut Job, path: &Path) -> Result<Done> {
    let place = format!("\"{}\"", path.display());
    let open = || {
        let file = std::fs::File::open(path);
        file.map(BufReader::new).context(Exit::Unavailable, || format!("cannot read {place}"))
    };
    let (mut members, mut names, mut id) = (Vec::new(), HashSet::new(), ContentId::new());
    let bar = progress::items("reading", None);
    read_lines(&mut open()?, &place, |line, at| {
        bar.inc(1);
        let package = parse(line, at, &place)?;
        id.add(package.name.as_str(), entry_digest(&package.entry));
        members.push(member(job, &package, at, &place, &mut names)?);
        Ok(())
    })?;
    bar.finish_and_clear();
    let fates = job.decide(&members, &place)?;
    if !job.edits() {
        write(job, &fates, &mut open()?, &place, &mut |line| {
            out::bytes(line)?;
            out::bytes(b"\n")
        })?;
        return Ok(Done::All);
    }
    let mut file = if job.config.dry_run { None } else { Some(AtomicFile::create(path)?) };
    let explain = job.config.explain;
    let mut at = 0;
    let tally = write(job, &fates, &mut open()?, &place, &mut |line| {
        // lines that go on are handed over in order; find the fate of this one
        while fates[at].gone {
            at += 1;
        }
        let fate = &fates[at];
        at += 1;
        if !fate.edits.is_empty() {
            let package = parse(line, at, &place)?;
            id.add(package.name.as_str(), entry_digest(&package.entry));
        }
        if explain && fate.why.is_some() {
            out::bytes(line)?;
            out::bytes(b"\n")?;
        }
        match &mut file {
            Some(file) => {
                let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
                written.context(Exit::CantCreate, || format!("cannot write {place}"))
            }
            None => Ok(()),
        }
    })?;
    for (member, fate) in members.iter().zip(&fates) {
        if fate.gone {
            id.remove(member.name.as_str());
        }
    }
    if let Some(file) = file.filter(|_| tally.changed + tally.removed > 0 || explain) {
        file.commit()?;
    }
    out::json_line(&summary(path, &tally, members.len(), &id))?;
    Ok(Done::All)
}

/// The document that ends an edit in place.
pub fn summary(path: &Path, tally: &Tally, packages: usize, id: &ContentId) -> CatalogSummary {
    tell(tally, packages);
    CatalogSummary {
        kind: <CatalogSummary as contract::Document>::KIND.to_owned(),
        v: contract::V,
        destination: path.display().to_string(),
        packages: packages as u64 - tally.removed,
        added: 0,
        changed: tally.changed,
        removed: tally.removed,
        catalog_id: id.finish(),
    }
}

fn tell(tally: &Tally, packages: usize) {
    let Tally { selected, changed, removed } = tally;
    edge::say::detail(format!(
        "{selected} of {packages} packages selected, {changed} changed, {removed} removed"
    ));
}

fn parse(line: &[u8], at: usize, place: &str) -> Result<Package> {
    Package::read(line).map_err(|error| Failure::data(format!("cannot read line {at} of {place}: {error}")))
}

fn member(
    job: &Job,
    package: &Package,
    at: usize,
    place: &str,
    names: &mut HashSet<String>,
) -> Result<Member> {
    if !names.insert(package.name.as_str().to_owned()) {
        return Err(Failure::data(format!(
            "cannot read line {at} of {place}: a second \"{}\"",
            package.name
        ))
        .hint("merge catalogs with catalog-copy: the first of a name wins"));
    }
    Ok(examine(&job.config.steps, job.config.platform.as_ref(), &package.name, &package.entry))
}

/// Hands over every line that is not blank, without its line feed, and its number.
fn read_lines(
    source: &mut impl BufRead,
    place: &str,
    mut each: impl FnMut(&[u8], usize) -> Result<()>,
) -> Result<()> {
    let mut line = Vec::new();
    for at in 1.. {
        line.clear();
        let read = source.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        read.context(Exit::Unavailable, || format!("cannot read {place}"))?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 == MAX_LINE_BYTES {
            return Err(Failure::data(format!(
                "cannot read line {at} of {place}: over {MAX_LINE_BYTES} bytes"
            )));
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            each(text, at)?;
        }
    }
    Ok(())
}

/// The second pass: hands over the lines that stay, edited and explained. Untouched lines come as they were.
fn write(
    job: &mut Job,
    fates: &[Fate],
    source: &mut impl BufRead,
    place: &str,
    emit: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut number = 0;
    let edits = job.edits();
    let bar = progress::items_beside_output("writing", Some(fates.len() as u64));
    read_lines(source, place, |line, at| {
        bar.inc(1);
        let fate =
            fates.get(number).ok_or_else(|| Failure::try_again(format!("{place} grew while it was read")))?;
        number += 1;
        tally.selected += u64::from(fate.why.is_some());
        if fate.gone {
            tally.removed += u64::from(edits);
            if edits && job.config.diff {
                let package = parse(line, at, place)?;
                job.tell_removed(&package.name, &package.entry);
            }
            return Ok(());
        }
        let why = fate.why.as_ref().filter(|_| job.config.explain);
        if fate.edits.is_empty() && why.is_none() {
            return emit(line);
        }
        let mut package = parse(line, at, place)?;
        tally.changed += u64::from(job.apply(fate, &package.name, &mut package.entry)?);
        if let Some(why) = why {
            package.why = Some(why.clone());
        }
        let line = serde_json::to_vec(&package)
            .map_err(|error| Failure::bug(format!("cannot render package \"{}\": {error}", package.name)))?;
        emit(&line)
    })?;
    bar.finish_and_clear();
    Ok(tally)
}
