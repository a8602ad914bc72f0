//! The whole run as data, before anything is opened: which machines are tried in which order, what runs in each, under
//! which limits, what a failure means. `--explain` prints it.

use crate::config::Config;
use crate::machine::script::quote;
use crate::subject::{Foregone, Subject};
use contract::limits::{LimitSet, Limits};
use contract::machines::Machines;
use contract::recipe::Recipe;
use contract::run::{Outcome, Variant};
use edge::{Failure, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Limits where nothing else is said.
const BUILT_IN: LimitSet = LimitSet {
    time_s: Some(1800),
    silence_s: Some(300),
    log_mb: Some(64),
    memory_mb: None,
    disk_mb: None,
    processes: None,
    cpus: None,
};

/// Largest machines or limits document.
const MAX_BYTES: u64 = 64 << 20;

/// `kind: "plan"`.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub kind: &'static str,
    pub v: u32,
    pub packages: Vec<String>,
    pub side: String,
    pub recipe: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compile_any: bool,
    /// Said without opening a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foregone: Option<ForegonePlan>,
    /// Tried in order until one has no failure of the package's own.
    pub attempts: Vec<Attempt>,
    pub stages: Vec<StagePlan>,
    pub retries: u32,
    pub repeat: u32,
    pub writes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ForegonePlan {
    pub outcome: Outcome,
    pub chain: Vec<String>,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    pub variant: Variant,
    /// The machine, then its spares.
    pub machines: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StagePlan {
    pub stage: String,
    /// Command that opens its machine, for the first attempt.
    pub open: String,
    /// Command in the machine, with placeholders.
    pub run: String,
    pub phases: Vec<PhasePlan>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PhasePlan {
    pub phase: String,
    pub limits: BTreeMap<String, u64>,
    /// Absent: a failure is told, but fails nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fails_as: Option<Outcome>,
}

/// Limits of every phase of this run.
#[derive(Clone, Debug, Default)]
pub struct RunLimits {
    document: Limits,
    package: String,
}

impl RunLimits {
    pub fn read(config: &Config, packages: &[String]) -> Result<RunLimits> {
        let document = match &config.limits {
            None => Limits { kind: "limits".to_owned(), v: contract::V, ..Limits::default() },
            Some(path) => contract::read(&edge::read_input(path, MAX_BYTES)?)
                .map_err(|error| Failure::data(format!("cannot read \"{}\": {error}", path.display())))?,
        };
        // of a cycle, the member that has an entry speaks for all
        let named = packages.iter().find(|name| document.packages.contains_key(*name));
        let package = named.or(packages.first()).cloned().unwrap_or_default();
        Ok(RunLimits { document, package })
    }

    /// The document, as it was given.
    pub fn document(&self) -> &Limits {
        &self.document
    }

    pub fn of(&self, phase: &str) -> LimitSet {
        self.document.of(&self.package, phase).or(BUILT_IN)
    }

    /// What the machine of a stage is opened with: the most generous of its phases.
    pub fn of_machine(&self, phases: &[String]) -> LimitSet {
        let most = |pick: fn(&LimitSet) -> Option<u64>| {
            let all: Vec<u64> = phases.iter().filter_map(|phase| pick(&self.of(phase))).collect();
            if all.contains(&0) { Some(0) } else { all.into_iter().max() }
        };
        LimitSet {
            memory_mb: most(|set| set.memory_mb),
            disk_mb: most(|set| set.disk_mb),
            processes: most(|set| set.processes),
            cpus: most(|set| set.cpus),
            ..LimitSet::default()
        }
    }
}

/// Which machines are tried: the minimal variant first, then the machine itself, then its fallback.
pub fn attempts(config: &Config) -> Result<Vec<Attempt>> {
    let single = vec![Attempt { variant: Variant::Extended, machines: config.machine.clone() }];
    if config.open.is_some() && !config.machines.exists() {
        return Ok(single);
    }
    let shown = config.machines.display();
    let text = edge::read_input(&config.machines, MAX_BYTES)
        .map_err(|failure| failure.hint("name the machines document with --machines FILE"))?;
    let document: Machines = contract::read(&text)
        .map_err(|error| Failure::data(format!("cannot read machines \"{shown}\": {error}")))?;
    let mut attempts: [(Variant, Vec<String>); 3] =
        [(Variant::Minimal, vec![]), (Variant::Extended, vec![]), (Variant::Fallback, vec![])];
    for name in &config.machine {
        let Some(machine) = document.machines.iter().find(|machine| machine.name == *name) else {
            if config.open.is_some() {
                attempts[1].1.push(name.clone());
                continue;
            }
            let names: Vec<&str> = document.machines.iter().map(|machine| machine.name.as_str()).collect();
            return Err(Failure::unavailable(format!("no machine is called \"{name}\""))
                .detail("machines", shown)
                .detail("known", names.join(", ")));
        };
        attempts[0].1.extend(machine.minimal.clone());
        attempts[1].1.push(machine.name.clone());
        attempts[2].1.extend(machine.fallback.clone());
    }
    Ok(attempts
        .into_iter()
        .filter(|(_, machines)| !machines.is_empty())
        .map(|(variant, machines)| Attempt { variant, machines })
        .collect())
}

/// Everything that would be done.
pub fn plan(
    config: &Config,
    subject: &Subject,
    foregone: Option<&Foregone>,
    recipe: &Recipe,
    attempts: &[Attempt],
    limits: &RunLimits,
) -> Plan {
    let first_machine =
        attempts.first().and_then(|attempt| attempt.machines.first()).cloned().unwrap_or_default();
    let stages = recipe
        .stages
        .iter()
        .map(|stage| StagePlan {
            stage: stage.name.clone(),
            open: line(&crate::machine::testbed::open_argv(
                config,
                &first_machine,
                &limits.of_machine(&stage.phases),
            )),
            run: line(&stage.run),
            phases: stage
                .phases
                .iter()
                .map(|phase| PhasePlan {
                    phase: phase.clone(),
                    limits: limits.of(phase).named(),
                    fails_as: stage.fails_as.get(phase).copied(),
                })
                .collect(),
        })
        .collect();
    let out = config.out.display();
    let mut writes: Vec<String> =
        subject.packages.iter().map(|package| format!("{out}/results/{package}.json")).collect();
    writes.push(format!("{out}/logs/{}/", subject.packages[0]));
    for package in &subject.packages {
        writes.push(format!("{}/pkgs/{package}.zip", config.built.display()));
        writes.push(format!("{}/catalog/pkg/{package}", config.built.display()));
    }
    let foregone = foregone.map(|foregone| ForegonePlan {
        outcome: foregone.outcome,
        chain: foregone.blame.chain.clone(),
        message: foregone.blame.message.clone(),
    });
    Plan {
        kind: "plan",
        v: contract::V,
        packages: subject.packages.clone(),
        side: config.side.clone(),
        recipe: recipe.name.clone(),
        compile_any: config.compile_any,
        attempts: if foregone.is_some() { Vec::new() } else { attempts.to_vec() },
        stages: if foregone.is_some() { Vec::new() } else { stages },
        foregone,
        retries: config.retries,
        repeat: config.repeat,
        writes,
    }
}

fn line(argv: &[String]) -> String {
    let words: Vec<String> =
        argv.iter().map(|word| if word.contains('{') { word.clone() } else { quote(word) }).collect();
    words.join(" ")
}
