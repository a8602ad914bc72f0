use contract::report::{Group, Report, Verdict};

/// The answer in one sentence; a second one where the sides are unlike or the run is still going.
pub fn headline(report: &Report) -> String {
    let mut text = answer(report);
    let unlike: Vec<&str> = report
        .differences
        .iter()
        .filter(|difference| difference.unlike)
        .map(|d| d.sentence.as_str())
        .collect();
    if !unlike.is_empty() {
        text.push_str(&format!(" Compare with care: {}.", unlike.join("; ")));
    }
    let pending = count(report, Verdict::Pending);
    if pending > 0 {
        let all = report.packages.len() as u64;
        text.push_str(&format!(" {} of {all} packages are judged so far.", all - pending));
    }
    text
}

pub fn count(report: &Report, verdict: Verdict) -> u64 {
    report.counts.get(verdict.name()).copied().unwrap_or(0)
}

fn answer(report: &Report) -> String {
    let number = |verdict| count(report, verdict);
    if report.packages.is_empty() {
        return "There is nothing to report yet.".to_owned();
    }
    if report.old.is_none() {
        let judged = report.packages.len() as u64 - number(Verdict::Pending);
        return match number(Verdict::Failing) {
            0 if judged == 0 => "Nothing has been run yet.".to_owned(),
            0 => format!("No package fails of {judged}."),
            n if report.groups.len() as u64 == n => {
                format!("{n} of {} {}.", packages(judged), verb(n, "fails", "fail"))
            }
            n => format!("{n} of {} fail{}.", packages(judged), by(&report.groups)),
        };
    }
    let regressed = number(Verdict::Regressed);
    let known =
        report.packages.iter().filter(|e| e.verdict == Verdict::Regressed && e.known.is_some()).count();
    let known = if known > 0 { format!(" ({known} of them known)") } else { String::new() };
    let judged = report.packages.len() as u64 - number(Verdict::Pending);
    if judged == 0 {
        return "Nothing is judged yet.".to_owned();
    }
    if regressed == 0 {
        return format!("Nothing regressed among {}.", packages(judged));
    }
    format!("{regressed} of {} regressed{known}{}.", packages(judged), by(&report.groups))
}

/// What became of the others, worst first.
pub fn rest(report: &Report) -> String {
    let kinds = [
        (Verdict::StillFailing, "still fails", "still fail"),
        (Verdict::Indeterminate, "is indeterminate", "are indeterminate"),
        (Verdict::Flaky, "is flaky", "are flaky"),
        (Verdict::Fixed, "is fixed", "are fixed"),
        (Verdict::StillPassing, "still passes", "still pass"),
        (Verdict::Passing, "passes", "pass"),
        (Verdict::New, "is new", "are new"),
        (Verdict::Gone, "is gone", "are gone"),
    ];
    let parts = kinds.into_iter().map(|(verdict, one, many)| (count(report, verdict), one, many));
    let mut parts: Vec<String> =
        parts.filter(|(n, ..)| *n > 0).map(|(n, one, many)| format!("{n} {}", verb(n, one, many))).collect();
    let waiting = report
        .packages
        .iter()
        .filter(|e| e.verdict == Verdict::Pending && e.old.is_none() && e.new.is_some());
    match waiting.count() {
        0 => {}
        1 => parts.push("1 fails and waits for the old side".to_owned()),
        n => parts.push(format!("{n} fail and wait for the old side")),
    }
    if parts.is_empty() { String::new() } else { format!("{}.", parts.join(", ")) }
}

/// What it was that broke them.
fn by(groups: &[Group]) -> String {
    match groups {
        [] => String::new(),
        [group] if group.changed && group.size == 1 => {
            format!(": the changed package {} itself fails", group.example)
        }
        [group] if group.changed => {
            format!(": the changed package {} itself fails, and the others with it", group.example)
        }
        [group] if group.size == 1 => match &group.suspects[..] {
            [suspect] => format!(", by the change in {suspect}: {}", group.example),
            _ => format!(": {}", group.example),
        },
        [group] => match &group.suspects[..] {
            [suspect] => format!(", all by one cause, the change in {suspect}"),
            _ if group.roots.len() == 1 => format!(", all by one cause: {} fails", group.example),
            _ => ", all by one cause".to_owned(),
        },
        _ => {
            let first = &groups[0].suspects;
            let themselves = groups.iter().filter(|group| group.changed).count();
            let changed = if themselves > 1 {
                format!(", {themselves} of them changed packages that fail themselves")
            } else if groups[0].changed {
                format!(": the changed package {} itself fails", groups[0].example)
            } else if first.len() == 1 && groups.iter().all(|group| group.suspects == *first) {
                format!(", all by the change in {}", first[0])
            } else {
                String::new()
            };
            format!(", by {} causes{changed}", groups.len())
        }
    }
}

pub fn packages(n: u64) -> String {
    format!("{n} {}", if n == 1 { "package" } else { "packages" })
}

fn verb(n: u64, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}
