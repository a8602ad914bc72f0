//! Output through a channel that may end too early: a container engine stops to listen to a command two seconds after it
//! ended, and what is then still under way, because the caller reads slowly, is lost without a word. So the wrapper inside
//! tells the end itself, in the streams: a mark that the command cannot print by accident, its exit status, and after it as
//! much as may be under way, which it cannot write before all else is through. Here the streams are passed on up to the mark.

use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::mpsc::{self, Receiver};

/// The last words of the wrapper: mark and status `$s` on both streams. Between the command and its engine are two pipes
/// of 64 KiB and two buffers of 32 KiB.
pub const TELL: &str = r#"e() { printf '\001%s\002%s\003' "$t" "$s"; }
e; e >&2; printf %262144s; printf %262144s >&2
"#;

/// What became of the streams of a command.
pub enum Heard {
    /// All that it printed is passed on; its exit status.
    End(u8),
    /// They ended without the mark.
    Nothing,
    /// One of the others, who need the command, is gone.
    Alone,
    /// What came could not be passed on.
    Unheard(io::Error),
}

/// Passes on the streams of a channel that are pipes, each in a thread of its own.
pub struct Relay {
    streams: Vec<Stream>,
}

struct Stream {
    /// Ends when there is an outcome.
    ended: PipeReader,
    outcome: Receiver<io::Result<Option<u8>>>,
}

impl Relay {
    pub fn start(child: &mut Child, tag: &str) -> io::Result<Relay> {
        let mut streams = Vec::new();
        if let Some(from) = child.stdout.take() {
            streams.push(Stream::start(from, std::io::stdout().as_fd(), tag)?);
        }
        if let Some(from) = child.stderr.take() {
            streams.push(Stream::start(from, std::io::stderr().as_fd(), tag)?);
        }
        Ok(Relay { streams })
    }

    /// Waits for the end of all streams, or of one of the others.
    pub fn wait(mut self, others: &[&OwnedFd]) -> Heard {
        let mut status = None;
        while !self.streams.is_empty() {
            let ends = self.streams.iter().map(|stream| stream.ended.as_fd());
            let mut fds: Vec<PollFd<'_>> = ends
                .chain(others.iter().map(|fd| fd.as_fd()))
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
            let Some(at) = fds[..self.streams.len()].iter().position(|fd| !fd.revents().is_empty()) else {
                return Heard::Alone;
            };
            match self.streams.remove(at).outcome.recv() {
                Ok(Ok(Some(told))) => status = Some(told),
                Ok(Ok(None)) => return Heard::Nothing,
                Ok(Err(error)) => return Heard::Unheard(error),
                Err(error) => return Heard::Unheard(io::Error::other(error)),
            }
        }
        status.map_or(Heard::Nothing, Heard::End)
    }
}

impl Stream {
    fn start(mut from: impl Read + Send + 'static, to: BorrowedFd<'_>, tag: &str) -> io::Result<Stream> {
        let mut to = File::from(to.try_clone_to_owned()?);
        let mut tail = Tail::new(tag);
        let (ended, end) = std::io::pipe()?;
        let (tell, outcome) = mpsc::channel();
        std::thread::spawn(move || {
            let passed = pass_on(&mut from, &mut to, &mut tail);
            let more = matches!(passed, Ok(Some(_)));
            let _ = tell.send(passed);
            drop(end);
            if more {
                // a channel that cannot write would end before the other stream is through
                let _ = io::copy(&mut from, &mut io::sink());
            }
        });
        Ok(Stream { ended, outcome })
    }
}

/// The status that came with the mark; None: the stream ended without it.
fn pass_on(from: &mut impl Read, to: &mut File, tail: &mut Tail) -> io::Result<Option<u8>> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let size = match from.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if size == 0 {
            return to.write_all(&tail.held).map(|()| None);
        }
        if let Some(status) = tail.push(&chunk[..size], to)? {
            return Ok(Some(status));
        }
    }
}

/// Looks for the mark in a stream.
struct Tail {
    mark: Vec<u8>,
    /// The start of what may become the mark.
    held: Vec<u8>,
}

impl Tail {
    fn new(tag: &str) -> Tail {
        Tail { mark: format!("\x01{tag}\x02").into_bytes(), held: Vec::new() }
    }

    /// Passes on what comes before the mark; gives the status that follows it.
    fn push(&mut self, data: &[u8], to: &mut impl Write) -> io::Result<Option<u8>> {
        let mut joined = std::mem::take(&mut self.held);
        let data = if joined.is_empty() {
            data
        } else {
            joined.extend_from_slice(data);
            &joined
        };
        let mut from = 0;
        while let Some(at) = data[from..].iter().position(|byte| *byte == self.mark[0]).map(|at| from + at) {
            match self.status(&data[at..]) {
                Seen::Status(status) => {
                    to.write_all(&data[..at])?;
                    return Ok(Some(status));
                }
                Seen::Start => {
                    self.held = data[at..].to_vec();
                    to.write_all(&data[..at])?;
                    return Ok(None);
                }
                Seen::Other => from = at + 1,
            }
        }
        to.write_all(data)?;
        Ok(None)
    }

    fn status(&self, data: &[u8]) -> Seen {
        let size = data.len().min(self.mark.len());
        if data[..size] != self.mark[..size] {
            return Seen::Other;
        }
        let rest = &data[size..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match rest.get(digits) {
            None if digits <= 3 => Seen::Start,
            Some(3) => std::str::from_utf8(&rest[..digits])
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or(Seen::Other, Seen::Status),
            _ => Seen::Other,
        }
    }
}

/// What some bytes are.
enum Seen {
    Status(u8),
    /// The start of a mark, as far as they go.
    Start,
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(chunks: &[&[u8]]) -> (Vec<u8>, Option<u8>) {
        let (mut tail, mut out) = (Tail::new("ab"), Vec::new());
        for chunk in chunks {
            if let Some(status) = tail.push(chunk, &mut out).unwrap() {
                return (out, Some(status));
            }
        }
        out.extend(&tail.held);
        (out, None)
    }

    #[test]
    fn the_mark_is_found_however_the_stream_is_cut() {
        let stream = b"\x01out\x01a\x01ab\x02x\x01ab\x02999\x03\x01\x01ab\x02137\x03      ";
        let expected = (b"\x01out\x01a\x01ab\x02x\x01ab\x02999\x03\x01".to_vec(), Some(137));
        assert_eq!(passed(&[stream]), expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(passed(&bytes), expected);
        for at in 1..stream.len() {
            assert_eq!(passed(&[&stream[..at], &stream[at..]]), expected, "cut at {at}");
        }
    }

    #[test]
    fn what_only_begins_like_the_mark_is_passed_on() {
        for stream in
            [&b""[..], b"\x01", b"x\x01ab", b"x\x01ab\x0212", b"\x01ab\x02\x03", b"\x01ab\x021234\x03"]
        {
            assert_eq!(passed(&[stream]), (stream.to_vec(), None), "{stream:?}");
        }
    }
}
