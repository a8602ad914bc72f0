//! The jail of a user-mode Linux: namespaces of its own in which nothing of the host is left but what the plan says, since
//! root inside can mount the host's files.

use super::plan::{self, About};
use crate::drivers::sandbox::{Step, carry_out, change_root, die_with_parent};
use crate::process::{Fork, UnshareFlags, fork, unshare};
use crate::state::store::{Seat, Store};
use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::CpuSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// How the message of a jail that cannot be made begins; the cause follows.
const CANNOT: &str = "cannot make the jail: ";
/// Where a host does not let us, and what a person can do.
const ADVICE: [(&str, &str); 2] = [
    (
        "namespaces of its own",
        "user namespaces must be allowed: see /proc/sys/user/max_user_namespaces and, on Ubuntu, \
         kernel.apparmor_restrict_unprivileged_userns; in a container, its seccomp profile",
    ),
    (
        "a network of its own",
        "it needs ip (iproute2) and /dev/net/tun (modprobe tun; in a container --device /dev/net/tun), open to its user",
    ),
];

/// Why the host refused a jail, from the console of its machine, and advice; None: it did not.
pub(super) fn refusal(console: &str) -> Option<(&str, &'static str)> {
    let cause = console.lines().find_map(|line| Some(line.split_once(CANNOT)?.1))?;
    let (_, advice) = ADVICE.iter().find(|(step, _)| cause.starts_with(step))?;
    Some((cause, advice))
}

/// The role `internal-jail DIR`: stdin is the serial line, stdout the console. It ends when the machine does.
pub fn role(args: &[OsString]) -> ExitCode {
    match args.first().map(Path::new).ok_or_else(|| io::Error::other("no directory")).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            edge::say::failure(&edge::Failure::unavailable(format!("{CANNOT}{error}")));
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path) -> io::Result<()> {
    let store = dir.ancestors().nth(2).map(|state| Store { dir: state.to_owned() });
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let seat = store.and_then(|store| store.seat(&name)).ok_or_else(|| io::Error::other("no instance"))?;
    let about: About = serde_json::from_slice(&fs::read(dir.join("host.json"))?)?;
    isolate()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let (lifeline, held) = io::pipe()?;
    let lifeline = OwnedFd::from(lifeline);
    // opened now: process 1 changes the root of both
    let mut note = File::create(dir.join("jail.pid"))?;
    match fork()? {
        Fork::Child => {
            drop(held);
            process_1(&seat, &about, &lifeline)
        }
        Fork::Parent(pid) => {
            note.write_all(pid.as_raw_nonzero().to_string().as_bytes())?;
            // its end is the end of all in it
            rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
            drop(held);
            Ok(())
        }
    }
}

/// Whoever this is becomes root of a user namespace, without any right outside it.
fn isolate() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let told = |step: &str, error: io::Error| io::Error::new(error.kind(), format!("{step}: {error}"));
    let namespaces = || {
        unshare(UnshareFlags::NEWUSER)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS)?;
        Ok(())
    };
    namespaces().map_err(|error| told(ADVICE[0].0, error))?;
    network().map_err(|error| told(ADVICE[1].0, error))?;
    // last: the first child from now on is process 1
    unshare(UnshareFlags::NEWPID).map_err(|error| told(ADVICE[0].0, error))
}

/// Makes the other end of the machine's network, in a network namespace with nothing else in it.
fn network() -> io::Result<()> {
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    // sbin may not be on the path of an ordinary user
    let path = std::env::var("PATH").unwrap_or_default();
    let mut ip = ip.env("PATH", format!("{path}:/usr/sbin:/sbin")).spawn()?;
    if let Some(mut input) = ip.stdin.take() {
        // one that ended at once says why
        let _ = input.write_all(plan::NETWORK.as_bytes());
    }
    let output = ip.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        // not which line of ours it was
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned(),
        )),
    }
}

/// Process 1 of the jail: makes it, starts the kernel in it and waits for its end.
fn process_1(seat: &Seat, about: &About, lifeline: &OwnedFd) -> io::Result<()> {
    die_with_parent(lifeline)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = seat.dir.join("root");
    for step in plan::jail(seat, about) {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{step:?}: {error}"));
        if let Step::Bind { from, at, .. } = &step
            && fs::metadata(from).map_err(told)?.is_file()
        {
            File::create(root.join(at)).map_err(told)?;
        }
        carry_out(&step, &root).map_err(told)?;
    }
    change_root(&root)?;
    let mut cpus = CpuSet::new();
    cpus.set(about.cpu);
    // on several processors it is five times slower; a host that does not let us choose is left alone
    let _ = rustix::thread::sched_setaffinity(None, &cpus);
    let mut child = Command::new("/kernel")
        .args(plan::argv(seat))
        .env("TMPDIR", "/tmp")
        .env("HOME", "/tmp")
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start the kernel: {error}")))?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, _))) if pid == Pid::from_child(&child) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = child.try_wait();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_refuses_is_told_with_advice() {
        let (cause, advice) =
            refusal("x\nvm-snapshot: cannot make the jail: namespaces of its own: No space left on device (os error 28)\n")
                .unwrap();
        assert_eq!(cause, "namespaces of its own: No space left on device (os error 28)");
        assert!(advice.contains("max_user_namespaces"));
        assert_eq!(refusal("vm-snapshot: cannot make the jail: Tmpfs: no memory\n"), None);
        assert_eq!(refusal("Kernel panic\n"), None);
    }
}
