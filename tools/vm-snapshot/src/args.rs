use edge::{Failure, Manners, Result};
use std::ffi::OsString;
use std::path::PathBuf;

/// open fresh, isolated machines; run in them, snapshot them, close them
#[derive(clap::Parser, Debug)]
#[command(version, arg_required_else_help = true)]
struct Args {
    /// Document that describes the machines
    #[arg(long, value_name = "FILE", default_value = "machines.json", global = true)]
    machines: PathBuf,
    /// Directory for snapshots and instances, instead of the one the document names
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    manners: Manners,
}

/// What to do.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Command {
    /// Open a fresh, ready instance of a machine and print its testbed
    Open {
        machine: String,
        #[command(flatten)]
        open: Open,
    },
    /// Run a command in an instance, with stdin, stdout, stderr and exit status its own
    Exec {
        id: String,
        #[command(flatten)]
        exec: Exec,
        /// Program and arguments, passed as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
        argv: Vec<OsString>,
    },
    /// Open a terminal in an instance
    Shell {
        id: String,
        #[command(flatten)]
        exec: Exec,
    },
    /// Print what an instance has used
    Status { id: String },
    /// Close instances and remove everything in them
    Close {
        #[arg(required = true)]
        id: Vec<String>,
    },
    /// Turn the present state of an instance or started machine into a snapshot of its machine
    Take {
        id: String,
        snapshot: String,
        /// Take the name from the snapshot that has it
        #[arg(long)]
        replace: bool,
    },
    /// Make a machine ready: check its settings and prepare what it stands on
    Create { machine: String },
    /// Start a machine whose disk outlives the run
    Start {
        machine: String,
        #[command(flatten)]
        open: Open,
    },
    /// Stop a started machine; its disk stays
    Stop { machine: String },
    /// Put a machine back to a snapshot
    Restore { machine: String, snapshot: String },
    /// List machines, or the snapshots and instances of one
    List {
        machine: Option<String>,
        /// Show what is based on what, as text
        #[arg(long, requires = "machine")]
        tree: bool,
    },
    /// Delete a snapshot, or a machine's state with all its snapshots
    Delete { machine: String, snapshot: Option<String> },
    /// Copy a file or directory into an instance
    CopyIn { id: String, from: PathBuf, to: String },
    /// Copy a file or directory out of an instance
    CopyOut { id: String, from: String, to: PathBuf },
    /// Remove what dead instances left behind
    Prune,
    /// Prove that a machine is fresh, cut off and limited; time every step
    Selftest {
        machine: String,
        #[command(flatten)]
        open: Open,
    },
}

#[derive(clap::Args, Clone, Debug, Default)]
#[group(id = "open-options")]
pub struct Open {
    /// Snapshot to start from; without it the bare machine
    #[arg(long)]
    pub snapshot: Option<String>,
    /// Directory of the host to be readable inside under this name (repeatable)
    #[arg(long, value_name = "NAME=DIR", value_parser = share)]
    pub share: Vec<(String, PathBuf)>,
    /// Memory in MiB, instead of the machine's
    #[arg(long, value_name = "N")]
    pub memory_mb: Option<u64>,
    /// Disk in MiB, instead of the machine's
    #[arg(long, value_name = "N")]
    pub disk_mb: Option<u64>,
    /// Processes and threads, instead of the machine's
    #[arg(long, value_name = "N")]
    pub processes: Option<u64>,
    /// Processors, instead of the machine's
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Process with which the instance ends: by default the one that ran this command; 0: none
    #[arg(long, value_name = "PID")]
    pub owner: Option<i32>,
    /// Seconds that the instance stays when its owner has ended, for a look at what happened
    #[arg(long, value_name = "SECONDS")]
    pub keep_s: Option<u64>,
    /// Seconds to wait for a place when the machine's pool is full
    #[arg(long, value_name = "SECONDS")]
    pub wait_s: Option<u64>,
}

#[derive(clap::Args, Clone, Debug, Default)]
#[group(id = "exec-options")]
pub struct Exec {
    /// Variable for the environment of the command (repeatable)
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Directory inside to start in
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<OsString>,
    /// User inside to run as: `root`, or the ordinary user of the machine
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Give the command a terminal of its own (`shell` always does)
    #[arg(long)]
    pub tty: bool,
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn share(text: &str) -> std::result::Result<(String, PathBuf), String> {
    let (name, dir) = pair(text).map_err(|_| "expected NAME=DIR".to_owned())?;
    if crate::state::store::valid_name(&name) {
        Ok((name, PathBuf::from(dir)))
    } else {
        Err("the name may have letters, digits, `-`, `_` and `.`".to_owned())
    }
}

#[derive(Debug)]
pub struct Config {
    pub machines: PathBuf,
    pub state_dir: Option<PathBuf>,
    pub command: Command,
}

pub fn parse() -> Result<(Config, Manners)> {
    let args: Args = edge::parse_args()?;
    if let Command::Take { snapshot, .. } = &args.command
        && !crate::state::store::valid_name(snapshot)
    {
        return Err(Failure::usage(format!("cannot name a snapshot \"{snapshot}\""))
            .hint("letters, digits, `-`, `_` and `.`, not starting with `-` or `.`"));
    }
    let config = Config { machines: args.machines, state_dir: args.state_dir, command: args.command };
    Ok((config, args.manners))
}
