//! Limits where there are no control groups: an ordinary user on a host that delegates none. Processes by the limit of
//! the user namespace, processors by affinity, file size by the limit of each process, and memory by looking: init adds
//! up what the processes inside hold and kills the largest when it is too much, as the kernel would.

use super::cgroup::Groups;
use super::disk::Keeping;
use crate::state::store::Seat;
use contract::testbed::Usage;
use rustix::event::Timespec;
use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Limits to be kept without control groups; 0: none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Limits {
    pub memory_mb: u64,
    pub processes: u64,
    pub cpus: u32,
    /// No single file can be larger than the whole disk.
    pub file_mb: u64,
}

/// What init has to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub limits: Limits,
    /// Where it notes what it saw.
    file: PathBuf,
}

/// The keeper, init and the supervisors of commands, which the user namespace counts too.
const OWN_PROCESSES: u64 = 8;
const PAGE: u64 = 4096;

impl Watch {
    pub fn needed(seat: &Seat, groups: &Groups, disk: Keeping) -> Watch {
        let machine = &seat.instance.machine;
        let unless = |what: &str| u64::from(!groups.enforced.iter().any(|have| have == what));
        Watch {
            limits: Limits {
                memory_mb: machine.memory_mb * unless("memory"),
                processes: machine.processes * unless("processes"),
                cpus: if unless("cpu") == 1 { machine.cpus } else { 0 },
                file_mb: if disk == Keeping::Watched { machine.disk_mb } else { 0 },
            },
            file: seat.dir.join("counters.json"),
        }
    }
}

impl Limits {
    pub fn keeps(&self, what: &str) -> bool {
        match what {
            "memory" => self.memory_mb > 0,
            // the number is counted for each user namespace, and root has none here
            "processes" => self.processes > 0 && !rustix::process::geteuid().is_root(),
            "cpu" => self.cpus > 0,
            _ => false,
        }
    }

    /// Between fork and exec: system calls only.
    pub fn apply(&self) -> io::Result<()> {
        let set =
            |resource, value: u64| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
        if self.processes > 0 {
            set(Resource::Nproc, self.processes + OWN_PROCESSES)?;
        }
        if self.file_mb > 0 {
            set(Resource::Fsize, self.file_mb << 20)?;
        }
        if self.cpus > 0 {
            let all = sched_getaffinity(None)?;
            let mut some = CpuSet::new();
            // which ones: by the number of the process, so that instances spread over the processors
            let count = all.count().max(1);
            let skip = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned() % count;
            let have = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
            for cpu in have.clone().chain(have).skip(skip as usize).take(self.cpus.min(count) as usize) {
                some.set(cpu);
            }
            sched_setaffinity(None, &some)?;
        }
        Ok(())
    }
}

/// What init saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    memory_bytes: u64,
    peak_memory_bytes: u64,
    processes: u64,
    peak_processes: u64,
    memory_kills: u64,
}

pub struct Counters {
    limit_bytes: u64,
    file: Option<File>,
    seen: Seen,
}

impl Counters {
    /// Opens the file to note things in; before the root changes.
    pub fn open(watch: &Watch) -> Counters {
        let file = if watch.limits.memory_mb > 0 { File::create(&watch.file).ok() } else { None };
        Counters { limit_bytes: watch.limits.memory_mb << 20, file, seen: Seen::default() }
    }

    /// Looks once; gives the time until the next look.
    pub fn look(&mut self) -> Timespec {
        if self.limit_bytes == 0 {
            return Timespec { tv_sec: 2, tv_nsec: 0 };
        }
        let mut held: Vec<(u64, i32)> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
                (pid != 1).then_some((own_pages(&statm)? * PAGE, pid))
            })
            .collect();
        held.sort_unstable();
        let total: u64 = held.iter().map(|(bytes, _)| bytes).sum();
        if total > self.limit_bytes
            && let Some(pid) = held.last().and_then(|(_, pid)| Pid::from_raw(*pid))
            && rustix::process::kill_process(pid, Signal::KILL).is_ok()
        {
            self.seen.memory_kills += 1;
        }
        self.seen.memory_bytes = total;
        self.seen.peak_memory_bytes = self.seen.peak_memory_bytes.max(total);
        self.seen.processes = held.len() as u64;
        self.seen.peak_processes = self.seen.peak_processes.max(self.seen.processes);
        if let (Some(file), Ok(text)) = (&self.file, serde_json::to_vec(&self.seen)) {
            // one write, padded: a reader sees the old numbers or the new ones
            let _ = file.write_all_at(format!("{:200}", String::from_utf8_lossy(&text)).as_bytes(), 0);
        }
        let busy = held.len() > 1;
        Timespec { tv_sec: 0, tv_nsec: if busy { 50_000_000 } else { 100_000_000 } }
    }
}

/// Pages of a process that are its own: resident without shared ones.
fn own_pages(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.next()??, fields.next()??);
    Some(resident.saturating_sub(shared))
}

/// Fills in what init saw, where the control groups say nothing.
pub fn usage(seat: &Seat, limits: &Limits, usage: &mut Usage) {
    if limits.memory_mb == 0 {
        return;
    }
    let text = fs::read(seat.dir.join("counters.json")).unwrap_or_default();
    let Ok(seen) = serde_json::from_slice::<Seen>(&text) else { return };
    let mb = |bytes: u64| (bytes as f64 / 1048576.0 * 100.0).round() / 100.0;
    usage.memory_mb.get_or_insert(mb(seen.memory_bytes));
    usage.peak_memory_mb.get_or_insert(mb(seen.peak_memory_bytes));
    usage.processes.get_or_insert(seen.processes);
    usage.peak_processes.get_or_insert(seen.peak_processes);
    usage.memory_kills.get_or_insert(seen.memory_kills);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_pages_do_not_count() {
        assert_eq!(own_pages("1000 300 120 1 0 200 0\n"), Some(180));
        assert_eq!(own_pages(""), None);
    }
}
