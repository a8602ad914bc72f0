//! Machines whose disk outlives the run: start, stop, restore, delete, create.

use crate::args::Open;
use crate::drivers;
use crate::instance::keeper;
use crate::instance::open::{PATIENCE, begin, close, plan_instance, testbed, with_limits};
use crate::instance::owner::Owner;
use crate::state::machines::Loaded;
use crate::state::snapshots;
use crate::state::store::{Seat, Store};
use contract::machines::Machine;
use edge::{Exit, Failure, Result};
use std::fs::File;
use std::time::Instant;

/// Starts a machine whose disk outlives the run; its instance has the machine's name.
pub fn start(store: &Store, loaded: &Loaded, name: &str, options: &Open) -> Result<()> {
    let begun = Instant::now();
    let machine = with_limits(loaded.find(name)?, options);
    store.sweep();
    let lock = store.lock_machine(name)?;
    let (seat, seat_lock) = match store.seat(name) {
        None => settle(store, loaded, machine, options)?,
        Some(mut seat) => {
            let Some(seat_lock) = store.dead_lock(name) else {
                return Err(Failure::new(
                    Exit::No,
                    format!("cannot start machine \"{name}\": it is running"),
                )
                .hint(format!("vm-snapshot stop {name}")));
            };
            if options.snapshot.is_some() && options.snapshot != seat.instance.snapshot {
                return Err(Failure::usage(format!(
                    "cannot start machine \"{name}\" from another snapshot: it has a state"
                ))
                .hint(format!("vm-snapshot restore {name} SNAPSHOT gives that state up")));
            }
            let fresh = plan_instance(store, loaded, machine, options, name.to_owned())?;
            seat.instance.machine = fresh.machine;
            seat.instance.mounts = fresh.mounts;
            seat.instance.base_dir = fresh.base_dir;
            write_record(&seat)?;
            (seat, seat_lock)
        }
    };
    drop(lock);
    let started = keeper::start(store, &seat, seat_lock)?;
    edge::out::json_document(&testbed(store, &seat, begun.elapsed())?)?;
    edge::out::flush()?;
    started.confirm()
}

/// Gives a machine its own state: the record of its persistent instance.
fn settle(store: &Store, loaded: &Loaded, machine: Machine, options: &Open) -> Result<(Seat, File)> {
    let id = machine.name.clone();
    let mut instance = plan_instance(store, loaded, machine, options, id)?;
    instance.persistent = true;
    instance.owner = options.owner.filter(|pid| *pid > 0).and_then(Owner::of);
    store.add_instance(&instance)
}

fn write_record(seat: &Seat) -> Result<()> {
    let record = serde_json::to_vec(&seat.instance).map_err(|error| Failure::bug(error.to_string()))?;
    edge::write_atomic(seat.dir.join("instance.json"), &record)
}

pub fn stop(store: &Store, name: &str) -> Result<()> {
    match store.seat(name) {
        Some(seat) if seat.instance.persistent => {
            store.end(name, keeper::CLOSE, PATIENCE)?;
            Ok(())
        }
        _ => Err(Failure::unavailable(format!("cannot stop machine \"{name}\": it was not started"))),
    }
}

/// Puts a machine back to a snapshot; what it holds now is lost, and it is stopped.
pub fn restore(store: &Store, loaded: &Loaded, name: &str, snapshot: &str) -> Result<()> {
    let machine = loaded.find(name)?;
    let _lock = store.lock_machine(name)?;
    let own = snapshots::own(store, loaded, name);
    match &own {
        Some((own, seat)) => own.find(seat, snapshot)?,
        None => snapshots::find(store, name, snapshot)?,
    };
    if let Some(_lock) = store.end(name, keeper::CLOSE, PATIENCE)? {
        store.remove(name);
    }
    let options = Open { snapshot: Some(snapshot.to_owned()), ..Open::default() };
    let (seat, _lock) = settle(store, loaded, machine, &options)?;
    if let Some((own, _)) = own {
        own.restore(&seat, snapshot).inspect_err(|_| store.remove(name))?;
    }
    snapshots::collect_garbage(store, name);
    Ok(())
}

/// Deletes a snapshot, or all there is of a machine.
pub fn delete(store: &Store, loaded: Option<&Loaded>, machine: &str, snapshot: Option<&str>) -> Result<()> {
    let _lock = store.lock_machine(machine)?;
    let own = loaded.and_then(|loaded| snapshots::own(store, loaded, machine));
    if let (Some(name), Some((own, seat))) = (snapshot, own) {
        let snapshot = own.find(&seat, name)?;
        snapshots::refuse_if_based_on(store, &snapshot)?;
        return own.delete(&seat, name);
    }
    if let Some(name) = snapshot {
        let snapshot = snapshots::find(store, machine, name)?;
        snapshots::refuse_if_based_on(store, &snapshot)?;
        snapshots::delete(store, &snapshot)?;
    } else {
        let open: Vec<String> = store
            .living_ids()
            .into_iter()
            .filter(|id| {
                *id != machine && store.seat(id).is_some_and(|seat| seat.instance.machine.name == machine)
            })
            .collect();
        if !open.is_empty() {
            return Err(Failure::new(
                Exit::No,
                format!("cannot delete machine \"{machine}\": instances are open"),
            )
            .detail("open", open.join(", ")));
        }
        if let Some(_lock) = store.end(machine, keeper::CLOSE, PATIENCE)? {
            store.remove(machine);
        }
        for snapshot in snapshots::list(store, machine) {
            snapshots::delete(store, &snapshot)?;
        }
    }
    snapshots::collect_garbage(store, machine);
    Ok(())
}

/// Makes a machine ready: checks its settings and the host, by opening an instance and closing it.
pub fn create(store: &Store, loaded: &Loaded, name: &str) -> Result<()> {
    let machine = loaded.find(name)?;
    drivers::find(&machine.driver)?.prepare(&store.machine_seat(machine, &loaded.base_dir))?;
    let options = Open { owner: Some(std::process::id().cast_signed()), ..Open::default() };
    let (seat, started, took) = begin(store, loaded, name, &options)?;
    let testbed = testbed(store, &seat, took)?;
    drop(started);
    close(store, &seat.instance.id)?;
    edge::out::json_document(&serde_json::json!({
        "kind": "machine", "v": contract::V, "name": name, "driver": testbed.driver,
        "image_id": testbed.image_id, "capabilities": testbed.capabilities,
    }))
}
