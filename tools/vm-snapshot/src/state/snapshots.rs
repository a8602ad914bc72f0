//! Snapshots of machines: names for chains of layers.
//!
//! `machines/NAME/snapshots/SNAPSHOT.json` is the record; `machines/NAME/layers/IMAGE_ID/` is what a driver froze. A layer
//! never changes. Taking a name anew leaves the old layers to whoever still stands on them; layers that nobody stands
//! on are removed.

use crate::drivers::OwnSnapshots;
use crate::state::machines::Loaded;
use crate::state::store::{Seat, Store, remove_tree};
use edge::{Context, Exit, Failure, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// `kind: "snapshot"`: a line of `vm-snapshot list MACHINE`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Snapshot {
    pub kind: String,
    pub v: u32,
    pub name: String,
    pub machine: String,
    /// Snapshot it was taken on top of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Identity of the state; new whenever the snapshot is taken.
    pub image_id: String,
    /// RFC 3339, UTC.
    pub created: String,
    /// Layers it consists of, newest first: directories below `layers/`.
    pub layers: Vec<String>,
}

fn dir(store: &Store, machine: &str) -> PathBuf {
    store.machine_dir(machine).join("snapshots")
}

pub fn layer_dir(store: &Store, machine: &str, layer: &str) -> PathBuf {
    store.machine_dir(machine).join("layers").join(layer)
}

/// All snapshots of a machine, by name.
pub fn list(store: &Store, machine: &str) -> Vec<Snapshot> {
    let mut snapshots: Vec<Snapshot> = fs::read_dir(dir(store, machine))
        .into_iter()
        .flatten()
        .flatten()
        // what a kill left half written is none
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
        .collect();
    snapshots.sort_by(|a: &Snapshot, b| a.name.cmp(&b.name));
    snapshots
}

/// The snapshots of a machine, whoever keeps them.
pub fn of_machine(store: &Store, loaded: Option<&Loaded>, name: &str) -> Result<Vec<Snapshot>> {
    match loaded.and_then(|loaded| own(store, loaded, name)) {
        Some((own, seat)) => own.list(&seat),
        None => Ok(list(store, name)),
    }
}

/// The driver that keeps the snapshots of a machine itself, and the machine's seat.
pub fn own(store: &Store, loaded: &Loaded, name: &str) -> Option<(&'static dyn OwnSnapshots, Seat)> {
    let machine = loaded.find(name).ok()?;
    let own = crate::drivers::find(&machine.driver).ok()?.own_snapshots(&machine)?;
    Some((own, store.machine_seat(machine, &loaded.base_dir)))
}

/// One snapshot by name.
pub fn find(store: &Store, machine: &str, name: &str) -> Result<Snapshot> {
    let all = list(store, machine);
    all.iter().find(|snapshot| snapshot.name == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|snapshot| snapshot.name.as_str()).collect();
        Failure::unavailable(format!("cannot find snapshot \"{name}\" of machine \"{machine}\""))
            .detail("snapshots", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
            .hint("vm-snapshot take ID SNAPSHOT makes one from the state of an instance")
    })
}

/// Writes the record of a snapshot; an older one of that name is replaced at once.
pub fn record(store: &Store, snapshot: &Snapshot) -> Result<()> {
    let text = serde_json::to_vec_pretty(snapshot).map_err(|error| Failure::bug(error.to_string()))?;
    let dir = dir(store, &snapshot.machine);
    fs::create_dir_all(&dir).context(Exit::CantCreate, || "cannot make the snapshot directory".to_owned())?;
    edge::write_atomic(dir.join(format!("{}.json", snapshot.name)), &text)
}

/// Refuses when other snapshots or living instances stand on a snapshot.
pub fn refuse_if_based_on(store: &Store, snapshot: &Snapshot) -> Result<()> {
    let children: Vec<String> = list(store, &snapshot.machine)
        .into_iter()
        .filter(|other| other.name != snapshot.name && other.layers.contains(&snapshot.image_id))
        .map(|other| other.name)
        .collect();
    let instances: Vec<String> = store
        .instance_ids()
        .into_iter()
        .filter(|id| {
            store.seat(id).is_some_and(|seat| {
                seat.instance.machine.name == snapshot.machine
                    && (seat.instance.layers.iter().any(|layer| layer.ends_with(&snapshot.image_id))
                        || seat.instance.image_id == snapshot.image_id)
            })
        })
        .collect();
    if children.is_empty() && instances.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(
        Exit::No,
        format!(
            "cannot delete snapshot \"{}\" of machine \"{}\": others are based on it",
            snapshot.name, snapshot.machine
        ),
    );
    for (what, names) in [("snapshots", children), ("instances", instances)] {
        if !names.is_empty() {
            failure = failure.detail(what, names.join(", "));
        }
    }
    Err(failure)
}

pub fn delete(store: &Store, snapshot: &Snapshot) -> Result<()> {
    let path = dir(store, &snapshot.machine).join(format!("{}.json", snapshot.name));
    fs::remove_file(&path)
        .context(Exit::CantCreate, || format!("cannot delete snapshot \"{}\"", snapshot.name))
}

/// Removes layers that no snapshot and no instance stands on, and records that a kill left half written. The caller holds
/// the lock of the machine.
pub fn collect_garbage(store: &Store, machine: &str) {
    let records = fs::read_dir(dir(store, machine)).into_iter().flatten().flatten().map(|entry| entry.path());
    for half in records.filter(|path| path.extension().is_some_and(|kind| kind == "tmp")) {
        let _ = fs::remove_file(half);
    }
    let mut used: Vec<String> =
        list(store, machine).into_iter().flat_map(|snapshot| snapshot.layers).collect();
    for id in store.instance_ids() {
        let layers = store.seat(&id).map(|seat| seat.instance.layers).unwrap_or_default();
        used.extend(layers.iter().filter_map(|layer| layer.file_name()?.to_str().map(str::to_owned)));
    }
    for entry in fs::read_dir(store.machine_dir(machine).join("layers")).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|name| used.iter().any(|layer| layer == name)) {
            for driver in crate::drivers::DRIVERS {
                driver.forget(&entry.path());
            }
            remove_tree(&entry.path());
        }
    }
}

/// The snapshots as a tree, two spaces a level, with the open instances (id and what it stands on) where they stand.
pub fn tree(snapshots: &[Snapshot], instances: &[(String, Option<String>)]) -> String {
    fn below(
        snapshots: &[Snapshot],
        instances: &[(String, Option<String>)],
        parent: Option<&str>,
        depth: usize,
        text: &mut String,
    ) {
        for (id, _) in instances.iter().filter(|(_, on)| {
            on.as_deref().filter(|name| snapshots.iter().any(|other| other.name == *name)) == parent
        }) {
            text.push_str(&format!("{}{id} (open)\n", "  ".repeat(depth)));
        }
        for snapshot in snapshots.iter().filter(|snapshot| {
            let known = |name: &str| snapshots.iter().any(|other| other.name == name);
            snapshot.parent.as_deref().filter(|name| known(name)) == parent
        }) {
            text.push_str(&format!("{}{}\n", "  ".repeat(depth), snapshot.name));
            if depth < 64 {
                below(snapshots, instances, Some(&snapshot.name), depth + 1, text);
            }
        }
    }
    let mut text = String::new();
    below(snapshots, instances, None, 0, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_half_written_is_no_snapshot_and_goes() {
        let scratch = std::env::temp_dir().join(format!("half-{}", std::process::id()));
        let store = Store::open(&scratch).unwrap();
        let snapshot = Snapshot {
            kind: "snapshot".into(),
            v: 1,
            name: "s".into(),
            machine: "m".into(),
            parent: None,
            image_id: "i".into(),
            created: String::new(),
            layers: vec!["kept".into()],
        };
        record(&store, &snapshot).unwrap();
        let text = serde_json::to_string(&snapshot).unwrap().replace("kept", "lost");
        fs::write(dir(&store, "m").join(".x1.tmp"), text).unwrap();
        for layer in ["kept", "lost", "lost.new"] {
            fs::create_dir_all(layer_dir(&store, "m", layer)).unwrap();
        }
        assert_eq!(list(&store, "m"), [snapshot]);
        collect_garbage(&store, "m");
        let left = |dir: PathBuf| {
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        assert_eq!(left(dir(&store, "m")), ["s.json"]);
        assert_eq!(left(store.machine_dir("m").join("layers")), ["kept"]);
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_tree_says_what_is_based_on_what() {
        let snapshot = |name: &str, parent: Option<&str>| Snapshot {
            kind: "snapshot".into(),
            v: 1,
            name: name.into(),
            machine: "m".into(),
            parent: parent.map(str::to_owned),
            image_id: name.into(),
            created: String::new(),
            layers: vec![],
        };
        let all = [
            snapshot("a", None),
            snapshot("b", Some("a")),
            snapshot("c", Some("gone")),
            snapshot("d", Some("b")),
        ];
        assert_eq!(tree(&all, &[]), "a\n  b\n    d\nc\n");
        let open = [("m-1".to_owned(), Some("a".to_owned())), ("m-2".to_owned(), None)];
        assert_eq!(tree(&all, &open), "m-2 (open)\na\n  m-1 (open)\n  b\n    d\nc\n");
    }
}
