//! Driver `ssh`: an sshd that the test starts.

use crate::lab::{Lab, Service, free_port, missing};
use crate::suite::{self, Pace};
use std::process::Command;

#[test]
fn ssh() {
    if missing("ssh", &["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let port = free_port();
    let machine = |name: &str, more: &str| {
        format!(
            r#"{{"name":"{name}","driver":"ssh","host":"127.0.0.1","port":{port},"known_hosts":"known","identity":"key"{more}}}"#
        )
    };
    let mut lab = Lab::new(&format!(
        r#"{},{},{},{}"#,
        machine("there", r#","pool":3"#),
        machine("stranger", r#","options":["UserKnownHostsFile=/dev/null"]"#)
            .replace(r#""known_hosts":"known","#, ""),
        machine("locked", "").replace(r#""identity":"key""#, r#""identity":"other""#),
        r#"{"name":"nowhere","driver":"ssh","host":"no-such-host.invalid"}"#
    ));
    let path = lab.path();
    tests::sh_ok(
        &format!(
            "for k in key other host; do ssh-keygen -q -t ed25519 -N '' -f $k; done; mkdir -p /run/sshd
             echo \"[127.0.0.1]:{port} $(cut -d' ' -f1,2 host.pub)\" > known
             printf '%s\\n' 'Port {port}' 'ListenAddress 127.0.0.1' \"HostKey $PWD/host\" \"AuthorizedKeysFile $PWD/key.pub\" \
                'StrictModes no' 'PidFile none' 'UsePAM no' 'PasswordAuthentication no' 'MaxSessions 100' > config"
        ),
        &path,
    );
    let daemon = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f"])
        .arg(path.join("config"))
        .arg("-E")
        .arg(path.join("sshd.log"))
        .spawn()
        .expect("sshd starts");
    lab.services.push(Service(daemon));
    let told = |machine: &str, text: &str| {
        let output = lab.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{machine}: {said}");
        assert!(said.contains(text), "{machine}: {said}");
    };
    suite::run(&lab, "there", Pace::Native);
    told("stranger", "check the key");
    told("locked", "put your public key on the machine");
    told("nowhere", "must be a name that this host can look up");
    let left = std::fs::read_dir("/tmp")
        .expect("/tmp")
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("vm-snapshot-there-"));
    assert!(!left, "a work directory is left");
}
