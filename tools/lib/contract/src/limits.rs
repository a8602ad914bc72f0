use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `kind: "limits"`: what one package may use (`pkg-run-one --limits FILE`). The most particular entry decides each
/// limit: of a phase of a package, of a package, of a phase, the default, what the program has built in. Unlike other
/// documents it is refused when it has an unknown field: a misspelt limit would silently limit nothing.
///
/// ```json
/// {"kind": "limits", "v": 1, "default": {"time_s": 600, "memory_mb": 2048},
///  "phases": {"test": {"silence_s": 60}},
///  "packages": {"slow": {"default": {"time_s": 3600}}}}
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub kind: String,
    pub v: u32,
    #[serde(default)]
    pub default: LimitSet,
    #[serde(default)]
    pub phases: BTreeMap<String, LimitSet>,
    #[serde(default)]
    pub packages: BTreeMap<String, PackageLimits>,
}

impl crate::Document for Limits {
    const KIND: &'static str = "limits";
}

/// Limits of one package.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PackageLimits {
    #[serde(default)]
    pub default: LimitSet,
    #[serde(default)]
    pub phases: BTreeMap<String, LimitSet>,
}

/// Each absent limit is left to the next more general set; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LimitSet {
    /// How long a phase may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_s: Option<u64>,
    /// How long a phase may go without printing, using the processor or writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_s: Option<u64>,
    /// What a phase may print, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_mb: Option<u64>,
    /// Memory of the machine of a stage, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// What may be written to the disk of the machine, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u64>,
    /// Processes and threads in the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Processors of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
}

impl LimitSet {
    /// This set, with what it leaves open taken from a more general one.
    pub fn or(self, general: LimitSet) -> LimitSet {
        LimitSet {
            time_s: self.time_s.or(general.time_s),
            silence_s: self.silence_s.or(general.silence_s),
            log_mb: self.log_mb.or(general.log_mb),
            memory_mb: self.memory_mb.or(general.memory_mb),
            disk_mb: self.disk_mb.or(general.disk_mb),
            processes: self.processes.or(general.processes),
            cpus: self.cpus.or(general.cpus),
        }
    }

    /// The limits that are set, by name, as `run` documents and plans tell them.
    pub fn named(&self) -> BTreeMap<String, u64> {
        let all = [
            ("time_s", self.time_s),
            ("silence_s", self.silence_s),
            ("log_mb", self.log_mb),
            ("memory_mb", self.memory_mb),
            ("disk_mb", self.disk_mb),
            ("processes", self.processes),
            ("cpus", self.cpus),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|v| *v > 0)?)))
            .collect()
    }
}

impl Limits {
    /// The limits of a phase of a package, most particular first.
    pub fn of(&self, package: &str, phase: &str) -> LimitSet {
        let package = self.packages.get(package);
        let of_phase = |phases: &BTreeMap<String, LimitSet>| phases.get(phase).copied().unwrap_or_default();
        package
            .map(|own| of_phase(&own.phases).or(own.default))
            .unwrap_or_default()
            .or(of_phase(&self.phases))
            .or(self.default)
    }
}
