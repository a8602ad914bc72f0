//! As much of URLs as package sources need.

/// The parts of a URL, percent-encoding left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub scheme: &'a str,
    /// `user@host:port`
    pub authority: &'a str,
    /// With its leading slash, or empty.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// `None` when there is no `scheme://`.
    pub fn parse(text: &'a str) -> Option<Url<'a>> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme_letters = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme_letters {
            return None;
        }
        let (rest, fragment) = split_at(rest, '#');
        let (rest, query) = split_at(rest, '?');
        let slash = rest.find('/').unwrap_or(rest.len());
        Some(Url { scheme, authority: &rest[..slash], path: &rest[slash..], query, fragment })
    }

    /// Host in lower case, with the port when it is not the scheme's own; without user.
    pub fn host(&self) -> String {
        let host = self.authority.rsplit_once('@').map_or(self.authority, |(_, host)| host);
        let host = host.to_ascii_lowercase();
        let own_port = match self.scheme {
            "http" | "git+http" => ":80",
            "https" | "git+https" | "github" => ":443",
            "git" => ":9418",
            "ssh" | "git+ssh" => ":22",
            _ => return host,
        };
        host.strip_suffix(own_port).unwrap_or(&host).to_owned()
    }

    /// Path elements, decoded; `/a/b/` gives `a`, `b` and an empty one.
    pub fn elements(&self) -> Vec<String> {
        match self.path.strip_prefix('/') {
            Some(path) => path.split('/').map(decode).collect(),
            None => Vec::new(),
        }
    }

    /// First value of a query key, decoded.
    pub fn query_value(&self, key: &str) -> Option<String> {
        self.query?.split(['&', ';']).find_map(|item| {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            (decode(name) == key).then(|| decode(&value.replace('+', " ")))
        })
    }
}

fn split_at(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Percent-decoding; a `%` without two hex digits stays, bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if !hex.is_some_and(|hex| hex.starts_with('+')) => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Percent-encodes everything but unreserved characters and those in `also`.
pub(crate) fn encode(text: &str, also: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The `file://` URL of an absolute path (slash-separated): `/a b/c` gives `file:///a%20b/c`.
pub fn file_url(absolute_path: &str) -> String {
    format!("file://{}", encode(absolute_path, "/!$&'()*+,;=:@"))
}

/// `.` and `..` resolved, as in a URL: `..` at the root stays at the root.
pub(crate) fn simplify(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let rest = path.strip_prefix('/').unwrap_or(path);
    let last = rest.split('/').count() - 1;
    for (at, element) in rest.split('/').enumerate() {
        match element {
            "." | ".." => {
                if element == ".." {
                    kept.pop();
                }
                if at == last {
                    kept.push("");
                }
            }
            _ => kept.push(element),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("git://User@GitHub.com:9418/U/R%20x/?path=a%2Fb+c#br?x").unwrap();
        assert_eq!((url.scheme, url.host().as_str()), ("git", "github.com"));
        assert_eq!(url.elements(), ["U", "R x", ""]);
        assert_eq!(url.query_value("path").as_deref(), Some("a/b c"));
        assert_eq!(url.fragment, Some("br?x"));
        assert_eq!(Url::parse("/a://b"), None);
        assert_eq!(Url::parse("http://h").unwrap().elements(), Vec::<String>::new());
    }

    #[test]
    fn percent() {
        assert_eq!(decode("a%20b%zz%2"), "a b%zz%2");
        assert_eq!(decode("%+1"), "%+1");
        assert_eq!(file_url("/a b/c#d"), "file:///a%20b/c%23d");
        assert_eq!(decode(&encode("ü/%?", "")), "ü/%?");
    }

    #[test]
    fn dots() {
        assert_eq!(simplify("/a/./b/../c"), "/a/c");
        assert_eq!(simplify("/../../x.zip"), "/x.zip");
        assert_eq!(simplify("/a/b/.."), "/a/");
        assert_eq!(simplify("/a/."), "/a/");
        assert_eq!(simplify("/"), "/");
    }
}
