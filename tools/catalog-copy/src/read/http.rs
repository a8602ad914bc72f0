//! A catalog on a server: `pkgs-all` in one request, else `pkgs` and then `pkg/NAME` side by side.

use crate::gather::Gatherer;
use crate::read::directory::read_all;
use crate::read::{Origin, checked_name, json};
use catalog::Name;
use edge::{Exit, Failure, Result, progress, say};
use fetch::{Class, Client, FetchError, Info, Options, default_cache_dir};
use racket_data::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A catalog, and each of its files, may be this large.
const MAX_BYTES: u64 = 1 << 30;
/// Other threads read so many entries at a time.
const BATCH: usize = 16;

/// Asks servers.
pub struct Asker<'a> {
    pub client: Client,
    /// The version of Racket to ask for.
    pub version: Option<&'a str>,
    pub jobs: usize,
}

/// A catalog as it came over the network.
pub enum Fetched {
    /// `pkgs-all`, and where it was.
    All(Vec<u8>, Place),
    /// `pkgs-all.json`
    Json(Vec<u8>, Place),
    /// Name, URL and text of each entry.
    Each(Vec<(Name, String, Vec<u8>)>, Place),
}

/// Addresses of one catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As given.
    pub given: String,
    /// What its parts lie below, with a final slash.
    pub base: String,
    /// What is after `?` in the given URL.
    query: Option<String>,
}

pub fn client(use_cache: bool, jobs: usize) -> Client {
    let on_event: Option<fetch::Listener> = (say::verbosity() > 0)
        .then(|| Arc::new(|event: &fetch::Event<'_>| say::detail(event.to_string())) as _);
    let cache = if use_cache { default_cache_dir() } else { None };
    Client::new(Options { cache, on_event, per_host: jobs, ..Options::from_environment() })
}

impl Place {
    pub fn new(url: &str) -> Place {
        let without_fragment = url.split('#').next().unwrap_or_default();
        let (path, query) = match without_fragment.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (without_fragment, None),
        };
        // the name of a document stands for the directory that it is in
        let directory = ["/pkgs-all", "/pkgs-all.json"].iter().find_map(|name| path.strip_suffix(name));
        let base = format!("{}/", directory.unwrap_or(path).trim_end_matches('/'));
        Place { given: url.to_owned(), base, query: query.filter(|query| !query.is_empty()) }
    }

    fn url(&self, part: &str, version: Option<&str>) -> String {
        let mut query: Vec<String> = self.query.iter().cloned().collect();
        query.extend(version.map(|version| format!("version={version}")));
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{part}{mark}{}", self.base, query.join("&"))
    }
}

impl Asker<'_> {
    /// Fetches a catalog whole; nothing is used before all of it is here.
    pub fn fetch(&self, url: &str) -> Result<Fetched> {
        let place = Place::new(url);
        if url.split(['?', '#']).next().is_some_and(|path| path.ends_with(".json")) {
            let at = format!("{}pkgs-all.json", place.base);
            let at = if url.contains("pkgs-all.json") { at } else { url.to_owned() };
            let (body, _) = self.get(&at, "catalog").map_err(|error| failure(&place.given, &error))?;
            return Ok(Fetched::Json(body, place));
        }
        let at = place.url("pkgs-all", self.version);
        match self.get(&at, "catalog") {
            Ok((body, info)) => {
                refuse_html(&body, &info, &at, &place.given)?;
                Ok(Fetched::All(body, place))
            }
            Err(error) if error.class() == Class::Gone => self.fetch_each(place, &error),
            Err(error) => Err(failure(&place.given, &error)),
        }
    }

    fn fetch_each(&self, place: Place, no_all: &FetchError) -> Result<Fetched> {
        let at = place.url("pkgs", self.version);
        let (body, info) = self.get(&at, "names").map_err(|error| {
            let failure = failure(&place.given, if error.class() == Class::Gone { no_all } else { &error });
            failure.detail("also asked", &at)
        })?;
        refuse_html(&body, &info, &at, &place.given)?;
        say::detail(format!("{} has no pkgs-all: asking for each package", place.given));
        let names = names(&body, &at)?;
        let bar = progress::items("fetching", Some(names.len() as u64));
        let next = AtomicUsize::new(0);
        let fetched = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.min(names.len()))
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Vec::new();
                        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let at = place.url(&format!("pkg/{name}"), self.version);
                            match self.client.request(&at).max_bytes(MAX_BYTES).bytes() {
                                Ok((body, info)) => {
                                    refuse_html(&body, &info, &at, &place.given)?;
                                    mine.push((name.clone(), at, body));
                                }
                                Err(error) => {
                                    // the others need not go on
                                    next.store(usize::MAX / 2, Ordering::Relaxed);
                                    return Err(failure(&place.given, &error));
                                }
                            }
                            bar.inc(1);
                        }
                        Ok(mine)
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(names.len());
            for worker in workers {
                all.extend(worker.join().unwrap_or_else(|_| Err(Failure::bug("a fetching thread died")))?);
            }
            Ok::<_, Failure>(all)
        })?;
        bar.finish_and_clear();
        Ok(Fetched::Each(fetched, place))
    }

    fn get(&self, url: &str, what: &str) -> std::result::Result<(Vec<u8>, Info), FetchError> {
        let bar = progress::bytes(&format!("fetching {what}"), None);
        let got = self
            .client
            .request(url)
            .max_bytes(MAX_BYTES)
            .on_progress(|progress| {
                if let Some(total) = progress.total_bytes {
                    progress::set_total_bytes(&bar, total);
                }
                bar.set_position(progress.received_bytes);
            })
            .bytes();
        bar.finish_and_clear();
        got
    }
}

impl Fetched {
    /// Adds the entries.
    pub fn read(self, into: &mut Gatherer) -> Result<()> {
        match self {
            Fetched::All(body, place) => {
                read_all(body.as_slice(), Some(body.len() as u64), &place.given, &place.base, into)
            }
            Fetched::Json(body, place) => json::read(body.as_slice(), &place.given, &place.base, into),
            Fetched::Each(entries, place) => {
                let origin = Origin::new(&place.given, &place.base, into);
                let mut entries = entries.into_iter();
                loop {
                    let batch: Vec<_> = entries.by_ref().take(BATCH).collect();
                    if batch.is_empty() {
                        return Ok(());
                    }
                    let origin = Arc::clone(&origin);
                    into.add_work(Box::new(move |add| {
                        batch.into_iter().try_for_each(|(name, url, text)| {
                            let entry = origin.read_entry(&name, &text, &url)?;
                            add(name, entry)
                        })
                    }))?;
                }
            }
        }
    }
}

fn names(body: &[u8], url: &str) -> Result<Vec<Name>> {
    let value = racket_data::read(body)
        .map_err(|error| Failure::data(format!("cannot read \"{url}\": {error}")))?
        .unwrap_or(Value::Bool(false));
    let Some(names) = value.as_list() else {
        return Err(Failure::data(format!("cannot read \"{url}\": not a list of package names")));
    };
    let mut names = names.iter().map(|name| checked_name(name, url)).collect::<Result<Vec<Name>>>()?;
    names.sort();
    names.dedup();
    Ok(names)
}

/// Pages for people come where a server answers every address, or a network wants a log-in first.
fn refuse_html(body: &[u8], info: &Info, url: &str, given: &str) -> Result<()> {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    if body.get(start) != Some(&b'<') {
        return Ok(());
    }
    Err(Failure::data(format!(
        "cannot read catalog \"{given}\": the server sends a page for people, not a catalog"
    ))
    .detail("asked", url)
    .detail("answered by", &info.final_url)
    .hint("open it in a browser: is it the address of a catalog, or does the network want a log-in?"))
}

fn failure(given: &str, error: &FetchError) -> Failure {
    let exit = match error.class() {
        Class::Busy => Exit::TryAgain,
        Class::Damaged => Exit::Data,
        Class::BadRequest => Exit::Usage,
        Class::Local => Exit::CantCreate,
        Class::Gone | Class::Denied | Class::Unreachable => Exit::Unavailable,
    };
    let message = error.to_string();
    let cause = message.strip_prefix(&format!("{}: ", error.url)).unwrap_or(&message).to_owned();
    let failure =
        Failure::new(exit, format!("cannot read catalog \"{given}\": {cause}")).detail("asked", &error.url);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_below_the_catalog() {
        let url = |given: &str, part: &str| Place::new(given).url(part, Some("8.7"));
        assert_eq!(url("http://h", "pkgs-all"), "http://h/pkgs-all?version=8.7");
        assert_eq!(url("http://h/", "pkg/a"), "http://h/pkg/a?version=8.7");
        // raco asks for http://h/pkgs-all here
        assert_eq!(url("http://h/cat", "pkgs-all"), "http://h/cat/pkgs-all?version=8.7");
        assert_eq!(url("http://h/cat/?key=1#x", "pkgs-all"), "http://h/cat/pkgs-all?key=1&version=8.7");
        assert_eq!(url("http://h/cat/pkgs-all", "pkgs-all"), "http://h/cat/pkgs-all?version=8.7");
        assert_eq!(Place::new("http://h/c").url("pkgs", None), "http://h/c/pkgs");
    }
}
