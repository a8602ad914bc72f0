//! What a sandbox will be, as plain data: which directories of the host show through, what lies over them, and every
//! mount in order. Nothing here touches the machine; `init` carries it out.

use super::host::Host;
use crate::state::store::Seat;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The ordinary user inside: name and number. The number is nobody's on common systems, so that no limit or permission
/// of a person on the host is shared.
pub const USER: &str = "racket";
pub const USER_ID: u32 = 4242;
pub const HOME: &str = "/home/racket";
pub const WORK_DIR: &str = "/work";
pub const HOSTNAME: &str = "sandbox";
/// Address for documentation (RFC 5737): nothing answers there, and the kernel counts each attempt as "no route".
const NAMESERVER: &str = "192.0.2.1";

/// Directories of the host that show through in a sandbox with `"root": "host"`; everything else is not there at all.
pub const HOST_PARTS: [&str; 4] = ["usr", "opt", "etc", "var/lib/texmf"];
/// Directories at the top that are programs too, where they are not links into `/usr`.
const PROGRAM_DIRS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What of `/etc` a stranger's program has no business to read: files become empty, directories too.
const SECRET_FILES: [&str; 10] = [
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "sudoers",
    "krb5.keytab",
    "crypttab",
    "fstab",
    "environment",
    "mtab",
];
const SECRET_DIRS: [&str; 14] = [
    "ssh",
    "ssl/private",
    "sudoers.d",
    "NetworkManager",
    "wireguard",
    "docker",
    "kubernetes",
    "letsencrypt",
    "openvpn",
    "ppp",
    "cron.d",
    "libvirt",
    "munge",
    "systemd/system",
];

/// A part of the file system of a sandbox: one overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Directory name of the part in a layer: `root`, `usr`, `var.lib.texmf`.
    pub name: String,
    /// Where it is inside, without the leading slash; empty for the root.
    pub guest: String,
    /// Directory of the host below all layers.
    pub base: Option<PathBuf>,
}

/// Something that a skin holds: the lowest layer above the host, made once and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// `opaque`: nothing of what lies below shows through.
    Dir {
        path: String,
        mode: u32,
        user: bool,
        opaque: bool,
    },
    File {
        path: String,
        mode: u32,
        text: String,
    },
    Link {
        path: String,
        to: PathBuf,
    },
    /// All directories of a tree of the host, given to the user: its entries can be changed, its files replaced.
    OwnTree {
        path: String,
        from: PathBuf,
    },
}

/// One step in making the file system. Paths `at` are below the new root, without a leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Overlay {
        at: String,
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        options: String,
    },
    Tmpfs {
        at: String,
        mode: u32,
        size_kb: u64,
    },
    Dir {
        at: String,
        mode: u32,
    },
    Link {
        at: String,
        to: String,
    },
    /// A single node of the host's /dev.
    Node {
        at: String,
    },
    /// A directory of the host.
    Bind {
        from: PathBuf,
        at: String,
        read_only: bool,
    },
    DevPts {
        at: String,
    },
    Proc {
        at: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub parts: Vec<Part>,
    pub skin: Vec<Item>,
    pub steps: Vec<Step>,
    /// Inside number and outside number of the one user of a user namespace. None: made by root, without one.
    pub user_map: Option<(u32, u32)>,
    pub own_network: bool,
}

/// The whole plan of a sandbox. `skin_dir` is where the skin is (its name depends on [`skin`] only); `disk` is where
/// the upper directories go.
pub fn plan(seat: &Seat, host: &Host, skin_dir: &Path, disk: &Path) -> Plan {
    let parts = parts(seat, host);
    let user_xattr = if host.is_root { "redirect_dir=on" } else { "userxattr" };
    let mut steps = Vec::new();
    for part in &parts {
        let mut lower: Vec<PathBuf> =
            seat.instance.layers.iter().map(|layer| layer.join(&part.name)).collect();
        lower.push(skin_dir.join(&part.name));
        lower.extend(part.base.clone());
        steps.push(Step::Overlay {
            at: part.guest.clone(),
            lower,
            upper: disk.join("upper").join(&part.name),
            work: disk.join("work").join(&part.name),
            options: format!("volatile,xino=off,index=off,metacopy=off,{user_xattr}"),
        });
    }
    steps.push(Step::Tmpfs { at: "dev".into(), mode: 0o755, size_kb: 65536 });
    for node in ["null", "zero", "full", "random", "urandom", "tty"] {
        steps.push(Step::Node { at: format!("dev/{node}") });
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        steps.push(Step::Link { at: format!("dev/{name}"), to: to.into() });
    }
    steps.push(Step::Dir { at: "dev/shm".into(), mode: 0o1777 });
    steps.push(Step::Dir { at: "dev/pts".into(), mode: 0o755 });
    steps.push(Step::DevPts { at: "dev/pts".into() });
    steps.push(Step::Proc { at: "proc".into() });
    for mount in &seat.instance.mounts {
        let at = mount.guest.trim_start_matches('/').to_owned();
        steps.push(Step::Dir { at: at.clone(), mode: 0o755 });
        steps.push(Step::Bind { from: PathBuf::from(&mount.host), at, read_only: true });
    }
    Plan {
        skin: skin(seat, host, &parts),
        parts,
        steps,
        user_map: (!host.is_root).then_some((USER_ID, host.uid)),
        own_network: seat.instance.machine.network == contract::machines::Network::None,
    }
}

/// Which parts the file system has: over the host, one for each directory that shows through; over a tree, one.
pub fn parts(seat: &Seat, host: &Host) -> Vec<Part> {
    let root = |base| Part { name: "root".into(), guest: String::new(), base };
    match root_dir(seat) {
        Some(dir) => vec![root(Some(dir))],
        None => std::iter::once(root(None))
            .chain(host.parts.iter().map(|guest| Part {
                name: guest.replace('/', "."),
                guest: guest.clone(),
                base: Some(Path::new("/").join(guest)),
            }))
            .collect(),
    }
}

/// The directory of `"root": "DIR"`; None for the host's own root.
pub fn root_dir(seat: &Seat) -> Option<PathBuf> {
    match crate::drivers::setting(seat, "root") {
        None | Some("host") => None,
        Some(dir) => Some(seat.instance.base_dir.join(dir)),
    }
}

/// Which parts of the host to look for: the well-known ones and those of the setting `host_dirs`.
pub fn wanted_parts(more: &[String]) -> Vec<String> {
    let mut wanted: Vec<String> = HOST_PARTS
        .iter()
        .chain(&PROGRAM_DIRS)
        .map(|part| (*part).to_owned())
        .chain(more.iter().map(|part| part.trim_matches('/').to_owned()))
        .collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

fn skin(seat: &Seat, host: &Host, parts: &[Part]) -> Vec<Item> {
    let over_host = root_dir(seat).is_none();
    let mut items = Vec::new();
    let dir = |path: &str, mode, user| Item::Dir { path: path.into(), mode, user, opaque: false };
    let hidden = |path: String| Item::Dir { path, mode: 0o755, user: false, opaque: true };
    let file =
        |path: String, text: &str| Item::File { path: path.clone(), mode: 0o644, text: text.to_owned() };
    for part in parts {
        items.push(dir(&part.name, 0o755, false));
    }
    for (path, mode, user) in [
        ("home", 0o755, false),
        ("home/racket", 0o755, true),
        ("root", 0o700, false),
        ("work", 0o755, true),
        ("tmp", 0o1777, false),
        ("var", 0o755, false),
        ("var/tmp", 0o1777, false),
        ("run", 0o755, false),
        ("share", 0o755, false),
        ("proc", 0o555, false),
        ("sys", 0o555, false),
        ("dev", 0o755, false),
    ] {
        items.push(dir(&format!("root/{path}"), mode, user));
    }
    if over_host {
        for path in ["var/cache", "var/lib", "var/log", "run/lock", "mnt", "media", "srv"] {
            items.push(dir(&format!("root/{path}"), 0o755, false));
        }
        for part in parts.iter().filter(|part| !part.guest.is_empty()) {
            let mut path = String::from("root");
            for name in part.guest.split('/') {
                path = format!("{path}/{name}");
                items.push(dir(&path, 0o755, false));
            }
        }
        for (name, to) in &host.links {
            items.push(Item::Link { path: format!("root/{name}"), to: to.clone() });
        }
        items.push(Item::Link { path: "root/var/run".into(), to: "/run".into() });
        items.push(Item::Link { path: "root/var/lock".into(), to: "/run/lock".into() });
    }
    let etc = if over_host { "etc" } else { "root/etc" };
    if !over_host {
        items.push(dir("root/etc", 0o755, false));
    }
    if over_host {
        for name in SECRET_FILES.iter().filter(|name| host.etc.contains(**name)) {
            items.push(Item::File { path: format!("etc/{name}"), mode: 0o644, text: String::new() });
        }
        for name in SECRET_DIRS.iter().filter(|name| host.etc.contains(**name)) {
            if let Some((parent, _)) = name.split_once('/') {
                items.push(dir(&format!("etc/{parent}"), 0o755, false));
            }
            items.push(hidden(format!("etc/{name}")));
        }
    }
    for (name, text) in [
        ("passwd", accounts(&host.passwd, &format!("{USER}:x:{USER_ID}:{USER_ID}:{USER}:{HOME}:/bin/sh"))),
        ("group", accounts(&host.group, &format!("{USER}:x:{USER_ID}:"))),
        ("hosts", format!("127.0.0.1 localhost {HOSTNAME}\n::1 localhost {HOSTNAME}\n")),
        ("hostname", format!("{HOSTNAME}\n")),
        ("machine-id", "4242424242424242424242424242ffff\n".to_owned()),
        ("resolv.conf", format!("nameserver {NAMESERVER}\noptions attempts:1 timeout:1\n")),
    ] {
        let keeps_names = seat.instance.machine.network == contract::machines::Network::Host;
        if !(keeps_names && matches!(name, "resolv.conf" | "hosts")) {
            items.push(file(format!("{etc}/{name}"), &text));
        }
    }
    for own in own_dirs(seat) {
        let own = own.trim_matches('/');
        let part = parts
            .iter()
            .filter(|part| {
                part.guest.is_empty() || own == part.guest || own.starts_with(&format!("{}/", part.guest))
            })
            .max_by_key(|part| part.guest.len());
        if let Some(Part { name, guest, base: Some(base) }) = part {
            let inner = own[guest.len()..].trim_matches('/');
            items.push(Item::OwnTree { path: format!("{name}/{inner}"), from: base.join(inner) });
        }
    }
    items
}

/// Directories of the setting `own`: trees whose entries the ordinary user may change.
pub fn own_dirs(seat: &Seat) -> Vec<String> {
    crate::drivers::setting_list(seat, "own")
}

/// The system's own accounts, and the one user of the sandbox; no person of the host.
fn accounts(text: &str, user: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            let mut fields = line.split(':');
            let name = fields.next().unwrap_or_default();
            let id: u32 = fields.nth(1).and_then(|id| id.parse().ok()).unwrap_or(u32::MAX);
            name != USER && id != USER_ID && (id < 1000 || name == "nobody" || name == "nogroup")
        })
        .collect();
    lines.push(user);
    lines.join("\n") + "\n"
}

/// Text for the overlay's option string, whose separators are `,` and `:`.
pub fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_of_the_host_are_not_in_the_sandbox() {
        let text = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\nnobody:x:65534:65534::/:/x\n";
        assert_eq!(
            accounts(text, "racket:x:4242:4242:racket:/home/racket:/bin/sh"),
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/x\nracket:x:4242:4242:racket:/home/racket:/bin/sh\n"
        );
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        assert_eq!(escaped(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }

    fn host(is_root: bool) -> Host {
        Host {
            is_root,
            uid: 1000,
            gid: 1000,
            parts: ["etc", "usr", "var/lib/texmf"].map(str::to_owned).to_vec(),
            links: vec![("bin".into(), "usr/bin".into())],
            etc: ["shadow", "ssh", "ssl/private"].map(str::to_owned).into(),
            ..Host::default()
        }
    }

    fn made(machine: &str, is_root: bool) -> Plan {
        let seat = crate::state::store::example(machine);
        plan(&seat, &host(is_root), Path::new("/skin"), &seat.dir)
    }

    fn overlay<'a>(plan: &'a Plan, at: &str) -> (Vec<String>, &'a str) {
        let found = plan.steps.iter().find_map(|step| match step {
            Step::Overlay { at: here, lower, options, .. } if here == at => Some((lower, options)),
            _ => None,
        });
        let (lower, options) = found.expect("an overlay");
        (lower.iter().map(|dir| dir.display().to_string()).collect(), options)
    }

    #[test]
    fn layers_lie_newest_first_over_the_skin_over_the_host() {
        let plan = made(r#"{"name": "m", "root": "host"}"#, true);
        let (lower, options) = overlay(&plan, "usr");
        let expected =
            ["/state/machines/m/layers/new/usr", "/state/machines/m/layers/old/usr", "/skin/usr", "/usr"];
        assert_eq!(lower, expected);
        assert!(options.contains("volatile") && options.contains("redirect_dir=on"), "{options}");
        // nothing of the host's own root directory shows through
        assert!(overlay(&plan, "").0.iter().all(|dir| dir.ends_with("/root")));
        assert_eq!(overlay(&plan, "var/lib/texmf").0.last().map(String::as_str), Some("/var/lib/texmf"));
        assert_eq!((plan.user_map, plan.own_network), (None, true));
    }

    #[test]
    fn an_ordinary_user_is_mapped_to_the_one_of_the_sandbox() {
        let plan = made(r#"{"name": "m"}"#, false);
        assert_eq!(plan.user_map, Some((USER_ID, 1000)));
        assert!(overlay(&plan, "etc").1.contains("userxattr"));
    }

    #[test]
    fn a_tree_is_one_part_and_relative_to_the_document() {
        let plan = made(r#"{"name": "m", "root": "tree", "network": "host"}"#, true);
        assert_eq!(plan.parts.len(), 1);
        assert_eq!(overlay(&plan, "").0.last().map(String::as_str), Some("/doc/tree"));
        assert!(!plan.own_network);
        assert!(
            !plan
                .skin
                .iter()
                .any(|item| matches!(item, Item::File { path, .. } if path.ends_with("resolv.conf")))
        );
    }

    #[test]
    fn the_root_comes_before_what_is_in_it_and_shares_are_read_only() {
        let plan = made(r#"{"name": "m"}"#, true);
        assert!(matches!(&plan.steps[0], Step::Overlay { at, .. } if at.is_empty()));
        let share = Step::Bind { from: "/archive".into(), at: "share/a".into(), read_only: true };
        assert!(plan.steps.contains(&share));
    }

    #[test]
    fn secrets_are_covered_and_what_the_user_owns_is_in_its_part() {
        let plan = made(r#"{"name": "m", "own": ["/usr/share/racket", "/opt/none"]}"#, true);
        let has = |wanted: &Item| plan.skin.contains(wanted);
        assert!(has(&Item::File { path: "etc/shadow".into(), mode: 0o644, text: String::new() }));
        for path in ["etc/ssh", "etc/ssl/private"] {
            assert!(has(&Item::Dir { path: path.into(), mode: 0o755, user: false, opaque: true }), "{path}");
        }
        assert!(has(&Item::OwnTree { path: "usr/share/racket".into(), from: "/usr/share/racket".into() }));
        assert!(has(&Item::Dir { path: "root/work".into(), mode: 0o755, user: true, opaque: false }));
    }
}
