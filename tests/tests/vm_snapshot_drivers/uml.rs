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
}
