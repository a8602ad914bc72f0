use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "testbed"`: a fresh, ready instance of a machine, as `vm-snapshot open` prints it. Anything that prints such
/// an object can stand in for vm-snapshot.
///
/// `exec` is an argv prefix: append a command and it runs inside, in `work_dir`, with stdin, stdout, stderr and exit
/// status its own. Before the command it takes vm-snapshot's own `exec` options (`--env K=V`, `--cwd DIR`, `--user NAME`) only when
/// `capabilities` has `exec-options`. Killing the exec process ends the whole process tree inside
/// (capability `kill-tree`).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Testbed {
    pub kind: String,
    pub v: u32,
    pub id: String,
    /// Name of the machine in the `machines` document.
    pub machine: String,
    pub driver: String,
    /// Snapshot it started from; absent when it started from the bare machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Identity of what it started from (changes when the snapshot is taken anew), to prove like was compared with like.
    #[serde(default)]
    pub image_id: String,
    pub exec: Vec<String>,
    /// A command that gives back the instance and everything in it. Default: `vm-snapshot close ID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub close: Vec<String>,
    /// A command that prints a `usage` document for the instance. Absent: not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// A command that gives a person a terminal inside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Directory inside where commands start; writable.
    pub work_dir: String,
    /// Host directories readable inside (`open --share NAME=DIR`), read-only.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Where the shared directories are served to the inside when they cannot be mounted: share NAME is at
    /// `host_url` + NAME + `/`.
    #[serde(default)]
    pub host_url: Option<String>,
    /// `fresh`, `kill-tree`, `exec-options`, `usage`, `no-network`, `limits-memory`, `limits-processes`,
    /// `limits-disk`, `limits-cpu`, `snapshot`, `root`: what this instance can do or guarantees.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Limits in force: `memory_mb`, `disk_mb`, `processes`, `cpus`.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// Seconds that opening took.
    #[serde(default)]
    pub open_s: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Mount {
    /// Name given with `--share`.
    pub name: String,
    /// Directory on the host.
    pub host: String,
    /// Where it is inside.
    pub guest: String,
}

impl crate::Document for Testbed {
    const KIND: &'static str = "testbed";
}

/// `kind: "usage"`: what an instance has used since it was opened (`vm-snapshot status ID`), from the kernel's own
/// counters. A field that could not be measured is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Usage {
    pub kind: String,
    pub v: u32,
    pub id: String,
    pub alive: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mb: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_processes: Option<u64>,
    /// What was written to its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_bytes: Option<u64>,
    /// Times the kernel killed a process for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_kills: Option<u64>,
    /// Times a new process was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_refusals: Option<u64>,
    /// True when its disk has no room left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_full: Option<bool>,
    /// Attempts to reach a network that were refused, as counted by the kernel; names where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_refusals: Option<u64>,
}

impl crate::Document for Usage {
    const KIND: &'static str = "usage";
}
