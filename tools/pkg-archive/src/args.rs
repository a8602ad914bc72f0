use crate::trouble::Limits;
use edge::{Failure, Manners, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// archive the packages of a catalog: zips, catalog, manifest and make rules
#[derive(clap::Parser, Debug)]
#[command(version, disable_version_flag = true)]
struct Args {
    /// Catalogs (URL, directory, FILE.sqlite, or - for package lines on stdin), then the directory to archive into;
    /// of two catalogs with the same package the first wins
    #[arg(value_name = "CATALOG... DIR", required = true, num_args = 1..)]
    places: Vec<String>,

    /// Add the catalogs that the Racket installation is configured with
    #[arg(long)]
    from_config: bool,
    /// Only these packages (repeat, or separate with commas)
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    include: Vec<String>,
    /// With --include: also everything they depend on, by the catalog and by what was archived
    #[arg(long, requires = "include")]
    include_deps: bool,
    /// Not these packages (repeat, or separate with commas); wins over --include and stops --include-deps
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    exclude: Vec<String>,
    /// Sources in the new catalog relative to it, so that the directory can be moved or served
    #[arg(long)]
    relative: bool,
    /// Version of Racket the catalog is read for
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Platform whose dependencies count: a library subpath like x86_64-linux
    #[arg(long, value_name = "SUBPATH")]
    platform: Option<String>,
    /// Installation document: its packages are neither archived nor built; gives --version and --platform
    #[arg(long, value_name = "FILE")]
    installed: Option<PathBuf>,
    /// State in the format of `raco pkg catalog-archive --state`: read if there, and written
    #[arg(long, value_name = "FILE.sqlite")]
    state: Option<PathBuf>,
    /// Command that prints a testbed (`vm-snapshot open ...`) where Racket evaluates what we cannot read of an info.rkt
    #[arg(long, value_name = "COMMAND")]
    info_machine: Option<String>,
    /// What of a directory is archived
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Directory of earlier `run` documents whose durations order the rules of packages.mk
    #[arg(long, value_name = "DIR")]
    durations: Option<PathBuf>,

    /// Packages at the same time (default: twice the processors)
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// Requests to one host at the same time
    #[arg(long, value_name = "N", default_value_t = 4)]
    per_host: usize,
    /// Times a failed request is tried again
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// Longest silence of a server, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Largest package, packed or not, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    max_package_mb: u64,
    /// Do not keep downloads for other runs
    #[arg(long)]
    no_cache: bool,
    /// Stop at the first package that fails
    #[arg(long)]
    fail_fast: bool,
    /// Say what would be done (fetch, unchanged, removed), and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the version of this program
    #[arg(long, short = 'V', action = clap::ArgAction::Version)]
    program_version: Option<bool>,

    #[command(flatten)]
    manners: Manners,
}

/// What of a directory on this machine belongs to the package.
#[derive(
    clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In a git working copy what git would carry, elsewhere everything
    #[default]
    Auto,
    /// Without version control, compiled code, built documentation and backups
    Source,
    /// Everything, as `raco pkg catalog-archive` does
    AsIs,
}

#[derive(Debug)]
pub struct Config {
    pub catalogs: Vec<CatalogPlace>,
    pub destination: PathBuf,
    pub from_config: bool,
    /// `None`: all of them.
    pub include: Option<BTreeSet<String>>,
    pub include_deps: bool,
    pub exclude: BTreeSet<String>,
    pub relative: bool,
    pub version: Option<String>,
    pub platform: Option<String>,
    pub installed: Option<PathBuf>,
    pub state: Option<PathBuf>,
    /// Prints a testbed; `None`: nothing of a package runs anywhere.
    pub info_machine: Option<String>,
    pub mode: Mode,
    pub durations: Option<PathBuf>,
    pub jobs: usize,
    pub per_host: usize,
    pub retries: u32,
    pub silence: Duration,
    pub limits: Limits,
    pub cache: bool,
    pub fail_fast: bool,
    pub dry_run: bool,
}

/// Where a catalog is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogPlace {
    Stdin,
    Url(String),
    Sqlite(PathBuf),
    Directory(PathBuf),
}

impl CatalogPlace {
    pub fn parse(text: &str) -> Result<CatalogPlace> {
        let path = if text == "-" {
            return Ok(CatalogPlace::Stdin);
        } else if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(CatalogPlace::Url(text.to_owned()));
        } else if text.starts_with("file://") {
            let url = fetch::url::Url::parse(text)
                .map_err(|why| Failure::usage(format!("cannot read catalog \"{text}\": {why}")))?;
            PathBuf::from(String::from_utf8_lossy(&fetch::url::percent_decode(&url.path)).into_owned())
        } else if let Some((scheme, _)) = text.split_once("://") {
            let failure = Failure::usage(format!("unrecognized URL scheme for a catalog: \"{text}\""));
            let lower = scheme.to_ascii_lowercase();
            return Err(match lower.as_str() {
                "http" | "https" | "file" if lower != scheme => {
                    failure.hint(format!("write it as {lower}://"))
                }
                _ => failure.hint("a catalog is an http, https or file URL, a directory, FILE.sqlite or -"),
            });
        } else {
            PathBuf::from(text)
        };
        let sqlite = path.extension().is_some_and(|extension| extension == "sqlite");
        Ok(if sqlite { CatalogPlace::Sqlite(path) } else { CatalogPlace::Directory(path) })
    }
}

pub fn parse() -> Result<(Config, Manners)> {
    let args: Args = edge::parse_args()?;
    let manners = args.manners.clone();
    Ok((check(args)?, manners))
}

fn check(mut args: Args) -> Result<Config> {
    let destination = args.places.pop().unwrap_or_default();
    if args.places.is_empty() && !args.from_config {
        return Err(Failure::usage("a catalog to archive is needed before the directory")
            .detail("directory", &destination)
            .hint("pkg-archive CATALOG... DIR, or --from-config for the configured catalogs"));
    }
    if destination == "-" || destination.contains("://") {
        return Err(Failure::usage(format!("cannot archive into \"{destination}\": not a directory")));
    }
    let catalogs = args.places.iter().map(|text| CatalogPlace::parse(text)).collect::<Result<Vec<_>>>()?;
    if catalogs.iter().filter(|place| **place == CatalogPlace::Stdin).count() > 1 {
        return Err(Failure::usage("stdin can be read as a catalog only once"));
    }
    for name in args.include.iter().chain(&args.exclude) {
        if !catalog::Name::is_valid(name) {
            return Err(Failure::usage(format!("\"{name}\" is no package name")));
        }
    }
    if let Some(state) = &args.state
        && state.extension().is_none_or(|extension| extension != "sqlite")
    {
        return Err(Failure::usage(format!("bad state file path \"{}\"", state.display()))
            .hint("its name must end in .sqlite"));
    }
    for (what, value) in [("--jobs", args.jobs.unwrap_or(1)), ("--per-host", args.per_host)] {
        if !(1..=256).contains(&value) {
            return Err(Failure::usage(format!("{what} must be from 1 to 256, not {value}")));
        }
    }
    if !(1..=86_400).contains(&args.timeout) {
        return Err(Failure::usage(format!(
            "--timeout must be from 1 to 86400 seconds, not {}",
            args.timeout
        )));
    }
    // a plain zip cannot say more
    if !(1..=4000).contains(&args.max_package_mb) {
        return Err(Failure::usage(format!(
            "--max-package-mb must be from 1 to 4000, not {}",
            args.max_package_mb
        )));
    }
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(Config {
        catalogs,
        destination: destination.into(),
        from_config: args.from_config,
        include: (!args.include.is_empty()).then(|| args.include.into_iter().collect()),
        include_deps: args.include_deps,
        exclude: args.exclude.into_iter().collect(),
        relative: args.relative,
        version: args.version,
        platform: args.platform,
        installed: args.installed,
        state: args.state,
        info_machine: args.info_machine,
        mode: args.mode,
        durations: args.durations,
        jobs: args.jobs.unwrap_or(processors * 2).min(256),
        per_host: args.per_host,
        retries: args.retries,
        silence: Duration::from_secs(args.timeout),
        limits: Limits::of_mb(args.max_package_mb),
        cache: !args.no_cache,
        fail_fast: args.fail_fast,
        dry_run: args.dry_run,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn config(arguments: &str) -> std::result::Result<Config, String> {
        let words = std::iter::once("pkg-archive").chain(arguments.split_whitespace());
        let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        check(args).map_err(|failure| failure.message)
    }

    #[test]
    fn include_and_exclude_add_up() {
        let config = config("cat out --include a,b --include c --exclude d --exclude e").unwrap();
        assert_eq!(config.include.unwrap().into_iter().collect::<String>(), "abc");
        assert_eq!(config.exclude.into_iter().collect::<String>(), "de");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            "out",
            "ftp://x out",
            "HTTP://x out",
            "cat http://x",
            "- - out",
            "cat out --include a/b",
            "cat out --state s.db",
            "cat out --jobs 0",
            "cat out --include-deps",
        ] {
            assert!(config(bad).is_err(), "{bad}");
        }
        assert!(config("--from-config out").is_ok());
        let places = config("http://h/ d x.sqlite file:///a%20b - out").unwrap().catalogs;
        assert_eq!(places[1], CatalogPlace::Directory("d".into()));
        assert_eq!(places[2], CatalogPlace::Sqlite("x.sqlite".into()));
        assert_eq!(places[3], CatalogPlace::Directory("/a b".into()));
    }
}
