//! Runs one stage in one open machine and brings home what was seen: for each phase its log, its end, its counters.
//! No judgement here.

use crate::machine::log::Log;
use crate::machine::marks::{Mark, Piece, Splitter};
use crate::machine::testbed::Opened;
use crate::machine::watch::{Breach, Watch};
use crate::result::test_counts::TestCounter;
use contract::limits::LimitSet;
use contract::recipe::Stage;
use contract::testbed::Usage;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long output is waited for when the process of a stage is gone and something it left behind holds it open; and how
/// long such a one may go on printing.
const LINGER_S: (f64, f64) = (2.0, 60.0);
/// A look at the counters serves for this long.
const FRESH_S: f64 = 0.05;

/// How a phase ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    NotReached,
    /// The stage said so, or its only phase ended with its process.
    Exit(i32),
    /// The process of the stage was gone before the phase had ended: exit status, or the signal.
    Broken {
        exit_code: Option<i32>,
        signal: Option<i32>,
    },
    Limit(Breach),
}

/// What was seen of one phase.
#[derive(Debug, Default)]
pub struct PhaseSeen {
    pub phase: String,
    pub end: End,
    pub wall_s: f64,
    /// Counters of the machine when it began and when it ended.
    pub before: Usage,
    pub after: Usage,
    /// The disk was seen full during the phase.
    pub disk_full: bool,
    pub log: Log,
    pub tests: Option<TestCounter>,
}

#[derive(Debug, Default)]
pub struct StageSeen {
    pub phases: Vec<PhaseSeen>,
    pub marks: Vec<Mark>,
    /// The mark `done` came, or the stage promises no marks.
    pub done: bool,
    /// It stopped where it was told to.
    pub stopped: bool,
    /// Why this is no verdict, when it is none.
    pub trouble: Option<String>,
    /// Why it may be none: it looks like trouble, but a package can bring it about as well. Believed to be the package
    /// only if it comes every time.
    pub suspect: Option<String>,
}

/// What a stage needs to be carried out.
pub struct Order<'a> {
    pub opened: &'a Opened,
    pub stage: &'a Stage,
    /// For `sh -s` in the machine.
    pub script: String,
    /// Word that starts a mark.
    pub word: &'a str,
    pub limits: &'a dyn Fn(&str) -> LimitSet,
    /// A fresh counter for the phase `test`.
    pub counter: TestCounter,
}

/// Carries out a stage.
pub fn run(order: Order) -> StageSeen {
    let Order { opened, stage, script, word, limits, counter } = order;
    let mut seen = StageSeen { done: !stage.marks, ..StageSeen::default() };
    seen.phases = stage
        .phases
        .iter()
        .map(|phase| PhaseSeen {
            phase: phase.clone(),
            tests: (phase == "test").then(|| counter.clone()),
            ..PhaseSeen::default()
        })
        .collect();
    let started = std::io::pipe().and_then(|(reader, writer)| {
        let stderr = writer.try_clone()?;
        let mut command = opened.detached(&["sh", "-s"]);
        let child = command.stdin(Stdio::piped()).stdout(writer).stderr(stderr).spawn()?;
        Ok((reader, child))
    });
    let (reader, mut child) = match started {
        Ok(started) => started,
        Err(error) => {
            seen.trouble = Some(format!("cannot run {}: {error}", opened.testbed.exec.join(" ")));
            return seen;
        }
    };
    if let Some(mut stdin) = child.stdin.take() {
        std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    }
    let pieces = read_pieces(reader, word);
    let mut follow = Follow::new(seen, opened, limits);
    let mut exited: Option<(f64, ExitStatus)> = None;
    let mut ended = false;
    let mut heard_s = 0.0;
    loop {
        crate::machine::stop::park_if_stopping();
        match pieces.recv_timeout(follow.pause()) {
            Ok(piece) => {
                follow.take(piece);
                // to ask for the counters at each mark may take long, and what was printed before waits meanwhile
                heard_s = follow.now_s();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                ended = true;
                if exited.is_none() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        match exited {
            Some((since_s, status)) => {
                let now_s = follow.now_s();
                if ended || now_s - heard_s.max(since_s) > LINGER_S.0 || now_s - since_s > LINGER_S.1 {
                    return follow.settle(stage, status);
                }
            }
            None => {
                if let Some(breach) = follow.look() {
                    // the counters first: they may go with the process
                    follow.end_phase(End::Limit(breach));
                    let _ = child.kill();
                    let _ = child.wait();
                    return follow.seen;
                }
                if let Ok(Some(status)) = child.try_wait() {
                    exited = Some((follow.now_s(), status));
                }
            }
        }
    }
}

fn read_pieces(mut reader: impl Read + Send + 'static, word: &str) -> mpsc::Receiver<Piece> {
    // bounded: a flood waits here, not in memory
    let (send, pieces) = mpsc::sync_channel(64);
    let mut splitter = Splitter::new(word);
    std::thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        let mut gone = false;
        while let Ok(size @ 1..) = reader.read(&mut chunk) {
            splitter.push(&chunk[..size], |piece| gone |= send.send(piece).is_err());
            if gone {
                return;
            }
        }
        splitter.finish(|piece| gone |= send.send(piece).is_err());
    });
    pieces
}

struct Follow<'a> {
    seen: StageSeen,
    opened: &'a Opened,
    limits: &'a dyn Fn(&str) -> LimitSet,
    clock: Instant,
    /// Index of the phase under way.
    at: usize,
    began_s: f64,
    watch: Watch,
    next_look_s: f64,
    last_look: Option<(f64, Usage)>,
}

impl<'a> Follow<'a> {
    fn new(seen: StageSeen, opened: &'a Opened, limits: &'a dyn Fn(&str) -> LimitSet) -> Follow<'a> {
        let watch = Watch::new(limits(&seen.phases[0].phase), 0.0);
        let clock = Instant::now();
        let mut follow = Follow {
            seen,
            opened,
            limits,
            clock,
            at: 0,
            began_s: 0.0,
            watch,
            next_look_s: 0.25,
            last_look: None,
        };
        follow.seen.phases[0].before = follow.usage();
        follow
    }

    fn now_s(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    fn pause(&self) -> Duration {
        Duration::from_secs_f64((self.next_look_s - self.now_s()).clamp(0.001, 0.1))
    }

    fn usage(&mut self) -> Usage {
        if let Some((then_s, usage)) = &self.last_look
            && self.now_s() - then_s < FRESH_S
        {
            return usage.clone();
        }
        let usage = self.opened.usage().unwrap_or_default();
        self.last_look = Some((self.now_s(), usage.clone()));
        usage
    }

    fn phase(&mut self) -> &mut PhaseSeen {
        &mut self.seen.phases[self.at]
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Log(text) => {
                let now_s = self.now_s();
                self.watch.printed(text.len() as u64, now_s);
                let phase = self.phase();
                phase.log.push(&text);
                if let Some(tests) = &mut phase.tests {
                    tests.push(&text);
                }
            }
            Piece::Mark(mark) => {
                if let Some(at) = mark.begin.as_ref().and_then(|name| self.index(name)) {
                    if at != self.at && self.phase().end == End::NotReached {
                        self.end_phase(End::Exit(0));
                    }
                    self.at = at;
                    self.began_s = self.now_s();
                    let usage = self.usage();
                    self.phase().before = usage;
                    let limits = (self.limits)(&self.seen.phases[at].phase);
                    self.watch = Watch::new(limits, self.began_s);
                }
                if mark.end.as_ref().and_then(|name| self.index(name)) == Some(self.at) {
                    self.end_phase(End::Exit(mark.exit_code.unwrap_or(0)));
                }
                self.seen.done |= mark.done;
                self.seen.stopped |= mark.stopped.is_some();
                if self.seen.trouble.is_none() {
                    self.seen.trouble.clone_from(&mark.trouble);
                }
                self.seen.marks.push(*mark);
            }
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.seen.phases.iter().position(|phase| phase.phase == name)
    }

    fn end_phase(&mut self, end: End) {
        let usage = self.usage();
        let wall_s = self.now_s() - self.began_s;
        let phase = self.phase();
        phase.end = end;
        phase.wall_s = wall_s;
        phase.disk_full |= usage.disk_full == Some(true);
        phase.after = usage;
    }

    /// Time for a look at the counters? Has a limit been passed?
    fn look(&mut self) -> Option<Breach> {
        let now_s = self.now_s();
        if now_s >= self.next_look_s {
            if let Some(usage) = self.opened.usage() {
                self.watch.sampled(&usage, now_s);
                self.phase().disk_full |= usage.disk_full == Some(true);
                self.last_look = Some((now_s, usage));
            }
            let limits = (self.limits)(&self.seen.phases[self.at].phase);
            self.next_look_s = now_s + Watch::interval_s(&limits);
        }
        self.watch.breach(now_s)
    }

    /// The log tells of a full disk, the machine is not at its own limit, and nothing can be written there now.
    fn host_is_full(&mut self) -> bool {
        const TEXT: &str = "No space left on device";
        let own_limit = self.opened.testbed.limits.contains_key("disk_mb");
        let own_full = self.phase().disk_full || own_limit && self.usage().disk_full != Some(false);
        !own_full
            && self.phase().log.text().contains(TEXT)
            && !self.opened.can_write(&self.opened.testbed.work_dir)
    }

    /// A signal that somebody sent: no fault of a program has it, and the kernel did not kill for want of memory.
    fn killed_from_outside(&mut self, status: ExitStatus) -> Option<i32> {
        const SENT: [i32; 4] = [1, 2, 9, 15];
        // that of a command inside comes as an exit status
        let inside =
            status.code().filter(|_| matches!(self.phase().end, End::Broken { .. })).map(|code| code - 128);
        let signal = status.signal().or(inside).filter(|signal| SENT.contains(signal))?;
        let before = self.seen.phases[0].before.memory_kills.unwrap_or(0);
        (self.usage().memory_kills.unwrap_or(0) <= before).then_some(signal)
    }

    /// The process of the stage has ended by itself.
    fn settle(mut self, stage: &Stage, status: ExitStatus) -> StageSeen {
        let ended = matches!(self.phase().end, End::Exit(_));
        if !ended {
            self.end_phase(match status.code() {
                Some(code) if !stage.marks => End::Exit(code),
                code => End::Broken { exit_code: code, signal: status.signal() },
            });
        } else if !self.seen.done && self.at + 1 < self.seen.phases.len() {
            // it ended well so far, and then the process was gone
            self.at += 1;
            self.began_s = self.now_s();
            self.end_phase(End::Broken { exit_code: status.code(), signal: status.signal() });
        }
        crate::machine::stop::park_if_stopping();
        if !status.success() || !self.seen.done {
            if self.host_is_full() {
                self.seen.trouble.get_or_insert_with(|| "the disk that the machine is on is full".to_owned());
            }
            if !self.opened.is_alive() {
                self.seen.trouble.get_or_insert_with(|| "the machine was gone".to_owned());
            } else if let Some(signal) = self.killed_from_outside(status) {
                self.seen.suspect = Some(format!("the command in it was ended by signal {signal}"));
            } else if stage.marks && self.seen.marks.is_empty() && !status.success() {
                // not one mark: the recipe's own program did not start, and nothing of the package ran
                let program = stage.run.first().map_or("", |word| word);
                let phase = self.phase();
                let is_too_small = phase.after.memory_kills > phase.before.memory_kills;
                let log = phase.log.text();
                let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
                let text = match status.code() {
                    _ if is_too_small => format!("its memory is too small even for \"{program}\""),
                    Some(126 | 127) => format!("the machine cannot run \"{program}\""),
                    _ => format!("\"{program}\" ended before it began with the package: {}", last.trim()),
                };
                self.seen.trouble.get_or_insert(text);
            }
        }
        self.seen
    }
}
