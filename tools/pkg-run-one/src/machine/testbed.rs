//! Client of whatever opens machines: `vm-snapshot open`, or any command that prints a testbed.

use crate::config::Config;
use crate::machine::script::quote;
use contract::limits::LimitSet;
use contract::testbed::{Testbed, Usage};
use edge::{Cleanup, Exit, Failure};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long a status or close command may take.
const SHORT_S: u64 = 60;
/// How long opening may take: a virtual machine under emulation boots slowly.
const OPEN_S: u64 = 900;
/// Longest answer that is kept.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// What the system says of a full disk.
const FULL_DISK: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Why there is no machine.
#[derive(Debug)]
pub enum OpenError {
    /// Trying again will not help: no such machine, no such program, wrong usage.
    Hopeless(Failure),
    /// It may help.
    Trouble(String),
}

/// An open machine. Dropping it closes it, and so does the end of this program (also by a signal; after kill -9 the
/// machine notices that its owner is gone).
#[derive(Debug)]
pub struct Opened {
    pub testbed: Testbed,
    close: Option<Cleanup>,
}

/// argv that opens a machine.
pub fn open_argv(config: &Config, machine: &str, limits: &LimitSet) -> Vec<String> {
    let mut argv = match &config.open {
        Some(command) => {
            vec!["sh".to_owned(), "-c".into(), format!("{command} \"$@\""), "sh".into(), machine.into()]
        }
        None => {
            vec![
                vm_snapshot(),
                "--machines".into(),
                config.machines.display().to_string(),
                "open".into(),
                machine.into(),
            ]
        }
    };
    if let Some(snapshot) = &config.snapshot {
        argv.extend(["--snapshot".to_owned(), snapshot.clone()]);
    }
    argv.extend(["--share".to_owned(), format!("archive={}", absolute(&config.archive))]);
    argv.extend(["--share".to_owned(), format!("built={}", absolute(&config.built))]);
    let limits = [
        ("--memory-mb", limits.memory_mb),
        ("--disk-mb", limits.disk_mb),
        ("--processes", limits.processes),
        ("--cpus", limits.cpus),
    ];
    for (flag, limit) in limits {
        if let Some(limit) = limit {
            argv.extend([flag.to_owned(), limit.to_string()]);
        }
    }
    argv
}

/// The program of the same build beside this one, else the one on PATH.
fn vm_snapshot() -> String {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("vm-snapshot")));
    match beside {
        Some(path) if path.exists() => path.display().to_string(),
        _ => "vm-snapshot".to_owned(),
    }
}

fn absolute(path: &std::path::Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

impl Opened {
    pub fn open(config: &Config, machine: &str, limits: &LimitSet) -> Result<Opened, OpenError> {
        let mut argv = open_argv(config, machine, limits);
        if !config.keep {
            argv.extend(["--owner".to_owned(), std::process::id().to_string()]);
        }
        edge::say::detail(format!("open {}", argv.join(" ")));
        let shown = format!("cannot open machine \"{machine}\"");
        let output = run(&argv, OPEN_S).map_err(|error| match error {
            RunError::Start(error) => OpenError::Hopeless(
                Failure::unavailable(format!("{shown}: cannot run \"{}\": {error}", argv[0]))
                    .hint("vm-snapshot must be on PATH or beside pkg-run-one"),
            ),
            RunError::Slow => OpenError::Trouble(format!("no answer within {OPEN_S} s")),
        })?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = stderr.trim();
        match output.code {
            Some(0) => {}
            // a full disk may be emptied while it is tried again
            Some(73) if FULL_DISK.iter().any(|text| said.contains(text)) => {
                return Err(OpenError::Trouble(last_words(said).to_owned()));
            }
            Some(code @ (2 | 65 | 69 | 73)) => {
                let exit = match code {
                    65 => Exit::Data,
                    73 => Exit::CantCreate,
                    _ => Exit::Unavailable,
                };
                let first = said.lines().next().unwrap_or("no message");
                let first = first.strip_prefix("vm-snapshot: ").unwrap_or(first);
                let mut failure = Failure::new(exit, format!("{shown}: {first}"));
                for line in said.lines().skip(1) {
                    if let Some((key, value)) = line.trim().split_once(": ") {
                        failure =
                            if key == "hint" { failure.hint(value) } else { failure.detail(key, value) };
                    }
                }
                return Err(OpenError::Hopeless(failure));
            }
            _ => return Err(OpenError::Trouble(last_words(said).to_owned())),
        }
        let testbed: Testbed = contract::read(&output.stdout)
            .map_err(|error| OpenError::Trouble(format!("what it printed is no testbed: {error}")))?;
        if testbed.exec.is_empty() {
            return Err(OpenError::Trouble("the testbed has no exec command".to_owned()));
        }
        let close_argv = close_argv(&testbed);
        let close = (!config.keep).then(|| edge::on_exit(move || close_now(&close_argv)));
        Ok(Opened { testbed, close })
    }

    /// The machine's counters; `None` when it has none or does not answer.
    pub fn usage(&self) -> Option<Usage> {
        if self.testbed.status.is_empty() {
            return None;
        }
        let output = run(&self.testbed.status, SHORT_S).ok()?;
        contract::read(&output.stdout).ok()
    }

    /// Whether a command still runs inside. Asked after failures only: it tells a package's failure from the machine's.
    pub fn is_alive(&self) -> bool {
        if !self.testbed.status.is_empty() {
            return self.usage().is_some_and(|usage| usage.alive);
        }
        let mut argv = self.testbed.exec.clone();
        argv.push("true".to_owned());
        matches!(run(&argv, SHORT_S), Ok(Output { code: Some(0), .. }))
    }

    /// Whether a file of 1 MiB can be written inside.
    pub fn can_write(&self, dir: &str) -> bool {
        let script = "dd if=/dev/zero of=\"$0/.room\" bs=65536 count=16 2>/dev/null; s=$?; rm -f \"$0/.room\"; exit $s";
        let mut argv = self.testbed.exec.clone();
        argv.extend(["sh", "-c", script, dir].map(str::to_owned));
        matches!(run(&argv, SHORT_S), Ok(Output { code: Some(0), .. }))
    }

    /// A command that will run inside, to be given its streams.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = Command::new(&self.testbed.exec[0]);
        command.args(&self.testbed.exec[1..]).args(argv);
        command
    }

    /// The same in a process group of its own: a Ctrl-C at the terminal is for this program, which then closes the
    /// machine; it must not end the command first and look like a package that crashed.
    pub fn detached(&self, argv: &[&str]) -> Command {
        let mut command = self.command(argv);
        command.process_group(0);
        command
    }

    /// Content of a file inside.
    pub fn fetch(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, String> {
        let mut child = self
            .detached(&["cat", "--", path])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut data = Vec::new();
        let read = match child.stdout.take() {
            Some(out) => out.take(max_bytes + 1).read_to_end(&mut data).map(|_| ()),
            None => Ok(()),
        };
        if data.len() as u64 > max_bytes {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("more than {max_bytes} bytes"));
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        read.map_err(|error| error.to_string())?;
        if status.success() { Ok(data) } else { Err(status.to_string()) }
    }

    /// How a person enters it.
    pub fn enter_line(&self) -> String {
        let argv = if self.testbed.shell.is_empty() {
            self.testbed.exec.iter().cloned().chain(["sh".to_owned()]).collect()
        } else {
            self.testbed.shell.clone()
        };
        line(&argv)
    }

    pub fn close_line(&self) -> String {
        line(&close_argv(&self.testbed))
    }

    /// Closes now.
    pub fn close(mut self) {
        drop(self.close.take());
    }
}

/// A command as it is typed.
fn line(argv: &[String]) -> String {
    argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn close_argv(testbed: &Testbed) -> Vec<String> {
    if testbed.close.is_empty() {
        vec![vm_snapshot(), "close".to_owned(), testbed.id.clone()]
    } else {
        testbed.close.clone()
    }
}

fn close_now(argv: &[String]) {
    if run(argv, SHORT_S).is_err() {
        edge::say::warning(format!("cannot close a machine: {}", argv.join(" ")), None);
    }
}

fn last_words(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message")
}

#[derive(Debug)]
struct Output {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

#[derive(Debug)]
enum RunError {
    Start(std::io::Error),
    Slow,
}

/// Runs a short command with both outputs caught; killed after `limit_s` seconds.
fn run(argv: &[String], limit_s: u64) -> Result<Output, RunError> {
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(RunError::Start)?;
    let (stdout, stderr) = (Gather::start(child.stdout.take()), Gather::start(child.stderr.take()));
    let status = wait(&mut child, limit_s).ok_or(RunError::Slow)?;
    Ok(Output { code: status.code(), stdout: stdout.finish(), stderr: stderr.finish() })
}

/// Reads a stream to its end beside the main thread.
struct Gather {
    data: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

impl Gather {
    fn start(stream: Option<impl Read + Send + 'static>) -> Gather {
        let data = Arc::new(Mutex::new(Vec::new()));
        let (tell, ended) = mpsc::channel();
        let shared = Arc::clone(&data);
        std::thread::spawn(move || {
            let mut stream = stream;
            let mut chunk = vec![0; 65536];
            while let Some(Ok(size @ 1..)) = stream.as_mut().map(|stream| stream.read(&mut chunk)) {
                let mut data = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if data.len() < MAX_ANSWER_BYTES {
                    data.extend_from_slice(&chunk[..size]);
                }
            }
            let _ = tell.send(());
        });
        Gather { data, ended }
    }

    /// What came. A process that the command left behind may hold the stream open: it is not waited for.
    fn finish(self) -> Vec<u8> {
        let _ = self.ended.recv_timeout(Duration::from_secs(2));
        std::mem::take(&mut self.data.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn wait(child: &mut Child, limit_s: u64) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + Duration::from_secs(limit_s);
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(pause),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
