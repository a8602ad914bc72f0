//! What a container has used, as the kernel counts for its control groups and its network; seen from inside, where it is in
//! the same place whatever the engine, in the files of version 1 or 2.

use contract::testbed::Usage;

/// Prints the counters, a line each: name of the file and one line of it. Needs nothing but a shell.
pub(super) const SCRIPT: &str = r#"cd /sys/fs/cgroup 2>/dev/null && for f in memory/memory.max_usage_in_bytes memory/memory.usage_in_bytes \
memory/memory.oom_control cpuacct/cpuacct.usage pids/pids.current pids/pids.peak pids/pids.events \
memory.peak memory.current memory.events cpu.stat pids.current pids.peak pids.events; do
[ ! -r $f ] || while read -r l; do echo "${f##*/} $l"; done <$f; done
while read -r l; do case $l in Ip:*) echo "$l";; esac; done </proc/net/snmp; :"#;

/// Fills in what the script printed.
pub(super) fn read(said: &str, usage: &mut Usage) {
    let number = |name: &str| -> Option<u64> {
        said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    let either = |one: &str, two: &str| number(one).or_else(|| number(two));
    let mb = |bytes: u64| (bytes as f64 / 1048576.0 * 100.0).round() / 100.0;
    usage.peak_memory_mb = either("memory.max_usage_in_bytes", "memory.peak").map(mb);
    usage.memory_mb = either("memory.usage_in_bytes", "memory.current").map(mb);
    usage.memory_kills = either("memory.oom_control oom_kill", "memory.events oom_kill");
    usage.cpu_s = number("cpuacct.usage")
        .map(|ns| ns as f64 / 1e9)
        .or_else(|| number("cpu.stat usage_usec").map(|us| us as f64 / 1e6));
    usage.processes = number("pids.current");
    usage.peak_processes = number("pids.peak");
    usage.process_refusals = number("pids.events max");
    usage.network_refusals = refusals(said);
}

/// Packets without a route: `Ip:` and the names, `Ip:` and the values.
fn refusals(said: &str) -> Option<u64> {
    let mut lines = said.lines().filter(|line| line.starts_with("Ip:"));
    let at = lines.next()?.split_ascii_whitespace().position(|name| name == "OutNoRoutes")?;
    lines.next()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(said: &str) -> Usage {
        let mut usage = Usage::default();
        read(said, &mut usage);
        usage
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let net = "Ip: Forwarding OutNoRoutes\nIp: 1 7\n";
        let one = seen(&format!(
            "memory.max_usage_in_bytes 2097152\nmemory.usage_in_bytes 1048576\nmemory.oom_control oom_kill_disable 0\n\
             memory.oom_control oom_kill 3\ncpuacct.usage 1500000000\npids.current 4\npids.events max 5\n{net}"
        ));
        let two = seen(&format!(
            "memory.peak 2097152\nmemory.current 1048576\nmemory.events oom 9\nmemory.events oom_kill 3\n\
             cpu.stat usage_usec 1500000\npids.current 4\npids.events max 5\n{net}"
        ));
        assert_eq!(one, two);
        assert_eq!((one.peak_memory_mb, one.memory_kills, one.cpu_s), (Some(2.0), Some(3), Some(1.5)));
        assert_eq!((one.process_refusals, one.network_refusals), (Some(5), Some(7)));
        assert_eq!(seen("").network_refusals, None);
    }
}
