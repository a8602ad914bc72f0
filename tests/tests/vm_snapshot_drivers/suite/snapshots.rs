//! take, restore, delete, list --tree; start and stop.

use super::{Pace, Suite};

impl Suite<'_> {
    /// Snapshots stack, any number can be opened from one, and none changes.
    pub(super) fn snapshots(&self) {
        let machine = self.machine;
        self.refused(&["open", machine, "--snapshot", "no-such"], 69, "no-such");
        if !self.can("snapshot") {
            let id = self.open(&[]);
            self.refused(&["take", &id, "one"], 69, "cannot take a snapshot");
            return self.close(&id);
        }
        let id = self.open(&[]);
        self.said(&id, "mkdir -p d; echo one > f; echo x > d/gone");
        self.ok(&["take", &id, "one"]);
        // the instance goes on, on top of it
        assert_eq!(self.said(&id, "cat f; rm -r d; echo two >> f"), "one\n");
        self.ok(&["take", &id, "two"]);
        self.refused(&["take", &id, "two"], 73, "there is one");
        self.close(&id);
        assert_eq!(self.ok(&["list", machine, "--tree"]), "one\n  two\n");
        let first = self.open(&["--snapshot", "one"]);
        assert_eq!(self.said(&first, "cat f d/gone; echo mine > f; rm -r d"), "one\nx\n");
        let again = self.open(&["--snapshot", "one"]);
        assert_eq!(self.said(&again, "cat f d/gone"), "one\nx\n", "{machine}: a snapshot changed");
        self.close(&again);
        self.refused(&["delete", machine, "one"], 1, "others are based on it");
        let second = self.open(&["--snapshot", "two"]);
        assert_eq!(self.said(&second, "cat f; ls -A"), "one\ntwo\nf\n");
        self.refused(&["delete", machine, "two"], 1, &second);
        self.refused(&["delete", machine], 1, "instances are open");
        if self.pace == Pace::Native {
            // the name goes to another state; who stands on the old one keeps it
            self.ok(&["take", &second, "one", "--replace"]);
            assert_eq!(self.said(&first, "cat f"), "mine\n");
            let anew = self.open(&["--snapshot", "one"]);
            assert_eq!(self.said(&anew, "cat f"), "one\ntwo\n");
            self.close(&anew);
            let mut busy = self.lab.command(&["exec", &second, "sleep", "100"]).spawn().expect("exec");
            std::thread::sleep(std::time::Duration::from_millis(300));
            self.refused(&["take", &second, "three"], 75, "a command is running");
            let _ = busy.kill();
            let _ = busy.wait();
        }
        self.ok(&["close", &first, &second]);
        self.ok(&["delete", machine]);
        assert_eq!(self.ok(&["list", machine]), "");
        let layers = self.lab.path().join("state/machines").join(machine).join("layers");
        assert_eq!(
            std::fs::read_dir(layers).into_iter().flatten().count(),
            0,
            "layers nobody needs are gone"
        );
        self.nothing_left(10);
    }

    /// A started machine keeps its disk; `restore` puts it back.
    pub(super) fn standing(&self) {
        let machine = self.machine;
        self.lab.note(machine);
        self.refused(&["stop", machine], 69, "it was not started");
        self.ok(&["start", machine]);
        self.refused(&["start", machine], 1, "it is running");
        self.refused(&["close", machine], 2, "it is a started machine");
        self.said(machine, "echo 1 > f; echo deep > g; sync 2>/dev/null; :");
        if !self.can("snapshot") {
            self.ok(&["stop", machine]);
            self.ok(&["delete", machine]);
            return self.nothing_left(10);
        }
        self.ok(&["take", machine, "base"]);
        self.said(machine, "echo 2 > f");
        self.ok(&["stop", machine]);
        self.refused(&["exec", machine, "true"], 69, "not open");
        self.ok(&["prune"]);
        self.ok(&["start", machine]);
        assert_eq!(self.said(machine, "cat f g"), "2\ndeep\n");
        self.ok(&["restore", machine, "base"]);
        self.refused(&["exec", machine, "true"], 69, "not open");
        self.ok(&["start", machine]);
        assert_eq!(self.said(machine, "cat f g"), "1\ndeep\n");
        self.refused(&["delete", machine, "base"], 1, "others are based on it");
        self.ok(&["stop", machine]);
        self.ok(&["delete", machine]);
        self.nothing_left(10);
    }

    /// A machine of the same name that another state directory started is another one.
    pub(super) fn namesake(&self) {
        let machine = self.machine;
        let ours = |args: &[&str]| self.ok(args);
        let theirs = |args: &[&str]| self.ok(&[&["--state-dir", "twin"], args].concat());
        self.lab.note(machine);
        let write = |text: &str| format!("echo {text} > f; sync 2>/dev/null; :");
        ours(&["start", machine]);
        theirs(&["start", machine]);
        theirs(&["exec", machine, "--", "sh", "-c", &write("theirs")]);
        ours(&["exec", machine, "--", "sh", "-c", &write("ours")]);
        let read = ["exec", machine, "cat", "f"];
        assert_eq!((ours(&read), theirs(&read)), ("ours\n".into(), "theirs\n".into()), "{machine}");
        ours(&["stop", machine]);
        ours(&["delete", machine]);
        assert_eq!(theirs(&read), "theirs\n", "{machine}: the end of one took the other along");
        theirs(&["stop", machine]);
        theirs(&["delete", machine]);
        self.nothing_left(10);
    }
}
