use crate::input::evidence::Excerpt;
use crate::model::headline::{count, packages};
use crate::model::state_phrase;
use crate::pages::{entry, label, package_href};
use contract::report::{Entry, Report, Trend, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A comment on a pull request may have 65,536 characters.
const MAX_CHARS: usize = 60_000;

/// The report as a comment: worst first, and honest about what did not fit.
pub fn markdown(
    report: &Report,
    evidence: &BTreeMap<String, (Excerpt, String)>,
    base_url: Option<&str>,
) -> String {
    let mut text = format!(
        "## {}\n\n**{}** {}\n\n",
        escape(&report.title),
        escape(&report.headline),
        escape(&report.rest)
    );
    let shown: Vec<Verdict> =
        Verdict::ALL.into_iter().filter(|verdict| count(report, *verdict) > 0).collect();
    if !shown.is_empty() {
        let heads: Vec<&str> = shown.iter().map(|verdict| label(*verdict)).collect();
        let numbers: Vec<String> = shown.iter().map(|verdict| count(report, *verdict).to_string()).collect();
        let _ = write!(
            text,
            "| {} |\n|{}\n| {} |\n\n",
            heads.join(" | "),
            "---:|".repeat(heads.len()),
            numbers.join(" | ")
        );
    }
    if let Some(url) = base_url {
        let _ = write!(text, "[The whole report]({url}/index.html)\n\n");
    }
    let link = |name: &str| match base_url {
        Some(url) if entry(report, name).is_some() => {
            format!("[{}]({url}/{})", escape(name), package_href(name))
        }
        _ => format!("**{}**", escape(name)),
    };
    let mut blocks: Vec<String> = Vec::new();
    if !report.groups.is_empty() {
        let (title, verdict) = match report.old {
            Some(_) => ("Regressions", Verdict::Regressed),
            None => ("Failures", Verdict::Failing),
        };
        blocks.push(format!("### {title} ({})\n\n", packages(count(report, verdict))));
    }
    for group in &report.groups {
        let mut block = format!("#### {}", link(&group.example));
        if group.roots.len() > 1 {
            let _ = write!(block, " and {} more", group.roots.len() - 1);
        }
        if let Some(state) = entry(report, &group.example).and_then(|entry| entry.new.as_ref()) {
            let _ = write!(block, ": {}", state_phrase(state));
        }
        block.push_str("\n\n");
        if group.size > 1 {
            let _ = write!(block, "{} of this cause; ", packages(group.size));
        }
        let _ = match group.dependents {
            0 => write!(block, "nothing depends on it"),
            1 => write!(block, "1 package depends on it"),
            n => write!(block, "{n} packages depend on it"),
        };
        if let Some(entry) = entry(report, &group.example) {
            let _ = write!(block, "; {}", escape(&entry.reason));
        }
        if group.changed {
            block.push_str("; a changed package itself");
        } else if !group.suspects.is_empty() {
            let names: Vec<String> = group.suspects.iter().take(5).map(|name| escape(name)).collect();
            let _ = write!(block, "; depends on what changed: {}", names.join(", "));
        }
        block.push_str(".\n\n");
        match evidence.get(&group.id) {
            Some((excerpt, command)) if !excerpt.lines.is_empty() => {
                let lines: Vec<&str> = excerpt.lines.iter().map(|(_, line)| line.as_str()).collect();
                fence(&mut block, &lines.join("\n"));
                if !command.is_empty() {
                    block.push_str("Repeat it:\n\n");
                    fence(&mut block, command);
                }
            }
            _ => fence(&mut block, &group.title),
        }
        if group.roots.len() > 1 {
            names(&mut block, "Fail like this", group.roots.iter().map(String::as_str));
        }
        if !group.fallen.is_empty() {
            names(
                &mut block,
                "Fall with it",
                group.fallen.iter().filter_map(|chain| chain.first()).map(String::as_str),
            );
        }
        blocks.push(block);
    }
    let worse = |entry: &&Entry| entry.verdict == Verdict::StillFailing && entry.trend == Some(Trend::Worse);
    list(&mut blocks, "Already failing, and worse now", report.packages.iter().filter(worse));
    for verdict in [Verdict::Indeterminate, Verdict::Flaky, Verdict::Fixed, Verdict::New, Verdict::Gone] {
        list(&mut blocks, label(verdict), report.packages.iter().filter(|entry| entry.verdict == verdict));
    }
    let still = report.packages.iter().filter(|entry| entry.verdict == Verdict::StillFailing);
    list(&mut blocks, "still failing", still.filter(|entry| entry.trend != Some(Trend::Worse)));
    let mut left_out = 0;
    let mut used = text.chars().count();
    for block in blocks {
        let size = block.chars().count();
        if left_out > 0 || used + size > MAX_CHARS {
            left_out += 1;
        } else {
            used += size;
            text.push_str(&block);
        }
    }
    if left_out > 0 {
        let _ = write!(text, "\n_{left_out} more sections did not fit; the report has them._\n");
    }
    text
}

fn list<'a>(blocks: &mut Vec<String>, title: &str, entries: impl Iterator<Item = &'a Entry>) {
    let mut entries: Vec<&Entry> = entries.collect();
    if entries.is_empty() {
        return;
    }
    entries.sort_by(|a, b| b.dependents.cmp(&a.dependents).then(a.package.cmp(&b.package)));
    let mut block = format!("### {} ({})\n\n", crate::pages::index::capital(title), entries.len());
    for entry in entries.iter().take(50) {
        let _ = writeln!(block, "- **{}**: {}", escape(&entry.package), escape(&entry.reason));
    }
    if entries.len() > 50 {
        let _ = writeln!(block, "- _and {} more_", entries.len() - 50);
    }
    block.push('\n');
    blocks.push(block);
}

fn names<'a>(block: &mut String, what: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    let shown: Vec<String> = names.iter().take(100).map(|name| escape(name)).collect();
    let _ = write!(block, "{what} ({}): {}", names.len(), shown.join(", "));
    if names.len() > 100 {
        let _ = write!(block, " _and {} more_", names.len() - 100);
    }
    block.push_str("\n\n");
}

/// A fence longer than any run of backquotes in the text: nothing in a log ends it.
fn fence(block: &mut String, text: &str) {
    let mut longest = 0;
    let mut here = 0;
    for c in text.chars() {
        here = if c == '`' { here + 1 } else { 0 };
        longest = longest.max(here);
    }
    let fence = "`".repeat((longest + 1).max(3));
    let _ = write!(block, "{fence}text\n{text}\n{fence}\n\n");
}

/// Text that no Markdown, HTML, mention or reference survives in.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // a zero-width joiner keeps names from becoming mentions and references
            '@' | '#' => {
                escaped.push(c);
                escaped.push('\u{2060}');
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    // links made from bare addresses
    escaped.replace("://", ":\u{2060}//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_holds_it_worst_first() {
        let group = |n: usize| contract::report::Group {
            example: format!("package-{n}"),
            title: "ünbound ".repeat(40),
            ..Default::default()
        };
        let report = Report { groups: (0..3000).map(group).collect(), ..Report::default() };
        let text = markdown(&report, &BTreeMap::new(), None);
        assert!((50_000..65_536).contains(&text.chars().count()), "{}", text.chars().count());
        let told = text.matches("#### ").count();
        assert!(
            text.contains(&format!("**package-{}**", told - 1))
                && !text.contains(&format!("**package-{told}**"))
        );
        assert!(
            text.ends_with(&format!("_{} more sections did not fit; the report has them._\n", 3000 - told))
        );
    }

    #[test]
    fn nothing_hostile_survives() {
        assert_eq!(escape("<img> @all [x](y)"), "&lt;img&gt; @\u{2060}all \\[x\\](y)");
        let mut block = String::new();
        fence(&mut block, "a\n````\nb");
        assert_eq!(block, "`````text\na\n````\nb\n`````\n\n");
    }
}
