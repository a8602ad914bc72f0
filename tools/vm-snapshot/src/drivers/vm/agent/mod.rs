//! The resident of a machine: a small program that ssh starts once after a boot and that is part of every memory snapshot
//! since. The host wakes it through a serial line, which nobody inside or outside can write to; from then on it runs
//! commands that come over TCP and know the token it was woken with. What it replaces is an ssh connection for each of
//! these, which costs an emulated machine half a second. Where there is none (no perl), all goes by ssh.
//!
//! - `agent.pl`: the resident itself, and the protocol
//! - `talk`: the other end, one process a command

mod talk;

pub use talk::role;

use crate::instance::keeper;
use crate::instance::open::random_hex;
use crate::state::store::Seat;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where it listens inside.
pub const PORT: u16 = 49_222;
/// Name, in the directory of an instance, of the socket that is the machine's second serial line.
pub const LINE: &str = "line";
const PROGRAM: &str = include_str!("agent.pl");
const NOTE: &str = "agent.json";
/// How often to look whether somebody still waits for the machine.
const LOOK: Duration = Duration::from_millis(500);

/// What the host knows about a resident that answered. Whoever can read it can run commands inside.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Port of this host that leads to it.
    port: u16,
    token: String,
    /// Directory inside of the control group that all commands are in.
    group: Option<String>,
    /// Whether the limit of the disk is kept.
    room: bool,
}

fn note(seat: &Seat) -> Option<Note> {
    serde_json::from_slice(&fs::read(seat.dir.join(NOTE)).ok()?).ok()
}

/// Starts it: a script for root inside, which ends when the resident listens or cannot be had.
pub fn start_script() -> String {
    let at = "/run/vm-snapshot-agent";
    format!(
        "cat >{at} <<'END OF AGENT'\n{PROGRAM}END OF AGENT\nperl {at} /dev/ttyS1 {PORT} </dev/null >/dev/null 2>&1 || :\n"
    )
}

/// Tells the resident that the machine begins to run: the time, new random numbers, a new token, the limits. Fails when
/// it does not answer until `until`; gives whether clock and random numbers are right now.
pub fn wake(seat: &Seat, port: u16, until: Instant) -> io::Result<bool> {
    // the path of a socket is short; that of a state directory need not be
    let held = File::open(&seat.dir)?;
    let mut line = UnixStream::connect(format!("/proc/self/fd/{}/{LINE}", held.as_raw_fd()))?;
    let random = |bytes| random_hex(bytes).map_err(|failure| io::Error::other(failure.message));
    let (nonce, seed, token) = (random(8)?, random(64)?, random(32)?);
    let machine = &seat.instance.machine;
    let now = jiff::Timestamp::now();
    let (s, ns) = (now.as_second(), now.subsec_nanosecond());
    let limits = format!("{} {}", machine.processes, machine.disk_mb << 10);
    line.write_all(format!("wake {nonce} {s} {ns} {seed} {token} {limits}\n").as_bytes())?;
    let said = answer(line, &format!("up {nonce} "), until)?;
    let mut words = said.split_ascii_whitespace();
    let right = words.next() == Some("right");
    let group = words.next().filter(|word| *word != "-").map(str::to_owned);
    let note = Note { port, token, group, room: words.next() == Some("room") };
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    options.open(seat.dir.join(NOTE))?.write_all(serde_json::to_string(&note)?.as_bytes())?;
    Ok(right)
}

/// The rest of the line that begins with `begin`.
fn answer(line: UnixStream, begin: &str, until: Instant) -> io::Result<String> {
    line.set_read_timeout(Some(LOOK))?;
    let mut line = BufReader::new(line);
    let mut said = Vec::new();
    loop {
        match line.read_until(b'\n', &mut said) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(_) if said.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(&said).into_owned();
                if let Some((_, rest)) = text.split_once(begin) {
                    return Ok(rest.trim().to_owned());
                }
                said.clear();
            }
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(error);
            }
            _ => {
                if Instant::now() > until {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                keeper::caller_waits().map_err(|failure| io::Error::other(failure.message))?;
            }
        }
    }
}

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As it is.
    Plain,
    /// As the wrapper of [`guest`](crate::drivers::guest) does, with the words that it is told.
    Whole,
    /// As [`Way::Whole`], with stderr where stdout is.
    Joined,
}

impl Way {
    const ALL: [(Way, &str); 3] = [(Way::Plain, "plain"), (Way::Whole, "whole"), (Way::Joined, "joined")];

    /// As the resident knows it.
    fn name(self) -> &'static str {
        Way::ALL.iter().find(|(way, _)| *way == self).map_or("", |(_, name)| name)
    }

    fn from_name(wanted: &str) -> Option<Way> {
        Way::ALL.iter().find(|(_, name)| *name == wanted).map(|(way, _)| *way)
    }
}

/// The host command that runs `words` inside as `user`; None where there is no resident.
pub fn command(seat: &Seat, user: &str, way: Way, words: &[OsString]) -> Option<Command> {
    note(seat)?;
    let mut command = Command::new(std::env::current_exe().ok()?);
    command.arg("internal-talk").arg(&seat.dir).arg(user).arg(way.name()).args(words);
    Some(command)
}

/// From now on nobody asks it: it does not answer.
fn give_up(dir: &Path) {
    let _ = fs::remove_file(dir.join(NOTE));
}

/// Whether there is one, as far as is known.
pub fn lives(seat: &Seat) -> bool {
    note(seat).is_some()
}

/// The control group inside that holds all commands and nothing else: those of root in its group `root`, the others, whose
/// processes are limited, in `user`.
pub fn group(seat: &Seat) -> Option<String> {
    note(seat)?.group
}

/// Whether a limit of the disk is kept inside.
pub fn keeps_room(seat: &Seat) -> bool {
    note(seat).is_some_and(|note| note.room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_program_can_be_told_in_a_script() {
        assert!(PROGRAM.ends_with('\n') && !PROGRAM.contains("END OF AGENT"));
        assert!(!PROGRAM.lines().any(|line| line.starts_with("use ")), "an image may have no modules");
    }
}
