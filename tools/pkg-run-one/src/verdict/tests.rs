//! Real logs of raco, cargo and cc (fixtures/RECIPE: a line of JSON with what was seen and what must come out, then the log), and
//! every rule must matter to one of them.

use super::*;
use crate::recipe::load;
use crate::result::test_counts::TestCounter;
use contract::testbed::Usage;
use serde_json::{Value, json};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
const RECIPES: [&str; 3] = ["racket", "cargo", "command"];

/// Name, what was seen and what must come out, and the log. UPDATE_FIXTURES=1 accepts what comes out.
fn fixtures(recipe: &str) -> Vec<(String, Value, String)> {
    let loaded = load(recipe).unwrap();
    let mut all: Vec<_> = std::fs::read_dir(format!("{FIXTURES}/{recipe}"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let (head, log) = text.split_once('\n').unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut head: Value = serde_json::from_str(head).unwrap();
            if std::env::var_os("UPDATE_FIXTURES").is_some() {
                head = outcome(&loaded, &head, log);
                std::fs::write(&path, format!("{head}\n{log}")).unwrap();
            }
            (name, head, log.to_owned())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!all.is_empty());
    all
}

fn known(package: &str) -> Known {
    Known {
        packages: vec![package.to_owned()],
        modules: [("rackunit/main.rkt".to_owned(), "rackunit-lib".to_owned())].into(),
        limits: [("memory_mb".to_owned(), 512), ("silence_s".to_owned(), 60)].into(),
    }
}

/// A stage of the recipe in which all went well but for one phase, which ended as told with this log.
fn seen_with(loaded: &Loaded, phase: &str, end: End, log: &str) -> (Stage, StageSeen) {
    let stage =
        loaded.recipe.stages.iter().find(|stage| stage.phases.iter().any(|p| p == phase)).unwrap().clone();
    let at = stage.phases.iter().position(|p| p == phase).unwrap();
    let last = !matches!(end, End::Exit(0)) && stage.fails_as.contains_key(phase);
    let phases = stage
        .phases
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut seen = PhaseSeen { phase: name.clone(), end: End::Exit(0), ..PhaseSeen::default() };
            if index == at {
                seen.end = end;
                seen.log.push(log.as_bytes());
            } else if index > at && last {
                seen.end = End::NotReached;
            } else {
                seen.log.push(b"raco setup: --- post-installing collections ---\n");
            }
            seen
        })
        .collect();
    (stage, StageSeen { phases, done: true, ..StageSeen::default() })
}

fn verdict_of(loaded: &Loaded, package: &str, stage: &Stage, seen: &StageSeen) -> Verdict {
    match judge(loaded, &known(package), &[(stage, seen)]) {
        Judgement::Verdict(verdict) => verdict,
        Judgement::Trouble(text) => panic!("trouble: {text}"),
    }
}

/// What comes out of a fixture, in the form of its first line.
fn outcome(loaded: &Loaded, head: &Value, log: &str) -> Value {
    let package = head["package"].as_str().unwrap();
    let phase = head["phase"].as_str().unwrap();
    let end = End::Exit(head["exit_code"].as_i64().unwrap() as i32);
    let (stage, mut seen) = seen_with(loaded, phase, end, log);
    for phase in &mut seen.phases {
        phase.after = Usage { network_refusals: head["network_refusals"].as_u64(), ..Usage::default() };
    }
    let verdict = verdict_of(loaded, package, &stage, &seen);
    let mut out = json!({
        "package": package, "phase": phase, "exit_code": head["exit_code"], "outcome": verdict.outcome,
    });
    if let Some(count) = head.get("network_refusals") {
        out["network_refusals"] = count.clone();
    }
    if let Some(blame) = verdict.blame {
        out["cause"] = json!(verdict.cause);
        out["code"] = json!(blame.code);
        out["at"] = json!(blame.package);
        out["message"] = json!(blame.message);
        blame.file.into_iter().for_each(|file| out["file"] = json!(file));
        blame.line.into_iter().for_each(|line| out["line"] = json!(line));
    }
    if !verdict.findings.is_empty() {
        out["findings"] = verdict.findings.iter().map(|finding| json!(finding.message)).collect();
    }
    out
}

#[test]
fn every_real_log_gets_its_verdict() {
    for recipe in RECIPES {
        let loaded = load(recipe).unwrap();
        for (name, head, log) in fixtures(recipe) {
            assert_eq!(outcome(&loaded, &head, &log), head, "{recipe}/{name}");
        }
    }
}

#[test]
fn every_rule_matters() {
    let mut unneeded = Vec::new();
    for name in RECIPES {
        let fixtures = fixtures(name);
        let recipe = load(name).unwrap().recipe;
        for dropped in 0..recipe.rules.len() {
            let mut without = recipe.clone();
            let rule = without.rules.remove(dropped);
            let loaded = crate::recipe::check(without, "mutant").unwrap();
            let noticed = fixtures.iter().any(|(_, head, log)| outcome(&loaded, head, log) != *head);
            if !noticed {
                unneeded.push(format!("{name}: {}: {}", rule.code, rule.pattern));
            }
        }
    }
    assert!(unneeded.is_empty(), "no fixture needs {unneeded:#?}");
}

#[test]
fn what_the_recipe_says_beside_its_rules_matters_too() {
    let fixtures = fixtures("racket");
    let recipe = load("racket").unwrap().recipe;
    type Change = fn(&mut contract::recipe::Recipe);
    let mutants: [(&str, Change); 4] = [
        ("evidence", |r| r.stages.iter_mut().for_each(|stage| stage.evidence.clear())),
        ("past", |r| r.stages.iter_mut().for_each(|stage| stage.past.clear())),
        ("needs", |r| r.rules.retain(|rule| rule.needs.is_none())),
        ("fails_as", |r| r.stages.iter_mut().for_each(|stage| stage.fails_as.clear())),
    ];
    for (name, change) in mutants {
        let mut mutant = recipe.clone();
        change(&mut mutant);
        let loaded = crate::recipe::check(mutant, "mutant").unwrap();
        let noticed = fixtures.iter().any(|(_, head, log)| outcome(&loaded, head, log) != *head);
        assert!(noticed, "no fixture needs {name}");
    }
}

#[test]
fn the_kernel_is_believed_before_the_text() {
    let loaded = load("racket").unwrap();
    let usage = |memory_kills, process_refusals| Usage {
        memory_kills: Some(memory_kills),
        process_refusals: Some(process_refusals),
        ..Usage::default()
    };
    let log = "main.rkt: raco test: non-zero exit: 137\n";
    let with = |end, before: Usage, after: Usage, disk_full| {
        let (stage, mut seen) = seen_with(&loaded, "test", end, log);
        let phase = seen.phases.last_mut().unwrap();
        (phase.before, phase.after, phase.disk_full) = (before, after, disk_full);
        let verdict = verdict_of(&loaded, "p", &stage, &seen);
        (verdict.cause, verdict.blame.map(|blame| (blame.code, blame.message)))
    };
    let limit = |message: &str| Some(("limit".to_owned(), message.to_owned()));
    assert_eq!(
        with(End::Exit(1), usage(0, 0), usage(1, 0), false),
        (Some(Cause::Memory), limit("the kernel killed a process for want of memory (limit: 512 MiB)"))
    );
    assert_eq!(with(End::Exit(1), usage(0, 0), usage(0, 4), false).0, Some(Cause::Processes));
    assert_eq!(with(End::Exit(1), usage(0, 0), usage(0, 0), true).0, Some(Cause::Disk));
    // what happened in an earlier phase is no evidence for this one
    let earlier = with(End::Exit(1), usage(1, 0), usage(1, 0), false);
    assert_eq!((earlier.0, earlier.1.unwrap().0.as_str()), (Some(Cause::Package), "crash"));
    // a time limit that was hit because memory ran out is told as memory
    assert_eq!(with(End::Limit(Breach::Time), usage(0, 0), usage(2, 0), false).0, Some(Cause::Memory));
    assert_eq!(
        with(End::Limit(Breach::Silence), usage(0, 0), usage(0, 0), false),
        (Some(Cause::Silence), limit("no output and no activity for 60 s"))
    );
    assert_eq!(with(End::Limit(Breach::Log), usage(0, 0), usage(0, 0), false).0, Some(Cause::Log));
    // and nothing of it matters when the phase went well
    assert_eq!(with(End::Exit(0), usage(0, 0), usage(1, 1), true), (None, None));
}

#[test]
fn refused_network_needs_both_the_counter_and_the_text() {
    let loaded = load("racket").unwrap();
    let fixtures = fixtures("racket");
    for name in ["netb", "nett"] {
        let (_, head, log) = fixtures.iter().find(|(n, ..)| n == name).unwrap();
        let mut not_counted = head.clone();
        not_counted.as_object_mut().unwrap().remove("network_refusals");
        assert_eq!(outcome(&loaded, &not_counted, log)["cause"], "package", "{name}: text alone");
    }
    let (_, head, log) = fixtures.iter().find(|(name, ..)| name == "raises").unwrap();
    let mut counted = head.clone();
    counted["network_refusals"] = json!(3);
    assert_eq!(outcome(&loaded, &counted, log)["cause"], "package", "counter alone");
}

#[test]
fn trouble_is_no_verdict() {
    let loaded = load("racket").unwrap();
    let (stage, mut seen) = seen_with(&loaded, "install", End::Exit(1), "p/main.rkt:1:1: bad");
    seen.trouble = Some("the machine was gone".to_owned());
    assert_eq!(
        judge(&loaded, &known("p"), &[(&stage, &seen)]),
        Judgement::Trouble("the machine was gone".to_owned())
    );
}

#[test]
fn no_log_whatsoever_panics_or_passes() {
    // a small generator of nonsense out of the words that rules look for
    let loaded = load("racket").unwrap();
    let words: Vec<String> = fixtures("racket")
        .iter()
        .flat_map(|(_, _, log)| log.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..300 {
        let mut log = String::new();
        for _ in 0..next(12) {
            let line = &words[next(words.len())];
            let cut = (0..=next(line.len() + 1)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            log.push_str(&line[..cut]);
            log.push(['\n', ' ', '\u{fffd}', '\\'][next(4)]);
        }
        let phase = ["install", "undeclared", "adds", "pack", "test-install", "test"][next(6)];
        let end = [
            End::Exit(1),
            End::Exit(139),
            End::Broken { exit_code: None, signal: Some(9) },
            End::Limit(Breach::Time),
        ][next(4)];
        let (stage, seen) = seen_with(&loaded, phase, end, &log);
        let verdict = verdict_of(&loaded, "p", &stage, &seen);
        assert_ne!(verdict.outcome, Outcome::Pass, "{phase} {end:?}\n{log}");
        assert!(verdict.cause.is_some() && verdict.blame.is_some());
        let mut counter = TestCounter::new(&loaded.recipe).unwrap();
        counter.push(log.as_bytes());
        assert_ne!(counter.tests(Some(1), &[]).status, "passed");
    }
}
