//! Driver `uml`: a real kernel of its own, without KVM and without root, on the small image of the qemu tests.

use crate::lab::{Lab, missing};
use crate::qemu::image;
use crate::suite::{self, Pace};

#[test]
fn uml() {
    if missing("uml", &["linux.uml", "ssh", "sshd", "ldd"]) {
        return;
    }
    let Some(image) = image() else { return };
    let image = image.canonicalize().expect("an image").display().to_string();
    let machine = |name: &str, more: &str| {
        format!(
            r#"{{"name":"{name}","driver":"uml","image":"{image}/base.raw","identity":"{image}/key",
                "known_hosts":"{image}/known_hosts","memory_mb":256,"processes":100,"disk_mb":400,"pool":3{more}}}"#
        )
    };
    let lab = Lab::new(&format!(
        "{},{},{},{}",
        machine("vm", ""),
        machine("locked", "").replace(&format!("{image}/key"), "other"),
        machine("none", r#","kernel":"no-such-kernel""#),
        machine("net", r#","network":"host""#)
    ));
    tests::sh_ok("ssh-keygen -q -t ed25519 -N '' -f other", &lab.path());
    for (name, code, text) in [
        ("locked", 69, "must name the private key"),
        ("none", 69, "install user-mode-linux"),
        ("net", 65, "has no network"),
    ] {
        let output = lab.run(&["open", name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
    }
    suite::run(&lab, "vm", Pace::Native);

    let testbed = lab.open(&["vm"]);
    let id = testbed["id"].as_str().expect("an id");
    // who prints on the console does not fill the disk of the host
    let print = "seq 200000 >/dev/console";
    assert!(lab.run(&["exec", id, "--user", "root", "--", "sh", "-c", print]).status.success());
    let console = lab.path().join("state/instances").join(id).join("console");
    let size = || std::fs::metadata(&console).expect("a console").len();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while size() > 1 << 20 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(size() <= 1 << 20, "{} bytes", size());
    // a snapshot without what was written last is none
    let deaf =
        "for p in /proc/[0-9]*; do [ \"$(readlink $p/exe)\" != /usr/sbin/sshd ] || kill -9 ${p#/proc/}; done";
    lab.run(&["exec", id, "--user", "root", "--", "sh", "-c", deaf]);
    let taken = lab.run(&["take", id, "half"]);
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(75), "{said}");
    assert!(said.contains("cannot be brought to its disk"), "{said}");
    assert!(lab.run(&["close", id]).status.success());
    assert_eq!(lab.run(&["list", "vm"]).stdout, b"");
}

#[test]
fn an_ordinary_user_has_uml_too() {
    if missing("an_ordinary_user_has_uml_too", &["linux.uml", "ssh", "sshd", "ldd", "setpriv", "unshare"]) {
        return;
    }
    let Some(image) = image() else { return };
    let lab = Lab::new(
        r#"{"name":"vm","driver":"uml","image":"base.raw","identity":"key","known_hosts":"known_hosts","memory_mb":256,"disk_mb":400}"#,
    );
    // ssh knows nobody who is not in the list of users, and the checkout may be out of bounds for one who is
    tests::sh_ok(
        &format!(
            "cp --sparse=always {0}/base.raw {0}/key {0}/known_hosts {1} .; chmod 755 .; chown -R nobody .",
            image.canonicalize().expect("an image").display(),
            tests::program("vm-snapshot").display()
        ),
        &lab.path(),
    );
    let user = |wrapper: &[&str], args: &[&str]| {
        let mut command = tests::command("setpriv", &lab.path());
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).args(wrapper);
        command.arg("./vm-snapshot").args(args).output().expect("setpriv runs")
    };
    let ok = |args: &[&str]| {
        let output = user(&[], args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "vm-snapshot {args:?}: {stderr}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let owner = std::process::id().to_string();
    let open = |more: &[&str]| {
        let testbed: serde_json::Value =
            serde_json::from_str(&ok(&[&["open", "vm", "--owner", &owner], more].concat()))
                .expect("a testbed");
        testbed["id"].as_str().expect("an id").to_owned()
    };
    let id = open(&[]);
    let script = "id -u; touch /etc/x || echo no; echo kept > f";
    assert_eq!(ok(&["exec", &id, "--", "sh", "-c", script]), "4242\nno\n");
    assert_eq!(ok(&["exec", &id, "--user", "root", "--", "sh", "-c", "echo > /etc/x; id -u"]), "0\n");
    ok(&["take", &id, "one"]);
    ok(&["close", &id]);
    let id = open(&["--snapshot", "one"]);
    assert_eq!(ok(&["exec", &id, "cat", "f", "/etc/x"]), "kept\n\n");
    ok(&["close", &id]);
    ok(&["delete", "vm"]);
    // where the host does not let a user have a machine, that is said, and how it would
    for (prelude, cause, hint) in [
        ("echo 0 >/proc/sys/user/max_user_namespaces", "namespaces of its own", "max_user_namespaces"),
        ("mount -t tmpfs none /dev/net", "a network of its own", "/dev/net/tun"),
    ] {
        let script = format!("{prelude} && exec \"$@\"");
        let output = user(&["unshare", "-Urm", "sh", "-c", &script, "sh"], &["open", "vm"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(cause) && said.contains(hint), "{said}");
    }
    assert_eq!(lab.left(), Vec::<String>::new());
}
