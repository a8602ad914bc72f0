//! One fetch over the network, with its redirects, retries and the cache.

use crate::cache::Meta;
use crate::client::{Client, check_sha1};
use crate::error::{Class, Trouble};
use crate::event::Event;
use crate::exchange::Answer;
use crate::request::{Info, Origin, Request};
use crate::retry;
use crate::sink::Sink;
use crate::transfer::{self, Resume};
use crate::url::Url;
use std::time::{Duration, Instant};

/// A transfer that breaks off again and again but gets further each time is taken up at most so often.
const ATTEMPTS_MAX: u32 = 64;

/// One fetch on its way.
pub(crate) struct Fetch<'a> {
    pub client: &'a Client,
    pub request: &'a Request<'a>,
    pub sink: Sink,
    pub attempts: u32,
    /// Set when part of the body came and the server can send the rest.
    pub resume: Option<Resume>,
    pub deadline: Option<(Instant, Duration)>,
    /// Where the last request went.
    pub last_url: Option<String>,
}

impl Fetch<'_> {
    pub fn over_network(&mut self, asked: &Url) -> Result<Info, Trouble> {
        if let Some(info) = self.cached_by_checksum(asked)? {
            return Ok(info);
        }
        // failures in a row that brought nothing new
        let mut barren = 0;
        loop {
            let had_bytes = if self.resume.is_some() { self.sink.size_bytes() } else { 0 };
            let trouble = match self.attempt(asked) {
                Ok(info) => return Ok(info),
                Err(trouble) => trouble,
            };
            let advanced = self.resume.is_some() && self.sink.size_bytes() > had_bytes;
            barren = if advanced && self.attempts < ATTEMPTS_MAX { 1 } else { barren + 1 };
            let options = &self.client.options;
            let retries = retry::retries_for(&trouble, options.retries, options.retry_after_max);
            if barren > retries {
                return Err(trouble);
            }
            let asked_pause = retry::asked_pause(&trouble, options.retry_after_max);
            let pause = retry::pause(barren - 1, options.backoff, retry::jitter(), asked_pause);
            if self.deadline.is_some_and(|(deadline, _)| Instant::now() + pause >= deadline) {
                return Err(trouble);
            }
            self.client.tell(&Event::Retrying { url: &asked.to_string(), trouble: &trouble, pause });
            std::thread::sleep(pause);
            if self.resume.is_none() {
                self.sink.restart()?;
            }
        }
    }

    /// A body with the expected checksum that is in the cache needs no request at all.
    fn cached_by_checksum(&mut self, asked: &Url) -> Result<Option<Info>, Trouble> {
        let (Some(sha1), Some(cache)) = (&self.request.sha1, &self.client.cache) else { return Ok(None) };
        let Some(entry) = cache.find(&asked.to_string()) else { return Ok(None) };
        if !entry.meta.sha1.eq_ignore_ascii_case(sha1) {
            return Ok(None);
        }
        let info = self.take_from_cache(entry, Origin::Cache)?;
        if info.is_some() {
            self.client.tell(&Event::FromCache { url: &asked.to_string() });
        }
        Ok(info)
    }

    /// Copies a cached body; `None` when it turned out damaged.
    fn take_from_cache(
        &mut self,
        entry: crate::cache::Entry,
        origin: Origin,
    ) -> Result<Option<Info>, Trouble> {
        let limit_bytes = self.max_bytes();
        if entry.meta.size_bytes > limit_bytes {
            return Err(Trouble::TooLarge { limit_bytes });
        }
        self.sink.restart()?;
        let mut trouble = None;
        let sink = &mut self.sink;
        let copied = entry.copy_to(&mut |data| {
            sink.write(data).map_err(|error| {
                trouble = Some(error);
                std::io::Error::other("cannot write")
            })
        });
        match (trouble, copied) {
            (Some(trouble), _) => Err(trouble),
            (None, Ok(Some(meta))) => {
                self.request.tell_progress(meta.size_bytes, Some(meta.size_bytes));
                Ok(Some(Info {
                    final_url: meta.final_url,
                    content_type: meta.content_type,
                    size_bytes: meta.size_bytes,
                    sha1: meta.sha1,
                    origin,
                }))
            }
            (None, _) => {
                self.sink.restart()?;
                Ok(None)
            }
        }
    }

    /// One attempt: the request, its redirects, the body.
    fn attempt(&mut self, asked: &Url) -> Result<Info, Trouble> {
        let cached = match &self.client.cache {
            Some(cache) if self.request.use_cache && self.resume.is_none() => cache.find(&asked.to_string()),
            _ => None,
        };
        let mut url = asked.clone();
        let mut redirects = 0;
        self.attempts += 1;
        loop {
            let shown = url.to_string();
            self.last_url = Some(shown.clone());
            let validators = cached.as_ref().map(|entry| &entry.meta).filter(|meta| meta.final_url == shown);
            let permit = self.enter(&url)?;
            let answer = match self.ask(&url, validators) {
                Ok(answer) => answer,
                Err(trouble) => {
                    permit.failed(&trouble, None);
                    return Err(trouble);
                }
            };
            self.client.tell(&Event::Answered { url: &shown, status: answer.status });
            match answer.status {
                200 | 203 | 206 => {
                    permit.answered();
                    let received = self.receive(&shown, asked, answer);
                    if let Err(trouble) = &received {
                        permit.failed(trouble, None);
                    }
                    return received;
                }
                304 if validators.is_some() => {
                    permit.answered();
                    if let Some(entry) = cached
                        && let Some(info) = self.take_from_cache(entry, Origin::Revalidated)?
                    {
                        return Ok(info);
                    }
                    return Err(Trouble::Broken { cause: "the cached copy is damaged".to_owned() });
                }
                416 if self.resume.is_some() => {
                    // what we have is no part of what is there now
                    permit.answered();
                    self.resume = None;
                    self.sink.restart()?;
                }
                301 | 302 | 303 | 307 | 308 => {
                    permit.answered();
                    let next = self.redirect(&url, &answer)?;
                    redirects += 1;
                    if redirects > self.client.options.redirects {
                        return Err(Trouble::TooManyRedirects { count: redirects });
                    }
                    self.client.tell(&Event::Redirected { url: &shown, to: &next.to_string() });
                    url = next;
                }
                _ => {
                    let trouble = answer.into_trouble();
                    let pause = retry::asked_pause(&trouble, self.client.options.retry_after_max);
                    match trouble.class() {
                        Class::Busy => permit.failed(&trouble, pause),
                        _ => permit.answered(),
                    }
                    return Err(trouble);
                }
            }
        }
    }

    fn enter(&mut self, url: &Url) -> Result<crate::host::Permit, Trouble> {
        let deadline = self.deadline.map(|(deadline, _)| deadline);
        let entered = self.client.hosts.enter(&url.authority(), deadline);
        entered.inspect_err(|trouble| {
            if matches!(trouble, Trouble::HostGivenUp { .. }) {
                self.attempts -= 1;
            }
        })
    }

    fn ask(&self, url: &Url, validators: Option<&Meta>) -> Result<Answer, Trouble> {
        let resume_at = if self.resume.is_some() { self.sink.size_bytes() } else { 0 };
        let mut headers: Vec<(&str, String)> = vec![("Accept", "*/*".to_owned())];
        let encoding = if self.sink.is_file() || self.resume.is_some() { "identity" } else { "gzip" };
        headers.push(("Accept-Encoding", encoding.to_owned()));
        if let Some(meta) = validators {
            headers.extend(meta.etag.clone().map(|etag| ("If-None-Match", etag)));
            headers.extend(meta.last_modified.clone().map(|date| ("If-Modified-Since", date)));
        }
        if let Some(resume) = &self.resume {
            headers.push(("Range", format!("bytes={resume_at}-")));
            headers.push(("If-Range", resume.validator.clone()));
        }
        self.client.tell(&Event::Asking {
            url: &url.to_string(),
            attempt: self.attempts,
            resume_at,
            revalidating: validators.is_some(),
        });
        self.client.network.get(url, &headers)
    }

    fn redirect(&self, from: &Url, answer: &Answer) -> Result<Url, Trouble> {
        let location = answer.header("location").unwrap_or_default();
        let bad = |why: String| Trouble::BadRedirect { location: location.to_owned(), why };
        if location.is_empty() {
            return Err(bad("the server does not say where to".to_owned()));
        }
        let mut next = from.join(location).map_err(bad)?;
        if next.scheme != "http" && next.scheme != "https" {
            return Err(bad(format!("cannot fetch over \"{}\"", next.scheme)));
        }
        // a password is for the host it was given for
        if next.user_info.is_none() && next.authority() == from.authority() && next.scheme == from.scheme {
            next.user_info.clone_from(&from.user_info);
        }
        Ok(next)
    }

    fn receive(&mut self, shown: &str, asked: &Url, answer: Answer) -> Result<Info, Trouble> {
        let options = &self.client.options;
        let plan = transfer::plan(&answer, shown, self.resume.as_ref(), self.sink.size_bytes());
        if plan.restart {
            self.sink.restart()?;
        }
        self.resume = plan.resume;
        let limits = transfer::Limits { max_bytes: self.max_bytes(), deadline: self.deadline, options };
        let request = self.request;
        let tell = |received, total| request.tell_progress(received, total);
        let meta = Meta {
            final_url: shown.to_owned(),
            etag: answer.header("etag").map(str::to_owned),
            last_modified: answer.header("last-modified").map(str::to_owned),
            content_type: answer.header("content-type").map(str::to_owned),
            ..Meta::default()
        };
        let may_store = !answer.header("cache-control").is_some_and(|value| value.contains("no-store"));
        let received = transfer::receive(answer, plan.gzip, plan.total_bytes, &mut self.sink, &limits, &tell);
        if let Err(trouble) = received {
            if !transfer::may_resume(&trouble) {
                self.resume = None;
            }
            return Err(trouble);
        }
        let meta = Meta { size_bytes: self.sink.size_bytes(), sha1: self.sink.sha1(), ..meta };
        let sha1_matches = check_sha1(self.request.sha1.as_deref(), &meta.sha1);
        if let Err(trouble) = sha1_matches {
            if plan.resumed {
                // pieces of two different files: once more from the start
                self.resume = None;
                return Err(Trouble::Truncated { received_bytes: 0, expected_bytes: plan.total_bytes });
            }
            return Err(trouble);
        }
        let checked = self.request.sha1.is_some();
        if may_store && (checked || meta.etag.is_some() || meta.last_modified.is_some()) {
            self.store(asked, &meta);
        }
        Ok(Info {
            final_url: meta.final_url,
            content_type: meta.content_type,
            size_bytes: meta.size_bytes,
            sha1: meta.sha1,
            origin: Origin::Network,
        })
    }

    fn store(&self, asked: &Url, meta: &Meta) {
        let (Some(cache), true) = (&self.client.cache, self.request.use_cache) else { return };
        let stored = self.sink.with_content(|content| cache.store(&asked.to_string(), meta, content));
        if let Err(error) = stored {
            self.client.tell(&Event::CacheTrouble { what: &error.to_string() });
        }
    }

    fn max_bytes(&self) -> u64 {
        self.request.max_bytes.unwrap_or(self.client.options.max_bytes)
    }
}
