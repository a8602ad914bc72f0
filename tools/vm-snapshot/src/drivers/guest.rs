//! What drivers share whose commands go through a channel (a container engine's client, ssh): a small script inside sets
//! directory and environment and tidies up, and a guard outside, which outlives a killed `exec`, ends what is left inside.

use super::relay::{self, Heard, Relay};
use super::{Request, setting};
use crate::instance::exec::busy_file;
use crate::state::store::{Seat, Store};
use edge::{Context, Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock, fstat};
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

    /// The host command that does inside what the wrapper does, with the words that it is told, where the channel can.
    /// `joined`: see [`wrapped`].
    fn direct(
        &self,
        _seat: &Seat,
        _words: &[OsString],
        _user: Option<&str>,
        _joined: bool,
    ) -> Option<Command> {
        None
    }

    /// Whether the instance answers; asked when an exit code may be the channel's own.
    fn answers(&self, seat: &Seat) -> bool;

    /// Why the instance does not answer; None: it does.
    fn silence(&self, seat: &Seat) -> Option<Failure> {
        let none = || Failure::try_again("cannot run in the machine: it does not answer");
        (!self.answers(seat)).then(none)
    }

    /// Exit codes that the channel's own troubles have, too.
    fn own_codes(&self) -> &'static [i32];

    /// Whether it may end before all that the command printed is through.
    fn loses_ends(&self) -> bool {
        false
    }

    /// Whether every process of the ordinary user belongs to the instance, and may be killed.
    fn is_whole_machine(&self) -> bool;

    /// What ends every process of the ordinary user, run as that user, where [`Channel::is_whole_machine`].
    fn kill_all(&self) -> &'static str {
        "kill -9 -1"
    }
}

/// The control group inside that the commands of the ordinary user are in, where a driver makes one.
pub const GROUP: &str = "/sys/fs/cgroup/user";

/// Marks the processes of one command.
const TAG: &str = "VM_SNAPSHOT_EXEC";

/// Changes the directory and runs the command in a clean environment.
const WRAPPER: &str = r#"t=$1; shift
if cd "$1"; then shift; env -i "$@"; s=$?; else s=126; fi
"#;

/// Kills every process with the tag `$t` until there is none.
const KILL: &str = r#"i=0; while [ $i -lt 50 ]; do i=$((i+1)); n=
for p in $(grep -lzsx "VM_SNAPSHOT_EXEC=$t" /proc/[0-9]*/environ); do p=${p#/proc/}; n=1; kill -9 "${p%/environ}"; done 2>/dev/null
[ -n "$n" ] || break; done
"#;

/// What the wrapper is told: the tag, the directory, the variables and the command.
fn words(seat: &Seat, request: &Request, home: &str, work_dir: &str, tag: &str) -> Vec<OsString> {
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
    words
}

/// argv for the shell inside. `joined`: stdout and stderr are one stream outside, and so they are inside, for a channel
/// carries them apart and knows no order between them. `told`: the end is told on them, as [`relay`] wants it.
pub(super) fn wrapped(words: Vec<OsString>, joined: bool, told: bool) -> Vec<OsString> {
    let join = if joined { "exec 2>&1\n" } else { "" };
    let tell = if told { relay::TELL } else { "" };
    let script = format!("{join}{}{WRAPPER}{KILL}{tell}exit $s", bytes(&words));
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
        .args(words(seat, request, home, work_dir, &tag));
    Ok(command)
}

/// The role `internal-guard DIR PARENT TAG USER TTY WORD…`.
pub fn role(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let mut next = || args.next().and_then(|arg| arg.into_string().ok()).unwrap_or_default();
    let (dir, parent, tag, user, tty) = (next(), next(), next(), next(), next());
    let words: Vec<OsString> = args.collect();
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
    let joined = tty.is_empty() && is_one_stream();
    let told = tty.is_empty() && channel.loses_ends();
    let direct = channel.direct(&seat, &words, user, joined).filter(|_| tty.is_empty());
    let mut command =
        direct.unwrap_or_else(|| channel.command(&seat, &wrapped(words, joined, told), user, tty == "tty"));
    if told {
        command.stdout(Stdio::piped()).stderr(if joined { Stdio::inherit() } else { Stdio::piped() });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return gone(&error.to_string()),
    };
    let others: Vec<&OwnedFd> = watch.iter().chain([&keeper]).collect();
    let heard = match told.then(|| Relay::start(&mut child, &tag)) {
        None => Heard::Nothing,
        Some(Err(error)) => Heard::Unheard(error),
        Some(Ok(relay)) => relay.wait(&others),
    };
    match heard {
        // the wrapper is through: what the client has still to do is of no use
        Heard::End(status) => {
            kill(&mut child);
            return ExitCode::from(status);
        }
        Heard::Unheard(error) => {
            kill(&mut child);
            end(&seat, channel, &tag, user);
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                return ExitCode::from(128 + 13);
            }
            return trouble(&Failure::cant_create(format!("cannot write what the command printed: {error}")));
        }
        Heard::Alone | Heard::Nothing => {}
    }
    match wait_for(&mut child, &others) {
        Some(status) => {
            let own = status.code().is_some_and(|code| channel.own_codes().contains(&code));
            if let Some(failure) = own.then(|| channel.silence(&seat)).flatten() {
                return trouble(&failure);
            }
            if told && status.success() {
                return gone("the end of what the command printed is lost");
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
            kill(&mut child);
            end(&seat, channel, &tag, user);
            match crate::instance::keeper::watch(dir) {
                None => gone("the instance ended"),
                Some(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Whether stdout and stderr of this process are the same file, pipe or terminal.
fn is_one_stream() -> bool {
    let [one, two] = [fstat(std::io::stdout()), fstat(std::io::stderr())];
    one.is_ok_and(|one| two.is_ok_and(|two| (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)))
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
    measure_group(channel, seat, usage, GROUP);
}

/// As [`measure`], where the commands are in another control group than [`GROUP`], or in one of its groups `user`.
pub fn measure_group(channel: &dyn Channel, seat: &Seat, usage: &mut contract::testbed::Usage, group: &str) {
    let script = format!(
        "grep '^oom_kill ' /proc/vmstat; echo ip $(grep '^Ip: ' /proc/net/snmp | tail -n 1 | cut -d' ' -f13)\n\
         if cd {group} 2>/dev/null; then echo peak $(cat memory.peak 2>/dev/null); cat cpu.stat user/pids.events pids.events 2>/dev/null; fi\n\
         df -P / | tail -n 1"
    );
    let said = ask(channel, seat, &script).unwrap_or_default();
    let count = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
    usage.alive = !said.is_empty();
    usage.memory_kills = count("oom_kill ");
    usage.network_refusals = count("ip ");
    usage.process_refusals = count("max ");
    usage.cpu_s = count("usage_usec ").map(|us| us as f64 / 1e6);
    usage.peak_memory_mb = count("peak ").map(|bytes| (bytes as f64 / 10_485.76).round() / 100.0);
    let last = said.lines().next_back();
    let free_kb = last.and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
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

    #[test]
    fn one_stream_outside_is_one_inside() {
        let script = |joined, told| {
            let argv = wrapped(vec!["tag".into(), "/".into(), "true".into()], joined, told);
            assert_eq!(argv[3..], ["vm-snapshot", "tag", "/", "true"].map(OsString::from));
            argv[2].to_str().map(str::to_owned).unwrap_or_default()
        };
        assert!(script(true, false).starts_with("exec 2>&1\nt=$1"));
        assert!(script(false, false).starts_with("t=$1"));
        assert!(script(false, true).ends_with(&format!("{}exit $s", relay::TELL)));
        assert!(!script(false, false).contains(relay::TELL));
    }
}
