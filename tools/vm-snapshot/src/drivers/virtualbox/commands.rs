//! Every command line of VBoxManage, as data.

use crate::state::store::Seat;
use contract::machines::Machine;
use std::path::Path;

pub type Words = Vec<String>;

fn words(list: &[&str]) -> Words {
    list.iter().map(|word| (*word).to_owned()).collect()
}

pub fn show(vm: &str) -> Words {
    words(&["showvminfo", vm, "--machinereadable"])
}

pub fn list_machines() -> Words {
    words(&["list", "vms"])
}

/// Without a window.
pub fn start(vm: &str) -> Words {
    words(&["startvm", vm, "--type", "headless"])
}

/// Pulls the plug: what was not synced is lost.
pub fn power_off(vm: &str) -> Words {
    words(&["controlvm", vm, "poweroff"])
}

/// Pulls the cable of a network adapter of a running machine.
pub fn cut(vm: &str, nic: u32) -> Words {
    words(&["controlvm", vm, &format!("setlinkstate{nic}"), "off"])
}

/// Of a running machine with its memory; `live`: without a pause.
pub fn take(vm: &str, name: &str, live: bool) -> Words {
    let mut take = words(&["snapshot", vm, "take", name, "--description", "taken by vm-snapshot"]);
    if live {
        take.push("--live".to_owned());
    }
    take
}

pub fn restore(vm: &str, uuid: &str) -> Words {
    words(&["snapshot", vm, "restore", uuid])
}

pub fn delete_snapshot(vm: &str, uuid: &str) -> Words {
    words(&["snapshot", vm, "delete", uuid])
}

pub fn rename_snapshot(vm: &str, uuid: &str, name: &str) -> Words {
    words(&["snapshot", vm, "edit", uuid, "--name", name])
}

/// Memory and processors, as far as they are to be other ones. None: nothing is.
pub fn resize(vm: &str, wanted: &Machine, has: (u64, u64)) -> Option<Words> {
    let mut resize = words(&["modifyvm", vm]);
    let numbers = [("--memory", wanted.memory_mb, has.0), ("--cpus", u64::from(wanted.cpus), has.1)];
    for (option, wanted, has) in numbers {
        if wanted > 0 && wanted != has {
            resize.extend([option.to_owned(), wanted.to_string()]);
        }
    }
    (resize.len() > 2).then_some(resize)
}

/// A machine on copy-on-write disks over a snapshot of another.
pub fn clone(vm: &str, snapshot: &str, name: &str) -> Words {
    words(&["clonevm", vm, "--snapshot", snapshot, "--options", "link", "--name", name, "--register"])
}

pub fn rename(vm: &str, name: &str) -> Words {
    words(&["modifyvm", vm, "--name", name])
}

/// Removes a machine with its disks. Where another machine is based on one of them, VirtualBox says so, keeps the disks, and
/// forgets the machine all the same: never to be tried on such a machine.
pub fn remove(vm: &str) -> Words {
    words(&["unregistervm", vm, "--delete"])
}

/// The DHCP server of a host-only network gives a machine always this address.
pub fn fix_address(adapter: &str, vm: &str, nic: u32, address: &str) -> Words {
    let mut fix = dhcp(adapter, vm, nic);
    fix.push(format!("--fixed-address={address}"));
    fix
}

pub fn free_address(adapter: &str, vm: &str, nic: u32) -> Words {
    let mut free = dhcp(adapter, vm, nic);
    free.push("--remove-config".to_owned());
    free
}

fn dhcp(adapter: &str, vm: &str, nic: u32) -> Words {
    let network = format!("--network=HostInterfaceNetworking-{adapter}");
    words(&["dhcpserver", "modify", &network, &format!("--vm={vm}"), &format!("--nic={nic}")])
}

/// How a machine is made of a disk image or an appliance.
#[derive(Debug, PartialEq, Eq)]
pub struct Making {
    /// Commands of VBoxManage, in order; the first makes something that `undo` removes.
    pub commands: Vec<Words>,
    /// What turns the image into a disk that VirtualBox can use, where VBoxManage cannot: a program and its arguments.
    pub convert: Option<Words>,
    /// To be done when a later command fails.
    pub undo: Vec<Words>,
}

/// What the host-only adapter and the kind of guest are called when the document does not say.
pub const ADAPTER: &str = "vboxnet0";
const OS_TYPE: &str = "Linux_64";

/// Makes the machine `vm` from `image`, with its disk at `disk`, one host-only adapter, and the snapshot `init`.
pub fn make(seat: &Seat, vm: &str, image: &Path, disk: &Path, init: &str) -> Making {
    let machine = &seat.instance.machine;
    let setting = |name: &str, usual: &str| crate::drivers::setting(seat, name).unwrap_or(usual).to_owned();
    let (from, to) = (image.display().to_string(), disk.display().to_string());
    let kind = image.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut commands = Vec::new();
    let mut convert = None;
    let mut undo = vec![remove(vm)];
    if ["ova", "ovf"].contains(&kind.as_str()) {
        commands.push(words(&["import", &from, "--vsys", "0", "--vmname", vm]));
    } else {
        commands.push(words(&[
            "createvm",
            "--name",
            vm,
            "--ostype",
            &setting("os_type", OS_TYPE),
            "--register",
        ]));
        match kind.as_str() {
            // VirtualBox reads version 1 of qcow2 only
            "qcow2" => convert = Some(words(&["qemu-img", "convert", "-O", "vdi", &from, &to])),
            "raw" | "img" => commands.push(words(&["convertfromraw", &from, &to, "--format", "VDI"])),
            _ => commands.push(words(&["clonemedium", "disk", &from, &to, "--format", "VDI"])),
        }
        commands.push(words(&["storagectl", vm, "--name", "SATA", "--add", "sata", "--portcount", "1"]));
        let attach = ["storageattach", vm, "--storagectl", "SATA", "--port", "0", "--device", "0"];
        commands.push([&words(&attach)[..], &words(&["--type", "hdd", "--medium", &to])].concat());
        undo.push(words(&["closemedium", "disk", &to, "--delete"]));
    }
    commands.push(words(&[
        "modifyvm",
        vm,
        "--nic1",
        "hostonly",
        "--hostonlyadapter1",
        &setting("adapter", ADAPTER),
    ]));
    commands.extend(resize(vm, machine, (0, 0)));
    commands.push(take(vm, init, false));
    Making { commands, convert, undo }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &Words) -> String {
        words.join(" ")
    }

    fn seat() -> Seat {
        crate::state::store::example(r#"{"name": "m", "driver": "virtualbox", "memory_mb": 2048, "cpus": 2}"#)
    }

    #[test]
    fn only_what_differs_is_resized() {
        let machine = seat().instance.machine;
        let resized = |has| resize("m", &machine, has).map(|words| line(&words));
        assert_eq!(resized((2048, 2)), None);
        assert_eq!(resized((1024, 2)), Some("modifyvm m --memory 2048".into()));
        assert_eq!(resized((1024, 1)), Some("modifyvm m --memory 2048 --cpus 2".into()));
    }

    #[test]
    fn an_instance_is_a_linked_clone_with_an_address_of_its_own() {
        assert_eq!(
            line(&clone("b", "u-u", "m-1")),
            "clonevm b --snapshot u-u --options link --name m-1 --register"
        );
        assert_eq!(
            line(&fix_address("vboxnet0", "m-1", 2, "192.168.56.10")),
            "dhcpserver modify --network=HostInterfaceNetworking-vboxnet0 --vm=m-1 --nic=2 --fixed-address=192.168.56.10"
        );
    }

    #[test]
    fn a_machine_is_made_of_any_image() {
        let made = |image: &str| make(&seat(), "vm", Path::new(image), Path::new("/vms/vm.vdi"), "init");
        let lines = |making: &Making| making.commands.iter().map(line).collect::<Vec<String>>();
        assert_eq!(
            lines(&made("/i/base.vmdk")),
            [
                "createvm --name vm --ostype Linux_64 --register",
                "clonemedium disk /i/base.vmdk /vms/vm.vdi --format VDI",
                "storagectl vm --name SATA --add sata --portcount 1",
                "storageattach vm --storagectl SATA --port 0 --device 0 --type hdd --medium /vms/vm.vdi",
                "modifyvm vm --nic1 hostonly --hostonlyadapter1 vboxnet0",
                "modifyvm vm --memory 2048 --cpus 2",
                "snapshot vm take init --description taken by vm-snapshot",
            ]
        );
        assert_eq!(lines(&made("/i/x.OVA"))[0], "import /i/x.OVA --vsys 0 --vmname vm");
        assert_eq!(lines(&made("/i/x.raw"))[1], "convertfromraw /i/x.raw /vms/vm.vdi --format VDI");
        let qcow2 = made("/i/x.qcow2");
        assert_eq!(
            qcow2.convert.as_ref().map(line),
            Some("qemu-img convert -O vdi /i/x.qcow2 /vms/vm.vdi".into())
        );
        assert_eq!(qcow2.commands.len(), 6);
        assert_eq!(
            qcow2.undo.iter().map(line).collect::<Vec<_>>(),
            ["unregistervm vm --delete", "closemedium disk /vms/vm.vdi --delete"]
        );
    }
}
