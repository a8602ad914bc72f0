use crate::model::facts::outcome_name;
use crate::model::headline::count;
use crate::pages::html::{Html, put};
use contract::report::{Report, Verdict};

/// The report as JUnit XML: each package is a test case of the suite of its verdict. What regressed (or fails, where there is
/// no old side) is a failure; what is no verdict, or known, or failed before, is skipped with its reason.
pub fn junit(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    let known = |entry: &contract::report::Entry| entry.known.is_some();
    let failures = report
        .packages
        .iter()
        .filter(|entry| matches!(entry.verdict, Verdict::Regressed | Verdict::Failing) && !known(entry))
        .count();
    put!(
        h,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"",
        (report.title),
        "\" tests=\"",
        (report.packages.len()),
        "\" failures=\"",
        (failures),
        "\">\n"
    );
    for verdict in Verdict::ALL {
        let times = count(report, verdict);
        if times == 0 {
            continue;
        }
        let fails = matches!(verdict, Verdict::Regressed | Verdict::Failing);
        let skipped = matches!(
            verdict,
            Verdict::Indeterminate
                | Verdict::Flaky
                | Verdict::StillFailing
                | Verdict::Gone
                | Verdict::Pending
        );
        let of = || report.packages.iter().filter(|entry| entry.verdict == verdict);
        let covered = of().filter(|entry| known(entry)).count() as u64;
        let new_failing = if verdict == Verdict::New {
            of().filter(|e| e.new.as_ref().is_some_and(|s| s.outcome != contract::run::Outcome::Pass)).count()
                as u64
        } else {
            0
        };
        let (failed, skip) = match (fails, skipped) {
            (true, _) => (times - covered, covered),
            (_, true) => (0, times),
            _ => (0, new_failing),
        };
        put!(
            h,
            "<testsuite name=\"",
            (verdict.name()),
            "\" tests=\"",
            (times),
            "\" failures=\"",
            (failed),
            "\" errors=\"0\" skipped=\"",
            (skip),
            "\">\n"
        );
        for entry in of() {
            let state = entry.new.as_ref();
            let seconds = state.map_or(0.0, |state| state.wall_s);
            put!(
                h,
                "<testcase classname=\"",
                (verdict.name()),
                "\" name=\"",
                (entry.package),
                "\" time=\"",
                (format!("{seconds:.2}")),
                "\""
            );
            let fails_new =
                verdict == Verdict::New && state.is_some_and(|s| s.outcome != contract::run::Outcome::Pass);
            if fails && !known(entry) {
                let (kind, message) =
                    state.map_or(("", ""), |state| (outcome_name(state.outcome), state.message.as_str()));
                put!(h, "><failure type=\"", (kind), "\" message=\"", (message), "\">", (entry.reason));
                for test in &entry.tests_broken {
                    put!(h, "\n", (test));
                }
                put!(h, "</failure></testcase>\n");
            } else if fails || skipped || fails_new {
                let reason =
                    entry.known.as_ref().map_or(entry.reason.as_str(), |known| known.reason.as_str());
                put!(h, "><skipped message=\"", (crate::input::log::clean_line(reason)), "\"/></testcase>\n");
            } else {
                put!(h, "/>\n");
            }
        }
        put!(h, "</testsuite>\n");
    }
    put!(h, "</testsuites>\n");
    h.into_bytes()
}
