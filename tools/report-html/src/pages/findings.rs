use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::package_link;
use contract::report::{Entry, Report, State};
use contract::run::Outcome;

/// What is to be told that is no verdict, one section a kind: what the section is about, and what one does about it.
const SECTIONS: [(&str, &str, &str); 6] = [
    ("archive-failures", "Archive failures", "Their source could not be had, so nothing was tried."),
    (
        "conflicts",
        "Conflicts",
        "Two packages define the same module or document: they cannot be installed together.",
    ),
    (
        "undeclared-dependencies",
        "Undeclared dependencies",
        "They use a package that their info.rkt (or its like) does not name.",
    ),
    ("needs-extended", "Need more than the minimal machine", "They pass only where more is installed."),
    ("needs-fallback", "Need the fallback machine", "They pass only on another platform."),
    ("no-tests", "No tests", "They build; nothing says that they work."),
];

/// Packages of a section, with a sentence.
const ROWS: usize = 2000;

/// Conflicts, archive failures, undeclared dependencies, and whatever else the runs found.
pub fn findings(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    put!(h, "<h1>Findings that are no verdict</h1>\n");
    let mut codes: Vec<(String, String, String)> =
        SECTIONS.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
    for entry in &report.packages {
        for finding in entry.new.iter().flat_map(|state| &state.findings) {
            let code = if finding.code == "conflict" { "conflicts" } else { finding.code.as_str() };
            if code != "flaky" && !codes.iter().any(|(known, ..)| known == code) {
                let title = crate::pages::index::capital(&code.replace('-', " "));
                codes.push((code.to_owned(), title, String::new()));
            }
        }
    }
    let mut any = false;
    for (code, title, what) in &codes {
        let rows: Vec<(&Entry, String, bool)> = report
            .packages
            .iter()
            .filter_map(|entry| {
                let sentence = sentence(entry.new.as_ref()?, code)?;
                let both = entry.old.as_ref().is_some_and(|old| self::sentence(old, code).is_some());
                Some((entry, sentence, both || report.old.is_none()))
            })
            .collect();
        if rows.is_empty() {
            continue;
        }
        any = true;
        put!(
            h,
            "<h2 id=\"",
            (crate::pages::html::file_name(code)),
            "\">",
            (title),
            " <span class=\"n\">",
            (rows.len()),
            "</span></h2>\n<p class=\"soft\">",
            (what),
            "</p>\n"
        );
        put!(
            h,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"",
            (title),
            "\"><table><tbody>"
        );
        for (entry, sentence, both) in rows.iter().take(ROWS) {
            put!(h, "<tr><th scope=\"row\">");
            package_link(&mut h, report, "", &entry.package);
            put!(h, "</th><td>", (sentence), "</td><td>");
            if !both {
                put!(h, "<span class=\"chip regressed\">new side only</span>");
            }
            put!(h, "</td></tr>\n");
        }
        put!(h, "</tbody></table></div>\n");
        if rows.len() > ROWS {
            put!(
                h,
                "<p class=\"small\">",
                (rows.len() - ROWS),
                " more in <a href=\"report.json\">report.json</a>.</p>"
            );
        }
    }
    if !any {
        put!(h, "<p>None: no conflict, no archive failure, no undeclared dependency.</p>");
    }
    page(&report.title, "Findings", "", Tab::Findings, false, &h)
}

fn sentence(state: &State, code: &str) -> Option<String> {
    if code == "archive-failures" {
        return (state.outcome == Outcome::ArchiveFail).then(|| format!("{}: {}", state.code, state.message));
    }
    let same = |found: &str| found == code || (found == "conflict" && code == "conflicts");
    let own =
        state.findings.iter().filter(|finding| same(&finding.code)).map(|finding| finding.message.as_str());
    let messages: Vec<String> = own.map(crate::model::facts::first_line).collect();
    if messages.is_empty() {
        return (same(&state.code) && code != "archive-failures").then(|| state.message.clone());
    }
    Some(messages.join("; "))
}
