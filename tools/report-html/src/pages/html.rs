use std::fmt::{Display, Write as _};

/// HTML (or XML) under construction. What is not a literal of this program is escaped: [`Html::raw`] takes only `&'static
/// str`, so nothing that was read can become markup. [`put!`] mixes both: literals are markup, parenthesised expressions
/// text.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    pub fn new() -> Html {
        Html::default()
    }
    pub fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }
    /// Text or the inside of a double-quoted attribute.
    pub fn text(&mut self, text: impl Display) {
        let _ = write!(Escape(&mut self.0), "{text}");
    }
    /// Another piece, already escaped by construction.
    pub fn html(&mut self, other: &Html) {
        self.0.push_str(&other.0);
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

struct Escape<'a>(&'a mut String);

impl std::fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}

/// `put!(html, "<b>", (name), "</b>")`: literals are markup, anything in parentheses is escaped text.
macro_rules! put {
    ($html:expr $(,)?) => {};
    ($html:expr, $markup:literal $(, $($rest:tt)*)?) => {{
        $html.raw($markup);
        $crate::pages::html::put!($html $(, $($rest)*)?);
    }};
    ($html:expr, ($text:expr) $(, $($rest:tt)*)?) => {{
        $html.text(&$text);
        $crate::pages::html::put!($html $(, $($rest)*)?);
    }};
}
pub(crate) use put;

/// Name of a file for any name: letters, digits, `-`, `_` and inner `.` stay, every other byte is `~` and two hex digits, so
/// that no name leaves its directory, is hidden, or meets another one. Long names end in a hash.
pub fn file_name(name: &str) -> String {
    let mut file = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => file.push(byte as char),
            b'.' if at > 0 => file.push('.'),
            _ => {
                let _ = write!(file, "~{byte:02x}");
            }
        }
    }
    if file.is_empty() {
        file.push('~');
    }
    if file.len() > 180 {
        use sha1::Digest as _;
        let hash = sha1::Sha1::digest(name.as_bytes());
        file.truncate(140);
        file.push('~');
        for byte in &hash[..10] {
            let _ = write!(file, "{byte:02x}");
        }
    }
    file
}

/// A name as a part of an address.
pub fn address(name: &str) -> String {
    let mut address = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'+' | b'@' => {
                address.push(byte as char)
            }
            _ => drop(write!(address, "%{byte:02X}")),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literals_are_markup() {
        let mut html = Html::new();
        let hostile = "</a><script>'\"&";
        put!(html, "<a title=\"", (hostile), "\">", (hostile), "</a>");
        assert_eq!(
            html.as_str(),
            "<a title=\"&lt;/a&gt;&lt;script&gt;&#39;&quot;&amp;\">&lt;/a&gt;&lt;script&gt;&#39;&quot;&amp;</a>"
        );
    }

    #[test]
    fn no_name_leaves_its_directory() {
        assert_eq!(file_name("draw-lib"), "draw-lib");
        assert_eq!(file_name("../../etc/passwd"), "~2e.~2f..~2fetc~2fpasswd");
        assert_eq!(file_name(""), "~");
        assert_eq!(file_name("@scope/näme"), "~40scope~2fn~c3~a4me");
        assert_eq!(file_name(".htaccess"), "~2ehtaccess");
        assert!(file_name(&"x".repeat(5000)).len() < 200);
        assert_ne!(file_name(&format!("{}a", "x".repeat(300))), file_name(&format!("{}b", "x".repeat(300))));
    }
}
