//! One connection: requests in, answers out, within limits of time and size.

use super::answer::{self, Answer, Body, Site, reason};
use super::request::{self, HEAD_MAX_BYTES, Method, Request};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

/// A head must be whole within this after its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// An idle connection looks so often whether its place is needed.
const IDLE_SLICE: Duration = Duration::from_secs(1);
/// The client must take something within this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that takes less than this a second, over a minute, is cut off.
const SLOWEST_BYTES_PER_S: u64 = 500;
const SLOWEST_WINDOW: Duration = Duration::from_secs(60);
/// Files up to this go out in one piece with the head.
const ONE_PIECE_BYTES: u64 = 64 * 1024;
const PIECE_BYTES: u64 = 1 << 20;

/// What all connections share.
pub struct Shared {
    pub site: Site,
    /// Requests that are being answered right now.
    pub busy: AtomicUsize,
    /// No new requests: the server is about to stop.
    pub stopping: AtomicBool,
    /// All places are taken: idle connections give way to whoever may be waiting.
    pub crowded: AtomicBool,
    /// Called after each answer.
    pub log: fn(&Line),
}

/// A line of the access log.
pub struct Line<'a> {
    pub client: Option<SocketAddr>,
    /// Method and target as sent; empty when they could not be parsed.
    pub asked: &'a str,
    pub status: u16,
    pub body_bytes: u64,
    pub took: Duration,
    /// False when the client went away, or was too slow.
    pub whole: bool,
}

/// Serves a connection until either side closes it.
pub fn serve(mut stream: TcpStream, shared: &Shared) {
    let client = stream.peer_addr().ok();
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let mut buffer = Vec::with_capacity(2048);
    loop {
        let head = match read_head(&mut stream, &mut buffer, shared) {
            Head::Whole(request) => Ok(request),
            Head::Refused(refusal) => Err(refusal),
            Head::Closed => return,
        };
        let start = Instant::now();
        shared.busy.fetch_add(1, SeqCst);
        let (answer, asked, keep_alive, with_body) = match &head {
            Ok(request) => {
                let asked = format!("{} {}", method_name(request), request.target);
                let keep = request.keep_alive && !shared.stopping.load(SeqCst);
                (shared.site.answer(request), asked, keep, request.method != Method::Head)
            }
            Err(refusal) => (answer::refusal(refusal), String::new(), false, true),
        };
        let status = answer.status;
        let (sent, result) = send(&mut stream, answer, keep_alive, with_body);
        (shared.log)(&Line {
            client,
            asked: &asked,
            status,
            body_bytes: sent,
            took: start.elapsed(),
            whole: result.is_ok(),
        });
        shared.busy.fetch_sub(1, SeqCst);
        if result.is_err() {
            return;
        }
        if !keep_alive {
            close_politely(stream);
            return;
        }
    }
}

fn method_name(request: &Request) -> &'static str {
    match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Other => "(other)",
    }
}

enum Head {
    Whole(Request),
    Refused(request::Refusal),
    Closed,
}

/// Reads until a head is whole. What belongs to the next request stays in the buffer.
fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>, shared: &Shared) -> Head {
    let mut deadline = Instant::now() + if buffer.is_empty() { IDLE_TIMEOUT } else { HEAD_TIMEOUT };
    loop {
        if !buffer.is_empty() {
            match request::parse(buffer) {
                Ok(Some((request, length))) => {
                    buffer.drain(..length);
                    return Head::Whole(request);
                }
                Ok(None) => {}
                Err(refusal) => return Head::Refused(refusal),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let idle = buffer.is_empty();
        let left = if idle { left.min(IDLE_SLICE) } else { left };
        let late = left.is_zero() || stream.set_read_timeout(Some(left)).is_err();
        let mut piece = [0; HEAD_MAX_BYTES];
        let count = if late { Err(io::ErrorKind::TimedOut.into()) } else { stream.read(&mut piece) };
        match count {
            Ok(0) => return Head::Closed,
            Ok(count) => {
                if buffer.is_empty() {
                    deadline = Instant::now() + HEAD_TIMEOUT;
                }
                buffer.extend_from_slice(&piece[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) && idle && Instant::now() < deadline => {
                // the place may be needed
                if shared.crowded.load(SeqCst) || shared.stopping.load(SeqCst) {
                    return Head::Closed;
                }
            }
            Err(error) if is_timeout(&error) && !buffer.is_empty() && !shared.stopping.load(SeqCst) => {
                return Head::Refused(request::Refusal {
                    status: 408,
                    why: "the request did not come in time",
                });
            }
            Err(_) => return Head::Closed,
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends an answer. Gives the number of body bytes that went out.
fn send(stream: &mut TcpStream, answer: Answer, keep_alive: bool, with_body: bool) -> (u64, io::Result<()>) {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\nDate: {}\r\nServer: site-serve/{}\r\n",
        answer.status,
        reason(answer.status),
        httpdate::fmt_http_date(SystemTime::now()),
        env!("CARGO_PKG_VERSION"),
    )
    .into_bytes();
    for (name, value) in &answer.headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        // nothing of a name on disk may start a header of its own
        head.extend(value.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"X-Content-Type-Options: nosniff\r\n");
    if answer.status != 304 {
        head.extend_from_slice(format!("Content-Length: {}\r\n", answer.body.length()).as_bytes());
    }
    head.extend_from_slice(if keep_alive {
        b"Connection: keep-alive\r\n\r\n"
    } else {
        b"Connection: close\r\n\r\n"
    });
    if !with_body || answer.status == 304 {
        return (0, stream.write_all(&head));
    }
    let length = answer.body.length();
    match answer.body {
        Body::None => (0, stream.write_all(&head)),
        Body::Bytes(bytes) => send_bytes(stream, head, &bytes),
        Body::Shared(bytes) => send_bytes(stream, head, &bytes),
        Body::Part { file, start, length: _ } if length <= ONE_PIECE_BYTES => {
            let head_bytes = head.len();
            head.resize(head_bytes + length as usize, 0);
            if let Err(error) = file.read_exact_at(&mut head[head_bytes..], start) {
                // the file became shorter since it was opened; nothing has been said yet
                return (0, Err(error));
            }
            let result = stream.write_all(&head);
            (if result.is_ok() { length } else { 0 }, result)
        }
        Body::Part { file, start, length } => match stream.write_all(&head) {
            Ok(()) => send_file(stream, &file, start, length),
            Err(error) => (0, Err(error)),
        },
    }
}

fn send_bytes(stream: &mut TcpStream, mut head: Vec<u8>, body: &[u8]) -> (u64, io::Result<()>) {
    let result = if body.len() as u64 <= ONE_PIECE_BYTES {
        head.extend_from_slice(body);
        stream.write_all(&head)
    } else {
        stream.write_all(&head).and_then(|()| stream.write_all(body))
    };
    (if result.is_ok() { body.len() as u64 } else { 0 }, result)
}

/// Sends part of a file, piece by piece so that slow clients are noticed.
fn send_file(stream: &mut TcpStream, file: &File, start: u64, length: u64) -> (u64, io::Result<()>) {
    let mut sent = 0;
    let (mut window_start, mut window_sent) = (Instant::now(), 0);
    while sent < length {
        match send_piece(stream, file, start + sent, PIECE_BYTES.min(length - sent)) {
            // shorter than announced: the file was cut meanwhile; closing tells the client
            Ok(0) => return (sent, Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (sent, Err(error)),
        }
        let window = window_start.elapsed();
        if window >= SLOWEST_WINDOW {
            if sent - window_sent < SLOWEST_BYTES_PER_S * window.as_secs() {
                return (sent, Err(io::ErrorKind::TimedOut.into()));
            }
            (window_start, window_sent) = (Instant::now(), sent);
        }
    }
    (sent, Ok(()))
}

/// The kernel copies from file to socket; where a file system cannot do that, we do.
fn send_piece(stream: &mut TcpStream, file: &File, at: u64, length: u64) -> io::Result<u64> {
    let mut offset = at;
    match rustix::fs::sendfile(&*stream, file, Some(&mut offset), length as usize) {
        Ok(count) => Ok(count as u64),
        Err(Errno::INVAL | Errno::NOSYS) => {
            let mut piece = vec![0; length as usize];
            let count = file.read_at(&mut piece, at)?;
            stream.write_all(&piece[..count])?;
            Ok(count as u64)
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets the client read the answer before the connection goes: data that is still coming in would otherwise reset it.
fn close_politely(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut drain = [0; 8192];
    while Instant::now() < deadline && matches!(stream.read(&mut drain), Ok(count) if count > 0) {}
}
