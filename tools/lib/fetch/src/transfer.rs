//! The body of one answer: which part of the file it is, and its way into the sink within limits.

use crate::client::total_timeout;
use crate::error::Trouble;
use crate::exchange::{Answer, body_trouble};
use crate::options::Options;
use crate::sink::Sink;
use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

/// A modification date is a strong validator when the file had been at rest for so long when it was sent.
const AT_REST: Duration = Duration::from_secs(2);

/// What it takes to ask for the rest of a body that broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The URL that sent the first part.
    pub url: String,
    /// A strong ETag or a strong date, for `If-Range`.
    pub validator: String,
}

/// What an answer's headers say about its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The body starts from the first byte: forget what came before.
    pub restart: bool,
    /// The body is the rest of what came before.
    pub resumed: bool,
    /// How to go on should this body break off too.
    pub resume: Option<Resume>,
    pub gzip: bool,
    /// Size of the whole, when the server says it and does not compress.
    pub total_bytes: Option<u64>,
}

pub(crate) fn plan(answer: &Answer, url: &str, resume: Option<&Resume>, have_bytes: u64) -> Plan {
    let length = answer.header("content-length").and_then(|value| value.trim().parse::<u64>().ok());
    let gzip = answer
        .header("content-encoding")
        .is_some_and(|value| matches!(value.trim().to_ascii_lowercase().as_str(), "gzip" | "x-gzip"));
    if answer.status == 206
        && let Some(resume) = resume
        && resume.url == url
        && let Some((start, total)) = answer.header("content-range").and_then(parse_content_range)
        && start == have_bytes
    {
        let resume = Some(resume.clone());
        return Plan { restart: false, resumed: true, resume, gzip: false, total_bytes: total };
    }
    let accepts_ranges = answer.header("accept-ranges").is_none_or(|value| value.trim() != "none");
    let resume = strong_validator(answer)
        .filter(|_| accepts_ranges && !gzip && answer.status == 200)
        .map(|validator| Resume { url: url.to_owned(), validator });
    Plan { restart: true, resumed: false, resume, gzip, total_bytes: length.filter(|_| !gzip) }
}

fn strong_validator(answer: &Answer) -> Option<String> {
    if let Some(etag) = answer.header("etag") {
        return etag.starts_with('"').then(|| etag.to_owned());
    }
    let modified = answer.header("last-modified")?;
    let date = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let age = date
        .unwrap_or_else(SystemTime::now)
        .duration_since(httpdate::parse_http_date(modified).ok()?)
        .ok()?;
    (age >= AT_REST).then(|| modified.to_owned())
}

/// `bytes 5-9/10` gives (5, Some(10)).
fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

/// True when the part that came can be kept and the rest asked for.
pub(crate) fn may_resume(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Truncated { .. } | Trouble::TimedOut { .. } | Trouble::TooSlow { .. })
}

pub(crate) struct Limits<'a> {
    pub max_bytes: u64,
    pub deadline: Option<(Instant, Duration)>,
    pub options: &'a Options,
}

/// Reads the body into the sink: no more than allowed, no slower than bearable, and all of it.
pub(crate) fn receive(
    answer: Answer,
    gzip: bool,
    total_bytes: Option<u64>,
    sink: &mut Sink,
    limits: &Limits,
    tell: &dyn Fn(u64, Option<u64>),
) -> Result<(), Trouble> {
    // a sink in memory gets what the server compressed for us; a file gets the bytes as they are
    let gzip = gzip && !sink.is_file();
    if total_bytes.is_some_and(|total| total > limits.max_bytes) {
        return Err(Trouble::TooLarge { limit_bytes: limits.max_bytes });
    }
    let mut body: Box<dyn Read> =
        if gzip { Box::new(flate2::read::MultiGzDecoder::new(answer.body)) } else { answer.body };
    let window = limits.options.read_timeout;
    let (mut window_start, mut window_bytes) = (Instant::now(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if gzip && is_bad_gzip(&error) => {
                return Err(Trouble::BadEncoding { cause: error.to_string() });
            }
            Err(error) => return Err(body_trouble(error, limits.options, sink.size_bytes(), total_bytes)),
        };
        if count == 0 {
            break;
        }
        if sink.size_bytes() + count as u64 > limits.max_bytes {
            return Err(Trouble::TooLarge { limit_bytes: limits.max_bytes });
        }
        sink.write(&buffer[..count])?;
        tell(sink.size_bytes(), total_bytes);
        let now = Instant::now();
        if let Some((deadline, limit)) = limits.deadline
            && now >= deadline
        {
            return Err(total_timeout(limit));
        }
        window_bytes += count as u64;
        if now - window_start >= window {
            let complete = total_bytes == Some(sink.size_bytes());
            if window_bytes < limits.options.min_bytes_per_window && !complete {
                return Err(Trouble::TooSlow { received_bytes: window_bytes, after: window });
            }
            (window_start, window_bytes) = (now, 0);
        }
    }
    match total_bytes {
        Some(expected) if sink.size_bytes() != expected => {
            Err(Trouble::Truncated { received_bytes: sink.size_bytes(), expected_bytes: total_bytes })
        }
        _ => Ok(()),
    }
}

/// The decoder's own complaints, apart from those of the connection below it.
fn is_bad_gzip(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData)
        && !error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::{HeaderMap, HeaderName, HeaderValue};

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Answer { status, headers, body: Box::new(std::io::empty()) }
    }

    #[test]
    fn a_body_may_be_resumed_only_with_a_strong_validator() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, strong) in [
            (vec![("etag", "\"a\"")], true),
            (vec![("etag", "W/\"a\"")], false),
            (vec![("etag", "\"a\""), ("content-encoding", "gzip")], false),
            (vec![("etag", "\"a\""), ("accept-ranges", "none")], false),
            (vec![("last-modified", "Sun, 06 Nov 1994 08:49:30 GMT"), date], true),
            (vec![("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"), date], false),
            (vec![], false),
        ] {
            let plan = plan(&answer(200, &headers), "http://h/", None, 0);
            assert_eq!(plan.resume.is_some(), strong, "{headers:?}");
            assert!(plan.restart);
        }
    }

    #[test]
    fn the_rest_must_start_where_we_are() {
        let resume = Resume { url: "http://h/".into(), validator: "\"a\"".into() };
        let rest = |range: &'static str, have| {
            plan(&answer(206, &[("content-range", range)]), "http://h/", Some(&resume), have)
        };
        assert!(rest("bytes 5-9/10", 5).resumed);
        assert_eq!(rest("bytes 5-9/10", 5).total_bytes, Some(10));
        assert!(rest("bytes 5-9/*", 5).resumed);
        assert!(!rest("bytes 4-9/10", 5).resumed);
        assert!(!rest("nonsense", 5).resumed);
        let whole = plan(&answer(200, &[("content-length", "10")]), "http://h/", Some(&resume), 5);
        assert!(whole.restart && !whole.resumed);
    }
}
