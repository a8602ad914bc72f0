use crate::cache::Cache;
use crate::error::{FetchError, Phase, Trouble};
use crate::event::Event;
use crate::exchange::Network;
use crate::fetching::Fetch;
use crate::host::Hosts;
use crate::local;
use crate::options::Options;
use crate::request::{Info, Request};
use crate::sink::Sink;
use crate::url::Url;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fetches URLs. Make one per run and share it between threads: connections, manners towards hosts and the cache
/// are common to all its requests.
pub struct Client {
    pub(crate) options: Options,
    pub(crate) network: Network,
    pub(crate) hosts: Hosts,
    pub(crate) cache: Option<Cache>,
}

impl Client {
    pub fn new(options: Options) -> Client {
        Client {
            network: Network::new(&options),
            hosts: Hosts::new(options.per_host, options.give_up_after),
            cache: options.cache.as_ref().map(|dir| Cache::new(dir, options.cache_max_bytes)),
            options,
        }
    }

    /// Starts a request with options of its own.
    pub fn request<'a>(&'a self, url: &str) -> Request<'a> {
        Request::new(self, url)
    }

    /// The body of a URL.
    pub fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        Ok(self.request(url).bytes()?.0)
    }

    /// Streams the body of a URL into a file, which appears whole or not at all.
    pub fn get_to_file(&self, url: &str, path: &Path) -> Result<Info, FetchError> {
        self.request(url).to_file(path)
    }

    pub(crate) fn run(&self, request: &Request, sink: Sink) -> Result<(Vec<u8>, Info), FetchError> {
        let asked = Url::parse(&request.url).map_err(|why| FetchError {
            url: without_user_info(&request.url),
            redirected_to: None,
            attempts: 0,
            trouble: Box::new(Trouble::BadUrl { why }),
        })?;
        let mut fetch = Fetch {
            client: self,
            request,
            sink,
            attempts: 0,
            resume: None,
            deadline: self.options.total_timeout.map(|limit| (Instant::now() + limit, limit)),
            last_url: None,
        };
        let result = match asked.scheme.as_str() {
            "file" => {
                let limit_bytes = request.max_bytes.unwrap_or(self.options.max_bytes);
                local::read(&asked, request, limit_bytes, &mut fetch.sink)
            }
            "http" | "https" => fetch.over_network(&asked),
            scheme => Err(Trouble::UnsupportedScheme { scheme: scheme.to_owned() }),
        };
        let result = result.and_then(|info| {
            check_sha1(request.sha1.as_deref(), &info.sha1)?;
            Ok(info)
        });
        let Fetch { sink, attempts, last_url, .. } = fetch;
        let finished = result.and_then(|info| Ok((sink.finish()?, info)));
        finished.map_err(|trouble| {
            let url = asked.to_string();
            FetchError {
                redirected_to: last_url.filter(|last| *last != url),
                url,
                attempts,
                trouble: Box::new(trouble),
            }
        })
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(listen) = &self.options.on_event {
            listen(event);
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Takes what may be a password out of a text that is no URL.
fn without_user_info(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}{}", &text[..scheme + 3], &text[at + 1..]),
        _ => text.to_owned(),
    }
}

pub(crate) fn check_sha1(expected: Option<&str>, got: &str) -> Result<(), Trouble> {
    match expected {
        Some(expected) if !expected.eq_ignore_ascii_case(got) => Err(Trouble::ChecksumMismatch {
            algorithm: "sha1",
            expected: expected.to_owned(),
            got: got.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The trouble of a fetch whose whole time is over.
pub(crate) fn total_timeout(after: Duration) -> Trouble {
    Trouble::TimedOut { phase: Phase::Total, after }
}
