//! Answers kept on disk, so that an unchanged catalog costs one request that says "304".
//!
//! One file per URL, named by the sha256 of the URL: a few `key: value` lines, an empty line, the body. It is
//! written beside its place and renamed, and it carries the length and sha1 of its body, so any number of processes
//! may use the directory at the same time, and a damaged file is no more than a miss.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

const MAGIC: &str = "downstream fetch cache 1";
const HEAD_MAX_BYTES: u64 = 64 * 1024;
/// The directory is looked over for pruning once per so many stores.
const STORES_PER_PRUNING: u32 = 256;
/// What a killed process left behind is removed after this.
const STALE: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Cache {
    dir: PathBuf,
    max_bytes: u64,
    stores: AtomicU32,
}

/// What is remembered about a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The URL that finally answered; validators are its.
    pub final_url: String,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    pub content_type: Option<String>,
    pub size_bytes: u64,
    pub sha1: String,
}

pub(crate) struct Entry {
    pub meta: Meta,
    path: PathBuf,
    body: BufReader<File>,
}

impl Cache {
    pub fn new(dir: &Path, max_bytes: u64) -> Cache {
        Cache { dir: dir.to_owned(), max_bytes, stores: AtomicU32::new(0) }
    }

    fn path(&self, url: &str) -> PathBuf {
        let name: String = Sha256::digest(url.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(&name[..2]).join(&name[2..])
    }

    /// The entry for a URL, if there is a sound one.
    pub fn find(&self, url: &str) -> Option<Entry> {
        let path = self.path(url);
        let file = File::open(&path).ok()?;
        let whole = file.metadata().ok()?.len();
        let mut body = BufReader::new(file);
        let mut head = body.by_ref().take(HEAD_MAX_BYTES);
        let mut meta = Meta::default();
        let mut read = 0;
        let mut line = String::new();
        for number in 0.. {
            line.clear();
            read += head.read_line(&mut line).ok()? as u64;
            let text = line.strip_suffix('\n')?;
            match (number, text.split_once(": ")) {
                (0, _) if text == MAGIC => {}
                (0, _) => return None,
                (_, None) if text.is_empty() => break,
                (_, None) => return None,
                (_, Some(("url", known))) if known != url => return None,
                (_, Some(("final-url", value))) => meta.final_url = value.to_owned(),
                (_, Some(("etag", value))) => meta.etag = Some(value.to_owned()),
                (_, Some(("last-modified", value))) => meta.last_modified = Some(value.to_owned()),
                (_, Some(("content-type", value))) => meta.content_type = Some(value.to_owned()),
                (_, Some(("size", value))) => meta.size_bytes = value.parse().ok()?,
                (_, Some(("sha1", value))) => meta.sha1 = value.to_owned(),
                (_, Some(_)) => {}
            }
        }
        (whole == read + meta.size_bytes && !meta.sha1.is_empty()).then_some(Entry { meta, path, body })
    }

    /// Keeps a body. The caller has checked that it is whole.
    pub fn store(&self, url: &str, meta: &Meta, body: &mut dyn Read) -> io::Result<()> {
        if meta.size_bytes > self.max_bytes / 4 {
            return Ok(());
        }
        let path = self.path(url);
        let dir = path.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(dir)?;
        let mut head = format!("{MAGIC}\nurl: {url}\nfinal-url: {}\n", meta.final_url);
        let optional = [
            ("etag", &meta.etag),
            ("last-modified", &meta.last_modified),
            ("content-type", &meta.content_type),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                head.push_str(&format!("{key}: {value}\n"));
            }
        }
        head.push_str(&format!("size: {}\nsha1: {}\n\n", meta.size_bytes, meta.sha1));
        file.write_all(head.as_bytes())?;
        io::copy(body, &mut file)?;
        file.persist(&path).map_err(|error| error.error)?;
        if self.stores.fetch_add(1, Relaxed).is_multiple_of(STORES_PER_PRUNING) {
            self.prune();
        }
        Ok(())
    }

    /// Removes the least recently used entries beyond the limit, and what killed processes left.
    fn prune(&self) {
        let now = SystemTime::now();
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let dirs = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for file in dirs.filter_map(|dir| std::fs::read_dir(dir.path()).ok()).flatten().flatten() {
            let Ok(metadata) = file.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if file.file_name().as_encoded_bytes().starts_with(b".") {
                if now.duration_since(used).is_ok_and(|age| age > STALE) {
                    let _ = std::fs::remove_file(file.path());
                }
                continue;
            }
            entries.push((used, metadata.len(), file.path()));
        }
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        if total <= self.max_bytes {
            return;
        }
        entries.sort();
        for (_, size, path) in entries {
            if total <= self.max_bytes / 5 * 4 {
                break;
            }
            let _ = std::fs::remove_file(path);
            total -= size;
        }
    }
}

impl Entry {
    /// The body; `None` when it does not have the checksum it should have (then the entry is removed).
    pub fn copy_to(mut self, write: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<Option<Meta>> {
        let mut hasher = sha1::Sha1::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = self.body.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            sha1::Digest::update(&mut hasher, &buffer[..count]);
            write(&buffer[..count])?;
        }
        let sha1: String = sha1::Digest::finalize(hasher).iter().map(|byte| format!("{byte:02x}")).collect();
        if sha1 != self.meta.sha1 {
            let _ = std::fs::remove_file(&self.path);
            return Ok(None);
        }
        // for pruning: used now
        let _ = self.body.get_ref().set_modified(SystemTime::now());
        Ok(Some(self.meta))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(body: &[u8]) -> Meta {
        let sha1 = sha1::Digest::finalize(<sha1::Sha1 as sha1::Digest>::new_with_prefix(body));
        Meta {
            final_url: "http://h/final".into(),
            etag: Some("\"x: y\"".into()),
            size_bytes: body.len() as u64,
            sha1: sha1.iter().map(|byte| format!("{byte:02x}")).collect(),
            ..Meta::default()
        }
    }

    fn body(entry: Entry) -> Option<Vec<u8>> {
        let mut copied = Vec::new();
        let found = entry.copy_to(&mut |data| {
            copied.extend_from_slice(data);
            Ok(())
        });
        found.unwrap().map(|_| copied)
    }

    #[test]
    fn what_is_stored_is_found_and_damage_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), 1 << 20);
        let content = b"\n\nbody\n";
        assert!(cache.find("http://h/").is_none());
        cache.store("http://h/", &meta(content), &mut &content[..]).unwrap();
        let entry = cache.find("http://h/").unwrap();
        assert_eq!(entry.meta, meta(content));
        assert_eq!(body(entry).unwrap(), content);
        assert!(cache.find("http://h/other").is_none());

        let path = cache.path("http://h/");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.find("http://h/").is_none(), "{length}");
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(body(cache.find("http://h/").unwrap()), None);
        assert!(!path.exists());
    }

    #[test]
    fn the_oldest_leave_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), 100_000);
        let content = vec![7; 20_000];
        for number in 0..8 {
            let url = format!("http://h/{number}");
            cache.store(&url, &meta(&content), &mut &content[..]).unwrap();
            let file = File::options().write(true).open(cache.path(&url)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(number)).unwrap();
        }
        cache.prune();
        let kept: Vec<bool> =
            (0..8).map(|number| cache.find(&format!("http://h/{number}")).is_some()).collect();
        assert_eq!(kept, [false, false, false, false, false, true, true, true]);
    }
}
