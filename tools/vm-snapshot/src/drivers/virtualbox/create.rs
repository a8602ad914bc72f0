//! Makes a machine of a disk image, for those who have none yet.

use super::commands::{self, ADAPTER};
use super::init_name;
use super::lease::{Mode, mode};
use super::manage::Manage;
use crate::drivers::setting;
use crate::state::store::Seat;
use edge::{Failure, Result, say};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Registers the machine with its disk and its first snapshot, unless it is there or the document names no image.
pub fn create(seat: &Seat) -> Result<()> {
    let Some(image) = setting(seat, "image").map(|file| seat.instance.base_dir.join(file)) else {
        return Ok(());
    };
    let manage = Manage::of(seat, &format!("cannot create machine \"{}\"", seat.instance.machine.name));
    let vms: Vec<String> = match mode(seat)? {
        Mode::Named(places) => places.into_iter().map(|place| place.vm).collect(),
        Mode::Clones { base, .. } => vec![base],
    };
    for vm in vms {
        if !manage.knows(&vm)? {
            make(seat, &manage, &vm, &image)?;
        }
    }
    Ok(())
}

fn make(seat: &Seat, manage: &Manage, vm: &str, image: &Path) -> Result<()> {
    if !image.exists() {
        return Err(Failure::unavailable(format!("cannot find image \"{}\"", image.display())).hint(
            "the setting \"image\" names a disk (vdi, vmdk, vhd, raw, qcow2) or an appliance (ova, ovf)",
        ));
    }
    let said = manage.run(&["list", "systemproperties"].map(str::to_owned).to_vec())?;
    let folder =
        said.lines().find_map(|line| line.strip_prefix("Default machine folder:")).unwrap_or("").trim();
    let disk = PathBuf::from(folder).join(vm).join(format!("{vm}.vdi"));
    let making = commands::make(seat, vm, image, &disk, init_name(seat));
    let made = making.commands.iter().enumerate().try_for_each(|(at, words)| {
        manage.run(words)?;
        if at == 0
            && let Some((program, args)) = making.convert.as_ref().and_then(|words| words.split_first())
        {
            convert(program, args, image)?;
        }
        Ok(())
    });
    if let Err(failure) = made {
        for words in &making.undo {
            let _ = manage.run(words);
        }
        return Err(failure);
    }
    check_network(seat, manage);
    Ok(())
}

fn convert(program: &str, args: &[String], image: &Path) -> Result<()> {
    let cannot = || format!("cannot convert \"{}\"", image.display());
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().map_err(|error| {
        Failure::unavailable(format!("{}: cannot run {program}: {error}", cannot()))
            .hint("install qemu-utils")
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::data(cannot()).detail(program, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A machine without its network cannot be reached, but it can be made.
fn check_network(seat: &Seat, manage: &Manage) {
    let adapter = setting(seat, "adapter").unwrap_or(ADAPTER);
    let list = |name: &str| manage.run(&["list", name].map(str::to_owned).to_vec()).unwrap_or_default();
    let is_there = |told: &str| {
        told.lines().any(|line| line.strip_prefix("Name:").is_some_and(|name| name.trim() == adapter))
    };
    if is_there(&list("hostonlyifs")) {
        return;
    }
    let created = manage.run(&["hostonlyif", "create"].map(str::to_owned).to_vec());
    if created.is_err() || !is_there(&list("hostonlyifs")) {
        say::warning(
            format!("the host-only network \"{adapter}\" is not there: the machine cannot be reached"),
            Some("modprobe vboxnetadp; VBoxManage hostonlyif create"),
        );
    }
}
