//! Driver `virtualbox`: machines of VirtualBox, through VBoxManage and ssh.
//!
//! Either the machines themselves (`vm` and `host`, or `vms`), one instance at a time each, put back to a snapshot of theirs
//! for each instance: VirtualBox keeps the snapshots. Or linked clones of a machine (`clones`: addresses), any number at
//! once: a snapshot then is a clone that others are made of, a layer like those of other drivers.
//!
//! Settings: those of `ssh`, and `vm`, `vms`, `clones`, `init`, `live`, `serve`, `server_port`, `boot_timeout_s`,
//! `vboxmanage`; for `create` `image`, `os_type`, `adapter`.

mod boot;
mod commands;
mod create;
mod info;
mod lease;
mod manage;
mod own;
mod serve;
mod template;

use super::guest::{self, Channel};
use super::{Driver, OwnSnapshots, Request, Running, check_settings, setting, ssh};
use crate::instance::keeper;
use crate::state::store::Seat;
use boot::{Note, SHARES, USER, target};
use contract::machines::{Machine, Network};
use contract::testbed::{Mount, Usage};
use edge::{Failure, Result};
use info::Info;
use lease::{Lease, Mode, Place, mode};
use manage::Manage;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct VirtualBox;

/// Snapshot of a machine that is the bare machine.
const INIT: &str = "init";

pub(super) const SETTINGS: [&str; 12] = [
    "vm",
    "vms",
    "clones",
    "init",
    "live",
    "serve",
    "server_port",
    "boot_timeout_s",
    "vboxmanage",
    "image",
    "os_type",
    "adapter",
];

/// Name of the machine that clones come from.
fn base_name(seat: &Seat) -> &str {
    setting(seat, "vm").unwrap_or(&seat.instance.machine.name)
}

fn init_name(seat: &Seat) -> &str {
    setting(seat, "init").unwrap_or(INIT)
}

/// A started machine whose disk holds its own state already.
fn is_settled(seat: &Seat) -> bool {
    seat.instance.persistent && seat.dir.join("settled").exists()
}

fn settle(seat: &Seat) -> Result<()> {
    edge::write_atomic(seat.dir.join("settled"), b"")
}

fn action(seat: &Seat) -> String {
    format!("cannot open machine \"{}\"", seat.instance.machine.name)
}

/// Memory and processors as the document says. Those of a machine that goes on with its memory cannot change.
fn resize(seat: &Seat, manage: &Manage, info: &Info) -> Result<()> {
    let machine = &seat.instance.machine;
    let Some(words) = commands::resize(&info.uuid, machine, (info.memory_mb, info.cpus)) else {
        return Ok(());
    };
    if info.has_memory() {
        return Err(Failure::usage(format!(
            "{} with {} MiB and {} processors: its snapshot was taken while it ran, with {} MiB and {}",
            action(seat),
            machine.memory_mb,
            machine.cpus,
            info.memory_mb,
            info.cpus
        )));
    }
    manage.run(&words).map(|_| ())
}

/// Makes ready what an instance starts from, and notes where it is.
fn prepare(seat: &Seat, manage: &Manage, mode: &Mode, lease: &Lease) -> Result<Note> {
    let mut note = Note { host: lease.place.host.clone(), ..Note::default() };
    match mode {
        Mode::Named(_) => {
            let vm = &lease.place.vm;
            let info = manage.info(vm)?;
            lease::check_free(seat, lease, &info)?;
            (note.vm, note.uuid) = (vm.clone(), info.uuid.clone());
            note.write(seat)?;
            manage.power_off(vm)?;
            if !is_settled(seat) && (!seat.instance.persistent || seat.instance.snapshot.is_some()) {
                let name = seat.instance.snapshot.as_deref().unwrap_or(init_name(seat));
                let snap = own::find(seat, &info, name)?;
                manage.run(&commands::restore(vm, &snap.uuid))?;
            }
        }
        Mode::Clones { .. } => {
            note.vm.clone_from(&seat.instance.id);
            note.is_clone = true;
            note.write(seat)?;
            if manage.knows(&note.vm)? {
                manage.power_off(&note.vm)?;
            } else {
                let (vm, snapshot) = template::base(seat, manage)?;
                manage.run(&commands::clone(&vm, &snapshot, &note.vm))?;
            }
        }
    }
    let info = manage.info(&note.vm)?;
    if note.is_clone {
        let nic = info.host_only().ok_or_else(|| {
            Failure::unavailable(format!("{}: \"{}\" has no host-only adapter", action(seat), base_name(seat)))
                .hint("a clone gets its address there: VBoxManage modifyvm VM --nic1 hostonly --hostonlyadapter1 vboxnet0")
        })?;
        manage.run(&commands::fix_address(&nic.adapter, &note.vm, nic.number, &note.host))?;
    }
    resize(seat, manage, &info)?;
    settle(seat)?;
    note.uuid.clone_from(&info.uuid);
    Ok(note)
}

impl Channel for VirtualBox {
    fn command(&self, seat: &Seat, argv: &[OsString], user: Option<&str>, tty: bool) -> Command {
        let note = Note::of(seat).unwrap_or_default();
        let target = target(seat, &note.host, note.is_clone);
        if user == Some("root") && note.root == "sudo" {
            let up = ["sudo", "-n", "--"].iter().map(OsString::from);
            target.command(&up.chain(argv.iter().cloned()).collect::<Vec<OsString>>(), tty)
        } else {
            target.command(argv, tty)
        }
    }

    fn answers(&self, seat: &Seat) -> bool {
        guest::ask(self, seat, ":").is_some()
    }

    fn silence(&self, seat: &Seat) -> Option<Failure> {
        let note = Note::of(seat).unwrap_or_default();
        let trouble = target(seat, &note.host, note.is_clone).trouble()?;
        let failure = trouble.failure("cannot run in the machine", &note.host);
        let state = Manage::of(seat, "cannot run in the machine").info(&note.vm).map(|info| info.state);
        Some(match state {
            Ok(state) => failure.detail("state", state),
            Err(_) => failure,
        })
    }

    fn own_codes(&self) -> &'static [i32] {
        &[255]
    }

    fn is_whole_machine(&self) -> bool {
        true
    }

    /// The connection itself runs as the same user: sshd is spared.
    fn kill_all(&self) -> &'static str {
        r#"for p in /proc/[0-9]*; do
if [ -O "$p" ] && read -r name < "$p/comm"; then case $name in sshd*|systemd|"(sd-pam)") ;; *) p=${p#/proc/}; [ "$p" = $$ ] || kill -9 "$p";; esac; fi
done 2>/dev/null"#
    }
}

impl Driver for VirtualBox {
    fn name(&self) -> &'static str {
        "virtualbox"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &[&ssh::SETTINGS[..], &SETTINGS].concat())?;
        let mode = mode(seat)?;
        let manage = Manage::of(seat, &action(seat));
        let vm = match &mode {
            Mode::Named(places) => &places[0].vm,
            Mode::Clones { base, .. } => base,
        };
        let info = manage.info(vm)?;
        let bare = own::find(seat, &info, init_name(seat))?;
        Ok(format!("{} {}", info.uuid, bare.uuid))
    }

    fn prepare(&self, seat: &Seat) -> Result<()> {
        create::create(seat)
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let (manage, mode) = (Manage::of(seat, &action(seat)), mode(seat)?);
        let lease = lease::take(seat, &mode, &manage)?;
        let mut note = prepare(seat, &manage, &mode, &lease)?;
        let server = serve::start(seat)?;
        note.served = server.as_ref().map(|(_, port)| *port);
        let mut server = server.map(|(child, _)| child);
        let mut end_server = move || {
            if let Some(child) = &mut server {
                let _ = child.kill();
                let _ = child.wait();
            }
        };
        let up = boot::boot(seat, &manage, &action(seat), &mut note, &mut keeper::caller_waits);
        let target = target(seat, &note.host, note.is_clone);
        let sent = up.and_then(|()| {
            note.write(seat)?;
            self.mounts(seat).iter().try_for_each(|mount| target.send(mount))
        });
        if let Err(failure) = sent {
            end_server();
            target.disconnect();
            let _ = manage.power_off(&note.vm);
            return Err(failure);
        }
        let persistent = seat.instance.persistent;
        let (vm, is_clone) = (note.vm.clone(), note.is_clone);
        Ok(Running {
            note: serde_json::to_value(&note).map_err(|error| Failure::bug(error.to_string()))?,
            watch: None,
            tick: None,
            end: Box::new(move || {
                // a snapshot of it may be wanted, and the plug is pulled
                if persistent || is_clone {
                    let _ = target.command(&["sync".into()], false).stdin(Stdio::null()).output();
                }
                target.disconnect();
                end_server();
                // whoever has it next sees to it that it is off
                let _ = manage.run(&commands::power_off(&vm));
                drop(lease);
            }),
        })
    }

    fn reap(&self, seat: &Seat) {
        let Some(note) = Note::of(seat) else { return };
        target(seat, &note.host, note.is_clone).disconnect();
        let manage = Manage::of(seat, "cannot clean up");
        if note.is_clone {
            template::end_clone(seat, &manage, &note);
            return;
        }
        let place = Place { vm: note.vm.clone(), host: note.host.clone() };
        let Some(mut lease) = lease::again(seat, &note.uuid, &place) else { return };
        let off = manage.power_off(&note.vm);
        if !seat.instance.persistent && off.is_ok() {
            own::put_back(seat, &manage, &note.vm);
            let _ = lease.note(None);
        }
    }

    fn discard(&self, seat: &Seat) {
        let manage = Manage::of(seat, "cannot clean up");
        match mode(seat) {
            Ok(Mode::Clones { .. }) => template::remove_clone(&manage, &seat.instance.id),
            Ok(Mode::Named(places)) => {
                for place in places {
                    let uuid = manage.info(&place.vm).map(|info| info.uuid).unwrap_or_default();
                    if let Some(mut lease) = lease::again(seat, &uuid, &place) {
                        own::put_back(seat, &manage, &place.vm);
                        let _ = lease.note(None);
                    }
                }
            }
            Err(_) => {}
        }
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        let note =
            Note::of(seat).ok_or_else(|| Failure::try_again("cannot enter the machine: it has ended"))?;
        if request.user.as_deref() == Some("root") && note.root == "none" {
            return Err(Failure::unavailable(
                "cannot run as root: the user of the machine has no sudo without a password",
            )
            .hint("inside: echo 'racket ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/racket"));
        }
        let own = setting(seat, "user").unwrap_or(USER);
        if let Some(other) = request.user.as_deref().filter(|user| *user != "root" && *user != own) {
            return Err(Failure::unavailable(format!(
                "cannot run as user \"{other}\": the machine has root and {own}"
            )));
        }
        let home = if request.user.as_deref() == Some("root") { "/root" } else { &note.home };
        guest::enter(seat, request, home, &self.work_dir(seat))
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        guest::measure(self, seat, usage);
        // a machine without a name server does not even try
        usage.network_refusals = usage.network_refusals.filter(|count| *count > 0);
        let disks = Note::of(seat).unwrap_or_default().disks;
        let blocks = disks
            .iter()
            .filter_map(|disk| Some(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(disk).ok()?)));
        usage.disk_mb =
            Some((blocks.sum::<u64>() as f64 / 2048.0 * 100.0).round() / 100.0).filter(|mb| *mb > 0.0);
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let note = Note::of(seat).unwrap_or_default();
        let machine = &seat.instance.machine;
        let mut has = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot", "limits-cpu"];
        for (holds, name) in [
            (note.is_cut && machine.network == Network::None, "no-network"),
            (machine.memory_mb > 0, "limits-memory"),
            (["root", "sudo"].contains(&note.root.as_str()), "root"),
        ] {
            has.extend(holds.then_some(name));
        }
        has.into_iter().map(str::to_owned).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        let home = || Note::of(seat).map(|note| note.home).filter(|home| !home.is_empty());
        let own = || format!("{}/work", home().unwrap_or_else(|| format!("/home/{USER}")));
        seat.instance.machine.work_dir.clone().unwrap_or_else(own)
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(format!("{SHARES}/{name}"))
    }

    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        seat.instance.mounts.iter().filter(|mount| !serve::is_served(seat, &mount.name)).cloned().collect()
    }

    fn host_url(&self, seat: &Seat) -> Option<String> {
        (!serve::served(seat).is_empty()).then(|| format!("http://127.0.0.1:{}", serve::port(seat)))
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&VirtualBox)
    }

    fn own_snapshots(&self, machine: &Machine) -> Option<&'static dyn OwnSnapshots> {
        (!machine.settings.contains_key("clones")).then_some(&own::Own)
    }

    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        template::freeze(seat, layer)
    }

    fn forget(&self, layer: &Path) {
        template::forget(layer);
    }
}
