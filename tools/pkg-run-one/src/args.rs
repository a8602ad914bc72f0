use crate::config::{Config, Job, Keyboard};
use edge::{Failure, Manners, Result};
use std::path::PathBuf;

/// build and test one package, or one cycle of packages, in fresh machines, and say what became of it
#[derive(clap::Parser, Debug)]
#[command(version)]
struct Args {
    /// Package; all packages of a cycle may be named, one stands for all
    packages: Vec<String>,

    /// Archive directory, as pkg-archive writes it
    #[arg(long, value_name = "DIR", help_heading = "What")]
    archive: Option<PathBuf>,
    /// Directory for results/, logs/ and built/
    #[arg(long, value_name = "DIR", help_heading = "What")]
    out: Option<PathBuf>,
    /// Built packages and their catalog [default: OUT/built]
    #[arg(long, value_name = "DIR", help_heading = "What")]
    built: Option<PathBuf>,
    /// Label of the side of a comparison, mostly old or new
    #[arg(long, value_name = "LABEL", default_value = "", help_heading = "What")]
    side: String,
    /// Description of the installation: its packages are not built
    #[arg(long, value_name = "FILE", help_heading = "What")]
    installed: Option<PathBuf>,
    /// Recipe: a built-in name (racket, cargo, command) or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "racket", help_heading = "What")]
    recipe: String,
    /// Print a recipe and stop
    #[arg(long, value_name = "NAME|FILE", help_heading = "What")]
    print_recipe: Option<String>,
    /// Run a package even though one it depends on has no built form
    #[arg(long, help_heading = "What")]
    try_anyway: bool,
    /// Build forms that run on every machine, where the recipe can
    #[arg(long, help_heading = "What")]
    compile_any: bool,

    /// Machines document for vm-snapshot
    #[arg(long, value_name = "FILE", default_value = "machines.json", help_heading = "Machines")]
    machines: PathBuf,
    /// Machine to run in; several times: spares for when one keeps failing
    #[arg(long, value_name = "NAME", help_heading = "Machines")]
    machine: Vec<String>,
    /// Snapshot that every fresh instance starts from; empty for the bare machine
    #[arg(long, value_name = "NAME", default_value = "installed", help_heading = "Machines")]
    snapshot: String,
    /// Command that opens machines in place of vm-snapshot: gets the same arguments, prints a testbed
    #[arg(long, value_name = "COMMAND", help_heading = "Machines")]
    open: Option<String>,
    /// Processors a package may use while it compiles [default: those of the machine, or 1]
    #[arg(long, value_name = "N", help_heading = "Machines")]
    jobs: Option<u32>,

    /// Limits document
    #[arg(long, value_name = "FILE", help_heading = "Limits")]
    limits: Option<PathBuf>,
    /// How often to start again after trouble with a machine
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Limits")]
    retries: u32,
    /// Wait before the first new start, in seconds; doubled each time
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, help_heading = "Limits")]
    retry_wait_s: f64,
    /// How long a machine that keeps failing is left out, in seconds, also by later runs; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, help_heading = "Limits")]
    rest_s: f64,
    /// Run everything N times and tell how often each result was seen
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Limits")]
    repeat: u32,

    /// Print the plan and run nothing
    #[arg(long, help_heading = "At the keyboard")]
    explain: bool,
    /// A shell in the machine just before a phase
    #[arg(long, value_name = "PHASE", help_heading = "At the keyboard", group = "keyboard")]
    shell: Option<String>,
    /// A shell in the machine just after a phase
    #[arg(long, value_name = "PHASE", help_heading = "At the keyboard", group = "keyboard")]
    shell_after: Option<String>,
    /// A shell in the machine where it failed, before it is closed
    #[arg(long, help_heading = "At the keyboard", group = "keyboard")]
    debug: bool,
    /// Leave the machines open and say how to enter and to close them
    #[arg(long, help_heading = "At the keyboard")]
    keep: bool,
    /// Write a bundle with everything the run needs to be repeated elsewhere
    #[arg(long, value_name = "FILE", help_heading = "At the keyboard")]
    bundle: Option<PathBuf>,
    /// Repeat the run of a bundle; packages, archive and recipe come from it
    #[arg(long, value_name = "FILE", help_heading = "At the keyboard", conflicts_with_all = ["archive", "bundle"])]
    replay: Option<PathBuf>,

    #[command(flatten)]
    manners: Manners,
}

pub fn parse() -> Result<(Job, Manners)> {
    let args: Args = edge::parse_args()?;
    let manners = args.manners.clone();
    Ok((job(args)?, manners))
}

fn job(args: Args) -> Result<Job> {
    if let Some(recipe) = args.print_recipe {
        return Ok(Job::PrintRecipe(recipe));
    }
    if args.packages.is_empty() && args.replay.is_none() {
        return Err(Failure::usage("no package named").hint("pkg-run-one --archive DIR --out DIR PACKAGE"));
    }
    for package in &args.packages {
        if !is_file_name(package) {
            return Err(Failure::usage(format!("\"{package}\" is no package name")));
        }
    }
    let needed = |path: Option<PathBuf>, flag: &str| {
        path.ok_or_else(|| Failure::usage(format!("{flag} is needed")).hint("see pkg-run-one --help"))
    };
    let archive = match &args.replay {
        Some(_) => PathBuf::new(),
        None => needed(args.archive, "--archive DIR")?,
    };
    let out = needed(args.out, "--out DIR")?;
    if args.machine.is_empty() && args.open.is_none() {
        return Err(Failure::usage("--machine NAME is needed")
            .hint("vm-snapshot list tells the machines of the machines document"));
    }
    if args.repeat == 0 {
        return Err(Failure::usage("--repeat must be at least 1"));
    }
    if !(0.0..=3600.0).contains(&args.retry_wait_s) {
        return Err(Failure::usage("--retry-wait-s must be between 0 and 3600"));
    }
    if !(0.0..=86400.0).contains(&args.rest_s) {
        return Err(Failure::usage("--rest-s must be between 0 and 86400"));
    }
    let keyboard = match (args.shell, args.shell_after, args.debug) {
        (Some(phase), ..) => Keyboard::ShellBefore(phase),
        (_, Some(phase), _) => Keyboard::ShellAfter(phase),
        (_, _, true) => Keyboard::ShellOnFailure,
        _ => Keyboard::Nobody,
    };
    let mut packages = args.packages;
    packages.sort();
    packages.dedup();
    Ok(Job::Run(Box::new(Config {
        packages,
        archive,
        built: args.built.unwrap_or_else(|| out.join("built")),
        out,
        side: args.side,
        installed: args.installed,
        recipe: args.recipe,
        try_anyway: args.try_anyway,
        compile_any: args.compile_any,
        machines: args.machines,
        machine: if args.machine.is_empty() { vec!["default".to_owned()] } else { args.machine },
        snapshot: Some(args.snapshot).filter(|name| !name.is_empty()),
        open: args.open,
        jobs: args.jobs.filter(|jobs| *jobs > 0),
        limits: args.limits,
        retries: args.retries,
        retry_wait_s: args.retry_wait_s,
        rest_s: args.rest_s,
        repeat: args.repeat,
        explain: args.explain,
        keyboard,
        keep: args.keep,
        bundle: args.bundle,
        replay: args.replay,
        command: std::env::args().collect(),
    })))
}

/// A package name becomes a file name: nothing that could lead elsewhere.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(['.', '-'])
        && !name.contains(|c: char| c == '/' || c.is_control())
}
