//! Driver `sandbox`: a private copy-on-write root over the host's file system or over a root tree, namespaces of its own
//! for processes, mounts, network, names and System V objects, limits by control groups. Needs nothing but the kernel.
//!
//! - `plan`: what it will be, as data; `host`: the facts that it depends on
//! - `skin`, `disk`, `cgroup`, `network`: the pieces
//! - `init`: makes it; `enter`: runs a command in it

mod cgroup;
mod disk;
mod enter;
mod host;
mod init;
mod network;
mod plan;
mod skin;
mod watch;

use super::{Driver, Request, Running, check_settings, setting_list};
use crate::instance::owner::Owner;
use crate::state::store::Seat;
use contract::machines::Network;
use contract::testbed::Usage;
use edge::{Context, Exit, Failure, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub use cgroup::Groups;
pub use disk::look as look_at_disk;
pub use enter::role as enter_role;
pub use init::{carry_out, change_root, die_with_parent};
pub use network::refusals as network_refusals;
pub use plan::Step;

pub struct Sandbox;

/// What is noted about a running sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    /// Process 1 of the sandbox, as the host numbers it.
    pub init: Owner,
    pub user_map: bool,
    pub own_network: bool,
    pub disk: PathBuf,
    pub disk_keeping: disk::Keeping,
    /// Limits kept without control groups.
    pub watched: watch::Limits,
    pub groups: cgroup::Groups,
}

fn note(seat: &Seat) -> Option<Note> {
    serde_json::from_value(seat.running()?).ok()
}

/// The role `internal-freeze DIR LAYER`: copies the state of an instance out of its disk image.
pub fn freeze_role(args: &[OsString]) -> ExitCode {
    let freeze = |dir: &Path, layer: &Path| {
        use rustix::mount::{MountPropagationFlags, mount_change};
        crate::process::unshare(crate::process::UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let disk = disk::Disk {
            dir: dir.join("disk"),
            image: Some(dir.join("disk.img")),
            keeping: disk::Keeping::FileSystem,
        };
        disk.mount()?;
        // whiteouts, owners, links and extended attributes and all
        let copied = Command::new("cp").arg("-a").arg(disk.dir.join("upper")).arg(layer).status()?;
        if copied.success() { Ok(()) } else { Err(std::io::Error::other(format!("cp ended with {copied}"))) }
    };
    match args {
        [dir, layer] => match freeze(Path::new(dir), Path::new(layer)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                edge::say::warning(error.to_string(), None);
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::from(2),
    }
}

impl Driver for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &["root", "host_dirs", "own"])?;
        let root = plan::root_dir(seat);
        if let Some(dir) = &root
            && !dir.is_dir()
        {
            return Err(Failure::unavailable(format!(
                "cannot open machine \"{}\": root \"{}\" is not a directory",
                seat.instance.machine.name,
                dir.display()
            )));
        }
        // installing a package changes the one file or the other
        let stamp = |path: PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let base = root.unwrap_or_else(|| PathBuf::from("/"));
        Ok(format!(
            "{:?} {:?} {:?} {:?} {:?}",
            base,
            stamp(base.join("var/lib/dpkg/status")),
            stamp(base.join("etc")),
            setting_list(seat, "host_dirs"),
            setting_list(seat, "own")
        ))
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        init::start(seat)
    }

    fn reap(&self, seat: &Seat) {
        if let Some(note) = note(seat) {
            note.groups.remove();
        }
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        let is_root = rustix::process::geteuid().is_root();
        let user = request.user.as_deref().unwrap_or(plan::USER);
        match user {
            "root" if !is_root => {
                return Err(Failure::unavailable(
                    "cannot run as root: this sandbox was opened by an ordinary user and has one user only",
                )
                .hint("the setting `own` of the machine gives directories to the user; see machines(5)"));
            }
            "root" | plan::USER => {}
            _ => {
                return Err(Failure::usage(format!("cannot run as \"{user}\": no such user in the machine"))
                    .detail("users", "root, racket"));
            }
        }
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        let home = if user == "root" { "/root" } else { plan::HOME };
        for (key, value) in [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", home),
            ("USER", user),
            ("LOGNAME", user),
            ("SHELL", "/bin/sh"),
            ("LANG", "C.UTF-8"),
        ] {
            env.push((key.into(), value.into()));
        }
        env.extend(seat.instance.machine.env.iter().map(|(key, value)| (key.into(), value.into())));
        env.extend(request.env.iter().cloned());
        let cwd = request.cwd.clone().unwrap_or_else(|| self.work_dir(seat).into());
        let exe =
            std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
        let mut command = Command::new(exe);
        command
            .arg("internal-enter")
            .arg(&seat.dir)
            .arg(std::process::id().to_string())
            .arg(user)
            .arg(if request.tty { "tty" } else { "" })
            .arg(cwd)
            .arg(env.len().to_string());
        for (key, value) in env {
            let mut pair = key;
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
        command.args(&request.argv);
        Ok(command)
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        let Some(note) = note(seat) else { return };
        usage.alive = note.init.is_alive();
        note.groups.usage(usage);
        watch::usage(seat, &note.watched, usage);
        let (bytes, full) = match note.disk_keeping {
            disk::Keeping::FileSystem => {
                disk::used_of_file_system(Path::new(&format!("/proc/{}/root", note.init.pid))).unzip()
            }
            _ => (Some(disk::used_of_directory(&note.disk.join("upper"))), None),
        };
        usage.disk_mb = bytes.map(|bytes| (bytes as f64 / 1048576.0 * 100.0).round() / 100.0);
        // full now, or seen full before: a program may tidy up after it failed
        usage.disk_full = Some(full.unwrap_or(false) || seat.dir.join("disk-full").exists());
        if note.own_network {
            usage.network_refusals = network::refusals(note.init.pid);
        }
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let mut has: Vec<&str> = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot"];
        if seat.instance.machine.network == Network::None {
            has.push("no-network");
        }
        if rustix::process::geteuid().is_root() {
            has.push("root");
        }
        if let Some(note) = note(seat) {
            for (what, name) in
                [("memory", "limits-memory"), ("processes", "limits-processes"), ("cpu", "limits-cpu")]
            {
                if note.groups.enforced.iter().any(|have| have == what) || note.watched.keeps(what) {
                    has.push(name);
                }
            }
            if note.disk_keeping != disk::Keeping::None {
                has.push("limits-disk");
            }
        }
        has.into_iter().map(str::to_owned).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        seat.instance.machine.work_dir.clone().unwrap_or_else(|| plan::WORK_DIR.to_owned())
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(format!("/share/{name}"))
    }

    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        let disk = disk::Disk::of(seat);
        let cannot = || format!("cannot keep the state of \"{}\"", seat.instance.id);
        if disk.image.is_none() {
            fs::rename(disk.dir.join("upper"), layer).context(Exit::CantCreate, cannot)?;
            crate::state::store::remove_tree(&disk.dir.join("work"));
            return Ok(());
        }
        let exe =
            std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
        let new = layer.with_extension("new");
        let made = Command::new(exe)
            .args([OsString::from("internal-freeze"), seat.dir.clone().into(), new.clone().into()])
            .output()
            .context(Exit::TryAgain, cannot)?;
        if !made.status.success() {
            crate::state::store::remove_tree(&new);
            return Err(
                Failure::cant_create(cannot()).detail("cause", String::from_utf8_lossy(&made.stderr).trim())
            );
        }
        fs::rename(&new, layer).context(Exit::CantCreate, cannot)?;
        fs::remove_file(seat.dir.join("disk.img")).context(Exit::CantCreate, cannot)?;
        Ok(())
    }
}
