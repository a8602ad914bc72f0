//! What of the host a plan depends on.

use super::plan;
use crate::state::store::Seat;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Facts about the host, gathered once before planning.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub is_root: bool,
    pub uid: u32,
    pub gid: u32,
    /// Directories of the host that show through, without the leading slash, outer before inner.
    pub parts: Vec<String>,
    /// Links at the top (`bin -> usr/bin`).
    pub links: Vec<(String, PathBuf)>,
    /// Names in `/etc`, and of second level those with a secret.
    pub etc: BTreeSet<String>,
    pub passwd: String,
    pub group: String,
}

impl Host {
    pub fn look(seat: &Seat) -> Host {
        let mut host = Host {
            is_root: rustix::process::geteuid().is_root(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            ..Host::default()
        };
        let base = plan::root_dir(seat).unwrap_or_else(|| PathBuf::from("/"));
        let text = |name: &str| fs::read_to_string(base.join("etc").join(name)).unwrap_or_default();
        host.passwd = text("passwd");
        host.group = text("group");
        if base == Path::new("/") {
            for part in plan::wanted_parts(&crate::drivers::setting_list(seat, "host_dirs")) {
                let path = Path::new("/").join(&part);
                match fs::symlink_metadata(&path) {
                    Ok(meta) if meta.is_dir() => host.parts.push(part),
                    Ok(meta) if meta.is_symlink() => {
                        host.links.extend(fs::read_link(&path).map(|to| (part, to)));
                    }
                    _ => {}
                }
            }
            for name in names("/etc") {
                if name == "ssl" || name == "systemd" {
                    host.etc.extend(names(&format!("/etc/{name}")).map(|inner| format!("{name}/{inner}")));
                }
                host.etc.insert(name);
            }
        }
        host
    }
}

fn names(dir: &str) -> impl Iterator<Item = String> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}
