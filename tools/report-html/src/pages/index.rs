use crate::input::evidence::Excerpt;
use crate::model::headline::{count, packages};
use crate::model::state_phrase;
use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::refresh;
use crate::pages::regressions::regressions;
use crate::pages::{duration, instant, label, names, package_link, short};
use contract::report::{Entry, Report, Trend, Verdict};
use std::collections::BTreeMap;

/// Rows of a section before it leads to the page of all packages.
const ROWS: usize = 200;
/// The first page: the answer, then regressions with their evidence, then everything else, worst first.
pub fn index(
    report: &Report,
    evidence: &BTreeMap<String, (Excerpt, String)>,
    graph: Option<&Html>,
    watch_s: Option<u32>,
) -> Vec<u8> {
    let watch_s = watch_s.filter(|_| report.running);
    let mut h = Html::new();
    put!(h, "<h1>", (report.headline), "</h1>\n");
    if !report.rest.is_empty() {
        put!(h, "<p class=\"rest\">", (report.rest), "</p>\n");
    }
    stamp(&mut h, report);
    bar(&mut h, report);
    totals(&mut h, report);
    notes(&mut h, report, watch_s);
    if !report.groups.is_empty() {
        regressions(&mut h, report, evidence, graph);
    }
    for verdict in [Verdict::Indeterminate, Verdict::Flaky] {
        section(&mut h, report, verdict, label(verdict), |_| true);
    }
    section(&mut h, report, Verdict::StillFailing, "Already failing, and worse now", |e| {
        e.trend == Some(Trend::Worse)
    });
    section(&mut h, report, Verdict::Fixed, "fixed", |_| true);
    section(&mut h, report, Verdict::New, "new", |_| true);
    section(&mut h, report, Verdict::Gone, "gone", |_| true);
    section(&mut h, report, Verdict::StillFailing, "still failing", |e| e.trend != Some(Trend::Worse));
    section(&mut h, report, Verdict::Pending, "Not judged yet", |e| e.new.is_some());
    changes(&mut h, report);
    for verdict in [Verdict::Passing, Verdict::StillPassing] {
        let passing: Vec<&str> = of(report, verdict).map(|entry| entry.package.as_str()).collect();
        if !passing.is_empty() {
            put!(
                h,
                "<h2 id=\"",
                (verdict.name()),
                "\">",
                (capital(label(verdict))),
                " <span class=\"n\">",
                (passing.len()),
                "</span></h2>\n"
            );
            if passing.len() > 2000 {
                put!(
                    h,
                    "<p><a href=\"packages.html#v=",
                    (verdict.name()),
                    "\">All ",
                    (passing.len()),
                    " of them</a> with times and tests.</p>"
                );
            } else {
                names(&mut h, "", &passing, 60);
            }
        }
    }
    let page = page(&report.title, &report.title, "", Tab::Overview, true, &h);
    match watch_s {
        Some(seconds) => refresh::with(page, seconds),
        None => page,
    }
}

fn of(report: &Report, verdict: Verdict) -> impl Iterator<Item = &Entry> {
    report.packages.iter().filter(move |entry| entry.verdict == verdict)
}

fn stamp(h: &mut Html, report: &Report) {
    put!(h, "<ul class=\"stamp\">");
    if !report.newest.is_empty() {
        put!(
            h,
            "<li>last run <time datetime=\"",
            (report.newest),
            "\">",
            (instant(&report.newest)),
            "</time></li>"
        );
    }
    for side in report.old.iter().chain([&report.new]) {
        put!(
            h,
            "<li>",
            (side.label),
            " side: ",
            (side.results),
            " of ",
            (side.expected),
            " packages run, ",
            (duration(side.wall_s)),
            " of machine time</li>"
        );
    }
    if !report.changed.is_empty() {
        put!(h, "<li>change: ");
        for (n, name) in report.changed.iter().take(5).enumerate() {
            if n > 0 {
                put!(h, ", ");
            }
            package_link(h, report, "", name);
        }
        if report.changed.len() > 5 {
            put!(h, " and <a href=\"about.html#changed\">", (report.changed.len() - 5), " more</a>");
        }
        put!(h, "</li>");
    }
    put!(h, "</ul>\n");
}

/// All packages as one bar, in the order of the verdicts.
fn bar(h: &mut Html, report: &Report) {
    let all = report.packages.len();
    if all == 0 {
        return;
    }
    put!(
        h,
        "<svg class=\"bar\" viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\""
    );
    for (n, (verdict, times)) in counted(report).enumerate() {
        if n > 0 {
            put!(h, ", ");
        }
        put!(h, (times), " ", (label(verdict)));
    }
    put!(h, "\">");
    let seen: Vec<(Verdict, u64)> = counted(report).collect();
    // nothing vanishes: each kind has at least 4 of 1000
    let least = 4.0;
    let share = (1000.0 - least * seen.len() as f64) / all as f64;
    let mut x = 0.0;
    for (verdict, times) in seen {
        let width = least + share * times as f64;
        put!(
            h,
            "<rect class=\"",
            (verdict.name()),
            "\" x=\"",
            (format!("{x:.1}")),
            "\" width=\"",
            (format!("{width:.1}")),
            "\" height=\"14\"/>"
        );
        x += width;
    }
    put!(h, "</svg>\n");
}

fn counted(report: &Report) -> impl Iterator<Item = (Verdict, u64)> {
    Verdict::ALL.into_iter().map(|verdict| (verdict, count(report, verdict))).filter(|(_, times)| *times > 0)
}

fn totals(h: &mut Html, report: &Report) {
    put!(h, "<ul class=\"totals\" aria-label=\"Packages a verdict\">");
    for (verdict, times) in counted(report) {
        put!(
            h,
            "<li class=\"",
            (verdict.name()),
            "\"><a href=\"packages.html#v=",
            (verdict.name()),
            "\"><b>",
            (times),
            "</b><small>",
            (label(verdict)),
            "</small></a></li>"
        );
    }
    put!(h, "</ul>\n");
}

fn notes(h: &mut Html, report: &Report, watch_s: Option<u32>) {
    let unlike: Vec<&str> =
        report.differences.iter().filter(|d| d.unlike).map(|d| d.sentence.as_str()).collect();
    if !unlike.is_empty() {
        put!(
            h,
            "<div class=\"note\" role=\"note\"><strong>The sides are unlike.</strong> What differs below may be owed to this:<ul>"
        );
        for sentence in unlike {
            put!(h, "<li>", (capital(sentence)), ".</li>");
        }
        put!(h, "</ul></div>\n");
    }
    running(h, report, watch_s);
    if !report.notes.is_empty() {
        put!(h, "<div class=\"note\" role=\"note\"><strong>To be looked at</strong><ul>");
        for note in report.notes.iter().take(20) {
            put!(h, "<li>", (capital(&note.message)), ".</li>");
        }
        if report.notes.len() > 20 {
            put!(h, "<li>", (report.notes.len() - 20), " more in report.json.</li>");
        }
        put!(h, "</ul></div>\n");
    }
}

/// How far the run is.
fn running(h: &mut Html, report: &Report, watch_s: Option<u32>) {
    let Some(progress) = report.progress else { return };
    let all = report.packages.len() as u64;
    put!(
        h,
        "<div class=\"note calm\" role=\"note\"><strong>The run is still going.</strong> ",
        (all - count(report, Verdict::Pending)),
        " of ",
        (packages(all)),
        " are judged, ",
        (progress.failing),
        (if progress.failing == 1 { " fails" } else { " fail" }),
        " so far."
    );
    put!(
        h,
        "<progress max=\"",
        (progress.done + progress.left),
        "\" value=\"",
        (progress.done),
        "\" aria-label=\"runs done\"></progress>",
        (progress.done),
        " of ",
        (progress.done + progress.left),
        " runs are done"
    );
    if let Some(seconds) = progress.left_s.filter(|_| progress.left > 0) {
        put!(h, "; at this rate the rest takes ", (about(seconds)));
    }
    put!(h, ".", (watch_s.map(refresh::sentence).unwrap_or_default()), "</div>\n");
}

/// A time that is only estimated.
fn about(seconds: f64) -> String {
    match seconds as u64 {
        0..=59 => "less than a minute".to_owned(),
        60..=5399 => format!("about {} min", (seconds / 60.0).round()),
        _ => format!("about {:.1} h", seconds / 3600.0),
    }
}

fn section(h: &mut Html, report: &Report, verdict: Verdict, title: &str, filter: impl Fn(&Entry) -> bool) {
    let mut entries: Vec<&Entry> = of(report, verdict).filter(|entry| filter(entry)).collect();
    if entries.is_empty() {
        return;
    }
    entries.sort_by(|a, b| b.dependents.cmp(&a.dependents).then(a.package.cmp(&b.package)));
    let id = if title == label(verdict) { verdict.name() } else { "" };
    put!(h, "<h2");
    if !id.is_empty() {
        put!(h, " id=\"", (id), "\"");
    }
    put!(h, ">", (capital(title)), " <span class=\"n\">", (entries.len()), "</span></h2>\n");
    put!(
        h,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"",
        (capital(title)),
        "\"><table class=\"rows\"><thead><tr><th scope=\"col\">Package</th>"
    );
    let two = report.old.is_some();
    if two {
        put!(h, "<th scope=\"col\">Old</th>");
    }
    put!(
        h,
        "<th scope=\"col\">New</th><th scope=\"col\">What it says</th><th scope=\"col\" class=\"num\">Dependents</th></tr></thead><tbody>"
    );
    for entry in entries.iter().take(ROWS) {
        put!(h, "<tr><th scope=\"row\">");
        package_link(h, report, "", &entry.package);
        put!(h, "</th>");
        for (state, side) in [(two.then_some(&entry.old), "old"), (Some(&entry.new), "new")] {
            let Some(state) = state else { continue };
            put!(
                h,
                "<td class=\"st\" data-l=\"",
                (side),
                "\">",
                (state.as_ref().map_or("–".to_owned(), state_phrase)),
                "</td>"
            );
        }
        put!(h, "<td>");
        says(h, entry);
        put!(h, "</td><td class=\"num\" data-l=\"dependents\">", (entry.dependents), "</td></tr>\n");
    }
    put!(h, "</tbody></table></div>\n");
    if entries.len() > ROWS {
        put!(h, "<p><a href=\"packages.html#v=", (verdict.name()), "\">All ", (entries.len()), "</a></p>");
    }
}

/// What one wants to know of a package in a line.
fn says(h: &mut Html, entry: &Entry) {
    let state = match entry.verdict {
        Verdict::Fixed | Verdict::Gone => entry.old.as_ref(),
        _ => entry.new.as_ref().or(entry.old.as_ref()),
    };
    match entry.verdict {
        Verdict::Indeterminate | Verdict::Flaky => put!(h, (entry.reason)),
        _ => {
            if let Some(known) = &entry.known {
                put!(
                    h,
                    "<span class=\"chip pending\">known</span> ",
                    (known.reason),
                    " (",
                    (known.owner),
                    ") "
                );
            }
            if entry.trend == Some(Trend::Worse) || entry.trend == Some(Trend::Better) {
                put!(h, (entry.reason), " ");
            }
            if let Some(state) = state.filter(|state| !state.message.is_empty()) {
                put!(h, "<span class=\"mono\">", (short(&state.message, &entry.package)), "</span>");
            } else if entry.trend.is_none() {
                put!(h, (capital(&entry.reason)));
            }
        }
    }
}

fn changes(h: &mut Html, report: &Report) {
    let changed: Vec<&Entry> = report.packages.iter().filter(|entry| !entry.changes.is_empty()).collect();
    if changed.is_empty() {
        return;
    }
    put!(
        h,
        "<h2 id=\"changes\">Differences beside the verdict <span class=\"n\">",
        (changed.len()),
        "</span></h2>\n<ul>"
    );
    for entry in changed.iter().take(ROWS) {
        put!(h, "<li>");
        package_link(h, report, "", &entry.package);
        put!(h, ": ");
        for (n, change) in entry.changes.iter().enumerate() {
            if n > 0 {
                put!(h, "; ");
            }
            put!(h, (change.message));
        }
        put!(h, "</li>");
    }
    put!(h, "</ul>\n");
    if changed.len() > ROWS {
        put!(
            h,
            "<p class=\"small\">",
            (changed.len() - ROWS),
            " more in <a href=\"report.json\">report.json</a>.</p>"
        );
    }
}

pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
