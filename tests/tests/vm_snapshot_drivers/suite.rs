//! One behaviour for every machine, whatever it is made of: every command of vm-snapshot, driven as users drive it. What a
//! machine says it can do (`capabilities`) decides what is asked of it.

mod copy;
mod exec;
mod life;
mod snapshots;

use crate::lab::Lab;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// How much is asked, so that an emulated processor is done in time too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Native,
    Emulated,
}

/// A machine under test.
pub struct Suite<'a> {
    lab: &'a Lab,
    machine: &'a str,
    pace: Pace,
    has: BTreeSet<String>,
    /// Snapshot that instances are opened from, where the bare machine would only cost time.
    from: Option<&'static str>,
}

/// The whole suite.
pub fn run(lab: &Lab, machine: &str, pace: Pace) {
    let begun = Instant::now();
    let mut suite = Suite::of(lab, machine, pace);
    let testbed = lab.open(&[machine]);
    let id = id(&testbed);
    suite.told_of(&testbed);
    suite.arguments(&id);
    suite.streams(&id);
    suite.order(&id);
    suite.late_readers(&id);
    suite.exit_codes(&id);
    suite.environment(&id);
    suite.endings(&id);
    suite.copies(&id);
    suite.shell(&id);
    suite.usage(&id);
    if pace == Pace::Emulated {
        suite.from = Some("ready");
        assert_eq!(suite.said(&id, "rm -rf ./* ./.[!.]*; ls -A"), "");
        suite.ok(&["take", &id, "ready"]);
    }
    suite.closing(&id);
    suite.side_by_side();
    suite.owners();
    suite.keeping();
    suite.killed_keepers();
    if suite.from.take().is_some() {
        suite.ok(&["delete", machine, "ready"]);
    }
    suite.snapshots();
    suite.standing();
    if pace == Pace::Native {
        // of a machine that another program keeps there is one
        if testbed["driver"] != "virtualbox" {
            suite.namesake();
        }
        suite.selftest();
    }
    suite.nothing_left(20);
    eprintln!("{machine}: {:.1} s", begun.elapsed().as_secs_f64());
}

/// A gigabyte through copy-in and copy-out.
pub fn gigabyte(lab: &Lab, machine: &str) {
    Suite::of(lab, machine, Pace::Native).gigabyte();
}

/// Only `selftest`, for machines that are too slow for all in one test.
pub fn selftest(lab: &Lab, machine: &str) {
    Suite::of(lab, machine, Pace::Emulated).selftest();
}

fn id(testbed: &Value) -> String {
    testbed["id"].as_str().expect("an id").to_owned()
}

fn dir(testbed: &Value) -> &str {
    testbed["work_dir"].as_str().expect("a directory")
}

/// stdout of a command that must succeed.
fn ok(lab: &Lab, args: &[&str]) -> Vec<u8> {
    let output = lab.run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vm-snapshot {args:?}: {}\n{stderr}", output.status);
    output.stdout
}

impl<'a> Suite<'a> {
    /// `create` makes it ready and says what it can do.
    fn of(lab: &'a Lab, machine: &'a str, pace: Pace) -> Suite<'a> {
        let created: Value = serde_json::from_slice(&ok(lab, &["create", machine])).expect("a machine");
        assert_eq!((&created["kind"], &created["name"]), (&"machine".into(), &machine.into()));
        let listed = String::from_utf8(ok(lab, &["list"])).expect("UTF-8");
        assert!(listed.contains(&format!("\"name\":\"{machine}\"")), "{listed}");
        let has = created["capabilities"].as_array().expect("capabilities").iter();
        let has = has.map(|name| name.as_str().expect("a name").to_owned()).collect();
        Suite { lab, machine, pace, has, from: None }
    }

    fn can(&self, capability: &str) -> bool {
        self.has.contains(capability)
    }

    fn ok(&self, args: &[&str]) -> String {
        String::from_utf8(ok(self.lab, args)).expect("UTF-8")
    }

    /// The exit code of a command; the text must be in what it says on stderr.
    fn refused(&self, args: &[&str], code: i32, text: &str) {
        let output = self.lab.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "vm-snapshot {args:?}: {said}");
        assert!(said.contains(text), "vm-snapshot {args:?}: {said}");
    }

    fn open(&self, more: &[&str]) -> String {
        id(&self.lab.open(&[&self.start()[..], more].concat()))
    }

    /// What to tell `open`.
    fn start(&self) -> Vec<&str> {
        let from = self.from.iter().flat_map(|name| ["--snapshot", name]);
        std::iter::once(self.machine).chain(from).collect()
    }

    fn close(&self, id: &str) {
        self.ok(&["close", id]);
    }

    /// Runs `argv` inside with `stdin`.
    fn exec<S: AsRef<OsStr>>(&self, id: &str, options: &[&str], argv: &[S], stdin: &[u8]) -> Output {
        let mut command = self.lab.command(&["exec", id]);
        command.args(options).arg("--").args(argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("vm-snapshot runs");
        let mut input = child.stdin.take().expect("stdin");
        let bytes = stdin.to_vec();
        // a command that does not read it ends all the same
        let feeder = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().expect("it ends");
        let _ = feeder.join();
        output
    }

    fn sh(&self, id: &str, script: &str) -> Output {
        self.exec(id, &[], &["sh", "-c", script], b"")
    }

    /// stdout of a script that must succeed.
    fn said(&self, id: &str, script: &str) -> String {
        let output = self.sh(id, script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {}\n{stderr}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Waits until `done`, at most so long.
    fn until(&self, seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while !done() {
            assert!(Instant::now() < until, "{}: {what}, after {seconds} s", self.machine);
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn nothing_left(&self, seconds: u64) {
        let mut left = Vec::new();
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            left = self.lab.left();
            if left.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("{}: left after {seconds} s: {left:#?}", self.machine);
    }

    /// What the testbed says is what was told to it.
    fn told_of(&self, testbed: &Value) {
        assert_eq!(
            (testbed["kind"].as_str(), testbed["machine"].as_str()),
            (Some("testbed"), Some(self.machine))
        );
        let listed = self.ok(&["list", self.machine]);
        assert!(listed.contains("\"instance\"") && listed.contains(&id(testbed)), "{listed}");
        // the argv prefix works as it is, from any directory
        let prefix: Vec<&str> =
            testbed["exec"].as_array().expect("exec").iter().filter_map(Value::as_str).collect();
        let mut command = std::process::Command::new(prefix[0]);
        command.args(&prefix[1..]).args(["sh", "-c", "pwd"]).current_dir("/").env_clear();
        command.env("PATH", tests::path_variable());
        self.lab.dress(&mut command);
        let output = command.output().expect("exec runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", dir(testbed)));
    }

    fn usage(&self, id: &str) {
        let usage: Value = serde_json::from_str(&self.ok(&["status", id])).expect("usage");
        assert_eq!((&usage["alive"], &usage["id"]), (&true.into(), &id.into()), "{usage}");
    }

    /// `selftest` agrees, and checked all that the machine says it can do.
    fn selftest(&self) {
        let output = self.lab.run(&["selftest", self.machine]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        let checks: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a check")).collect();
        let failed: Vec<&Value> = checks.iter().filter(|check| check["ok"] != true).collect();
        assert!(failed.is_empty() && output.status.success(), "{failed:#?} {stderr}");
        let checked: BTreeSet<&str> = checks.iter().filter_map(|check| check["check"].as_str()).collect();
        let always = ["open", "exec", "arguments, streams and exit status", "binary data", "write", "close"];
        let if_it_can = [
            ("kill-tree", "killing exec ends all it started"),
            ("no-network", "network is cut"),
            ("fresh", "fresh"),
            ("snapshot", "the snapshot is untouched"),
            ("snapshot", "the clock is right"),
            ("snapshot", "random numbers are fresh"),
            ("limits-memory", "memory limit"),
        ];
        let wanted = always
            .into_iter()
            .chain(if_it_can.iter().filter(|(has, _)| self.can(has)).map(|(_, check)| *check));
        for check in wanted {
            assert!(checked.contains(check), "{}: \"{check}\" was not tried: {text}", self.machine);
        }
    }
}
