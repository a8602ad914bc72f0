use crate::model::headline::count;
use crate::pages::html::{Html, put};
use contract::report::{Report, Verdict};

/// Badges for a README: path and SVG.
pub fn badges(report: &Report) -> Vec<(String, Vec<u8>)> {
    let bad = if report.old.is_some() { Verdict::Regressed } else { Verdict::Failing };
    let broken = count(report, bad);
    let color = if broken > 0 {
        "#b3261e"
    } else if report.running {
        "#8a5a00"
    } else {
        "#1a6b3c"
    };
    let good = count(report, Verdict::StillPassing)
        + count(report, Verdict::Passing)
        + count(report, Verdict::Fixed);
    let share = format!("{good} of {}", report.packages.len());
    let grey = "#1f5fa8";
    vec![
        (format!("badges/{}.svg", bad.name()), badge(bad.name(), &broken.to_string(), color)),
        ("badges/passing.svg".to_owned(), badge("passing", &share, grey)),
    ]
}

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
