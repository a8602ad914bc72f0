//! Real git servers on loopback: `git daemon`, and `git http-backend` behind a small CGI server that counts requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the http server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As forges do today.
    Smart,
    /// Speaks only the old protocol, so that commits which are no branch are not handed out.
    Old,
    /// Plain files, no git at all.
    Dumb,
    /// Says that it is overloaded, the first time.
    BusyOnce,
}

pub struct HttpGit {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpGit {
    pub fn start(root: &Path, manner: Manner) -> HttpGit {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (root, log) = (root.to_owned(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, log) = (root.clone(), log.clone());
                std::thread::spawn(move || {
                    let _ = answer(&stream, &root, manner, &log);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        HttpGit { port, asked }
    }
    pub fn url(&self, repository: &str) -> String {
        format!("http://127.0.0.1:{}/{repository}.git", self.port)
    }
    /// Requests so far whose path begins with `/NAME.git/`.
    pub fn count(&self, repository: &str) -> usize {
        let prefix = format!("/{repository}.git/");
        self.asked.lock().unwrap().iter().filter(|path| path.contains(&prefix)).count()
    }
    pub fn total(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn answer(stream: &TcpStream, root: &Path, manner: Manner, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("/").to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let first = {
        let mut asked = log.lock().unwrap();
        asked.push(format!("{method} {target}"));
        asked.len() == 1
    };
    let mut command = Command::new("git");
    command.arg("http-backend");
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => drop(command.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(command.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" if manner != Manner::Old => drop(command.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut stream = stream;
    if manner == Manner::BusyOnce && first {
        return stream.write_all(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    }
    if manner == Manner::Dumb {
        let file = root.join(path.trim_start_matches('/'));
        return match std::fs::read(file) {
            Ok(bytes) => {
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes)
            }
            Err(_) => stream.write_all(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        };
    }
    let mut child = command
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &method)
        .env("CONTENT_LENGTH", length.to_string())
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&body);
    });
    let mut output = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut output)?;
    child.wait()?;
    feeder.join().expect("fed");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    write!(stream, "HTTP/1.0 {status}\r\n")?;
    for line in head.lines().filter(|line| !line.starts_with("Status: ")) {
        write!(stream, "{line}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&output[(end + 4).min(output.len())..])
}

/// `git daemon` on a free port; it ends with this.
pub struct Daemon {
    pub port: u16,
    child: Child,
}

impl Daemon {
    pub fn start(root: &Path) -> Daemon {
        // a free port may be taken by somebody else before the daemon has it
        for _ in 0..20 {
            let port = tests::liar::dead_port();
            let mut child = Command::new("git")
                .args([
                    "-c",
                    "safe.directory=*",
                    "daemon",
                    "--export-all",
                    "--reuseaddr",
                    "--listen=127.0.0.1",
                ])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", root.display()))
                .arg(root)
                .stderr(Stdio::null())
                .spawn()
                .expect("git runs");
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(20));
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Daemon { port, child };
                }
                if child.try_wait().expect("waited").is_some() {
                    break;
                }
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("git daemon does not start");
    }
    pub fn url(&self, repository: &str) -> String {
        format!("git://127.0.0.1:{}/{repository}.git", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // the daemon's own child serves; both are in our hands only through the parent
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A bare repository below `root` made from commits, each a shell script run in a work tree. Gives the commits' ids.
pub fn repository(root: &Path, name: &str, commits: &[&str]) -> Vec<String> {
    let work = root.join(format!("{name}.work"));
    std::fs::create_dir_all(&work).expect("a directory");
    let bare: PathBuf = root.join(format!("{name}.git"));
    let git = "git -c user.name=t -c user.email=t@example.org -c commit.gpgsign=false";
    let mut ids = Vec::new();
    tests::sh_ok("git init -q -b main .", &work);
    for commit in commits {
        let script = format!(
            "{commit}\n git add -A && {git} commit -q --allow-empty -m change --date 2020-01-01T00:00:00Z && git rev-parse HEAD"
        );
        ids.push(tests::sh_ok(&script, &work).lines().last().expect("an id").to_owned());
    }
    tests::sh_ok(&format!("git clone -q --bare . '{}'", bare.display()), &work);
    tests::sh_ok("git update-server-info", &bare);
    ids
}
