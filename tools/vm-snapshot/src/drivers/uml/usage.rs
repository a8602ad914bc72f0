//! What a user-mode Linux has used, as the host and as its own kernel see it; and which processor is for a new one.

use super::plan::{self, About};
use crate::instance::owner::Owner;
use crate::state::store::{Seat, Store};
use contract::testbed::Usage;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the kernel says when it kills a process that has more pieces of memory than the host lets a process have
/// (vm.max_map_count): some 256 MB, where each page is a piece.
const NO_MAPS: &str = "ran out of memory on the host side";

/// Process 1 of the jail, as the host numbers it.
pub(super) fn init(seat: &Seat) -> Option<Owner> {
    Owner::of(fs::read_to_string(seat.dir.join("jail.pid")).ok()?.parse().ok()?)
}

/// Of the processors that this process may use the one with the fewest machines on it.
pub(super) fn idlest_cpu(seat: &Seat) -> usize {
    let allowed: Vec<usize> = rustix::thread::sched_getaffinity(None)
        .map(|set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
        .unwrap_or_default();
    let store = seat.dir.ancestors().nth(2).map(|state| Store { dir: state.to_owned() });
    let busy: Vec<usize> = store
        .map(|store| store.living_ids().into_iter().filter_map(|id| store.seat(&id)).collect::<Vec<Seat>>())
        .unwrap_or_default()
        .iter()
        .filter(|other| other.instance.id != seat.instance.id)
        .filter_map(|other| {
            serde_json::from_slice::<About>(&fs::read(other.dir.join("host.json")).ok()?).ok()
        })
        .map(|about| about.cpu)
        .collect();
    choose(&allowed, &busy, rustix::process::getpid().as_raw_nonzero().get().unsigned_abs() as usize)
}

/// Two that open at once do not know of each other: `seed` keeps them from the same choice most times.
fn choose(allowed: &[usize], busy: &[usize], seed: usize) -> usize {
    let load = |cpu: &usize| busy.iter().filter(|other| *other == cpu).count();
    let turn = seed % allowed.len().max(1);
    let turned = allowed.iter().cycle().skip(turn).take(allowed.len());
    turned.min_by_key(|cpu| load(cpu)).copied().unwrap_or(0)
}

/// What the host gave: the time of all processes in the jail, the memory that was ever touched, the written disk.
pub(super) fn outside(seat: &Seat, usage: &mut Usage) {
    let mb = |bytes: u64| (bytes as f64 / 10485.76).round() / 100.0;
    usage.disk_mb = fs::metadata(plan::own_disk(seat)).ok().map(|meta| mb(meta.blocks() * 512));
    let console = fs::read(seat.dir.join("console")).unwrap_or_default();
    usage.memory_kills = usage.memory_kills.map(|kills| kills + killed_for_maps(&console));
    let Some(init) = init(seat) else { return };
    // the memory of the machine is a file in the jail that never shrinks
    let root = PathBuf::from(format!("/proc/{}/root", init.pid));
    usage.peak_memory_mb =
        rustix::fs::statvfs(&root).ok().map(|stat| mb((stat.f_blocks - stat.f_bfree) * stat.f_frsize));
    // to ask the kernel inside takes time, too: what it told of the commands is without that
    usage.cpu_s = usage.cpu_s.or_else(|| Some(cpu_ticks(init.pid)? as f64 / ticks_a_second()));
}

/// How many processes the kernel killed because the host did not let them have more memory, from its console.
fn killed_for_maps(console: &[u8]) -> u64 {
    String::from_utf8_lossy(console).matches(NO_MAPS).count() as u64
}

fn ticks_a_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Ticks of all processes in the namespace of a process, and of their children that have ended.
fn cpu_ticks(pid: i32) -> Option<u64> {
    let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).ok()?;
    let ticks = |dir: &Path| {
        let text = fs::read_to_string(dir.join("stat")).ok()?;
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        // utime, stime, cutime, cstime of proc_pid_stat(5)
        Some(fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum::<u64>())
    };
    let all = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let same = all.filter(|dir| fs::read_link(dir.join("ns/pid")).is_ok_and(|link| link == namespace));
    Some(same.filter_map(|dir| ticks(&dir)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_does_not_let_a_process_have_is_memory() {
        let console =
            b"syscall 9 failed\nUML ran out of memory on the host side! This can happen due to a memory \
            limitation or vm.max_map_count has been reached.\nFailed to flush page\n";
        assert_eq!((killed_for_maps(console), killed_for_maps(b"mmapper_init\n")), (1, 0));
    }

    #[test]
    fn machines_are_spread_over_the_processors_that_are_allowed() {
        assert_eq!(choose(&[2, 5], &[2], 0), 5);
        assert_eq!(choose(&[2, 5], &[2, 5, 5], 1), 2);
        assert_eq!([choose(&[2, 5], &[], 0), choose(&[2, 5], &[], 1)], [2, 5]);
        assert_eq!(choose(&[], &[], 7), 0);
    }
}
