//! From what was seen to the `run` document.

use crate::attempt::{Learnt, Tried};
use crate::config::Config;
use crate::machine::stage::{End, PhaseSeen, StageSeen};
use crate::machine::watch::Breach;
use crate::result::output::Output;
use crate::subject::{Foregone, Subject};
use contract::recipe::Stage;
use contract::run::{Adds, Cause, Finding, Observed, Outcome, Phase, PhaseStatus, Run, Tests, Variant};
use edge::Result;

/// What the phases of one stage have in common.
pub struct PhaseContext<'a> {
    pub machine: &'a str,
    pub variant: Variant,
    pub attempt: u32,
    pub package: Option<String>,
}

/// Writes the logs of a stage and notes its phases.
pub fn phases(
    seen: &StageSeen,
    context: &PhaseContext,
    dirs: &[String],
    output: &Output,
    learnt: &mut Learnt,
) -> Result<()> {
    let last = End::reached(seen);
    for (at, phase) in seen.phases.iter().enumerate() {
        let count = learnt.log_names.entry(phase.phase.clone()).or_default();
        *count += 1;
        let name =
            if *count == 1 { format!("{}.txt", phase.phase) } else { format!("{}-{count}.txt", phase.phase) };
        let log = output.keep_log(&name, &phase.log)?;
        let mut record = record(phase, context, dirs);
        record.log = log;
        if seen.trouble.is_some() && at == last {
            record.status = PhaseStatus::Trouble;
            record.cause = Some(Cause::Machine);
        }
        learnt.phases.push(record);
    }
    Ok(())
}

/// The phases of a stage that was not come to.
pub fn not_run(stage: &Stage, context: &PhaseContext, learnt: &mut Learnt) {
    for phase in &stage.phases {
        let seen = PhaseSeen {
            phase: phase.clone(),
            tests: (phase == "test").then(Default::default),
            ..PhaseSeen::default()
        };
        learnt.phases.push(record(&seen, context, &[]));
    }
}

fn record(phase: &PhaseSeen, context: &PhaseContext, dirs: &[String]) -> Phase {
    let (exit_code, signal) = match phase.end {
        End::Exit(code) => (Some(code), None),
        End::Broken { exit_code, signal } => (exit_code, signal),
        End::NotReached | End::Limit(_) => (None, None),
    };
    let (before, after) = (&phase.before, &phase.after);
    let cpu_s = after.cpu_s.map(|cpu_s| (cpu_s - before.cpu_s.unwrap_or(0.0)).max(0.0));
    let run_code = if let End::Exit(code) = phase.end { Some(code) } else { None };
    Phase {
        phase: phase.phase.clone(),
        package: context.package.clone(),
        machine: context.machine.to_owned(),
        variant: context.variant,
        attempt: context.attempt,
        status: match phase.end {
            End::NotReached => PhaseStatus::NotRun,
            End::Exit(0) => PhaseStatus::Ok,
            _ => PhaseStatus::Fail,
        },
        cause: match phase.end {
            End::Limit(Breach::Time) => Some(Cause::Time),
            End::Limit(Breach::Silence) => Some(Cause::Silence),
            End::Limit(Breach::Log) => Some(Cause::Log),
            _ => None,
        },
        exit_code,
        signal,
        wall_s: milli(phase.wall_s),
        cpu_s: cpu_s.map(milli),
        peak_memory_mb: after.peak_memory_mb,
        peak_processes: after.peak_processes,
        disk_mb: after.disk_mb,
        network_refusals: after
            .network_refusals
            .map(|count| count - before.network_refusals.unwrap_or(0).min(count)),
        log: None,
        log_bytes: phase.log.bytes,
        log_truncated: phase.log.is_truncated(),
        tests: phase.tests.as_ref().map(|tests| {
            let tests: Tests = tests.tests(run_code, dirs);
            if run_code.is_none() && tests.files > 0 {
                // it was under way and did not come to its end: what was counted is told, and not called passed
                return Tests { status: "failed".to_owned(), ..tests };
            }
            tests
        }),
    }
}

fn milli(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl End {
    /// Index of the last phase that was reached.
    pub fn reached(seen: &StageSeen) -> usize {
        seen.phases.iter().rposition(|phase| phase.end != End::NotReached).unwrap_or(0)
    }
}

/// The document so far: what is known before anything is run.
pub fn start(config: &Config, subject: &Subject, recipe: &str) -> Run {
    Run {
        kind: "run".to_owned(),
        v: contract::V,
        packages: subject.packages.clone(),
        side: config.side.clone(),
        checksum: subject.checksum.clone(),
        source: subject.source.clone(),
        dependencies: subject.dependencies.clone(),
        dependents: subject.dependents,
        author: subject.author.clone(),
        catalog_id: subject.catalog_id.clone(),
        recipe: recipe.to_owned(),
        compile_any: config.compile_any,
        image_id: String::new(),
        version: String::new(),
        limits: Default::default(),
        outcome: Outcome::Pass,
        cause: None,
        blame: None,
        findings: conflicts(subject),
        phases: Vec::new(),
        docs: Vec::new(),
        adds: Adds::default(),
        built: Vec::new(),
        salvaged: Vec::new(),
        observed: Vec::new(),
        command: config.command.clone(),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        wall_s: 0.0,
    }
}

/// One finding for each package that defines some of the same modules.
fn conflicts(subject: &Subject) -> Vec<Finding> {
    let mut others: Vec<&String> = subject.conflicts.iter().map(|(_, other)| other).collect();
    others.sort();
    others.dedup();
    others
        .into_iter()
        .map(|other| {
            let modules: Vec<&str> = subject
                .conflicts
                .iter()
                .filter(|(_, o)| o == other)
                .map(|(module, _)| module.as_str())
                .collect();
            let more =
                if modules.len() > 3 { format!(" and {} more", modules.len() - 3) } else { String::new() };
            let shown = modules[..modules.len().min(3)].join(", ");
            Finding { code: "conflicts".to_owned(), message: format!("{other} has {shown}{more} as well") }
        })
        .collect()
}

/// A verdict that needed no machine.
pub fn foregone(mut run: Run, foregone: Foregone) -> Run {
    run.observed = vec![Observed { outcome: foregone.outcome, cause: Some(foregone.cause), times: 1 }];
    run.outcome = foregone.outcome;
    run.cause = Some(foregone.cause);
    run.blame = Some(foregone.blame);
    run
}

/// One round, all variants tried: the first that passed counts, else the machine itself (not its spare kinds).
pub fn choose(mut tried: Vec<Tried>) -> Option<Tried> {
    let at = tried
        .iter()
        .position(|one| one.verdict.cause.is_none())
        .or_else(|| tried.iter().position(|one| one.variant == Variant::Extended))
        .or(tried.len().checked_sub(1))?;
    let earlier: Vec<(Variant, String)> = tried[..at]
        .iter()
        .map(|one| {
            (one.variant, one.verdict.blame.as_ref().map_or_else(String::new, |blame| blame.message.clone()))
        })
        .collect();
    let mut chosen = tried.swap_remove(at);
    if chosen.verdict.cause.is_none()
        && let Some((_, message)) = earlier.first()
    {
        let (code, kind) = match chosen.variant {
            Variant::Fallback => ("needs-fallback", "the fallback machine"),
            _ => ("needs-extended", "the extended machine"),
        };
        chosen
            .verdict
            .findings
            .push(Finding { code: code.to_owned(), message: format!("passes only on {kind}: {message}") });
    }
    Some(chosen)
}

/// All rounds together: the result that was seen most, the worse one when they tie; differing results are flaky.
pub fn settle(mut run: Run, rounds: Vec<Tried>, learnt: Learnt) -> Run {
    let mut observed: Vec<Observed> = Vec::new();
    for round in &rounds {
        let key = (round.verdict.outcome, round.verdict.cause);
        match observed.iter_mut().find(|one| (one.outcome, one.cause) == key) {
            Some(one) => one.times += 1,
            None => observed.push(Observed { outcome: key.0, cause: key.1, times: 1 }),
        }
    }
    observed.sort_by_key(|one| (one.outcome, one.cause));
    let most = observed.iter().map(|one| one.times).max().unwrap_or(0);
    let key = observed.iter().find(|one| one.times == most).map(|one| (one.outcome, one.cause));
    let Some(round) =
        rounds.into_iter().find(|round| Some((round.verdict.outcome, round.verdict.cause)) == key)
    else {
        return run;
    };
    run.outcome = round.verdict.outcome;
    run.cause = round.verdict.cause;
    run.blame = round.verdict.blame;
    run.findings.extend(round.verdict.findings);
    run.docs = round.docs;
    run.docs.sort();
    run.docs.dedup();
    run.adds = round.adds;
    run.built = round.built;
    run.salvaged = round.salvaged;
    run.limits = round.limits;
    run.image_id = round.image_id;
    run.version = learnt.version;
    run.phases = learnt.phases;
    if observed.len() > 1 {
        let told: Vec<String> = observed
            .iter()
            .map(|one| {
                let outcome = serde_json::to_value(one.outcome).ok();
                format!("{} {}x", outcome.as_ref().and_then(|v| v.as_str()).unwrap_or("?"), one.times)
            })
            .collect();
        run.findings.push(Finding { code: "flaky".to_owned(), message: told.join(", ") });
    }
    let tests = run.phases.iter().rev().find_map(|phase| phase.tests.as_ref());
    if run.outcome == Outcome::Pass && tests.is_some_and(|tests| tests.status == "no-tests") {
        run.findings.push(Finding {
            code: "no-tests".to_owned(),
            message: "no test was run: it has none, or leaves them out".to_owned(),
        });
    }
    run.findings.sort();
    run.findings.dedup();
    run.observed = observed;
    run
}
