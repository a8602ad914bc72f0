//! The head of a request: parsed strictly, within limits. No I/O.

/// Longest head: request line and headers, in bytes.
pub const HEAD_MAX_BYTES: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// A request that may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// As sent, for the log.
    pub target: String,
    /// Decoded segments of the path, without empty ones, `.` and `..`.
    pub segments: Vec<Vec<u8>>,
    /// The path ends in a slash (or is empty).
    pub slash: bool,
    pub query: Option<String>,
    /// Names in lower case; a header that comes twice is joined with a comma.
    headers: Vec<(String, String)>,
    /// The connection stays open after the answer.
    pub keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Other,
}

/// A head that cannot be answered as asked: the status to say, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub why: &'static str,
}

fn refuse<T>(status: u16, why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, why })
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Parses what came so far: `None` when the head is not whole yet, otherwise the request and the length of its head.
pub fn parse(data: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut storage);
    let length = match head.parse(data) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX_BYTES => length,
        Ok(httparse::Status::Partial) if data.len() < HEAD_MAX_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return refuse(431, "the head of the request is too long");
        }
        Err(httparse::Error::Version) => return refuse(505, "only HTTP/1.0 and 1.1 are spoken here"),
        Err(_) => return refuse(400, "that is no HTTP request"),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for header in head.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some(_) if name == "host" || name == "content-length" => {
                return refuse(400, "a header comes twice");
            }
            Some((_, known)) => *known = format!("{known}, {value}"),
            None => headers.push((name, value)),
        }
    }
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let http_1_1 = head.version == Some(1);
    if http_1_1 && header("host").is_none() {
        return refuse(400, "the request names no host");
    }
    let target = head.path.unwrap_or_default();
    let (segments, slash, query) = split_target(target)?;
    let connection = header("connection").unwrap_or_default().to_ascii_lowercase();
    let says = |word: &str| connection.split(',').any(|said| said.trim() == word);
    // a body is none of our business: after one, the connection is closed
    let has_body =
        header("transfer-encoding").is_some() || header("content-length").is_some_and(|n| n != "0");
    let keep_alive = !has_body && if http_1_1 { !says("close") } else { says("keep-alive") };
    let method = match head.method.unwrap_or_default() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    let target = target.to_owned();
    Ok(Some((Request { method, target, segments, slash, query, headers, keep_alive }, length)))
}

/// Splits a request target into decoded segments. Whatever would leave the root is refused here; whatever cannot be
/// a file name (an encoded slash, a zero byte) is simply not there.
#[allow(clippy::type_complexity)]
fn split_target(target: &str) -> Result<(Vec<Vec<u8>>, bool, Option<String>), Refusal> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    // the absolute form, as proxies get it
    let path = match path.strip_prefix("http://").or_else(|| path.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path,
    };
    let path = path.split('#').next().unwrap_or_default();
    let Some(rest) = path.strip_prefix('/') else {
        return refuse(400, "the path does not start with a slash");
    };
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let mut slash = true;
    for raw in rest.split('/') {
        let segment = percent_decode(raw)?;
        slash = false;
        match segment.as_slice() {
            b"" | b"." => slash = true,
            b".." => {
                slash = true;
                if segments.pop().is_none() {
                    return refuse(400, "the path leads above the root");
                }
            }
            name if name.contains(&b'/') || name.contains(&0) => {
                return refuse(404, "no file has such a name");
            }
            _ => segments.push(segment),
        }
    }
    Ok((segments, slash, query))
}

fn percent_decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => return refuse(400, "the path has a % that starts no %XX"),
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request, Refusal> {
        parse(text.as_bytes()).map(|parsed| parsed.expect("whole").0)
    }

    fn target(target: &str) -> Result<(Vec<String>, bool), u16> {
        match split_target(target) {
            Ok((segments, slash, _)) => {
                Ok((segments.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect(), slash))
            }
            Err(refusal) => Err(refusal.status),
        }
    }

    #[test]
    fn what_racket_sends_is_understood() {
        let text = "GET /pkgs-all?version=8.7 HTTP/1.1\r\nHost: h:1\r\nUser-Agent: Racket/8.7 (net/http-client)\r\n\
                    Content-Length: 0\r\n\r\nrest";
        let (request, length) = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(length, text.len() - 4);
        assert_eq!((request.method, request.keep_alive, request.slash), (Method::Get, true, false));
        assert_eq!(request.segments, [b"pkgs-all"]);
        assert_eq!(request.query.as_deref(), Some("version=8.7"));
        assert_eq!(request.header("user-agent"), Some("Racket/8.7 (net/http-client)"));
        for end in 0..length {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn connections_stay_as_both_sides_agree() {
        let keeps = |text: &str| request(text).unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn nonsense_is_refused() {
        let status = |text: &str| request(text).unwrap_err().status;
        assert_eq!(status("hello\r\n\r\n"), 400);
        assert_eq!(status("GET /\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(HEAD_MAX_BYTES))), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(200))), 431);
    }

    #[test]
    fn paths_are_decoded_once_and_stay_below_the_root() {
        let fine = |segments: &[&str], slash| Ok((segments.iter().map(|s| (*s).to_owned()).collect(), slash));
        assert_eq!(target("/"), fine(&[], true));
        assert_eq!(target("/a/b"), fine(&["a", "b"], false));
        assert_eq!(target("/a//b/"), fine(&["a", "b"], true));
        assert_eq!(target("/a/./b/../c"), fine(&["a", "c"], false));
        assert_eq!(target("/a/.."), fine(&[], true));
        assert_eq!(target("/a%20b%25"), fine(&["a b%"], false));
        assert_eq!(target("/%252e%252e/x"), fine(&["%2e%2e", "x"], false));
        assert_eq!(target("http://host:1/a"), fine(&["a"], false));
        assert_eq!(target("http://host"), fine(&[], true));
        for above in ["/..", "/../etc", "/a/../../etc", "/%2e%2e/etc", "/.%2E/etc"] {
            assert_eq!(target(above), Err(400), "{above}");
        }
        for nothing in ["/a%2fb", "/a%00", "/..%2fetc", "/%2e%2e%2fetc"] {
            assert_eq!(target(nothing), Err(404), "{nothing}");
        }
        for bad in ["", "*", "a", "/%", "/%4", "/%zz"] {
            assert_eq!(target(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn whatever_comes_is_answered_within_the_root() {
        let whole = b"GET /a/%2e%2e/b?c HTTP/1.1\r\nHost: h\r\nRange: bytes=0-\r\nConnection: close\r\n\r\n";
        let pieces: [&[u8]; 8] = [b"\r\n", b"%", b"..", b"/", b"\0", b"%00", b" ", b"HTTP/1.1"];
        let mut seed = 7u64;
        let mut pick = |count: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % count as u64) as usize
        };
        let mut understood = 0;
        for _ in 0..50_000 {
            let mut text = whole.to_vec();
            for _ in 0..=pick(4) {
                if text.is_empty() {
                    break;
                }
                let at = pick(text.len());
                match pick(4) {
                    0 => text[at] = pick(256) as u8,
                    1 => drop(text.remove(at)),
                    2 => text.truncate(at.max(1)),
                    _ => drop(text.splice(at..at, pieces[pick(pieces.len())].iter().copied())),
                }
            }
            if let Ok(Some((request, length))) = parse(&text) {
                understood += 1;
                assert!(length <= text.len());
                for segment in &request.segments {
                    assert!(!segment.is_empty() && segment != b"." && segment != b"..", "{text:?}");
                    assert!(!segment.contains(&b'/') && !segment.contains(&0), "{text:?}");
                }
            }
        }
        assert!(understood > 5_000, "{understood}");
    }
}
