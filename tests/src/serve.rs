//! site-serve for a test: on a free port of loopback, ended with the value.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

/// A directory that is served.
pub struct Served {
    server: Child,
    /// Ends with `/`.
    pub url: String,
}

impl Served {
    /// Serves `site`, relative to `dir`.
    pub fn start(dir: &Path, site: &str) -> Served {
        let mut server = crate::command("site-serve", dir)
            .args(["-q", "--listen", "127.0.0.1:0", site])
            .stdout(Stdio::piped())
            .spawn()
            .expect("site-serve runs");
        let mut line = String::new();
        let stdout = server.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let url = listening["url"].as_str().expect("a URL").to_owned();
        Served { server, url }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
