//! Plots: SVG made here, without a library and without a script.

use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::{duration, package_link};
use contract::report::{Entry, Report, Side, State};

/// Packages in the list of the slowest.
const SLOWEST: usize = 25;
/// Dots of the scatter plot; beyond that only what stands out is drawn.
const DOTS: usize = 3000;

/// Where the time went, how long packages take, and which take longer than before.
pub fn plots(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    put!(h, "<h1>Where the time went</h1>\n");
    phases(&mut h, report);
    histogram(&mut h, report);
    if report.old.is_some() {
        scatter(&mut h, report);
    }
    slowest(&mut h, report);
    page(&report.title, "Plots", "", Tab::Plots, true, &h)
}

fn f(x: f64) -> String {
    format!("{x:.1}")
}

/// Colours of phases; the smallest share the last.
const COLOURS: usize = 7;

/// A bar a side, made of its phases, and the numbers below.
fn phases(h: &mut Html, report: &Report) {
    let sides: Vec<&Side> = report.old.iter().chain([&report.new]).collect();
    let sum = |side: &Side| side.phases_s.values().sum::<f64>();
    let most = sides.iter().map(|side| sum(side)).fold(0.0, f64::max);
    if most <= 0.0 {
        put!(h, "<p class=\"soft\">No phase has run.</p>");
        return;
    }
    let of = |side: &Side, name: &str| side.phases_s.get(name).copied().unwrap_or(0.0);
    let mut names: Vec<&str> =
        sides.iter().flat_map(|side| side.phases_s.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let all = |name: &str| sides.iter().map(|side| of(side, name)).sum::<f64>();
    names.sort_by(|a, b| all(b).total_cmp(&all(a)));
    let colour = |n: usize| format!("p{}", n.min(COLOURS - 1));
    put!(
        h,
        "<h2>By phase</h2><p class=\"soft\">Machine time, summed over all packages.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Machine time by phase\"><svg class=\"plot wide\" viewBox=\"0 0 960 ",
        (sides.len() * 40),
        "\" role=\"img\" aria-label=\"machine time by phase, as in the table below\">"
    );
    for (row, side) in sides.iter().enumerate() {
        let (y, mut x) = (row * 40, 48.0);
        put!(h, "<text x=\"0\" y=\"", (y + 20), "\">", (side.label), "</text>");
        for (n, name) in names.iter().enumerate() {
            let width = of(side, name) / most * 830.0;
            if width >= 0.1 {
                put!(h, "<rect class=\"", (colour(n)), "\" x=\"", (f(x)), "\" y=\"", (y + 2), "\" width=\"");
                put!(h, (f((width - 1.0).max(0.5))), "\" height=\"28\"><title>", (name), " ");
                put!(h, (duration(of(side, name))), "</title></rect>");
            }
            if width >= 70.0 {
                put!(
                    h,
                    "<text class=\"on\" x=\"",
                    (f(x + 8.0)),
                    "\" y=\"",
                    (y + 20),
                    "\">",
                    (name),
                    "</text>"
                );
            }
            x += width;
        }
        put!(h, "<text class=\"soft\" x=\"", (f(x + 8.0)), "\" y=\"", (y + 20), "\">", (duration(sum(side))));
        put!(h, "</text>");
    }
    put!(
        h,
        "</svg></div>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Time by phase\"><table class=\"tight fit\"><thead><tr><th scope=\"col\">Phase</th>"
    );
    for side in &sides {
        put!(h, "<th scope=\"col\" class=\"num\">", (crate::pages::index::capital(&side.label)));
        put!(h, "</th><th scope=\"col\" class=\"num\">Share</th>");
    }
    put!(h, "</tr></thead><tbody>");
    for (n, name) in names.iter().enumerate() {
        put!(
            h,
            "<tr><th scope=\"row\"><svg class=\"dot\" viewBox=\"0 0 10 10\" aria-hidden=\"true\"><rect class=\""
        );
        put!(h, (colour(n)), "\" width=\"10\" height=\"10\" rx=\"2\"/></svg>", (name), "</th>");
        for side in &sides {
            put!(h, "<td class=\"num\">", (duration(of(side, name))), "</td><td class=\"num soft\">");
            put!(h, (format!("{:.0}", of(side, name) / sum(side).max(1e-9) * 100.0)), " %</td>");
        }
        put!(h, "</tr>");
    }
    put!(h, "</tbody></table></div>\n");
}

/// How many packages take how long, on each side: classes that double.
fn histogram(h: &mut Html, report: &Report) {
    const EDGES: [f64; 13] = [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    let counted = |state: fn(&Entry) -> Option<&State>| {
        let mut counts = [0u32; EDGES.len() + 1];
        for state in report.packages.iter().filter_map(state).filter(|state| state.wall_s > 0.0) {
            counts[EDGES.iter().position(|edge| state.wall_s < *edge).unwrap_or(EDGES.len())] += 1;
        }
        counts
    };
    let (old, new) = (counted(|entry| entry.old.as_ref()), counted(|entry| entry.new.as_ref()));
    let most = old.iter().chain(&new).copied().max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let sides = [("old", old, "soft-bar"), ("new", new, "p0")];
    let sides: Vec<_> = sides.into_iter().filter(|(_, counts, _)| counts.iter().any(|n| *n > 0)).collect();
    put!(
        h,
        "<h2>How long a package takes</h2>\n<p class=\"soft\">Packages a class of time; each class is about twice as long as the one before.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"How long a package takes\"><svg class=\"plot wide\" viewBox=\"0 0 960 230\" role=\"img\" aria-label=\""
    );
    for (label, counts, _) in &sides {
        for (n, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            put!(h, (label), ": ", (count), " ", (class_name(&EDGES, n)), "; ");
        }
    }
    put!(h, "\"><line class=\"axis\" x1=\"10\" x2=\"950\" y1=\"190\" y2=\"190\"/>");
    let width = 58.0 / sides.len() as f64;
    for (at, (label, counts, class)) in sides.iter().enumerate() {
        for (n, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let x = 14.0 + n as f64 * 67.0 + at as f64 * width;
            let height = (f64::from(*count) / f64::from(most) * 160.0).max(2.0);
            put!(
                h,
                "<rect class=\"",
                (class),
                "\" x=\"",
                (f(x)),
                "\" y=\"",
                (f(190.0 - height)),
                "\" width=\""
            );
            put!(
                h,
                (f(width - 2.0)),
                "\" height=\"",
                (f(height)),
                "\" rx=\"2\"><title>",
                (label),
                ": ",
                (count)
            );
            put!(h, " ", (class_name(&EDGES, n)), "</title></rect><text x=\"", (f(x + width / 2.0 - 1.0)));
            put!(h, "\" y=\"", (f(184.0 - height)), "\" text-anchor=\"middle\">", (count), "</text>");
        }
        let x = 14 + at * 70;
        put!(
            h,
            "<rect class=\"",
            (class),
            "\" x=\"",
            (x),
            "\" y=\"0\" width=\"11\" height=\"11\" rx=\"2\"/><text x=\""
        );
        put!(h, (x + 17), "\" y=\"10\">", (label), "</text>");
    }
    for (n, edge) in EDGES.iter().enumerate() {
        put!(
            h,
            "<text class=\"soft\" x=\"",
            (f(77.0 + n as f64 * 67.0)),
            "\" y=\"208\" text-anchor=\"middle\">"
        );
        put!(h, (short(*edge)), "</text>");
    }
    put!(h, "</svg></div>\n");
}

fn class_name(edges: &[f64], n: usize) -> String {
    match n {
        0 => format!("under {}", short(edges[0])),
        n if n == edges.len() => format!("over {}", short(edges[n - 1])),
        n => format!("from {} to {}", short(edges[n - 1]), short(edges[n])),
    }
}

fn short(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds}\u{a0}s")
    } else if seconds < 3600.0 {
        format!("{}\u{a0}min", seconds / 60.0)
    } else {
        format!("{}\u{a0}h", seconds / 3600.0)
    }
}

fn ran(report: &Report) -> impl Iterator<Item = (&Entry, &State)> {
    report
        .packages
        .iter()
        .filter_map(|entry| Some((entry, entry.new.as_ref().filter(|state| state.wall_s > 0.0)?)))
}

/// Old against new time, both on a logarithmic scale: above the line it takes longer now.
fn scatter(h: &mut Html, report: &Report) {
    let mut dots: Vec<(f64, f64, &Entry)> = ran(report)
        .filter_map(|(entry, new)| {
            let old = entry.old.as_ref().filter(|old| old.wall_s > 0.0 && old.outcome == new.outcome)?;
            Some((old.wall_s, new.wall_s, entry))
        })
        .collect();
    if dots.len() < 3 {
        return;
    }
    let all = dots.len();
    let ratio = |dot: &(f64, f64, &Entry)| (dot.1 / dot.0).ln().abs();
    dots.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)).then(a.2.package.cmp(&b.2.package)));
    dots.truncate(DOTS);
    let values = || dots.iter().flat_map(|dot| [dot.0, dot.1]);
    let low = values().fold(f64::MAX, f64::min).max(0.01);
    let high = values().fold(0.0, f64::max).max(low * 1.01);
    let place = |seconds: f64| (seconds.max(low) / low).ln() / (high / low).ln();
    let (x, y) = (|s: f64| 60.0 + place(s) * 480.0, |s: f64| 330.0 - place(s) * 300.0);
    put!(
        h,
        "<h2>Time before and after</h2><p class=\"soft\">One dot a package with the same outcome on both sides; above the line it takes longer now. Both scales are logarithmic."
    );
    if all > DOTS {
        put!(h, " The ", (DOTS), " that moved most of ", (all), ".");
    }
    put!(
        h,
        "</p>\n<div class=\"sides\"><svg class=\"plot square\" viewBox=\"0 0 570 380\" role=\"img\" aria-label=\"old time against new time; the packages that moved most are in the table below\">"
    );
    put!(
        h,
        "<line class=\"axis\" x1=\"60\" y1=\"330\" x2=\"540\" y2=\"330\"/><line class=\"axis\" x1=\"60\" y1=\"30\" x2=\"60\" y2=\"330\"/><line class=\"axis\" x1=\"60\" y1=\"330\" x2=\"540\" y2=\"30\"/>"
    );
    for tick in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
        .into_iter()
        .filter(|tick| (low..=high).contains(tick))
    {
        put!(
            h,
            "<line class=\"grid\" y1=\"30\" y2=\"330\" x1=\"",
            (f(x(tick))),
            "\" x2=\"",
            (f(x(tick))),
            "\"/>"
        );
        put!(
            h,
            "<line class=\"grid\" x1=\"60\" x2=\"540\" y1=\"",
            (f(y(tick))),
            "\" y2=\"",
            (f(y(tick))),
            "\"/>"
        );
        put!(
            h,
            "<text class=\"soft\" x=\"",
            (f(x(tick))),
            "\" y=\"348\" text-anchor=\"middle\">",
            (tick),
            " s</text>"
        );
        put!(
            h,
            "<text class=\"soft\" x=\"54\" y=\"",
            (f(y(tick) + 4.0)),
            "\" text-anchor=\"end\">",
            (tick),
            " s</text>"
        );
    }
    put!(
        h,
        "<text x=\"300\" y=\"370\" text-anchor=\"middle\">time on the old side</text><text x=\"8\" y=\"18\">time on the new side</text>"
    );
    for (old, new, entry) in &dots {
        put!(
            h,
            "<circle class=\"p0\" fill-opacity=\".6\" cx=\"",
            (f(x(*old))),
            "\" cy=\"",
            (f(y(*new))),
            "\" r=\"3\"><title>",
            (entry.package),
            "</title></circle>"
        );
    }
    put!(h, "</svg>\n");
    let moved: Vec<_> = dots.iter().filter(|(old, new, _)| (old - new).abs() > 1.0).take(15).collect();
    if !moved.is_empty() {
        put!(
            h,
            "<table class=\"tight\"><caption>Moved most</caption><thead><tr><th scope=\"col\">Package</th><th scope=\"col\" class=\"num\">Old</th><th scope=\"col\" class=\"num\">New</th></tr></thead><tbody>"
        );
        for (old, new, entry) in moved {
            put!(h, "<tr><th scope=\"row\">");
            package_link(h, report, "", &entry.package);
            put!(
                h,
                "</th><td class=\"num\">",
                (duration(*old)),
                "</td><td class=\"num\">",
                (duration(*new)),
                "</td></tr>"
            );
        }
        put!(h, "</tbody></table>\n");
    }
    put!(h, "</div>\n");
}

fn slowest(h: &mut Html, report: &Report) {
    let mut all: Vec<(&Entry, &State)> = ran(report).collect();
    all.sort_by(|a, b| b.1.wall_s.total_cmp(&a.1.wall_s).then(a.0.package.cmp(&b.0.package)));
    let Some((_, first)) = all.first() else { return };
    let most = first.wall_s;
    put!(
        h,
        "<h2>Slowest packages</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Slowest packages\"><table data-sort><thead><tr><th scope=\"col\">Package</th><th scope=\"col\" class=\"num\">Time</th><th scope=\"col\"><span class=\"vh\">Bar</span></th><th scope=\"col\" class=\"num\">Peak memory</th></tr></thead><tbody>"
    );
    for (entry, state) in all.into_iter().take(SLOWEST) {
        put!(h, "<tr><th scope=\"row\">");
        package_link(h, report, "", &entry.package);
        put!(
            h,
            "</th><td class=\"num\" data-k=\"",
            (f(state.wall_s)),
            "\">",
            (duration(state.wall_s)),
            "</td><td data-k=\"\"><svg class=\"line\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"",
            (entry.verdict.name()),
            "\" width=\"",
            (f(state.wall_s / most * 100.0)),
            "\" height=\"8\"/></svg></td><td class=\"num\" data-k=\"",
            (state.peak_memory_mb.unwrap_or(0.0)),
            "\">"
        );
        if let Some(mb) = state.peak_memory_mb {
            put!(h, (format!("{mb:.0}")), " MiB");
        }
        put!(h, "</td></tr>");
    }
    put!(h, "</tbody></table></div>\n");
}
