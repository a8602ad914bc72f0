//! Drivers `sandbox` and `local`: what every machine does; the rest about them is in `vm_snapshot.rs`.

use crate::lab::Lab;
use crate::suite::{self, Pace};
use std::process::Command;

#[test]
fn sandbox() {
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return tests::skip("sandbox", "no namespaces here");
    }
    let lab = Lab::new(r#"{"name":"box","root":"host","memory_mb":256,"processes":64,"cpus":1,"pool":8}"#);
    suite::run(&lab, "box", Pace::Native);
}

#[test]
fn local() {
    let lab = Lab::new(r#"{"name":"here","driver":"local","pool":4}"#);
    suite::run(&lab, "here", Pace::Native);
}
