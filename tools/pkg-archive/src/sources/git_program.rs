//! Runs the `git` program: silent when it should be, watched, and never asking anybody for a password.

use crate::trouble::Trouble;
use contract::archived::Cause;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Settings that keep a stranger's repository from running anything here and git from doing more than it is told.
const SETTINGS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.recurseSubmodules=no",
    "fetch.writeCommitGraph=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
    "safe.directory=*",
];

/// The user's own settings (proxies, `url.….insteadOf`, credentials) stay in force.
pub fn command() -> Command {
    let mut command = Command::new("git");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    for (name, _) in std::env::vars_os() {
        // a surrounding git (a hook, say) must not point us at its own repository
        if matches!(
            name.to_str(),
            Some("GIT_DIR" | "GIT_WORK_TREE" | "GIT_INDEX_FILE" | "GIT_OBJECT_DIRECTORY")
        ) {
            command.env_remove(name);
        }
    }
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .env("SSH_ASKPASS", "true")
        // sources are git, http and https; the user's url.BASE.insteadOf may lead to a local mirror or to ssh
        .env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh:file")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

/// Refuses to go on without git.
pub fn require() -> edge::Result<()> {
    let asked = command().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(edge::Failure::unavailable(format!("cannot run git: it ended with {status}"))),
        Err(error) => Err(edge::Failure::unavailable(format!("cannot run git: {error}"))
            .hint("some packages are in git repositories: install git")),
    }
}

/// What a finished git said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// Bounds on one run of git against a server.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Longest time without a sign of life.
    pub silence: Duration,
    pub total: Duration,
    /// Most bytes to receive.
    pub received_bytes: u64,
}

/// Runs git to its end, or ends it with all its helpers when it is silent, slow or receives too much. `progress` is told
/// the bytes received so far, as git counts them.
pub fn run(mut command: Command, watch: &Watch, progress: &dyn Fn(u64)) -> Result<Said, Trouble> {
    let mut child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_there(&error))?;
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let kill = move || {
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    };
    let on_exit = edge::on_exit(kill);
    let ended = attend(&mut child, watch, progress);
    if ended.is_err() {
        kill();
    }
    let status = child.wait();
    on_exit.forget();
    let (stdout, stderr) = ended?;
    let ok = status.is_ok_and(|status| status.success());
    Ok(Said { ok, stdout, stderr })
}

enum Heard {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

fn attend(child: &mut Child, watch: &Watch, progress: &dyn Fn(u64)) -> Result<(Vec<u8>, String), Trouble> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        listen(stdout, sender.clone(), Heard::Out);
    }
    if let Some(stderr) = child.stderr.take() {
        listen(stderr, sender, Heard::Err);
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let started = Instant::now();
    loop {
        let left = watch.total.saturating_sub(started.elapsed());
        match receiver.recv_timeout(watch.silence.min(left)) {
            Ok(Heard::Out(bytes)) => stdout.extend(bytes),
            Ok(Heard::Err(bytes)) => {
                stderr.extend(bytes);
                if let Some(received) = received_bytes(&stderr) {
                    progress(received);
                    if received > watch.received_bytes {
                        return Err(Trouble::too_large(format!(
                            "the repository sends more than {} MiB",
                            watch.received_bytes >> 20
                        )));
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let waited = watch.silence.min(watch.total).as_secs();
                let what = if left.is_zero() { "did not finish" } else { "was silent" };
                let waited = if left.is_zero() { watch.total.as_secs() } else { waited };
                return Err(Trouble::new(Cause::Unreachable, format!("the server {what} for {waited} s")));
            }
        }
        if stdout.len() as u64 > watch.received_bytes {
            return Err(Trouble::too_large("git prints without end"));
        }
    }
    Ok((stdout, String::from_utf8_lossy(&stderr).into_owned()))
}

fn listen(mut stream: impl Read + Send + 'static, sender: Sender<Heard>, wrap: fn(Vec<u8>) -> Heard) {
    std::thread::spawn(move || {
        let mut chunk = vec![0; 1 << 14];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            if sender.send(wrap(chunk[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// The last count in progress lines like `Receiving objects:  42% (5/12), 1.50 MiB | 2.10 MiB/s`.
fn received_bytes(stderr: &[u8]) -> Option<u64> {
    let tail = &stderr[stderr.len().saturating_sub(400)..];
    let text = String::from_utf8_lossy(tail);
    let (count, rest) = text.rsplit_once(" | ")?.0.rsplit_once(", ")?.1.split_once(' ')?;
    let unit: f64 = match rest.trim() {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((count.parse::<f64>().ok()? * unit) as u64)
}

fn not_there(error: &std::io::Error) -> Trouble {
    Trouble::new(Cause::Refused, format!("cannot run git: {error}"))
}

/// A local question to git that must succeed.
pub fn ask(mut command: Command) -> Result<Vec<u8>, Trouble> {
    let output = command.output().map_err(|error| not_there(&error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Trouble::new(
        Cause::Refused,
        format!("git failed: {}", last_line(&String::from_utf8_lossy(&output.stderr))),
    ))
}

/// A git that takes questions on stdin and answers on stdout, fed from a thread so that neither side waits forever.
pub fn feed(mut command: Command, questions: Vec<u8>) -> Result<(Child, ChildStdout), Trouble> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| not_there(&error))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Trouble::new(Cause::Refused, "cannot talk to git"));
    };
    std::thread::spawn(move || {
        let _ = stdin.write_all(&questions);
    });
    Ok((child, stdout))
}

/// What of `dir` git would carry to somebody else: tracked files, and new ones that are not ignored and not made by a
/// build. `None` when git tracks nothing there, so that the directory only happens to lie in some repository.
pub fn work_tree_files(top: &Path, dir: &Path) -> Result<Option<BTreeSet<PathBuf>>, Trouble> {
    let list = |arguments: &[&str]| -> Result<Vec<PathBuf>, Trouble> {
        let mut command = command();
        command.arg("-C").arg(dir).args(["ls-files", "-z", "--full-name"]).args(arguments).args(["--", "."]);
        let out = ask(command)?;
        Ok(out
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| top.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)))
            .collect())
    };
    let tracked = list(&["--cached"])?;
    if tracked.is_empty() {
        return Ok(None);
    }
    let mut files: BTreeSet<PathBuf> = tracked.into_iter().collect();
    for new in list(&["--others", "--exclude-standard"])? {
        let inside = new.strip_prefix(dir).unwrap_or(&new);
        let made = inside.parent().is_some_and(|parent| {
            parent.components().any(|part| matches!(part.as_os_str().to_str(), Some("compiled" | "doc")))
        });
        let name = inside.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let backup =
            name.ends_with('~') || name.starts_with(".#") || name.starts_with('#') && name.ends_with('#');
        if !made && !backup {
            files.insert(new);
        }
    }
    Ok(Some(files))
}

/// The line of git's complaint that says most.
pub fn last_line(stderr: &str) -> &str {
    let lines = || stderr.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.starts_with("fatal: ") || line.starts_with("error: ") || line.starts_with("ERR "))
        .or_else(|| lines().next_back())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_git_is_understood() {
        let line = b"remote: Counting\rReceiving objects:  42% (5/12), 1.50 MiB | 2.10 MiB/s\r";
        assert_eq!(received_bytes(line), Some(1_572_864));
        assert_eq!(
            received_bytes(b"Receiving objects: 100% (3/3), 12 bytes | 12 bytes/s, done.\n"),
            Some(12)
        );
        assert_eq!(received_bytes(b"remote: hello"), None);
    }

    #[test]
    fn silence_ends_a_child_with_its_helpers() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let watch =
            Watch { silence: Duration::from_millis(200), total: Duration::from_secs(9), received_bytes: 1 };
        let started = Instant::now();
        let trouble = run(command, &watch, &|_| {}).unwrap_err();
        assert_eq!(trouble.cause, Cause::Unreachable);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
