//! Snapshots in the mode of linked clones: a clone that was switched off becomes a template, with a snapshot that other
//! clones are made of. The layer directory says which.
//!
//! VirtualBox forgets a machine that others are based on and leaves its disks behind, so that templates are removed
//! from the newest to the oldest.

use super::boot::Note;
use super::info::Info;
use super::manage::Manage;
use super::{action, base_name, commands, init_name, own};
use crate::state::store::Seat;
use edge::{Context, Exit, Failure, Result, say};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// `template.json` in a layer.
#[derive(Serialize, Deserialize)]
struct Template {
    /// UUIDs of the machine and its snapshot.
    vm: String,
    snapshot: String,
    /// VBoxManage.
    program: String,
    /// Names of the layers that it stands on.
    below: Vec<String>,
}

const FILE: &str = "template.json";
const SNAPSHOT: &str = "base";

fn read(layer: &Path) -> Option<Template> {
    serde_json::from_slice(&fs::read(layer.join(FILE)).ok()?).ok()
}

fn name(layer: &Path) -> String {
    layer.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a new clone is made of: a machine and a snapshot of it.
pub fn base(seat: &Seat, manage: &Manage) -> Result<(String, String)> {
    match seat.instance.layers.first() {
        Some(layer) => read(layer).map(|template| (template.vm, template.snapshot)).ok_or_else(|| {
            Failure::unavailable(format!(
                "{}: the layer \"{}\" has no template",
                action(seat),
                layer.display()
            ))
        }),
        None => {
            let info = manage.info(base_name(seat))?;
            let snap = own::find(seat, &info, init_name(seat))?;
            Ok((info.uuid.clone(), snap.uuid.clone()))
        }
    }
}

/// Turns the clone of an instance that has ended into a template.
pub fn freeze(seat: &Seat, layer: &Path) -> Result<()> {
    let cannot = format!("cannot take a snapshot of \"{}\"", seat.instance.id);
    let manage = Manage::of(seat, &cannot);
    let vm = &seat.instance.id;
    manage.power_off(vm)?;
    manage.run(&commands::take(vm, SNAPSHOT, false))?;
    let info = manage.info(vm)?;
    release_address(&manage, &info);
    let snap = own::find(seat, &info, SNAPSHOT)?;
    let template = Template {
        vm: info.uuid.clone(),
        snapshot: snap.uuid.clone(),
        program: manage.program().to_owned(),
        below: seat.instance.layers.iter().map(|layer| name(layer)).collect(),
    };
    let text = serde_json::to_vec(&template).map_err(|error| Failure::bug(error.to_string()))?;
    fs::create_dir(layer).context(Exit::CantCreate, || cannot.clone())?;
    edge::write_atomic(layer.join(FILE), &text)?;
    // last: until now it is the instance's, and goes with it
    manage.run(&commands::rename(vm, &format!("vm-snapshot-{}", name(layer)))).map(|_| ())
}

fn release_address(manage: &Manage, info: &Info) {
    if let Some(nic) = info.host_only() {
        // there is none if it was never started
        let _ = manage.run(&commands::free_address(&nic.adapter, &info.uuid, nic.number));
    }
}

/// Switches a clone off, and removes it unless its disk is to stay.
pub fn end_clone(seat: &Seat, manage: &Manage, note: &Note) {
    if seat.instance.persistent {
        let _ = manage.power_off(&note.vm);
    } else {
        remove_clone(manage, &note.vm);
    }
}

pub fn remove_clone(manage: &Manage, vm: &str) {
    // it may be gone already
    let Ok(info) = manage.info(vm) else { return };
    let remove = || {
        if info.is_up() {
            manage.power_off(vm)?;
        }
        release_address(manage, &info);
        manage.run(&commands::remove(vm))
    };
    if let Err(failure) = remove() {
        say::warning(format!("cannot remove the clone \"{vm}\": {}", failure.message), None);
    }
}

/// Removes the template of a layer that nobody stands on, after those that stand on it: they are as much in want of an owner.
pub fn forget(layer: &Path) {
    let Some(template) = read(layer) else { return };
    let siblings = layer.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    for sibling in siblings {
        if read(&sibling.path()).is_some_and(|other| other.below.contains(&name(layer))) {
            forget(&sibling.path());
        }
    }
    let manage = Manage::at(&template.program, "cannot remove a snapshot");
    remove_clone(&manage, &template.vm);
    let _ = fs::remove_file(layer.join(FILE));
}
