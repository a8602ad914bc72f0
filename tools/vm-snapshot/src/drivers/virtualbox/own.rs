//! Snapshots that VirtualBox keeps: those of the named machines, as the old procedure has them. The one of the bare
//! machine (`init`) is not listed.

use super::boot::{self, Note};
use super::info::{self, Info, Snap};
use super::lease::{Mode, mode};
use super::manage::Manage;
use super::{Place, commands, init_name, lease, settle, target};
use crate::drivers::OwnSnapshots;
use crate::state::snapshots::Snapshot;
use crate::state::store::Seat;
use edge::{Exit, Failure, Result};
use std::process::Stdio;

pub struct Own;

/// The snapshot of this name or UUID.
pub fn find<'a>(seat: &Seat, info: &'a Info, name: &str) -> Result<&'a Snap> {
    let cannot = |what: &str| {
        Failure::unavailable(format!(
            "cannot open machine \"{}\": {what} \"{name}\"",
            seat.instance.machine.name
        ))
        .detail("machine", format!("{} in VirtualBox", info.name))
    };
    match info.named(name)[..] {
        [one] => Ok(one),
        [] => {
            let names: Vec<&str> = info.snapshots.iter().map(|snap| snap.name.as_str()).collect();
            Err(cannot("it has no snapshot")
                .detail("snapshots", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
                .hint(format!("VBoxManage snapshot {} take {name} makes one; the setting \"init\" names that of the bare machine", info.name)))
        }
        [first, ..] => {
            let all: Vec<&str> = info.named(name).iter().map(|snap| snap.uuid.as_str()).collect();
            Err(cannot("it has more than one snapshot").detail("snapshots", all.join(", ")).hint(format!(
                "name it by its UUID, or give it another name: VBoxManage snapshot {} edit {} --name NAME",
                info.name, first.uuid
            )))
        }
    }
}

/// Puts a machine back that an instance had; what was not thrown away now is so at the next start.
pub fn put_back(seat: &Seat, manage: &Manage, vm: &str) {
    if let Ok(info) = manage.info(vm)
        && let Ok(snap) = find(seat, &info, seat.instance.snapshot.as_deref().unwrap_or(init_name(seat)))
    {
        let _ = manage.run(&commands::restore(vm, &snap.uuid));
    }
}

/// The machines, those that snapshots are asked of.
fn machines(seat: &Seat) -> Result<Vec<Place>> {
    match mode(seat)? {
        Mode::Named(places) => Ok(places),
        Mode::Clones { .. } => Err(Failure::bug("clones have layers")),
    }
}

fn described(seat: &Seat, info: &Info, snap: &Snap) -> Snapshot {
    let name_of =
        |uuid: &String| info.snapshots.iter().find(|snap| snap.uuid == *uuid).map(|snap| snap.name.clone());
    let parent = snap.parent.as_ref().and_then(name_of).filter(|name| name != init_name(seat));
    let settings = std::fs::read_to_string(&info.settings_file).unwrap_or_default();
    Snapshot {
        kind: "snapshot".into(),
        v: contract::V,
        name: snap.name.clone(),
        machine: seat.instance.machine.name.clone(),
        parent,
        image_id: snap.uuid.clone(),
        created: info::taken(&settings, &snap.uuid).unwrap_or_default(),
        layers: Vec::new(),
    }
}

impl OwnSnapshots for Own {
    /// Of the first machine: those of a pool are meant to have the same.
    fn list(&self, seat: &Seat) -> Result<Vec<Snapshot>> {
        let manage = Manage::of(seat, &format!("cannot list machine \"{}\"", seat.instance.machine.name));
        let info = manage.info(&machines(seat)?[0].vm)?;
        let shown = info.snapshots.iter().filter(|snap| snap.name != init_name(seat));
        let mut list: Vec<Snapshot> = shown.map(|snap| described(seat, &info, snap)).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    fn find(&self, seat: &Seat, name: &str) -> Result<Snapshot> {
        let manage = Manage::of(
            seat,
            &format!("cannot find a snapshot of machine \"{}\"", seat.instance.machine.name),
        );
        let info = manage.info(&machines(seat)?[0].vm)?;
        Ok(described(seat, &info, find(seat, &info, name)?))
    }

    fn take(&self, seat: &Seat, name: &str, replace: bool) -> Result<Snapshot> {
        let cannot = format!("cannot take a snapshot of \"{}\"", seat.instance.id);
        let manage = Manage::of(seat, &cannot);
        let mut note =
            Note::of(seat).ok_or_else(|| Failure::try_again(format!("{cannot}: it ended meanwhile")))?;
        let vm = note.vm.clone();
        let old: Vec<Snap> = manage.info(&vm)?.named(name).into_iter().cloned().collect();
        if !old.is_empty() && !replace {
            return Err(Failure::new(
                Exit::CantCreate,
                format!(
                    "cannot take snapshot \"{name}\" of machine \"{}\": there is one",
                    seat.instance.machine.name
                ),
            )
            .hint("--replace takes the name from it"));
        }
        if name == init_name(seat) {
            return Err(Failure::usage(format!("cannot take snapshot \"{name}\": that is the bare machine"))
                .hint("another name, or another one in the setting \"init\""));
        }
        let connection = target(seat, &note.host, note.is_clone);
        let _ = connection.command(&["sync".into()], false).stdin(Stdio::null()).output();
        let live =
            seat.instance.machine.settings.get("live").and_then(serde_json::Value::as_bool).unwrap_or(false);
        if !live {
            connection.disconnect();
            manage.power_off(&vm)?;
        }
        manage.run(&commands::take(&vm, name, live))?;
        let info = manage.info(&vm)?;
        let new = info.named(name).into_iter().find(|snap| !old.contains(snap)).cloned();
        let new = new.ok_or_else(|| Failure::try_again(format!("{cannot}: VirtualBox does not list it")))?;
        for snap in &old {
            // whoever stands on the old one keeps it
            if !info.children(&snap.uuid).is_empty()
                || manage.run(&commands::delete_snapshot(&vm, &snap.uuid)).is_err()
            {
                manage.run(&commands::rename_snapshot(
                    &vm,
                    &snap.uuid,
                    &format!("{name}-before-{}", new.uuid),
                ))?;
            }
        }
        if !live {
            boot::boot(seat, &manage, &cannot, &mut note, &mut || Ok(()))?;
        }
        note.disks = manage.info(&vm)?.disks;
        note.write(seat)?;
        let info = manage.info(&vm)?;
        Ok(described(seat, &info, &new))
    }

    fn restore(&self, seat: &Seat, name: &str) -> Result<()> {
        let manage = Manage::of(seat, &format!("cannot restore machine \"{}\"", seat.instance.machine.name));
        let places = machines(seat)?;
        let place = &places[0];
        let info = manage.info(&place.vm)?;
        let snap = find(seat, &info, name)?;
        let in_use = || {
            Failure::try_again(format!(
                "cannot restore machine \"{}\": it is open",
                seat.instance.machine.name
            ))
        };
        let mut lease = lease::Lease::now(&info.uuid, place)?.ok_or_else(in_use)?;
        lease::check_free(seat, &lease, &info)?;
        manage.power_off(&place.vm)?;
        manage.run(&commands::restore(&place.vm, &snap.uuid))?;
        lease.note(Some(&lease::holder(seat)))?;
        settle(seat)
    }

    fn delete(&self, seat: &Seat, name: &str) -> Result<()> {
        let machine = &seat.instance.machine.name;
        let manage = Manage::of(seat, &format!("cannot delete snapshot \"{name}\" of machine \"{machine}\""));
        for place in machines(seat)? {
            let info = manage.info(&place.vm)?;
            for snap in info.named(name) {
                let children: Vec<&str> =
                    info.children(&snap.uuid).iter().map(|snap| snap.name.as_str()).collect();
                if !children.is_empty() {
                    return Err(Failure::new(
                        Exit::No,
                        format!("cannot delete snapshot \"{name}\" of machine \"{machine}\": others are based on it"),
                    )
                    .detail("snapshots", children.join(", ")));
                }
                manage.run(&commands::delete_snapshot(&place.vm, &snap.uuid))?;
            }
        }
        Ok(())
    }
}
