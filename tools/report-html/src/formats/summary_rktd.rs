use crate::pages::html::file_name;
use crate::pages::package_href;
use contract::report::{Entry, Report, State};
use contract::run::{Doc, Outcome};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a package's summary needs beside the model.
#[derive(Debug, Default)]
pub struct Logs {
    /// Page of the log of each phase, of those that have one.
    pub pages: BTreeMap<String, String>,
    pub docs: Vec<Doc>,
}

/// `summary.rktd`: a Racket hash from package name to a hash with exactly the keys that pkg-build writes, so that what reads its
/// summaries reads ours. A log is named by the page that shows it: its own, or else the package's.
pub fn summary(report: &Report, logs: &BTreeMap<String, Logs>) -> String {
    let mut text = String::from("#hash(");
    let nothing = Logs::default();
    let judged = report.packages.iter().filter_map(|entry| Some((entry, entry.new.as_ref()?)));
    for (n, (entry, state)) in judged.enumerate() {
        if n > 0 {
            text.push_str("\n ");
        }
        let _ = write!(text, "({} . #hash(", quoted(&entry.package));
        package(&mut text, entry, state, logs.get(&entry.package).unwrap_or(&nothing));
        text.push_str("))");
    }
    text.push_str(")\n");
    text
}

fn package(text: &mut String, entry: &Entry, state: &State, logs: &Logs) {
    let page = |phase: &str| logs.pages.get(phase).cloned().unwrap_or_else(|| package_href(&entry.package));
    let found = |code: &str| state.findings.iter().any(|finding| finding.code == code);
    let when = |yes: bool, phase: &str| if yes { quoted(&page(phase)) } else { "#f".to_owned() };
    let installed = matches!(state.outcome, Outcome::Pass | Outcome::TestFail);
    let tested =
        state.tests.as_ref().is_some_and(|tests| matches!(tests.status.as_str(), "passed" | "no-tests"));
    let docs: Vec<String> = logs
        .docs
        .iter()
        .map(|doc| {
            let name = quoted(&doc.name);
            let path =
                quoted(doc.path.as_deref().unwrap_or(&format!("doc/{}/index.html", file_name(&doc.name))));
            match doc.status.as_str() {
                "none" => format!("#s(doc/none {name})"),
                "extract" => format!("#s(doc/extract {name} {path})"),
                "salvage" => format!("#s(doc/salvage {name} {path})"),
                _ => format!("#s(doc/main {name} {path})"),
            }
        })
        .collect();
    // keys in the order Racket prints them: sorted
    let pairs = [
        ("arch-failure-log", when(found("needs-fallback"), "install")),
        ("author", quoted(entry.author.as_deref().unwrap_or(""))),
        ("conflicts-log", when(found("conflicts") || found("conflict"), "adds")),
        ("dep-failure-log", when(installed && found("undeclared-dependencies"), "undeclared")),
        ("docs", format!("({})", docs.join(" "))),
        ("failure-log", when(!installed, "install")),
        ("min-failure-log", when(found("needs-extended"), "install")),
        ("success-log", when(installed, "install")),
        ("test-failure-log", when(state.outcome == Outcome::TestFail, "test")),
        ("test-success-log", when(state.outcome == Outcome::Pass && tested, "test")),
    ];
    for (n, (key, value)) in pairs.iter().enumerate() {
        let _ = write!(text, "{}({key} . {value})", if n > 0 { " " } else { "" });
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    racket_data::write_str(&mut quoted, text);
    quoted
}
