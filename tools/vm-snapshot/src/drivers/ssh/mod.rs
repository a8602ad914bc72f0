//! Driver `ssh`: another host, as it is. No snapshot, nothing fresh but a work directory of its own, which is removed at
//! close; and it says so in its capabilities.
//!
//! Settings: `host` (as ssh takes it), `port`, `user`, `identity` (file, relative to the document), `known_hosts` (file;
//! default: the user's own), `options` (more `-o` of ssh), `machine_id` (what must be in its `/etc/machine-id`),
//! `patience_s` (how long trouble that may pass is tried again), `silence_s` (how long it may be silent).

mod target;
mod trouble;

pub use target::{SETTINGS, Target, control, send_by, unpack};

use super::guest::{self, Channel};
use super::{Driver, Request, Running, check_settings, setting, setting_number};
use crate::instance::keeper;
use crate::state::store::Seat;
use contract::testbed::{Mount, Usage};
use edge::{Failure, Result};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub struct Ssh;

/// How long trouble that may pass is tried again.
const PATIENCE_S: u64 = 30;

/// Refuses another machine than the one that is meant.
fn check_identity(seat: &Seat, is: &str) -> Result<()> {
    match setting(seat, "machine_id") {
        Some(meant) if meant != is => {
            let name = &seat.instance.machine.name;
            Err(Failure::unavailable(format!("cannot open machine \"{name}\": another machine answers there"))
                .detail("host", setting(seat, "host").unwrap_or_default())
                .detail("machine_id", if is.is_empty() { "none" } else { is })
                .detail("wanted", meant)
                .hint("the address may have gone to another machine: see the setting \"host\"; if it was made anew, set \"machine_id\""))
        }
        _ => Ok(()),
    }
}

impl Channel for Ssh {
    fn command(&self, seat: &Seat, argv: &[OsString], _user: Option<&str>, tty: bool) -> Command {
        Target::of(seat).command(argv, tty)
    }

    fn answers(&self, seat: &Seat) -> bool {
        guest::ask(self, seat, ":").is_some()
    }

    fn silence(&self, seat: &Seat) -> Option<Failure> {
        let target = Target::of(seat);
        target.trouble().map(|trouble| trouble.failure("cannot run in the machine", &target.host))
    }

    fn own_codes(&self) -> &'static [i32] {
        &[255]
    }

    fn is_whole_machine(&self) -> bool {
        // others may be at work there
        false
    }
}

impl Driver for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        let known = [&SETTINGS[..], &["machine_id", "patience_s"]].concat();
        check_settings(seat, &known)?;
        Ok(format!("{} {:?}", guest::needed(seat, "host")?, setting(seat, "user")))
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let work = format!("/tmp/vm-snapshot-{}", seat.tag());
        let script = format!(
            "id=$(cat /etc/machine-id 2>/dev/null); mkdir -p -m 700 {work} && mkdir -p {work}/work {work}/home && printf 'up %s\\n' \"$id\""
        );
        let patience_s = setting_number(seat, "patience_s").unwrap_or(PATIENCE_S);
        let until = Instant::now() + Duration::from_secs(patience_s);
        let target = Target::of(seat);
        let action = format!("cannot open machine \"{}\"", seat.instance.machine.name);
        let log = seat.dir.join("ssh.log");
        let id = target.reach(&action, &script, &log, until, &mut keeper::caller_waits)?;
        if let Err(failure) = check_identity(seat, &id) {
            self.reap(seat);
            return Err(failure);
        }
        for mount in self.mounts(seat) {
            if let Err(failure) = target.send(&mount) {
                self.reap(seat);
                return Err(failure);
            }
        }
        let held = seat.clone();
        Ok(Running {
            note: serde_json::json!({"work": work}),
            watch: None,
            tick: None,
            end: Box::new(move || Ssh.reap(&held)),
        })
    }

    fn reap(&self, seat: &Seat) {
        let tag = seat.tag();
        let _ = guest::ask(
            self,
            seat,
            &format!("cd /tmp && chmod -R u+w vm-snapshot-{tag}; rm -rf vm-snapshot-{tag}"),
        );
        Target::of(seat).disconnect();
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        if request.user.is_some() {
            return Err(Failure::unavailable(
                "cannot change the user: an ssh machine has the one it was reached as",
            ));
        }
        let home = format!("/tmp/vm-snapshot-{}/home", seat.tag());
        guest::enter(seat, request, &home, &self.work_dir(seat))
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        usage.alive = self.answers(seat);
    }

    fn capabilities(&self, _seat: &Seat) -> Vec<String> {
        ["kill-tree", "exec-options", "usage"].map(str::to_owned).to_vec()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        let own = format!("/tmp/vm-snapshot-{}/work", seat.tag());
        seat.instance.machine.work_dir.clone().unwrap_or(own)
    }

    fn share_point(&self, _name: &str, host: &str) -> Option<String> {
        // see `mounts`: where it is depends on the instance
        Some(host.to_owned())
    }

    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        let tag = seat.tag();
        let guest = |name: &str| format!("/tmp/vm-snapshot-{tag}/share/{name}");
        let mounts = seat.instance.mounts.iter();
        mounts.map(|mount| Mount { guest: guest(&mount.name), ..mount.clone() }).collect()
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Ssh)
    }

    fn freeze(&self, _seat: &Seat, _layer: &Path) -> Result<()> {
        Err(Failure::unavailable("cannot take a snapshot: an ssh machine has none"))
    }
}
