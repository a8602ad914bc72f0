//! What a user-mode Linux is started with, as data: its jail, its command line, its process 1 and the way to it.

use super::super::guest::GROUP;
use super::super::sandbox::Step;
use super::super::ssh::{self, Target};
use super::super::vm::{self, file, login};
use crate::state::store::Seat;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

const DEFAULT_MEMORY_MB: u64 = 1024;
/// Room in the jail beside the memory of the machine, which is a file there.
const SPARE_MB: u64 = 32;
/// What process 1 writes on the serial line when it listens.
pub(super) const READY: &str = "vm-snapshot: ready";
/// Where the machine listens, in a network of two.
pub(super) const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 22);
/// The other end of that network, in the jail: commands for ip(8).
pub(super) const NETWORK: &str =
    "tuntap add dev tap0 mode tap vnet_hdr\naddress add 10.0.2.2/24 dev tap0\nlink set tap0 up\n";
/// Run as root inside it prints what of the host it can see: all that the jail lets through are the directories that are
/// shared, the files the kernel was started from, and its own disk.
pub(super) const ESCAPE: &str = r#"mkdir -p /run/escape && mount -n -t hostfs -o /../../.. none /run/escape && cd /run/escape || exit 0
for f in * .[!.]*; do case $f in base | boot | dev | disk | kernel | lib* | share | tmp | usr | '*' | '.[!.]*') ;; *) echo "$f" ;; esac; done
for f in base/* dev/* lib*/* usr/* usr/lib*/* boot/*; do case ${f##*/} in base.raw | null | net | tun | init | fstab | network | x86_64-linux-gnu | lib* | ld-* | '*') ;;
base | boot | dev | disk | kernel | share | tmp | usr) ;; *) echo "$f" ;; esac; done
for f in base/base.raw kernel boot/* lib*/*/* share/*/new; do (echo x >>"$f") 2>/dev/null && echo "can write $f"; done
cd /; umount /run/escape"#;

/// Run as root before the kernel is killed: all that was written is on the disk then, and its file system is whole.
pub(super) const SETTLE: &str = "sync; [ -e /proc/sysrq-trigger ] || exit 0; echo u >/proc/sysrq-trigger; i=0; \
    until grep -q ' / ext4 rw' /proc/mounts; [ $? = 1 ]; do [ $i -lt 600 ] || exit 1; sleep 0.05; i=$((i+1)); done";

/// What the keeper found out about the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    pub kernel: PathBuf,
    pub libraries: Vec<String>,
    pub cpu: usize,
}

fn memory_mb(seat: &Seat) -> u64 {
    match seat.instance.machine.memory_mb {
        0 => DEFAULT_MEMORY_MB,
        size_mb => size_mb,
    }
}

/// The disk that an instance stands on.
pub(super) fn base(seat: &Seat) -> Option<PathBuf> {
    match seat.instance.layers.first() {
        Some(layer) => Some(layer.join("disk.raw")),
        None => file(seat, "image"),
    }
}

/// What an instance wrote. It is called after what it stands on, so that one that stands on a new snapshot begins anew, at
/// whatever moment a snapshot was interrupted.
pub(super) fn own_disk(seat: &Seat) -> PathBuf {
    let base = seat.instance.layers.first().and_then(|layer| layer.file_name());
    seat.dir.join("disk").join(base.unwrap_or(OsStr::new("cow")))
}

/// The whole file system of the jail, in order. What is a file of the host is bound over an empty file.
pub(super) fn jail(seat: &Seat, about: &About) -> Vec<Step> {
    let mut steps =
        vec![Step::Tmpfs { at: String::new(), mode: 0o755, size_kb: (memory_mb(seat) + SPARE_MB) << 10 }];
    let mut dir = |at: String, mode: u32| steps.push(Step::Dir { at, mode });
    dir("dev/net".into(), 0o755);
    dir("tmp".into(), 0o700);
    for name in ["base", "boot", "disk"] {
        dir(name.into(), 0o755);
    }
    for mount in &seat.instance.mounts {
        dir(format!("share/{}", mount.name), 0o755);
    }
    for library in &about.libraries {
        let parent = Path::new(library).parent().unwrap_or(Path::new("/"));
        dir(parent.display().to_string().trim_start_matches('/').to_owned(), 0o755);
    }
    for node in ["dev/null", "dev/net/tun"] {
        steps.push(Step::Node { at: node.into() });
    }
    let mut bind =
        |from: PathBuf, at: String, read_only: bool| steps.push(Step::Bind { from, at, read_only });
    bind(base(seat).unwrap_or_default(), "base/base.raw".into(), true);
    bind(about.kernel.clone(), "kernel".into(), true);
    for library in &about.libraries {
        bind(library.into(), library.trim_start_matches('/').to_owned(), true);
    }
    bind(seat.dir.join("boot"), "boot".into(), true);
    bind(seat.dir.join("disk"), "disk".into(), false);
    for mount in &seat.instance.mounts {
        bind(mount.host.clone().into(), format!("share/{}", mount.name), true);
    }
    steps
}

/// The command line in the jail. The serial line is stdin, the console stdout. Commands do not go over the line: user-mode
/// Linux 6.1 never listens again to a line that was too fast for it once.
pub(super) fn argv(seat: &Seat) -> Vec<OsString> {
    let disk = own_disk(seat);
    let disk = disk.file_name().unwrap_or_default().to_string_lossy();
    [
        &format!("mem={}M", memory_mb(seat)),
        "umid=vm",
        "uml_dir=/tmp/",
        // a base in the root directory itself is not found
        &format!("ubd0=/disk/{disk},/base/base.raw"),
        "root=/dev/ubda",
        "rw",
        "quiet",
        // most of the time of a boot: 256 terminals of an old kind, and a race between ways to reckon a RAID
        "pty.legacy_count=0",
        "initcall_blacklist=raid6_select_algo",
        "con=null",
        "con0=null,fd:1",
        "vec0:transport=tap,ifname=tap0,depth=64,gro=1",
        "ssl=null",
        "ssl0=fd:0",
        "init=/bin/sh",
        "--",
        "-c",
        // the kernel reads the quotes
        r#""PATH=/usr/sbin:/usr/bin:/sbin:/bin; mount -n -t hostfs -o /boot none /mnt && exec sh /mnt/init""#,
    ]
    .map(OsString::from)
    .to_vec()
}

/// What process 1 mounts, as fstab(5) has it.
pub(super) fn mounts(seat: &Seat) -> String {
    let mut table =
        "proc /proc proc defaults\nsys /sys sysfs defaults\ndevpts /dev/pts devpts mode=620,ptmxmode=666\n\
                     shm /dev/shm tmpfs mode=1777\nrun /run tmpfs mode=755\n"
            .to_owned();
    for mount in &seat.instance.mounts {
        table.push_str(&format!("none {} hostfs ro,/share/{}\n", mount.guest, mount.name));
    }
    table
}

/// Its end of the network of two: commands for ip(8).
pub(super) fn network() -> String {
    format!("link set lo up\naddress add {}/24 dev vec0\nlink set vec0 up\n", ADDRESS.ip())
}

/// Process 1: makes the file system whole, keeps the limits that are its own, and says on the serial line when it listens.
/// To start a program takes long in there, so it starts few.
pub(super) fn init(seat: &Seat) -> String {
    let machine = &seat.instance.machine;
    let points: String = seat.instance.mounts.iter().map(|mount| format!(" {}", mount.guest)).collect();
    // a file that takes all the room beyond the limit: reserved, not written
    let room = match machine.disk_mb {
        0 => String::new(),
        limit_mb => format!(
            "set -- $(df -P -k / | tail -n 1)\n\
             [ \"$4\" -le {limit_kb} ] || fallocate -l $((($4 - {limit_kb}) * 1024)) /.room\n",
            limit_kb = limit_mb << 10
        ),
    };
    // process 1, ssh and who asks for counters are root's and do not count; a group counts what it refuses, too
    let group = format!(
        "{{ mount -n -t cgroup2 none /sys/fs/cgroup && echo +pids >/sys/fs/cgroup/cgroup.subtree_control && mkdir {GROUP}; }}"
    );
    let processes = match machine.processes {
        0 => format!("{group}\n"),
        limit => format!(
            "{group} && echo {limit} >{GROUP}/pids.max || ulimit -p {limit} 2>/dev/null || ulimit -u {limit}\n"
        ),
    };
    format!(
        "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         umask 022\n\
         [ -e /dev/ubda ] || mount -n -t devtmpfs dev /dev\n\
         mkdir -p /dev/pts /dev/shm{points}\n\
         mount -n -a -T /mnt/fstab || while read -r what where type options; do\n\
         mount -n -t $type -o $options $what $where; done </mnt/fstab\n\
         mkdir -p /run/sshd /run/lock\n\
         echo vm >/proc/sys/kernel/hostname\n\
         ip -batch /mnt/network || while read -r words; do ip $words; done </mnt/network\n\
         [ ! -e /.room ] || rm -f /.room\n\
         {room}\
         [ -d {work} ] || {{ mkdir {work} && chown {user} {work} || rmdir {work}; }}\n\
         [ ! -x /sbin/vm-services ] || /sbin/vm-services\n\
         {processes}\
         cd /\n\
         /usr/sbin/sshd -e -r -o MaxSessions=1000 -o MaxStartups=1000\n\
         printf '{READY}\\n' >/dev/ttyS0\n\
         while :; do sleep 1000000 & wait; done\n",
        work = vm::WORK_DIR,
        user = vm::user(seat),
    )
}

pub(super) fn target(seat: &Seat) -> Target {
    let exe = std::env::current_exe().unwrap_or_default();
    // a shell reads it, and ssh replaces what begins with a per cent sign
    let word =
        |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''").replace('%', "%%"));
    let line = format!("ProxyCommand={} internal-line {}", word(&exe), word(&seat.dir));
    let more =
        ["HostKeyAlias=vm", "KexAlgorithms=curve25519-sha256", "Ciphers=aes128-gcm@openssh.com,aes128-ctr"];
    Target {
        host: "vm".to_owned(),
        port: None,
        user: Some(login(seat).to_owned()),
        identity: file(seat, "identity"),
        known_hosts: file(seat, "known_hosts"),
        options: more.map(str::to_owned).into_iter().chain([line]).collect(),
        control: ssh::control(seat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> Seat {
        crate::state::store::example(
            r#"{"name": "m", "driver": "uml", "image": "base.raw", "identity": "key", "memory_mb": 512, "disk_mb": 100, "processes": 50}"#,
        )
    }

    #[test]
    fn the_jail_holds_what_the_machine_needs_and_nothing_else() {
        let about = About {
            kernel: "/usr/bin/linux.uml".into(),
            libraries: vec!["/lib64/ld-linux-x86-64.so.2".into()],
            cpu: 0,
        };
        let steps = jail(&seat(), &about);
        let binds: Vec<(String, bool)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Bind { from, at, read_only } => Some((format!("{} {at}", from.display()), *read_only)),
                _ => None,
            })
            .collect();
        let expected = [
            ("/state/machines/m/layers/new/disk.raw base/base.raw", true),
            ("/usr/bin/linux.uml kernel", true),
            ("/lib64/ld-linux-x86-64.so.2 lib64/ld-linux-x86-64.so.2", true),
            ("/state/instances/m-1/boot boot", true),
            ("/state/instances/m-1/disk disk", false),
            ("/archive share/a", true),
        ];
        assert_eq!(binds, expected.map(|(text, read_only)| (text.to_owned(), read_only)));
        assert_eq!(steps[0], Step::Tmpfs { at: String::new(), mode: 0o755, size_kb: 544 << 10 });
        assert!(
            !steps.iter().any(|step| matches!(step, Step::Proc { .. })),
            "hostfs would show it to root inside"
        );
    }

    #[test]
    fn what_was_written_belongs_to_what_it_was_written_over() {
        let mut seat = seat();
        assert_eq!(own_disk(&seat), Path::new("/state/instances/m-1/disk/new"));
        assert!(argv(&seat).contains(&"ubd0=/disk/new,/base/base.raw".into()));
        seat.instance.layers.clear();
        assert!(argv(&seat).contains(&"ubd0=/disk/cow,/base/base.raw".into()));
    }

    #[test]
    fn the_machine_reaches_its_jail_only() {
        let args: Vec<String> = argv(&seat()).iter().map(|arg| arg.display().to_string()).collect();
        assert!(args.contains(&"mem=512M".to_owned()) && args.contains(&"ssl0=fd:0".to_owned()));
        let devices: Vec<&String> =
            args.iter().filter(|arg| arg.starts_with("eth") || arg.starts_with("vec")).collect();
        assert_eq!(devices, ["vec0:transport=tap,ifname=tap0,depth=64,gro=1"]);
        let init = init(&seat());
        assert!(!format!("{init}{}", network()).contains("route"), "{init}");
        assert!(network().contains("address add 10.0.2.15/24 dev vec0\n"));
    }

    #[test]
    fn process_1_mounts_what_is_shared_and_keeps_limits() {
        let init = init(&seat());
        for line in [
            "mkdir -p /dev/pts /dev/shm /share/a\n",
            "mkdir /sys/fs/cgroup/user; } && echo 50 >/sys/fs/cgroup/user/pids.max || ulimit -p 50 2>/dev/null || ulimit -u 50\n",
            "fallocate -l $((($4 - 102400) * 1024)) /.room\n",
            "printf 'vm-snapshot: ready\\n' >/dev/ttyS0\n",
        ] {
            assert!(init.contains(line), "{line:?} is not in {init}");
        }
        assert!(mounts(&seat()).ends_with("\nnone /share/a hostfs ro,/share/a\n"));
    }
}
