//! Pages for people: a directory, an error. Everything that comes from names is escaped.

use std::fmt::Write;
use std::time::SystemTime;

/// Longer directories are cut; a client that wants all of it reads `pkgs`.
const ENTRIES_MAX: usize = 20_000;

/// One line of a directory page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Directories come first.
    pub file: bool,
    pub name: Vec<u8>,
    pub size_bytes: u64,
    pub modified: Option<SystemTime>,
}

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.2rem;font-weight:600;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}\
th{text-align:left;font-weight:600;border-bottom:1px solid #8888}td,th{padding:.15rem .75rem .15rem 0}\
td:nth-child(n+2),th:nth-child(n+2){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
td:first-child{overflow-wrap:anywhere}a{text-decoration:none}a:hover{text-decoration:underline}\
footer{margin-top:1.5rem;opacity:.7;font-size:.85rem}\
@media(max-width:40rem){td:nth-child(3),th:nth-child(3){display:none}}";

/// The page of a directory. `segments` is its path, for the title; `entries` need not be sorted.
pub fn directory(segments: &[Vec<u8>], mut entries: Vec<Entry>) -> String {
    entries.sort();
    let title = escape(&shown_path(segments));
    let mut page = head(&title);
    let _ = write!(page, "<h1>{}</h1>\n<table>\n<tr><th>name<th>size<th>modified (UTC)\n", crumbs(segments));
    if !segments.is_empty() {
        page.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
    }
    let left_out = entries.len().saturating_sub(ENTRIES_MAX);
    for entry in entries.iter().take(ENTRIES_MAX) {
        let slash = if entry.file { "" } else { "/" };
        let name = escape(&String::from_utf8_lossy(&entry.name));
        let size = if entry.file { size(entry.size_bytes) } else { String::new() };
        let modified = entry.modified.map(minute).unwrap_or_default();
        // "./" keeps a name with a colon from being read as a scheme
        let link = encode(&entry.name);
        let _ =
            writeln!(page, "<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a><td>{size}<td>{modified}");
    }
    page.push_str("</table>\n");
    let count = entries.len();
    let _ = write!(page, "<footer>{count} {}", if count == 1 { "entry" } else { "entries" });
    if left_out > 0 {
        let _ = write!(page, ", {left_out} not shown");
    }
    page.push_str("</footer>\n</body></html>\n");
    page
}

/// The page of an error.
pub fn error(status: u16, reason: &str, why: &str) -> String {
    let mut page = head(&format!("{status} {reason}"));
    let _ = write!(page, "<h1>{status} {}</h1>\n<p>{}</p>\n</body></html>\n", escape(reason), escape(why));
    page
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n"
    )
}

/// The path of a page, each part a link.
fn crumbs(segments: &[Vec<u8>]) -> String {
    let mut text = String::from("<a href=\"/\">/</a>");
    let mut link = String::from("/");
    for segment in segments {
        link.push_str(&encode(segment));
        link.push('/');
        let _ = write!(text, " <a href=\"{link}\">{}/</a>", escape(&String::from_utf8_lossy(segment)));
    }
    text
}

fn shown_path(segments: &[Vec<u8>]) -> String {
    let mut path = String::from("/");
    for segment in segments {
        path.push_str(&String::from_utf8_lossy(segment));
        path.push('/');
    }
    path
}

/// Escapes text for HTML, attributes included.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Percent-encodes a name for a link.
pub fn encode(name: &[u8]) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~+!*,".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// `2026-11-21 13:05`, from the HTTP date, whose form is fixed: `Sat, 21 Nov 2026 13:05:09 GMT`.
fn minute(time: SystemTime) -> String {
    let date = httpdate::fmt_http_date(time);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split_whitespace().collect();
    match words[..] {
        [_, day, month, year, clock, _] if clock.len() == 8 => {
            let month = months.iter().position(|name| *name == month).unwrap_or(0) + 1;
            format!("{year}-{month:02}-{day} {}", &clock[..5])
        }
        _ => date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn entry(name: &str, file: bool) -> Entry {
        let modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        Entry { file, name: name.as_bytes().to_vec(), size_bytes: 1536, modified }
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let nasty = "<script>alert('x')</script>\"&";
        let page =
            directory(&[nasty.as_bytes().to_vec()], vec![entry(nasty, true), entry("javascript:x", true)]);
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
        assert!(page.contains("href=\"./%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%22%26\""));
        assert!(page.contains("href=\"./javascript%3Ax\""));
        assert!(error(404, "Not Found", nasty).contains("&lt;script&gt;"));
    }

    #[test]
    fn directories_come_first_and_sizes_are_for_people() {
        let page = directory(&[], vec![entry("b", true), entry("a", true), entry("z", false)]);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
        assert!(at(">z/<") < at(">a<") && at(">a<") < at(">b<"));
        assert!(page.contains("1.5 KiB") && page.contains("1994-11-06 08:49") && page.contains("3 entries"));
        assert!(!page.contains("../"), "no way up from the top");
    }
}
