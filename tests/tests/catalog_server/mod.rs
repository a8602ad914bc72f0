//! A server on loopback that answers as a test says, and remembers what was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub enum Answer {
    Status(u16),
    /// Type and body.
    Text(&'static str, String),
    /// With an ETag; 304 where the client has it.
    File(PathBuf),
    /// Announces twice as much as it sends.
    Truncated(String),
}

impl Answer {
    pub fn file(path: PathBuf) -> Answer {
        if path.is_file() { Answer::File(path) } else { Answer::Status(404) }
    }
}

/// Runs until the test process ends.
pub struct Server {
    address: SocketAddr,
    log: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Server {
    /// `answer` gets the path without its query.
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, kept) = (Arc::new(answer), log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (answer.clone(), kept.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &log));
            }
        });
        Server { address, log }
    }
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
    fn log(&self) -> Vec<(String, u16)> {
        self.log.lock().expect("no panic").clone()
    }
    pub fn count(&self) -> usize {
        self.log().len()
    }
    pub fn asked(&self) -> Vec<String> {
        self.log().into_iter().map(|(path, _)| path).collect()
    }
    pub fn statuses(&self) -> Vec<u16> {
        self.log().into_iter().map(|(_, status)| status).collect()
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&str) -> Answer, log: &Mutex<Vec<(String, u16)>>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut known = None;
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(tag) = line.to_ascii_lowercase().strip_prefix("if-none-match: ") {
            known = Some(tag.to_owned());
        }
    }
    let (status, head, body) = match answer(path.split('?').next()?) {
        Answer::Status(status) => (status, String::new(), format!("status {status}\n")),
        Answer::Text(kind, text) => (200, format!("Content-Type: {kind}\r\n"), text),
        Answer::File(path) => {
            let text = std::fs::read_to_string(path).ok()?;
            let tag = format!("\"{}\"", text.len());
            match known == Some(tag.clone()) {
                true => (304, format!("ETag: {tag}\r\n"), String::new()),
                false => (200, format!("ETag: {tag}\r\n"), text),
            }
        }
        Answer::Truncated(text) => (200, String::new(), text),
    };
    log.lock().expect("no panic").push((path.clone(), status));
    let announced =
        if let Answer::Truncated(_) = answer(path.split('?').next()?) { 2 * body.len() } else { body.len() };
    let mut out = stream;
    write!(out, "HTTP/1.1 {status} X\r\n{head}Content-Length: {announced}\r\nConnection: close\r\n\r\n{body}")
        .ok()
}
