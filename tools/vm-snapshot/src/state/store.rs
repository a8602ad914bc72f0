//! What vm-snapshot keeps on disk, below one state directory:
//!
//! ```text
//! instances/ID/     lock, instance.json, running.json, log, close (a FIFO), and what the driver keeps there
//! machines/NAME/    lock, snapshots/SNAPSHOT/{snapshot.json, and what the driver keeps there}
//! ```
//!
//! An instance is alive exactly as long as its keeper holds `lock`. So whoever gets the lock of an instance may, and
//! must, remove it: that is how the next command cleans up after a kill -9, without a daemon.

use crate::instance::owner::Owner;
use contract::machines::Machine;
use contract::testbed::Mount;
use edge::{Context, Exit, Failure, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Instance record: everything that is known about it before it runs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Instance {
    pub id: String,
    pub machine: Machine,
    /// Directory that relative paths in the machine's settings start from.
    pub base_dir: PathBuf,
    pub snapshot: Option<String>,
    pub image_id: String,
    /// Directories of the snapshots it stands on, newest first.
    pub layers: Vec<PathBuf>,
    pub mounts: Vec<Mount>,
    /// None: it stays until it is closed.
    pub owner: Option<Owner>,
    /// How long it stays when its owner has ended, in seconds.
    #[serde(default)]
    pub keep_s: u64,
    /// How long to wait for a machine that another has, in seconds. None: for ever.
    #[serde(default)]
    pub wait_s: Option<u64>,
    /// RFC 3339, UTC.
    pub opened: String,
    /// A started machine: its disk outlives it.
    pub persistent: bool,
}

/// The directory of state.
#[derive(Clone, Debug)]
pub struct Store {
    pub dir: PathBuf,
}

/// An instance and its place on disk.
#[derive(Clone, Debug)]
pub struct Seat {
    pub dir: PathBuf,
    pub instance: Instance,
}

impl Store {
    /// Opens the state directory, making it if it is not there.
    pub fn open(dir: &Path) -> Result<Store> {
        let make = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o711).create(dir);
        for part in ["instances", "machines"] {
            make(&dir.join(part))
                .context(Exit::CantCreate, || format!("cannot make state directory \"{}\"", dir.display()))?;
        }
        let dir = dir
            .canonicalize()
            .context(Exit::CantCreate, || format!("cannot find state directory \"{}\"", dir.display()))?;
        if dir.to_str().is_none() {
            return Err(Failure::usage(format!(
                "cannot use state directory \"{}\": not UTF-8",
                dir.display()
            )));
        }
        Ok(Store { dir })
    }

    pub fn instance_dir(&self, id: &str) -> PathBuf {
        self.dir.join("instances").join(id)
    }

    pub fn machine_dir(&self, name: &str) -> PathBuf {
        self.dir.join("machines").join(name)
    }

    /// The seat of a machine itself: of the persistent instance that it has or would have.
    pub fn machine_seat(&self, machine: Machine, base_dir: &Path) -> Seat {
        let id = machine.name.clone();
        let instance = Instance {
            id: id.clone(),
            machine,
            base_dir: base_dir.to_owned(),
            snapshot: None,
            image_id: String::new(),
            layers: Vec::new(),
            mounts: Vec::new(),
            owner: None,
            keep_s: 0,
            wait_s: None,
            opened: String::new(),
            persistent: true,
        };
        Seat { dir: self.instance_dir(&id), instance }
    }

    /// Lock of one machine: held while its snapshots change or an instance comes to be.
    pub fn lock_machine(&self, name: &str) -> Result<File> {
        let dir = self.machine_dir(name);
        let lock = || {
            fs::create_dir_all(&dir)?;
            let file = File::options().create(true).append(true).open(dir.join("lock"))?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok::<File, std::io::Error>(file)
        };
        lock().context(Exit::CantCreate, || format!("cannot lock machine \"{name}\""))
    }

    /// Held while an instance directory is half made.
    fn lock_making(&self) -> std::io::Result<File> {
        let file = File::options().create(true).append(true).open(self.dir.join("making"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Ids of all instances, dead or alive, sorted.
    pub fn instance_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = fs::read_dir(self.dir.join("instances"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        ids.sort();
        ids
    }

    /// The record of a living instance.
    pub fn living(&self, id: &str) -> Result<Seat> {
        if valid_name(id)
            && self.dead_lock(id).is_none()
            && let Some(seat) = self.seat(id)
        {
            return Ok(seat);
        }
        let open = self.living_ids().join(", ");
        Err(Failure::unavailable(format!("cannot find instance \"{id}\": it is not open"))
            .detail("state", self.dir.display())
            .detail("open", if open.is_empty() { "none" } else { &open }))
    }

    /// Ids of the living instances.
    pub fn living_ids(&self) -> Vec<String> {
        let mut ids = self.instance_ids();
        ids.retain(|id| !id.starts_with('.') && self.dead_lock(id).is_none());
        ids
    }

    /// The record of an instance, dead or alive.
    pub fn seat(&self, id: &str) -> Option<Seat> {
        let dir = self.instance_dir(id);
        let instance = serde_json::from_slice(&fs::read(dir.join("instance.json")).ok()?).ok()?;
        Some(Seat { dir, instance })
    }

    /// The lock of an instance that nobody keeps alive (held from now on). None: it lives, or is not there.
    pub fn dead_lock(&self, id: &str) -> Option<File> {
        let file = File::open(self.instance_dir(id).join("lock")).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok().map(|()| file)
    }

    /// Makes the directory and record of a new instance. The file is its lock, held.
    pub fn add_instance(&self, instance: &Instance) -> Result<(Seat, File)> {
        let record = serde_json::to_vec(instance)
            .map_err(|error| Failure::usage(format!("cannot record the instance: {error}")))?;
        let dir = self.instance_dir(&instance.id);
        let new = self.dir.join("instances").join(format!(".new-{}", instance.id));
        let make = || {
            let _making = self.lock_making()?;
            fs::DirBuilder::new().mode(0o700).create(&new)?;
            let lock = File::options().create_new(true).append(true).open(new.join("lock"))?;
            flock(&lock, FlockOperation::LockExclusive)?;
            fs::write(new.join("instance.json"), &record)?;
            rustix::fs::mknodat(
                rustix::fs::CWD,
                new.join("close"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )?;
            fs::rename(&new, &dir)?;
            Ok::<File, std::io::Error>(lock)
        };
        let lock = make()
            .context(Exit::CantCreate, || format!("cannot make instance directory \"{}\"", dir.display()))?;
        Ok((Seat { dir, instance: instance.clone() }, lock))
    }

    /// Asks the keeper of an instance to end it (`word`: `keeper::CLOSE` or `FREEZE`) and waits until it has. The file is
    /// the lock of what is left.
    /// None: there is no such instance.
    pub fn end(&self, id: &str, word: &[u8], patience: Duration) -> Result<Option<File>> {
        let dir = self.instance_dir(id);
        let Ok(lock) = File::open(dir.join("lock")) else { return Ok(None) };
        let until = Instant::now() + patience;
        let mut asked = false;
        let mut nap_us = 200;
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if !asked {
                // a keeper that has not opened its end yet is asked again
                asked = ask(&dir, word);
            }
            if Instant::now() > until {
                return Err(Failure::try_again(format!("cannot close instance \"{id}\": it does not end"))
                    .detail("log", dir.join("log").display()));
            }
            std::thread::sleep(Duration::from_micros(nap_us));
            nap_us = (nap_us * 2).min(20_000);
        }
        Ok(Some(lock))
    }

    /// Removes what dead instances left behind. Gives the ids of those removed.
    pub fn sweep(&self) -> Vec<String> {
        let mut swept = Vec::new();
        for id in self.instance_ids() {
            let dir = self.instance_dir(&id);
            if id.starts_with('.') {
                // half made, and its maker is gone when the lock can be had
                if let Ok(_making) = self.lock_making() {
                    remove_tree(&dir);
                }
            } else if let Some(_lock) = self.dead_lock(&id) {
                match self.seat(&id) {
                    Some(seat) if seat.instance.persistent => self.reap(&seat),
                    _ => {
                        self.remove(&id);
                        swept.push(id);
                    }
                }
            }
        }
        swept
    }

    /// Removes a dead instance whose lock the caller holds.
    pub fn remove(&self, id: &str) {
        if let Some(seat) = self.seat(id) {
            self.reap(&seat);
            if let Ok(driver) = crate::drivers::find(&seat.instance.machine.driver)
                && seat.instance.persistent
            {
                driver.discard(&seat);
            }
        }
        remove_tree(&self.instance_dir(id));
    }

    fn reap(&self, seat: &Seat) {
        if seat.dir.join("running.json").exists() {
            if let Ok(driver) = crate::drivers::find(&seat.instance.machine.driver) {
                driver.reap(seat);
            }
            let _ = fs::remove_file(seat.dir.join("running.json"));
        }
    }
}

impl Seat {
    /// What its things outside its directory are called (a container, a socket). The id of an opened instance has a random
    /// part; a started machine is called like those of other state directories, which are none of its business.
    pub fn tag(&self) -> String {
        let id = &self.instance.id;
        if !self.instance.persistent {
            return id.clone();
        }
        let mut hash = Sha256::new();
        hash.update(self.dir.as_os_str().as_encoded_bytes());
        hash.update(&self.instance.opened);
        hash.finalize().iter().take(6).fold(format!("{id}-"), |tag, byte| format!("{tag}{byte:02x}"))
    }

    /// What the driver noted when the instance ran.
    pub fn running(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(self.dir.join("running.json")).ok()?).ok()
    }
}

fn ask(dir: &Path, word: &[u8]) -> bool {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    File::options()
        .write(true)
        .custom_flags(flags)
        .open(dir.join("close"))
        .is_ok_and(|mut fifo| fifo.write_all(word).is_ok())
}

/// Removes a tree that a stranger wrote: directories without permissions too; never follows a link.
pub fn remove_tree(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        if fs::remove_dir(path).is_ok() {
            return;
        }
        let mut entries = fs::read_dir(path);
        if entries.is_err() {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
            entries = fs::read_dir(path);
        }
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&path);
            } else if fs::remove_file(&path).is_err() {
                if let Some(parent) = path.parent() {
                    let _ = fs::set_permissions(parent, fs::Permissions::from_mode(0o700));
                }
                let _ = fs::remove_file(&path);
            }
        }
        if fs::remove_dir(path).is_err() {
            let _ =
                path.parent().map(|parent| fs::set_permissions(parent, fs::Permissions::from_mode(0o700)));
            let _ = fs::remove_dir(path);
        }
    } else {
        let _ = fs::remove_file(path);
    }
}

/// True for names that may stand for a file: letters, digits, `-`, `_`, `.`, not starting with a dot.
pub fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// An instance for tests of plans: of the machine in this JSON text, on two layers, with one shared directory.
#[cfg(test)]
pub fn example(machine: &str) -> Seat {
    let machine: Machine = serde_json::from_str(machine).expect("a machine");
    Seat {
        dir: PathBuf::from("/state/instances/m-1"),
        instance: Instance {
            id: "m-1".into(),
            machine,
            base_dir: PathBuf::from("/doc"),
            snapshot: Some("s".into()),
            image_id: "i".into(),
            layers: vec!["/state/machines/m/layers/new".into(), "/state/machines/m/layers/old".into()],
            mounts: vec![Mount { name: "a".into(), host: "/archive".into(), guest: "/share/a".into() }],
            owner: None,
            keep_s: 0,
            wait_s: None,
            opened: String::new(),
            persistent: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_directory() {
        for bad in ["", ".", "..", "a/b", "-x", ".hidden", "a b", &"x".repeat(101)] {
            assert!(!valid_name(bad), "{bad}");
        }
        assert!(valid_name("racket-minimal_8.7"));
    }

    #[test]
    fn started_machines_of_the_same_name_are_not_mistaken() {
        let mut one = example(r#"{"name": "m", "driver": "uml"}"#);
        assert_eq!(one.tag(), "m-1");
        one.instance.persistent = true;
        let mut other = one.clone();
        other.dir = PathBuf::from("/other/instances/m-1");
        let mut later = one.clone();
        later.instance.opened = "2026-01-01T00:00:00.000000001Z".into();
        let tags = [&one, &other, &later].map(Seat::tag);
        assert!(tags.iter().all(|tag| tag.starts_with("m-1-") && tag.len() == 16), "{tags:?}");
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
    }

    #[test]
    fn trees_without_permissions_are_removed() {
        let dir = std::env::temp_dir().join(format!("remove-tree-{}", std::process::id()));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/f"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("a/link")).unwrap();
        fs::set_permissions(dir.join("a/b"), fs::Permissions::from_mode(0o0)).unwrap();
        fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        remove_tree(&dir);
        assert!(!dir.exists());
        assert!(Path::new("/etc").exists());
    }
}
