//! A web server that lies, for tests of everything that fetches: it truncates, stalls, trickles, never ends, breaks
//! connections, redirects in circles, says HTML where data was asked for, and counts what it was asked.
//!
//! ```no_run
//! use tests::liar::{Liar, Lie};
//! let liar = Liar::start();
//! liar.on("/a.zip", [Lie::status(503), Lie::truncated("0123456789", 4), Lie::body("0123456789")]);
//! let url = liar.url("/a.zip");
//! // … fetch it …
//! assert_eq!(liar.count("/a.zip"), 3);
//! ```

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One answer, true or not.
#[derive(Clone, Debug)]
pub enum Lie {
    /// An honest answer.
    Say { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// Announces the whole body, closes after so many bytes of it.
    Truncated { body: Vec<u8>, after_bytes: usize, headers: Vec<(String, String)> },
    /// Chunked, and the last chunk never comes: the connection ends.
    TruncatedChunks { body: Vec<u8> },
    /// Announces a length that is not that of the body, then closes.
    WrongLength { body: Vec<u8>, claimed_bytes: usize },
    /// A body without end and without length.
    Endless,
    /// One byte at a time.
    Trickle { body: Vec<u8>, pause: Duration },
    /// Takes the request and says nothing.
    Silence,
    /// Takes the request and closes.
    Close,
    /// Sends these bytes instead of an HTTP answer and closes.
    Garbage(Vec<u8>),
    /// A server that can resume, whose connections break after so many bytes each.
    Breaking { body: Vec<u8>, etag: String, every_bytes: usize },
    /// A server that revalidates: 304 when the ETag is known.
    Tagged { body: Vec<u8>, etag: String },
}

impl Lie {
    pub fn body(body: impl Into<Vec<u8>>) -> Lie {
        Lie::Say { status: 200, headers: Vec::new(), body: body.into() }
    }
    pub fn status(status: u16) -> Lie {
        Lie::Say { status, headers: Vec::new(), body: format!("this is status {status}\n").into_bytes() }
    }
    pub fn redirect(to: &str) -> Lie {
        Lie::status(302).with("Location", to)
    }
    /// A page for people, with status 200, where data was asked for.
    pub fn html() -> Lie {
        Lie::body("<!doctype html>\n<html><head><title>Please log in</title></head><body>…</body></html>\n")
            .with("Content-Type", "text/html; charset=utf-8")
    }
    pub fn truncated(body: impl Into<Vec<u8>>, after_bytes: usize) -> Lie {
        Lie::Truncated { body: body.into(), after_bytes, headers: Vec::new() }
    }
    /// Adds a header (to answers that have any of their own).
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Lie {
        if let Lie::Say { headers, .. } | Lie::Truncated { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path without query.
    pub path: String,
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

#[derive(Default)]
struct Shared {
    /// For each path the answers still to be given; the last one stays.
    lies: Mutex<HashMap<String, Vec<Lie>>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    active: AtomicUsize,
    most_active: AtomicUsize,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server; it stops when dropped.
pub struct Liar {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Liar {
    /// Listens on a free port of loopback.
    pub fn start() -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.stop.load(SeqCst) {
                    return;
                }
                server.connections.fetch_add(1, SeqCst);
                let shared = server.clone();
                std::thread::spawn(move || {
                    // the client went away: that is its right
                    let _ = serve(&stream, &shared);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Liar { address, shared }
    }

    /// What to answer for a path: one after the other, then the last one for ever. `*` stands for any other path.
    pub fn on(&self, path: &str, lies: impl IntoIterator<Item = Lie>) {
        let mut lies: Vec<Lie> = lies.into_iter().collect();
        assert!(!lies.is_empty(), "an answer for {path}");
        lies.reverse();
        lock(&self.shared.lies).insert(path.to_owned(), lies);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path == path).count()
    }

    /// Every request so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// The most requests that were being answered at the same time.
    pub fn most_active(&self) -> usize {
        self.shared.most_active.load(SeqCst)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// An address where nobody listens.
pub fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_request(&mut reader)? {
        lock(&shared.asked).push(asked.clone());
        let lie = {
            let mut lies = lock(&shared.lies);
            let known = if lies.contains_key(&asked.path) { asked.path.as_str() } else { "*" };
            match lies.get_mut(known) {
                Some(lies) if lies.len() > 1 => lies.pop(),
                Some(lies) => lies.last().cloned(),
                None => None,
            }
        };
        let active = shared.active.fetch_add(1, SeqCst) + 1;
        shared.most_active.fetch_max(active, SeqCst);
        let keep = tell(stream, &asked, lie.unwrap_or_else(|| Lie::status(404)), shared);
        shared.active.fetch_sub(1, SeqCst);
        if !keep? {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.take(64 * 1024).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.take(64 * 1024).read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok(Some(Asked { method, path, query, headers }))
}

/// Answers; false when the connection is to be closed.
fn tell(mut stream: &TcpStream, asked: &Asked, lie: Lie, shared: &Shared) -> std::io::Result<bool> {
    match lie {
        Lie::Say { status, headers, body } => {
            head(stream, status, &headers, Some(body.len()))?;
            if asked.method != "HEAD" {
                stream.write_all(&body)?;
            }
            return Ok(true);
        }
        Lie::Truncated { body, after_bytes, headers } => {
            head(stream, 200, &headers, Some(body.len()))?;
            stream.write_all(&body[..after_bytes])?;
        }
        Lie::TruncatedChunks { body } => {
            head(stream, 200, &[("Transfer-Encoding".to_owned(), "chunked".to_owned())], None)?;
            write!(stream, "{:x}\r\n", body.len())?;
            stream.write_all(&body)?;
            stream.write_all(b"\r\n")?;
        }
        Lie::WrongLength { body, claimed_bytes } => {
            head(stream, 200, &[], Some(claimed_bytes))?;
            stream.write_all(&body)?;
        }
        Lie::Endless => {
            head(stream, 200, &[], None)?;
            while !shared.stop.load(SeqCst) {
                stream.write_all(&[b'x'; 8192])?;
            }
        }
        Lie::Trickle { body, pause } => {
            head(stream, 200, &[], Some(body.len()))?;
            for byte in body {
                if shared.stop.load(SeqCst) {
                    break;
                }
                stream.write_all(&[byte])?;
                std::thread::sleep(pause);
            }
        }
        Lie::Silence => {
            // until the client has had enough
            let _ = stream.read(&mut [0]);
        }
        Lie::Close => {}
        Lie::Garbage(bytes) => stream.write_all(&bytes)?,
        Lie::Breaking { body, etag, every_bytes } => {
            let known = asked.headers.get("if-range").is_none_or(|tag| *tag == etag);
            let start = asked
                .headers
                .get("range")
                .filter(|_| known)
                .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let mut headers =
                vec![("ETag".to_owned(), etag), ("Accept-Ranges".to_owned(), "bytes".to_owned())];
            let from = start.unwrap_or(0).min(body.len());
            if start.is_some() {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                headers.push(("Content-Range".to_owned(), range));
            }
            let rest = &body[from..];
            head(stream, if start.is_some() { 206 } else { 200 }, &headers, Some(rest.len()))?;
            stream.write_all(&rest[..every_bytes.min(rest.len())])?;
        }
        Lie::Tagged { body, etag } => {
            let headers = [("ETag".to_owned(), etag.clone())];
            if asked.headers.get("if-none-match") == Some(&etag) {
                head(stream, 304, &headers, None)?;
            } else {
                head(stream, 200, &headers, Some(body.len()))?;
                stream.write_all(&body)?;
            }
            return Ok(true);
        }
    }
    Ok(false)
}

fn head(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(String, String)],
    length_bytes: Option<usize>,
) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", if status < 400 { "OK" } else { "Trouble" });
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    match length_bytes {
        Some(length_bytes) => text.push_str(&format!("Content-Length: {length_bytes}\r\n")),
        None if status == 304 => {}
        None => text.push_str("Connection: close\r\n"),
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())
}
