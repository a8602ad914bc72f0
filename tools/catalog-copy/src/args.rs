use crate::place::{Dest, Source};
use edge::{Failure, Manners, Result};
use std::ffi::OsString;

/// Copy package catalogs: URLs, directories, SQLite files or package lines to one catalog
///
/// Earlier sources win, entry by entry. Only a destination given: an empty catalog.
#[derive(clap::Parser, Debug)]
#[command(version, disable_version_flag = true)]
#[command(override_usage = "catalog-copy [OPTIONS] [SOURCE]... DEST")]
struct Args {
    /// Sources, then the destination. Source: http(s) or file URL, directory, FILE.sqlite, FILE.json (`pkgs-all.json` of
    /// the public index), - (package lines). Destination: directory, FILE.sqlite, - (package lines)
    #[arg(value_name = "SOURCE... DEST", required = true)]
    places: Vec<OsString>,

    /// Append the catalogs that Racket is configured with to the sources
    #[arg(long)]
    from_config: bool,

    /// Replace an existing destination
    #[arg(long, conflicts_with = "merge")]
    force: bool,

    /// Keep what the destination has and add to it
    #[arg(long)]
    merge: bool,

    /// With --merge: new entries replace those that the destination has
    #[arg(long = "override")]
    overriding: bool,

    /// Write sources in the file system as paths relative to the destination
    #[arg(long)]
    relative: bool,

    /// For this version of Racket: asked of servers, and selected from `versions` for SQLite [default: that of the
    /// `racket` on PATH]. Also -v V. Alone on the command line: the version of catalog-copy itself
    #[arg(long, value_name = "V")]
    version: Option<String>,

    /// Wait until a new directory is on the disk, not only in the hands of the system, before it takes its place
    #[arg(long)]
    sync: bool,

    /// Ask servers for everything again
    #[arg(long)]
    no_cache: bool,

    /// Requests side by side to a server without `pkgs-all`
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,

    #[command(flatten)]
    manners: Manners,
}

/// `catalog-copy --version` alone, where `--version` is about the program.
#[derive(clap::Parser, Debug)]
#[command(name = "catalog-copy", version)]
struct OwnVersion {}

/// What to do with a destination that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfThere {
    Refuse,
    Replace,
    /// `new_wins`: entries of the sources go over those of the destination.
    Merge {
        new_wins: bool,
    },
}

#[derive(Debug)]
pub struct Config {
    pub sources: Vec<Source>,
    pub dest: Dest,
    pub from_config: bool,
    pub if_there: IfThere,
    pub relative: bool,
    pub version: Option<String>,
    pub sync: bool,
    pub cache: bool,
    pub jobs: usize,
}

pub fn parse() -> Result<(Config, Manners)> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.len() == 2 && (arguments[1] == "--version" || arguments[1] == "-V") {
        edge::parse_args_from::<OwnVersion>(arguments.clone())?;
    }
    let args: Args = edge::parse_args_from(as_raco_spells(arguments))?;
    let manners = args.manners.clone();
    Ok((check(args)?, manners))
}

/// `-v 8.7` is `--version 8.7`, as with raco; `-v` before anything else is "tell in detail", as everywhere in this suite.
fn as_raco_spells(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut spelled: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut rest = arguments.into_iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            spelled.push(argument);
            spelled.extend(rest);
            break;
        }
        let versioned =
            argument == "-v" && rest.peek().and_then(|next| next.to_str()).is_some_and(is_version);
        spelled.push(if versioned { OsString::from("--version") } else { argument });
    }
    spelled
}

fn is_version(text: &str) -> bool {
    catalog::Version::parse(text).is_some()
}

fn check(args: Args) -> Result<Config> {
    let mut places = args.places;
    let Some(dest) = places.pop() else {
        return Err(Failure::usage("no destination given").hint("see catalog-copy --help"));
    };
    let sources = places.into_iter().map(Source::parse).collect::<Result<Vec<Source>>>()?;
    if sources.iter().filter(|source| **source == Source::Stdin).count() > 1 {
        return Err(Failure::usage("stdin is given as a source twice"));
    }
    let if_there = match (args.force, args.merge) {
        (true, _) => IfThere::Replace,
        (_, true) => IfThere::Merge { new_wins: args.overriding },
        _ => IfThere::Refuse,
    };
    if let Some(version) = args.version.as_deref().filter(|version| !is_version(version)) {
        return Err(Failure::usage(format!("\"{version}\" is no version of Racket"))
            .hint("write it as 8.7 or 8.7.0.3"));
    }
    Ok(Config {
        sources,
        dest: Dest::parse(dest)?,
        from_config: args.from_config,
        if_there,
        relative: args.relative,
        version: args.version,
        sync: args.sync,
        cache: !args.no_cache,
        jobs: usize::from(args.jobs),
    })
}
