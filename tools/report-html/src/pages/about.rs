use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::index::capital;
use crate::pages::{chip, duration, instant, limits, names};
use contract::report::{Report, Side, Verdict};
use std::collections::BTreeSet;

const MEANINGS: [(Verdict, &str); 11] = [
    (
        Verdict::Regressed,
        "Passed on the old side and fails on the new one; neither chance, limits nor surroundings explain it.",
    ),
    (Verdict::Failing, "Fails; there is no old side to compare with."),
    (
        Verdict::Indeterminate,
        "The sides differ, but only by a limit, the refused network, a source server or a machine, seen too seldom to be a verdict. A time-out is neither a regression nor a success.",
    ),
    (
        Verdict::Flaky,
        "Was seen to pass and to fail on the same side, or differs though nothing it is made from does.",
    ),
    (
        Verdict::StillFailing,
        "Fails on both sides: not the change. Whether it got worse or better is told by how far it gets and by its failing tests.",
    ),
    (Verdict::New, "Only on the new side."),
    (Verdict::Fixed, "Failed on the old side and passes on the new one."),
    (Verdict::Passing, "Passes; the old side was not run."),
    (Verdict::StillPassing, "Passes on both sides."),
    (Verdict::Gone, "Only on the old side."),
    (Verdict::Pending, "A side has not run it yet."),
];

/// What the run was, and what the words and colours mean.
pub fn about(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    put!(h, "<h1>About this run</h1>\n<div class=\"sides\">");
    for side in report.old.iter().chain([&report.new]) {
        about_side(&mut h, side);
    }
    put!(h, "</div>\n");
    if !report.differences.is_empty() {
        put!(h, "<h2 id=\"differences\">In what the sides differ</h2>\n<ul>");
        for difference in &report.differences {
            put!(h, "<li>", (capital(&difference.sentence)), ".");
            if difference.unlike {
                put!(h, " <strong>This weakens the comparison.</strong>");
            }
            put!(h, "</li>");
        }
        put!(h, "</ul>\n");
    }
    if !report.changed.is_empty() {
        put!(
            h,
            "<h2 id=\"changed\">Changed packages <span class=\"n\">",
            (report.changed.len()),
            "</span></h2>\n"
        );
        let changed: Vec<&str> = report.changed.iter().map(String::as_str).collect();
        names(&mut h, "", &changed, 300);
    }
    put!(h, "<h2 id=\"words\">What the words mean</h2>\n<dl class=\"facts\">");
    for (verdict, meaning) in MEANINGS {
        put!(h, "<dt>");
        chip(&mut h, verdict);
        put!(h, "</dt><dd>", (meaning), "</dd>");
    }
    put!(
        h,
        "</dl>\n<p>How far a package gets: archive-fail (no source), dependency-fail (a dependency has no built form: nothing was tried), install-fail, build-fail, test-fail, pass. "
    );
    put!(
        h,
        "Whose fault it is stands beside it: the package, a dependency, a limit, the refused network.</p>\n"
    );
    put!(
        h,
        "<p>Regressions with one first cause are one entry: the package that failed first, with what falls with it, and packages that fail with the same words. Each package is counted once.</p>\n"
    );
    put!(
        h,
        "<p>Logs come from the packages under test. Terminal escapes are taken out, control characters made visible, and long logs shown at both ends.</p>\n"
    );
    page(&report.title, "About this run", "", Tab::About, false, &h)
}

fn about_side(h: &mut Html, side: &Side) {
    put!(h, "<section class=\"card\"><h2>", (capital(&side.label)), " side</h2><dl class=\"facts\">");
    let mut row = |name: &'static str, value: String| {
        if !value.is_empty() {
            put!(h, "<dt>", (name), "</dt><dd>", (value), "</dd>");
        }
    };
    row(
        "Packages",
        match side.in_installation {
            0 => format!("{} of {} run", side.results, side.expected),
            n => format!(
                "{} of {} run; not counted: {n} that the installation carries",
                side.results, side.expected
            ),
        },
    );
    let outcomes: Vec<String> = side.outcomes.iter().map(|(name, times)| format!("{times} {name}")).collect();
    row("Outcomes", outcomes.join(", "));
    row("Catalog", clean(&side.catalog_ids));
    row("Image", clean(&side.image_ids));
    row("Language version", clean(&side.versions));
    row("Recipe", clean(&side.recipes));
    row("Limits", side.limits.iter().map(limits).collect::<Vec<_>>().join("; or "));
    let machines: Vec<String> =
        side.machines.iter().map(|(name, times)| format!("{name} ({times} phases)")).collect();
    row("Machines", machines.join(", "));
    if !side.first.is_empty() {
        row("Runs", format!("started from {} to {}", instant(&side.first), instant(&side.last)));
    }
    row("Machine time", duration(side.wall_s));
    let phases: Vec<String> =
        side.phases_s.iter().map(|(phase, s)| format!("{phase} {}", duration(*s))).collect();
    row("Of that", phases.join(", "));
    put!(h, "</dl></section>\n");
}

fn clean(values: &BTreeSet<String>) -> String {
    values.iter().map(|value| crate::input::log::clean_line(value)).collect::<Vec<_>>().join(", ")
}
