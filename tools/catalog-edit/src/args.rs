use crate::steps::{Edit, Expand, Selector, Step};
use catalog::{Name, Platform, Repository, Target};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use edge::{Failure, Manners, Result};
use std::path::{Path, PathBuf};

/// Select packages of a catalog and edit their entries, as a filter of package lines or in place
///
/// Options are read from left to right: SELECT options add packages to a selection, EDIT options change what is
/// selected so far. A SELECT option after an EDIT option starts a new selection; a --with option there goes on from
/// everything selected before. Without an EDIT option the selected package lines are printed and nothing is changed.
#[derive(clap::Parser, Debug)]
#[command(version, override_usage = "catalog-edit [OPTIONS] SELECT... [EDIT]... [CATALOG | -]")]
struct Args {
    /// Catalog directory, or file of package lines, to edit in place; `-` (default): package lines from stdin to stdout
    #[arg(value_name = "CATALOG", default_value = "-")]
    catalog: PathBuf,

    /// Select packages by name
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', help_heading = "Select")]
    package: Vec<String>,
    /// Select every package served from a repository: OWNER/NAME on github.com, a URL, or a local directory
    #[arg(long, value_name = "REPOSITORY", help_heading = "Select")]
    repo: Vec<String>,
    /// Select these packages and all that depend on them
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', help_heading = "Select")]
    dependents_of: Vec<String>,
    /// Select these packages and all that they need
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', help_heading = "Select")]
    dependencies_of: Vec<String>,
    /// Select by ring
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Select")]
    ring: Vec<i64>,
    /// Select by tag
    #[arg(long, value_name = "TAG", help_heading = "Select")]
    tag: Vec<String>,
    /// Select by author: a whole address, or the part before the @
    #[arg(long, value_name = "AUTHOR", help_heading = "Select")]
    author: Vec<String>,
    /// Select names in which a regular expression is found
    #[arg(long = "match", value_name = "REGEX", help_heading = "Select")]
    matching: Vec<String>,
    /// Select the names in a file, or - for stdin, separated by white space (`#` starts a comment)
    #[arg(long, value_name = "FILE", help_heading = "Select")]
    names_from: Vec<PathBuf>,
    /// Select every package
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Select")]
    all: Vec<bool>,
    /// Add everything that depends on what is selected
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Select")]
    with_dependents: Vec<bool>,
    /// Add everything that the selected packages need
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Select")]
    with_dependencies: Vec<bool>,
    /// At most K steps for the option about dependents or dependencies before it
    #[arg(long, value_name = "K", help_heading = "Select")]
    depth: Vec<usize>,
    /// Never select these packages, nor anything only reached through them
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',', help_heading = "Select")]
    except: Vec<String>,
    /// Count only dependencies that apply on a platform, such as unix:x86_64-linux
    #[arg(long, value_name = "SYSTEM:SUBPATH", help_heading = "Select")]
    platform: Option<String>,

    /// Point the packages at a repository and branch: OWNER/NAME#BRANCH or URL#BRANCH
    #[arg(long, value_name = "REPOSITORY#BRANCH", help_heading = "Edit")]
    to: Vec<String>,
    /// Commit for the --to before it; looked up with git when left out
    #[arg(long, value_name = "SHA", help_heading = "Edit")]
    commit: Vec<String>,
    /// Point the packages at a local working copy, uncommitted changes included
    #[arg(long, value_name = "DIR", help_heading = "Edit")]
    to_checkout: Vec<PathBuf>,
    /// With --to and --to-checkout, also change versions other than the default that have a source of their own
    #[arg(long, help_heading = "Edit")]
    every_version: bool,
    /// Set a key of the entries to a JSON value, written as in package lines (null takes the key away)
    #[arg(long, value_name = "KEY=JSON", help_heading = "Edit")]
    set: Vec<String>,
    /// Take the packages out of the catalog
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Edit")]
    remove: Vec<bool>,
    /// Drop every package that was never selected
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Edit")]
    keep: Vec<bool>,

    /// Change nothing in place; tell what would change
    #[arg(short = 'n', long, help_heading = "Output")]
    dry_run: bool,
    /// Show what changes on stderr, as people read differences
    #[arg(long, help_heading = "Output")]
    diff: bool,
    /// Tell for each selected package why it was selected
    #[arg(long, help_heading = "Output")]
    explain: bool,
    #[command(flatten)]
    manners: Manners,
}

/// The options, and the order in which they were given.
struct Ordered {
    args: Args,
    /// `(position, option, n-th value of it)`
    order: Vec<(usize, &'static str, usize)>,
}

const ORDERED: [&str; 20] = [
    "package",
    "repo",
    "dependents_of",
    "dependencies_of",
    "ring",
    "tag",
    "author",
    "matching",
    "names_from",
    "all",
    "with_dependents",
    "with_dependencies",
    "depth",
    "except",
    "to",
    "commit",
    "to_checkout",
    "set",
    "remove",
    "keep",
];

impl clap::Parser for Ordered {}

impl CommandFactory for Ordered {
    fn command() -> clap::Command {
        Args::command()
    }
    fn command_for_update() -> clap::Command {
        Args::command_for_update()
    }
}

impl FromArgMatches for Ordered {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Ordered, clap::Error> {
        let mut order = Vec::new();
        for option in ORDERED {
            let positions = matches.indices_of(option).into_iter().flatten();
            order.extend(positions.enumerate().map(|(at, position)| (position, option, at)));
        }
        order.sort_unstable();
        Ok(Ordered { args: Args::from_arg_matches(matches)?, order })
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Ordered::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What to do, checked as far as that goes without looking at anything.
#[derive(Debug)]
pub struct Config {
    /// `-` is stdin and stdout.
    pub catalog: PathBuf,
    pub steps: Vec<Step>,
    pub platform: Option<Platform>,
    pub every_version: bool,
    pub dry_run: bool,
    pub diff: bool,
    pub explain: bool,
}

impl Config {
    pub fn is_filter(&self) -> bool {
        self.catalog == Path::new("-")
    }
}

pub fn parse() -> Result<(Config, Manners)> {
    let Ordered { args, order } = edge::parse_args()?;
    let manners = args.manners.clone();
    Ok((resolve(args, order)?, manners))
}

fn resolve(args: Args, order: Vec<(usize, &'static str, usize)>) -> Result<Config> {
    let mut steps: Vec<Step> = Vec::new();
    for (_, option, at) in order {
        match option {
            "package" => select(&mut steps, Selector::Package(name(&args.package[at])?)),
            "repo" => select(&mut steps, Selector::Repository(repository(&args.repo[at])?)),
            "ring" => select(&mut steps, Selector::Ring(args.ring[at])),
            "tag" => select(&mut steps, Selector::Tag(args.tag[at].clone())),
            "author" => select(&mut steps, Selector::Author(args.author[at].clone())),
            "matching" => select(&mut steps, Selector::Match(regex(&args.matching[at])?)),
            "names_from" => select(&mut steps, Selector::NamesFrom(args.names_from[at].clone(), Vec::new())),
            "all" => select(&mut steps, Selector::All),
            "dependents_of" => {
                let expand = Expand::dependents();
                steps.push(Step::Select(Selector::Around(name(&args.dependents_of[at])?, expand)));
            }
            "dependencies_of" => {
                let expand = Expand::dependencies();
                steps.push(Step::Select(Selector::Around(name(&args.dependencies_of[at])?, expand)));
            }
            "with_dependents" => steps.push(Step::Expand(Expand::dependents())),
            "with_dependencies" => steps.push(Step::Expand(Expand::dependencies())),
            "except" => steps.push(Step::Except(name(&args.except[at])?)),
            "depth" => limit(&mut steps, args.depth[at])?,
            "to" => steps.push(Step::Edit(Edit::To { target: target(&args.to[at])?, commit: None })),
            "commit" => commit(&mut steps, &args.commit[at])?,
            "to_checkout" => steps.push(Step::Edit(Edit::ToCheckout(args.to_checkout[at].clone()))),
            "set" => steps.push(Step::Edit(set(&args.set[at])?)),
            "remove" => steps.push(Step::Edit(Edit::Remove)),
            "keep" => steps.push(Step::Edit(Edit::Keep)),
            other => unreachable!("{other} is not in the table"),
        }
    }
    match steps.iter().find(|step| !matches!(step, Step::Except(_))) {
        None => {
            return Err(Failure::usage("nothing is selected").hint(
                "say which packages: --package NAME, --repo OWNER/NAME, --all, …; see catalog-edit --help",
            ));
        }
        Some(Step::Edit(_) | Step::Expand(_)) => {
            return Err(Failure::usage("the first option of SELECT and EDIT must select packages")
                .hint("options are read from left to right: --repo OWNER/NAME --to OWNER/NAME#BRANCH"));
        }
        Some(Step::Select(_) | Step::Except(_)) => {}
    }
    let edits = steps.iter().any(|step| matches!(step, Step::Edit(_)));
    if edits && !matches!(steps.iter().rfind(|step| !matches!(step, Step::Except(_))), Some(Step::Edit(_))) {
        return Err(Failure::usage("the last SELECT option has no EDIT option after it").hint(
            "options are read from left to right: say what to do with what it selects, such as --keep",
        ));
    }
    if args.dry_run && args.catalog == Path::new("-") {
        return Err(Failure::usage("--dry-run is for a catalog edited in place; a filter changes none")
            .hint("--diff shows what a filter does"));
    }
    let platform = args.platform.as_deref().map(platform).transpose()?;
    let Args { catalog, every_version, dry_run, diff, explain, .. } = args;
    Ok(Config { catalog, steps, platform, every_version, dry_run, diff, explain })
}

fn select(steps: &mut Vec<Step>, selector: Selector) {
    steps.push(Step::Select(selector));
}

fn name(text: &str) -> Result<Name> {
    Name::new(text).map_err(|bad| Failure::usage(bad.to_string()))
}

fn repository(text: &str) -> Result<Repository> {
    let is_local = text.starts_with('/') || text.starts_with("./") || text.starts_with("../");
    let found = if is_local || text == "." || text == ".." {
        let path = std::path::absolute(text).ok();
        path.and_then(|path| Repository::parse(path.to_str()?))
    } else {
        Repository::parse(text)
    };
    found.ok_or_else(|| {
        Failure::usage(format!("{text:?} is no repository"))
            .hint("write OWNER/NAME (on github.com), a URL, or the path of a directory, such as ./NAME")
    })
}

fn target(text: &str) -> Result<Target> {
    Target::parse(text).map_err(|reason| {
        let failure = Failure::usage(format!("cannot point at {text:?}: {reason}"));
        if Path::new(text).is_dir() { failure.hint(format!("--to-checkout {text}")) } else { failure }
    })
}

fn regex(text: &str) -> Result<regex::Regex> {
    regex::Regex::new(text).map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::usage(format!("{text:?} is no regular expression: {last}"))
    })
}

fn limit(steps: &mut [Step], depth: usize) -> Result<()> {
    for step in steps.iter_mut().rev() {
        if let Step::Expand(expand) | Step::Select(Selector::Around(_, expand)) = step {
            expand.depth = Some(depth);
            return Ok(());
        }
    }
    Err(Failure::usage("--depth comes after the option that it limits")
        .hint("--dependents-of NAME --depth K, or --with-dependents --depth K"))
}

fn commit(steps: &mut [Step], sha: &str) -> Result<()> {
    let is_sha = matches!(sha.len(), 40 | 64) && sha.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_sha {
        return Err(Failure::usage(format!("{sha:?} is no commit: expected 40 hex digits"))
            .hint("git rev-parse BRANCH prints them; without --commit they are looked up"));
    }
    match steps.last_mut() {
        Some(Step::Edit(Edit::To { commit, .. })) if commit.is_none() => {
            *commit = Some(sha.to_ascii_lowercase());
            Ok(())
        }
        _ => Err(Failure::usage("--commit comes right after the --to that it belongs to")),
    }
}

fn set(text: &str) -> Result<Edit> {
    let expected = "write --set KEY=JSON; a text needs quotes of its own: --set 'description=\"…\"'";
    let (key, json) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| Failure::usage(format!("cannot set {text:?}: no \"=\"")).hint(expected))?;
    if matches!(key, "name" | "kind" | "v" | "why" | "racket_form") {
        return Err(Failure::usage(format!("cannot set {key:?}: it is not a key of an entry")));
    }
    let json: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Failure::usage(format!("cannot set {key:?}: not JSON: {error}")).hint(expected))?;
    let value = match json.is_null() {
        true => None,
        false => Some(
            contract::package::field_from_json(key, &json)
                .map_err(|error| Failure::usage(format!("cannot set {key:?}: {error}")))?,
        ),
    };
    Ok(Edit::Set { key: key.to_owned(), value })
}

fn platform(text: &str) -> Result<Platform> {
    match text.split_once(':') {
        Some((system @ ("unix" | "windows" | "macosx"), subpath)) if !subpath.is_empty() => {
            Ok(Platform { system: system.to_owned(), subpath: subpath.to_owned() })
        }
        _ => Err(Failure::usage(format!("{text:?} is no platform")).hint(
            "write SYSTEM:SUBPATH, such as unix:x86_64-linux, windows:win32\\x86_64 or macosx:aarch64-macosx",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_every_option_that_has_an_order() {
        let command = Args::command();
        let options: Vec<&str> = command
            .get_arguments()
            .filter(|arg: &&clap::Arg| matches!(arg.get_help_heading(), Some("Select" | "Edit")))
            .map(|arg| arg.get_id().as_str())
            .filter(|id| !matches!(*id, "platform" | "every_version"))
            .collect();
        let mut table: Vec<&str> = ORDERED.to_vec();
        let mut sorted = options.clone();
        table.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(table, sorted);
    }
}
