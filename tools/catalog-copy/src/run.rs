use crate::args::{Config, IfThere};
use crate::gather::{Gathered, Gatherer};
use crate::place::{Dest, Source, base_url};
use crate::prepare::Shape;
use crate::read::http::{Asker, Fetched, client};
use crate::version::WantedVersion;
use crate::write::swap::NewDirectory;
use crate::write::tables::Columns;
use crate::{configured, read, write};
use catalog::{ContentId, EntryDigest, Name};
use contract::catalog_summary::CatalogSummary;
use edge::{Done, Failure, Result, out, say};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub fn run(config: Config) -> Result<Done> {
    let there = check_before_anything_is_read(&config)?;
    let version = WantedVersion::new(config.version.clone());
    let mut sources = config.sources.clone();
    if config.from_config {
        sources.extend(configured::sources(config.version.as_deref())?);
    }
    let mut gatherer = Gatherer::new(shape(&config));
    let merging = matches!(config.if_there, IfThere::Merge { .. }) && there;
    let before = if there { digests_of(&config.dest) } else { BTreeMap::new() };
    let new_wins = config.if_there == IfThere::Merge { new_wins: true };
    if merging && !new_wins {
        read_dest(&config.dest, &mut gatherer)?;
    }
    read_sources(&config, &sources, &version, &mut gatherer)
        .and_then(|()| match merging && new_wins {
            true => gatherer.begin_source().and_then(|()| read_dest(&config.dest, &mut gatherer)),
            false => Ok(()),
        })
        .map_err(|failure| gatherer.first_failure(failure))?;
    let gathered = Arc::new(gatherer.finish()?);
    write_dest(&config, &gathered, merging)?;
    let summary = summary(&config.dest, &before, &gathered);
    match config.dest {
        Dest::Stdout => {
            say::detail(format!("{} packages, catalog_id {}", summary.packages, summary.catalog_id))
        }
        _ => out::json_line(&summary)?,
    }
    Ok(Done::All)
}

/// Refuses what can be seen to be wrong before any network is asked; tells whether the destination is there.
fn check_before_anything_is_read(config: &Config) -> Result<bool> {
    for source in &config.sources {
        let (path, kind) = match source {
            Source::Directory(path) => (path, "directory"),
            Source::Sqlite(path) | Source::Json(path) => (path, "file"),
            Source::Http(_) | Source::Stdin => continue,
        };
        let right = match kind {
            "file" => path.is_file(),
            _ => path.is_dir() || read::directory::is_all(path),
        };
        if !right {
            let failure =
                Failure::unavailable(format!("cannot read catalog \"{}\": no such {kind}", path.display()));
            return Err(failure
                .hint("a catalog is a URL, a directory, or a file whose name ends in .sqlite or .json"));
        }
    }
    if config.sources.contains(&Source::Stdin) {
        edge::refuse_terminal_stdin("package lines")?;
    }
    let (Dest::Directory(path) | Dest::Sqlite(path)) = &config.dest else {
        return match config.relative {
            true => Err(Failure::usage("--relative needs a destination in the file system")),
            false => Ok(false),
        };
    };
    let there = path.symlink_metadata().is_ok();
    if there && config.if_there == IfThere::Refuse {
        return Err(Failure::cant_create(format!(
            "cannot copy to \"{}\": it is there already",
            path.display()
        ))
        .hint("--force replaces it, --merge adds to it"));
    }
    Ok(there)
}

fn shape(config: &Config) -> Shape {
    let tables = matches!(config.dest, Dest::Sqlite(_))
        .then(|| Columns { version: WantedVersion::new(config.version.clone()) });
    let directory = match &config.dest {
        Dest::Directory(path) => Some(absolute(path)),
        Dest::Sqlite(path) => absolute(path).parent().map(Path::to_owned),
        Dest::Stdout => None,
    };
    let relative_to =
        directory.filter(|_| config.relative).map(|directory| directory.to_string_lossy().into_owned());
    Shape { relative_to, tables, as_written: false }
}

/// Absolute, with links resolved as far as it is there.
fn absolute(path: &Path) -> std::path::PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(there) = absolute.canonicalize() {
        return there;
    }
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// What the destination has, to tell what changes. What is replaced may be anything: then it has nothing.
fn digests_of(dest: &Dest) -> BTreeMap<Name, EntryDigest> {
    let mut old = Gatherer::new(Shape { as_written: true, ..Shape::default() });
    match read_dest(dest, &mut old).and_then(|()| old.finish()) {
        Ok(old) => old.digests(),
        Err(_) => BTreeMap::new(),
    }
}

fn read_dest(dest: &Dest, into: &mut Gatherer) -> Result<()> {
    match dest {
        // an empty directory is an empty catalog when something is added to it
        Dest::Directory(path) if std::fs::read_dir(path).is_ok_and(|mut inside| inside.next().is_none()) => {
            Ok(())
        }
        Dest::Directory(path) => read::directory::read(path, into),
        Dest::Sqlite(path) => read::sqlite::read(path, into),
        Dest::Stdout => Ok(()),
    }
}

fn read_sources(
    config: &Config,
    sources: &[Source],
    version: &WantedVersion,
    gatherer: &mut Gatherer,
) -> Result<()> {
    let any_server = sources.iter().any(|source| matches!(source, Source::Http(_)));
    let asker = any_server.then(|| Asker {
        client: client(config.cache, config.jobs),
        version: version.get(),
        jobs: config.jobs,
    });
    // servers are asked side by side, and used in the order given
    std::thread::scope(|scope| {
        let mut coming = Vec::new();
        for source in sources {
            coming.push(match (source, &asker) {
                (Source::Http(url), Some(asker)) => Some(scope.spawn(|| asker.fetch(url))),
                _ => None,
            });
        }
        for (source, coming) in sources.iter().zip(coming) {
            gatherer.begin_source()?;
            match (source, coming) {
                (_, Some(thread)) => {
                    let fetched: Fetched =
                        thread.join().unwrap_or_else(|_| Err(Failure::bug("a fetching thread died")))?;
                    fetched.read(gatherer)?;
                }
                (Source::Directory(path), _) => read::directory::read(path, gatherer)?,
                (Source::Sqlite(path), _) => read::sqlite::read(path, gatherer)?,
                (Source::Json(path), _) => {
                    let file = std::fs::File::open(path).map_err(|error| read::cannot_read(path, &error))?;
                    read::json::read(file, &path.display().to_string(), &base_url(path, false), gatherer)?;
                }
                (Source::Stdin, _) => read::lines::read(std::io::stdin().lock(), gatherer)?,
                (Source::Http(_), None) => {}
            }
        }
        Ok(())
    })
}

fn write_dest(config: &Config, gathered: &Arc<Gathered>, merging: bool) -> Result<()> {
    match &config.dest {
        Dest::Stdout => write::lines::write(gathered),
        Dest::Sqlite(path) => write::sqlite::write_database(gathered, path),
        Dest::Directory(path) => {
            let new = NewDirectory::create(path)?;
            write::directory::write(gathered, &new)?;
            if merging {
                new.keep_strays()?;
            }
            if config.sync {
                new.sync()?;
            }
            new.commit()
        }
    }
}

fn summary(dest: &Dest, before: &BTreeMap<Name, EntryDigest>, gathered: &Gathered) -> CatalogSummary {
    let (mut added, mut changed, mut same) = (0, 0, 0);
    for (name, slot) in gathered.slots() {
        match before.get(name.as_str()) {
            None => added += 1,
            Some(digest) if *digest == slot.digest => same += 1,
            Some(_) => changed += 1,
        }
    }
    CatalogSummary {
        kind: "catalog".to_owned(),
        v: contract::V,
        destination: dest.to_string(),
        packages: gathered.len() as u64,
        added,
        changed,
        removed: before.len() as u64 - changed - same,
        catalog_id: ContentId::of_sorted(gathered.slots().map(|(name, slot)| (name.as_str(), &slot.digest))),
    }
}
