//! What drivers share that make a virtual machine out of files of this host and reach it by ssh: these files, who is in the
//! machine, and the way to it.
//!
//! - `accel`: whether KVM can be trusted here
//! - `agent`: a resident of the machine that runs commands without the cost of ssh
//! - `boot`: from a machine that just began to run to one that takes commands
//! - `disk`: copy-on-write disks, and what a snapshot holds beside them

pub mod accel;
pub mod agent;
pub mod boot;
pub mod disk;

use self::agent::Way;
use super::guest::{self, Channel};
use super::ssh::{self, Target};
use super::{Driver, Request, setting};
use crate::state::store::Seat;
use contract::machines::Network;
use contract::testbed::Mount;
use edge::{Failure, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const USER: &str = "racket";
/// Where commands start, unless the document says otherwise.
pub const WORK_DIR: &str = "/work";

/// A driver of such machines. Commands get in by ssh, and all that runs inside belongs to the instance.
pub trait Vm: Driver {
    /// The way to an instance.
    fn target(&self, seat: &Seat) -> Target;

    /// Words before every command of the ordinary user, which make it keep a limit; they run as whom ssh lets in.
    fn limited(&self, seat: &Seat) -> Vec<OsString> {
        let group = agent::group(seat).filter(|_| login(seat) == "root");
        group.map_or_else(Vec::new, |group| enter_group(&format!("{group}/user")))
    }
}

impl<D: Vm> Channel for D {
    fn command(&self, seat: &Seat, argv: &[OsString], name: Option<&str>, tty: bool) -> Command {
        let name = name.unwrap_or_else(|| user(seat));
        if let Some(command) = agent::command(seat, name, Way::Plain, argv).filter(|_| !tty) {
            return command;
        }
        let mut words = if name == "root" { Vec::new() } else { self.limited(seat) };
        words.extend(become_user(seat, name));
        words.extend(argv.iter().cloned());
        self.target(seat).command(&words, tty)
    }

    fn direct(&self, seat: &Seat, words: &[OsString], name: Option<&str>, joined: bool) -> Option<Command> {
        let way = if joined { Way::Joined } else { Way::Whole };
        agent::command(seat, name.unwrap_or_else(|| user(seat)), way, words)
    }

    fn answers(&self, seat: &Seat) -> bool {
        guest::ask(self, seat, ":").is_some()
    }

    fn own_codes(&self) -> &'static [i32] {
        &[255]
    }

    fn is_whole_machine(&self) -> bool {
        true
    }
}

/// Words before a command that is to run in a control group.
pub fn enter_group(group: &str) -> Vec<OsString> {
    let script = format!("{{ echo 0 >{group}/cgroup.procs; }} 2>/dev/null; exec \"$@\"");
    ["sh", "-c", &script, "sh"].map(OsString::from).to_vec()
}

/// A setting that names a file, relative to the document.
pub fn file(seat: &Seat, name: &str) -> Option<PathBuf> {
    setting(seat, name).map(|file| seat.instance.base_dir.join(file))
}

/// What the files of a machine are: a text that changes when one of them does. Refuses a machine one of whose files is not
/// there.
pub fn identity(files: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Result<String> {
    let mut identity = String::new();
    for (name, path) in files {
        let meta = fs::metadata(&path).map_err(|error| {
            Failure::unavailable(format!("cannot find {name} \"{}\": {error}", path.display()))
                .hint("scripts/make-image makes an image")
        })?;
        identity.push_str(&format!("{name} {} {:?}\n", meta.len(), meta.modified().ok()));
    }
    Ok(identity)
}

/// The files that settings name.
pub fn files(seat: &Seat, names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
    names.iter().filter_map(|name| Some((*name, file(seat, name)?))).collect()
}

/// When an image was made.
pub fn made(image: &Path) -> Option<jiff::Timestamp> {
    jiff::Timestamp::try_from(fs::metadata(image).ok()?.modified().ok()?).ok()
}

/// Whom ssh lets in: root, unless the image (a Vagrant box, say) has another user for that, who may use sudo.
pub fn login(seat: &Seat) -> &str {
    setting(seat, "login").unwrap_or("root")
}

/// The ordinary user of the machine.
pub fn user(seat: &Seat) -> &str {
    setting(seat, "user").unwrap_or(USER)
}

/// The words before a command that is to run as `name`; none when that is who ssh lets in.
fn become_user(seat: &Seat, name: &str) -> Vec<OsString> {
    let words: &[&str] = match login(seat) {
        login if login == name => &[],
        "root" => &["setpriv", "--reuid", name, "--regid", name, "--init-groups", "--"],
        _ => &["sudo", "-n", "-u", name, "--"],
    };
    words.iter().map(OsString::from).collect()
}

/// A script that runs as root, whoever ssh lets in.
fn as_root(seat: &Seat, script: &str) -> String {
    match login(seat) {
        "root" => script.to_owned(),
        _ => format!("exec sudo -n sh -c '{}'", script.replace('\'', "'\\''")),
    }
}

/// [`Driver::capabilities`] of a whole machine on a disk of its own.
pub fn capabilities(seat: &Seat) -> Vec<String> {
    let machine = &seat.instance.machine;
    let mut has = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot", "root", "limits-cpu"];
    has.extend((machine.network == Network::None).then_some("no-network"));
    let limits = [
        (machine.memory_mb, true, "limits-memory"),
        (machine.processes, agent::group(seat).is_some(), "limits-processes"),
        (machine.disk_mb, agent::keeps_room(seat), "limits-disk"),
    ];
    has.extend(limits.iter().filter(|(limit, kept, _)| *limit > 0 && *kept).map(|(_, _, name)| *name));
    has.into_iter().map(str::to_owned).collect()
}

/// Directory inside where commands start.
pub fn work_dir(seat: &Seat) -> String {
    seat.instance.machine.work_dir.clone().unwrap_or_else(|| WORK_DIR.to_owned())
}

/// Where a shared directory is inside.
pub fn share_point(name: &str) -> String {
    format!("/share/{name}")
}

/// Copies a shared directory into a machine that just began to run, as it is now, for reading only.
pub fn send(seat: &Seat, target: &Target, mount: &Mount) -> Result<()> {
    match agent::command(seat, "root", Way::Plain, &ssh::unpack(mount)) {
        Some(command) => ssh::send_by(command, mount, &seat.instance.id),
        None => target.send(mount),
    }
}

/// [`Driver::enter`]: as root or as the ordinary user.
pub fn enter(seat: &Seat, request: &Request) -> Result<Command> {
    let home = match request.user.as_deref() {
        Some("root") => "/root".to_owned(),
        Some(name) if name != user(seat) => {
            return Err(Failure::usage(format!("cannot run as \"{name}\": no such user in the machine"))
                .detail("users", format!("root, {}", user(seat))));
        }
        _ => format!("/home/{}", user(seat)),
    };
    guest::enter(seat, request, &home, &work_dir(seat))
}

/// Trouble of ssh that does not pass by itself, from all that it said.
pub fn refusal(said: &str) -> Option<Failure> {
    let hints = [
        ("Permission denied", "the setting \"identity\" must name the private key that the image lets in"),
        (
            "Host key verification failed",
            "the setting \"known_hosts\" must name a file with the key of \"vm\"",
        ),
    ];
    let (text, hint) = hints.iter().find(|(text, _)| said.contains(text))?;
    Some(Failure::unavailable(text.to_lowercase()).hint(*hint))
}
