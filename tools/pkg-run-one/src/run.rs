use crate::attempt::{self, Learnt, Session, Tried};
use crate::config::{Config, Job, Keyboard};
use crate::plan::{self, Attempt, RunLimits};
use crate::recipe::Loaded;
use crate::result::output::Output;
use crate::result::record;
use crate::subject::Subject;
use crate::{recipe, subject};
use contract::run::Run;
use edge::{Done, Failure, Result};
use std::time::Instant;

pub fn run(job: Job) -> Result<Done> {
    match job {
        Job::PrintRecipe(name) => edge::out::json_document(&recipe::load(&name)?.recipe)?,
        Job::Run(config) => match &config.replay {
            None => drop(run_one(&config)?),
            Some(path) => return replay(&config, path),
        },
    }
    Ok(Done::All)
}

/// Repeats the run of a bundle; the answer is no when the verdict differs.
fn replay(config: &Config, path: &std::path::Path) -> Result<Done> {
    let bundle = crate::bundle::read(path)?;
    let Some(run) = run_one(&bundle.configure(config))? else { return Ok(Done::All) };
    let then = &bundle.run;
    if run.image_id != then.image_id {
        edge::say::warning(
            "this machine started from something else than the one of the bundle",
            Some("a difference may come from that"),
        );
    }
    let verdict = |run: &Run| (run.outcome, run.cause, run.blame.as_ref().map(|blame| blame.code.clone()));
    if verdict(&run) == verdict(then) {
        edge::say::info("the same verdict as in the bundle");
        Ok(Done::All)
    } else {
        edge::say::info("another verdict than in the bundle");
        Ok(Done::No)
    }
}

/// `None`: there is no result, because only a plan was asked for or a person had the machine.
fn run_one(config: &Config) -> Result<Option<Run>> {
    let clock = Instant::now();
    let loaded = recipe::load(&config.recipe)?;
    check_keyboard(config, &loaded)?;
    check_offers(config, &loaded)?;
    let (subject, foregone) = subject::find(config)?;
    let limits = RunLimits::read(config, &subject.packages)?;
    let attempts = plan::attempts(config)?;
    if config.explain {
        let plan = plan::plan(config, &subject, foregone.as_ref(), &loaded.recipe, &attempts, &limits);
        edge::out::json_document(&plan)?;
        return Ok(None);
    }
    crate::machine::stop::watch();
    let output = Output::open(config, &subject.packages)?;
    let start = record::start(config, &subject, &loaded.recipe.name);
    let run = match foregone {
        Some(foregone) => Some(record::foregone(start, foregone)),
        None => rounds(config, &loaded, &subject, &limits, &output, &attempts, start)?,
    };
    let Some(mut run) = run else { return Ok(None) };
    run.wall_s = (clock.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    for package in &subject.packages {
        if !run.built.iter().any(|built| built.package == *package) {
            output.keep_earlier_docs(package, &mut run)?;
            output.drop_built(package)?;
        }
    }
    output.commit(&run)?;
    if let Some(path) = &config.bundle {
        if run.phases.is_empty() {
            edge::say::warning("no bundle is written: there is nothing to repeat", None);
        } else {
            crate::bundle::write(path, config, &loaded, &limits, &subject, &run)?;
        }
    }
    tell(&run);
    edge::out::json_document(&run)?;
    Ok(Some(run))
}

/// Runs everything as often as asked for. `None`: a person had the machine and there is no result.
fn rounds(
    config: &Config,
    loaded: &Loaded,
    subject: &Subject,
    limits: &RunLimits,
    output: &Output,
    attempts: &[Attempt],
    start: Run,
) -> Result<Option<Run>> {
    let mut learnt = Learnt::default();
    let mut rounds: Vec<Tried> = Vec::new();
    for round in 0..config.repeat {
        let session = Session { config, loaded, subject, limits, output, observation: round + 1 };
        let mut tried: Vec<Tried> = Vec::new();
        for attempt in attempts {
            let first = round * (config.retries + 1) + 1;
            let Some(one) = attempt::variant(&session, attempt, first, &mut learnt)? else { return Ok(None) };
            let go_on = attempt::may_do_better(&one.verdict);
            tried.push(one);
            if !go_on {
                break;
            }
        }
        rounds.extend(record::choose(tried));
    }
    Ok(Some(record::settle(start, rounds, learnt)))
}

fn check_keyboard(config: &Config, loaded: &Loaded) -> Result<()> {
    let (Keyboard::ShellBefore(phase) | Keyboard::ShellAfter(phase)) = &config.keyboard else {
        return Ok(());
    };
    let phases: Vec<&str> =
        loaded.recipe.stages.iter().flat_map(|stage| &stage.phases).map(String::as_str).collect();
    if phases.contains(&phase.as_str()) {
        return Ok(());
    }
    Err(Failure::usage(format!("recipe \"{}\" has no phase \"{phase}\"", loaded.recipe.name))
        .detail("phases", phases.join(", ")))
}

fn check_offers(config: &Config, loaded: &Loaded) -> Result<()> {
    if config.compile_any && !loaded.recipe.offers.iter().any(|mode| mode == "compile-any") {
        return Err(Failure::usage(format!("recipe \"{}\" does not offer compile-any", loaded.recipe.name)));
    }
    Ok(())
}

/// One line for the person who watches.
fn tell(run: &Run) {
    let name = |value: serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    let outcome = name(serde_json::to_value(run.outcome).unwrap_or_default());
    let mut line = format!("{}: {outcome}", run.packages.join(", "));
    if let Some(cause) = run.cause {
        line.push_str(&format!(" ({})", name(serde_json::to_value(cause).unwrap_or_default())));
    }
    if let Some(blame) = &run.blame {
        line.push_str(&format!(": {}: {}", blame.code, blame.message));
    }
    edge::say::info(format!("{line} [{:.1} s]", run.wall_s));
}
