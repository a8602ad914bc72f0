//! Limits and counters by control groups: version 2 where it has the controllers, else version 1, else nothing.

use crate::state::store::Seat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The control groups of one instance: controller (`memory`, `pids`, …; `v2` for all in one) to directory.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Groups {
    pub dirs: BTreeMap<String, PathBuf>,
    /// Limits that the kernel accepted: `memory`, `processes`, `cpu`.
    pub enforced: Vec<String>,
}

const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuacct", "blkio"];
/// init is not in the groups; the supervisor of each command is not either.
const PERIOD_US: u64 = 100_000;

impl Groups {
    /// Makes the groups of an instance and sets its limits, as far as the host allows.
    pub fn make(seat: &Seat) -> Groups {
        let machine = &seat.instance.machine;
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let places = places(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"));
        let mut groups = Groups::default();
        if let Some(dir) = places.get("v2").and_then(|place| make_v2(place, &seat.tag())) {
            groups.dirs.insert("v2".into(), dir);
        } else {
            for controller in CONTROLLERS {
                let Some(place) = places.get(controller) else { continue };
                let made = [&place.own, &place.mount].into_iter().find_map(|parent| {
                    let dir = parent.join(group_name(&seat.tag()));
                    fs::create_dir(&dir).is_ok().then_some(dir)
                });
                groups.dirs.extend(made.map(|dir| (controller.to_owned(), dir)));
            }
        }
        let v2 = groups.dirs.contains_key("v2");
        let bytes = machine.memory_mb << 20;
        if bytes > 0 {
            let set = if v2 {
                groups.set("memory", "memory.swap.max", 0);
                groups.set("memory", "memory.max", bytes)
            } else {
                let set = groups.set("memory", "memory.limit_in_bytes", bytes);
                groups.set("memory", "memory.memsw.limit_in_bytes", bytes);
                set
            };
            groups.enforce(set, "memory");
        }
        if machine.processes > 0 {
            let set = groups.set("pids", "pids.max", machine.processes);
            groups.enforce(set, "processes");
        }
        if machine.cpus > 0 {
            let quota = u64::from(machine.cpus) * PERIOD_US;
            let set = if v2 {
                groups.write("cpu", "cpu.max", &format!("{quota} {PERIOD_US}"))
            } else {
                groups.set("cpu", "cpu.cfs_quota_us", quota)
            };
            groups.enforce(set, "cpu");
        }
        groups
    }

    /// The groups that a process is in, for reading their counters; None when their names do not have `word` in them.
    pub fn of_process(pid: i32, word: &str) -> Option<Groups> {
        let text = |path: &str| fs::read_to_string(path).ok();
        let own = text(&format!("/proc/{pid}/cgroup"))?;
        let places = places(&text("/proc/self/mountinfo")?, &own);
        let wanted: &[&str] = if places.contains_key("memory") { &CONTROLLERS } else { &["v2"] };
        let dirs: BTreeMap<String, PathBuf> = wanted
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), places.get(*name)?.own.clone())))
            .filter(|(_, dir)| dir.to_string_lossy().contains(word) && dir.is_dir())
            .collect();
        (!dirs.is_empty()).then_some(Groups { dirs, enforced: Vec::new() })
    }

    fn enforce(&mut self, set: bool, what: &str) {
        if set {
            self.enforced.push(what.to_owned());
        }
    }

    fn dir(&self, controller: &str) -> Option<&PathBuf> {
        self.dirs.get("v2").or_else(|| self.dirs.get(controller))
    }

    fn set(&self, controller: &str, file: &str, value: u64) -> bool {
        self.write(controller, file, &value.to_string())
    }

    fn write(&self, controller: &str, file: &str, value: &str) -> bool {
        self.dir(controller).is_some_and(|dir| fs::write(dir.join(file), value).is_ok())
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.dir(controller)?.join(file)).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    fn keyed(&self, controller: &str, file: &str, key: &str) -> Option<u64> {
        keyed(&self.read(controller, file)?, key)
    }

    /// Files to which a process of one thread writes `0` to enter the groups. Of version 1 it is the file for threads: to
    /// let one with all its threads in, the kernel first stops every fork of the host, for some 13 ms.
    pub fn entrances(&self) -> impl Iterator<Item = PathBuf> {
        let file =
            |(name, dir): (&String, &PathBuf)| dir.join(if name == "v2" { "cgroup.procs" } else { "tasks" });
        self.dirs.iter().map(file)
    }

    /// Kills whoever is still inside and removes the groups.
    pub fn remove(&self) {
        for dir in self.dirs.values() {
            for _ in 0..50 {
                if fs::remove_dir(dir).is_ok() || !dir.exists() {
                    break;
                }
                if fs::write(dir.join("cgroup.kill"), "1").is_err() {
                    for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                        if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                        }
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }

    /// The kernel's counters.
    pub fn usage(&self, usage: &mut contract::testbed::Usage) {
        let mb = |bytes: u64| (bytes as f64 / 1048576.0 * 100.0).round() / 100.0;
        if self.dirs.contains_key("v2") {
            usage.cpu_s = self.keyed("cpu", "cpu.stat", "usage_usec").map(|us| us as f64 / 1e6);
            usage.memory_mb = self.number("memory", "memory.current").map(mb);
            usage.peak_memory_mb = self.number("memory", "memory.peak").map(mb);
            usage.memory_kills = self.keyed("memory", "memory.events", "oom_kill");
        } else {
            usage.cpu_s = self.number("cpuacct", "cpuacct.usage").map(|ns| ns as f64 / 1e9);
            usage.memory_mb = self.number("memory", "memory.usage_in_bytes").map(mb);
            usage.peak_memory_mb = self.number("memory", "memory.max_usage_in_bytes").map(mb);
            usage.memory_kills = self.keyed("memory", "memory.oom_control", "oom_kill");
        }
        usage.processes = self.number("pids", "pids.current");
        usage.peak_processes = self.number("pids", "pids.peak");
        usage.process_refusals = self.keyed("pids", "pids.events", "max");
        usage.io_bytes = self
            .read("blkio", "io.stat")
            .map(|text| v2_io(&text))
            .or_else(|| self.keyed("blkio", "blkio.throttle.io_service_bytes_recursive", "Total"));
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn v2_io(text: &str) -> u64 {
    text.split_ascii_whitespace()
        .filter_map(|field| field.strip_prefix("rbytes=").or_else(|| field.strip_prefix("wbytes=")))
        .filter_map(|value| value.parse::<u64>().ok())
        .sum()
}

fn group_name(tag: &str) -> String {
    format!("vm-snapshot.{tag}")
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The group this process is in.
    own: PathBuf,
}

/// Where each controller is, from mountinfo and the groups of this process.
fn places(mountinfo: &str, cgroup: &str) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(root), Some(mount), Some(kind)) = (left.get(3), left.get(4), right.first()) else {
            continue;
        };
        let controllers: Vec<&str> = match *kind {
            "cgroup" => right
                .get(2)
                .map(|options| options.split(',').filter(|name| CONTROLLERS.contains(name)).collect())
                .unwrap_or_default(),
            "cgroup2" => vec!["v2"],
            _ => continue,
        };
        for controller in controllers {
            let own = cgroup
                .lines()
                .filter_map(|line| {
                    let mut fields = line.splitn(3, ':');
                    let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
                    let here = if controller == "v2" {
                        names.is_empty()
                    } else {
                        names.split(',').any(|name| name == controller)
                    };
                    here.then_some(path)
                })
                .next()
                .unwrap_or("/");
            let own = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own).trim_start_matches('/');
            places.insert(
                controller.to_owned(),
                Place { mount: PathBuf::from(mount), own: Path::new(mount).join(own) },
            );
        }
    }
    places
}

/// A group of version 2 with the controllers for memory and processes; below the own group, or at the top as root.
fn make_v2(place: &Place, id: &str) -> Option<PathBuf> {
    let word = |text: String, word: &str| text.split_ascii_whitespace().any(|have| have == word);
    let read = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    if !word(read(&place.mount, "cgroup.controllers"), "memory") {
        return None;
    }
    let above = place.own.parent().map(Path::to_owned);
    [Some(place.own.clone()), above, Some(place.mount.clone())].into_iter().flatten().find_map(|parent| {
        let dir = parent.join(group_name(id));
        fs::create_dir(&dir).ok()?;
        for controller in ["+memory", "+pids", "+cpu", "+io"] {
            let _ = fs::write(parent.join("cgroup.subtree_control"), controller);
        }
        if word(read(&dir, "cgroup.controllers"), "memory") {
            return Some(dir);
        }
        let _ = fs::remove_dir(&dir);
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_hybrid_host() {
        let mountinfo = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                         36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let places = places(mountinfo, "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/x\n");
        assert_eq!(places["memory"].own, Path::new("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(places["cpuacct"].own, Path::new("/sys/fs/cgroup/cpu,cpuacct/"));
        assert_eq!(places["v2"].own, Path::new("/sys/fs/cgroup/unified/x"));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let mountinfo = "35 31 0:32 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let places = places(mountinfo, "4:memory:/docker/c1\n");
        assert_eq!(places["memory"].own, Path::new("/sys/fs/cgroup/memory/"));
    }

    #[test]
    fn counters_with_keys() {
        assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill"), Some(3));
        assert_eq!(v2_io("8:0 rbytes=10 wbytes=5 rios=1\n"), 15);
    }
}
