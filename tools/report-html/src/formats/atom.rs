use crate::pages::html::{Html, file_name, put};
use crate::pages::{label, package_href};
use contract::report::{Entry, Report, Verdict};
use std::collections::BTreeMap;

/// Entries of one feed.
const ENTRIES: usize = 200;

/// The feed of everything that went wrong or got better, and one for each author: path and content. A feed has no clock: an
/// entry is as old as the run it tells of, and its id names verdict and run, so that readers show it once.
pub fn feeds(report: &Report, base_url: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let told = |entry: &&Entry| {
        matches!(
            entry.verdict,
            Verdict::Regressed | Verdict::Failing | Verdict::Indeterminate | Verdict::Flaky | Verdict::Fixed
        )
    };
    let mut all: Vec<&Entry> = report.packages.iter().filter(told).collect();
    all.sort_by(|a, b| (a.verdict, &a.package).cmp(&(b.verdict, &b.package)));
    let mut by_author: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    for entry in &all {
        for author in entry.author.iter().flat_map(|author| author.split_whitespace()) {
            by_author.entry(crate::input::log::clean_line(author)).or_default().push(entry);
        }
    }
    let mut feeds =
        vec![("feed.atom".to_owned(), feed(report, &report.title, "feed.atom", "", &all, base_url))];
    for (author, entries) in by_author {
        let file = format!("feeds/{}.atom", file_name(&author));
        let title = format!("{}: packages of {author}", report.title);
        let text = feed(report, &title, &file, "../", &entries, base_url);
        feeds.push((file, text));
    }
    feeds
}

fn feed(
    report: &Report,
    title: &str,
    file: &str,
    root: &'static str,
    entries: &[&Entry],
    base_url: Option<&str>,
) -> Vec<u8> {
    let updated = if report.newest.is_empty() { "1970-01-01T00:00:00Z" } else { &report.newest };
    let mut h = Html::new();
    put!(
        h,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<title>",
        (title),
        "</title>\n"
    );
    put!(
        h,
        "<id>",
        (urn(&[title, file])),
        "</id>\n<updated>",
        (updated),
        "</updated>\n<author><name>report-html</name></author>\n"
    );
    link(&mut h, base_url, root, "index.html", "alternate");
    if base_url.is_some() {
        link(&mut h, base_url, root, file, "self");
    }
    for entry in entries.iter().take(ENTRIES) {
        put!(h, "<entry><title>", (entry.package), ": ", (label(entry.verdict)), "</title>\n");
        put!(
            h,
            "<id>",
            (urn(&[&entry.package, entry.verdict.name(), updated])),
            "</id><updated>",
            (updated),
            "</updated>\n"
        );
        link(&mut h, base_url, root, &package_href(&entry.package), "alternate");
        let message = entry.new.as_ref().map_or("", |state| state.message.as_str());
        put!(h, "<summary>", (entry.reason));
        if !message.is_empty() {
            put!(h, ": ", (message));
        }
        put!(h, "</summary></entry>\n");
    }
    put!(h, "</feed>\n");
    h.into_bytes()
}

fn link(h: &mut Html, base_url: Option<&str>, root: &'static str, to: &str, rel: &'static str) {
    put!(h, "<link rel=\"", (rel), "\" href=\"");
    match base_url {
        Some(url) => put!(h, (url), "/", (to), "\"/>\n"),
        None => put!(h, (root), (to), "\"/>\n"),
    }
}

/// An id made of what it is about.
fn urn(parts: &[&str]) -> String {
    use sha1::Digest as _;
    let mut hash = sha1::Sha1::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let hex: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // the form of a UUID of version 8: free for one's own making
    format!("urn:uuid:{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
