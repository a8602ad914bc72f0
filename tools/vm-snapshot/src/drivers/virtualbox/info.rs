//! What VBoxManage tells about a machine, read from its `--machinereadable` form. That form quotes nothing: a name may hold
//! quotes, a description may hold lines; and before it comes a warning when the kernel module is not loaded.

use std::collections::BTreeMap;

/// A registered machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub name: String,
    pub uuid: String,
    /// `poweroff`, `aborted`, `saved`, `running`, `paused`, …
    pub state: String,
    pub memory_mb: u64,
    pub cpus: u64,
    pub nics: Vec<Nic>,
    /// Images of the disks as they are written now.
    pub disks: Vec<String>,
    pub settings_file: String,
    pub log_dir: String,
    /// In the order of the tree: a parent comes before its children.
    pub snapshots: Vec<Snap>,
}

/// A network adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// From 1.
    pub number: u32,
    /// `hostonly`, `nat`, `bridged`, `intnet`, …; never `none`.
    pub kind: String,
    /// Interface of the host, for `hostonly`.
    pub adapter: String,
    /// Twelve hexadecimal digits, lower case.
    pub mac: String,
}

/// A snapshot of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snap {
    pub name: String,
    pub uuid: String,
    pub parent: Option<String>,
}

/// Keys and values, in their order. A value may go on for several lines, up to one that ends with a quote.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let mut value = value.to_owned();
        while value.starts_with('"') && (value.len() < 2 || !value.ends_with('"')) {
            let Some(more) = lines.next() else { break };
            value.push('\n');
            value.push_str(more);
        }
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(&value);
        pairs.push((key.trim_matches('"').to_owned(), bare.to_owned()));
    }
    pairs
}

/// From `showvminfo --machinereadable`. None: that is none.
pub fn read(text: &str) -> Option<Info> {
    let pairs = pairs(text);
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in &pairs {
        first.entry(key).or_insert(value);
    }
    let get = |key: &str| first.get(key).map(|value| (*value).to_owned());
    let number = |key: &str| first.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
    let nics = (1..=36).filter_map(|at| {
        let kind = get(&format!("nic{at}")).filter(|kind| kind != "none")?;
        let adapter = get(&format!("hostonlyadapter{at}")).unwrap_or_default();
        let mac = get(&format!("macaddress{at}")).unwrap_or_default().to_lowercase();
        Some(Nic { number: at, kind, adapter, mac })
    });
    let is_disk = |key: &str, value: &str| {
        let mut parts = key.rsplitn(3, '-');
        let numbers = [parts.next(), parts.next()];
        let places = numbers.iter().all(|part| part.is_some_and(|part| part.parse::<u32>().is_ok()));
        places && parts.next().is_some() && value.starts_with('/')
    };
    Some(Info {
        name: get("name")?,
        uuid: get("UUID")?,
        state: get("VMState")?,
        memory_mb: number("memory"),
        cpus: number("cpus"),
        nics: nics.collect(),
        disks: pairs
            .iter()
            .filter(|(key, value)| is_disk(key, value))
            .map(|(_, value)| value.clone())
            .collect(),
        settings_file: get("CfgFile").unwrap_or_default(),
        log_dir: get("LogFldr").unwrap_or_default(),
        snapshots: snapshots(&pairs),
    })
}

/// `SnapshotName-1-2` is a child of `SnapshotName-1`; the key of its UUID ends likewise.
fn snapshots(pairs: &[(String, String)]) -> Vec<Snap> {
    let uuid = |place: &str| {
        let key = format!("SnapshotUUID{place}");
        pairs.iter().find(|(found, _)| *found == key).map(|(_, uuid)| uuid.clone())
    };
    let mut snapshots = Vec::new();
    for (key, name) in pairs {
        let Some(place) = key.strip_prefix("SnapshotName") else { continue };
        if let Some(own) = uuid(place) {
            let parent = place.rsplit_once('-').and_then(|(above, _)| uuid(above));
            snapshots.push(Snap { name: name.clone(), uuid: own, parent });
        }
    }
    snapshots
}

impl Info {
    /// Whether a process has the machine.
    pub fn is_up(&self) -> bool {
        !["poweroff", "aborted", "saved", "aborted-saved"].contains(&self.state.as_str())
    }

    /// Whether its memory is kept, so that it goes on instead of booting.
    pub fn has_memory(&self) -> bool {
        ["saved", "aborted-saved"].contains(&self.state.as_str())
    }

    /// The adapters that lead farther than to this host and other machines on it.
    pub fn ways_out(&self) -> Vec<u32> {
        let stays = |kind: &str| ["hostonly", "hostonlynetwork", "intnet", "null"].contains(&kind);
        self.nics.iter().filter(|nic| !stays(&nic.kind)).map(|nic| nic.number).collect()
    }

    /// The adapter to this host, with its interface.
    pub fn host_only(&self) -> Option<&Nic> {
        self.nics.iter().find(|nic| nic.kind == "hostonly")
    }

    /// Snapshots with this name or UUID.
    pub fn named(&self, name: &str) -> Vec<&Snap> {
        self.snapshots.iter().filter(|snap| snap.name == name || snap.uuid == name).collect()
    }

    pub fn children(&self, uuid: &str) -> Vec<&Snap> {
        self.snapshots.iter().filter(|snap| snap.parent.as_deref() == Some(uuid)).collect()
    }
}

/// Names and UUIDs from `list vms`: `"NAME" {UUID}` a line.
pub fn machines(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (name, uuid) = line.strip_prefix('"')?.rsplit_once("\" {")?;
        Some((name.to_owned(), uuid.strip_suffix('}')?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// When a snapshot was taken, from the settings file of its machine: RFC 3339, or nothing.
pub fn taken(settings: &str, uuid: &str) -> Option<String> {
    let from = settings.find(&format!("<Snapshot uuid=\"{{{uuid}}}\""))?;
    let tag = &settings[from..from + settings[from..].find('>')?];
    let time = tag.split_once("timeStamp=\"")?.1.split_once('"')?.0;
    Some(time.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "WARNING: The character device /dev/vboxdrv does not exist.\n\t Please install the virtualbox-dkms package and the appropriate\n\n\
        name=\"a=\"b\"\ngroups=\"/\"\nUUID=\"7b19\"\nCfgFile=\"/r/VirtualBox VMs/a/a.vbox\"\nmemory=1024\ncpus=2\nVMState=\"saved\"\n\
        \"SATA-0-0\"=\"/r/VirtualBox VMs/a/Snapshots/{cc}.vdi\"\n\"SATA-ImageUUID-0-0\"=\"cc\"\n\"IDE-1-0\"=\"emptydrive\"\n\
        hostonlyadapter1=\"vboxnet0\"\nmacaddress1=\"08002758C245\"\nnic1=\"hostonly\"\nnatnet2=\"nat\"\nmacaddress2=\"0800279D2B81\"\nnic2=\"nat\"\nnic3=\"none\"\n\
        SnapshotName=\"init\"\nSnapshotUUID=\"u1\"\nSnapshotDescription=\"two\nVMState=\"running\"\nSnapshotName-9=\"forged\"\nlines\"\n\
        SnapshotName-1=\"in\"it\"\nSnapshotUUID-1=\"u2\"\nSnapshotName-1-1=\"installed\"\nSnapshotUUID-1-1=\"u3\"\n\
        CurrentSnapshotName=\"init\"\nCurrentSnapshotUUID=\"u1\"\nGuestMemoryBalloon=0\n";

    #[test]
    fn a_machine_is_read_as_it_is_told() {
        let info = read(SHOWN).unwrap();
        assert_eq!((info.name.as_str(), info.uuid.as_str(), info.state.as_str()), ("a=\"b", "7b19", "saved"));
        assert_eq!((info.memory_mb, info.cpus), (1024, 2));
        assert!(info.has_memory() && !info.is_up());
        assert_eq!(info.disks, ["/r/VirtualBox VMs/a/Snapshots/{cc}.vdi"]);
        assert_eq!(info.ways_out(), [2]);
        let nic = info.host_only().unwrap();
        assert_eq!((nic.number, nic.adapter.as_str(), nic.mac.as_str()), (1, "vboxnet0", "08002758c245"));
        let told: Vec<(&str, &str, Option<&str>)> = info
            .snapshots
            .iter()
            .map(|snap| (snap.name.as_str(), snap.uuid.as_str(), snap.parent.as_deref()))
            .collect();
        assert_eq!(
            told,
            [("init", "u1", None), ("in\"it", "u2", Some("u1")), ("installed", "u3", Some("u2"))]
        );
        assert_eq!(info.named("u3"), info.named("installed"));
        assert_eq!(info.children("u1").len(), 1);
        assert_eq!(read("WARNING: no\n"), None);
    }

    #[test]
    fn names_of_machines_may_hold_anything() {
        let told = machines("WARNING: x\n\n\"racket\" {7b}\n\"a \"b\" {c}\" {d}\n<inaccessible> {e}\n");
        assert_eq!(told, [("racket".into(), "7b".into()), ("a \"b\" {c}".into(), "d".into())]);
    }

    #[test]
    fn the_time_of_a_snapshot_is_in_the_settings_file() {
        let settings = r#"<Snapshot uuid="{a}" name="x" timeStamp="2026-01-01T00:00:00Z"><Snapshot uuid="{b}" name="y">"#;
        assert_eq!(taken(settings, "a"), Some("2026-01-01T00:00:00Z".into()));
        assert_eq!(taken(settings, "b"), None);
    }
}
