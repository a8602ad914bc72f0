//! What a container is made with, as data: the whole command line.

use crate::drivers::setting;
use crate::state::store::Seat;
use contract::machines::Network;

/// Process 1 of a container: makes the work directory for the user that is its `$0` (or `racket`, or root), tells who that is
/// and where at home, buries orphans, and goes on when all others are killed. The shell reads the users itself: each program
/// that it started would be waited for.
pub(super) const PROCESS_1: &str = r#"u=$0; h=; k=; o=; r=
while IFS=: read -r n x i g c d s || [ -n "$n" ]; do
case $n in "$u") h=$d;; racket) r=1 k=$d;; root) o=$d;; esac
done </etc/passwd
if [ "$u" != '?' ]; then :; elif [ -n "$r" ]; then u=racket h=$k; else u=root h=$o; fi
[ -n "$h" ] || h=$(getent passwd "$u" | cut -d: -f6)
[ "$1" != none ] || { echo 'nameserver 192.0.2.1' >/etc/resolv.conf; } 2>/dev/null
mkdir -p /work && chown "$u" /work; [ ! -x /sbin/vm-services ] || /sbin/vm-services
echo "up $u $h"; exec >/dev/null 2>&1
while :; do sleep 1000000 & wait; done"#;

/// Label of everything that belongs to an instance.
pub(super) const LABEL: &str = "vm-snapshot";

pub(super) fn container(seat: &Seat) -> String {
    format!("vm-snapshot-{}", seat.tag())
}

/// The whole command line that makes a container.
pub(super) fn create_args(seat: &Seat, image: &str, keeping: Keeping) -> Vec<String> {
    let machine = &seat.instance.machine;
    let mut args: Vec<String> = ["create", "--name"].map(str::to_owned).to_vec();
    args.push(container(seat));
    args.push(format!("--label={LABEL}={}", seat.instance.id));
    // process 1 sleeps and ignores TERM; without this, stopping it takes the engine ten seconds
    args.extend(
        ["--stop-signal=KILL", "--hostname=sandbox", "--user=root", "--entrypoint=/bin/sh"]
            .map(str::to_owned),
    );
    args.push("--security-opt=no-new-privileges".to_owned());
    if machine.network == Network::None {
        args.push("--network=none".to_owned());
    } else {
        args.push("--network=host".to_owned());
    }
    if machine.memory_mb > 0 {
        args.push(format!("--memory={}m", machine.memory_mb));
        args.push(format!("--memory-swap={}m", machine.memory_mb));
    }
    if machine.cpus > 0 {
        args.push(format!("--cpus={}", machine.cpus));
    }
    if machine.processes > 0 {
        // process 1 and its sleep
        args.push(format!("--pids-limit={}", machine.processes + 2));
    }
    if keeping == Keeping::Engine {
        args.push(format!("--storage-opt=size={}m", machine.disk_mb));
    }
    for mount in &seat.instance.mounts {
        args.push(format!("--mount=type=bind,source={},target={},readonly", mount.host, mount.guest));
    }
    args.push(image.to_owned());
    args.extend(["-c", PROCESS_1, setting(seat, "user").unwrap_or("?")].map(str::to_owned));
    // looking up a name fails at once and is counted: nothing answers at an address for documentation
    args.push(if machine.network == Network::None { "none" } else { "host" }.to_owned());
    args
}

/// How the disk limit of a container is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// There is none.
    None,
    /// By the engine: a quota, which it can set on some file systems only (xfs with project quotas).
    Engine,
    /// By looking, where the engine cannot.
    Watched,
}

impl Keeping {
    pub(super) fn name(self) -> &'static str {
        match self {
            Keeping::None => "none",
            Keeping::Engine => "engine",
            Keeping::Watched => "watched",
        }
    }
}

pub(super) fn texts(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_container_is_described_before_it_is_made() {
        let seat = crate::state::store::example(
            r#"{"name": "m", "driver": "docker", "image": "debian", "memory_mb": 512, "cpus": 2, "processes": 100, "disk_mb": 64}"#,
        );
        let args = create_args(&seat, "sha256:1", Keeping::Engine).join(" ");
        for part in [
            "create --name vm-snapshot-m-1 ",
            " --stop-signal=KILL ",
            " --network=none ",
            " --memory=512m --memory-swap=512m --cpus=2 --pids-limit=102 --storage-opt=size=64m ",
            " --mount=type=bind,source=/archive,target=/share/a,readonly ",
            " --security-opt=no-new-privileges ",
        ] {
            assert!(args.contains(part), "{part:?} is not in {args}");
        }
        assert!(args.ends_with(&format!(" sha256:1 -c {PROCESS_1} ? none")), "{args}");
    }
}
