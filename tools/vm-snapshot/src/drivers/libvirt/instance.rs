//! The description of an instance, made of that of its machine: as data.

use super::domain::{Disk, attribute, child_attribute, element, is_written, put, remove, text, variables};
use super::memory::VARIABLES;
use crate::drivers::vm::boot::netdev;
use crate::state::store::Seat;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use xmltree::{Element, Namespace, XMLNode};

/// Namespace of what libvirt hands to QEMU as it is.
const QEMU: &str = "http://libvirt.org/schemas/domain/qemu/1.0";
/// Slot of the network adapter in a machine that has had none: libvirt counts from the other end.
const ADAPTER_SLOT: u32 = 0x10;

/// What an instance is made with, besides the description of its machine.
#[derive(Clone, Debug)]
pub struct Way {
    /// Of this host, where ssh gets in.
    pub port: u16,
    /// Its memory comes from a snapshot.
    pub waits_for_memory: bool,
}

/// Name of an instance in libvirt.
pub fn name(seat: &Seat) -> String {
    format!("vm-snapshot-{}", seat.tag())
}

/// UUID of an instance in libvirt: it is that of nobody else, so that what is ended by it is the instance.
pub fn uuid(seat: &Seat) -> String {
    let digest = Sha256::digest(seat.dir.as_os_str().as_bytes());
    let mut bytes: Vec<u8> = digest.iter().take(16).copied().collect();
    // version 8 is for those of one's own making
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Gives a machine the memory and the processors that the document says, where it does.
fn resize(seat: &Seat, domain: &mut Element) {
    let machine = &seat.instance.machine;
    if machine.memory_mb > 0 {
        remove(domain, &["currentMemory", "maxMemory", "memtune"]);
        put(domain, text("memory", &[("unit", "MiB")], &machine.memory_mb.to_string()));
    }
    let cpus = machine.cpus.to_string();
    if machine.cpus > 0 && domain.get_child("vcpu").and_then(Element::get_text).as_deref() != Some(&cpus) {
        remove(domain, &["vcpus", "cputune", "numatune"]);
        put(domain, text("vcpu", &[], &cpus));
        if let Some(cpu) = domain.get_mut_child("cpu") {
            remove(cpu, &["topology", "numa"]);
        }
    }
}

/// A disk of an instance in the place of one of its machine. No fsync: nobody needs it after a crash of the host.
fn over(device: &mut Element, file: &str) {
    device.attributes.insert("type".into(), "file".into());
    remove(device, &["source", "backingStore", "mirror"]);
    let mut driver = device.take_child("driver").unwrap_or_else(|| Element::new("driver"));
    driver.attributes.remove("io");
    for (key, value) in [("name", "qemu"), ("type", "qcow2"), ("cache", "unsafe"), ("discard", "unmap")] {
        driver.attributes.insert(key.into(), value.into());
    }
    put(device, driver);
    put(device, element("source", &[("file", file)], Vec::new()));
}

/// The network adapter as an option of QEMU: that of the machine, in its place and with its address, so that the system
/// inside knows it again. Like the devices of libvirt in JSON: QEMU plugs all others in before, when the bridges of libvirt
/// are not there yet.
fn adapter(domain: &Element, was: Option<&Element>) -> String {
    let machine =
        domain.get_child("os").and_then(|os| child_attribute(os, "type", "machine")).unwrap_or_default();
    let root = if machine.contains("q35") { "pcie.0" } else { "pci.0" };
    let model = match was.and_then(|was| child_attribute(was, "model", "type")) {
        None if was.is_some() => "rtl8139",
        None | Some("virtio") => "virtio-net-pci",
        Some(other) => other,
    };
    let number = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let address = was.and_then(|was| was.get_child("address"));
    let address = address.filter(|address| attribute(address, "type") == Some("pci"));
    let place = address.and_then(|address| {
        let part = |name: &str| number(attribute(address, name).unwrap_or("0"));
        Some((part("bus")?, part("slot")?, part("function")?))
    });
    let (bus, slot, function) = place.unwrap_or((0, ADAPTER_SLOT, 0));
    let bus = if bus == 0 { root.to_owned() } else { format!("pci.{bus}") };
    let mut option = json!({"driver": model, "netdev": "net", "romfile": "", "bus": bus,
        "addr": format!("{slot:#x}.{function:#x}")});
    if let Some(mac) = was.and_then(|was| child_attribute(was, "mac", "address")) {
        option["mac"] = mac.into();
    }
    option.to_string()
}

/// Hands options to QEMU as they are.
fn hand_over(domain: &mut Element, options: &[String]) {
    let mut names = domain.namespaces.take().unwrap_or_else(Namespace::empty);
    names.put("qemu", QEMU);
    domain.namespaces = Some(names);
    let of_qemu = |name: &str| Element {
        prefix: Some("qemu".into()),
        namespace: Some(QEMU.into()),
        ..Element::new(name)
    };
    let mut line = domain.take_child("commandline").unwrap_or_else(|| of_qemu("commandline"));
    for option in options {
        let mut arg = of_qemu("arg");
        arg.attributes.insert("value".into(), option.clone());
        line.children.push(XMLNode::Element(arg));
    }
    put(domain, line);
}

/// What would be in the way of another machine of the same description.
fn make_single(seat: &Seat, devices: &mut Element) {
    remove(devices, &["interface", "console"]);
    let in_instance = |name: &str| seat.dir.join(name).to_string_lossy().into_owned();
    let mut is_first = (true, true);
    for device in devices.children.iter_mut().filter_map(XMLNode::as_mut_element) {
        match device.name.as_str() {
            "disk" if is_written(device) => {
                let target = child_attribute(device, "target", "dev").unwrap_or_default().to_owned();
                let disk =
                    Disk { target, is_first: is_first.0, format: String::new(), source: PathBuf::new() };
                is_first.0 = false;
                over(device, &in_instance(&disk.file_name()));
            }
            "serial" if is_first.1 => {
                is_first.1 = false;
                device.attributes.insert("type".into(), "file".into());
                remove(device, &["source", "protocol", "alias", "log"]);
                put(device, element("source", &[("path", &in_instance("console"))], Vec::new()));
            }
            "channel" | "serial" | "parallel" => remove(device, &["source"]),
            "graphics" => {
                device
                    .attributes
                    .retain(|key, _| !["port", "tlsPort", "websocket", "socket"].contains(&key.as_str()));
                device.attributes.insert("autoport".into(), "yes".into());
            }
            _ => {}
        }
    }
}

/// The description of an instance of a machine: its name, its disks, its network, and nothing that another could have.
pub fn instance(seat: &Seat, machine: &Element, way: &Way) -> Element {
    let mut domain = machine.clone();
    domain.attributes.remove("id");
    remove(&mut domain, &["title", "description", "metadata", "seclabel"]);
    for end in ["on_poweroff", "on_reboot", "on_crash"] {
        put(&mut domain, text(end, &[], "destroy"));
    }
    put(&mut domain, text("name", &[], &name(seat)));
    put(&mut domain, text("uuid", &[], &uuid(seat)));
    if domain.get_child("genid").is_some() {
        put(&mut domain, Element::new("genid"));
    }
    if variables(&domain).is_some()
        && let Some(nvram) = domain.get_mut_child("os").and_then(|os| os.get_mut_child("nvram"))
    {
        let own = seat.dir.join(VARIABLES).to_string_lossy().into_owned();
        nvram.children = vec![XMLNode::Text(own)];
    }
    resize(seat, &mut domain);
    let was = domain.get_child("devices").and_then(|devices| devices.get_child("interface")).cloned();
    let mut options = vec!["-netdev".into(), netdev(seat, way.port)];
    options.extend(["-device".into(), adapter(&domain, was.as_ref())]);
    if way.waits_for_memory {
        options.extend(["-incoming".into(), "defer".into()]);
    }
    hand_over(&mut domain, &options);
    if let Some(devices) = domain.get_mut_child("devices") {
        make_single(seat, devices);
    }
    domain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::libvirt::domain::{disks, of_image, parse, written};
    use crate::drivers::vm::accel::Accel;

    fn of(settings: &str, machine: &Element, way: &Way) -> String {
        let seat = crate::state::store::example(&format!(
            r#"{{"name": "m", "driver": "libvirt", "image": "i", {settings}}}"#
        ));
        String::from_utf8(written(&instance(&seat, machine, way)).expect("written")).expect("UTF-8")
    }

    const BOOTS: Way = Way { port: 2222, waits_for_memory: false };

    #[test]
    fn an_instance_of_an_image_has_its_own_name_disk_and_network() {
        let seat = crate::state::store::example(r#"{"name": "m", "driver": "libvirt", "image": "i"}"#);
        let machine = of_image(&seat, Accel::Tcg);
        let xml = of(r#""cpus": 2, "memory_mb": 700"#, &machine, &BOOTS);
        for part in [
            "<name>vm-snapshot-m-1</name>",
            &format!("<uuid>{}</uuid>", uuid(&seat)),
            "<memory unit=\"MiB\">700</memory>",
            "<vcpu>2</vcpu>",
            "<source file=\"/state/instances/m-1/disk.qcow2\"",
            "cache=\"unsafe\"",
            "<source path=\"/state/instances/m-1/console\"",
            "xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\"",
            "<qemu:arg value=\"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22\"",
            r#"{&quot;driver&quot;:&quot;virtio-net-pci&quot;,&quot;netdev&quot;:&quot;net&quot;,&quot;romfile&quot;:&quot;&quot;,&quot;bus&quot;:&quot;pcie.0&quot;,&quot;addr&quot;:&quot;0x10.0x0&quot;}"#,
            "<on_reboot>destroy</on_reboot>",
        ] {
            assert!(xml.contains(part), "{part:?} is not in {xml}");
        }
        assert!(!xml.contains("incoming"));
        let xml = of(r#""network": "host""#, &machine, &Way { waits_for_memory: true, ..BOOTS });
        assert!(xml.contains("restrict=off") && xml.contains("\"-incoming\""), "{xml}");
    }

    #[test]
    fn the_uuid_belongs_to_the_place() {
        let mut seat = crate::state::store::example(r#"{"name": "m", "driver": "libvirt"}"#);
        let first = uuid(&seat);
        assert_eq!((first.len(), first.as_bytes()[14], first.matches('-').count()), (36, b'8', 4));
        assert_eq!(uuid(&seat), first);
        seat.dir.push("other");
        assert_ne!(uuid(&seat), first);
    }

    /// As `virsh dumpxml` tells of a machine made by virt-install.
    const DEFINED: &str = r#"<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
        <name>debian</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>
        <metadata><x:os xmlns:x='urn:x' id='d'/></metadata>
        <memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>1048576</currentMemory>
        <vcpu placement='static' current='1'>4</vcpu>
        <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/var/lib/libvirt/qemu/nvram/debian.fd</nvram></os>
        <cpu mode='host-model'><topology sockets='1' cores='4' threads='1'/></cpu>
        <on_reboot>restart</on_reboot>
        <devices>
          <disk type='file' device='disk'><driver name='qemu' type='qcow2' io='native' cache='none'/><source file='/pool/debian.qcow2'/>
            <backingStore/><target dev='vda' bus='virtio'/><address type='pci' bus='0x03' slot='0x00' function='0x0'/></disk>
          <disk type='file' device='cdrom'><source file='/pool/install.iso'/><target dev='sda'/><readonly/></disk>
          <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/pool/data.raw'/><target dev='vdb'/></disk>
          <interface type='network'><mac address='52:54:00:11:22:33'/><source network='default'/><model type='virtio'/>
            <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></interface>
          <interface type='bridge'><mac address='52:54:00:11:22:34'/><source bridge='br0'/></interface>
          <serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>
          <channel type='unix'><source mode='bind' path='/run/qga'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
          <graphics type='vnc' port='5900' autoport='no'/>
        </devices>
        <qemu:commandline><qemu:arg value='-s'/></qemu:commandline>
    </domain>"#;

    #[test]
    fn a_clone_of_a_domain_keeps_its_hardware_and_nothing_that_only_one_can_have() {
        let machine = parse(DEFINED).expect("read");
        let sources: Vec<PathBuf> =
            disks(&machine).expect("disks").into_iter().map(|disk| disk.source).collect();
        assert_eq!(sources, ["/pool/debian.qcow2", "/pool/data.raw"].map(PathBuf::from));
        let xml = of(r#""cpus": 0"#, &machine, &BOOTS);
        for part in [
            "<memory unit=\"KiB\">2097152</memory>",
            "cores=\"4\"",
            "<source file=\"/state/instances/m-1/disk.qcow2\"",
            "<source file=\"/state/instances/m-1/vdb.qcow2\"",
            "<source file=\"/pool/install.iso\"",
            "<nvram>/state/instances/m-1/variables</nvram>",
            "<qemu:arg value=\"-s\"",
            "&quot;bus&quot;:&quot;pci.1&quot;,&quot;addr&quot;:&quot;0x0.0x0&quot;,&quot;mac&quot;:&quot;52:54:00:11:22:33&quot;",
            "autoport=\"yes\"",
            "<target name=\"org.qemu.guest_agent.0\"",
            "bus=\"0x03\"",
        ] {
            assert!(xml.contains(part), "{part:?} is not in {xml}");
        }
        for gone in [
            "debian",
            "c7a5",
            "native",
            "/pool/data",
            "interface",
            "br0",
            "/run/qga",
            "5900",
            "restart",
            "pty",
        ] {
            assert!(!xml.contains(gone), "{gone:?} is in {xml}");
        }
        let small = of(r#""cpus": 1, "memory_mb": 512"#, &machine, &BOOTS);
        assert!(
            small.contains("<vcpu>1</vcpu>") && !small.contains("cores") && !small.contains("currentMemory")
        );
    }
}
