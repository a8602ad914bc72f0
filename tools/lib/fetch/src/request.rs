use crate::client::Client;
use crate::error::FetchError;
use crate::sink::Sink;
use std::path::Path;

/// One request being put together; made by [`Client::request`].
#[must_use]
pub struct Request<'a> {
    client: &'a Client,
    pub(crate) url: String,
    pub(crate) sha1: Option<String>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) use_cache: bool,
    progress: Option<Box<dyn Fn(Progress) + Send + Sync + 'a>>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub received_bytes: u64,
    /// Unknown where the server does not say, or compresses.
    pub total_bytes: Option<u64>,
}

/// What is known about a body that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The URL that answered, after redirects.
    pub final_url: String,
    pub content_type: Option<String>,
    pub size_bytes: u64,
    /// sha1 of the body, 40 hex digits.
    pub sha1: String,
    pub origin: Origin,
}

/// Where a body came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Network,
    /// From the cache; the server said that it is still right.
    Revalidated,
    /// From the cache without a request: it has the expected checksum.
    Cache,
    /// A `file:` URL.
    File,
}

impl<'a> Request<'a> {
    pub(crate) fn new(client: &'a Client, url: &str) -> Request<'a> {
        Request { client, url: url.to_owned(), sha1: None, max_bytes: None, use_cache: true, progress: None }
    }

    /// The body must have this sha1 (40 hex digits). A cached body that has it is used without asking the server.
    pub fn expect_sha1(mut self, sha1: impl Into<String>) -> Request<'a> {
        self.sha1 = Some(sha1.into());
        self
    }

    /// The body may have at most so many bytes, instead of [`crate::Options::max_bytes`].
    pub fn max_bytes(mut self, max_bytes: u64) -> Request<'a> {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// Leaves the cache out.
    pub fn without_cache(mut self) -> Request<'a> {
        self.use_cache = false;
        self
    }

    /// Called as the body comes.
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'a) -> Request<'a> {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Fetches into memory.
    pub fn bytes(self) -> Result<(Vec<u8>, Info), FetchError> {
        self.client.run(&self, Sink::memory())
    }

    /// Streams into a file, which appears whole or not at all. A transfer that breaks off is taken up where it
    /// broke, when the server makes sure that it is still the same file.
    pub fn to_file(self, path: &Path) -> Result<Info, FetchError> {
        let sink = Sink::file(path).map_err(|trouble| FetchError {
            url: self.url.clone(),
            redirected_to: None,
            attempts: 0,
            trouble: Box::new(trouble),
        })?;
        Ok(self.client.run(&self, sink)?.1)
    }

    pub(crate) fn tell_progress(&self, received_bytes: u64, total_bytes: Option<u64>) {
        if let Some(progress) = &self.progress {
            progress(Progress { received_bytes, total_bytes });
        }
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("url", &self.url).field("sha1", &self.sha1).finish_non_exhaustive()
    }
}
