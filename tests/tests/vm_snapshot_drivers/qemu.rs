//! Driver `qemu`: emulated, so that it runs anywhere; slow.

use crate::lab::{Lab, missing};
use crate::suite::{self, Pace};
use std::path::PathBuf;
use std::process::Command;

/// The image of `DOWNSTREAM_IMAGE` (made by `scripts/make-image`), or a small one of programs of this host, made once.
pub fn image() -> Option<PathBuf> {
    if let Some(image) = std::env::var_os("DOWNSTREAM_IMAGE").map(PathBuf::from) {
        return Some(image);
    }
    let dir = tests::bin_dir().parent().expect("target").join("small-image");
    let made = Command::new(tests::root().join("scripts/image/small")).arg(&dir).output().expect("sh");
    if !made.status.success() {
        tests::skip("qemu", &format!("no image: {}", String::from_utf8_lossy(&made.stderr).trim()));
        return None;
    }
    Some(dir)
}

fn qemu_lab(test: &str) -> Option<Lab> {
    if missing(test, &["qemu-system-x86_64", "qemu-img", "ssh", "sshd"]) {
        return None;
    }
    let image = image()?;
    let image = image.canonicalize().expect("an image").display().to_string();
    let machine = |name: &str, kernel: &str, identity: &str| {
        format!(
            r#"{{"name":"{name}","driver":"qemu","image":"{image}/base.qcow2","kernel":"{image}/{kernel}","initrd":"{image}/initrd.gz",
                "identity":"{identity}","known_hosts":"{image}/known_hosts","memory_mb":512,"pool":2}}"#
        )
    };
    let key = format!("{image}/key");
    let lab = Lab::new(&format!(
        "{},{},{}",
        machine("vm", "kernel", &key),
        machine("locked", "kernel", "other"),
        machine("none", "no-kernel", &key)
    ));
    tests::sh_ok("ssh-keygen -q -t ed25519 -N '' -f other", &lab.path());
    for (name, text) in [("locked", "must name the private key"), ("none", "scripts/make-image")] {
        let output = lab.run(&["open", name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(text), "{said}");
    }
    Some(lab)
}

#[test]
fn qemu_selftest() {
    if let Some(lab) = qemu_lab("qemu_selftest") {
        suite::selftest(&lab, "vm");
    }
}

#[test]
fn qemu_snapshots_hold_the_memory() {
    let Some(lab) = qemu_lab("qemu_snapshots_hold_the_memory") else { return };
    suite::run(&lab, "vm", Pace::Emulated);
    // the memory is part of a snapshot: what ran goes on, and the clock is right
    let testbed = lab.open(&["vm"]);
    let id = testbed["id"].as_str().expect("an id").to_owned();
    let cold_s = testbed["open_s"].as_f64().expect("seconds");
    lab.run(&["exec", &id, "--", "sh", "-c", "echo here > /dev/shm/in-memory; echo there > f"]);
    let taken = lab.run(&["take", &id, "warm"]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert!(lab.run(&["close", &id]).status.success());
    let mut random = Vec::new();
    for _ in 0..2 {
        let testbed = lab.open(&["vm", "--snapshot", "warm"]);
        let id = testbed["id"].as_str().expect("an id").to_owned();
        let warm_s = testbed["open_s"].as_f64().expect("seconds");
        eprintln!("qemu: cold {cold_s} s, from memory {warm_s} s");
        assert!(warm_s < cold_s, "{warm_s} s from memory, {cold_s} s cold");
        let said = lab.run(&["exec", &id, "--", "sh", "-c", "cat /dev/shm/in-memory f; date +%s"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
        let clock: u64 =
            said.strip_prefix("here\nthere\n").expect("the state").trim().parse().expect("a clock");
        assert!(now.abs_diff(clock) <= 5, "the clock says {clock}, it is {now}");
        random.push(lab.run(&["exec", &id, "--", "head", "-c", "16", "/dev/urandom"]).stdout);
        assert_eq!(
            lab.run(&["open", "vm", "--snapshot", "warm", "--memory-mb", "700"]).status.code(),
            Some(2)
        );
        a_machine_without_its_resident_is_reached_by_ssh(&lab, &id);
        assert!(lab.run(&["close", &id]).status.success());
    }
    assert_ne!(random[0], random[1], "two instances must not draw the same random numbers");
    assert!(lab.run(&["delete", "vm", "warm"]).status.success());
}

/// Root inside may kill whatever runs there; the next command gets in all the same, and ends with its own status.
fn a_machine_without_its_resident_is_reached_by_ssh(lab: &Lab, id: &str) {
    let usage = String::from_utf8(lab.run(&["status", id]).stdout).expect("UTF-8");
    assert!(usage.contains("\"cpu_s\": ") && usage.contains("\"peak_memory_mb\": "), "{usage}");
    let kill =
        "for p in /proc/[0-9]*; do grep -qs '^vm-snapshot-agent' $p/cmdline && kill -9 ${p#/proc/}; done";
    lab.run(&["exec", id, "--user", "root", "--", "sh", "-c", kill]);
    let output = lab.run(&["exec", id, "--", "sh", "-c", "cat f; exit 41"]);
    assert_eq!(output.status.code(), Some(41), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"there\n");
}

/// Most hosts have version 2 of control groups and no other; this one may not. So a sandbox is opened in a machine that has,
/// by root in the group of a session, and by an ordinary user in one that was handed over to him, as systemd does.
#[test]
fn sandbox_limits_by_version_2_of_control_groups() {
    let Some(lab) = qemu_lab("sandbox_limits_by_version_2_of_control_groups") else { return };
    tests::sh_ok(
        r#"mkdir share; strip -o share/vm-snapshot $(command -v vm-snapshot)
           cp $(ldd share/vm-snapshot | grep -o '/[^ ]*libgcc[^ ]*') share/
           echo '{"kind":"machines","v":1,"state_dir":"state","machines":[
             {"name":"m","memory_mb":32,"processes":20,"cpus":1,"disk_mb":32}]}' > share/machines.json"#,
        &lab.path(),
    );
    let testbed = lab.open(&["vm", "--memory-mb", "1024", "--share", "bin=share"]);
    let id = testbed["id"].as_str().expect("an id").to_owned();
    let script = r#"mkdir -p /lib/x86_64-linux-gnu; cp /share/bin/libgcc* /lib/x86_64-linux-gnu/
        mount -t cgroup2 cgroup2 /sys/fs/cgroup; for m in overlay loop; do modprobe $m; done
        cd /sys/fs/cgroup; echo '+memory +pids +cpu +io' > cgroup.subtree_control
        mkdir -p system.slice/session user.slice/app/term
        for d in system.slice user.slice user.slice/app; do echo '+memory +pids +cpu +io' > $d/cgroup.subtree_control; done
        chown -R racket user.slice
        for who in root racket; do
            case $who in root) group=system.slice/session; become= ;; *) group=user.slice/app/term; become="setpriv --reuid racket --regid racket --init-groups" ;; esac
            mkdir -p /work/$who; cp /share/bin/machines.json /work/$who/; chown -R $who /work/$who
            (   echo 0 > /sys/fs/cgroup/$group/cgroup.procs; cd /work/$who
                HOME=/work/$who $become sh -c '
                    echo 3 > /proc/self/oom_score_adj
                    /share/bin/vm-snapshot open m --owner 0 > testbed || exit 1
                    i=$(ls state/instances)
                    find /sys/fs/cgroup -name "vm-snapshot.*" | sed "s/^/group /; s/m-snapshot.*//"
                    grep -o "limits-[a-z]*" testbed | sort | tr "\n" " "; echo
                    /share/bin/vm-snapshot exec $i -- sh -c "head -c 60000000 /dev/zero | sort > /dev/null && echo survived"
                    /share/bin/vm-snapshot exec $i -- sh -c "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 5 & done; echo all"
                    /share/bin/vm-snapshot status $i | grep -E "kills|process_ref|cpu_s|peak_mem"
                    /share/bin/vm-snapshot close $i; find /sys/fs/cgroup -name "vm-snapshot.*"' 2>&1 )
        done"#;
    let output = lab.run(&["exec", &id, "--user", "root", "--", "sh", "-c", script]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for (who, group) in [("root", "system.slice"), ("racket", "user.slice/app")] {
        assert!(said.contains(&format!("group /sys/fs/cgroup/{group}/v\n")), "{who}: {said}");
    }
    assert_eq!(said.matches("limits-cpu limits-disk limits-memory limits-processes").count(), 2, "{said}");
    assert!(!said.contains("survived") && !said.contains("all\n"), "{said}");
    assert_eq!(said.matches("\"memory_kills\": 1").count(), 2, "{said}");
    assert_eq!(said.matches("\"process_refusals\": 0").count(), 0, "{said}");
    assert_eq!(said.matches("\"process_refusals\": ").count(), 2, "{said}");
    assert!(lab.run(&["close", &id]).status.success());
}
