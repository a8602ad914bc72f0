use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A fetch that failed: what was asked, of whom, how often, and the trouble.
///
/// [`fmt::Display`] is one line that starts with the URL asked: `http://h/pkgs-all: connection refused by h:80`.
#[derive(Clone, Debug)]
pub struct FetchError {
    /// The URL as the caller gave it, without user name and password.
    pub url: String,
    /// Where redirects had led when the trouble came, if elsewhere.
    pub redirected_to: Option<String>,
    /// How many requests were made for it; 0 when none was needed to know.
    pub attempts: u32,
    pub trouble: Box<Trouble>,
}

/// What went wrong, one variant per kind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// The text is no URL.
    BadUrl {
        why: String,
    },
    /// Neither `http`, `https` nor `file`.
    UnsupportedScheme {
        scheme: String,
    },
    NameNotFound {
        host: String,
    },
    /// The host answered that nobody listens there.
    ConnectionRefused {
        host: String,
    },
    /// No way to the host: network down, no route.
    NoRoute {
        host: String,
        cause: String,
    },
    Tls {
        host: String,
        cause: String,
    },
    TimedOut {
        phase: Phase,
        after: Duration,
    },
    /// The body came so slowly that the transfer was given up.
    TooSlow {
        received_bytes: u64,
        after: Duration,
    },
    /// An answer with a status that is not success. `message` is the first line of what the server said.
    Status {
        status: u16,
        reason: String,
        message: Option<String>,
        retry_after: Option<Duration>,
    },
    /// The connection broke before any answer.
    Broken {
        cause: String,
    },
    /// The body ended early.
    Truncated {
        received_bytes: u64,
        expected_bytes: Option<u64>,
    },
    /// What came is not HTTP.
    NotHttp {
        cause: String,
    },
    /// `Content-Encoding: gzip` was announced but the body is no gzip.
    BadEncoding {
        cause: String,
    },
    TooLarge {
        limit_bytes: u64,
    },
    ChecksumMismatch {
        algorithm: &'static str,
        expected: String,
        got: String,
    },
    TooManyRedirects {
        count: u32,
    },
    BadRedirect {
        location: String,
        why: String,
    },
    Proxy {
        proxy: String,
        cause: String,
    },
    /// The host failed so often in a row that it is no longer asked.
    HostGivenUp {
        host: String,
        failures: u32,
        last: Box<Trouble>,
    },
    /// A `file:` URL that cannot be read.
    CannotRead {
        path: PathBuf,
        cause: String,
        missing: bool,
    },
    /// The destination cannot be written.
    CannotWrite {
        path: PathBuf,
        cause: String,
    },
}

/// What a time-out waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Resolve,
    Connect,
    Request,
    Response,
    Body,
    Total,
}

/// What a failure means for the one who asked; tools map it to exit codes and causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The server is there and says that the thing is not (404, 410; a missing file).
    Gone,
    /// The server is there and does not hand it out (401, 403, 451 and other 4xx).
    Denied,
    /// Nobody answers: name, network, refused connection, TLS, proxy, silence.
    Unreachable,
    /// The server is in trouble, asks for patience or breaks off (408, 409, 429, 5xx, truncated); trying again later
    /// may help.
    Busy,
    /// What came cannot be used: wrong checksum, too large, not HTTP, redirected in circles.
    Damaged,
    /// The question makes no sense: not a URL, a scheme that is not spoken.
    BadRequest,
    /// Trouble on this machine: a file cannot be read or written.
    Local,
}

impl FetchError {
    pub fn class(&self) -> Class {
        self.trouble.class()
    }

    /// The status code, when the server gave one.
    pub fn status(&self) -> Option<u16> {
        match &*self.trouble {
            Trouble::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What a person can do about it, when there is something.
    pub fn hint(&self) -> Option<String> {
        self.trouble.hint(&self.url)
    }
}

impl Trouble {
    pub fn class(&self) -> Class {
        match self {
            Trouble::BadUrl { .. } | Trouble::UnsupportedScheme { .. } => Class::BadRequest,
            Trouble::NameNotFound { .. }
            | Trouble::ConnectionRefused { .. }
            | Trouble::NoRoute { .. }
            | Trouble::Tls { .. }
            | Trouble::TimedOut { .. }
            | Trouble::TooSlow { .. }
            | Trouble::Broken { .. }
            | Trouble::Proxy { .. } => Class::Unreachable,
            Trouble::Status { status: 404 | 410, .. } => Class::Gone,
            Trouble::Status { status, .. } if is_transient_status(*status) => Class::Busy,
            Trouble::Status { .. } => Class::Denied,
            Trouble::Truncated { .. } => Class::Busy,
            Trouble::NotHttp { .. }
            | Trouble::BadEncoding { .. }
            | Trouble::TooLarge { .. }
            | Trouble::ChecksumMismatch { .. }
            | Trouble::TooManyRedirects { .. }
            | Trouble::BadRedirect { .. } => Class::Damaged,
            Trouble::HostGivenUp { last, .. } => last.class(),
            Trouble::CannotRead { missing: true, .. } => Class::Gone,
            Trouble::CannotRead { .. } | Trouble::CannotWrite { .. } => Class::Local,
        }
    }

    fn hint(&self, url: &str) -> Option<String> {
        let hint = match self {
            Trouble::BadUrl { .. } => {
                "write it as http://HOST/PATH, https://HOST/PATH or file:///PATH".to_owned()
            }
            Trouble::UnsupportedScheme { scheme } => match scheme.to_ascii_lowercase().as_str() {
                lower @ ("http" | "https" | "file") => format!("write the scheme in lower case: {lower}://…"),
                _ => "only http, https and file URLs can be fetched".to_owned(),
            },
            Trouble::NameNotFound { host } => {
                format!("check the spelling of \"{host}\" and that this machine is on the network")
            }
            Trouble::ConnectionRefused { host } => format!(
                "the machine answers but no server listens at {host}: is it started, is the port right?"
            ),
            Trouble::NoRoute { .. } => {
                "this machine has no way there: check the network, or set http_proxy/https_proxy".to_owned()
            }
            Trouble::Tls { cause, .. } if cause.contains("expired") || cause.contains("not valid yet") => {
                "check the clock of this machine; otherwise the server's certificate must be renewed"
                    .to_owned()
            }
            Trouble::Tls { cause, .. } if cause.contains("unknown issuer") => {
                "if you trust the server, name its certificate authority: SSL_CERT_FILE=/path/to/ca.pem"
                    .to_owned()
            }
            Trouble::Tls { .. } => "is this a TLS server? try http:// if it is not".to_owned(),
            Trouble::TimedOut { .. } | Trouble::TooSlow { .. } => {
                "the server or the network is slow; try again, or raise the time-out".to_owned()
            }
            Trouble::Status { status: 407, .. } => {
                "the proxy wants a user name and password: http_proxy=http://USER:PASSWORD@HOST:PORT"
                    .to_owned()
            }
            Trouble::Status { status: 401, .. } => {
                "it wants a user name and password: http://USER:PASSWORD@HOST/…".to_owned()
            }
            Trouble::Status { status: 404 | 410, .. } => {
                format!("check the address: does {} open in a browser?", parent_of(url))
            }
            Trouble::Status { status: 403 | 451, .. } => {
                "the server knows it but does not hand it out to you".to_owned()
            }
            Trouble::Status { status: 429, .. } => "the server asks for patience; try again later".to_owned(),
            Trouble::Status { status: 500.., .. } => {
                "the trouble is on the server's side; try again later".to_owned()
            }
            Trouble::Broken { .. } | Trouble::Truncated { .. } => {
                "the connection broke; try again".to_owned()
            }
            Trouble::NotHttp { .. } => {
                "is this an HTTP server, and http:// or https:// the right one?".to_owned()
            }
            Trouble::TooLarge { .. } => {
                "is this the right address? the answer does not end in time".to_owned()
            }
            Trouble::ChecksumMismatch { .. } => {
                "the file at the address changed, or was damaged on the way; refresh the catalog".to_owned()
            }
            Trouble::TooManyRedirects { .. } => {
                "the server sends us in circles; open it in a browser".to_owned()
            }
            Trouble::Proxy { .. } => {
                "check http_proxy, https_proxy, all_proxy and no_proxy in the environment".to_owned()
            }
            Trouble::HostGivenUp { last, .. } => return last.hint(url),
            Trouble::CannotRead { missing: true, .. } => "check the path".to_owned(),
            Trouble::CannotRead { .. } | Trouble::CannotWrite { .. } => {
                "check permissions and free space".to_owned()
            }
            Trouble::Status { .. } | Trouble::BadEncoding { .. } | Trouble::BadRedirect { .. } => {
                return None;
            }
        };
        Some(hint)
    }
}

/// 408, 409, 429 and every 5xx but "not implemented" and "version not supported".
pub(crate) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 429) || (status >= 500 && !matches!(status, 501 | 505))
}

fn parent_of(url: &str) -> &str {
    let path_start = url.find("://").map_or(0, |at| at + 3);
    match url[path_start..].trim_end_matches('/').rfind('/') {
        Some(slash) => &url[..=path_start + slash],
        None => url,
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.url)?;
        if let Some(there) = &self.redirected_to {
            write!(f, "redirected to {there}: ")?;
        }
        write!(f, "{}", self.trouble)?;
        if self.attempts > 1 {
            write!(f, " (tried {} times)", self.attempts)?;
        }
        Ok(())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::BadUrl { why } => f.write_str(why),
            Trouble::UnsupportedScheme { scheme } => write!(f, "cannot fetch over \"{scheme}\""),
            Trouble::NameNotFound { host } => write!(f, "host name \"{host}\" not found"),
            Trouble::ConnectionRefused { host } => write!(f, "connection refused by {host}"),
            Trouble::NoRoute { host, cause } => write!(f, "no way to {host}: {cause}"),
            Trouble::Tls { host, cause } => write!(f, "no secure connection to {host}: {cause}"),
            Trouble::TimedOut { phase, after } => {
                write!(f, "timed out after {} waiting for {phase}", seconds(*after))
            }
            Trouble::TooSlow { received_bytes, after } => {
                write!(f, "too slow: {received_bytes} bytes came within {}", seconds(*after))
            }
            Trouble::Status { status, reason, message, .. } => {
                write!(f, "server says {status}")?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                match message {
                    Some(message) => write!(f, ": \"{message}\""),
                    None => Ok(()),
                }
            }
            Trouble::Broken { cause } => write!(f, "connection broke: {cause}"),
            Trouble::Truncated { received_bytes, expected_bytes: Some(expected) } => {
                write!(f, "truncated: {received_bytes} of {expected} bytes came")
            }
            Trouble::Truncated { received_bytes, expected_bytes: None } => {
                write!(f, "truncated: the connection ended after {received_bytes} bytes")
            }
            Trouble::NotHttp { cause } => write!(f, "the answer is not HTTP: {cause}"),
            Trouble::BadEncoding { cause } => write!(f, "the body is not the gzip it claims to be: {cause}"),
            Trouble::TooLarge { limit_bytes } => write!(f, "larger than the limit of {limit_bytes} bytes"),
            Trouble::ChecksumMismatch { algorithm, expected, got } => {
                write!(f, "wrong {algorithm} checksum: expected {expected}, got {got}")
            }
            Trouble::TooManyRedirects { count } => write!(f, "redirected {count} times without arriving"),
            Trouble::BadRedirect { location, why } => write!(f, "redirected to \"{location}\": {why}"),
            Trouble::Proxy { proxy, cause } => write!(f, "proxy {proxy} does not let us through: {cause}"),
            Trouble::HostGivenUp { host, failures, last } => {
                write!(f, "not asked: {host} failed {failures} times in a row, last: {last}")
            }
            Trouble::CannotRead { path, cause, .. } => {
                write!(f, "cannot read \"{}\": {cause}", path.display())
            }
            Trouble::CannotWrite { path, cause } => write!(f, "cannot write \"{}\": {cause}", path.display()),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "the address of the host",
            Phase::Connect => "a connection",
            Phase::Request => "the server to take the request",
            Phase::Response => "an answer",
            Phase::Body => "more data",
            Phase::Total => "the whole transfer",
        })
    }
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 10.0 || seconds.fract() == 0.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.1} s")
    }
}

impl std::error::Error for FetchError {}
