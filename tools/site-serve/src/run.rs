use crate::args::{Config, Serve};
use crate::server::{self, Line, Mount, Mounts, Packed, Shared, Site};
use crate::{check, command};
use contract::listening::{Listening, ServedMount};
use edge::{Done, Failure, Result, out, say};
use rustix::process::{Pid, test_kill_process};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Answers on their way get so long when the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);

pub fn run(config: Config) -> Result<Done> {
    match config {
        Config::Check { dir } => {
            let site = check::check(&dir)?;
            out::json_document(&site)?;
            for problem in &site.problems {
                say::warning(problem, None);
            }
            Ok(if site.usable { Done::All } else { Done::No })
        }
        Config::Serve(config) => serve(config),
    }
}

fn serve(config: Serve) -> Result<Done> {
    let mounts = config.mounts.resolve()?;
    let listener = server::listen(&config.listen, &config.addresses)?;
    let address =
        listener.local_addr().map_err(|error| Failure::bug(format!("no local address: {error}")))?;
    let listening = listening(address, &mounts);
    let shared = Arc::new(Shared {
        site: Site { mounts, packed: Packed::default() },
        busy: AtomicUsize::new(0),
        stopping: AtomicBool::new(false),
        crowded: AtomicBool::new(false),
        log,
    });
    let ending = shared.clone();
    // told to stop: what is being sent is sent to its end
    let _finish = edge::on_exit(move || {
        ending.stopping.store(true, SeqCst);
        let deadline = Instant::now() + GRACE;
        while ending.busy.load(SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let server = shared.clone();
    let max_connections = server::connections_within_limits(config.max_connections);
    std::thread::spawn(move || server::accept(&listener, &server, max_connections));
    let _gone = match &config.ready_file {
        Some(path) => {
            let mut text = serde_json::to_vec(&listening).map_err(|error| Failure::bug(error.to_string()))?;
            text.push(b'\n');
            edge::write_atomic(path, &text)?;
            let path = path.clone();
            Some(edge::on_exit(move || drop(std::fs::remove_file(path))))
        }
        None => None,
    };
    if !address.ip().is_loopback() {
        say::detail("whoever reaches this machine can read what is served");
    }
    if let Some(owner) = config.owner {
        std::thread::spawn(move || stop_after(owner));
    }
    if let Some(argv) = &config.command {
        let status = command::run(argv, &listening.url)?;
        return Ok(Done::Status(status));
    }
    out::json_line(&listening)?;
    out::flush()?;
    loop {
        std::thread::park();
    }
}

fn listening(address: SocketAddr, mounts: &Mounts) -> Listening {
    let mounted =
        |mount: &Mount| ServedMount { prefix: mount.shown(), dir: mount.dir.to_string_lossy().into_owned() };
    let mut mounts: Vec<ServedMount> = mounts.iter().map(mounted).collect();
    mounts.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    Listening {
        kind: "listening".to_owned(),
        v: contract::V,
        url: format!("http://{}/", server::reachable(address)),
        address: address.to_string(),
        port: address.port(),
        pid: std::process::id(),
        mounts,
    }
}

/// Ends the server, gracefully, once a process is gone.
fn stop_after(owner: u32) {
    let Some(pid) = i32::try_from(owner).ok().and_then(Pid::from_raw) else { return };
    // EPERM: it is there, but somebody else's
    while !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)) {
        std::thread::sleep(Duration::from_millis(200));
    }
    say::detail(format!("process {owner} is gone: stopping"));
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
}

fn log(line: &Line) {
    if say::verbosity() == 0 {
        return;
    }
    let client = line.client.map(|client| client.to_string()).unwrap_or_default();
    // nothing of what a client sends may look like something else on a terminal
    let asked: String = line.asked.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let cut = if line.whole { "" } else { " (cut off)" };
    let took = line.took.as_millis();
    say::detail(format!("{client} \"{asked}\" {} {} bytes {took} ms{cut}", line.status, line.body_bytes));
}
