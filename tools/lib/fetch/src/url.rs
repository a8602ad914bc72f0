//! The little of RFC 3986 that fetching needs: split, resolve a reference, percent-encode and -decode.

use std::fmt;

/// An absolute `http`, `https` or `file` URL, split. The fragment is dropped: no server ever sees it.
///
/// The scheme test is case-sensitive, as Racket's is: `HTTP://…` is not a URL of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `http`, `https` or `file`.
    pub scheme: String,
    /// `user:password` in front of the host; never shown by [`fmt::Display`].
    pub user_info: Option<String>,
    /// Host, lower case, with brackets around an IPv6 address; empty for `file:`.
    pub host: String,
    pub port: Option<u16>,
    /// Path, starting with a slash, percent-encoded.
    pub path: String,
    pub query: Option<String>,
}

impl Url {
    /// Splits an absolute URL. Characters that may not stand in a URL (spaces, controls, anything beyond ASCII) are
    /// percent-encoded rather than refused: catalogs in the wild carry them. The error is the reason.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").ok_or("not a URL: no scheme")?;
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            return Err("not a URL: no scheme".to_owned());
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (user_info, host, port) = split_authority(authority)?;
        if host.is_empty() && scheme != "file" {
            return Err("no host in the URL".to_owned());
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(encode_unsafe(query))),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { encode_unsafe(path) };
        Ok(Url { scheme: scheme.to_owned(), user_info, host, port, path, query })
    }

    /// Resolves a reference (a `Location` header, a relative source) against this URL, RFC 3986 section 5.2;
    /// `..` beyond the root is dropped.
    pub fn join(&self, reference: &str) -> Result<Url, String> {
        let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
        if has_scheme(reference) {
            return Url::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Url::parse(&format!("{}://{rest}", self.scheme));
        }
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, Some(encode_unsafe(query))),
            None => (reference, None),
        };
        let path = encode_unsafe(path);
        let mut joined = self.clone();
        joined.query = query;
        joined.path = if path.is_empty() {
            if joined.query.is_none() {
                joined.query.clone_from(&self.query);
            }
            self.path.clone()
        } else if path.starts_with('/') {
            without_dot_segments(&path)
        } else {
            let directory = self.path.rfind('/').map_or("/", |end| &self.path[..=end]);
            without_dot_segments(&format!("{directory}{path}"))
        };
        Ok(joined)
    }

    /// `host:port`, with the port of the scheme when none is written.
    pub fn authority(&self) -> String {
        let port = self.port.unwrap_or(if self.scheme == "https" { 443 } else { 80 });
        format!("{}:{port}", self.host)
    }

    /// Path and query as a request line carries them.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The URL as it was asked, without user name and password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path_and_query())
    }
}

fn split_authority(authority: &str) -> Result<(Option<String>, String, Option<u16>), String> {
    let (user_info, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, authority),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (host, ""),
    };
    let port = match port {
        "" => None,
        digits => Some(digits.parse::<u16>().map_err(|_| format!("bad port \"{digits}\" in the URL"))?),
    };
    let fine = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(Some(address)) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        Some(None) => false,
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)),
    };
    if !fine {
        return Err(format!("bad host \"{host}\" in the URL"));
    }
    Ok((user_info, host.to_ascii_lowercase(), port))
}

fn has_scheme(reference: &str) -> bool {
    let scheme = reference.split([':', '/', '?']).next().unwrap_or_default();
    reference[scheme.len()..].starts_with("://") && !scheme.is_empty()
}

fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Encodes what may not stand in a URL and leaves the rest, `%` included, as it is.
fn encode_unsafe(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte <= b' ' || byte >= 0x7f || b"\"<>\\^`{|}".contains(&byte) {
            encoded.push_str(&format!("%{byte:02X}"));
        } else {
            encoded.push(char::from(byte));
        }
    }
    encoded
}

/// Percent-encodes a string for use as one path segment (`foo:b/ar` gives `foo%3Ab%2Far`, as Racket does).
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes `%XX`; a `%` that starts no such triple stays as it is.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (hex(at + 1), hex(at + 2))
        {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_shows() {
        let url = Url::parse("http://me:secret@Example.org:8080/a b?x=é#frag").unwrap();
        assert_eq!(url.to_string(), "http://example.org:8080/a%20b?x=%C3%A9");
        assert_eq!(url.user_info.as_deref(), Some("me:secret"));
        assert_eq!(url.authority(), "example.org:8080");
        assert_eq!(Url::parse("https://h").unwrap().to_string(), "https://h/");
        assert_eq!(Url::parse("http://[::1]:80/").unwrap().authority(), "[::1]:80");
        assert_eq!(Url::parse("http://[::1]/").unwrap().authority(), "[::1]:80");
        for bad in [
            "",
            "x",
            "://h",
            "http://",
            "http:///p",
            "http://h:99999/",
            "http://a b/",
            "http://h\n/",
            "http://h:1:2/",
            "http://[h]/",
            "http://[::1/",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn joins_like_the_rfc() {
        let base = Url::parse("http://a/b/c/d?q").unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d?q"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("g/./h/../i", "http://a/b/c/g/i"),
            ("https://h/x", "https://h/x"),
            ("g:h", "http://a/b/c/g:h"),
        ] {
            assert_eq!(base.join(reference).unwrap().to_string(), expected, "{reference}");
        }
    }

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(encode_segment("foo:b/ar"), "foo%3Ab%2Far");
        assert_eq!(percent_decode("foo%3Ab%2Far"), b"foo:b/ar");
        assert_eq!(percent_decode("100%"), b"100%");
        assert_eq!(percent_decode("%zz%4"), b"%zz%4");
    }

    #[test]
    fn whatever_is_joined_stays_a_url() {
        let base = Url::parse("http://h:1/a/b?c").unwrap();
        let pieces =
            ["..", ".", "/", "//", "a", "?", "#", "%2e", "http://", "é", " ", ":", "@", "[", "%", "\\", "\n"];
        let mut seed = 9u64;
        let mut pick = |count: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % count as u64) as usize
        };
        for _ in 0..50_000 {
            let reference: String = (0..pick(8)).map(|_| pieces[pick(pieces.len())]).collect();
            let _ = Url::parse(&reference);
            let Ok(joined) = base.join(&reference) else { continue };
            let shown = joined.to_string();
            assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{reference:?} {shown:?}");
            let again = Url::parse(&shown).unwrap();
            assert_eq!(
                (again.host, again.path, again.query),
                (joined.host.clone(), joined.path, joined.query)
            );
            if !reference.contains("//") {
                assert_eq!(joined.host, "h", "{reference:?}");
            }
        }
    }
}
