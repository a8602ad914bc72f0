//! One try of one variant: each stage in a machine of its own, judged as it goes; and the retries when it was the
//! machine that failed.

use crate::config::{Config, Keyboard};
use crate::machine::health::{Health, Trouble};
use crate::machine::script::{self, Modes, Places};
use crate::machine::stage::{self, End, Order, StageSeen};
use crate::machine::testbed::{OpenError, Opened};
use crate::plan::{Attempt, RunLimits};
use crate::recipe::Loaded;
use crate::result::output::Output;
use crate::result::record;
use crate::result::test_counts::TestCounter;
use crate::subject::Subject;
use crate::verdict::{self, Judgement, Known, Verdict};
use contract::recipe::Stage;
use contract::run::{Adds, Built, Cause, Doc, Phase, Variant};
use edge::{Failure, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest package in built form.
const MAX_ZIP_BYTES: u64 = 4 << 30;
/// Troubles with one machine before a spare is taken.
const TROUBLES_UNTIL_SPARE: u32 = 2;
/// Longest wait between two tries.
const MAX_WAIT_S: f64 = 120.0;

/// Everything that stays the same during a run.
pub struct Session<'a> {
    pub config: &'a Config,
    pub loaded: &'a Loaded,
    pub subject: &'a Subject,
    pub limits: &'a RunLimits,
    pub output: &'a Output,
    /// Which round this is, from 1.
    pub observation: u32,
}

/// What is learnt on the way, over all tries.
#[derive(Debug, Default)]
pub struct Learnt {
    pub phases: Vec<Phase>,
    /// How many logs have been kept under each name.
    pub log_names: BTreeMap<String, u32>,
    pub version: String,
    pub image_id: String,
}

/// What one variant came to.
#[derive(Debug)]
pub struct Tried {
    pub variant: Variant,
    pub verdict: Verdict,
    pub docs: Vec<Doc>,
    pub adds: Adds,
    pub built: Vec<Built>,
    pub salvaged: Vec<Built>,
    pub limits: BTreeMap<String, u64>,
    pub image_id: String,
}

/// How a try ended.
enum Outcome {
    Tried(Box<Tried>),
    /// The machine could not be opened: no package had a part in that.
    NotOpened(String),
    Trouble(String),
    /// Trouble, or a package that brings it about: the verdict if it comes every time.
    Suspect(String, Box<Tried>),
    /// A person had the machine: there is no result.
    Visited,
}

/// Tries a variant until there is a verdict, or gives up with exit 75. `None`: a person had the machine.
pub fn variant(
    session: &Session,
    attempt: &Attempt,
    first: u32,
    learnt: &mut Learnt,
) -> Result<Option<Tried>> {
    let Session { config, subject, .. } = *session;
    let health = Health::new(&config.out, config.rest_s);
    let mut machine = health.order(&attempt.machines).into_iter();
    let mut name = machine.next().unwrap_or("default");
    let (mut troubles_here, mut wait_s) = (0, config.retry_wait_s);
    let (mut told, mut suspects) = (Vec::new(), 0);
    for number in first..=first + config.retries {
        let (text, suspect, opening) = match once(session, attempt.variant, name, number, learnt)? {
            Outcome::Tried(tried) => {
                health.worked(name);
                return Ok(Some(*tried));
            }
            Outcome::Visited => return Ok(None),
            Outcome::NotOpened(text) => (format!("cannot open it: {text}"), None, true),
            Outcome::Trouble(text) => (text, None, false),
            Outcome::Suspect(text, tried) => (text, Some(tried), false),
        };
        crate::machine::stop::park_if_stopping();
        edge::say::warning(format!("trouble with machine \"{name}\", attempt {number}: {text}"), None);
        told.push(format!("{name}: {text}"));
        suspects += u32::from(suspect.is_some());
        // what may be the package's doing is not held against the machine
        if suspect.is_none() {
            let package = subject.packages[0].clone();
            if health.failed(name, Trouble { package, opening, message: text }) {
                health.tell_taken_out(name);
                troubles_here = TROUBLES_UNTIL_SPARE;
            }
        }
        if number == first + config.retries {
            match suspect {
                Some(tried) if suspects == config.retries + 1 => return Ok(Some(*tried)),
                _ => break,
            }
        }
        troubles_here += 1;
        if troubles_here >= TROUBLES_UNTIL_SPARE
            && let Some(spare) = machine.next()
        {
            edge::say::warning(format!("going on with \"{spare}\" in place of \"{name}\""), None);
            (name, troubles_here) = (spare, 0);
        }
        std::thread::sleep(Duration::from_secs_f64(wait_s.min(MAX_WAIT_S)));
        wait_s *= 2.0;
    }
    let mut failure =
        Failure::try_again(format!("cannot run {}: trouble with the machine", subject.packages.join(", ")));
    for text in told {
        failure = failure.detail("trouble", text);
    }
    Err(failure.hint("no result was written; try again, or see what vm-snapshot selftest says"))
}

fn once(
    session: &Session,
    variant: Variant,
    machine: &str,
    number: u32,
    learnt: &mut Learnt,
) -> Result<Outcome> {
    let Session { config, loaded, subject, limits, output, .. } = *session;
    let mut seen: Vec<(&Stage, StageSeen)> = Vec::new();
    let mut tried = Tried {
        variant,
        verdict: Verdict::none(),
        docs: Vec::new(),
        adds: Adds::default(),
        built: Vec::new(),
        salvaged: Vec::new(),
        limits: BTreeMap::new(),
        image_id: String::new(),
    };
    for stage in &loaded.recipe.stages {
        let opened = match Opened::open(config, machine, &limits.of_machine(&stage.phases)) {
            Ok(opened) => opened,
            Err(OpenError::Hopeless(failure)) => return Err(failure),
            Err(OpenError::Trouble(text)) => return Ok(Outcome::NotOpened(text)),
        };
        edge::say::detail(format!(
            "{}: {} on {machine}, {}",
            subject.packages.join(", "),
            stage.name,
            opened.testbed.id
        ));
        let word = mark_word();
        let jobs =
            config.jobs.or(opened.testbed.limits.get("cpus").map(|cpus| *cpus as u32)).unwrap_or(1).max(1);
        let places = Places::of(
            &opened.testbed,
            &subject.packages,
            jobs,
            &word,
            Modes {
                observation: session.observation,
                try_anyway: config.try_anyway,
                compile_any: config.compile_any,
            },
        );
        let visit = crate::machine::keyboard::visit(&config.keyboard, stage);
        let mut stage_seen = if visit.before_stage {
            StageSeen { stopped: true, ..StageSeen::default() }
        } else {
            let counter =
                TestCounter::new(&loaded.recipe).map_err(|error| Failure::bug(error.to_string()))?;
            let script = script::script(&loaded.recipe, stage, &places, visit.stop.as_deref());
            stage::run(Order {
                opened: &opened,
                stage,
                script,
                word: &word,
                limits: &|phase| limits.of(phase),
                counter,
            })
        };
        if visit.wanted {
            crate::machine::keyboard::shell(&opened, &loaded.recipe, &places, &stage_seen)?;
            finish(config, opened);
            return Ok(Outcome::Visited);
        }
        bring_home(&opened, &mut stage_seen, &mut tried, output)?;
        let at = End::reached(&stage_seen);
        tried.limits = opened.testbed.limits.clone();
        tried.limits.extend(limits.of(&stage.phases[at]).named());
        tried.image_id.clone_from(&opened.testbed.image_id);
        learnt.note(&stage_seen, &opened);
        let context = record::PhaseContext { machine, variant, attempt: number, package: None };
        record::phases(&stage_seen, &context, &dirs(&seen, &stage_seen), output, learnt)?;
        seen.push((stage, stage_seen));
        let known = Known {
            packages: subject.packages.clone(),
            modules: subject.modules.clone(),
            limits: tried.limits.clone(),
        };
        let stages: Vec<(&Stage, &StageSeen)> = seen.iter().map(|(stage, seen)| (*stage, seen)).collect();
        match verdict::judge(loaded, &known, &stages) {
            Judgement::Trouble(text) => {
                finish(config, opened);
                return Ok(Outcome::Trouble(text));
            }
            Judgement::Verdict(verdict) => tried.verdict = verdict,
        }
        if let Some(text) = seen.last().and_then(|(_, seen)| seen.suspect.clone()) {
            finish(config, opened);
            return Ok(Outcome::Suspect(text, Box::new(tried)));
        }
        if tried.verdict.cause.is_some() {
            if config.keyboard == Keyboard::ShellOnFailure {
                if let Some(blame) = &tried.verdict.blame {
                    edge::say::info(format!("{}: {}", blame.code, blame.message));
                }
                crate::machine::keyboard::shell(&opened, &loaded.recipe, &places, &seen[seen.len() - 1].1)?;
            }
            finish(config, opened);
            break;
        }
        finish(config, opened);
    }
    // the stages that were not come to
    for stage in &loaded.recipe.stages[seen.len()..] {
        let context = record::PhaseContext { machine, variant, attempt: number, package: None };
        record::not_run(stage, &context, learnt);
    }
    Ok(Outcome::Tried(Box::new(tried)))
}

fn finish(config: &Config, opened: Opened) {
    if config.keep {
        edge::say::info(format!("left open: {}", opened.enter_line()));
        edge::say::info(format!("close it with: {}", opened.close_line()));
    }
    opened.close();
}

/// Documents, additions and packages in built form, as the marks tell.
fn bring_home(opened: &Opened, seen: &mut StageSeen, tried: &mut Tried, output: &Output) -> Result<()> {
    let mut salvage = false;
    for mark in seen.marks.clone() {
        salvage |= mark.salvage;
        tried.docs.extend(mark.docs.unwrap_or_default());
        if let Some(adds) = mark.adds {
            tried.adds.executables.extend(adds.executables);
            tried.adds.libraries.extend(adds.libraries);
            tried.adds.man_pages.extend(adds.man_pages);
            tried.adds.modules.extend(adds.modules);
            tried.adds.shared.extend(adds.shared);
        }
        let (Some(package), Some(file)) = (mark.package, mark.file) else { continue };
        if !output.is_of(&package) {
            continue;
        }
        match opened.fetch(&file, MAX_ZIP_BYTES) {
            Ok(zip) if salvage => tried.salvaged.push(output.keep_salvage(&package, &file, &zip)?),
            Ok(zip) => tried.built.push(output.keep_built(&package, &file, &zip)?),
            Err(_) if salvage => {}
            Err(text) => {
                let text = format!("cannot fetch the built package from the machine: {text}");
                seen.trouble.get_or_insert(text);
            }
        }
    }
    Ok(())
}

/// Where the packages are in the machine.
fn dirs(earlier: &[(&Stage, StageSeen)], now: &StageSeen) -> Vec<String> {
    let of = |seen: &StageSeen| seen.marks.iter().filter_map(|mark| mark.dir.clone()).collect::<Vec<_>>();
    let mut dirs = of(now);
    if dirs.is_empty() {
        dirs = earlier.iter().flat_map(|(_, seen)| of(seen)).collect();
    }
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Whether another variant may do better: only where the package itself failed, as it would without something the
/// machine lacks.
pub fn may_do_better(verdict: &Verdict) -> bool {
    matches!(verdict.cause, Some(Cause::Package))
}

/// New for every stage, so that nothing a package prints is taken for a mark.
fn mark_word() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("@downstream {random:016x}")
}

impl Learnt {
    fn note(&mut self, seen: &StageSeen, opened: &Opened) {
        if let Some(version) = seen.marks.iter().find_map(|mark| mark.version.clone()) {
            self.version = version;
        }
        self.image_id.clone_from(&opened.testbed.image_id);
    }
}
