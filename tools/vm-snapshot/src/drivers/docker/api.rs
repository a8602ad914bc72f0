//! The interface of the engine itself, for what is short: a request on its socket takes a millisecond or two, and starting
//! its client ten times as long. Only where it is plain which socket the client would take; all else is left to the client.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where the engine listens.
pub(super) struct Api {
    socket: PathBuf,
}

/// What the engine says to a request.
pub(super) enum Answer {
    Done(Value),
    /// No, and why.
    Refused(String),
}

impl Api {
    /// Of the engine that this client talks to. None: it may be another than `docker`, or far away.
    pub(super) fn of(client: &str) -> Option<Api> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if client != "docker" || text("DOCKER_CONTEXT").is_some() {
            return None;
        }
        let host = text("DOCKER_HOST");
        let home = || text("DOCKER_CONFIG").or_else(|| text("HOME").map(|home| format!("{home}/.docker")));
        let config = || std::fs::read(Path::new(&home()?).join("config.json")).ok();
        let socket = socket(host.as_deref(), || config().unwrap_or_default())?;
        Some(Api { socket })
    }

    /// What `GET` gives, below `/`.
    pub(super) fn get(&self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path)
    }

    pub(super) fn ask(&self, method: &str, path: &str) -> io::Result<Answer> {
        let (status, mut body) = self.send(method, path)?;
        let mut text = Vec::new();
        body.read_to_end(&mut text)?;
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        Ok(match status {
            200..=399 => Answer::Done(value),
            _ => Answer::Refused(value["message"].as_str().unwrap_or("no message").to_owned()),
        })
    }

    /// What a container prints on stdout from now on.
    pub(super) fn attach(&self, container: &str) -> io::Result<Frames> {
        match self.send("POST", &format!("containers/{container}/attach?stream=1&stdout=1"))? {
            (101 | 200, stream) => Ok(Frames { stream }),
            (status, _) => Err(io::Error::other(format!("HTTP status {status}"))),
        }
    }

    /// Status, and the stream where the body comes.
    fn send(&self, method: &str, path: &str) -> io::Result<(u16, BufReader<UnixStream>)> {
        // what would have to be written in another way is nothing that we ask for
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@?&=".contains(&byte)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut stream = UnixStream::connect(&self.socket)?;
        // of version 1.0: the body ends with the connection
        stream.write_all(
            format!("{method} /{path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n").as_bytes(),
        )?;
        let mut stream = BufReader::new(stream);
        let mut status = None;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            }
            if line.trim_end().is_empty() {
                let status = status.ok_or_else(|| io::Error::other("no HTTP status"))?;
                return Ok((status, stream));
            }
        }
    }
}

/// The socket that the client takes by itself.
fn socket(host: Option<&str>, config: impl FnOnce() -> Vec<u8>) -> Option<PathBuf> {
    match host {
        Some(host) => host.strip_prefix("unix://").map(PathBuf::from),
        None => {
            let config: Value = serde_json::from_slice(&config()).unwrap_or_default();
            let context = config["currentContext"].as_str().unwrap_or("default");
            (context == "default").then(|| PathBuf::from("/var/run/docker.sock"))
        }
    }
}

/// The output of a container: pieces, each after eight bytes of which the last four are its size.
pub(super) struct Frames {
    stream: BufReader<UnixStream>,
}

impl Frames {
    /// The first line, or what there is of it when the container ends.
    pub(super) fn line(mut self) -> String {
        let mut said = Vec::new();
        let mut head = [0; 8];
        while !said.contains(&b'\n') && said.len() < 4096 && self.stream.read_exact(&mut head).is_ok() {
            let size = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            if (&mut self.stream).take(u64::from(size)).read_to_end(&mut said).is_err() {
                break;
            }
        }
        let line = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_one_that_the_client_takes() {
        let of = |host, config: &str| {
            let socket = socket(host, || config.as_bytes().to_vec());
            socket.map(|path| path.display().to_string()).unwrap_or_default()
        };
        assert_eq!(of(None, ""), "/var/run/docker.sock");
        assert_eq!(of(None, r#"{"currentContext": "default"}"#), "/var/run/docker.sock");
        assert_eq!(of(None, r#"{"currentContext": "far"}"#), "");
        assert_eq!(of(Some("unix:///x/sock"), r#"{"currentContext": "far"}"#), "/x/sock");
        assert_eq!(of(Some("tcp://h:2375"), ""), "");
    }

    #[test]
    fn a_line_is_put_together_from_pieces() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"\x01\0\0\0\0\0\0\x03up \x01\0\0\0\0\0\0\x07a b\nc\n").unwrap();
        drop(theirs);
        assert_eq!(Frames { stream: BufReader::new(ours) }.line(), "up a b");
    }
}
