use crate::pages::html::{Html, put};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// What every page needs, and what only the overview and the lists do.
const STYLE: &str = include_str!("assets/style.css");
const LIST_STYLE: &str = concat!(include_str!("assets/style.css"), include_str!("assets/lists.css"));
const SCRIPT: &str = include_str!("assets/page.js");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| source_hash(STYLE));
static LIST_STYLE_HASH: LazyLock<String> = LazyLock::new(|| source_hash(LIST_STYLE));
static SCRIPT_HASH: LazyLock<String> = LazyLock::new(|| source_hash(SCRIPT));

/// One of the pages that the head of every page leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Packages,
    Messages,
    Findings,
    Plots,
    About,
    /// A page below one of them.
    None,
}

const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Overview, "index.html", "Overview"),
    (Tab::Packages, "packages.html", "All packages"),
    (Tab::Messages, "messages.html", "Failures by message"),
    (Tab::Findings, "findings.html", "Findings"),
    (Tab::Plots, "plots.html", "Plots"),
    (Tab::About, "about.html", "About this run"),
];

/// A whole page around `body`. `root` leads from the page to the directory of the report (`""`, `"../"`, …). Style and script
/// are in the page, so that it can be kept and read by itself; the content-security policy allows just these two, by their
/// hashes, and nothing else: no other script, no style attribute, no request.
pub fn page(
    site_title: &str,
    title: &str,
    root: &'static str,
    tab: Tab,
    script: bool,
    body: &Html,
) -> Vec<u8> {
    let mut h = Html::new();
    let (style, hash) =
        if tab == Tab::None { (STYLE, &*STYLE_HASH) } else { (LIST_STYLE, &*LIST_STYLE_HASH) };
    put!(
        h,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-",
        (hash),
        "'"
    );
    if script {
        put!(h, "; script-src 'sha256-", (*SCRIPT_HASH), "'");
    }
    put!(
        h,
        "; base-uri 'none'; form-action 'none'\">\n",
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
        "<meta name=\"referrer\" content=\"no-referrer\">\n<title>",
        (title)
    );
    if title != site_title {
        put!(h, " · ", (site_title));
    }
    put!(h, "</title>\n<style>");
    h.raw(style);
    put!(h, "</style></head>\n<body><a class=\"skip\" href=\"#main\">To the content</a>\n");
    put!(h, "<header class=\"top\"><div><strong>", (site_title), "</strong><nav aria-label=\"Report\">");
    for (of, file, name) in TABS {
        put!(h, "<a href=\"", (root), (file), "\"");
        if of == tab {
            put!(h, " aria-current=\"page\"");
        }
        put!(h, ">", (name), "</a>");
    }
    put!(h, "</nav></div></header>\n<main id=\"main\">\n");
    h.html(body);
    put!(
        h,
        "</main>\n<footer><p>Made by report-html ",
        (env!("CARGO_PKG_VERSION")),
        ". Same content as data: "
    );
    for (file, name) in [
        ("report.json", "JSON"),
        ("report.md", "Markdown"),
        ("junit.xml", "JUnit"),
        ("summary.rktd", "summary.rktd"),
        ("feed.atom", "Atom"),
    ] {
        put!(h, "<a href=\"", (root), (file), "\">", (name), "</a> ");
    }
    put!(h, "</p></footer>\n");
    if script {
        put!(h, "<script>");
        h.raw(SCRIPT);
        put!(h, "</script>\n");
    }
    put!(h, "</body></html>\n");
    h.into_bytes()
}

/// As a content-security policy names an inline source: base64 of its SHA-256.
fn source_hash(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = Sha256::digest(text.as_bytes());
    let mut base64 = String::new();
    for three in hash.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            if place <= three.len() {
                base64.push(DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char);
            } else {
                base64.push('=');
            }
        }
    }
    base64
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_are_base64_of_sha256() {
        assert_eq!(super::source_hash(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn style_and_script_cannot_end_their_elements() {
        assert!(!super::LIST_STYLE.contains("</") && !super::SCRIPT.contains("</"));
    }
}
