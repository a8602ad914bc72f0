//! Instances: open, close, take.

use crate::args::Open;
use crate::drivers::{self, Driver};
use crate::instance::exec::busy_file;
use crate::instance::keeper::{self, Started};
use crate::instance::owner::Owner;
use crate::state::machines::Loaded;
use crate::state::snapshots::{self, Snapshot};
use crate::state::store::{Instance, Seat, Store};
use contract::machines::Machine;
use contract::testbed::{Mount, Testbed};
use edge::{Context, Exit, Failure, Result, say};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::time::{Duration, Instant};

/// How long an instance may take to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a fresh instance and prints its testbed.
pub fn open(store: &Store, loaded: &Loaded, name: &str, options: &Open) -> Result<()> {
    let (seat, started, took) = begin(store, loaded, name, options)?;
    edge::out::json_document(&testbed(store, &seat, took)?)?;
    edge::out::flush()?;
    started.confirm()
}

/// Opens a fresh instance. It ends with this program unless it is confirmed.
pub fn begin(
    store: &Store,
    loaded: &Loaded,
    name: &str,
    options: &Open,
) -> Result<(Seat, Started, Duration)> {
    let begun = Instant::now();
    let machine = with_limits(loaded.find(name)?, options);
    store.sweep();
    let (seat, lock) = claim(store, loaded, machine, options)?;
    if say::verbosity() > 0
        && let Some(old) = crate::state::age::of_start(store, &seat)
    {
        say::detail(old);
    }
    let started = keeper::start(store, &seat, lock)?;
    Ok((seat, started, begun.elapsed()))
}

pub(super) fn with_limits(mut machine: Machine, options: &Open) -> Machine {
    machine.memory_mb = options.memory_mb.unwrap_or(machine.memory_mb);
    machine.disk_mb = options.disk_mb.unwrap_or(machine.disk_mb);
    machine.processes = options.processes.unwrap_or(machine.processes);
    machine.cpus = options.cpus.unwrap_or(machine.cpus);
    machine
}

/// Waits for a place in the pool and takes it: the record of a new instance, and its lock.
fn claim(store: &Store, loaded: &Loaded, machine: Machine, options: &Open) -> Result<(Seat, File)> {
    let until = options.wait_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut told = false;
    loop {
        let lock = store.lock_machine(&machine.name)?;
        let open: Vec<String> = store
            .living_ids()
            .into_iter()
            .filter(|id| store.seat(id).is_some_and(|seat| seat.instance.machine.name == machine.name))
            .collect();
        if machine.pool == 0 || open.len() < machine.pool as usize {
            let id = format!("{}-{}", machine.name, random_hex(4)?);
            let instance = plan_instance(store, loaded, machine, options, id)?;
            return store.add_instance(&instance);
        }
        drop(lock);
        if until.is_some_and(|until| Instant::now() > until) {
            return Err(Failure::try_again(format!(
                "cannot open machine \"{}\": all {} instances of its pool are open",
                machine.name, machine.pool
            ))
            .detail("open", open.join(", ")));
        }
        if !told {
            say::detail(format!("waiting for one of {} instances of \"{}\"", machine.pool, machine.name));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The record of an instance. The caller holds the lock of the machine, so that no snapshot goes away meanwhile.
pub(super) fn plan_instance(
    store: &Store,
    loaded: &Loaded,
    machine: Machine,
    options: &Open,
    id: String,
) -> Result<Instance> {
    let driver = drivers::find(&machine.driver)?;
    let owner = match options.owner {
        Some(0) => None,
        Some(pid) => Some(
            Owner::of(pid)
                .ok_or_else(|| Failure::usage(format!("cannot belong to process {pid}: it is not there")))?,
        ),
        None => Owner::caller(),
    };
    let mut mounts = Vec::new();
    for (name, dir) in &options.share {
        let host = dir
            .canonicalize()
            .context(Exit::Unavailable, || format!("cannot share \"{}\"", dir.display()))?
            .into_os_string()
            .into_string()
            .map_err(|dir| Failure::usage(format!("cannot share \"{}\": not UTF-8", dir.display())))?;
        let guest = driver.share_point(name, &host).ok_or_else(|| {
            Failure::unavailable(format!("cannot share \"{host}\": driver \"{}\" cannot", machine.driver))
        })?;
        mounts.push(Mount { name: name.clone(), host, guest });
    }
    let mut instance = Instance {
        id,
        machine,
        base_dir: loaded.base_dir.clone(),
        snapshot: options.snapshot.clone(),
        image_id: String::new(),
        layers: Vec::new(),
        mounts,
        owner,
        keep_s: options.keep_s.unwrap_or(0),
        wait_s: options.wait_s,
        opened: jiff::Timestamp::now().to_string(),
        persistent: false,
    };
    stand_on(store, driver, &mut instance)?;
    Ok(instance)
}

/// Fills in what the instance starts from.
fn stand_on(store: &Store, driver: &dyn Driver, instance: &mut Instance) -> Result<()> {
    let seat = Seat { dir: store.instance_dir(&instance.id), instance: instance.clone() };
    let bare = driver.identify(&seat)?;
    let own = driver.own_snapshots(&instance.machine);
    match (&instance.snapshot, own) {
        (None, _) => {
            let mut hash = Sha256::new();
            hash.update(&instance.machine.driver);
            hash.update(bare);
            instance.image_id = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            instance.layers = Vec::new();
        }
        (Some(name), Some(own)) => instance.image_id = own.find(&seat, name)?.image_id,
        (Some(name), None) if driver.has_own_snapshots() => instance.image_id = format!("{bare} {name}"),
        (Some(name), None) => {
            let snapshot = snapshots::find(store, &instance.machine.name, name)?;
            instance.image_id = snapshot.image_id;
            instance.layers = snapshot
                .layers
                .iter()
                .map(|layer| snapshots::layer_dir(store, &instance.machine.name, layer))
                .collect();
        }
    }
    Ok(())
}

/// The document that says how to use an instance.
pub fn testbed(store: &Store, seat: &Seat, took: Duration) -> Result<Testbed> {
    let instance = &seat.instance;
    let driver = drivers::find(&instance.machine.driver)?;
    let exe = std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
    let command = |verb: &str| {
        let words =
            [&exe.display().to_string(), "--state-dir", &store.dir.display().to_string(), verb, &instance.id];
        words.map(str::to_owned).to_vec()
    };
    let machine = &instance.machine;
    let limits: BTreeMap<String, u64> = [
        ("memory_mb", machine.memory_mb),
        ("disk_mb", machine.disk_mb),
        ("processes", machine.processes),
        ("cpus", u64::from(machine.cpus)),
    ]
    .into_iter()
    .filter(|(_, value)| *value > 0)
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let mut capabilities = driver.capabilities(seat);
    capabilities.sort();
    Ok(Testbed {
        kind: "testbed".into(),
        v: contract::V,
        id: instance.id.clone(),
        machine: machine.name.clone(),
        driver: machine.driver.clone(),
        snapshot: instance.snapshot.clone(),
        image_id: instance.image_id.clone(),
        exec: command("exec"),
        close: command("close"),
        status: command("status"),
        shell: command("shell"),
        work_dir: driver.work_dir(seat),
        mounts: driver.mounts(seat),
        host_url: driver.host_url(seat),
        capabilities,
        limits,
        open_s: (took.as_secs_f64() * 10_000.0).round() / 10_000.0,
    })
}

/// Closes an instance; one that is gone is closed already.
pub fn close(store: &Store, id: &str) -> Result<()> {
    if !crate::state::store::valid_name(id) {
        return Err(Failure::usage(format!("cannot close \"{id}\": not the name of an instance")));
    }
    if let Some(seat) = store.seat(id).filter(|seat| seat.instance.persistent) {
        return Err(Failure::usage(format!("cannot close \"{id}\": it is a started machine"))
            .hint(format!("vm-snapshot stop {}", seat.instance.machine.name)));
    }
    if let Some(_lock) = store.end(id, keeper::CLOSE, PATIENCE)? {
        store.remove(id);
    }
    Ok(())
}

/// Turns the state of an instance into a snapshot of its machine; the instance goes on, on top of it.
pub fn take(store: &Store, id: &str, name: &str, replace: bool) -> Result<Snapshot> {
    let seat = store.living(id)?;
    let machine = seat.instance.machine.name.clone();
    let driver = drivers::find(&seat.instance.machine.driver)?;
    if !driver.capabilities(&seat).iter().any(|have| have == "snapshot") {
        return Err(Failure::unavailable(format!(
            "cannot take a snapshot of \"{id}\": driver \"{}\" has none",
            driver.name()
        )));
    }
    let _quiet = quiet(&seat)?;
    let machine_lock = store.lock_machine(&machine)?;
    if let Some(own) = driver.own_snapshots(&seat.instance.machine) {
        let snapshot = own.take(&seat, name, replace)?;
        stand_on_taken(seat, &snapshot, None)?;
        return Ok(snapshot);
    }
    if !replace && snapshots::find(store, &machine, name).is_ok() {
        return Err(Failure::new(
            Exit::CantCreate,
            format!("cannot take snapshot \"{name}\" of machine \"{machine}\": there is one"),
        )
        .hint("--replace takes the name from it"));
    }
    driver.flush(&seat).map_err(|mut failure| {
        failure.message = format!("cannot take a snapshot of \"{id}\": {}", failure.message);
        failure
    })?;
    let lock = if driver.freezes_alive() {
        None
    } else {
        let lock = store.end(id, keeper::FREEZE, PATIENCE)?;
        Some(lock.ok_or_else(|| {
            Failure::try_again(format!("cannot take a snapshot of \"{id}\": it ended meanwhile"))
        })?)
    };
    let image_id = random_hex(16)?;
    let layer = snapshots::layer_dir(store, &machine, &image_id);
    fs::create_dir_all(layer.parent().unwrap_or(&layer))
        .context(Exit::CantCreate, || "cannot make the layer".to_owned())?;
    driver.freeze(&seat, &layer)?;
    sync(&layer);
    let own = layer.file_name().map(|name| name.to_string_lossy().into_owned()).into_iter();
    let older =
        seat.instance.layers.iter().filter_map(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    let snapshot = Snapshot {
        kind: "snapshot".into(),
        v: contract::V,
        name: name.to_owned(),
        machine: machine.clone(),
        parent: seat.instance.snapshot.clone(),
        image_id: image_id.clone(),
        created: jiff::Timestamp::now().to_string(),
        layers: own.chain(older).collect(),
    };
    snapshots::record(store, &snapshot)?;
    let seat = stand_on_taken(seat, &snapshot, Some(layer))?;
    snapshots::collect_garbage(store, &machine);
    drop(machine_lock);
    if let Some(lock) = lock {
        keeper::start(store, &seat, lock)?.confirm()?;
    }
    Ok(snapshot)
}

/// The instance that a snapshot was taken of stands on it from now on.
fn stand_on_taken(mut seat: Seat, snapshot: &Snapshot, layer: Option<std::path::PathBuf>) -> Result<Seat> {
    seat.instance.snapshot = Some(snapshot.name.clone());
    seat.instance.image_id.clone_from(&snapshot.image_id);
    if let Some(layer) = layer {
        seat.instance.layers.insert(0, layer);
    }
    let record = serde_json::to_vec(&seat.instance).map_err(|error| Failure::bug(error.to_string()))?;
    edge::write_atomic(seat.dir.join("instance.json"), &record)?;
    Ok(seat)
}

fn sync(dir: &std::path::Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = rustix::fs::syncfs(dir);
    }
}

/// A lock that no running command holds.
fn quiet(seat: &Seat) -> Result<File> {
    let file = busy_file(&seat.dir)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::try_again(format!(
            "cannot take a snapshot of \"{}\": a command is running in it",
            seat.instance.id
        ))
    })?;
    Ok(file)
}

pub fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context(Exit::Unavailable, || "cannot read /dev/urandom".to_owned())?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
