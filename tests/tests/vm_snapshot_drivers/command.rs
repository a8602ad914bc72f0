//! Driver `command`: a program that prints a testbed stands in for any machine.

use crate::lab::{Lab, write_program};
use crate::suite::{self, Pace};
use std::path::Path;

/// A program that prints a testbed stands in for any machine: here it is vm-snapshot itself, and a shell script.
#[test]
fn command() {
    let vm_snapshot = tests::program("vm-snapshot");
    let lab = Lab::new(&format!(
        r#"{{"name":"inner","driver":"local"}},
           {{"name":"ours","driver":"command","pool":2,"open":["{}","open","inner"],"env":{{"FROM":"the document"}}}},
           {{"name":"theirs","driver":"command","open":["./bring-a-machine"]}},
           {{"name":"slow","driver":"command","open":["sleep","100"],"timeout_s":1}},
           {{"name":"mute","driver":"command","open":["true"]}},
           {{"name":"sick","driver":"command","open":["sh","-c","echo out of machines >&2; exit 75"]}}"#,
        vm_snapshot.display()
    ));
    write_program(
        &lab.path().join("bring-a-machine"),
        "#!/bin/sh\nd=$(mktemp -d)\nprintf '{\"kind\":\"testbed\",\"v\":1,\"id\":\"x\",\"machine\":\"m\",\"driver\":\"own\",\"work_dir\":\"%s\",\
         \"exec\":[\"env\"],\"close\":[\"rm\",\"-r\",\"%s\"]}' $d $d\n",
    );
    suite::run(&lab, "ours", Pace::Native);
    let testbed = lab.open(&["theirs"]);
    let id = testbed["id"].as_str().expect("an id");
    let work = testbed["work_dir"].as_str().expect("a directory");
    let said = lab.run(&["exec", id, "--env", "A=1", "--", "sh", "-c", "echo $A; pwd"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("1\n{work}\n"));
    assert!(lab.run(&["close", id]).status.success());
    assert!(!Path::new(work).exists());
    for (machine, code, text) in [
        ("slow", 75, "takes too long"),
        ("mute", 65, "must print one testbed object"),
        ("sick", 75, "out of machines"),
    ] {
        let output = lab.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{machine}: {said}");
        assert!(said.contains(text), "{machine}: {said}");
    }
}
