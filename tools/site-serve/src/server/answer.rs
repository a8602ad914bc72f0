//! What is answered to a request: decided here, from what is on disk; sent elsewhere.

use super::kinds;
use super::mounts::{Mount, Mounts, Place};
use super::packed::{self, Packed};
use super::page::{self, Entry};
use super::range::{self, Range};
use super::request::{Method, Refusal, Request};
use super::tree::open_below;
use super::validators::{Condition, Validators};
use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A directory is read up to here; what is beyond is not listed.
const LISTING_MAX: usize = 200_000;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    None,
    Bytes(Vec<u8>),
    Shared(Arc<[u8]>),
    /// `length` bytes of a file, from `start`.
    Part {
        file: File,
        start: u64,
        length: u64,
    },
}

impl Body {
    pub fn length(&self) -> u64 {
        match self {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Shared(bytes) => bytes.len() as u64,
            Body::Part { length, .. } => *length,
        }
    }
}

/// What is served.
pub struct Site {
    pub mounts: Mounts,
    pub packed: Packed,
}

impl Site {
    pub fn answer(&self, request: &Request) -> Answer {
        if request.method == Method::Other {
            let mut answer = problem(request, 405, "only GET and HEAD are answered here");
            answer.headers.push(("Allow", "GET, HEAD".to_owned()));
            return answer;
        }
        match self.mounts.place(&request.segments) {
            Place::In(mount, relative) => self.answer_below(request, mount, &relative),
            Place::Above => self.answer_directory(request, Vec::new()),
            Place::Nowhere => not_found(request),
        }
    }

    fn answer_below(&self, request: &Request, mount: &Mount, relative: &Path) -> Answer {
        let opened = open_below(&mount.dir, relative).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.cannot_open(request, &error),
        };
        if metadata.is_file() {
            if request.slash {
                // a file is no directory
                return not_found(request);
            }
            return self.answer_file(request, relative, file, &metadata).unwrap_or_else(|error| {
                problem(request, 500, &format!("the file cannot be read: {}", plain(&error)))
            });
        }
        if !metadata.is_dir() {
            return problem(request, 403, "that is no regular file");
        }
        if !request.slash {
            return redirect_to_slash(request);
        }
        let index = relative.join("index.html");
        let opened = open_below(&mount.dir, &index).and_then(|file| Ok((file.metadata()?, file)));
        if let Ok((metadata, file)) = opened
            && metadata.is_file()
            && let Ok(answer) = self.answer_file(request, &index, file, &metadata)
        {
            return answer;
        }
        match entries(&file, &mount.dir, relative) {
            Ok(entries) => self.answer_directory(request, entries),
            Err(error) => self.cannot_open(request, &error),
        }
    }

    fn cannot_open(&self, request: &Request, error: &io::Error) -> Answer {
        if !self.mounts.names_below(&request.segments).is_empty() {
            return self.answer_directory(request, Vec::new());
        }
        let errno = Errno::from_io_error(error);
        match error.kind() {
            _ if errno == Some(Errno::LOOP) => not_found(request),
            _ if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) => {
                problem(request, 503, "too many open files")
            }
            io::ErrorKind::PermissionDenied => {
                problem(request, 403, "that may not be read, or leads outside what is served")
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                not_found(request)
            }
            _ => problem(request, 500, &format!("that cannot be read: {}", plain(error))),
        }
    }

    fn answer_directory(&self, request: &Request, mut entries: Vec<Entry>) -> Answer {
        if !request.slash {
            return redirect_to_slash(request);
        }
        for name in self.mounts.names_below(&request.segments) {
            entries.retain(|entry| entry.name != name.as_bytes());
            entries.push(Entry { file: false, name: name.into_bytes(), size_bytes: 0, modified: None });
        }
        let page = page::directory(&request.segments, entries);
        Answer {
            status: 200,
            headers: vec![
                ("Content-Type", "text/html; charset=utf-8".to_owned()),
                ("Cache-Control", "no-cache".to_owned()),
            ],
            body: Body::Bytes(page.into_bytes()),
        }
    }

    fn answer_file(
        &self,
        request: &Request,
        name: &Path,
        file: File,
        metadata: &Metadata,
    ) -> io::Result<Answer> {
        let size = metadata.len();
        let identity = (metadata.dev(), metadata.ino());
        let validators = Validators::new(metadata.modified()?, size, identity, SystemTime::now());
        let kind = match kinds::by_name(name) {
            Some(kind) => kind,
            None => {
                let mut start = [0; 512];
                let count = file.read_at(&mut start, 0)?;
                kinds::by_content(&start[..count])
            }
        };
        let mut headers =
            vec![("Last-Modified", validators.last_modified()), ("Cache-Control", "no-cache".to_owned())];
        let compressible = kinds::is_compressible(kind) && size >= packed::FROM_BYTES;
        if compressible {
            headers.push(("Vary", "Accept-Encoding".to_owned()));
        }
        match validators.condition(|name| request.header(name)) {
            Condition::Send => {}
            Condition::NotModified => {
                // of the form that the client has
                let packed = request.header("if-none-match").is_some_and(|tags| tags.contains("-gz\""));
                headers.push(("ETag", validators.etag(packed)));
                return Ok(Answer { status: 304, headers, body: Body::None });
            }
            Condition::Failed => {
                return Ok(problem(request, 412, "the file is not the one the request is about"));
            }
        }
        headers.push(("Content-Type", kind.to_owned()));
        headers.push(("Accept-Ranges", "bytes".to_owned()));
        let asked_range = request.header("range").filter(|_| request.method == Method::Get);
        let range = match asked_range {
            Some(_) if !validators.allows_range(request.header("if-range")) => Range::Whole,
            asked => range::parse(asked, size),
        };
        let wants_gzip = asked_range.is_none() && packed::accepted(request.header("accept-encoding"));
        if wants_gzip && compressible && size <= packed::UP_TO_BYTES {
            let content = || {
                let mut content = vec![0; size as usize];
                file.read_exact_at(&mut content, 0).map(|()| content)
            };
            let tag = validators.etag(true);
            if let Some(packed) = self.packed.get(&tag, content)? {
                headers.push(("ETag", tag));
                headers.push(("Content-Encoding", "gzip".to_owned()));
                return Ok(Answer { status: 200, headers, body: Body::Shared(packed) });
            }
        }
        headers.push(("ETag", validators.etag(false)));
        let (status, start, length) = match range {
            Range::Whole => (200, 0, size),
            Range::Part { start, length } => {
                headers.push(("Content-Range", format!("bytes {start}-{}/{size}", start + length - 1)));
                (206, start, length)
            }
            Range::Unsatisfiable => {
                let mut answer = problem(request, 416, "the file is shorter than that");
                answer.headers.push(("Content-Range", format!("bytes */{size}")));
                return Ok(answer);
            }
        };
        Ok(Answer { status, headers, body: Body::Part { file, start, length } })
    }
}

/// The entries of a directory that are for showing: no dot files, no temporary ones, no links that lead outside.
fn entries(opened: &File, dir: &Path, relative: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(opened)?.take(LISTING_MAX) {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name.starts_with(b".") {
            continue;
        }
        // what is gone meanwhile is left out
        let Ok(stat) = statat(opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let mut kind = FileType::from_raw_mode(stat.st_mode);
        let (mut size_bytes, mut modified_s) = (stat.st_size.cast_unsigned(), stat.st_mtime);
        if kind.is_symlink() {
            let target = open_below(dir, &relative.join(OsStr::from_bytes(name)));
            let Ok(metadata) = target.and_then(|file| file.metadata()) else { continue };
            kind = FileType::from_raw_mode(metadata.mode());
            (size_bytes, modified_s) = (metadata.size(), metadata.mtime());
        }
        let modified =
            u64::try_from(modified_s).ok().map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        entries.push(Entry { file: !kind.is_dir(), name: name.to_vec(), size_bytes, modified });
    }
    Ok(entries)
}

fn redirect_to_slash(request: &Request) -> Answer {
    let mut location = String::new();
    for segment in &request.segments {
        location.push('/');
        location.push_str(&page::encode(segment));
    }
    location.push('/');
    if let Some(query) = &request.query {
        location.push('?');
        location.push_str(query);
    }
    let mut answer = problem(request, 301, &format!("the directory is at {location}"));
    answer.headers.push(("Location", location));
    answer
}

fn not_found(request: &Request) -> Answer {
    let shown: Vec<String> =
        request.segments.iter().map(|segment| String::from_utf8_lossy(segment).into_owned()).collect();
    problem(request, 404, &format!("nothing is at \"/{}\"", shown.join("/")))
}

/// An answer other than what was asked for: a page for browsers, a line of text for everybody else.
fn problem(request: &Request, status: u16, why: &str) -> Answer {
    let html = request.header("accept").is_some_and(|accept| accept.contains("text/html"));
    error_answer(status, why, html)
}

/// The answer to a head that could not be parsed.
pub fn refusal(refusal: &Refusal) -> Answer {
    error_answer(refusal.status, refusal.why, false)
}

fn error_answer(status: u16, why: &str, html: bool) -> Answer {
    let (kind, body) = if html {
        ("text/html; charset=utf-8", page::error(status, reason(status), why))
    } else {
        let why: String = why.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        ("text/plain; charset=utf-8", format!("{why}\n"))
    };
    let headers = vec![("Content-Type", kind.to_owned()), ("Cache-Control", "no-cache".to_owned())];
    Answer { status, headers, body: Body::Bytes(body.into_bytes()) }
}

fn plain(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The reason phrase of a status line.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
