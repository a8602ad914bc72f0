//! What there is: machines, their snapshots, their instances. JSON Lines.

use crate::state::machines::Loaded;
use crate::state::store::Store;
use crate::state::{age, snapshots};
use edge::{Result, out, say};
use serde_json::json;

/// Machines of the document; or the snapshots and instances of one machine.
pub fn list(store: &Store, load: impl Fn() -> Result<Loaded>, machine: Option<&str>) -> Result<()> {
    let instances = |name: &str| {
        let of = |id: &String| store.seat(id).is_some_and(|seat| seat.instance.machine.name == name);
        store.living_ids().into_iter().filter(of).collect::<Vec<String>>()
    };
    match machine {
        None => {
            let loaded = load()?;
            for machine in &loaded.document.machines {
                let snapshots = snapshots::of_machine(store, Some(&loaded), &machine.name);
                let snapshots = snapshots.unwrap_or_else(|failure| {
                    say::warning(failure.message, failure.hint.as_deref());
                    Vec::new()
                });
                out::json_line(&json!({
                    "kind": "machine", "v": contract::V, "name": machine.name, "driver": machine.driver,
                    "snapshots": snapshots.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
                    "instances": instances(&machine.name),
                }))?;
            }
        }
        Some(name) => {
            // it may be gone from the document, or the document from its place
            let loaded = load().ok();
            let machine = loaded.as_ref().and_then(|loaded| loaded.find(name).ok());
            for snapshot in snapshots::of_machine(store, loaded.as_ref(), name)? {
                out::json_line(&snapshot)?;
                let old =
                    age::of_snapshot(&snapshot.created).zip(machine.as_ref()).and_then(|(days, machine)| {
                        age::told(
                            &format!("snapshot \"{}\" of machine \"{name}\"", snapshot.name),
                            days,
                            machine,
                        )
                    });
                if let Some(old) = old {
                    say::warning(old, None);
                }
            }
            for id in instances(name) {
                if let Some(seat) = store.seat(&id) {
                    out::json_line(&json!({
                        "kind": "instance", "v": contract::V, "id": id, "machine": name,
                        "snapshot": seat.instance.snapshot, "image_id": seat.instance.image_id,
                        "opened": seat.instance.opened, "owner": seat.instance.owner.map(|owner| owner.pid),
                    }))?;
                }
            }
        }
    }
    Ok(())
}

/// The open instances of a machine, each with the snapshot it stands on.
pub fn standing(store: &Store, machine: &str) -> Vec<(String, Option<String>)> {
    let seats = store.living_ids().into_iter().filter_map(|id| store.seat(&id));
    seats
        .filter(|seat| seat.instance.machine.name == machine)
        .map(|seat| (seat.instance.id, seat.instance.snapshot))
        .collect()
}
