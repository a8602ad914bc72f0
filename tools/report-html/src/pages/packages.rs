use crate::model::facts::outcome_name;
use crate::model::headline::count;
use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::package::strip;
use crate::pages::{chip, label, package_href, short};
use contract::report::{Report, Verdict};

/// Rows that the browser lays out together, or not at all while they are out of sight.
const PART: usize = 200;

/// Earlier verdicts in a row.
const PAST: usize = 12;

/// One row for each package, worst verdict first, then by name.
pub fn packages(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    put!(
        h,
        "<h1>All packages</h1>\n<div class=\"tools\" data-tools=\"all\" hidden><label>Find <input type=\"search\" placeholder=\"name, outcome or message\"></label> <kbd title=\"leads to the search\">/</kbd> <label>Verdict <select><option value=\"\">any</option>"
    );
    for verdict in Verdict::ALL {
        let times = count(report, verdict);
        if times > 0 {
            put!(
                h,
                "<option value=\"",
                (verdict.name()),
                "\">",
                (label(verdict)),
                " (",
                (times),
                ")</option>"
            );
        }
    }
    put!(h, "</select></label> <output aria-live=\"polite\"></output></div>\n");
    put!(
        h,
        "<table class=\"all\" id=\"all\" data-sort><thead><tr><th scope=\"col\">Package</th><th scope=\"col\" data-by=\"number\">Verdict</th><th scope=\"col\">Old</th><th scope=\"col\">New</th><th scope=\"col\">What it says</th><th scope=\"col\" class=\"num\">Dependents</th></tr></thead>\n"
    );
    let with_history = report.packages.iter().any(|entry| !entry.history.is_empty());
    let mut order: Vec<_> = report.packages.iter().collect();
    order.sort_by(|a, b| (a.verdict, &a.package).cmp(&(b.verdict, &b.package)));
    for part in order.chunks(PART) {
        put!(h, "<tbody data-part>");
        for entry in part {
            put!(
                h,
                "<tr data-i=\"",
                (entry.verdict.name()),
                "\"><td><a href=\"",
                (package_href(&entry.package)),
                "\">",
                (entry.package),
                "</a>"
            );
            if with_history && !entry.history.is_empty() {
                // the latest: a long strip is on the package's page
                strip(&mut h, &entry.history[entry.history.len().saturating_sub(PAST)..]);
            }
            put!(h, "</td><td data-k=\"", (Verdict::ALL.len() - entry.verdict as usize), "\">");
            chip(&mut h, entry.verdict);
            put!(h, "</td>");
            for (state, class) in [(&entry.old, "old"), (&entry.new, "new-o")] {
                put!(
                    h,
                    "<td class=\"",
                    (class),
                    "\">",
                    (state.as_ref().map_or("–", |state| outcome_name(state.outcome))),
                    "</td>"
                );
            }
            let message = entry.new.as_ref().or(entry.old.as_ref()).map_or("", |state| &state.message);
            put!(h, "<td class=\"msg\">", (short(message, &entry.package)));
            put!(h, "</td><td class=\"num\">", (entry.dependents), "</td></tr>\n");
        }
        put!(h, "</tbody>\n");
    }
    put!(h, "</table>\n");
    page(&report.title, "All packages", "", Tab::Packages, true, &h)
}
