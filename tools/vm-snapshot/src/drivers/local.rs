//! Driver `local`: no machine at all. Commands run on the host, in a directory of their own that is removed at close.
//! It isolates nothing and limits nothing, and says so in its capabilities.

use super::{Driver, Request, Running, check_settings};
use crate::state::store::Seat;
use contract::testbed::Usage;
use edge::{Context, Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode};

pub struct Local;

/// The role `internal-local PARENT DIR TTY CWD ARGV…`: runs a command and, when it, the parent or the instance in DIR ends,
/// kills whatever it started.
/// As a subreaper it inherits the orphans, so that nobody escapes by forking twice or by a session of its own.
pub fn role(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let parent = args.next().and_then(|pid| pid.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let dir = args.next().unwrap_or_default();
    let tty = args.next().is_some_and(|tty| tty == *"tty");
    let cwd = args.next().unwrap_or_default();
    let argv: Vec<OsString> = args.collect();
    let Some((program, rest)) = argv.split_first() else { return ExitCode::SUCCESS };
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let watch = parent.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(keeper) = crate::instance::keeper::watch(Path::new(&dir)) else { return ended() };
    if rustix::process::getppid() != parent {
        return ExitCode::FAILURE;
    }
    if let Err(error) = std::env::set_current_dir(&cwd) {
        edge::say::failure(&edge::Failure::unavailable(format!(
            "cannot enter directory \"{}\": {error}",
            cwd.display()
        )));
        return ExitCode::from(126);
    }
    let mut command = Command::new(program);
    command.args(rest);
    if tty {
        crate::process::before_exec(&mut command, crate::instance::terminal::control);
    } else {
        command.process_group(0);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            edge::say::failure(&edge::Failure::unavailable(format!(
                "cannot run \"{}\": {error}",
                program.display()
            )));
            return ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let code = wait_for(&mut child, &watch.iter().chain([&keeper]).collect::<Vec<_>>());
    kill_descendants();
    code.map_or_else(ended, ExitCode::from)
}

/// Every exit code belongs to the command, so that this is told by dying of a signal; `exec` knows.
fn ended() -> ExitCode {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    ExitCode::FAILURE
}

/// Exit code of the command. None: one of the others, who need it, is gone.
fn wait_for(child: &mut Child, others: &[&OwnedFd]) -> Option<u8> {
    let pid = Pid::from_child(child);
    let watch = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    if let Ok(watch) = &watch {
        let mut fds: Vec<PollFd<'_>> = std::iter::once(watch)
            .chain(others.iter().copied())
            .map(|fd| PollFd::new(fd, PollFlags::IN))
            .collect();
        while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
    }
    match child.try_wait() {
        Ok(Some(status)) => {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            Some(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
        }
        _ => None,
    }
}

/// Kills until nobody is left: a process that forks faster than it is found is caught in a later round.
fn kill_descendants() {
    for _ in 0..1000 {
        let children = fs::read_to_string("/proc/self/task/self/children")
            .or_else(|_| fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())))
            .unwrap_or_default();
        let children: Vec<Pid> =
            children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        if children.is_empty() {
            return;
        }
        for pid in children {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

impl Driver for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &[])?;
        Ok("the host itself".to_owned())
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        for name in ["work", "home"] {
            fs::create_dir_all(seat.dir.join(name))
                .context(Exit::CantCreate, || "cannot make the work directory".to_owned())?;
        }
        Ok(Running { note: serde_json::json!({}), watch: None, tick: None, end: Box::new(|| {}) })
    }

    fn reap(&self, _seat: &Seat) {}

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        if request.user.is_some() {
            return Err(Failure::unavailable("cannot change the user: a local machine runs as you"));
        }
        let exe =
            std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
        let mut command = Command::new(exe);
        let cwd = request.cwd.clone().unwrap_or_else(|| OsString::from(self.work_dir(seat)));
        command
            .arg("internal-local")
            .arg(std::process::id().to_string())
            .arg(&seat.dir)
            .arg(if request.tty { "tty" } else { "" })
            .arg(cwd)
            .args(&request.argv)
            .env_clear();
        for name in ["PATH", "LANG", "LC_ALL", "TERM"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("HOME", seat.dir.join("home"))
            .envs(&seat.instance.machine.env)
            .envs(request.env.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    fn usage(&self, _seat: &Seat, usage: &mut Usage) {
        usage.alive = true;
    }

    fn capabilities(&self, _seat: &Seat) -> Vec<String> {
        vec!["exec-options".to_owned(), "kill-tree".to_owned()]
    }

    fn work_dir(&self, seat: &Seat) -> String {
        match &seat.instance.machine.work_dir {
            Some(dir) => dir.clone(),
            None => seat.dir.join("work").display().to_string(),
        }
    }

    fn share_point(&self, _name: &str, host: &str) -> Option<String> {
        Some(host.to_owned())
    }

    fn freeze(&self, _seat: &Seat, _layer: &Path) -> Result<()> {
        Err(Failure::unavailable("cannot take a snapshot: a local machine has none"))
    }
}
