//! How a machine reads the archive and the built packages: a site-serve on this host, which reaches into the machine
//! through the ssh connection (`-R`), so that the machine needs no network for it.

use crate::drivers::{setting_list, setting_number};
use crate::process::before_exec;
use crate::state::store::Seat;
use contract::testbed::Mount;
use edge::{Failure, Result};
use rustix::process::Signal;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What is served when the document does not say; the rest is copied in.
const SERVED: [&str; 2] = ["archive", "built"];
/// Port inside.
const PORT: u16 = 18333;

/// Whether a shared directory is served, not copied.
pub fn is_served(seat: &Seat, name: &str) -> bool {
    if seat.instance.machine.settings.contains_key("serve") {
        setting_list(seat, "serve").iter().any(|served| served == name)
    } else {
        SERVED.contains(&name)
    }
}

pub fn served(seat: &Seat) -> Vec<&Mount> {
    seat.instance.mounts.iter().filter(|mount| is_served(seat, &mount.name)).collect()
}

/// The port inside, at the loopback address.
pub fn port(seat: &Seat) -> u16 {
    setting_number(seat, "server_port").and_then(|port| port.try_into().ok()).unwrap_or(PORT)
}

/// The command line of the server; it picks a port.
fn args(mounts: &[&Mount]) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["--quiet", "--listen", "127.0.0.1:0"].iter().map(OsString::from).collect();
    for mount in mounts {
        args.extend(["--mount".into(), format!("/{}={}", mount.name, mount.host).into()]);
    }
    args
}

/// A server, and its port on this host. It ends with this process. None: nothing is to be served.
pub fn start(seat: &Seat) -> Result<Option<(Child, u16)>> {
    let mounts = served(seat);
    if mounts.is_empty() {
        return Ok(None);
    }
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("site-serve"));
    let program = beside.filter(|file| file.exists()).unwrap_or_else(|| PathBuf::from("site-serve"));
    let mut command = Command::new(&program);
    command.args(args(&mounts)).stdin(Stdio::null()).stdout(Stdio::piped()).current_dir("/");
    before_exec(&mut command, || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    let cannot = |cause: String| {
        Failure::unavailable(format!("cannot serve shared directories: {cause}"))
            .hint("install site-serve beside vm-snapshot, or set \"serve\" to [], so that they are copied into the machine")
    };
    let mut child = command.spawn().map_err(|error| cannot(format!("cannot run site-serve: {error}")))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    let port = serde_json::from_str::<serde_json::Value>(&line)
        .ok()
        .and_then(|told| told["port"].as_u64()?.try_into().ok());
    match port {
        Some(port) => Ok(Some((child, port))),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(cannot("site-serve does not say its port".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_and_built_are_served_unless_the_document_says_otherwise() {
        let seat = |more: &str| {
            let mut seat = crate::state::store::example(&format!(r#"{{"name": "m", "host": "h"{more}}}"#));
            seat.instance.mounts = ["archive", "installer"]
                .map(|name| Mount { name: name.into(), host: format!("/h/{name}"), guest: String::new() })
                .to_vec();
            seat
        };
        let names = |seat: &Seat| served(seat).iter().map(|mount| mount.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&seat("")), ["archive"]);
        assert_eq!(names(&seat(r#","serve":[]"#)), [""; 0]);
        assert_eq!(names(&seat(r#","serve":["installer"]"#)), ["installer"]);
        assert_eq!(args(&served(&seat("")))[3..], ["--mount", "/archive=/h/archive"].map(OsString::from));
        assert_eq!((port(&seat("")), port(&seat(r#","server_port":9440"#))), (18333, 9440));
    }
}
