//! Which machine an instance gets: a lock for each machine (or address of a clone), held by the keeper and so let go of
//! whenever that ends, however it ends. Locks belong to the user, as machines of VirtualBox do, not to a state directory.

use super::info::Info;
use super::manage::Manage;
use crate::drivers::{guest, setting, setting_list};
use crate::instance::keeper;
use crate::state::store::Seat;
use edge::{Context, Exit, Failure, Result, say};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A machine and where it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub vm: String,
    pub host: String,
}

/// How instances come to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// These machines themselves, put back to a snapshot for each instance.
    Named(Vec<Place>),
    /// Linked clones of a machine, one for each of these addresses at once.
    Clones { base: String, addresses: Vec<String> },
}

pub fn mode(seat: &Seat) -> Result<Mode> {
    let machine = &seat.instance.machine;
    let wrong = |what: &str| {
        Failure::data(format!("cannot use machine \"{}\": {what}", machine.name))
            .hint("see DRIVERS, virtualbox, in vm-snapshot(1)")
    };
    let vm = setting(seat, "vm").unwrap_or(&machine.name).to_owned();
    let addresses = setting_list(seat, "clones");
    if machine.settings.contains_key("clones") {
        return match addresses.is_empty() {
            true => Err(wrong("the setting \"clones\" is a list of addresses")),
            false => Ok(Mode::Clones { base: vm, addresses }),
        };
    }
    let Some(given) = machine.settings.get("vms") else {
        return Ok(Mode::Named(vec![Place { vm, host: guest::needed(seat, "host")?.to_owned() }]));
    };
    let place = |item: &Value| {
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Place { vm: text("vm")?, host: text("host")? })
    };
    let places: Option<Vec<Place>> =
        given.as_array().filter(|list| !list.is_empty()).and_then(|list| list.iter().map(place).collect());
    places
        .map(Mode::Named)
        .ok_or_else(|| wrong("the setting \"vms\" is a list of objects with \"vm\" and \"host\""))
}

/// Who has a machine; in its lock file. It stays when the keeper is killed: then what runs there is a leftover of ours.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Holder {
    pub id: String,
    /// The instance's directory.
    pub dir: PathBuf,
    /// A started machine: what is on its disk is to stay.
    pub persistent: bool,
}

/// A machine that is ours until this is dropped.
#[derive(Debug)]
pub struct Lease {
    pub place: Place,
    /// Who had it and did not put it back.
    pub before: Option<Holder>,
    file: File,
}

fn lock_file(key: &str) -> Result<File> {
    let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = home("XDG_STATE_HOME").or_else(|| home("HOME").map(|home| home.join(".local/state")));
    let dir = state.unwrap_or_else(std::env::temp_dir).join("downstream/virtualbox");
    let open = || {
        fs::create_dir_all(&dir)?;
        File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(dir.join(format!("{key}.lock")))
    };
    open().context(Exit::CantCreate, || format!("cannot lock a machine in \"{}\"", dir.display()))
}

impl Lease {
    /// The lease, if nobody has it.
    pub fn now(key: &str, place: &Place) -> Result<Option<Lease>> {
        let mut file = lock_file(key)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        Ok(Some(Lease { place: place.clone(), before: serde_json::from_str(&text).ok(), file }))
    }

    /// Notes who has it; None: nobody any more.
    pub fn note(&mut self, holder: Option<&Holder>) -> Result<()> {
        let text = holder.and_then(|holder| serde_json::to_vec(holder).ok()).unwrap_or_default();
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(&text)
        };
        write().context(Exit::CantCreate, || "cannot note who has the machine".to_owned())
    }
}

pub fn holder(seat: &Seat) -> Holder {
    Holder { id: seat.instance.id.clone(), dir: seat.dir.clone(), persistent: seat.instance.persistent }
}

/// The keys of the locks, with the places they are for.
fn keys(mode: &Mode, manage: &Manage) -> Result<Vec<(String, Place)>> {
    match mode {
        Mode::Named(places) => {
            let key = |place: &Place| Ok((manage.info(&place.vm)?.uuid, place.clone()));
            places.iter().map(key).collect()
        }
        Mode::Clones { base, addresses } => {
            let place = |host: &String| Place { vm: base.clone(), host: host.clone() };
            Ok(addresses
                .iter()
                .map(|host| (format!("address-{}", host.replace('/', "-")), place(host)))
                .collect())
        }
    }
}

/// The first machine that nobody has; waits for one.
pub fn take(seat: &Seat, mode: &Mode, manage: &Manage) -> Result<Lease> {
    let name = &seat.instance.machine.name;
    let keys = keys(mode, manage)?;
    let until = seat.instance.wait_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut told = false;
    loop {
        let mut kept = Vec::new();
        for (key, place) in &keys {
            let Some(mut lease) = Lease::now(key, place)? else { continue };
            let other = lease.before.as_ref().filter(|before| before.persistent && **before != holder(seat));
            match other.filter(|other| other.dir.exists()) {
                Some(other) => kept.push(other.id.clone()),
                None => {
                    lease.note(Some(&holder(seat)))?;
                    return Ok(lease);
                }
            }
        }
        if kept.len() == keys.len() {
            return Err(Failure::unavailable(format!(
                "cannot open machine \"{name}\": it holds the state of a started machine"
            ))
            .detail("started", kept.join(", "))
            .hint(format!("vm-snapshot delete {} gives that state up", kept[0])));
        }
        if until.is_some_and(|until| Instant::now() > until) {
            return Err(Failure::try_again(format!(
                "cannot open machine \"{name}\": all {} machines of its pool are open",
                keys.len()
            )));
        }
        if !told {
            say::detail(format!("waiting for one of the {} machines of \"{name}\"", keys.len()));
            told = true;
        }
        keeper::caller_waits()?;
        sleep(Duration::from_millis(100));
    }
}

/// The lease of a machine that an instance had, to put it back; None: somebody else has it now.
pub fn again(seat: &Seat, key: &str, place: &Place) -> Option<Lease> {
    let lease = Lease::now(key, place).ok()??;
    (lease.before.as_ref() == Some(&holder(seat))).then_some(lease)
}

/// Refuses a machine that runs and is not a leftover of ours.
pub fn check_free(seat: &Seat, lease: &Lease, info: &Info) -> Result<()> {
    if !info.is_up() || lease.before.is_some() {
        return Ok(());
    }
    let (vm, state) = (&lease.place.vm, &info.state);
    Err(Failure::unavailable(format!(
        "cannot open machine \"{}\": \"{vm}\" is {state} already",
        seat.instance.machine.name
    ))
    .hint(format!(
        "it is in use by hand: switch it off in its window, or with VBoxManage controlvm {vm} poweroff"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(settings: &str) -> Result<Mode> {
        mode(&crate::state::store::example(&format!(r#"{{"name": "m", "driver": "virtualbox"{settings}}}"#)))
    }

    #[test]
    fn a_machine_is_a_name_a_list_or_a_base_of_clones() {
        let place = |vm: &str, host: &str| Place { vm: vm.into(), host: host.into() };
        assert_eq!(mode_of(r#","host":"h""#).unwrap(), Mode::Named(vec![place("m", "h")]));
        assert_eq!(mode_of(r#","host":"h","vm":"v""#).unwrap(), Mode::Named(vec![place("v", "h")]));
        assert_eq!(
            mode_of(r#","vms":[{"vm":"a","host":"1"},{"vm":"b","host":"2"}]"#).unwrap(),
            Mode::Named(vec![place("a", "1"), place("b", "2")])
        );
        assert_eq!(
            mode_of(r#","vm":"b","clones":["1","2"]"#).unwrap(),
            Mode::Clones { base: "b".into(), addresses: vec!["1".into(), "2".into()] }
        );
        for wrong in ["", r#","vms":[]"#, r#","vms":["a"]"#, r#","clones":[]"#, r#","clones":"1""#] {
            assert_eq!(mode_of(wrong).unwrap_err().exit, Exit::Data, "{wrong}");
        }
    }
}
