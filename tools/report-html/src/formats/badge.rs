use crate::model::headline::count;
use crate::pages::html::file_name;
use crate::pages::html::{Html, put};
use contract::report::{Entry, Report, Verdict};
use contract::run::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Badges for a README: path and SVG.
pub fn badges(report: &Report) -> Vec<(String, Vec<u8>)> {
    let bad = if report.old.is_some() { Verdict::Regressed } else { Verdict::Failing };
    let broken = count(report, bad);
    let color = if broken > 0 {
        RED
    } else if report.running {
        AMBER
    } else {
        GREEN
    };
    let good = count(report, Verdict::StillPassing)
        + count(report, Verdict::Passing)
        + count(report, Verdict::Fixed);
    let share = format!("{good} of {}", report.packages.len());
    let mut badges = vec![
        (format!("badges/{}.svg", bad.name()), badge(bad.name(), &broken.to_string(), color)),
        ("badges/passing.svg".to_owned(), badge("passing", &share, BLUE)),
    ];
    let standings: BTreeSet<(&str, &str)> = report.packages.iter().map(standing).collect();
    badges.extend(standings.into_iter().map(|(said, color)| (path(said), badge("downstream", said, color))));
    badges
}

/// The badge of each package: its file in `badges/packages`, and the badge that it is another name of. There are as many badges
/// as verdicts, however many packages.
pub fn of_packages(report: &Report) -> BTreeMap<String, String> {
    let names = report
        .packages
        .iter()
        .map(|entry| (format!("{}.svg", file_name(&entry.package)), path(standing(entry).0)));
    names.collect()
}

fn path(standing: &str) -> String {
    format!("badges/is-{}.svg", standing.replace(' ', "-"))
}

/// How a package stands, for those who only want to know whether it works, and its colour.
fn standing(entry: &Entry) -> (&'static str, &'static str) {
    let passes = entry.new.as_ref().map(|state| state.outcome == Outcome::Pass);
    match entry.verdict {
        Verdict::Regressed => ("regressed", RED),
        Verdict::Indeterminate => ("unclear", BLUE),
        Verdict::Flaky => ("flaky", VIOLET),
        Verdict::Fixed => ("fixed", GREEN),
        Verdict::Gone => ("gone", GREY),
        Verdict::Pending => ("not judged yet", GREY),
        _ if passes == Some(true) => ("passing", GREEN),
        _ if passes == Some(false) => ("failing", AMBER),
        _ => ("not run", GREY),
    }
}

const RED: &str = "#b3261e";
const AMBER: &str = "#8a5a00";
const GREEN: &str = "#1a6b3c";
const BLUE: &str = "#1f5fa8";
const VIOLET: &str = "#653a9b";
const GREY: &str = "#56606b";

fn badge(left: &str, right: &str, color: &'static str) -> Vec<u8> {
    // digits and small letters of the font are about 6.6 px wide at 11 px
    let width = |text: &str| text.chars().count() * 67 / 10 + 12;
    let (w1, w2) = (width(left), width(right));
    let mut h = Html::new();
    put!(
        h,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"",
        (w1 + w2),
        "\" height=\"20\" role=\"img\" aria-label=\"",
        (left),
        ": ",
        (right),
        "\">"
    );
    put!(
        h,
        "<title>",
        (left),
        ": ",
        (right),
        "</title><clipPath id=\"r\"><rect width=\"",
        (w1 + w2),
        "\" height=\"20\" rx=\"3\"/></clipPath><g clip-path=\"url(#r)\">"
    );
    put!(
        h,
        "<rect width=\"",
        (w1),
        "\" height=\"20\" fill=\"#3f464d\"/><rect x=\"",
        (w1),
        "\" width=\"",
        (w2),
        "\" height=\"20\" fill=\"",
        (color),
        "\"/></g>"
    );
    put!(
        h,
        "<g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">"
    );
    put!(
        h,
        "<text x=\"",
        (w1 as f64 / 2.0),
        "\" y=\"14\">",
        (left),
        "</text><text x=\"",
        (w1 as f64 + w2 as f64 / 2.0),
        "\" y=\"14\">",
        (right),
        "</text></g></svg>\n"
    );
    h.into_bytes()
}
