//! What a virtual machine is started with, as data: the whole command line.

use crate::drivers::setting;
use crate::drivers::vm::accel::Accel;
use crate::drivers::vm::agent;
use crate::drivers::vm::boot::{APPEND, netdev};
use crate::drivers::vm::disk::{memory, memory_mb};
use crate::drivers::vm::file;
use crate::state::store::Seat;
use std::ffi::OsString;
use std::path::PathBuf;

/// For an emulated machine: see `FLAT` of [`boot`](crate::drivers::vm::boot).
const APPEND_EMULATED: &str = " norandmaps";

/// Ports of this host that lead into a machine.
#[derive(Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) ssh: u16,
    pub(super) agent: u16,
}

/// A file that holds the memory of a machine.
pub(super) struct Ram {
    pub(super) file: PathBuf,
    /// Whether what the machine writes goes into the file.
    pub(super) shared: bool,
}

/// The memory itself of the snapshot that an instance stands on, where it is a file of its own.
pub(super) fn ram(seat: &Seat) -> Option<Ram> {
    let file = memory(seat)?.with_file_name("ram");
    file.exists().then_some(Ram { file, shared: false })
}

/// The whole command line. The working directory of qemu is that of the instance.
pub(super) fn qemu_args(seat: &Seat, ports: Ports, accel: Accel, ram: Option<&Ram>) -> Vec<OsString> {
    let machine = &seat.instance.machine;
    let mut args: Vec<OsString> = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        &format!("q35,usb=off,vmport=off,smbus=off,sata=off,accel={}", accel.name()),
        "-cpu",
        if accel == Accel::Kvm { "host" } else { "max" },
        "-m",
        &format!("{}M", memory_mb(seat)),
        "-smp",
        &machine.cpus.max(1).to_string(),
        // no fsync: nobody needs the disk of an instance after a crash of the host
        "-drive",
        "file=disk.qcow2,if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap",
        "-device",
        "virtio-blk-pci,drive=disk",
        "-netdev",
        &format!("{},hostfwd=tcp:127.0.0.1:{}-:{}", netdev(seat, ports.ssh), ports.agent, agent::PORT),
        "-device",
        "virtio-net-pci,netdev=net,romfile=",
        "-device",
        "virtio-rng-pci",
        "-serial",
        "file:console",
        "-serial",
        &format!("unix:{},server=on,wait=off", agent::LINE),
        "-qmp",
        "unix:qmp,server=on,wait=off",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    let mut option = |name: &str, value: OsString| args.extend([name.into(), value]);
    if let Some(kernel) = file(seat, "kernel") {
        option("-kernel", kernel.into());
        let emulated = if accel == Accel::Tcg { APPEND_EMULATED } else { "" };
        let append = setting(seat, "append").map_or_else(|| format!("{APPEND}{emulated}"), str::to_owned);
        option("-append", append.into());
    }
    if let Some(initrd) = file(seat, "initrd") {
        option("-initrd", initrd.into());
    }
    if let Some(seed) = file(seat, "seed") {
        // a directory becomes the file system that cloud-init looks for
        let mut drive = OsString::from("if=none,id=seed,readonly=on,");
        drive.push(if seed.is_dir() { "driver=vvfat,label=CIDATA,dir=" } else { "format=raw,file=" });
        drive.push(seed.to_string_lossy().replace(',', ",,"));
        option("-drive", drive);
        option("-device", "virtio-blk-pci,drive=seed".into());
    }
    if let Some(ram) = ram {
        // by the name that memory has without a file, because that is how it is called in a snapshot
        let mut object = OsString::from(format!(
            "memory-backend-file,id=pc.ram,size={}M,share={},mem-path=",
            memory_mb(seat),
            if ram.shared { "on" } else { "off" }
        ));
        object.push(ram.file.to_string_lossy().replace(',', ",,"));
        option("-object", object);
        option("-machine", "memory-backend=pc.ram".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::vm::disk;

    #[test]
    fn the_command_line_cuts_the_network_and_spares_the_disk() {
        let seat = crate::state::store::example(
            r#"{"name": "m", "driver": "qemu", "image": "base.qcow2", "kernel": "k", "identity": "key", "cpus": 2}"#,
        );
        let args: Vec<String> = qemu_args(&seat, Ports { ssh: 2222, agent: 2223 }, Accel::Tcg, None)
            .iter()
            .map(|arg| arg.display().to_string())
            .collect();
        let after = |name: &str| {
            let at = args.iter().position(|arg| arg == name).expect("an option");
            args[at + 1].clone()
        };
        assert_eq!(
            after("-netdev"),
            "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:2223-:49222"
        );
        assert_eq!(
            (after("-m"), after("-smp"), after("-kernel")),
            ("1024M".into(), "2".into(), "/doc/k".into())
        );
        assert!(after("-drive").contains("cache=unsafe"));
        assert!(after("-machine").contains("accel=tcg"));
        let ram = Ram { file: "/layer,1/ram".into(), shared: false };
        let private = qemu_args(&seat, Ports::default(), Accel::Tcg, Some(&ram));
        let object = "memory-backend-file,id=pc.ram,size=1024M,share=off,mem-path=/layer,,1/ram";
        assert!(private.iter().any(|arg| arg == object), "{private:?}");
        assert_eq!(disk::base(&seat), Some("/state/machines/m/layers/new/disk.qcow2".into()));
        assert_eq!(disk::size(&seat), "1024 MiB and 2 processors");
    }
}
