use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "machines"`: the machines that `vm-snapshot` knows (`--machines FILE`, default `machines.json`).
///
/// ```json
/// {"kind": "machines", "v": 1, "machines": [
///   {"name": "racket", "driver": "sandbox", "root": "host", "memory_mb": 2048, "minimal": "racket-minimal"},
///   {"name": "racket-minimal", "driver": "sandbox", "root": "roots/minimal"}]}
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Machines {
    pub kind: String,
    pub v: u32,
    /// Directory for the state of the machines (snapshots, instances, locks), relative to this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    pub machines: Vec<Machine>,
}

impl crate::Document for Machines {
    const KIND: &'static str = "machines";
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Machine {
    /// Letters, digits, `-`, `_`, `.`; unique in the document.
    pub name: String,
    /// `sandbox` or another driver of vm-snapshot(1); an unknown one is refused when the machine is opened.
    #[serde(default = "default_driver")]
    pub driver: String,
    /// Memory of one instance, MiB; the kernel kills what goes beyond. 0 or absent: no limit.
    #[serde(default)]
    pub memory_mb: u64,
    /// Processors of one instance; 0 or absent: all.
    #[serde(default)]
    pub cpus: u32,
    /// What one instance may write to its disk, MiB; 0 or absent: no limit.
    #[serde(default)]
    pub disk_mb: u64,
    /// Processes and threads in one instance; 0 or absent: no limit.
    #[serde(default)]
    pub processes: u64,
    #[serde(default)]
    pub network: Network,
    /// Environment of every command; nothing else of the caller's environment comes in.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Directory in the machine where commands start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
    /// Machine to try first, with less installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimal: Option<String>,
    /// Machine to try last, of another platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How many instances may be open at once; 0 or absent: no limit.
    #[serde(default)]
    pub pool: u32,
    /// Days after which an image or a snapshot is told to be old; 0: never.
    #[serde(default = "default_old_after_days")]
    pub old_after_days: u32,
    /// Settings of the driver (`root`, `image`, `host`, …): see vm-snapshot(1). One that it does not know is refused.
    #[serde(flatten)]
    pub settings: BTreeMap<String, serde_json::Value>,
}

fn default_old_after_days() -> u32 {
    90
}

fn default_driver() -> String {
    "sandbox".to_owned()
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing but the machine itself and what is shared with it.
    #[default]
    None,
    /// The network of the host.
    Host,
}
