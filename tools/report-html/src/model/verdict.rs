use contract::report::{FlakeRate, State, Trend, Verdict};
use contract::run::{Cause, Outcome, TestFailure};
use std::collections::BTreeSet;

/// What is known around the two states of one package.
#[derive(Debug, Default)]
pub struct Around {
    /// There is an old side at all.
    pub two_sides: bool,
    /// The side's manifest has the package (false also when there is no manifest).
    pub new_expected: bool,
    pub old_expected: bool,
    /// `Some(true)`: proved that nothing it is made from differs (its content, its dependencies' content, image, limits).
    pub same_inputs: Option<bool>,
    /// Its own source is the same on both sides.
    pub same_source: bool,
    pub flake: FlakeRate,
    /// Observations on each side that make a difference by a limit a verdict.
    pub confirm: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub trend: Option<Trend>,
    pub reason: String,
}

/// Judges one package by itself; what follows from the verdict of a dependency is added by the model.
///
/// The order of the rules matters: what contradicts itself is flaky before anything else; a difference counts as regressed or
/// fixed only when chance, limits and surroundings are ruled out.
pub fn judge(old: Option<&State>, new: Option<&State>, around: &Around) -> Judgement {
    match (old, new) {
        (None, None) => is(Verdict::Pending, "not run yet"),
        (Some(_), None) if around.new_expected => is(Verdict::Pending, "the new side has not run it yet"),
        (Some(_), None) => is(Verdict::Gone, "only on the old side"),
        (None, Some(new)) if !around.two_sides => one_side(new),
        (None, Some(new)) => no_old(new, around),
        (Some(old), Some(new)) => both(old, new, around),
    }
}

fn one_side(new: &State) -> Judgement {
    if mixed(new) {
        return is(Verdict::Flaky, format!("contradicts itself: {}", seen(new)));
    }
    match new.outcome {
        Outcome::Pass => is(Verdict::Passing, seen(new)),
        _ if new.cause == Some(Cause::Machine) => {
            is(Verdict::Indeterminate, "trouble of the machine is no verdict")
        }
        _ => is(Verdict::Failing, seen(new)),
    }
}

fn no_old(new: &State, around: &Around) -> Judgement {
    if !around.old_expected {
        return is(Verdict::New, format!("only on the new side ({})", seen(new)));
    }
    match new.outcome {
        Outcome::Pass => is(Verdict::Passing, format!("{}; the old side was not run", seen(new))),
        _ => is(
            Verdict::Pending,
            format!("fails on the new side ({}); the old side has not run it yet", seen(new)),
        ),
    }
}

fn both(old: &State, new: &State, around: &Around) -> Judgement {
    let seen_both = format!("old: {}; new: {}", seen(old), seen(new));
    if mixed(old) || mixed(new) {
        let trend = match (passes(old), passes(new)) {
            ((_, o), (_, n)) if n > o && !mixed(old) => Some(Trend::Worse),
            ((_, o), (_, n)) if n < o && !mixed(new) => Some(Trend::Better),
            _ => None,
        };
        return Judgement { trend, ..is(Verdict::Flaky, format!("contradicts itself ({seen_both})")) };
    }
    let (old_ok, new_ok) = (old.outcome == Outcome::Pass, new.outcome == Outcome::Pass);
    if old_ok && new_ok {
        return is(Verdict::StillPassing, format!("passes on both sides ({seen_both})"));
    }
    if new.cause == Some(Cause::Machine) || old.cause == Some(Cause::Machine) {
        return is(Verdict::Indeterminate, format!("trouble of the machine is no verdict ({seen_both})"));
    }
    if !old_ok && !new_ok {
        let (trend, how) = trend(old, new);
        return Judgement { trend: Some(trend), ..is(Verdict::StillFailing, format!("{how} ({seen_both})")) };
    }
    let failing = if new_ok { old } else { new };
    if let Some(reason) = not_the_change(old, new, failing, around) {
        return reason;
    }
    if new_ok {
        is(Verdict::Fixed, format!("failed before, passes now ({seen_both})"))
    } else {
        is(Verdict::Regressed, format!("passed before, fails now ({seen_both})"))
    }
}

/// Why a difference is not owed to the change, if it is not.
fn not_the_change(old: &State, new: &State, failing: &State, around: &Around) -> Option<Judgement> {
    if around.same_inputs == Some(true) {
        return Some(is(
            Verdict::Flaky,
            "nothing it is made from differs between the sides: neither its content, its dependencies, the image nor the limits",
        ));
    }
    if failing.outcome == Outcome::ArchiveFail && (around.same_source || is_server_trouble(&failing.code)) {
        return Some(is(
            Verdict::Indeterminate,
            "its source was there for one side and not for the other: a matter of the server, not of the change",
        ));
    }
    let (n_old, n_new) = (times(old), times(new));
    if let Some(chance) = chance(old, new, around.flake).filter(|chance| *chance > 0.01) {
        let FlakeRate { runs, odd } = around.flake;
        return Some(is(
            Verdict::Flaky,
            format!(
                "known to disagree with itself in {odd} of {runs} runs: {:.0} % that this difference is chance",
                chance * 100.0
            ),
        ));
    }
    let soft = soft_phrase(failing)?;
    if n_old >= around.confirm && n_new >= around.confirm {
        return None;
    }
    let side = if std::ptr::eq(failing, new) { "new" } else { "old" };
    Some(is(
        Verdict::Indeterminate,
        format!(
            "{} on the {side} side is neither a success nor a failure of the code; seen {n_old} time{} on the old and {n_new} on the new side, {} each would make it a verdict",
            soft,
            if n_old == 1 { "" } else { "s" },
            around.confirm
        ),
    ))
}

/// How likely the observations are if both sides fail equally often, as often as calibration saw.
fn chance(old: &State, new: &State, flake: FlakeRate) -> Option<f64> {
    if flake.odd == 0 || flake.runs == 0 {
        return None;
    }
    let rate = (flake.odd as f64 / flake.runs as f64).clamp(0.0, 1.0);
    let side = |state: &State| {
        let (pass, fail) = passes(state);
        (1.0 - rate).powi(pass as i32) * rate.powi(fail as i32)
    };
    Some(side(old) * side(new))
}

/// Servers come and go without any change of ours.
fn is_server_trouble(code: &str) -> bool {
    matches!(code, "unreachable" | "refused")
}

/// What ended it, where a second look may not confirm it: a limit, or a signal that programs do not send themselves.
fn soft_phrase(state: &State) -> Option<&'static str> {
    match (state.cause.filter(|cause| is_soft(*cause)), state.signal) {
        (Some(cause), _) => Some(cause_phrase(cause)),
        (None, Some(1 | 2 | 9 | 15)) => Some("a signal from outside"),
        _ => None,
    }
}

/// Causes that a second look may not confirm.
pub fn is_soft(cause: Cause) -> bool {
    match cause {
        Cause::Time | Cause::Silence | Cause::Memory | Cause::Log | Cause::Disk | Cause::Processes => true,
        Cause::NetworkDenied | Cause::Machine => true,
        Cause::Package | Cause::Dependency => false,
    }
}

pub fn cause_phrase(cause: Cause) -> &'static str {
    match cause {
        Cause::Package => "a failure of its own",
        Cause::Dependency => "a failing dependency",
        Cause::Time => "the time limit",
        Cause::Silence => "the limit on silence",
        Cause::Memory => "the memory limit",
        Cause::Log => "the limit on its log",
        Cause::Disk => "the disk limit",
        Cause::Processes => "the limit on processes",
        Cause::NetworkDenied => "the refused network",
        Cause::Machine => "trouble of the machine",
    }
}

/// How two failures compare, and a sentence about it.
fn trend(old: &State, new: &State) -> (Trend, String) {
    if soft_phrase(old).is_some() || soft_phrase(new).is_some() {
        return if old.cause == new.cause {
            (Trend::Same, "meets the same limit on both sides".to_owned())
        } else {
            (
                Trend::Changed,
                "fails on both sides, once by a limit: how far it would get is not known".to_owned(),
            )
        };
    }
    if new.outcome != old.outcome {
        let (trend, far) =
            if new.outcome < old.outcome { (Trend::Worse, "less") } else { (Trend::Better, "more") };
        return (trend, format!("fails on both sides, but gets {far} far than before"));
    }
    let (broken, fixed) = test_difference(Some(old), Some(new));
    match (broken.len(), fixed.len()) {
        (0, 0) if old.code == new.code => (Trend::Same, "fails on both sides alike".to_owned()),
        (0, 0) => (Trend::Changed, "fails on both sides, in another way than before".to_owned()),
        (0, fixed) => (Trend::Better, format!("fails on both sides; {fixed} failing tests fewer")),
        (broken, 0) => (Trend::Worse, format!("fails on both sides; {broken} more failing tests")),
        (broken, fixed) => {
            (Trend::Worse, format!("fails on both sides; {broken} other tests fail, {fixed} no longer do"))
        }
    }
}

/// Tests that fail only on the new side, and only on the old side. Empty where one side did not test.
pub fn test_difference(old: Option<&State>, new: Option<&State>) -> (Vec<String>, Vec<String>) {
    let tested = |state: Option<&State>| {
        state.is_some_and(|state| {
            state.tests.as_ref().is_some_and(|tests| matches!(tests.status.as_str(), "passed" | "failed"))
        })
    };
    if !tested(old) || !tested(new) {
        return (Vec::new(), Vec::new());
    }
    let names = |state: Option<&State>| -> BTreeSet<String> {
        let tests = state.and_then(|state| state.tests.as_ref());
        tests.iter().flat_map(|tests| &tests.failures).map(test_name).collect()
    };
    let (old, new) = (names(old), names(new));
    (new.difference(&old).cloned().collect(), old.difference(&new).cloned().collect())
}

fn test_name(failure: &TestFailure) -> String {
    let name = match &failure.name {
        Some(name) => format!("{}: {name}", failure.file),
        None => failure.file.clone(),
    };
    crate::model::facts::first_line(&name)
}

/// Observations of passing and of not passing.
fn passes(state: &State) -> (u32, u32) {
    state.observed.iter().fold((0, 0), |(pass, fail), seen| match seen.outcome {
        Outcome::Pass => (pass + seen.times, fail),
        _ => (pass, fail + seen.times),
    })
}

/// All observations of a side.
pub fn times(state: &State) -> u32 {
    state.observed.iter().map(|seen| seen.times).sum()
}

/// Seen to pass and not to pass, machine trouble apart.
fn mixed(state: &State) -> bool {
    let real = state.observed.iter().filter(|seen| seen.cause != Some(Cause::Machine));
    let (mut pass, mut fail) = (false, false);
    for seen in real {
        if seen.outcome == Outcome::Pass { pass = true } else { fail = true }
    }
    pass && fail
}

/// `passes 3 of 3`, `fails 1 of 1`, `passes 2 of 3`.
fn seen(state: &State) -> String {
    match passes(state) {
        (pass, 0) => format!("passes {pass} of {pass}"),
        (0, fail) => format!("fails {fail} of {fail}"),
        (pass, fail) => format!("passes {pass} of {}", pass + fail),
    }
}

fn is(verdict: Verdict, reason: impl Into<String>) -> Judgement {
    Judgement { verdict, trend: None, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::run::{Observed, Tests};

    fn state(outcome: Outcome, cause: Option<Cause>, times: u32) -> State {
        let text = r#"{"outcome":"pass","wall_s":1,"observed":[]}"#.to_string();
        let mut state: State = serde_json::from_str(&text).unwrap();
        (state.outcome, state.cause) = (outcome, cause);
        state.observed = vec![Observed { outcome, cause, times }];
        state
    }
    fn around() -> Around {
        Around { two_sides: true, new_expected: true, old_expected: true, confirm: 2, ..Around::default() }
    }
    fn verdict(old: Option<&State>, new: Option<&State>, around: &Around) -> Verdict {
        judge(old, new, around).verdict
    }
    const PACKAGE: Option<Cause> = Some(Cause::Package);

    #[test]
    fn plain_cases() {
        let (pass, fail) = (state(Outcome::Pass, None, 1), state(Outcome::BuildFail, PACKAGE, 1));
        let around = around();
        for (old, new, expected) in [
            (Some(&pass), Some(&fail), Verdict::Regressed),
            (Some(&fail), Some(&pass), Verdict::Fixed),
            (Some(&fail), Some(&fail), Verdict::StillFailing),
            (Some(&pass), Some(&pass), Verdict::StillPassing),
            (None, Some(&fail), Verdict::Pending),
            (None, Some(&pass), Verdict::Passing),
            (Some(&pass), None, Verdict::Pending),
            (None, None, Verdict::Pending),
        ] {
            assert_eq!(verdict(old, new, &around), expected);
        }
        let gone = Around { new_expected: false, ..super::tests::around() };
        assert_eq!(verdict(Some(&pass), None, &gone), Verdict::Gone);
        let new = Around { old_expected: false, ..super::tests::around() };
        assert_eq!(verdict(None, Some(&fail), &new), Verdict::New);
        let one = Around { two_sides: false, ..super::tests::around() };
        assert_eq!(verdict(None, Some(&fail), &one), Verdict::Failing);
        assert_eq!(verdict(None, Some(&pass), &one), Verdict::Passing);
    }

    #[test]
    fn a_time_out_is_neither_a_regression_nor_a_success() {
        for cause in [
            Cause::Time,
            Cause::Silence,
            Cause::Memory,
            Cause::Log,
            Cause::Disk,
            Cause::Processes,
            Cause::NetworkDenied,
        ] {
            let around = around();
            let (pass, limit) = (state(Outcome::Pass, None, 1), state(Outcome::TestFail, Some(cause), 1));
            assert_eq!(verdict(Some(&pass), Some(&limit), &around), Verdict::Indeterminate);
            assert_eq!(verdict(Some(&limit), Some(&pass), &around), Verdict::Indeterminate);
            assert_eq!(verdict(Some(&limit), Some(&limit), &around), Verdict::StillFailing);
            // seen often enough on both sides it is one
            let (pass, limit) = (state(Outcome::Pass, None, 2), state(Outcome::TestFail, Some(cause), 2));
            assert_eq!(verdict(Some(&pass), Some(&limit), &around), Verdict::Regressed);
        }
        // nor is what somebody ended from outside
        let (pass, mut ended) = (state(Outcome::Pass, None, 1), state(Outcome::TestFail, PACKAGE, 1));
        ended.signal = Some(15);
        assert_eq!(verdict(Some(&pass), Some(&ended), &around()), Verdict::Indeterminate);
        ended.signal = Some(11);
        assert_eq!(verdict(Some(&pass), Some(&ended), &around()), Verdict::Regressed);
        let machine = state(Outcome::BuildFail, Some(Cause::Machine), 9);
        let pass = state(Outcome::Pass, None, 9);
        assert_eq!(verdict(Some(&pass), Some(&machine), &around()), Verdict::Indeterminate);
    }

    #[test]
    fn chance_is_ruled_out() {
        let (pass, fail) = (state(Outcome::Pass, None, 1), state(Outcome::TestFail, PACKAGE, 1));
        let mut mixed = state(Outcome::Pass, None, 2);
        mixed.observed.push(Observed { outcome: Outcome::TestFail, cause: PACKAGE, times: 1 });
        let judged = judge(Some(&pass), Some(&mixed), &around());
        assert_eq!((judged.verdict, judged.trend), (Verdict::Flaky, Some(Trend::Worse)));
        let same = Around { same_inputs: Some(true), ..around() };
        assert_eq!(verdict(Some(&pass), Some(&fail), &same), Verdict::Flaky);
        // 3 odd of 20 runs: one observation each says little, six on each side say enough
        let flaky = || Around { flake: FlakeRate { runs: 20, odd: 3 }, ..around() };
        assert_eq!(verdict(Some(&pass), Some(&fail), &flaky()), Verdict::Flaky);
        let (pass, fail) = (state(Outcome::Pass, None, 6), state(Outcome::TestFail, PACKAGE, 6));
        assert_eq!(verdict(Some(&pass), Some(&fail), &flaky()), Verdict::Regressed);
    }

    #[test]
    fn a_server_that_is_away_is_not_the_change() {
        let pass = state(Outcome::Pass, None, 1);
        let mut gone = state(Outcome::ArchiveFail, PACKAGE, 1);
        gone.code = "unreachable".to_owned();
        assert_eq!(verdict(Some(&pass), Some(&gone), &around()), Verdict::Indeterminate);
        gone.code = "bad-info".to_owned();
        assert_eq!(verdict(Some(&pass), Some(&gone), &around()), Verdict::Regressed);
        let same = Around { same_source: true, ..around() };
        assert_eq!(verdict(Some(&pass), Some(&gone), &same), Verdict::Indeterminate);
    }

    #[test]
    fn failures_are_compared_test_by_test() {
        let with = |names: &[&str]| {
            let mut state = state(Outcome::TestFail, PACKAGE, 1);
            let failure = |name: &&str| TestFailure {
                file: "t.rkt".to_owned(),
                name: Some((*name).to_owned()),
                message: None,
            };
            let failures = names.iter().map(failure).collect();
            state.tests = Some(Tests { status: "failed".to_owned(), failures, ..Tests::default() });
            state
        };
        let trend = |old: &[&str], new: &[&str]| judge(Some(&with(old)), Some(&with(new)), &around()).trend;
        assert_eq!(trend(&["a"], &["a"]), Some(Trend::Same));
        assert_eq!(trend(&["a"], &["a", "b"]), Some(Trend::Worse));
        assert_eq!(trend(&["a", "b"], &["b"]), Some(Trend::Better));
        assert_eq!(trend(&["a"], &["b"]), Some(Trend::Worse));
        let build = state(Outcome::BuildFail, PACKAGE, 1);
        assert_eq!(judge(Some(&with(&["a"])), Some(&build), &around()).trend, Some(Trend::Worse));
        assert_eq!(judge(Some(&build), Some(&with(&["a"])), &around()).trend, Some(Trend::Better));
    }
}
