//! One request and its answer over the network; ureq's errors become [`Trouble`].

use crate::error::{Phase, Trouble};
use crate::forward;
use crate::options::Options;
use crate::proxy::{self, Proxies};
use crate::resolve::CachedNames;
use crate::retry::parse_retry_after;
use crate::tls;
use crate::url::{Url, percent_decode};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use ureq::http::HeaderMap;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error, Timeout};

/// How much of an error page is read to find what the server says.
const ERROR_BODY_BYTES: u64 = 16 * 1024;
const MESSAGE_CHARS: usize = 200;

pub(crate) struct Network {
    options: Options,
    proxies: Proxies,
    /// One connection pool for each way out: no proxy, or the scheme and the proxy for it.
    agents: Mutex<HashMap<Option<(String, String)>, Agent>>,
}

pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Box<dyn Read + Send>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The trouble that a status other than success is, with the first line of what the server says.
    pub fn into_trouble(mut self) -> Trouble {
        let retry_after =
            self.header("retry-after").and_then(|value| parse_retry_after(value, SystemTime::now()));
        let html = self.header("content-type").is_some_and(|kind| kind.contains("html"));
        let mut text = Vec::new();
        // only to learn what the server says: an error here is of no interest
        let _ = self.body.by_ref().take(ERROR_BODY_BYTES).read_to_end(&mut text);
        let reason = ureq::http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default()
            .to_owned();
        let message = message_in(&String::from_utf8_lossy(&text), html)
            .filter(|message| !message.eq_ignore_ascii_case(&reason));
        Trouble::Status { status: self.status, reason, message, retry_after }
    }
}

impl Network {
    pub fn new(options: &Options) -> Network {
        let proxies =
            if options.proxies_from_environment { Proxies::from_environment() } else { Proxies::default() };
        Network { options: options.clone(), proxies, agents: Mutex::default() }
    }

    /// Sends one GET. Any status is an answer; redirects are not followed here.
    pub fn get(&self, url: &Url, headers: &[(&str, String)]) -> Result<Answer, Trouble> {
        let proxy = self.proxies.choose(url);
        let agent = self.agent(url, proxy)?;
        let mut request = agent.get(url.to_string());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(user_info) = &url.user_info {
            request =
                request.header("Authorization", format!("Basic {}", base64(&percent_decode(user_info))));
        }
        if let Some(authorization) = proxy
            .and_then(|proxy| proxy::forwards(proxy, url))
            .and_then(|proxy| forward::authorization(&proxy))
        {
            request = request.header("Proxy-Authorization", authorization);
        }
        let response = request.call().map_err(|error| self.trouble(error, url, proxy))?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: Box::new(body.into_reader()),
        })
    }

    fn agent(&self, url: &Url, proxy: Option<&str>) -> Result<Agent, Trouble> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = proxy.map(|proxy| (url.scheme.clone(), proxy.to_owned()));
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let bad_proxy = |proxy: &str, cause: String| Trouble::Proxy { proxy: proxy::shown(proxy), cause };
        // an HTTP proxy is asked for plain http as it is, without a tunnel
        let through = proxy.and_then(|proxy| proxy::forwards(proxy, url));
        let tunnel = match proxy.filter(|_| through.is_none()) {
            None => None,
            Some(proxy) => {
                Some(ureq::Proxy::new(proxy).map_err(|error| bad_proxy(proxy, error.to_string()))?)
            }
        };
        let options = &self.options;
        let config = Agent::config_builder()
            .proxy(tunnel)
            .tls_config(tls::config(options.verify_tls))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(&options.user_agent)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_send_request(Some(options.read_timeout))
            .timeout_recv_response(Some(options.read_timeout))
            .timeout_per_read(Some(options.read_timeout))
            .timeout_per_write(Some(options.read_timeout))
            .max_idle_connections_per_host(options.per_host)
            .build();
        let agent = match (proxy, &through) {
            (Some(proxy), Some(through)) => {
                forward::agent(config, through).map_err(|cause| bad_proxy(proxy, cause))?
            }
            _ => Agent::with_parts(config, DefaultConnector::default(), CachedNames::default()),
        };
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn trouble(&self, error: Error, url: &Url, proxy: Option<&str>) -> Trouble {
        let trouble = classify(error, url, &self.options);
        match (proxy, trouble) {
            (
                Some(proxy),
                trouble @ (Trouble::ConnectionRefused { .. }
                | Trouble::NameNotFound { .. }
                | Trouble::NoRoute { .. }
                | Trouble::TimedOut { phase: Phase::Connect | Phase::Resolve, .. }),
            ) => Trouble::Proxy { proxy: proxy::shown(proxy), cause: trouble.to_string() },
            (Some(proxy), Trouble::Proxy { cause, .. }) => {
                let cause = cause.replacen("proxy server responded ", "it answers ", 1);
                let cause = cause.split('/').next().unwrap_or_default().to_owned();
                Trouble::Proxy { proxy: proxy::shown(proxy), cause }
            }
            (_, trouble) => trouble,
        }
    }
}

/// What an error of the HTTP library means.
fn classify(error: Error, url: &Url, options: &Options) -> Trouble {
    let host = url.authority();
    match error {
        Error::Io(error) => classify_io(&error, url),
        Error::Timeout(timeout) => {
            let (phase, after) = match timeout {
                Timeout::Resolve => (Phase::Resolve, options.connect_timeout),
                Timeout::Connect => (Phase::Connect, options.connect_timeout),
                Timeout::SendRequest | Timeout::PerWrite => (Phase::Request, options.read_timeout),
                _ => (Phase::Response, options.read_timeout),
            };
            Trouble::TimedOut { phase, after }
        }
        Error::HostNotFound => Trouble::NameNotFound { host: url.host.clone() },
        Error::ConnectProxyFailed(cause) => Trouble::Proxy { proxy: String::new(), cause },
        Error::Tls(cause) => Trouble::Tls { host, cause: cause.to_owned() },
        Error::Rustls(error) => Trouble::Tls { host, cause: tls_cause(&error.to_string()) },
        Error::Pem(error) => Trouble::Tls { host, cause: format!("{error:?}") },
        Error::BadUri(why) => Trouble::BadUrl { why },
        Error::Http(error) => Trouble::BadUrl { why: error.to_string() },
        Error::Protocol(error) => Trouble::NotHttp { cause: error.to_string() },
        Error::LargeResponseHeader(..) => Trouble::NotHttp { cause: "the header does not end".to_owned() },
        other => Trouble::Broken { cause: other.to_string() },
    }
}

fn classify_io(error: &io::Error, url: &Url) -> Trouble {
    let host = url.authority();
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::ConnectionRefused { host },
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => Trouble::NoRoute { host, cause: without_os_code(&text) },
        io::ErrorKind::UnexpectedEof => {
            Trouble::Broken { cause: "the server closed it without an answer".to_owned() }
        }
        io::ErrorKind::ConnectionReset => Trouble::Broken { cause: "the server reset it".to_owned() },
        // a TLS failure during the handshake
        io::ErrorKind::InvalidData => Trouble::Tls { host, cause: tls_cause(&text) },
        _ if text.contains("lookup") => Trouble::NameNotFound { host: url.host.clone() },
        _ => Trouble::Broken { cause: without_os_code(&text) },
    }
}

/// What broke while a body was read.
pub(crate) fn body_trouble(
    error: io::Error,
    options: &Options,
    received_bytes: u64,
    expected_bytes: Option<u64>,
) -> Trouble {
    match Error::from(error) {
        Error::Timeout(_) => Trouble::TimedOut { phase: Phase::Body, after: options.read_timeout },
        Error::Protocol(error) => Trouble::NotHttp { cause: error.to_string() },
        _ => Trouble::Truncated { received_bytes, expected_bytes },
    }
}

fn without_os_code(text: &str) -> String {
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn tls_cause(text: &str) -> String {
    let known = [
        ("UnknownIssuer", "its certificate comes from an unknown issuer"),
        ("CaUsedAsEndEntity", "its certificate is signed by itself, an unknown issuer"),
        ("Expired", "its certificate has expired"),
        ("NotValidYet", "its certificate is not valid yet"),
        ("NotValidForName", "its certificate is for another name"),
        ("certificate not valid for name", "its certificate is for another name"),
        ("Revoked", "its certificate was revoked"),
        ("corrupt message", "what it speaks is not TLS"),
    ];
    match known.iter().find(|(pattern, _)| text.contains(pattern)) {
        Some((_, plain)) => (*plain).to_owned(),
        None => text.trim_start_matches("rustls: ").to_owned(),
    }
}

/// The first line of a plain error page, or the title of an HTML one.
fn message_in(text: &str, html: bool) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let found = if html || lower.trim_start().starts_with('<') {
        let start = lower.find("<title")?;
        let start = start + lower[start..].find('>')? + 1;
        let end = start + lower[start..].find("</title")?;
        &text[start..end]
    } else {
        text.lines().find(|line| !line.trim().is_empty())?
    };
    let clean: String = found
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control() && *c != '\u{fffd}')
        .take(MESSAGE_CHARS)
        .collect();
    (!clean.is_empty()).then_some(clean)
}

pub(crate) fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_found() {
        assert_eq!(message_in("\n  no such  package\nx", false).as_deref(), Some("no such package"));
        let page = "<!doctype html><html><head><TITLE>\n Not here</title></head>";
        assert_eq!(message_in(page, true).as_deref(), Some("Not here"));
        assert_eq!(message_in("<p>x", true), None);
        assert_eq!(message_in("", false), None);
        assert_eq!(message_in(&"x".repeat(1000), false).map(|m| m.len()), Some(MESSAGE_CHARS));
    }

    #[test]
    fn base64_pads() {
        for (data, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("a:b", "YTpi")] {
            assert_eq!(base64(data.as_bytes()), expected);
        }
    }
}
