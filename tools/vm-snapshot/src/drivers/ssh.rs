//! Driver `ssh`: another host, as it is. No snapshot, nothing fresh but a work directory of its own, which is removed at
//! close; and it says so in its capabilities.
//!
//! Settings: `host` (as ssh takes it), `port`, `user`, `identity` (file, relative to the document), `known_hosts` (file;
//! default: the user's own), `options` (more `-o` of ssh).

use super::guest::{self, Channel};
use super::{Driver, Request, Running, check_settings, setting, setting_list};
use crate::state::store::Seat;
use contract::testbed::{Mount, Usage};
use edge::{Exit, Failure, Result};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub struct Ssh;

/// How long one try to connect may take.
const CONNECT_S: u64 = 10;
/// How long trouble that may pass is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to reach a machine by ssh.
#[derive(Clone, Debug, Default)]
pub struct Target {
    pub host: String,
    pub port: Option<u64>,
    pub user: Option<String>,
    pub identity: Option<PathBuf>,
    pub known_hosts: Option<PathBuf>,
    /// More options, as `-o` takes them.
    pub options: Vec<String>,
    /// Socket of the master connection, which serves all commands of an instance.
    pub control: PathBuf,
}

impl Target {
    /// From the settings of a machine.
    fn of(seat: &Seat) -> Target {
        let file = |name: &str| setting(seat, name).map(|file| seat.instance.base_dir.join(file));
        Target {
            host: setting(seat, "host").unwrap_or_default().to_owned(),
            port: seat.instance.machine.settings.get("port").and_then(serde_json::Value::as_u64),
            user: setting(seat, "user").map(str::to_owned),
            identity: file("identity"),
            known_hosts: file("known_hosts"),
            options: setting_list(seat, "options"),
            control: control(&seat.instance.id),
        }
    }

    /// The arguments of ssh up to the host.
    pub fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut option = |text: &str| args.extend(["-o".into(), OsString::from(text)]);
        // never a question: there is nobody to answer
        option("BatchMode=yes");
        option(&format!("ConnectTimeout={CONNECT_S}"));
        option("ServerAliveInterval=15");
        option("ServerAliveCountMax=4");
        option("ForwardAgent=no");
        option("ForwardX11=no");
        option("LogLevel=ERROR");
        option(&format!("ControlPath={}", self.control.display()));
        if let Some(file) = &self.known_hosts {
            option(&format!("UserKnownHostsFile={}", file.display()));
        }
        for text in &self.options {
            option(text);
        }
        if let Some(file) = &self.identity {
            option("IdentitiesOnly=yes");
            args.extend(["-i".into(), file.clone().into()]);
        }
        if let Some(user) = &self.user {
            args.extend(["-l".into(), user.into()]);
        }
        if let Some(port) = self.port {
            args.extend(["-p".into(), port.to_string().into()]);
        }
        args
    }

    /// Runs `argv` there, word by word as it is.
    pub fn command(&self, argv: &[OsString], tty: bool) -> Command {
        let mut command = Command::new("ssh");
        self.finish(&mut command, argv, tty);
        command
    }

    /// As [`Target::command`], but the connection stays and serves all later commands.
    pub fn master(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-o", "ControlMaster=yes", "-o", "ControlPersist=yes"]);
        self.finish(&mut command, argv, false);
        command
    }

    fn finish(&self, command: &mut Command, argv: &[OsString], tty: bool) {
        command.args(self.args());
        if tty {
            command.arg("-tt");
        }
        command.arg("--").arg(&self.host);
        let words: Vec<OsString> = argv.iter().map(|word| quoted(word)).collect();
        command.arg(words.join(OsStr::new(" ")));
    }

    /// Makes the master connection and runs a script that must say `up`. The text is what ssh said instead.
    pub fn connect(&self, script: &str, log: &Path) -> Result<std::result::Result<(), String>> {
        let argv: Vec<OsString> = ["sh", "-c", script].iter().map(OsString::from).collect();
        let file = std::fs::File::create(log)
            .map_err(|error| Failure::cant_create(format!("cannot write \"{}\": {error}", log.display())))?;
        let child = self.master(&argv).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = child.map_err(|error| {
            Failure::unavailable(format!("cannot run ssh: {error}")).hint("install openssh-client")
        })?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            // not to the end: the master that stays behind holds the pipe
            let _ = BufReader::new(stdout).read_line(&mut said);
        }
        let _ = child.wait();
        Ok(if said == "up\n" { Ok(()) } else { Err(std::fs::read_to_string(log).unwrap_or_default()) })
    }

    /// Ends the master connection.
    pub fn disconnect(&self) {
        let mut command = Command::new("ssh");
        command.args(self.args()).args(["-O", "exit", "--", &self.host]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Copies a shared directory there, as it is now, for reading only.
    pub fn send(&self, mount: &Mount) -> Result<()> {
        let cannot = |cause: &str| {
            Failure::try_again(format!("cannot share \"{}\" with \"{}\": {cause}", mount.host, self.host))
        };
        let script = r#"mkdir -p "$1" && tar -xf - -C "$1" && chmod -R a-w "$1""#;
        let argv: Vec<OsString> =
            ["sh", "-c", script, "sh", &mount.guest].iter().map(OsString::from).collect();
        let send = || {
            let mut pack = Command::new("tar")
                .args(["-C", &mount.host, "-cf", "-", "."])
                .stdout(Stdio::piped())
                .spawn()?;
            let stdin = pack.stdout.take().map_or_else(Stdio::null, Stdio::from);
            let unpacked = self.command(&argv, false).stdin(stdin).stdout(Stdio::null()).status()?;
            Ok::<bool, std::io::Error>(pack.wait()?.success() && unpacked.success())
        };
        match send() {
            Ok(true) => Ok(()),
            Ok(false) => Err(cannot("tar failed")),
            Err(error) => Err(cannot(&error.to_string())),
        }
    }
}

/// The path of a socket is short, and no `%` is in it: ssh would replace that.
pub fn control(id: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vm-snapshot-ssh-{id}"))
}

fn host(seat: &Seat) -> &str {
    setting(seat, "host").unwrap_or_default()
}

/// A word that the shell at the other end reads as it is.
fn quoted(word: &OsStr) -> OsString {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

/// What ssh said, told as a person can act on it. Some troubles pass: those are worth another try.
fn explain(machine: &str, host: &str, said: &str) -> Failure {
    let has = |text: &str| said.contains(text);
    let cause = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no answer").trim();
    let cause = cause.strip_prefix("ssh: ").unwrap_or(cause);
    let failure =
        |exit| Failure::new(exit, format!("cannot open machine \"{machine}\": {cause}")).detail("host", host);
    if has("Could not resolve hostname") {
        failure(Exit::Unavailable)
            .hint("the setting \"host\" must be a name that this host can look up, or an address")
    } else if has("Host key verification failed") {
        failure(Exit::Unavailable).hint(format!(
            "connect once by hand (ssh {host}) and check the key, or name a file with it in the setting \"known_hosts\""
        ))
    } else if has("Permission denied") {
        failure(Exit::Unavailable).hint(format!(
            "no password is asked for: put your public key on the machine (ssh-copy-id {host}) or name a key in the setting \"identity\""
        ))
    } else if has("No route to host") || has("Network is unreachable") {
        failure(Exit::TryAgain).hint("the address may be that of another network: see the setting \"host\"")
    } else if has("Connection refused") {
        failure(Exit::TryAgain).hint("is sshd running there, and the setting \"port\" right?")
    } else if has("timed out") {
        failure(Exit::TryAgain).hint("nothing answers at that address: is the machine up?")
    } else {
        failure(Exit::TryAgain)
    }
}

impl Channel for Ssh {
    fn command(&self, seat: &Seat, argv: &[OsString], _user: Option<&str>, tty: bool) -> Command {
        Target::of(seat).command(argv, tty)
    }

    fn answers(&self, seat: &Seat) -> bool {
        guest::ask(self, seat, ":").is_some()
    }

    fn own_codes(&self) -> &'static [i32] {
        &[255]
    }

    fn is_whole_machine(&self) -> bool {
        // others may be at work there
        false
    }
}

impl Driver for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &["host", "port", "user", "identity", "known_hosts", "options"])?;
        Ok(format!("{} {:?}", guest::needed(seat, "host")?, setting(seat, "user")))
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let work = format!("/tmp/vm-snapshot-{}", seat.instance.id);
        let script = format!("mkdir -m 700 {work} {work}/work {work}/home && printf 'up\\n'");
        let until = Instant::now() + PATIENCE;
        let target = Target::of(seat);
        while let Err(said) = target.connect(&script, &seat.dir.join("ssh.log"))? {
            let failure = explain(&seat.instance.machine.name, host(seat), &said);
            if failure.exit != Exit::TryAgain || Instant::now() > until {
                return Err(failure);
            }
            sleep(Duration::from_secs(1));
        }
        for mount in self.mounts(seat) {
            if let Err(failure) = target.send(&mount) {
                self.reap(seat);
                return Err(failure);
            }
        }
        let held = seat.clone();
        Ok(Running {
            note: serde_json::json!({"work": work}),
            watch: None,
            tick: None,
            end: Box::new(move || Ssh.reap(&held)),
        })
    }

    fn reap(&self, seat: &Seat) {
        let id = &seat.instance.id;
        let _ = guest::ask(
            self,
            seat,
            &format!("cd /tmp && chmod -R u+w vm-snapshot-{id}; rm -rf vm-snapshot-{id}"),
        );
        Target::of(seat).disconnect();
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        if request.user.is_some() {
            return Err(Failure::unavailable(
                "cannot change the user: an ssh machine has the one it was reached as",
            ));
        }
        let home = format!("/tmp/vm-snapshot-{}/home", seat.instance.id);
        guest::enter(seat, request, &home, &self.work_dir(seat))
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        usage.alive = self.answers(seat);
    }

    fn capabilities(&self, _seat: &Seat) -> Vec<String> {
        ["kill-tree", "exec-options", "usage"].map(str::to_owned).to_vec()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        let own = format!("/tmp/vm-snapshot-{}/work", seat.instance.id);
        seat.instance.machine.work_dir.clone().unwrap_or(own)
    }

    fn share_point(&self, _name: &str, host: &str) -> Option<String> {
        // see `mounts`: where it is depends on the instance
        Some(host.to_owned())
    }

    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        let guest = |name: &str| format!("/tmp/vm-snapshot-{}/share/{name}", seat.instance.id);
        let mounts = seat.instance.mounts.iter();
        mounts.map(|mount| Mount { guest: guest(&mount.name), ..mount.clone() }).collect()
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Ssh)
    }

    fn freeze(&self, _seat: &Seat, _layer: &Path) -> Result<()> {
        Err(Failure::unavailable("cannot take a snapshot: an ssh machine has none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_pass_the_other_shell_unharmed() {
        assert_eq!(quoted(OsStr::new("it's $HOME *")), "'it'\\''s $HOME *'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }

    #[test]
    fn each_way_to_fail_has_its_own_advice() {
        let hints: std::collections::BTreeSet<Option<String>> = [
            "ssh: Could not resolve hostname x: Name or service not known",
            "Host key verification failed.",
            "racket@x: Permission denied (publickey).",
            "ssh: connect to host 10.0.0.1 port 22: No route to host",
            "ssh: connect to host x port 22: Connection refused",
            "ssh: connect to host x port 22: Connection timed out",
        ]
        .into_iter()
        .map(|said| explain("m", "x", said).hint)
        .collect();
        assert_eq!(hints.len(), 6);
        assert!(!hints.contains(&None));
        assert_eq!(explain("m", "x", "Host key verification failed.").exit, Exit::Unavailable);
        assert_eq!(explain("m", "x", "connect: Connection refused").exit, Exit::TryAgain);
    }
}
