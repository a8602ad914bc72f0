//! Driver `virtualbox`: a stand-in for VBoxManage (`virtualbox/VBoxManage`), whose words are compared with those of the real
//! one and whose machines are namespaces with an sshd, so that ssh really works through it; and the real VBoxManage, where
//! `scripts/vbox-root` has made a root with it, for all that needs no kernel module.

use crate::lab::{Lab, missing};
use crate::suite::{self, Pace};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A lab with the stand-in first on PATH, and the first three bytes of the addresses of its host-only network.
struct Boxes {
    lab: Lab,
    net: String,
}

/// Machines of the document: the rest of each is the same.
fn boxes(test: &str, machines: impl FnOnce(&str) -> Vec<String>) -> Option<Boxes> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if missing(test, &["sshd", "ssh", "ssh-keygen", "ip", "unshare", "python3"]) {
        return None;
    }
    let pid = std::process::id();
    let net =
        format!("10.{}.{}", 64 + (pid / 64) % 64, (pid % 64) * 4 + COUNT.fetch_add(1, Ordering::Relaxed) % 4);
    let machines: Vec<String> = machines(&net)
        .iter()
        .map(|machine| format!(r#"{{"driver":"virtualbox","identity":"key","known_hosts":"known","boot_timeout_s":30,{machine}}}"#))
        .collect();
    let mut lab = Lab::new(&machines.join(","));
    let path = lab.path();
    let here = tests::root().join("tests/tests/vm_snapshot_drivers/virtualbox");
    lab.env.push(("PATH", format!("{}:{}", here.display(), tests::path_variable())));
    lab.env.push(("STAND_IN_LOG", path.join("log").display().to_string()));
    tests::sh_ok(
        &format!(
            "for k in key other host; do ssh-keygen -q -t ed25519 -N '' -f $k; done
             echo \"racket,{net}.* $(cut -d' ' -f1,2 host.pub)\" > known
             t=disk.vdi.tree; mkdir -p $t/etc/ssh $t/home/racket/.ssh $t/root/.ssh; : > disk.vdi
             printf '%s\\n' 'root:x:0:0:root:/root:/bin/sh' 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' \
                 'racket:x:4242:4242::/home/racket:/bin/sh' > $t/etc/passwd
             printf 'root:*:1::::::\\nracket:*:1::::::\\nsshd:!:1::::::\\n' > $t/etc/shadow
             printf 'root:x:0:\\nracket:x:4242:\\nnogroup:x:65534:\\n' > $t/etc/group
             cp host $t/etc/ssh/ssh_host_ed25519_key; cp key.pub $t/home/racket/.ssh/authorized_keys; cp key.pub $t/root/.ssh/authorized_keys
             printf '%s\\n' 'UsePAM no' 'PasswordAuthentication no' 'UseDNS no' 'MaxStartups 100' 'MaxSessions 100' > $t/etc/ssh/sshd_config
             echo 'nameserver 192.0.2.1' > $t/etc/resolv.conf
             for f in alternatives ssl racket nsswitch.conf ld.so.cache; do [ ! -e /etc/$f ] || cp -a /etc/$f $t/etc/; done
             chmod 700 $t/home/racket/.ssh $t/root/.ssh; chown -R 4242:4242 $t/home/racket"
        ),
        &path,
    );
    Some(Boxes { lab, net })
}

impl Drop for Boxes {
    /// What a failed test leaves running.
    fn drop(&mut self) {
        let registry = self.lab.path().join(".config/VirtualBox/stand-in.json");
        let Ok(text) = std::fs::read(registry) else { return };
        let data: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        for pid in data["vms"].as_array().into_iter().flatten().filter_map(|vm| vm["pid"].as_u64()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl Boxes {
    fn manage(&self, script: &str) -> String {
        let mut shell = tests::command("sh", &self.lab.path());
        shell.envs(self.lab.env.iter().map(|(key, value)| (key, value))).args(["-euc", script]);
        let output = shell.output().expect("sh runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A machine by hand, as the old procedure has it: off, with the snapshot `init`, at the address NET.`last`.
    fn machine(&self, name: &str, last: u32) {
        self.manage(&format!(
            "VBoxManage createvm --name {name} --ostype Debian_64 --register >/dev/null
             VBoxManage storagectl {name} --name SATA --add sata --portcount 1
             cp -a disk.vdi {name}.vdi; cp -a disk.vdi.tree {name}.vdi.tree
             VBoxManage storageattach {name} --storagectl SATA --port 0 --device 0 --type hdd --medium \"$PWD/{name}.vdi\"
             VBoxManage modifyvm {name} --nic1 hostonly --hostonlyadapter1 vboxnet0
             VBoxManage setextradata {name} guest/address {}.{last}
             VBoxManage snapshot {name} take init >/dev/null 2>&1",
            self.net
        ));
    }

    fn shown(&self, vm: &str, key: &str) -> String {
        let told = self.manage(&format!("VBoxManage showvminfo {vm} --machinereadable"));
        let line = told.lines().find(|line| line.starts_with(&format!("{key}="))).unwrap_or_default();
        line.split_once('=').map(|(_, value)| value.trim_matches('"').to_owned()).unwrap_or_default()
    }
}

#[test]
fn clones_behave_as_every_machine_does() {
    let boxes = boxes("virtualbox", |net| {
        vec![format!(r#""name":"box","vm":"racket","clones":["{net}.11","{net}.12","{net}.13"],"pool":3"#)]
    });
    let Some(mut boxes) = boxes else { return };
    boxes.machine("racket", 10);
    boxes.lab.leftovers =
        "VBoxManage list vms | grep -v '^\"racket\"'; VBoxManage list runningvms".to_owned();
    suite::run(&boxes.lab, "box", Pace::Native);
}

/// The machines of the old procedure, by name, each its own: `init` and `installed` are snapshots of VirtualBox.
#[test]
fn a_named_machine_is_put_back_for_each_instance() {
    let boxes = boxes("virtualbox", |net| {
        vec![
            format!(r#""name":"racket","host":"{net}.10","memory_mb":700,"cpus":2"#),
            format!(
                r#""name":"pool","vms":[{{"vm":"racket","host":"{net}.10"}},{{"vm":"second","host":"{net}.20"}}]"#
            ),
            format!(r#""name":"live","vm":"racket","host":"{net}.10","live":true"#),
        ]
    });
    let Some(boxes) = boxes else { return };
    for (name, last) in [("racket", 10), ("second", 20)] {
        boxes.machine(name, last);
    }
    boxes.manage(
        "VBoxManage modifyvm racket --nic2 nat; VBoxManage snapshot racket take both >/dev/null 2>&1",
    );
    let lab = &boxes.lab;
    let me = std::process::id().to_string();
    let open = |args: &[&str]| lab.open(&[args, &["--owner", &me]].concat());
    let id = |testbed: &serde_json::Value| testbed["id"].as_str().expect("an id").to_owned();
    let ok = |args: &[&str]| {
        let output = lab.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let refused = |args: &[&str], code: i32, text: &str| {
        let output = lab.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    };

    // fresh, sized, with its network cut and the shares served or copied
    std::fs::create_dir_all(lab.path().join("archive/pkgs")).expect("a directory");
    std::fs::write(lab.path().join("archive/pkgs/a.zip"), "a zip").expect("a file");
    let share = format!("archive={}", lab.path().join("archive").display());
    let copied = format!("installer={}", lab.path().join("archive").display());
    let testbed = open(&["racket", "--snapshot", "both", "--share", &share, "--share", &copied]);
    let first = id(&testbed);
    assert_eq!(testbed["snapshot"], "both");
    assert_eq!(testbed["host_url"], "http://127.0.0.1:18333");
    assert_eq!(testbed["mounts"][0]["name"], "installer");
    assert_eq!((boxes.shown("racket", "memory"), boxes.shown("racket", "cpus")), ("700".into(), "2".into()));
    let log = || std::fs::read_to_string(lab.path().join("log")).expect("a log");
    assert!(log().contains("controlvm racket setlinkstate2 off\n"), "{}", log());
    let get = "exec 3<>/dev/tcp/127.0.0.1/18333; printf 'GET /archive/pkgs/a.zip HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3";
    assert_eq!(ok(&["exec", &first, "--", "bash", "-c", get]), "a zip");
    assert_eq!(ok(&["exec", &first, "--", "cat", "/var/tmp/vm-snapshot/installer/pkgs/a.zip"]), "a zip");

    // one at a time: the next waits, and gets a fresh one
    ok(&["exec", &first, "--", "sh", "-c", "echo mine > f; sync"]);
    refused(&["open", "racket", "--wait-s", "0"], 75, "all 1 machines of its pool are open");
    let waiting = lab
        .command(&["open", "racket", "--owner", &me])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("open");
    // the pool has another machine, and takes that
    let second = open(&["pool"]);
    assert_eq!(boxes.shown("second", "VMState"), "running");
    ok(&["close", &id(&second)]);
    ok(&["close", &first]);
    let output = waiting.wait_with_output().expect("open");
    let late = id(&serde_json::from_slice(&output.stdout).expect("a testbed"));
    assert_eq!(ok(&["exec", &late, "--", "ls", "-A"]), "");

    // installed, as the old procedure takes it; and anew
    ok(&["exec", &late, "--", "sh", "-c", "echo 8.7 > version"]);
    refused(&["take", &late, "init"], 73, "there is one");
    let taken = ok(&["take", &late, "installed"]);
    assert!(taken.contains("\"created\": \"20"), "{taken}");
    refused(&["take", &late, "installed"], 73, "--replace takes the name from it");
    refused(&["delete", "racket", "installed"], 1, "others are based on it");
    assert_eq!(ok(&["exec", &late, "--", "cat", "version"]), "8.7\n");
    ok(&["exec", &late, "--", "sh", "-c", "echo 9.0 > version"]);
    ok(&["take", &late, "installed", "--replace"]);
    ok(&["close", &late]);
    let anew = id(&open(&["racket", "--snapshot", "installed"]));
    assert_eq!(ok(&["exec", &anew, "--", "cat", "version"]), "9.0\n");
    ok(&["close", &anew]);
    assert_eq!(boxes.shown("racket", "VMState"), "poweroff");
    let listed = ok(&["list", "racket"]);
    assert!(listed.contains("\"name\":\"installed\"") && !listed.contains("\"name\":\"init\""), "{listed}");
    refused(&["open", "racket", "--snapshot", "no-such"], 69, "it has no snapshot \"no-such\"");

    // with its memory
    let live = id(&open(&["live"]));
    ok(&["take", &live, "warm"]);
    assert!(log().contains("snapshot racket take warm --description taken by vm-snapshot --live\n"));
    ok(&["close", &live]);
    assert_eq!(boxes.shown("racket", "VMState"), "saved");
    refused(
        &["open", "racket", "--snapshot", "warm", "--memory-mb", "900"],
        2,
        "was taken while it ran, with 1024 MiB",
    );
    ok(&["close", &id(&open(&["live", "--snapshot", "warm"]))]);
    ok(&["delete", "racket", "warm"]);

    // a started machine keeps its disk, and nobody throws it away by opening the machine
    ok(&["start", "racket", "--snapshot", "installed"]);
    ok(&["exec", "racket", "--", "sh", "-c", "echo kept > g"]);
    ok(&["stop", "racket"]);
    refused(&["open", "racket"], 69, "it holds the state of a started machine");
    let other = open(&["pool"]);
    assert_eq!(boxes.shown("second", "VMState"), "running", "the pool passes over it");
    ok(&["close", &id(&other)]);
    ok(&["start", "racket"]);
    assert_eq!(ok(&["exec", "racket", "--", "cat", "g"]), "kept\n");
    ok(&["restore", "racket", "installed"]);
    assert_eq!(boxes.shown("racket", "VMState"), "poweroff");
    ok(&["start", "racket"]);
    assert_eq!(ok(&["exec", "racket", "--", "sh", "-c", "cat version; ls"]), "9.0\nversion\n");
    ok(&["stop", "racket"]);
    ok(&["delete", "racket"]);

    // a keeper that is killed: its lock is free at once, and what it left running is put back by the next one
    let left = id(&open(&["racket"]));
    ok(&["exec", &left, "--", "sh", "-c", "echo left > f; sync"]);
    let keeper = *lab.processes(&["internal-keep", &left]).iter().min().expect("a keeper");
    tests::sh_ok(&format!("kill -9 {keeper}"), &lab.path());
    let next = id(&open(&["racket", "--wait-s", "20"]));
    assert_eq!(ok(&["exec", &next, "--", "ls", "-A"]), "");
    ok(&["close", &next]);
    // by hand it is somebody's: hands off
    boxes.manage("VBoxManage startvm racket --type headless >/dev/null");
    refused(&["open", "racket"], 69, "\"racket\" is running already");
    assert_eq!(boxes.shown("racket", "VMState"), "running");
    boxes.manage("VBoxManage controlvm racket poweroff 2>/dev/null");
}

/// Each way in which the old procedure failed has its own message and advice.
#[test]
fn each_way_to_fail_is_told_apart() {
    let boxes = boxes("virtualbox", |net| {
        let machine =
            |name: &str, more: &str| format!(r#""name":"{name}","vm":"racket","host":"{net}.10"{more}"#);
        vec![
            machine("fine", ""),
            machine("program", r#","vboxmanage":"no-such-VBoxManage""#),
            machine("nobody", "").replace(r#""vm":"racket""#, r#""vm":"nobody""#),
            machine("noinit", r#","init":"pristine""#),
            machine("setting", r#","hots":"x""#),
            machine("name", r#","boot_timeout_s":1"#).replace(&format!("{net}.10"), "no-such-host.invalid"),
            machine("unknown", r#","options":["UserKnownHostsFile=/dev/null"]"#)
                .replace("\"vm\"", "\"known_hosts\":\"none\",\"vm\""),
            machine("locked", r#","identity":"other""#),
            machine("wrong", "").replace(&format!("{net}.10"), &format!("{net}.20")),
            machine("silent", r#","boot_timeout_s":3"#)
                .replace("racket", "silent")
                .replace(&format!("{net}.10"), &format!("{net}.30")),
            machine("falls", "")
                .replace("racket", "falls")
                .replace(&format!("{net}.10"), &format!("{net}.40")),
        ]
    });
    let Some(mut boxes) = boxes else { return };
    for (name, last) in [("racket", 10), ("second", 20), ("silent", 30), ("falls", 40)] {
        boxes.machine(name, last);
    }
    boxes.manage("VBoxManage setextradata silent guest/trouble silent; VBoxManage setextradata falls guest/trouble boot");
    boxes.manage("VBoxManage startvm second >/dev/null");
    let told = |boxes: &Boxes, machine: &str, code: i32, texts: &[&str]| {
        let begun = Instant::now();
        let output = boxes.lab.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{machine}: {said}");
        for text in texts {
            assert!(said.contains(text), "{machine}: no \"{text}\" in {said}");
        }
        eprintln!("{machine}: {:.1} s", begun.elapsed().as_secs_f64());
        let running = boxes.manage("VBoxManage list runningvms");
        assert_eq!(
            running.lines().filter(|line| line.starts_with('"') && !line.contains("second")).count(),
            0,
            "{machine} leaves {running}"
        );
    };
    // the address is somebody else's, who has the same key: all of one image do
    for (machine, code, texts) in [
        ("program", 69, &["cannot run \"no-such-VBoxManage\"", "install VirtualBox"][..]),
        ("nobody", 69, &["Could not find a registered machine named 'nobody'", "VBoxManage list vms"]),
        (
            "noinit",
            69,
            &[
                "it has no snapshot \"pristine\"",
                "snapshots: init",
                "VBoxManage snapshot racket take pristine",
            ],
        ),
        ("setting", 65, &["has no setting \"hots\"", "settings: host"]),
        ("locked", 69, &["Permission denied", "put your public key on the machine"]),
        ("wrong", 69, &["another machine answers at", "network adapters", "wanted", "its console says"]),
        ("silent", 75, &["Connection refused", "tried: ", "is sshd running there"]),
        ("falls", 75, &["\"falls\" went off by itself", "its log is in"]),
    ] {
        told(&boxes, machine, code, texts);
    }
    let name = boxes.lab.run(&["open", "name"]);
    let said = String::from_utf8_lossy(&name.stderr).into_owned();
    assert!(said.contains("Could not resolve hostname") && said.contains("  hint: "), "{said}");
    assert!(matches!(name.status.code(), Some(69 | 75)), "{said}");
    told(&boxes, "unknown", 69, &["is not known, and nobody is there to be asked", "check the key"]);
    // two snapshots with one name
    boxes.manage("VBoxManage snapshot racket take init >/dev/null 2>&1");
    told(&boxes, "fine", 69, &["it has more than one snapshot \"init\"", "name it by its UUID"]);
    let older = boxes.manage(
        "VBoxManage snapshot racket list --machinereadable | sed -n 's/^SnapshotUUID=\"\\(.*\\)\"/\\1/p'",
    );
    boxes.manage(&format!("VBoxManage snapshot racket edit {} --name older", older.trim()));
    // a machine that another VBoxManage holds for a moment is tried again
    boxes.manage("VBoxManage setextradata racket guest/locked 3");
    let testbed = boxes.lab.open(&["fine", "--owner", &std::process::id().to_string()]);
    assert!(boxes.lab.run(&["close", testbed["id"].as_str().expect("an id")]).status.success());
    // words that the real one has said
    boxes.lab.env.push(("STAND_IN_MODULE", "no".to_owned()));
    told(&boxes, "fine", 69, &["has terminated unexpectedly during startup", "modprobe vboxdrv"]);
}

/// What differs between two runs that say the same: UUIDs and addresses are numbered as they come, times and places named.
fn plain(text: &str, home: &Path) -> String {
    let text = text
        .replace(&home.display().to_string(), "HOME")
        .replace("/root/VirtualBox VMs", "HOME/VirtualBox VMs");
    let text = regex::Regex::new("20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+")
        .expect("valid")
        .replace_all(&text, "TIME")
        .into_owned();
    let mut seen: Vec<String> = Vec::new();
    let names =
        regex::Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|0800[0-9A-F]{8}").expect("valid");
    let number = |found: &regex::Captures<'_>| {
        let at = seen.iter().position(|other| *other == found[0]).unwrap_or_else(|| {
            seen.push(found[0].to_owned());
            seen.len() - 1
        });
        format!("{}{at}", if found[0].contains('-') { "UUID" } else { "MAC" })
    };
    names.replace_all(&text, number).into_owned()
}

/// Runs the commands of `virtualbox/transcript.sh` against a VBoxManage.
fn transcript(program_dir: &Path) -> String {
    let dir = tempfile::Builder::new().prefix("vbox").tempdir().expect("a directory");
    let home = dir.path().canonicalize().expect("it is there");
    let script = tests::root().join("tests/tests/vm_snapshot_drivers/virtualbox/transcript.sh");
    let output = tests::command("sh", &home)
        .arg(script)
        .env("PATH", format!("{}:{}", program_dir.display(), tests::path_variable()))
        .env("STAND_IN_MODULE", "no")
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    plain(&String::from_utf8_lossy(&output.stdout), &home)
}

const TRANSCRIPT: &str = include_str!("virtualbox/transcript.txt");

#[test]
fn the_stand_in_says_what_the_real_one_said() {
    if missing("virtualbox stand-in", &["python3"]) {
        return;
    }
    let said = transcript(&tests::root().join("tests/tests/vm_snapshot_drivers/virtualbox"));
    assert_eq!(said, TRANSCRIPT);
}

/// Where `scripts/vbox-root` puts the real one; `DOWNSTREAM_VBOX=DIR` names another place.
fn real() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let dir = std::env::var_os("DOWNSTREAM_VBOX")
        .map(PathBuf::from)
        .or_else(|| Some(cache?.join("downstream/vbox-root")))?;
    let there = dir.join("VBoxManage").exists() && !missing("virtualbox", &["unshare"]);
    if !there {
        eprintln!("skipped: virtualbox: no VBoxManage; scripts/vbox-root makes a root with it");
    }
    there.then_some(dir)
}

/// `UPDATE_CASES=1` records what the real one says.
#[test]
fn the_real_one_says_what_it_said() {
    let Some(dir) = real() else { return };
    let said = transcript(&dir);
    if std::env::var_os("UPDATE_CASES").is_some() {
        let file = tests::root().join("tests/tests/vm_snapshot_drivers/virtualbox/transcript.txt");
        std::fs::write(file, said).expect("the transcript");
    } else {
        assert_eq!(said, TRANSCRIPT);
    }
}

/// All that the driver does short of starting a machine, against the real VBoxManage.
#[test]
fn the_real_one_keeps_the_machines_of_the_driver() {
    let Some(dir) = real() else { return };
    let program = dir.join("VBoxManage").display().to_string();
    let machine = |name: &str, more: &str| {
        format!(
            r#"{{"name":"{name}","driver":"virtualbox","vboxmanage":"{program}","identity":"key","boot_timeout_s":1{more}}}"#
        )
    };
    let lab = Lab::new(
        &[
            machine("racket", r#","host":"192.0.2.1","image":"disk.raw","memory_mb":512,"cpus":1"#),
            machine("nobody", r#","host":"192.0.2.1""#),
            machine("box", r#","vm":"racket","clones":["192.0.2.7"]"#),
        ]
        .join(","),
    );
    let path = lab.path();
    tests::sh_ok("truncate -s 8M disk.raw; ssh-keygen -q -t ed25519 -N '' -f key", &path);
    let manage = |script: &str| {
        let mut shell = tests::command("sh", &path);
        let output = shell.args(["-c", &script.replace("VBoxManage", &program)]).output().expect("sh runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let refused = |args: &[&str], code: i32, texts: &[&str]| {
        let output = lab.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for text in texts {
            assert!(said.contains(text), "{args:?}: no \"{text}\" in {said}");
        }
    };
    refused(
        &["open", "nobody"],
        69,
        &["Could not find a registered machine named 'nobody'", "VBOX_E_OBJECT_NOT_FOUND"],
    );
    // it is made of its image and put back to its snapshot; only the start fails: there is no kernel module
    refused(
        &["create", "racket"],
        69,
        &[
            "the host-only network \"vboxnet0\" is not there",
            "terminated unexpectedly during startup",
            "modprobe vboxdrv",
        ],
    );
    let shown = manage("VBoxManage showvminfo racket --machinereadable");
    for line in [
        "memory=512\n",
        "cpus=1\n",
        "nic1=\"hostonly\"\n",
        "SnapshotName=\"init\"\n",
        "/racket.vdi\"\n",
        "VMState=\"poweroff\"\n",
    ] {
        assert!(shown.contains(line) || line.starts_with("/racket"), "{line}: {shown}");
    }
    // snapshots made by hand are there, too
    manage("VBoxManage snapshot racket take installed");
    let listed = String::from_utf8_lossy(&lab.run(&["list", "racket"]).stdout).into_owned();
    assert!(listed.contains("\"name\":\"installed\""), "{listed}");
    assert!(!listed.contains("\"name\":\"init\""), "{listed}");
    refused(
        &["open", "racket", "--snapshot", "no-such"],
        69,
        &["it has no snapshot \"no-such\"", "snapshots: init, installed"],
    );
    refused(&["open", "racket", "--snapshot", "installed"], 69, &["modprobe vboxdrv"]);
    let restored = lab.run(&["restore", "racket", "installed"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    assert!(
        manage("VBoxManage showvminfo racket --machinereadable")
            .contains("CurrentSnapshotName=\"installed\"")
    );
    assert!(lab.run(&["delete", "racket"]).status.success());
    manage("VBoxManage snapshot racket restore init; VBoxManage snapshot racket take other");
    let deleted = lab.run(&["delete", "racket", "other"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    assert!(!manage("VBoxManage snapshot racket list --machinereadable").contains("\"other\""));
    // a linked clone is made, gets its address, and is gone again
    refused(&["open", "box"], 69, &["modprobe vboxdrv"]);
    let left = manage("VBoxManage list vms | grep {");
    assert!(left.contains("\"racket\"") && left.lines().count() == 1, "{left}");
    manage("VBoxManage unregistervm racket --delete");
    // its server ends by itself
    std::thread::sleep(Duration::from_millis(100));
}

/// A disk of each kind and an appliance become machines with a disk of their own, of the same size.
#[test]
fn the_real_one_makes_a_machine_of_any_image() {
    let Some(dir) = real() else { return };
    if missing("virtualbox images", &["qemu-img"]) {
        return;
    }
    let program = dir.join("VBoxManage").display().to_string();
    let kinds = ["raw", "vmdk", "qcow2", "ova"];
    let machines = kinds.map(|kind| {
        format!(
            r#"{{"name":"of-{kind}","driver":"virtualbox","vboxmanage":"{program}","identity":"key","host":"192.0.2.1","image":"disk.{kind}"}}"#
        )
    });
    let lab = Lab::new(&machines.join(","));
    let path = lab.path();
    let manage = |script: &str| tests::sh_ok(&script.replace("VBoxManage", &program), &path);
    manage(
        "ssh-keygen -q -t ed25519 -N '' -f key; truncate -s 8M disk.raw
         for kind in vmdk qcow2; do qemu-img convert -O $kind disk.raw disk.$kind; done
         VBoxManage setproperty machinefolder \"$PWD/vms\" 2>/dev/null",
    );
    for kind in kinds {
        // it is made, and then not started: there is no kernel module
        let said = String::from_utf8_lossy(&lab.run(&["create", &format!("of-{kind}")]).stderr).into_owned();
        assert!(said.contains("modprobe vboxdrv"), "{kind}: {said}");
        let disk = manage(&format!(
            "file=$(VBoxManage showvminfo of-{kind} --machinereadable | sed -n 's/^\"SATA-0-0\"=\"\\(.*\\)\"/\\1/p')
             VBoxManage showmediuminfo disk \"$file\"; VBoxManage snapshot of-{kind} list --machinereadable"
        ));
        assert!(disk.contains("Capacity:       8 MBytes"), "{kind}: {disk}");
        assert!(disk.contains("SnapshotName=\"init\""), "{kind}: {disk}");
        if kind == "raw" {
            manage("VBoxManage export of-raw --output disk.ova >/dev/null 2>&1");
        }
    }
    for kind in kinds {
        manage(&format!("VBoxManage unregistervm of-{kind} --delete 2>/dev/null"));
    }
    manage("VBoxManage setproperty machinefolder default 2>/dev/null");
}
