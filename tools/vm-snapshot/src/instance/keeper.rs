//! The keeper: one small process for each open instance. It starts the instance through the driver, holds its lock,
//! and ends it when it is told to (a byte in the FIFO `close`), when the owner dies, or when the instance itself ends.
//! No cron and no daemon: a keeper that is killed lets go of the lock, and the next command cleans up.

use crate::drivers::{self, Running};
use crate::state::store::{Seat, Store};
use edge::{Context, Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What to write into the FIFO of an instance to close it, and to end it but keep its disk.
pub const CLOSE: &[u8] = b"x";
pub const FREEZE: &[u8] = b"f";

/// What the keeper says once the instance runs, or why it does not.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Ready(Value),
    Failed { exit: u8, message: String, details: Vec<(String, String)>, hint: Option<String> },
}

/// An instance that runs; it ends at once unless [`Started::confirm`] is called.
pub struct Started {
    keeper: UnixStream,
}

impl Started {
    /// Lets the instance live; it is this program's own, whose end ends it.
    pub fn alive(self) -> Result<Alive> {
        self.confirm().map(|()| Alive)
    }

    /// The caller knows about the instance now: it may live.
    pub fn confirm(mut self) -> Result<()> {
        self.keeper.write_all(b"k").context(Exit::TryAgain, || "cannot keep the instance".to_owned())
    }
}

/// An instance that was let live.
pub struct Alive;

/// Starts a keeper for the instance. `lock` is the held lock of the instance: it becomes the keeper's.
pub fn start(store: &Store, seat: &Seat, lock: File) -> Result<Started> {
    let begin = || {
        let (ours, theirs) = UnixStream::pair()?;
        let log = File::options().create(true).append(true).open(seat.dir.join("log"))?;
        let child = Command::new(std::env::current_exe()?)
            .arg("internal-keep")
            .arg(&store.dir)
            .arg(&seat.instance.id)
            .stdin(OwnedFd::from(theirs))
            .stdout(lock)
            .stderr(log)
            .current_dir("/")
            .spawn()?;
        Ok::<_, std::io::Error>((ours, child))
    };
    let (keeper, mut child) = begin().context(Exit::TryAgain, || "cannot start a keeper".to_owned())?;
    let mut line = String::new();
    let read = BufReader::new(&keeper).read_line(&mut line);
    match serde_json::from_str(&line) {
        Ok(Reply::Ready(_)) => Ok(Started { keeper }),
        Ok(Reply::Failed { exit, message, details, hint }) => {
            let _ = child.wait();
            let mut failure = Failure::new(exit_of(exit), message);
            (failure.details, failure.hint) = (details, hint);
            Err(failure)
        }
        Err(error) => {
            let _ = child.wait();
            let log = std::fs::read_to_string(seat.dir.join("log")).unwrap_or_default();
            let cause = read.err().map_or_else(|| error.to_string(), |error| error.to_string());
            Err(Failure::try_again(format!("cannot start machine \"{}\"", seat.instance.machine.name))
                .detail("cause", cause)
                .detail("log", log.trim()))
        }
    }
}

fn exit_of(code: u8) -> Exit {
    [Exit::No, Exit::Usage, Exit::Data, Exit::Unavailable, Exit::CantCreate, Exit::TryAgain]
        .into_iter()
        .find(|exit| *exit as u8 == code)
        .unwrap_or(Exit::Software)
}

/// The role `internal-keep STATE ID`: stdin is a socket to `open`, stdout the held lock.
pub fn role(state: &str, id: &str) -> ExitCode {
    let _ = rustix::process::setsid();
    let store = Store { dir: state.into() };
    let Some(seat) = store.seat(id) else { return ExitCode::FAILURE };
    let _ = std::fs::write(seat.dir.join("keeper"), std::process::id().to_string());
    let reply = drivers::find(&seat.instance.machine.driver).and_then(|driver| driver.start(&seat));
    // not before: what the driver forks must not hold the socket
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else { return ExitCode::FAILURE };
    let mut caller = UnixStream::from(socket);
    let mut removed = !seat.instance.persistent;
    let mut running = match reply {
        Ok(running) => running,
        Err(failure) => {
            drivers::find(&seat.instance.machine.driver).map(|driver| driver.reap(&seat)).ok();
            say(
                &mut caller,
                &Reply::Failed {
                    exit: failure.exit as u8,
                    message: failure.message,
                    details: failure.details,
                    hint: failure.hint,
                },
            );
            if removed {
                store.remove(id);
            }
            return ExitCode::FAILURE;
        }
    };
    let noted = serde_json::to_vec(&running.note).unwrap_or_default();
    if std::fs::write(seat.dir.join("running.json"), noted).is_ok() {
        say(&mut caller, &Reply::Ready(running.note.clone()));
        let mut answer = [0];
        if matches!(caller.read(&mut answer), Ok(1)) {
            drop(caller);
            detach();
            match hold(&seat, &mut running) {
                Ok(Reason::Freeze) => removed = false,
                Ok(Reason::Close) => {}
                Err(error) => edge::say::warning(format!("cannot watch the instance: {error}"), None),
            }
        }
    }
    (running.end)();
    if removed {
        store.remove(id);
    }
    ExitCode::SUCCESS
}

/// For drivers that wait while they start an instance, in the keeper: fails when `open`, which waits for that, is gone.
pub fn caller_waits() -> Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::HUP);
    if gone {
        Err(Failure::try_again("cannot open the machine: nobody waits for it any more"))
    } else {
        Ok(())
    }
}

/// Becomes readable when the keeper of an instance ends, and with it the instance. None: it has ended.
pub fn watch(dir: &Path) -> Option<OwnedFd> {
    let pid = std::fs::read_to_string(dir.join("keeper")).ok()?.parse().ok().and_then(Pid::from_raw)?;
    let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // while the lock is held it is still that process
    let lock = File::open(dir.join("lock")).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockShared).is_err().then_some(fd)
}

fn say(caller: &mut UnixStream, reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    let _ = caller.write_all(&line);
}

/// stdin goes to nothing, so that `open` sees the socket close. stdout stays: it is the lock.
fn detach() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// Why an instance ends.
enum Reason {
    Close,
    /// Its disk is wanted: for a snapshot.
    Freeze,
}

/// Waits for a reason to end.
fn hold(seat: &Seat, running: &mut Running) -> std::io::Result<Reason> {
    // read and write, so that the end of one writer is not the end of the file
    let fifo = rustix::fs::open(seat.dir.join("close"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut owner = seat.instance.owner.and_then(|owner| owner.watch());
    // from the end of the owner it may still be kept for a while
    let keep = Duration::from_secs(seat.instance.keep_s);
    let mut until = (seat.instance.owner.is_some() && owner.is_none()).then(|| Instant::now() + keep);
    loop {
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Reason::Close);
        }
        let watched: Vec<&OwnedFd> =
            std::iter::once(&fifo).chain(running.watch.as_ref()).chain(owner.as_ref()).collect();
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let nap = running.tick.as_ref().map(|tick| tick.every).into_iter().chain(left).min().map(timespec);
        match poll(&mut fds, nap.as_ref()) {
            Ok(0) => {
                if let Some(tick) = &mut running.tick {
                    tick.every = (tick.action)();
                }
            }
            Ok(_) => {
                let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
                if ready[0] {
                    let mut word = [0; 16];
                    let said = rustix::io::read(&fifo, &mut word)?;
                    return Ok(if word[..said].ends_with(FREEZE) { Reason::Freeze } else { Reason::Close });
                }
                if running.watch.is_some() && ready[1] {
                    return Ok(Reason::Close);
                }
                owner = None;
                until = Some(Instant::now() + keep);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}
