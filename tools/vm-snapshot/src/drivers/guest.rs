//! What drivers share whose commands go through a channel (a container engine's client, ssh): a small script inside sets
//! directory and environment and tidies up, and a guard outside, which outlives a killed `exec`, ends what is left inside.

use super::{Request, setting};
use crate::instance::exec::busy_file;
use crate::state::store::{Seat, Store};
use edge::{Context, Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

/// A way to run a command inside.
pub trait Channel {
    /// The host command that runs `argv` inside, as root if so asked.
    fn command(&self, seat: &Seat, argv: &[OsString], user: Option<&str>, tty: bool) -> Command;

    /// Whether the instance answers; asked when an exit code may be the channel's own.
    fn answers(&self, seat: &Seat) -> bool;

    /// Why the instance does not answer; None: it does.
    fn silence(&self, seat: &Seat) -> Option<Failure> {
        let none = || Failure::try_again("cannot run in the machine: it does not answer");
        (!self.answers(seat)).then(none)
    }

    /// Exit codes that the channel's own troubles have, too.
    fn own_codes(&self) -> &'static [i32];

    /// Whether every process of the ordinary user belongs to the instance, and may be killed.
    fn is_whole_machine(&self) -> bool;

    /// What ends every process of the ordinary user, run as that user, where [`Channel::is_whole_machine`].
    fn kill_all(&self) -> &'static str {
        "kill -9 -1"
    }
}

/// Marks the processes of one command.
const TAG: &str = "VM_SNAPSHOT_EXEC";

/// Changes the directory, runs the command in a clean environment, and kills what it left in the background.
const WRAPPER: &str = r#"t=$1; shift
cd "$1" || exit 126
shift
env -i "$@"
s=$?
"#;

/// Kills every process with the tag `$t` until there is none.
const KILL: &str = r#"i=0; while [ $i -lt 50 ]; do i=$((i+1)); n=
for p in $(grep -lzsx "VM_SNAPSHOT_EXEC=$t" /proc/[0-9]*/environ); do p=${p#/proc/}; n=1; kill -9 "${p%/environ}"; done 2>/dev/null
[ -n "$n" ] || break; done
"#;

/// What the wrapper gets: argv for the shell inside.
pub fn wrapped(seat: &Seat, request: &Request, home: &str, work_dir: &str, tag: &str) -> Vec<OsString> {
    let user = request.user.as_deref().unwrap_or("racket");
    let mut words: Vec<OsString> = vec![tag.into()];
    words.push(request.cwd.clone().unwrap_or_else(|| work_dir.into()));
    let mut variable = |key: &OsStr, value: &OsStr| {
        let mut pair = key.to_owned();
        pair.push("=");
        pair.push(value);
        words.push(pair);
    };
    for (key, value) in [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", home),
        ("USER", user),
        ("LOGNAME", user),
        ("SHELL", "/bin/sh"),
        ("LANG", "C.UTF-8"),
        (TAG, tag),
    ] {
        variable(key.as_ref(), value.as_ref());
    }
    for (key, value) in &seat.instance.machine.env {
        variable(key.as_ref(), value.as_ref());
    }
    for (key, value) in &request.env {
        variable(key, value);
    }
    words.extend(request.argv.iter().cloned());
    let script = format!("{}{WRAPPER}{KILL}exit $s", bytes(&words));
    // a word that is no text was told in the script
    let words = words.into_iter().map(|word| if word.to_str().is_some() { word } else { OsString::new() });
    ["sh", "-c", &script, "vm-snapshot"].iter().map(OsString::from).chain(words).collect()
}

/// Start of a script that gives words which are no UTF-8 their bytes: the clients of container engines send text only, and
/// would replace what is none.
fn bytes(words: &[OsString]) -> String {
    if words.iter().all(|word| word.to_str().is_some()) {
        return String::new();
    }
    let mut script = String::new();
    let mut list = String::from("set --");
    for (at, word) in (1..).zip(words) {
        if word.to_str().is_none() {
            let octal: String = word.as_bytes().iter().map(|byte| format!("\\{byte:03o}")).collect();
            // the dot keeps a newline at the end
            script.push_str(&format!("b{at}=$(printf '{octal}.'); b{at}=${{b{at}%.}}\n"));
            list.push_str(&format!(" \"$b{at}\""));
        } else {
            list.push_str(&format!(" \"${{{at}}}\""));
        }
    }
    format!("{script}{list}\n")
}

/// The command for `exec`: the guard, which runs the wrapped command through the channel.
pub fn enter(seat: &Seat, request: &Request, home: &str, work_dir: &str) -> Result<Command> {
    let exe = std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
    let tag = crate::instance::open::random_hex(8)?;
    let mut command = Command::new(exe);
    command
        .arg("internal-guard")
        .arg(&seat.dir)
        .arg(std::process::id().to_string())
        .arg(&tag)
        .arg(request.user.as_deref().unwrap_or(""))
        .arg(if request.tty { "tty" } else { "" })
        .args(wrapped(seat, request, home, work_dir, &tag));
    Ok(command)
}

/// The role `internal-guard DIR PARENT TAG USER TTY ARGV…`.
pub fn role(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let mut next = || args.next().and_then(|arg| arg.into_string().ok()).unwrap_or_default();
    let (dir, parent, tag, user, tty) = (next(), next(), next(), next(), next());
    let argv: Vec<OsString> = args.collect();
    let dir = Path::new(&dir);
    let seat = dir
        .ancestors()
        .nth(2)
        .and_then(|state| Store { dir: state.to_owned() }.seat(&dir.file_name()?.to_string_lossy()));
    let channel = seat.as_ref().and_then(|seat| super::find(&seat.instance.machine.driver).ok()?.channel());
    let (Some(seat), Some(channel)) = (seat, channel) else { return gone("the instance is gone") };
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let watch = parent.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(keeper) = crate::instance::keeper::watch(dir) else { return gone("the instance is gone") };
    let user = (!user.is_empty()).then_some(user.as_str());
    if tty.is_empty() {
        // what is sent to the caller's terminal or group must not stop the guard
        let _ = rustix::process::setsid();
    }
    let mut child = match channel.command(&seat, &argv, user, tty == "tty").spawn() {
        Ok(child) => child,
        Err(error) => return gone(&error.to_string()),
    };
    match wait_for(&mut child, &watch.iter().chain([&keeper]).collect::<Vec<_>>()) {
        Some(status) => {
            let own = status.code().is_some_and(|code| channel.own_codes().contains(&code));
            if let Some(failure) = own.then(|| channel.silence(&seat)).flatten() {
                return trouble(&failure);
            }
            if status.signal().is_some() {
                // of the channel, not of the command: its reader is gone
                end(&seat, channel, &tag, user);
            }
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
        }
        None => {
            // nobody waits any more: end what was started
            let _ = child.kill();
            let _ = child.wait();
            end(&seat, channel, &tag, user);
            match crate::instance::keeper::watch(dir) {
                None => gone("the instance ended"),
                Some(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Every exit code belongs to the command, so that trouble is told by dying of a signal; `exec` knows.
fn trouble(failure: &Failure) -> ExitCode {
    edge::say::failure(failure);
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    ExitCode::from(75)
}

fn gone(what: &str) -> ExitCode {
    trouble(&Failure::try_again(format!("cannot run in the machine: {what}")))
}

/// How the channel ended. None: one of the others, who need it, is gone.
fn wait_for(child: &mut Child, others: &[&OwnedFd]) -> Option<ExitStatus> {
    let watch = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()?;
    let mut fds: Vec<PollFd<'_>> = std::iter::once(&watch)
        .chain(others.iter().copied())
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
    child.try_wait().ok()?
}

/// Ends a command inside: whoever has its tag; when no other command runs, every process of the ordinary user.
fn end(seat: &Seat, channel: &dyn Channel, tag: &str, user: Option<&str>) {
    let run = |script: &str, user: Option<&str>| {
        let argv: Vec<OsString> =
            ["sh", "-c", script, "vm-snapshot", tag].iter().map(OsString::from).collect();
        let mut command = channel.command(seat, &argv, user, false);
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    };
    // held until all is done: a command that comes now waits, and is not killed by mistake
    let alone = busy_file(&seat.dir)
        .ok()
        .filter(|busy| flock(busy, FlockOperation::NonBlockingLockExclusive).is_ok());
    if alone.is_some() && channel.is_whole_machine() {
        run(channel.kill_all(), None);
    }
    // root need not be able to look into the processes of others: it is not in a container
    let script = format!("t=$1\n{KILL}");
    run(&script, user);
    if user != Some("root") {
        run(&script, Some("root"));
    }
}

/// Runs a script inside as root and gives its stdout; None when it fails.
pub fn ask(channel: &dyn Channel, seat: &Seat, script: &str) -> Option<String> {
    let argv: Vec<OsString> = ["sh", "-c", script].iter().map(OsString::from).collect();
    let output = channel.command(seat, &argv, Some("root"), false).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a machine with a kernel of its own answers, and what that kernel counted.
pub fn measure(channel: &dyn Channel, seat: &Seat, usage: &mut contract::testbed::Usage) {
    let script = "grep '^oom_kill ' /proc/vmstat; grep '^Ip: ' /proc/net/snmp | tail -n 1 | cut -d' ' -f13; df -P / | tail -n 1";
    let said = ask(channel, seat, script).unwrap_or_default();
    let mut lines = said.lines();
    usage.alive = !said.is_empty();
    usage.memory_kills = lines.next().and_then(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    usage.network_refusals = lines.next().and_then(|count| count.parse().ok());
    let free_kb = lines.next().and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    usage.disk_full = free_kb.map(|free_kb| free_kb < 256);
}

/// A setting that must be there.
pub fn needed<'a>(seat: &'a Seat, name: &str) -> Result<&'a str> {
    setting(seat, name).ok_or_else(|| {
        Failure::data(format!(
            "cannot use machine \"{}\": driver \"{}\" needs the setting \"{name}\"",
            seat.instance.machine.name, seat.instance.machine.driver
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_text_are_told_in_the_script() {
        let words = ["a", "b"].map(OsString::from);
        assert_eq!(bytes(&words), "");
        let odd = OsStr::from_bytes(b"\xff\n").to_owned();
        let script = bytes(&["a".into(), odd]);
        assert_eq!(script, "b2=$(printf '\\377\\012.'); b2=${b2%.}\nset -- \"${1}\" \"$b2\"\n");
    }
}
