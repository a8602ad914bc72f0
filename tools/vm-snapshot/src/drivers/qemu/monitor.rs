//! The monitor of a running qemu: one JSON object a line, each way (QMP).

use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// A connection to qemu's monitor.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    pub(super) fn connect(dir: &Path) -> io::Result<Monitor> {
        // the path of a socket is short; that of a state directory need not be
        let held = File::open(dir)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/qmp", held.as_raw_fd()))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut monitor = Monitor { stream: BufReader::new(stream) };
        monitor.answer()?;
        monitor.run("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    pub(super) fn run(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let mut line = json!({"execute": command, "arguments": arguments}).to_string();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        self.answer()
    }

    /// The next line that is no event.
    fn answer(&mut self) -> io::Result<Value> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::Error::other("qemu closed its monitor"));
            }
            let value: Value = serde_json::from_str(&line)?;
            if value.get("event").is_some() {
                continue;
            }
            return match value.get("error") {
                Some(error) => Err(io::Error::other(error["desc"].as_str().unwrap_or("error").to_owned())),
                None => Ok(value["return"].clone()),
            };
        }
    }

    /// Waits until a migration is over.
    pub(super) fn migrated(&mut self) -> io::Result<()> {
        let mut nap = Duration::from_millis(1);
        loop {
            let state = self.run("query-migrate", json!({}))?;
            match state["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    let cause = state["error-desc"].as_str().unwrap_or("it failed");
                    return Err(io::Error::other(format!("cannot move the memory: {cause}")));
                }
                _ => sleep(nap),
            }
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }
}
