//! The pages: each a pure function from the model (and logs already read) to a page.

pub mod about;
pub mod findings;
pub mod frame;
pub mod graph;
pub mod html;
pub mod index;
pub mod log;
pub mod messages;
pub mod package;
pub mod packages;
pub mod phases;
pub mod plots;
pub mod refresh;
pub mod regressions;

use crate::pages::html::{Html, file_name, put};
use contract::report::{Entry, Report, Verdict};
use contract::run::Tests;
use std::collections::BTreeMap;

/// Verdicts in words.
pub fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Failing => "failing",
        Verdict::Indeterminate => "indeterminate",
        Verdict::Flaky => "flaky",
        Verdict::StillFailing => "still failing",
        Verdict::New => "new",
        Verdict::Fixed => "fixed",
        Verdict::Passing => "passing",
        Verdict::StillPassing => "still passing",
        Verdict::Gone => "gone",
        Verdict::Pending => "not judged yet",
    }
}

/// A sign beside the colour, for those who do not see it.
fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "▼",
        Verdict::Failing | Verdict::StillFailing => "✕",
        Verdict::Indeterminate => "?",
        Verdict::Flaky => "≈",
        Verdict::New => "+",
        Verdict::Fixed => "▲",
        Verdict::Passing | Verdict::StillPassing => "✓",
        Verdict::Gone => "−",
        Verdict::Pending => "…",
    }
}

pub fn chip(h: &mut Html, verdict: Verdict) {
    put!(
        h,
        "<span class=\"chip ",
        (verdict.name()),
        "\">",
        (sign(verdict)),
        " ",
        (label(verdict)),
        "</span>"
    );
}

/// Address of a package's page, seen from the directory of the report.
pub fn package_href(name: &str) -> String {
    format!("packages/{}.html", file_name(name))
}

/// Link to a package's page; plain text for what is no package of the run.
pub fn package_link(h: &mut Html, report: &Report, root: &'static str, name: &str) {
    if entry(report, name).is_some() {
        put!(h, "<a href=\"", (root), (package_href(name)), "\">", (name), "</a>");
    } else {
        put!(h, (name));
    }
}

pub fn entry<'a>(report: &'a Report, name: &str) -> Option<&'a Entry> {
    let at = report.packages.binary_search_by(|entry| entry.package.as_str().cmp(name)).ok()?;
    report.packages.get(at)
}

/// `1:02:03`, `2:03 min`, `4.5 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    if whole >= 3600 {
        format!("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60)
    } else if whole >= 100 {
        format!("{}:{:02} min", whole / 60, whole % 60)
    } else {
        format!("{seconds:.1} s")
    }
}

/// `812 bytes`, `3.1 KB`, `23 KB`, `1.1 GB`.
pub fn bytes(n: u64) -> String {
    let units = [("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
    match units.into_iter().rev().find(|(_, size)| n as f64 >= *size) {
        None => format!("{n} bytes"),
        Some((unit, size)) if n as f64 / size < 9.95 => format!("{:.1} {unit}", n as f64 / size),
        Some((unit, size)) => format!("{:.0} {unit}", n as f64 / size),
    }
}

/// `2026-11-21 12:00 UTC`.
pub fn instant(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(minute)) if rfc3339.is_ascii() => format!("{day} {minute} UTC"),
        _ => crate::input::log::clean_line(rfc3339),
    }
}

/// Names of packages of the run as links, all of them, folded when they are many.
pub fn names(h: &mut Html, root: &'static str, names: &[&str], open: usize) {
    let fold = names.len() > open;
    if fold {
        put!(h, "<details><summary>", (names.len()), " packages</summary>");
    }
    put!(h, "<ul class=\"names\">");
    for name in names {
        put!(h, "<li><a href=\"", (root), (package_href(name)), "\">", (name), "</a></li>");
    }
    put!(h, "</ul>");
    if fold {
        put!(h, "</details>");
    }
}

/// argv as a shell takes it.
pub fn shell_line(argv: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b))
    };
    let quoted = |word: &String| {
        if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    crate::input::log::clean_line(&argv.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

/// A telling line without the way to the package's directory: `…/pkgs/pict-lib/main.rkt:1:2: …` becomes
/// `pict-lib/main.rkt:1:2: …`.
pub fn short<'a>(message: &'a str, package: &str) -> std::borrow::Cow<'a, str> {
    let Some(at) = message.find(&format!("/{package}/")) else { return message.into() };
    let way =
        message[..at].rfind(|c: char| c.is_whitespace() || "\"'`(<=".contains(c)).map_or(0, |at| at + 1);
    if message[way..].starts_with('/') || message[way..].starts_with('~') {
        format!("{}{}", &message[..way], &message[at + 1..]).into()
    } else {
        message.into()
    }
}

/// Limits as a person says them: `30 min, 5 min without output, 2048 MiB of memory`.
pub fn limits(limits: &BTreeMap<String, u64>) -> String {
    let time = |seconds: u64| match seconds {
        s if s >= 120 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    };
    let known: [(&str, &dyn Fn(u64) -> String); 6] = [
        ("time_s", &time),
        ("silence_s", &|s| format!("{} without output", time(s))),
        ("memory_mb", &|mb| format!("{mb} MiB of memory")),
        ("disk_mb", &|mb| format!("{mb} MiB on disk")),
        ("log_mb", &|mb| format!("{mb} MiB of log")),
        ("processes", &|n| format!("{n} processes")),
    ];
    let mut said: Vec<String> =
        known.iter().filter_map(|(name, say)| limits.get(*name).map(|value| say(*value))).collect();
    let others = limits.iter().filter(|(name, _)| known.iter().all(|(known, _)| known != name));
    said.extend(others.map(|(name, value)| format!("{name} {value}")));
    said.join(", ")
}

/// What the tests said: `24 tests in 3 files passed`, `2 of 24 tests failed, in 1 of 3 files`.
pub fn tests(tests: &Tests) -> String {
    let many = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let all = tests.passed + tests.failed;
    match tests.status.as_str() {
        "no-tests" => "it has none".to_owned(),
        "not-run" => "not run".to_owned(),
        "passed" if all == 0 => format!("{} ran, nothing failed", many(tests.files, "file")),
        "passed" => format!("{} in {} passed", many(all, "test"), many(tests.files, "file")),
        _ if tests.failed == 0 => format!("{} of {} failed", tests.files_failed, many(tests.files, "file")),
        _ => format!(
            "{} of {} failed, in {} of {}",
            tests.failed,
            many(all, "test"),
            tests.files_failed.max(1),
            many(tests.files, "file")
        ),
    }
}
