//! Asks a real Racket what an `info.rkt` means that goes beyond the language read here: in a machine, because nothing of a
//! package runs outside one. The machine is opened when the first package needs it and closed when this is dropped.

use contract::testbed::Testbed;
use edge::Cleanup;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long opening may take: a virtual machine under emulation boots slowly.
const OPEN: Duration = Duration::from_secs(900);
/// How long one `info.rkt` may take; Racket inside ends by itself a little earlier.
const ANSWER: Duration = Duration::from_secs(30);
const CLOSE: Duration = Duration::from_secs(60);
/// Time for a command that is told to end.
const GRACE: Duration = Duration::from_secs(2);
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Reads an `info.rkt` on stdin; `get-info/full` loads it as Racket itself does, in its restricted language. Writes the
/// fields that are defined as a hash. Paths become strings, as in our own reading.
const QUESTION: &str = r#"
(void (thread (lambda () (sleep 25) (eprintf "no answer within 25 s\n") (exit 1))))
(define dir (make-temporary-file "info~a" 'directory (current-directory)))
(define (plain v)
  (cond [(path? v) (path->string v)] [(pair? v) (cons (plain (car v)) (plain (cdr v)))] [else v]))
(define none (gensym))
(dynamic-wind
 void
 (lambda ()
   (call-with-output-file (build-path dir "info.rkt") (lambda (to) (copy-port (current-input-port) to)))
   (define field (get-info/full dir))
   (write (for*/hash ([name (in-list '(collection deps build-deps implies version))]
                      [value (in-value (field name (lambda () none)))]
                      #:unless (eq? value none))
            (values name (plain value)))))
 (lambda () (delete-directory/files dir)))
"#;
const RACKET: [&str; 10] =
    ["racket", "-l", "racket/base", "-l", "racket/port", "-l", "racket/file", "-l", "setup/getinfo", "-e"];

#[derive(Debug)]
pub struct InfoMachine {
    command: String,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        exec: Vec<String>,
        _close: Cleanup,
    },
    /// It did not open, and why; it is not tried again in this run.
    Refused(String),
}

impl InfoMachine {
    /// `command` prints a `testbed`. It is run when the first question comes.
    pub fn new(command: &str) -> InfoMachine {
        InfoMachine { command: command.to_owned(), state: Mutex::new(State::Closed) }
    }

    /// What Racket makes of an `info.rkt`: a written hash of its fields. `Err` is the reason why there is no answer.
    pub fn ask(&self, info: &[u8]) -> Result<Vec<u8>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Closed) {
            *state = open(&self.command).unwrap_or_else(State::Refused);
        }
        match &*state {
            State::Open { exec, .. } => {
                let argv: Vec<&str> =
                    exec.iter().map(String::as_str).chain(RACKET).chain([QUESTION]).collect();
                run(&argv, info.to_vec(), ANSWER).map_err(|why| format!("racket gave no answer: {why}"))
            }
            State::Refused(why) => Err(why.clone()),
            State::Closed => Err("no machine".to_owned()),
        }
    }
}

fn open(command: &str) -> Result<State, String> {
    edge::say::detail(format!("open a machine to evaluate info.rkt: {command}"));
    // exec: the machine ends with the process that asked for it, which must not be a passing shell
    let out = run(&["sh", "-c", &format!("exec {command}")], Vec::new(), OPEN);
    let out = out.map_err(|why| format!("no machine to evaluate it: {why}"))?;
    let testbed: Testbed = contract::read(&out)
        .map_err(|why| format!("no machine to evaluate it: its command printed no testbed: {why}"))?;
    let close = match testbed.close.is_empty() {
        true => vec!["vm-snapshot".to_owned(), "close".to_owned(), testbed.id],
        false => testbed.close,
    };
    let close = edge::on_exit(move || {
        let argv: Vec<&str> = close.iter().map(String::as_str).collect();
        if let Err(why) = run(&argv, Vec::new(), CLOSE) {
            edge::say::warning(format!("cannot close a machine: {why}"), Some(&close.join(" ")));
        }
    });
    match testbed.exec.is_empty() {
        true => Err("no machine to evaluate it: the testbed has no exec command".to_owned()),
        false => Ok(State::Open { exec: testbed.exec, _close: close }),
    }
}

/// Runs a command to its end and gives what it printed; it is ended when it is slow or this program is
/// told to stop.
fn run(argv: &[&str], input: Vec<u8>, limit: Duration) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("an empty command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    let pid = Pid::from_child(&child);
    // the command itself and not its helpers: one of them may be there to end what runs inside
    let signal = move |signal| {
        let _ = kill_process(pid, signal);
    };
    let stopped = Arc::new(AtomicBool::new(false));
    let on_exit = edge::on_exit({
        let stopped = Arc::clone(&stopped);
        move || {
            stopped.store(true, Ordering::SeqCst);
            signal(Signal::TERM);
        }
    });
    let stdin = child.stdin.take();
    // a command that ends without reading all of it says why itself
    std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let mut ended = wait(&mut child, limit);
    let slow = ended.is_none();
    if slow {
        signal(Signal::TERM);
        ended = wait(&mut child, GRACE);
    }
    if ended.is_none() {
        signal(Signal::KILL);
        let _ = child.wait();
    }
    // this program is ending: a command that ended for that reason is no answer to go on with
    while stopped.load(Ordering::SeqCst) {
        std::thread::park();
    }
    on_exit.forget();
    // a process that the command left behind may hold the streams open: it is not waited for
    let stdout = stdout.recv_timeout(GRACE).unwrap_or_default();
    match ended {
        _ if slow => Err(format!("no end within {} s", limit.as_secs())),
        _ if stdout.len() as u64 > ANSWER_BYTES_MAX => Err(format!("more than {ANSWER_BYTES_MAX} bytes")),
        Some(status) if status.success() => Ok(stdout),
        status => {
            let stderr = stderr.recv_timeout(GRACE).unwrap_or_default();
            let text = String::from_utf8_lossy(&stderr);
            let first = text.lines().map(str::trim).find(|line| !line.is_empty());
            let ended = status.map_or("it was killed".to_owned(), |status| status.to_string());
            Err(first.map_or(ended, |line| line.chars().take(300).collect()))
        }
    }
}

/// Reads a stream as far as an answer may go.
fn gather(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut data = Vec::new();
        let _ = stream.map(|stream| stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut data));
        let _ = tell.send(data);
    });
    told
}

fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_does_not_open_is_tried_once() {
        let machine = InfoMachine::new("sh -c 'echo no room >&2; exit 75'");
        for _ in 0..2 {
            assert_eq!(machine.ask(b"").unwrap_err(), "no machine to evaluate it: no room");
        }
        let why = InfoMachine::new("echo '{}'").ask(b"").unwrap_err();
        assert!(why.contains("printed no testbed"), "{why}");
    }

    #[test]
    fn slow_and_endless_commands_end() {
        let started = Instant::now();
        let limit = Duration::from_millis(100);
        assert_eq!(
            run(&["sh", "-c", "sleep 60 & sleep 60"], Vec::new(), limit).unwrap_err(),
            "no end within 0 s"
        );
        assert!(run(&["yes"], Vec::new(), ANSWER).unwrap_err().starts_with("more than"));
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
