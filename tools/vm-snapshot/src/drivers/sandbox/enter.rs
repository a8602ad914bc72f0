//! Runs a command in a sandbox. Four processes, each of which dies with the one before it:
//!
//! `vm-snapshot exec` → *outside*, which joins the process namespace of the sandbox → *between*, which opens a process
//! namespace for this command alone → *first*, process 1 of it, which joins all the other namespaces → the command.
//!
//! So when any of them is killed, with whatever signal, the kernel kills everything that the command started: sessions of
//! their own, daemons, and processes that ignore every signal. When the command ends, what it left in the background
//! ends with it.

use super::init::{die_with_parent, mount_proc};
use super::watch::Limits;
use super::{Note, plan};
use crate::process::{Fork, UnshareFlags, before_exec, fork, unshare};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Status of *outside* when the command could not be run for want of the machine: it kills itself, because every exit
/// code belongs to the command.
fn machine_trouble(what: &str, error: &io::Error) -> ! {
    eprintln!("vm-snapshot: cannot enter the machine: {what}: {error}");
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    std::process::exit(75)
}

/// The role `internal-enter DIR PARENT USER TTY CWD N K=V… ARGV…`.
pub fn role(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or_default();
    let (dir, parent, user, tty, cwd, count) = (next(), next(), next(), next(), next(), next());
    let count: usize = count.to_str().and_then(|count| count.parse().ok()).unwrap_or(0);
    let env: Vec<(OsString, OsString)> = args.by_ref().take(count).filter_map(|pair| split(&pair)).collect();
    let job = Job { root: user == *"root", tty: tty == *"tty", cwd, env, argv: args.collect() };
    match outside(Path::new(&dir), parent.to_str().and_then(|pid| pid.parse().ok()), &job) {
        Ok(code) => ExitCode::from(code),
        Err(error) => machine_trouble("namespaces", &error),
    }
}

struct Job {
    root: bool,
    tty: bool,
    cwd: OsString,
    env: Vec<(OsString, OsString)>,
    argv: Vec<OsString>,
}

fn split(pair: &OsStr) -> Option<(OsString, OsString)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = pair.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

fn outside(dir: &Path, parent: Option<i32>, job: &Job) -> io::Result<u8> {
    let note: Note = serde_json::from_slice(&std::fs::read(dir.join("running.json"))?)?;
    let pid = Pid::from_raw(note.init.pid).ok_or_else(|| io::Error::other("no init"))?;
    let init = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    if !note.init.is_alive() {
        return Err(io::Error::other("it has ended"));
    }
    // writing 0 to them moves the writer into the control groups of the instance; open them while they can be seen
    let entrances: Vec<File> = note
        .groups
        .entrances()
        .map(|path| File::options().write(true).open(path))
        .collect::<io::Result<_>>()?;
    let mut first = ThreadNameSpaceType::PROCESS_ID;
    if note.user_map {
        first |= ThreadNameSpaceType::USER;
    }
    rustix::thread::move_into_thread_name_spaces(init.as_fd(), first)?;
    // after the change of user namespace, which would take it back
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
        return Ok(1);
    }
    attended(entrances, |lifeline, entrances| {
        between(&note, &init, lifeline, entrances, job)
            .unwrap_or_else(|error| machine_trouble("process namespace", &error))
    })
}

/// Forks. The child ends with the code that `inside` gives, and can see by the pipe it gets whether this process still is
/// there; this process waits for it and then ends like it.
fn attended(entrances: Vec<File>, inside: impl FnOnce(&OwnedFd, Vec<File>) -> u8) -> io::Result<u8> {
    let (lifeline, held) = io::pipe()?;
    match fork()? {
        Fork::Child => {
            drop(held);
            std::process::exit(inside(&lifeline.into(), entrances).into())
        }
        Fork::Parent(pid) => {
            drop((lifeline, entrances));
            let code = outcome(pid)?;
            drop(held);
            if code.is_none() {
                // killed under the command: `exec` says so
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)?;
            }
            Ok(code.unwrap_or(75))
        }
    }
}

fn between(
    note: &Note,
    init: &OwnedFd,
    lifeline: &OwnedFd,
    entrances: Vec<File>,
    job: &Job,
) -> io::Result<u8> {
    die_with_parent(lifeline)?;
    unshare(UnshareFlags::NEWPID)?;
    attended(entrances, |lifeline, entrances| {
        if let Err(error) = die_with_parent(lifeline).and_then(|()| join(note, init)) {
            machine_trouble("mounts", &error);
        }
        command(entrances, &note.watched, job)
    })
}

/// Exit code of a child. None: it was killed.
fn outcome(pid: Pid) -> io::Result<Option<u8>> {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return Ok(status.exit_status().and_then(|code| u8::try_from(code).ok()));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Joins the file system, network and names of the sandbox, with a /proc that shows this command's processes only.
fn join(note: &Note, init: &OwnedFd) -> io::Result<()> {
    let mut namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    if note.own_network {
        namespaces |= ThreadNameSpaceType::NETWORK;
    }
    rustix::thread::move_into_thread_name_spaces(init.as_fd(), namespaces)?;
    unshare(UnshareFlags::NEWNS)?;
    mount_proc(Path::new("/proc"))?;
    if !note.user_map {
        // settings of the host's kernel: for reading only, whoever is asking
        use rustix::mount::{MountFlags, mount_bind, mount_remount};
        for path in ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"] {
            if mount_bind(path, path).is_ok() {
                mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "")?;
            }
        }
    }
    Ok(())
}

/// Process 1: starts the command, waits for it, and buries the orphans.
fn command(entrances: Vec<File>, watched: &Limits, job: &Job) -> u8 {
    if !job.tty {
        // out of reach of the caller's terminal
        let _ = rustix::process::setsid();
    }
    let Some((program, rest)) = job.argv.split_first() else { return 0 };
    if let Err(error) = rustix::process::chdir(job.cwd.as_os_str()) {
        eprintln!("vm-snapshot: cannot enter directory \"{}\": {error}", job.cwd.display());
        return 126;
    }
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(job.env.iter().map(|(key, value)| (key, value)));
    let (root, tty, limits) = (job.root, job.tty, watched.clone());
    before_exec(&mut command, move || {
        if tty {
            crate::instance::terminal::control()?;
        }
        limits.apply()?;
        become_the_user(&entrances, root)
    });
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error()) => {
            eprintln!("vm-snapshot: cannot run \"{}\": no more processes", program.display());
            return 126;
        }
        Err(error) => {
            eprintln!("vm-snapshot: cannot run \"{}\": {error}", program.display());
            return if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        }
    };
    drop(command);
    let child = child.id().cast_signed();
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == child => return exit_code(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 75,
        }
    }
}

/// As shells have it: 128 and the number of the signal.
fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

/// What root inside may do: own, change and run any file of its own root; nothing with the kernel or its devices.
const ROOT_MAY: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT);

/// Between fork and exec: into the control groups, then down to the user. System calls only.
fn become_the_user(entrances: &[File], root: bool) -> io::Result<()> {
    for entrance in entrances {
        rustix::io::write(entrance, b"0")?;
    }
    if rustix::process::geteuid().is_root() {
        for bit in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            if !(root && ROOT_MAY.contains(capability)) {
                // beyond the last capability of this kernel it is an error, and no matter
                let _ = rustix::thread::remove_capability_from_bounding_set(capability);
            }
        }
        let id = if root { 0 } else { plan::USER_ID };
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_gid(rustix::process::Gid::from_raw(id))?;
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(id))?;
    }
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}
