//! Running virsh: single commands, the monitor of a machine, and the one that a machine lives by.

use super::trouble::explain;
use crate::drivers::setting;
use crate::process::before_exec;
use crate::state::store::Seat;
use edge::{Failure, Result};
use rustix::io::FdFlags;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const URI: &str = "qemu:///session";
/// Name that QEMU knows a file by which it was given.
const GIVEN: &str = "vm-snapshot";
/// How long QEMU may take to move a memory.
const PATIENCE: Duration = Duration::from_secs(60);

/// The connection that the document names.
pub fn uri(seat: &Seat) -> &str {
    setting(seat, "uri").unwrap_or(URI)
}

/// A libvirt, and what is being done there: `action` begins the message of a failure.
pub struct Virsh {
    uri: String,
    action: String,
}

impl Virsh {
    pub fn of(seat: &Seat, action: &str) -> Virsh {
        Virsh { uri: uri(seat).to_owned(), action: action.to_owned() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("virsh");
        // what it says is read
        command.args(["-q", "-c", &self.uri]).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn cannot_run(&self, error: &io::Error) -> Failure {
        Failure::unavailable(format!("{}: cannot run virsh: {error}", self.action))
            .hint("install libvirt-clients and libvirt-daemon-system")
    }

    fn finish(&self, mut command: Command) -> Result<String> {
        let output = command.output().map_err(|error| self.cannot_run(&error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(explain(&self.action, &self.uri, &String::from_utf8_lossy(&output.stderr)))
    }

    /// What a command prints.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command();
        command.args(args);
        self.finish(command)
    }

    /// Ends a domain, if it is there. Nothing that it should still write is asked of it.
    pub fn destroy(&self, uuid: &str) {
        let mut command = self.command();
        let _ = command.args(["destroy", uuid]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Asks the monitor (QMP) of a domain, which is given `file` as [`GIVEN`] if there is one.
    fn ask(&self, uuid: &str, question: &Value, file: Option<&File>) -> Result<Value> {
        let mut command = self.command();
        command.args(["qemu-monitor-command", uuid]);
        if let Some(file) = file {
            let file = file.try_clone().map_err(|error| Failure::bug(error.to_string()))?;
            command.args(["--pass-fds", &file.as_raw_fd().to_string()]);
            before_exec(&mut command, move || Ok(rustix::io::fcntl_setfd(&file, FdFlags::empty())?));
        }
        command.arg(question.to_string());
        let said = self.finish(command)?;
        let answer: Value = serde_json::from_str(&said).unwrap_or_default();
        match answer["error"]["desc"].as_str() {
            Some(cause) => Err(Failure::try_again(format!("{}: {cause}", self.action))),
            None => Ok(answer["return"].clone()),
        }
    }

    /// As [`Virsh::ask`].
    pub fn monitor(&self, uuid: &str, execute: &str, arguments: &Value) -> Result<Value> {
        self.ask(uuid, &json!({"execute": execute, "arguments": arguments}), None)
    }

    /// Moves the memory of a domain into a file (`migrate`) or out of it (`migrate-incoming`). QEMU may start no program
    /// and open no file that libvirt did not see to, so that it is given the open file.
    pub fn migrate(&self, uuid: &str, execute: &str, file: &File) -> Result<()> {
        self.ask(uuid, &json!({"execute": "getfd", "arguments": {"fdname": GIVEN}}), Some(file))?;
        self.monitor(uuid, execute, &json!({"uri": format!("fd:{GIVEN}")}))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let state = self.monitor(uuid, "query-migrate", &json!({}))?;
            match state["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    let cause = state["error-desc"].as_str().unwrap_or("it failed");
                    return Err(Failure::try_again(format!(
                        "{}: cannot move its memory: {cause}",
                        self.action
                    )));
                }
                _ if Instant::now() > until => {
                    return Err(Failure::try_again(format!(
                        "{}: its memory does not move in time",
                        self.action
                    )));
                }
                _ => sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Makes a domain of `domain.xml` in a directory. It ends with what is given back, and that with this process.
    pub fn create(&self, dir: &Path, uuid: &str, is_paused: bool) -> Result<Held> {
        let paused = if is_paused { " --paused" } else { "" };
        let log = dir.join("virsh.log");
        let begin = || {
            let mut command = Command::new("virsh");
            command.args(["-c", &self.uri]).env("LC_ALL", "C").stdin(Stdio::null()).current_dir(dir);
            command.arg(format!(
                "create --autodestroy{paused} domain.xml; event --domain {uuid} --event lifecycle --loop"
            ));
            command.stdout(Stdio::piped()).stderr(File::create(&log)?);
            before_exec(&mut command, || {
                Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
            });
            command.spawn()
        };
        let mut child = begin().map_err(|error| self.cannot_run(&error))?;
        let stdout = child.stdout.take().ok_or_else(|| Failure::bug("no stdout"))?;
        let mut lines = BufReader::new(stdout).lines().map_while(io::Result::ok);
        if !lines.any(|line| line.contains(" created from ")) {
            let _ = child.wait();
            let said = fs::read_to_string(&log).unwrap_or_default();
            // of two commands that failed the first one says why
            let first = said.split("error: failed to get domain").next().unwrap_or_default();
            let said = if first.trim().is_empty() { &said } else { first };
            return Err(explain(&self.action, &self.uri, said));
        }
        let (watch, alive) =
            io::pipe().map_err(|error| Failure::try_again(format!("{}: {error}", self.action)))?;
        std::thread::spawn(move || {
            let _ = lines.any(|line| line.contains(": Stopped"));
            drop(alive);
        });
        Ok(Held { virsh: child, watch: Some(watch.into()) })
    }
}

/// A domain that lives as long as this, by a connection of virsh.
pub struct Held {
    virsh: Child,
    /// Becomes readable when the domain has ended, or the connection.
    pub watch: Option<OwnedFd>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.virsh.kill();
        let _ = self.virsh.wait();
    }
}
