use clap::ValueEnum;
use contract::report::Verdict;
use edge::{Failure, Manners, Result};
use std::path::PathBuf;

/// tell newly broken from still broken and write the report
///
/// Reads the `run` documents of one side, or of two, and the `archived` records beside them, works out what became of each
/// package, and writes a static site with the same answer as JSON, Markdown, JUnit XML, summary.rktd and Atom.
#[derive(clap::Parser, Debug)]
#[command(version)]
struct Args {
    /// Side with the change: what pkg-run-one wrote (--out), or a directory that holds `out` and `archive`
    #[arg(long, value_name = "DIR")]
    new: PathBuf,
    /// Side to compare with
    #[arg(long, value_name = "DIR")]
    old: Option<PathBuf>,
    /// Directory for the report; made when missing, only what differs is rewritten
    #[arg(long, value_name = "DIR", required_unless_present_any = ["list", "check", "calibrate"])]
    out: Option<PathBuf>,
    /// Heading of the pages
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Print the names of packages, one a line, instead of the summary: a verdict, or
    /// all, worse, better, broken, needs-old, unconfirmed, groups (first causes only)
    #[arg(long, value_name = "WHAT")]
    list: Option<String>,
    /// Exit 1 if anything regressed that is no known failure (with one side only: if anything fails)
    #[arg(long)]
    check: bool,
    /// Observations on each side that make a difference by a limit or a refused network a verdict
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    confirm: u32,
    /// Failures that somebody answers for (`known-failures` document)
    #[arg(long, value_name = "FILE")]
    known_failures: Option<PathBuf>,
    /// How often each package disagrees with itself (`flake-rates` document)
    #[arg(long, value_name = "FILE")]
    flake_rates: Option<PathBuf>,
    /// Both sides have the same inputs: add what differs to the flake rates in FILE
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Earlier report (its directory or report.json), or a directory of such; may be repeated
    #[arg(long, value_name = "PATH")]
    history: Vec<PathBuf>,
    /// Which logs become pages: those of packages that do not pass on both sides, all, none; `auto` is all up to 500 packages
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    logs: Logs,
    /// Beside the page of a log that is too long for it: its whole text, of logs up to MB (0: never)
    #[arg(long, value_name = "MB", default_value_t = 64)]
    whole_logs: u64,
    /// Site that assemble-site made of the new side, a directory or a URL: documents become links into it
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Where the report will be found, for the links of feeds and report.md
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Go on until no package is pending: write the report again every SECONDS while results arrive; its overview reloads itself
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["list", "calibrate"], requires = "out",
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    watch: Option<u32>,
    #[command(flatten)]
    manners: Manners,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Logs {
    #[default]
    Auto,
    Failed,
    All,
    None,
}

/// What `--list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Verdict(Verdict),
    All,
    /// Still failing, and worse.
    Worse,
    Better,
    /// Fails on the new side, whatever the old one says.
    Broken,
    /// Fails on the new side and has no result on the old one yet.
    NeedsOld,
    /// Differs between the sides on fewer observations than `--confirm` asks for on each.
    Unconfirmed,
    /// One package for each first cause of a regression.
    Groups,
}

#[derive(Debug)]
pub struct Config {
    pub new: PathBuf,
    pub old: Option<PathBuf>,
    pub out: Option<PathBuf>,
    pub title: Option<String>,
    pub list: Option<What>,
    pub check: bool,
    pub confirm: u32,
    pub known_failures: Option<PathBuf>,
    pub flake_rates: Option<PathBuf>,
    pub calibrate: Option<PathBuf>,
    pub history: Vec<PathBuf>,
    pub logs: Logs,
    pub whole_logs_bytes: u64,
    /// Directory or URL, without its final slash.
    pub site: Option<String>,
    /// Seconds from one look to the next.
    pub watch: Option<u32>,
    /// Without its final slash.
    pub base_url: Option<String>,
}

pub fn parse() -> Result<(Config, Manners)> {
    let args: Args = edge::parse_args()?;
    let list = args.list.as_deref().map(what).transpose()?;
    if args.calibrate.is_some() && args.old.is_none() {
        return Err(Failure::usage("--calibrate needs two sides")
            .hint("give a second run of the same packages as --old"));
    }
    let base_url = args.base_url.map(|url| url.trim_end_matches('/').to_owned());
    if let Some(url) =
        base_url.as_deref().filter(|url| !url.starts_with("https://") && !url.starts_with("http://"))
    {
        return Err(Failure::usage(format!("bad --base-url \"{url}\": expected an http or https URL")));
    }
    let config = Config {
        new: args.new,
        old: args.old,
        out: args.out,
        title: args.title,
        list,
        check: args.check,
        confirm: args.confirm,
        known_failures: args.known_failures,
        flake_rates: args.flake_rates,
        calibrate: args.calibrate,
        history: args.history,
        logs: args.logs,
        whole_logs_bytes: args.whole_logs.saturating_mul(1 << 20),
        site: args.site.map(|site| site.trim_end_matches('/').to_owned()),
        watch: args.watch,
        base_url,
    };
    Ok((config, args.manners))
}

const OTHER_LISTS: [(&str, What); 7] = [
    ("all", What::All),
    ("worse", What::Worse),
    ("better", What::Better),
    ("broken", What::Broken),
    ("needs-old", What::NeedsOld),
    ("unconfirmed", What::Unconfirmed),
    ("groups", What::Groups),
];

fn what(text: &str) -> Result<What> {
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.name() == text).map(What::Verdict);
    let other = || OTHER_LISTS.iter().find(|(name, _)| *name == text).map(|(_, what)| *what);
    verdict.or_else(other).ok_or_else(|| {
        let names =
            Verdict::ALL.iter().map(|verdict| verdict.name()).chain(OTHER_LISTS.map(|(name, _)| name));
        Failure::usage(format!("unknown list \"{text}\""))
            .hint(format!("one of {}", names.collect::<Vec<_>>().join(", ")))
    })
}
