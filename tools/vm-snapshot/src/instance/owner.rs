//! Who an instance belongs to: a process of the host; the instance ends when that process does.

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::fs;

/// A process, told apart from a later one with the same number by the time it started.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Owner {
    pub pid: i32,
    /// Clock ticks since boot, field 22 of proc_pid_stat(5).
    pub started: u64,
}

impl Owner {
    /// The process with this number, if it is alive.
    pub fn of(pid: i32) -> Option<Owner> {
        stat(pid).map(|stat| Owner { pid, started: stat.started })
    }

    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// A descriptor that becomes readable when the process ends. None: it has ended.
    pub fn watch(&self) -> Option<std::os::fd::OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(fd)
    }

    /// The process that asked for an instance: the parent of this program. A subshell (`$(…)`, a pipeline) is a copy of
    /// its parent and ends at once, so the shell itself is meant: ancestors that are mere copies of theirs are skipped.
    pub fn caller() -> Option<Owner> {
        let mut pid = rustix::process::getppid()?.as_raw_nonzero().get();
        while let Some(parent) = stat(pid).map(|stat| stat.parent).filter(|parent| *parent > 1) {
            if command_line(parent).is_some_and(|line| Some(line) == command_line(pid)) {
                pid = parent;
            } else {
                break;
            }
        }
        Owner::of(pid)
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // the name in parentheses may hold anything, parentheses and spaces too
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn command_line(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_parentheses() {
        let stat = parse_stat("7 (a) b (c) S 3 7 7 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 4711 9 9").unwrap();
        assert_eq!((stat.state, stat.parent, stat.started), ('S', 3, 4711));
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let me = Owner::of(std::process::id().cast_signed()).unwrap();
        assert!(me.is_alive());
        assert!(!Owner { started: me.started + 1, ..me }.is_alive());
    }
}
