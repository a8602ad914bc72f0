use crate::input::evidence::{Excerpt, LogPage};
use crate::model::facts::outcome_name;
use crate::model::state_phrase;
use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, file_name, put};
use crate::pages::index::capital;
use crate::pages::phases::{phases, time};
use crate::pages::regressions::lines;
use crate::pages::{chip, duration, instant, limits, names, package_link, shell_line, short};
use contract::report::{Entry, Past, Report, State};
use contract::run::Run;
use std::collections::BTreeMap;

/// What was read for one side of a package's page.
#[derive(Debug, Default)]
pub struct SideView {
    pub run: Option<Run>,
    pub excerpt: Option<Excerpt>,
    /// Logs that have a page.
    pub logs: Vec<LogPage>,
    /// Documents that are somewhere, by name: their address.
    pub documents: BTreeMap<String, String>,
}

/// Everything about one package: both sides, its evidence, how to repeat it, who depends on it.
pub fn package(
    report: &Report,
    entry: &Entry,
    old: &SideView,
    new: &SideView,
    depends: &Neighbours,
) -> Vec<u8> {
    let root = "../";
    let mut h = Html::new();
    put!(h, "<h1>", (entry.package), " ");
    chip(&mut h, entry.verdict);
    put!(h, "</h1>\n<p>", (capital(&entry.reason)), ".</p>\n");
    explain(&mut h, report, entry, root);
    evidence(&mut h, entry, old, new, root);
    put!(h, "<div class=\"sides\">\n");
    let longest = [old, new]
        .iter()
        .filter_map(|view| view.run.as_ref())
        .map(|run| time(&run.phases))
        .fold(0.0, f64::max);
    side(&mut h, report, "new", entry.new.as_ref(), new, longest, root);
    if report.old.is_some() {
        side(&mut h, report, "old", entry.old.as_ref(), old, longest, root);
    }
    put!(h, "</div>\n");
    test_lists(&mut h, entry);
    put!(
        h,
        "<h2 id=\"dependents\">Packages that depend on it <span class=\"n\">",
        (entry.dependents),
        " in all, ",
        (depends.dependents.len()),
        " directly</span></h2>\n"
    );
    names(&mut h, root, &depends.dependents, 60);
    put!(
        h,
        "<h2 id=\"dependencies\">Its direct dependencies among the packages of this run <span class=\"n\">",
        (depends.dependencies.len()),
        "</span></h2>\n"
    );
    names(&mut h, root, &depends.dependencies, 60);
    page(&report.title, &entry.package, root, Tab::None, false, &h)
}

/// Verdicts of earlier reports, oldest first, a little field each. No text, so that a search finds packages by what they are.
pub fn strip(h: &mut Html, history: &[Past]) {
    let said = |past: &Past| format!("{}: {}", instant(&past.at), crate::pages::label(past.verdict));
    let all: Vec<String> = history.iter().map(said).collect();
    put!(h, "<span class=\"strip\" role=\"img\" aria-label=\"earlier: ", (all.join(", ")), "\">");
    for (past, said) in history.iter().zip(&all) {
        put!(h, "<i class=\"", (past.verdict.name()), "\" title=\"", (said), "\"></i>");
    }
    put!(h, "</span>");
}

/// Direct neighbours in the graph of dependencies, by name.
#[derive(Debug, Default)]
pub struct Neighbours<'a> {
    pub dependencies: Vec<&'a str>,
    pub dependents: Vec<&'a str>,
}

/// What it says where it fails, the new side first; an old failure that says the same is not told twice.
fn evidence(h: &mut Html, entry: &Entry, old: &SideView, new: &SideView, root: &'static str) {
    let mut told = "";
    for (label, state, view) in [("new", &entry.new, new), ("old", &entry.old, old)] {
        let Some(state) = state.as_ref().filter(|state| !state.message.is_empty()) else { continue };
        if state.message == told {
            continue;
        }
        told = &state.message;
        put!(
            h,
            "<section class=\"card fail\"><header><h2 class=\"telling\">",
            (short(&state.message, &entry.package))
        );
        put!(h, "</h2><span class=\"meta\">", (label), " side</span></header>\n");
        if let Some(excerpt) = &view.excerpt {
            lines(h, excerpt, root);
        }
        put!(h, "</section>\n");
    }
}

fn explain(h: &mut Html, report: &Report, entry: &Entry, root: &'static str) {
    put!(h, "<dl class=\"facts\">");
    if let Some(group) =
        entry.group.as_ref().and_then(|id| report.groups.iter().find(|group| group.id == *id))
    {
        put!(h, "<dt>First cause</dt><dd><a href=\"", (root), "index.html#", (group.id), "\">");
        put!(h, (group.example), ": ", (short(&group.title, &group.example)), "</a></dd>");
    }
    if entry.changed {
        put!(h, "<dt>Change</dt><dd>this package itself differs between the sides</dd>");
    }
    if !entry.suspects.is_empty() {
        put!(h, "<dt>Changed packages it depends on</dt><dd>");
        for (n, name) in entry.suspects.iter().enumerate() {
            if n > 0 {
                put!(h, ", ");
            }
            package_link(h, report, root, name);
        }
        put!(h, "</dd>");
    }
    if let Some(known) = &entry.known {
        put!(
            h,
            "<dt>Known failure</dt><dd>",
            (known.reason),
            " (",
            (known.owner),
            ", ",
            (known.date),
            ", until ",
            (known.expires),
            ")</dd>"
        );
    }
    if let Some(flake) = &entry.flake {
        put!(
            h,
            "<dt>Calibration</dt><dd>",
            (flake.odd),
            " of ",
            (flake.runs),
            " runs of the same inputs went the other way</dd>"
        );
    }
    if let Some(author) = &entry.author {
        put!(h, "<dt>Author</dt><dd>", (crate::input::log::clean_line(author)), "</dd>");
    }
    put!(
        h,
        "<dt>Badge</dt><dd><a href=\"",
        (root),
        "badges/packages/",
        (file_name(&entry.package)),
        ".svg\">SVG</a></dd>"
    );
    for change in &entry.changes {
        put!(h, "<dt>", (capital(&change.code.replace('-', " "))), "</dt><dd>", (change.message), "</dd>");
    }
    if !entry.history.is_empty() {
        put!(h, "<dt>Earlier reports</dt><dd>");
        strip(h, &entry.history);
        put!(h, "</dd>");
    }
    put!(h, "</dl>\n");
}

#[allow(clippy::too_many_arguments)]
fn side(
    h: &mut Html,
    report: &Report,
    label: &'static str,
    state: Option<&State>,
    view: &SideView,
    longest: f64,
    root: &'static str,
) {
    let class = match state {
        None => "not-run",
        Some(state) if state.outcome == contract::run::Outcome::Pass => "ok",
        Some(_) => "fail",
    };
    put!(
        h,
        "<section class=\"card ",
        (class),
        "\" id=\"",
        (label),
        "\"><header><h2>",
        (capital(label)),
        " side</h2>"
    );
    let Some(state) = state else {
        put!(h, "</header><p class=\"soft\">No result.</p></section>\n");
        return;
    };
    put!(h, "<span class=\"chip ", (class), "\">", (state_phrase(state)), "</span></header>\n");
    put!(h, "<dl class=\"facts\">");
    if state.chain.len() > 1 {
        put!(h, "<dt>Blame</dt><dd>");
        for (n, name) in state.chain.iter().enumerate() {
            if n > 0 {
                put!(h, " → ");
            }
            package_link(h, report, root, name);
        }
        put!(h, "</dd>");
    }
    if !state.code.is_empty() {
        put!(h, "<dt>Kind</dt><dd>", (state.code));
        if let Some(file) = &state.file {
            put!(h, " in <code>", (file));
            if let Some(line) = state.line {
                put!(h, ":", (line));
            }
            put!(h, "</code>");
        }
        put!(h, "</dd>");
    }
    if !state.cycle.is_empty() {
        put!(h, "<dt>Cycle</dt><dd>built and judged together: ", (state.cycle.join(", ")), "</dd>");
    }
    if let Some(tests) = &state.tests {
        put!(h, "<dt>Tests</dt><dd>", (crate::pages::tests(tests)), "</dd>");
    }
    let seen: Vec<String> = state
        .observed
        .iter()
        .map(|seen| format!("{} × {}", seen.times, outcome_name(seen.outcome)))
        .collect();
    put!(h, "<dt>Seen</dt><dd>", (seen.join(", ")), "</dd>");
    put!(h, "<dt>Time</dt><dd>", (duration(state.wall_s)));
    if let Some(mb) = state.peak_memory_mb {
        put!(h, ", at most ", (format!("{mb:.0}")), " MiB");
    }
    put!(h, "</dd>");
    if let Some(run) = &view.run {
        run_facts(h, run, view);
    }
    put!(h, "</dl>\n");
    // that it has no tests stands with the tests
    for finding in state.findings.iter().filter(|finding| finding.code != "no-tests") {
        put!(
            h,
            "<div class=\"note\"><strong>",
            (capital(&finding.code.replace('-', " "))),
            ".</strong> ",
            (crate::model::facts::first_line(&finding.message)),
            "</div>"
        );
    }
    if let Some(run) = &view.run {
        phases(h, run, &view.logs, longest, root);
        if !run.command.is_empty() {
            put!(
                h,
                "<h3>Repeat it</h3>\n<pre class=\"cmd\" role=\"group\" tabindex=\"0\" aria-label=\"command\">",
                (shell_line(&run.command)),
                "</pre>"
            );
        }
    }
    put!(h, "</section>\n");
}

fn run_facts(h: &mut Html, run: &Run, view: &SideView) {
    if !run.limits.is_empty() {
        put!(h, "<dt>Limits</dt><dd>", (limits(&run.limits)), "</dd>");
    }
    for (package, source) in &run.source {
        let checksum = run.checksum.get(package).map_or("", |sum| sum.get(..12).unwrap_or(sum));
        put!(h, "<dt>Source</dt><dd>", (crate::input::log::clean_line(source)));
        if !checksum.is_empty() {
            put!(h, " <code>", (checksum), "</code>");
        }
        put!(h, "</dd>");
    }
    if !run.docs.is_empty() {
        put!(h, "<dt>Documents</dt><dd>");
        for (n, doc) in run.docs.iter().enumerate() {
            if n > 0 {
                put!(h, ", ");
            }
            let name = crate::input::log::clean_line(&doc.name);
            match view.documents.get(&doc.name) {
                Some(href) => put!(h, "<a href=\"", (href), "\">", (name), "</a>"),
                None => put!(h, (name)),
            }
            match doc.status.as_str() {
                "main" => {}
                "extract" => put!(h, " (rendered with problems)"),
                "salvage" => put!(h, " (from an earlier run)"),
                "none" => put!(h, " (not rendered)"),
                other => put!(h, " (", (other), ")"),
            }
        }
        put!(h, "</dd>");
    }
    for (name, items) in [
        ("Programs", &run.adds.executables),
        ("Libraries", &run.adds.libraries),
        ("Man pages", &run.adds.man_pages),
    ] {
        if !items.is_empty() {
            put!(
                h,
                "<dt>",
                (name),
                "</dt><dd>",
                (crate::model::differences::some(items.iter(), 20)),
                "</dd>"
            );
        }
    }
    if !run.started.is_empty() {
        put!(h, "<dt>Started</dt><dd>", (instant(&run.started)), "</dd>");
    }
}

fn test_lists(h: &mut Html, entry: &Entry) {
    for (tests, title) in [
        (&entry.tests_broken, "Tests that fail on the new side only"),
        (&entry.tests_fixed, "Tests that fail on the old side only"),
    ] {
        if !tests.is_empty() {
            put!(h, "<h2>", (title), " <span class=\"n\">", (tests.len()), "</span></h2><ul>");
            for test in tests.iter().take(500) {
                put!(h, "<li class=\"mono\">", (test), "</li>");
            }
            put!(h, "</ul>");
        }
    }
    let failures = entry.new.iter().flat_map(|state| state.tests.iter().flat_map(|tests| &tests.failures));
    let rows: Vec<_> = failures.filter(|failure| failure.message.is_some()).take(200).collect();
    if !rows.is_empty() {
        put!(
            h,
            "<h2>Failing tests of the new side</h2><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Failing tests\"><table><tbody>"
        );
        for failure in rows {
            put!(
                h,
                "<tr><th scope=\"row\" class=\"mono\">",
                (crate::input::log::clean_line(&failure.file)),
                "</th><td>",
                (failure.name.as_deref().map(crate::model::facts::first_line).unwrap_or_default()),
                "</td><td class=\"msg\">",
                (failure.message.as_deref().map(crate::model::facts::first_line).unwrap_or_default()),
                "</td></tr>"
            );
        }
        put!(h, "</tbody></table></div>");
    }
}
