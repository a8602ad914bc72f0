//! From what was seen to a verdict. Pure. Two axes: how far it got (outcome) and whose fault that is (cause), each with
//! its evidence. Order of evidence: trouble of the machine (no verdict at all), the kernel's own counters, limits that
//! this program enforced, the recipe's rules, the way the process ended, and last the default of the recipe.

use crate::machine::stage::{End, PhaseSeen, StageSeen};
use crate::machine::watch::Breach;
use crate::recipe::Loaded;
use contract::recipe::{Rule, Stage};
use contract::run::{Blame, Cause, Finding, Outcome};
use regex::Captures;
use std::collections::{BTreeMap, BTreeSet};

/// Longest message of a blame, in characters.
const MAX_MESSAGE_CHARS: usize = 500;
/// Findings of one rule that are told.
const MAX_FINDINGS: usize = 50;

/// What the verdict must know about the package besides what was seen.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The packages under test.
    pub packages: Vec<String>,
    /// Module path (`a/b.rkt`) to the package of the archive that has it.
    pub modules: BTreeMap<String, String>,
    /// Limits in force, by name.
    pub limits: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    Verdict(Verdict),
    /// Something outside the package: not a verdict.
    Trouble(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub cause: Option<Cause>,
    pub blame: Option<Blame>,
    /// Phase that failed.
    pub phase: Option<String>,
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Nothing was judged yet.
    pub fn none() -> Verdict {
        Verdict { outcome: Outcome::Pass, cause: None, blame: None, phase: None, findings: Vec::new() }
    }
}

/// Judges the stages that were run, in order; one that failed is the last.
pub fn judge(loaded: &Loaded, known: &Known, stages: &[(&Stage, &StageSeen)]) -> Judgement {
    if let Some(text) = stages.iter().find_map(|(_, seen)| seen.trouble.clone()) {
        return Judgement::Trouble(text);
    }
    let mut findings = BTreeSet::new();
    for (_, seen) in stages {
        findings.extend(seen.marks.iter().filter_map(|mark| mark.finding.clone()));
        for phase in &seen.phases {
            findings.extend(findings_of(loaded, phase));
        }
    }
    let mut verdict = Verdict::none();
    if let Some((stage, phase)) = first_failure(loaded, stages) {
        let decided = decide(loaded, known, phase);
        verdict.outcome = decided.outcome.unwrap_or_else(|| fails_as(loaded, stage, phase));
        verdict.cause = Some(decided.cause);
        verdict.blame = Some(decided.blame);
        verdict.phase = Some(phase.phase.clone());
    }
    verdict.findings = findings.into_iter().collect();
    Judgement::Verdict(verdict)
}

fn first_failure<'a>(
    loaded: &Loaded,
    stages: &[(&'a Stage, &'a StageSeen)],
) -> Option<(&'a Stage, &'a PhaseSeen)> {
    for (stage, seen) in stages {
        let failed = seen.phases.iter().find(|phase| match phase.end {
            End::Exit(0) => !has_evidence(loaded, phase),
            End::Exit(_) => stage.fails_as.contains_key(&phase.phase),
            End::Broken { .. } | End::Limit(_) => true,
            End::NotReached => false,
        });
        if let Some(phase) = failed {
            return Some((stage, phase));
        }
        // success needs every phase that counts, and the stage's own word that it came to its end
        let short = seen.phases.iter().find(|phase| phase.end == End::NotReached);
        match short.or(if seen.done { None } else { seen.phases.last() }) {
            Some(phase) if !seen.stopped => return Some((stage, phase)),
            _ => {}
        }
    }
    None
}

/// Exit status 0 is believed when the log has what it must have.
fn has_evidence(loaded: &Loaded, phase: &PhaseSeen) -> bool {
    let mut patterns = loaded.evidence.iter().filter(|(name, _)| *name == phase.phase).peekable();
    patterns.peek().is_none() || {
        let text = phase.log.text();
        patterns.all(|(_, pattern)| pattern.is_match(&text))
    }
}

/// What a failure in a phase means: that of a milestone it got past, else its own entry, else that of the next phase
/// that has one.
fn fails_as(loaded: &Loaded, stage: &Stage, phase: &PhaseSeen) -> Outcome {
    let mut milestones = loaded.past.iter().filter(|(name, ..)| *name == phase.phase).peekable();
    if milestones.peek().is_some() {
        let text = phase.log.text();
        if let Some((.., outcome)) = milestones.find(|(_, pattern, _)| pattern.is_match(&text)) {
            return *outcome;
        }
    }
    let at = stage.phases.iter().position(|name| *name == phase.phase).unwrap_or(0);
    let (before, after) = stage.phases.split_at(at);
    after
        .iter()
        .chain(before.iter().rev())
        .find_map(|name| stage.fails_as.get(name).copied())
        .unwrap_or(Outcome::BuildFail)
}

struct Decided {
    outcome: Option<Outcome>,
    cause: Cause,
    blame: Blame,
}

fn decide(loaded: &Loaded, known: &Known, phase: &PhaseSeen) -> Decided {
    let own = known.packages.first().cloned().unwrap_or_default();
    let by_counter = counters(phase).into_iter().find_map(|(cause, count)| {
        let message = limit_message(cause, count, known)?;
        Some((cause, message))
    });
    let by_limit = match phase.end {
        End::Limit(breach) => Some(breach_message(breach, known, phase)),
        _ => None,
    };
    if let Some((cause, message)) = by_counter.or(by_limit) {
        return Decided { outcome: None, cause, blame: blame(&own, "limit", message) };
    }
    let text = phase.log.text();
    for compiled in loaded.rules.iter().filter(|compiled| !compiled.rule.finding) {
        let rule = &compiled.rule;
        if applies(rule, phase)
            && has_moved(rule, phase)
            && let Some(groups) = compiled.pattern.captures(&text)
        {
            return by_rule(rule, &groups, &text, known, &own);
        }
    }
    let (code, message) = match phase.end {
        End::Broken { signal: Some(signal), .. } => ("crash", format!("ended by signal {signal}")),
        End::Broken { exit_code: Some(code), .. } | End::Exit(code) if code > 128 && code < 160 => {
            ("crash", format!("ended by signal {}", code - 128))
        }
        End::Broken { exit_code: Some(code), .. } => {
            ("ended-early", format!("the process ended in the middle of the phase, with exit status {code}"))
        }
        End::Exit(0) | End::NotReached => {
            ("ended-early", "the process ended with success before the phase had done its work".to_owned())
        }
        _ => ("failed", last_line(&text).unwrap_or("it printed nothing").to_owned()),
    };
    Decided { outcome: None, cause: Cause::Package, blame: blame(&own, code, message) }
}

/// Counters that moved during the phase and whose movement explains a failure, most telling first.
fn counters(phase: &PhaseSeen) -> Vec<(Cause, u64)> {
    let moved =
        |after: Option<u64>, before: Option<u64>| after.unwrap_or(0).saturating_sub(before.unwrap_or(0));
    let all = [
        (Cause::Memory, moved(phase.after.memory_kills, phase.before.memory_kills)),
        (Cause::Processes, moved(phase.after.process_refusals, phase.before.process_refusals)),
        (Cause::Disk, u64::from(phase.disk_full)),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn has_moved(rule: &Rule, phase: &PhaseSeen) -> bool {
    let (before, after) = (&phase.before, &phase.after);
    match rule.needs.as_deref() {
        None => true,
        Some("network_refusals") => after.network_refusals > before.network_refusals.or(Some(0)),
        Some("memory_kills") => after.memory_kills > before.memory_kills.or(Some(0)),
        Some("process_refusals") => after.process_refusals > before.process_refusals.or(Some(0)),
        Some("disk_full") => phase.disk_full,
        Some(_) => false,
    }
}

fn limit_message(cause: Cause, count: u64, known: &Known) -> Option<String> {
    let limit = |name: &str, unit: &str| {
        known.limits.get(name).map_or(String::new(), |limit| format!(" (limit: {limit}{unit})"))
    };
    Some(match cause {
        Cause::Memory => format!(
            "the kernel killed {} for want of memory{}",
            if count == 1 { "a process".to_owned() } else { format!("{count} processes") },
            limit("memory_mb", " MiB")
        ),
        Cause::Processes => {
            format!("the kernel refused a new process {count} times{}", limit("processes", ""))
        }
        Cause::Disk => format!("the disk was full{}", limit("disk_mb", " MiB")),
        _ => return None,
    })
}

fn breach_message(breach: Breach, known: &Known, phase: &PhaseSeen) -> (Cause, String) {
    match breach {
        Breach::Time => (Cause::Time, format!("not done after {:.0} s", phase.wall_s)),
        Breach::Silence => (
            Cause::Silence,
            match known.limits.get("silence_s") {
                Some(limit) => format!("no output and no activity for {limit} s"),
                None => "no output and no activity".to_owned(),
            },
        ),
        Breach::Log => (Cause::Log, format!("printed more than allowed: {} bytes", phase.log.bytes)),
    }
}

fn applies(rule: &Rule, phase: &PhaseSeen) -> bool {
    rule.phases.is_empty() || rule.phases.contains(&phase.phase)
}

fn by_rule(rule: &Rule, groups: &Captures, text: &str, known: &Known, own: &str) -> Decided {
    let group = |name: &str| {
        groups.name(name).map(|found| found.as_str().trim().to_owned()).filter(|s| !s.is_empty())
    };
    let mut message = message_of(rule, groups, text);
    if let Some(provider) = group("module").and_then(|module| provider(&module, known)) {
        message.push_str(&format!("; package {provider} has it"));
    }
    let at_fault = group("package").unwrap_or_else(|| own.to_owned());
    let is_own = known.packages.contains(&at_fault);
    let cause = rule.cause.unwrap_or(if is_own { Cause::Package } else { Cause::Dependency });
    let mut blame = blame(own, &rule.code, message);
    if !is_own {
        blame.chain.push(at_fault.clone());
    }
    blame.package = at_fault;
    blame.file = group("file");
    blame.line = group("line").and_then(|line| line.parse().ok());
    Decided { outcome: rule.outcome, cause, blame }
}

/// The package of the archive that has a module, written as in a `require` or in a catalog.
fn provider<'a>(module: &str, known: &'a Known) -> Option<&'a String> {
    let bare = module.trim_start_matches("(lib ").trim_matches(['"', ')', '(']);
    [bare.to_owned(), format!("{bare}/main.rkt"), format!("{bare}.rkt")]
        .iter()
        .find_map(|path| known.modules.get(path))
}

fn findings_of(loaded: &Loaded, phase: &PhaseSeen) -> Vec<Finding> {
    let rules: Vec<_> = loaded
        .rules
        .iter()
        .filter(|compiled| compiled.rule.finding && applies(&compiled.rule, phase))
        .collect();
    if rules.is_empty() || phase.end == End::NotReached {
        return Vec::new();
    }
    let text = phase.log.text();
    let mut found = Vec::new();
    for compiled in rules.iter().filter(|compiled| has_moved(&compiled.rule, phase)) {
        for groups in compiled.pattern.captures_iter(&text).take(MAX_FINDINGS) {
            found.push(Finding {
                code: compiled.rule.code.clone(),
                message: message_of(&compiled.rule, &groups, &text),
            });
        }
    }
    found
}

fn message_of(rule: &Rule, groups: &Captures, text: &str) -> String {
    let group = |name: &str| groups.name(name).map(|found| found.as_str().trim());
    let message = match &rule.message {
        Some(template) => {
            let names = groups_of(template);
            names.iter().fold(template.clone(), |message, name| {
                message.replace(&format!("{{{name}}}"), group(name).unwrap_or(""))
            })
        }
        None => group("message").map_or_else(|| matching_line(groups, text).to_owned(), str::to_owned),
    };
    shorten(
        &message.replace("\\n", "\n").replace("\\\"", "\"").split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

fn groups_of(template: &str) -> Vec<String> {
    template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
}

fn matching_line<'t>(groups: &Captures, text: &'t str) -> &'t str {
    let start = groups.get(0).map_or(0, |found| found.start());
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    text[from..].lines().next().unwrap_or("").trim()
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

fn blame(own: &str, code: &str, message: String) -> Blame {
    Blame {
        package: own.to_owned(),
        chain: vec![own.to_owned()],
        code: code.to_owned(),
        file: None,
        line: None,
        message: shorten(&message),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
