//! Driver `libvirt`: a transient domain for each instance, on copy-on-write disks over an image or over those of a domain that
//! is defined already. A snapshot holds the memory too, where QEMU can move it. Commands go in by ssh.
//!
//! - `domain`: the description of a machine, `instance`: that of an instance, both as data
//! - `virsh`: how it is carried out; `trouble`: what virsh says when it cannot
//! - `memory`: what a snapshot holds
//!
//! Settings: those of `qemu` but `seed`, and `uri` (default: `qemu:///session`), `domain` (instead of `image`).

mod domain;
mod instance;
mod memory;
mod trouble;
mod virsh;

use super::guest::{self, Channel};
use super::ssh::Target;
use super::vm::accel::{self, Accel};
use super::vm::{self, Vm, boot, disk};
use super::{Driver, Request, Running, check_settings, setting};
use crate::state::store::Seat;
use contract::testbed::Usage;
use domain::Disk;
use edge::{Context, Exit, Failure, Result};
use instance::Way;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use virsh::{Held, Virsh};
use xmltree::Element;

pub struct Libvirt;

/// Settings that name a file.
const FILES: [&str; 5] = ["image", "kernel", "initrd", "identity", "known_hosts"];
const SETTINGS: [&str; 12] = [
    "uri",
    "domain",
    "image",
    "kernel",
    "initrd",
    "identity",
    "known_hosts",
    "append",
    "accel",
    "boot_timeout_s",
    "login",
    "user",
];
/// Settings of a machine made of an image: those of a domain are in its description.
const OF_IMAGE: [&str; 4] = ["image", "kernel", "initrd", "append"];
/// Forms of `uri` that mean this host, where the disks are made, and what they may reach there.
const HERE: [&str; 2] = ["qemu:///", "qemu+unix:///"];
const PLACES: [&str; 2] = ["session", "system"];

fn action(seat: &Seat) -> String {
    format!("cannot open machine \"{}\"", seat.instance.machine.name)
}

fn refused(seat: &Seat, why: &str) -> Failure {
    Failure::data(format!("cannot use machine \"{}\": {why}", seat.instance.machine.name))
}

/// Refuses settings that contradict each other.
fn check(seat: &Seat) -> Result<()> {
    check_settings(seat, &SETTINGS)?;
    let uri = virsh::uri(seat);
    let wanted = "the setting \"uri\" must be qemu:///session or qemu:///system";
    let Some(place) = HERE.iter().find_map(|form| uri.strip_prefix(form)) else {
        return Err(refused(
            seat,
            &format!("the libvirt of \"{uri}\" is not on this host, where the disks are made"),
        )
        .hint(format!("{wanted}; driver \"ssh\" reaches a machine of another host")));
    };
    if !PLACES.contains(&place.split('?').next().unwrap_or_default()) {
        return Err(refused(seat, &format!("there is no libvirt \"{uri}\"")).hint(wanted));
    }
    guest::needed(seat, "identity")?;
    let of_image = OF_IMAGE.into_iter().find(|name| setting(seat, name).is_some());
    match (setting(seat, "domain"), of_image) {
        (None, _) => guest::needed(seat, "image").map(|_| ()),
        (Some(_), None) => Ok(()),
        (Some(_), Some(other)) => Err(refused(seat, &format!("it has both \"domain\" and \"{other}\""))
            .hint("a domain is described in libvirt; leave one of the two out")),
    }
}

/// The description of the bare machine: of the image, or as libvirt has it.
fn machine(seat: &Seat) -> Result<Element> {
    let Some(name) = setting(seat, "domain") else {
        return Ok(domain::of_image(seat, accel::choose(seat)?));
    };
    let virsh = Virsh::of(seat, &action(seat));
    let mut machine = domain::parse(&virsh.run(&["dumpxml", "--inactive", "--domain", name])?)?;
    if domain::wants_kvm(&machine) && accel::choose(seat)? == Accel::Tcg {
        domain::emulate(&mut machine);
    }
    Ok(machine)
}

/// Refuses a domain whose disk goes on under those who stand on it.
fn check_off(seat: &Seat) -> Result<()> {
    let Some(name) = setting(seat, "domain") else { return Ok(()) };
    let state = Virsh::of(seat, &action(seat)).run(&["domstate", "--domain", name])?;
    if state.trim() == "shut off" {
        return Ok(());
    }
    Err(Failure::unavailable(format!("{}: domain \"{name}\" is not shut off", action(seat)))
        .detail("state", state.trim())
        .hint(format!(
            "what runs changes the disk that instances stand on: virsh -c {} shutdown {name}",
            virsh::uri(seat)
        )))
}

/// What the disks are that a machine stands on: a text that changes when one of them does.
fn bases(disks: &[Disk]) -> Result<String> {
    vm::identity(disks.iter().map(|disk| ("disk", disk.source.clone())))
}

/// The description that a snapshot was taken with, which nothing that happened to its domain changes; of an image only where
/// there is a memory that needs the same machine.
fn described(seat: &Seat) -> Result<Option<Element>> {
    let layer = seat.instance.layers.first();
    let layer = layer.filter(|_| setting(seat, "domain").is_some() || disk::memory(seat).is_some());
    let Some(layer) = layer else { return Ok(None) };
    let text = fs::read_to_string(layer.join(memory::MACHINE));
    domain::parse(&text.context(Exit::Unavailable, || "cannot read the snapshot".to_owned())?).map(Some)
}

/// Refuses a snapshot, or a started machine, whose disk says what differs from another disk than there is now.
fn check_bases(seat: &Seat, dir: &Path, now: &str) -> Result<()> {
    let then = fs::read_to_string(dir.join(memory::BASES)).unwrap_or_default();
    if then == now {
        return Ok(());
    }
    let name = seat.instance.snapshot.as_ref().map_or("it".to_owned(), |name| format!("snapshot \"{name}\""));
    Err(Failure::unavailable(format!("{}: the disk that {name} stands on was changed", action(seat)))
        .detail("was", then.trim())
        .detail("is", now.trim())
        .hint("whatever runs on that disk itself spoils what stands on it: make that anew"))
}

/// What an instance starts from, in its directory: the description of its machine, and disks of its own.
fn lay_out(seat: &Seat) -> Result<Element> {
    let write = |name: &str, bytes: &[u8]| edge::write_atomic(seat.dir.join(name), bytes);
    disk::note_own(seat)?;
    let machine = match described(seat)? {
        Some(machine) => machine,
        None => machine(seat)?,
    };
    let size = domain::size(&instance::instance(seat, &machine, &Way { port: 0, waits_for_memory: false }));
    if let Some(memory) = disk::memory(seat) {
        disk::check_size(seat, &memory, &size)?;
    }
    let disks = domain::disks(&machine)?;
    let now = bases(&disks)?;
    let layer = seat.instance.layers.first();
    match layer {
        Some(layer) => check_bases(seat, layer, &now)?,
        None => check_off(seat)?,
    }
    if layer.is_none() && seat.dir.join(disk::DISK).exists() {
        check_bases(seat, &seat.dir, &now)?;
    }
    for (name, text) in [(memory::BASES, &now), ("size", &size)] {
        write(name, text.as_bytes())?;
    }
    write(memory::MACHINE, &domain::written(&machine)?)?;
    for disk in &disks {
        let (base, format) = match layer {
            Some(layer) => (layer.join(disk.file_name()), "qcow2"),
            None => (disk.source.clone(), disk.format.as_str()),
        };
        disk::make_over(&base, format, &seat.dir.join(disk.file_name()))?;
    }
    let variables = domain::variables(&machine).map(|bare| match layer {
        Some(layer) => layer.join(memory::VARIABLES),
        None => bare,
    });
    let own = seat.dir.join(memory::VARIABLES);
    // those of a machine that never ran are not there yet: libvirt makes them
    if let Some(from) = variables.filter(|from| from.exists() && !own.exists()) {
        fs::copy(&from, &own).context(Exit::CantCreate, || format!("cannot copy \"{}\"", from.display()))?;
    }
    // another user may be the one that QEMU runs as
    fs::set_permissions(&seat.dir, fs::Permissions::from_mode(0o711))
        .context(Exit::CantCreate, || "cannot open the instance to QEMU".to_owned())?;
    Ok(machine)
}

/// Whether a domain, or the connection that it lives by, has ended.
fn has_ended(held: &Held) -> bool {
    let Some(watch) = &held.watch else { return true };
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Where libvirt keeps what QEMU said, as long as it is asked nothing else.
fn logs(seat: &Seat) -> Vec<PathBuf> {
    let name = format!("libvirt/qemu/log/{}.log", instance::name(seat));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let system = Path::new("/var/log/libvirt/qemu").join(format!("{}.log", instance::name(seat)));
    cache.map(|cache| cache.join(name)).into_iter().chain([system]).collect()
}

/// Removes what libvirt keeps of a domain that has ended.
fn forget_logs(seat: &Seat) {
    for log in logs(seat) {
        let _ = fs::remove_file(log);
    }
}

/// Starts a domain and waits until a command can be run.
fn begin(seat: &Seat, machine: &Element, virsh: &Virsh) -> Result<(Held, u16)> {
    let waits_for_memory = disk::memory(seat).is_some();
    let mut tries = 0;
    loop {
        tries += 1;
        let port = boot::free_port().context(Exit::TryAgain, || "cannot find a free port".to_owned())?;
        let description = instance::instance(seat, machine, &Way { port, waits_for_memory });
        edge::write_atomic(seat.dir.join("domain.xml"), &domain::written(&description)?)?;
        let held = match virsh.create(&seat.dir, &instance::uuid(seat), waits_for_memory) {
            Ok(held) => held,
            Err(failure) if failure.message.contains("host forwarding rule") && tries < boot::PORT_TRIES => {
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let until = boot::until(seat);
        let up = memory::load(seat, virsh).and_then(|()| {
            let mut ended = || has_ended(&held).then(|| Failure::try_again("its domain ended"));
            boot::wait_until_up(seat, &boot::target(seat, port), until, &mut ended)
        });
        return match up {
            Ok(()) => Ok((held, port)),
            Err(failure) => {
                virsh.destroy(&instance::uuid(seat));
                Err(told_more(seat, failure))
            }
        };
    }
}

/// A failure with what QEMU and the console said last.
fn told_more(seat: &Seat, mut failure: Failure) -> Failure {
    if !failure.message.starts_with(&action(seat)) {
        failure.message = format!("{}: {}", action(seat), failure.message);
    }
    let tail = |path: &Path| {
        let text =
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    };
    let said = logs(seat).iter().map(|log| tail(log)).find(|text| !text.is_empty()).unwrap_or_default();
    // the whole command line is in it
    let said: Vec<&str> = said.lines().filter(|line| line.contains("qemu-system")).collect();
    for (key, text) in [("qemu", said.join("\n")), ("console", tail(&seat.dir.join("console")))] {
        if !text.is_empty() && text.len() < 2000 {
            failure = failure.detail(key, text);
        }
    }
    failure
}

impl Vm for Libvirt {
    fn target(&self, seat: &Seat) -> Target {
        boot::target(seat, boot::noted_port(seat))
    }
}

impl Driver for Libvirt {
    fn name(&self) -> &'static str {
        "libvirt"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check(seat)?;
        let mut identity = vm::identity(vm::files(seat, &FILES))?;
        if setting(seat, "domain").is_none() {
            accel::choose(seat)?;
        } else if seat.instance.snapshot.is_none() {
            let machine = machine(seat)?;
            identity.push_str(&bases(&domain::disks(&machine)?)?);
            identity.push_str(&String::from_utf8_lossy(&domain::written(&machine)?));
        }
        Ok(identity)
    }

    fn image_made(&self, seat: &Seat) -> Option<jiff::Timestamp> {
        match vm::file(seat, "image") {
            Some(image) => vm::made(&image),
            None => vm::made(&domain::disks(&machine(seat).ok()?).ok()?.first()?.source),
        }
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let virsh = Virsh::of(seat, &action(seat));
        let machine = lay_out(seat).map_err(|failure| told_more(seat, failure))?;
        let (mut held, port) = begin(seat, &machine, &virsh)?;
        let target = boot::target(seat, port);
        let sent = seat.instance.mounts.iter().try_for_each(|mount| target.send(mount));
        let seat = seat.clone();
        let watch = held.watch.take();
        let end = move || {
            if seat.instance.persistent {
                let _ = target.command(&["sync".into()], false).stdin(std::process::Stdio::null()).output();
            }
            virsh.destroy(&instance::uuid(&seat));
            drop(held);
            target.disconnect();
            forget_logs(&seat);
        };
        match sent {
            Ok(()) => Ok(Running { note: json!({"port": port}), watch, tick: None, end: Box::new(end) }),
            Err(failure) => {
                end();
                Err(failure)
            }
        }
    }

    fn reap(&self, seat: &Seat) {
        // the domain ended with the connection of its keeper, or is about to; but not if libvirtd was started anew
        Virsh::of(seat, "cannot clean up").destroy(&instance::uuid(seat));
        self.target(seat).disconnect();
        forget_logs(seat);
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        vm::enter(seat, request)
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        guest::measure(self, seat, usage);
        let files = fs::read_dir(&seat.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let disks = files.filter(|file| file.extension().is_some_and(|kind| kind == "qcow2"));
        usage.disk_mb = disks.map(|disk| disk::taken_mb(&disk)).sum();
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        vm::capabilities(seat)
    }

    fn work_dir(&self, seat: &Seat) -> String {
        vm::work_dir(seat)
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(vm::share_point(name))
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Libvirt)
    }

    fn freezes_alive(&self) -> bool {
        true
    }

    /// Stops the machine for a moment, writes its memory to a file and copies its disks; then it goes on.
    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        let new = layer.with_extension("new");
        // what is only in the memory is on the disk, too, should that be all that can be kept
        let _ = guest::ask(self, seat, "sync");
        let cannot = format!("cannot take a snapshot of \"{}\"", seat.instance.id);
        let made = fs::create_dir(&new).context(Exit::CantCreate, || cannot.clone());
        let saved = made.and_then(|()| memory::save(seat, &Virsh::of(seat, &cannot), &new));
        let saved = saved.and_then(|()| fs::rename(&new, layer).context(Exit::CantCreate, || cannot.clone()));
        saved.inspect_err(|_| crate::state::store::remove_tree(&new))
    }
}
