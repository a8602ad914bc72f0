//! open and close: side by side, beyond the pool, and whoever is killed.

use super::{Pace, Suite, id};
use serde_json::Value;
use std::process::{Child, Stdio};

impl Suite<'_> {
    /// A closed instance is gone; closing it again is no error.
    pub(super) fn closing(&self, id: &str) {
        for _ in 0..2 {
            self.close(id);
        }
        self.refused(&["exec", id, "true"], 69, "not open");
        self.refused(&["status", id], 69, "not open");
        self.nothing_left(10);
    }

    fn pool(&self) -> usize {
        let text = std::fs::read(self.lab.path().join("machines.json")).expect("machines");
        let document: Value = serde_json::from_slice(&text).expect("machines");
        let machines = document["machines"].as_array().expect("machines");
        let machine = machines.iter().find(|machine| machine["name"] == self.machine).expect("the machine");
        usize::try_from(machine["pool"].as_u64().expect("a machine under test has a pool")).expect("a number")
    }

    /// As many at once as the pool allows, each its own; who comes later waits for a place.
    pub(super) fn side_by_side(&self) {
        let opening: Vec<Child> = (0..self.pool())
            .map(|_| {
                let mut open = self.lab.command(&["open"]);
                open.args(self.start());
                open.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("open")
            })
            .collect();
        let ids: Vec<String> = opening
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().expect("open");
                assert!(output.status.success(), "{}: {}", self.machine, output.status);
                id(&serde_json::from_slice(&output.stdout).expect("a testbed"))
            })
            .collect();
        for id in &ids {
            self.lab.note(id);
            // no two see each other's files
            assert_eq!(self.said(id, "ls -A; echo x > only-mine"), "", "{}", self.machine);
        }
        let no_wait = [&["open", "--wait-s", "0"], &self.start()[..]].concat();
        self.refused(&no_wait, 75, "of its pool are open");
        let mut open = self.lab.command(&["open"]);
        open.args(self.start());
        let waiting = open.stdout(Stdio::piped()).spawn().expect("open");
        self.close(&ids[0]);
        let output = waiting.wait_with_output().expect("open");
        assert!(output.status.success(), "{}: who waited got no place", self.machine);
        let late = id(&serde_json::from_slice(&output.stdout).expect("a testbed"));
        self.lab.note(&late);
        let mut close = vec!["close", &late];
        close.extend(ids.iter().map(String::as_str));
        self.ok(&close);
        self.nothing_left(10);
    }

    /// A shell that opens an instance, does `then`, and ends.
    fn owned(&self, options: &str, then: &str) {
        let script = format!("\"$0\" open {} {options} > opened.json; {then}; :", self.start().join(" "));
        let mut shell = tests::command("sh", &self.lab.path());
        self.lab.dress(&mut shell);
        shell.arg("-c").arg(script).arg(self.lab.program()).status().expect("sh runs");
        let text = std::fs::read(self.lab.path().join("opened.json")).expect("a testbed");
        self.lab.note(&id(&serde_json::from_slice(&text).expect("a testbed")));
    }

    /// An instance ends with the process that it belongs to.
    pub(super) fn owners(&self) {
        self.owned("", "sleep 0.2");
        self.nothing_left(10);
        self.owned("", "kill -9 $$ 2>/dev/null & wait");
        self.nothing_left(10);
    }

    /// `--keep-s`: it stays for a look, and then goes.
    pub(super) fn keeping(&self) {
        self.owned("--keep-s 4", "true");
        std::thread::sleep(std::time::Duration::from_millis(500));
        let listed = self.ok(&["list", self.machine]);
        assert!(listed.contains("\"instance\""), "{}: it was not kept: {listed}", self.machine);
        self.nothing_left(14);
    }

    /// kill -9 of the keeper of an instance, while a command runs in it: `prune` leaves nothing.
    pub(super) fn killed_keepers(&self) {
        let id = self.open(&[]);
        let mut busy = self
            .lab
            .command(&["exec", &id, "--", "sleep", "1000"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("exec");
        if self.pace == Pace::Native {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let keeper = self.lab.processes(&["internal-keep", &id]);
        // its first process: others may be of the same name
        let keeper = keeper.iter().min().expect("a keeper");
        tests::sh_ok(&format!("kill -9 {keeper}"), &self.lab.path());
        self.until(10, "prune leaves it", || {
            self.ok(&["prune"]);
            std::fs::read_dir(self.lab.path().join("state/instances")).expect("instances").count() == 0
        });
        self.refused(&["exec", &id, "true"], 69, "not open");
        self.ends(&mut busy, 30, "a command in a machine that is gone");
        self.nothing_left(20);
    }
}
