//! How to reach a machine by ssh: the command lines as data, the connection that serves all commands of an instance, and
//! how trouble that may pass is tried again.

use super::trouble::Trouble;
use crate::drivers::{setting, setting_list, setting_number};
use crate::state::store::Seat;
use contract::testbed::Mount;
use edge::{Exit, Failure, Result, say};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one try to connect may take.
const CONNECT_S: u64 = 10;
/// How long a machine may be silent before the connection counts as lost.
const SILENCE_S: u64 = 60;
/// Signs of life that are asked for in that time.
const SIGNS: u64 = 4;
/// Of the 107 bytes that the path of a socket may have ssh needs some for a name of its own.
const LONGEST_CONTROL: usize = 88;
/// First and longest nap between two tries.
const NAPS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));

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

/// The settings that [`Target::of`] reads.
pub const SETTINGS: [&str; 7] = ["host", "port", "user", "identity", "known_hosts", "options", "silence_s"];

impl Target {
    /// From the settings of a machine.
    pub fn of(seat: &Seat) -> Target {
        let file = |name: &str| setting(seat, name).map(|file| seat.instance.base_dir.join(file));
        let mut options = setting_list(seat, "options");
        if let Some(silence_s) = setting_number(seat, "silence_s") {
            options.extend(alive(silence_s));
        }
        Target {
            host: setting(seat, "host").unwrap_or_default().to_owned(),
            port: setting_number(seat, "port"),
            user: setting(seat, "user").map(str::to_owned),
            identity: file("identity"),
            known_hosts: file("known_hosts"),
            options,
            control: control(seat),
        }
    }

    /// The arguments of ssh up to the host. Of two values of an option ssh takes the first.
    pub fn args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut option = |text: &str| args.extend(["-o".into(), OsString::from(text)]);
        // never a question: there is nobody to answer
        option("BatchMode=yes");
        option("ForwardAgent=no");
        option("ForwardX11=no");
        option("LogLevel=ERROR");
        option(&format!("ControlPath={}", self.control.display()));
        if let Some(file) = &self.known_hosts {
            option(&format!("UserKnownHostsFile={}", file.display()));
        }
        for text in self.options.iter().chain(&alive(SILENCE_S)) {
            option(text);
        }
        option(&format!("ConnectTimeout={CONNECT_S}"));
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
        Ok(self.greet(script, log)?.map(|_| ()))
    }

    /// As [`Target::connect`]; gives what else is in the line that begins with `up`.
    pub fn greet(&self, script: &str, log: &Path) -> Result<std::result::Result<String, String>> {
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
        Ok(match said.trim_end().strip_prefix("up") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => Err(std::fs::read_to_string(log).unwrap_or_default()),
        })
    }

    /// As [`Target::greet`]; trouble that may pass is tried again until `until`, with naps that grow. `action` begins the
    /// message of a failure. `go_on` is asked before every other try, and ends the tries with its failure.
    pub fn reach(
        &self,
        action: &str,
        script: &str,
        log: &Path,
        until: Instant,
        go_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<String> {
        let (mut nap, longest) = NAPS;
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            // short ones first: a packet that was lost while a machine booted would cost a whole time-out
            let mut target = self.clone();
            target.options.push(format!("ConnectTimeout={}", (tries + 2).min(CONNECT_S)));
            let said = match target.greet(script, log)? {
                Ok(said) => return Ok(said),
                Err(said) => said,
            };
            tries += 1;
            let failure = self.explain(&said).failure(action, &self.host);
            if failure.exit != Exit::TryAgain {
                return Err(failure);
            }
            if Instant::now() + nap > until {
                let tried = format!("{tries} times in {} s", begun.elapsed().as_secs());
                return Err(failure.detail("tried", tried));
            }
            say::detail(format!("{}; trying again", failure.message));
            go_on()?;
            std::thread::sleep(nap);
            nap = (nap * 2).min(longest);
        }
    }

    /// What ssh said, told as a person can act on it.
    fn explain(&self, said: &str) -> Trouble {
        let mode = self.identity.as_ref().and_then(|file| Some(file.metadata().ok()?.permissions().mode()));
        // ssh then passes over the key without a word
        let loose = mode.is_some_and(|mode| mode & 0o077 != 0) && said.contains("Permission denied");
        let said = if loose { &format!("{said}\nbad permissions") } else { said };
        Trouble::of(&self.host, said)
    }

    /// Why the machine does not answer; None: it does.
    pub fn trouble(&self) -> Option<Trouble> {
        let mut command = self.command(&["true".into()], false);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(self.explain(&String::from_utf8_lossy(&output.stderr))),
            Err(error) => Some(self.explain(&error.to_string())),
        }
    }

    /// Lets the machine reach a port of this host at a port of its own, at its loopback address.
    pub fn forward_back(&self, inside: u16, port: u16) -> std::result::Result<(), String> {
        let mut command = Command::new("ssh");
        command.args(self.args()).args(["-O", "forward", "-R"]);
        command.arg(format!("127.0.0.1:{inside}:127.0.0.1:{port}")).args(["--", &self.host]);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Ends the master connection.
    pub fn disconnect(&self) {
        if !self.control.exists() {
            return;
        }
        let mut command = Command::new("ssh");
        command.args(self.args()).args(["-O", "exit", "--", &self.host]);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Copies a shared directory there, as it is now, for reading only.
    pub fn send(&self, mount: &Mount) -> Result<()> {
        send_by(self.command(&unpack(mount), false), mount, &self.host)
    }
}

/// What unpacks a shared directory inside.
pub fn unpack(mount: &Mount) -> Vec<OsString> {
    let script = r#"mkdir -p "$1" && tar -xf - -C "$1" && chmod -R a-w "$1""#;
    ["sh", "-c", script, "sh", &mount.guest].iter().map(OsString::from).collect()
}

/// Packs a shared directory for a command that unpacks it in the machine `name`.
pub fn send_by(mut unpack: Command, mount: &Mount, name: &str) -> Result<()> {
    let cannot =
        |cause: &str| Failure::try_again(format!("cannot share \"{}\" with \"{name}\": {cause}", mount.host));
    let mut send = || {
        let mut pack =
            Command::new("tar").args(["-C", &mount.host, "-cf", "-", "."]).stdout(Stdio::piped()).spawn()?;
        let stdin = pack.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let unpacked = unpack.stdin(stdin).stdout(Stdio::null()).status()?;
        Ok::<bool, std::io::Error>(pack.wait()?.success() && unpacked.success())
    };
    match send() {
        Ok(true) => Ok(()),
        Ok(false) => Err(cannot("tar failed")),
        Err(error) => Err(cannot(&error.to_string())),
    }
}

/// The options with which a silent machine is given up after this time, in seconds.
fn alive(silence_s: u64) -> [String; 2] {
    [
        format!("ServerAliveInterval={}", silence_s.div_ceil(SIGNS).max(1)),
        format!("ServerAliveCountMax={SIGNS}"),
    ]
}

/// The path of a socket is short, and no `%` is in it: ssh would replace that.
pub fn control(seat: &Seat) -> PathBuf {
    let tag = seat.tag();
    let path = std::env::temp_dir().join(format!("vm-snapshot-ssh-{tag}"));
    if path.as_os_str().len() <= LONGEST_CONTROL {
        return path;
    }
    let hash = Sha256::digest(tag);
    let short =
        hash.iter().take(12).fold("vm-snapshot-ssh-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
    Path::new("/tmp").join(short)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_pass_the_other_shell_unharmed() {
        assert_eq!(quoted(OsStr::new("it's $HOME *")), "'it'\\''s $HOME *'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }

    #[test]
    fn what_the_document_says_comes_before_what_is_usual_but_never_asks() {
        let seat = crate::state::store::example(
            r#"{"name": "m", "driver": "ssh", "host": "h", "port": 7, "user": "u", "identity": "key", "silence_s": 6,
                "options": ["BatchMode=no", "Compression=yes"]}"#,
        );
        let args: Vec<String> =
            Target::of(&seat).args().iter().map(|arg| arg.display().to_string()).collect();
        let first = |name: &str| args.iter().find(|arg| arg.starts_with(name)).cloned();
        assert_eq!(first("BatchMode"), Some("BatchMode=yes".into()));
        assert_eq!(first("ServerAliveInterval"), Some("ServerAliveInterval=2".into()));
        assert_eq!(args[args.len() - 6..], ["-i", "/doc/key", "-l", "u", "-p", "7"].map(str::to_owned));
    }
}
