//! `vm-snapshot` as its users see it: the cases in `tests/cases/vm-snapshot/`, then what a folder cannot say: that machines
//! are fresh, that nothing escapes, and that nothing is left behind, whoever is killed. What all machines do alike is in
//! `vm_snapshot_drivers/suite.rs`.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[test]
fn cases() {
    tests::run_cases("vm-snapshot");
}

/// A directory with a machines document and a state of its own.
struct Lab {
    dir: tempfile::TempDir,
}

const MACHINES: &str = r#"{"kind": "machines", "v": 1, "state_dir": "state", "machines": [
  {"name": "host", "root": "host", "own": ["/usr/share/racket"]},
  {"name": "lean", "root": "host", "memory_mb": 256, "processes": 64, "disk_mb": 64, "cpus": 1},
  {"name": "tree", "root": "tree"},
  {"name": "local", "driver": "local"}]}"#;

impl Lab {
    fn new() -> Lab {
        let dir = tempfile::Builder::new().prefix("vm lab,").tempdir().expect("a directory");
        std::fs::write(dir.path().join("machines.json"), MACHINES).expect("machines");
        Lab { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tests::command(tests::program("vm-snapshot"), &self.path());
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("vm-snapshot runs")
    }

    /// Must succeed; gives stdout.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "vm-snapshot {args:?}: {}\n{stderr}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn testbed(&self, args: &[&str]) -> Value {
        let mut all = vec!["open"];
        all.extend(args);
        serde_json::from_str(&self.ok(&all)).expect("a testbed")
    }

    fn open(&self, args: &[&str]) -> String {
        self.testbed(args)["id"].as_str().expect("an id").to_owned()
    }

    fn sh(&self, id: &str, script: &str) -> Output {
        self.run(&["exec", id, "--", "sh", "-c", script])
    }

    fn said(&self, id: &str, script: &str) -> String {
        let output = self.sh(id, script);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// What is left of instances: directories, processes, mounts, control groups.
    fn left(&self) -> Vec<String> {
        let path = self.path();
        let mut left: Vec<String> = std::fs::read_dir(path.join("state/instances"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| format!("directory {:?}", entry.file_name()))
            .collect();
        for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let zombie =
                std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default().contains(") Z ");
            if line.contains("internal-") && line.contains(path.to_str().unwrap_or("?")) && !zombie {
                left.push(format!("process {line}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let name = path.file_name().expect("a name").to_string_lossy().replace(' ', "\\040");
        left.extend(mounts.lines().filter(|line| line.contains(&name)).map(|line| format!("mount {line}")));
        left
    }

    /// Waits until nothing is left, at most `seconds`.
    fn empty_within(&self, seconds: u64) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while !self.left().is_empty() {
            assert!(Instant::now() < until, "left after {seconds} s: {:#?}", self.left());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in
            std::fs::read_dir(self.dir.path().join("state/instances")).into_iter().flatten().flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = self.run(&["close", &name]);
            let _ = self.run(&["stop", &name]);
        }
    }
}

fn sandbox(test: &str) -> bool {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return true;
    }
    tests::skip(test, "no namespaces here");
    false
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    output.stdout == b"0\n"
}

fn failed_checks(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let checks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a check")).collect();
    assert!(checks.len() >= 8, "{text}{}", String::from_utf8_lossy(&output.stderr));
    checks.iter().filter(|check| check["ok"] != true).map(ToString::to_string).collect()
}

#[test]
fn selftest_of_every_machine() {
    if !sandbox("selftest_of_every_machine") {
        return;
    }
    let lab = Lab::new();
    for machine in ["host", "lean", "local"] {
        let output = lab.run(&["selftest", machine]);
        assert_eq!(failed_checks(&output), [""; 0], "{machine}");
        assert_eq!(output.status.code(), Some(0), "{machine}");
    }
    lab.empty_within(5);
}

#[test]
fn an_ordinary_user_has_it_too() {
    if !is_root() || !sandbox("an_ordinary_user_has_it_too") || !tests::require("user", &["setpriv"]) {
        return;
    }
    let lab = Lab::new();
    let path = lab.path();
    // the checkout may be out of bounds for that user
    std::fs::copy(tests::program("vm-snapshot"), path.join("vm-snapshot")).expect("a copy");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("mode");
    std::os::unix::fs::chown(&path, Some(61_234), Some(61_234)).expect("owner");
    let user = |args: &[&str]| {
        let mut command = tests::command("setpriv", &path);
        command.args(["--reuid", "61234", "--regid", "61234", "--clear-groups"]);
        command.arg(path.join("vm-snapshot")).args(args).output().expect("setpriv runs")
    };
    for machine in ["host", "lean"] {
        let output = user(&["selftest", machine]);
        assert_eq!(failed_checks(&output), [""; 0], "{machine}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let opened = user(&["open", "lean", "--owner", &std::process::id().to_string()]);
    let testbed: Value = serde_json::from_slice(&opened.stdout).expect("a testbed");
    let has = testbed["capabilities"].to_string();
    for capability in ["no-network", "kill-tree", "limits-memory", "limits-disk", "limits-processes"] {
        assert!(has.contains(capability), "{capability} is not in {has}");
    }
    assert!(!has.contains("\"root\""));
    let id = testbed["id"].as_str().expect("an id");
    let said =
        user(&["exec", id, "--", "sh", "-c", "id -un; touch ~/x && echo home; touch /usr/bin/x || echo no"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "racket\nhome\nno\n");
    assert_eq!(user(&["exec", id, "--user", "root", "id"]).status.code(), Some(69));
    assert!(user(&["close", id]).status.success());
    lab.empty_within(5);
}

#[test]
fn of_the_host_only_programs_are_seen() {
    if !sandbox("of_the_host_only_programs_are_seen") {
        return;
    }
    let lab = Lab::new();
    let id = lab.open(&["host"]);
    let mut exec = lab.command(&["exec", &id, "--", "env"]);
    let env = exec.env("SECRET_TOKEN", "s3cret").output().expect("env");
    let env = String::from_utf8_lossy(&env.stdout);
    assert!(!env.contains("s3cret") && env.contains("HOME=/home/racket\n"), "{env}");
    assert_eq!(
        lab.said(&id, "ls -A /home /root /run /mnt /media /srv /tmp 2>&1 | grep -v : | sort -u"),
        "\nlock\nracket\n"
    );
    assert_eq!(lab.said(&id, "cat /etc/shadow /etc/sudoers 2>/dev/null; ls -A /etc/ssh 2>/dev/null"), "");
    assert_eq!(lab.said(&id, "id -u; hostname; pwd"), "4242\nsandbox\n/work\n");
    let processes: u32 = lab.said(&id, "ls /proc | grep -c '^[0-9]'").trim().parse().expect("a number");
    assert!(processes < 6, "{processes}: only its own processes");
    // a descriptor that the caller left open does not come in
    let script = format!("exec 7</; exec \"$0\" exec {id} -- sh -c 'ls /proc/self/fd | grep -c 7'");
    let vm_snapshot = tests::program("vm-snapshot");
    let output =
        tests::command("sh", &lab.path()).arg("-c").arg(script).arg(vm_snapshot).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
    let marker = "/usr/share/racket/written-in-a-sandbox";
    if Path::new("/usr/share/racket").is_dir() {
        assert_eq!(lab.said(&id, &format!("echo x > {marker} && cat {marker}")), "x\n");
        assert!(!Path::new(marker).exists());
        let next = lab.open(&["host"]);
        assert!(!lab.sh(&next, &format!("test -e {marker}")).status.success());
    }
    if is_root() {
        let output = lab.run(&[
            "exec",
            &id,
            "--user",
            "root",
            "--",
            "sh",
            "-c",
            "id -u; mount -t tmpfs x /mnt; \
            mknod /tmp/disk b 8 0; echo 1 > /proc/sys/kernel/printk; echo x > /usr/bin/ls && echo wrote",
        ]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\nwrote\n");
        assert!(std::fs::metadata("/usr/bin/ls").expect("ls").len() > 100);
    }
}

#[test]
fn snapshots_stack_and_are_read_only() {
    if !sandbox("snapshots_stack_and_are_read_only") {
        return;
    }
    let lab = Lab::new();
    let id = lab.open(&["host"]);
    let bare = lab.testbed(&["host"])["image_id"].clone();
    assert_eq!(bare, lab.testbed(&["host"])["image_id"], "the same machine has the same identity");
    lab.sh(&id, "echo one > f; mkdir d; echo x > d/gone; rm -rf /usr/share/racket/pkgs");
    lab.ok(&["take", &id, "first"]);
    // the instance goes on with what it had
    assert_eq!(
        lab.said(&id, "cat f; rm -r d; echo two >> f; ls /usr/share/racket/pkgs 2>/dev/null"),
        "one\n"
    );
    lab.ok(&["take", &id, "second"]);
    lab.ok(&["close", &id]);
    let first = lab.open(&["host", "--snapshot", "first"]);
    assert_eq!(lab.said(&first, "cat f d/gone; echo mine > f; rm -r d"), "one\nx\n");
    let again = lab.testbed(&["host", "--snapshot", "first"]);
    assert_ne!(again["image_id"], bare);
    assert_eq!(lab.said(again["id"].as_str().expect("id"), "cat f d/gone"), "one\nx\n");
    let second = lab.open(&["host", "--snapshot", "second"]);
    assert_eq!(lab.said(&second, "cat f; ls"), "one\ntwo\nf\n");
    let mut on_first = [&first, again["id"].as_str().expect("id")];
    on_first.sort_unstable();
    let tree =
        format!("first\n  {} (open)\n  {} (open)\n  second\n    {second} (open)\n", on_first[0], on_first[1]);
    let listed = lab.ok(&["list", "host", "--tree"]);
    assert!(listed.ends_with(&tree), "{listed}");
    // what others are based on stays
    let refused = lab.run(&["delete", "host", "first"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("snapshots: second"));
    assert_eq!(lab.run(&["take", &second, "first"]).status.code(), Some(73));
    lab.ok(&["take", &second, "first", "--replace"]);
    assert_eq!(lab.said(&first, "cat f"), "mine\n", "who stands on the old one keeps it");
    let mut busy = lab.command(&["exec", &second, "sleep", "100"]).spawn().expect("exec");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lab.run(&["take", &second, "third"]).status.code(), Some(75), "a command is running");
    let _ = busy.kill();
    let _ = busy.wait();
    for id in lab.ok(&["list", "host"]).lines() {
        let line: Value = serde_json::from_str(id).expect("a line");
        if line["kind"] == "instance" {
            lab.ok(&["close", line["id"].as_str().expect("id")]);
        }
    }
    lab.ok(&["delete", "host"]);
    assert_eq!(lab.ok(&["list", "host"]), "");
    let layers = lab.path().join("state/machines/host/layers");
    assert_eq!(std::fs::read_dir(layers).expect("layers").count(), 0, "layers nobody needs are gone");
    lab.empty_within(5);
}

#[test]
fn a_limited_disk_can_be_kept() {
    if !sandbox("a_limited_disk_can_be_kept") {
        return;
    }
    let lab = Lab::new();
    let id = lab.open(&["lean"]);
    lab.sh(&id, "echo kept > f; ln f g; ln -s f h; touch -d 2001-01-01 f; rm -f /etc/hosts");
    lab.ok(&["take", &id, "kept"]);
    let next = lab.open(&["lean", "--snapshot", "kept"]);
    assert_eq!(lab.said(&next, "cat g h; date -r f +%Y"), "kept\nkept\n2001\n");
    assert!(lab.sh(&next, "head -c 50000000 /dev/zero > big").status.success(), "the limit starts anew");
    assert!(!lab.sh(&next, "head -c 50000000 /dev/zero > big2").status.success());
}

#[test]
fn a_root_tree_needs_nothing_of_the_host() {
    if !sandbox("a_root_tree_needs_nothing_of_the_host") {
        return;
    }
    let lab = Lab::new();
    // dash and its libraries
    tests::sh_ok(
        "mkdir -p tree/bin tree/etc; cp $(command -v dash) tree/bin/sh; echo root:x:0:0::/root:/bin/sh > tree/etc/passwd
         for l in $(ldd tree/bin/sh | grep -o '/[^ ]*'); do mkdir -p tree$(dirname $l); cp $l tree$l; done",
        &lab.path(),
    );
    let id = lab.open(&["tree"]);
    let said = lab.said(
        &id,
        "echo $HOME; echo new > f; echo *; echo /*; while read -r l; do echo $l; done < /etc/passwd",
    );
    let expected = "/home/racket\nf\n/bin /dev /etc /home /lib /lib64 /proc /root /run /share /sys /tmp /var /work\n\
                    root:x:0:0::/root:/bin/sh\nracket:x:4242:4242:racket:/home/racket:/bin/sh\n";
    assert_eq!(said, expected);
    assert!(!lab.path().join("tree/work").exists(), "the tree is as it was");
}

#[test]
fn many_side_by_side() {
    if !sandbox("many_side_by_side") {
        return;
    }
    let lab = Lab::new();
    let opening: Vec<Child> = (0..8)
        .map(|_| lab.command(&["open", "lean"]).stdout(Stdio::piped()).spawn().expect("open"))
        .collect();
    let mut ids: Vec<String> = Vec::new();
    for child in opening {
        let output = child.wait_with_output().expect("open");
        let testbed: Value = serde_json::from_slice(&output.stdout).expect("a testbed");
        ids.push(testbed["id"].as_str().expect("an id").to_owned());
    }
    for id in &ids {
        assert_eq!(lab.said(id, "ls; echo x > only-mine"), "");
    }
    let mut close = vec!["close"];
    close.extend(ids.iter().map(String::as_str));
    lab.ok(&close);
    lab.empty_within(5);
}

/// kill -9 of every process in turn, at many moments: the next command leaves nothing.
#[test]
fn nothing_is_left_whoever_is_killed() {
    if !sandbox("nothing_is_left_whoever_is_killed") {
        return;
    }
    let lab = Lab::new();
    let owner = std::process::id().to_string();
    for machine in ["host", "lean"] {
        for wait_ms in [0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40] {
            let mut open = lab
                .command(&["open", machine, "--owner", &owner])
                .stdout(Stdio::null())
                .spawn()
                .expect("open");
            std::thread::sleep(Duration::from_millis(wait_ms));
            let _ = open.kill();
            let _ = open.wait();
        }
    }
    // those that had been told about belong to this process: closed by name
    std::thread::sleep(Duration::from_millis(300));
    for machine in ["host", "lean"] {
        for line in lab.ok(&["list", machine]).lines() {
            let line: Value = serde_json::from_str(line).expect("a line");
            lab.ok(&["close", line["id"].as_str().expect("an id")]);
        }
    }
    lab.ok(&["prune"]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(lab.left(), [""; 0]);

    for role in ["internal-keep", "internal-enter"] {
        let id = lab.open(&["lean"]);
        let mut exec = lab
            .command(&["exec", &id, "--", "sh", "-c", "trap '' TERM; setsid sleep 98765 & echo up; wait"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("exec");
        let mut up = [0; 3];
        std::io::Read::read_exact(exec.stdout.as_mut().expect("stdout"), &mut up).expect("it is up");
        if let Some(outermost) = roles(&lab, role).first() {
            let _ = Command::new("kill").args(["-9", outermost]).output();
        }
        assert_eq!(exec.wait().expect("exec ends").code(), Some(75), "{role}");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(sleepers(), 0, "{role}");
        lab.ok(&["close", &id]);
        lab.empty_within(5);
    }
}

/// Process numbers of a role in this lab, the outermost first.
fn roles(lab: &Lab, role: &str) -> Vec<String> {
    let path = lab.path().display().to_string();
    let mut found: Vec<u32> = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| {
            let line =
                String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).into_owned();
            let here = line.contains(role) && line.contains(&path);
            here.then(|| entry.file_name().to_string_lossy().parse().ok())?
        })
        .collect();
    found.sort_unstable();
    found.iter().map(ToString::to_string).collect()
}

fn sleepers() -> usize {
    let output = Command::new("pgrep").args(["-f", "^sleep 98765"]).output().expect("pgrep");
    output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

#[test]
fn the_usage_is_what_was_used() {
    if !sandbox("the_usage_is_what_was_used") {
        return;
    }
    let lab = Lab::new();
    let id = lab.open(&["lean"]);
    lab.sh(&id, "head -c 20000000 /dev/urandom > f; x=$(head -c 30000000 /dev/zero | tr '\\0' x); getent hosts a.example");
    let usage: Value = serde_json::from_str(&lab.ok(&["status", &id])).expect("usage");
    assert_eq!(usage["alive"], true);
    assert!(usage["disk_mb"].as_f64().expect("disk") > 19.0, "{usage}");
    assert!(usage["peak_memory_mb"].as_f64().expect("memory") > 30.0, "{usage}");
    assert!(usage["peak_memory_mb"].as_f64().expect("memory") <= 256.0, "{usage}");
    assert!(usage["network_refusals"].as_u64().expect("refusals") > 0, "{usage}");
    assert_eq!(usage["memory_kills"], 0);
    assert_eq!(usage["disk_full"], false);
}
