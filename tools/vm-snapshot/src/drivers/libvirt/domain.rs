//! A machine as libvirt describes it (XML), as data: read, written, made of an image, and asked.

use crate::drivers::setting;
use crate::drivers::vm::accel::Accel;
use crate::drivers::vm::boot::APPEND;
use crate::drivers::vm::{disk, file};
use crate::state::store::Seat;
use edge::{Failure, Result};
use std::path::PathBuf;
use xmltree::{Element, EmitterConfig, XMLNode};

/// A disk that a machine writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// As the machine sees it: `vda`.
    pub target: String,
    pub is_first: bool,
    /// Format of what it stands on.
    pub format: String,
    /// What it stands on without a snapshot.
    pub source: PathBuf,
}

impl Disk {
    /// Its name in the directory of an instance and in a layer.
    pub fn file_name(&self) -> String {
        if self.is_first { disk::DISK.to_owned() } else { format!("{}.qcow2", self.target) }
    }
}

pub(super) fn element(name: &str, attributes: &[(&str, &str)], children: Vec<Element>) -> Element {
    let mut element = Element::new(name);
    element.attributes = attributes.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    element.children = children.into_iter().map(XMLNode::Element).collect();
    element
}

pub(super) fn text(name: &str, attributes: &[(&str, &str)], text: &str) -> Element {
    let mut element = element(name, attributes, Vec::new());
    element.children.push(XMLNode::Text(text.to_owned()));
    element
}

pub(super) fn attribute<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.attributes.get(name).map(String::as_str)
}

pub(super) fn child_attribute<'a>(element: &'a Element, child: &str, name: &str) -> Option<&'a str> {
    attribute(element.get_child(child)?, name)
}

pub(super) fn remove(element: &mut Element, names: &[&str]) {
    element
        .children
        .retain(|node| node.as_element().is_none_or(|child| !names.contains(&child.name.as_str())));
}

/// Puts an element in the place of all of that name.
pub(super) fn put(element: &mut Element, child: Element) {
    remove(element, &[&child.name]);
    element.children.push(XMLNode::Element(child));
}

fn elements<'a>(element: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    element.children.iter().filter_map(XMLNode::as_element).filter(move |child| child.name == name)
}

/// Reads what `virsh dumpxml` printed.
pub fn parse(xml: &str) -> Result<Element> {
    Element::parse(xml.as_bytes())
        .map_err(|error| Failure::try_again(format!("cannot read the description of a domain: {error}")))
}

/// As libvirt reads it.
pub fn written(domain: &Element) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let config = EmitterConfig::new().perform_indent(true);
    domain.write_with_config(&mut bytes, config).map_err(|error| Failure::bug(error.to_string()))?;
    Ok(bytes)
}

/// The machine that the settings describe: a disk, a serial line, random numbers, and nothing that takes time to boot.
pub fn of_image(seat: &Seat, accel: Accel) -> Element {
    let path = |name: &str| file(seat, name).map(|path| path.to_string_lossy().into_owned());
    let mut os = vec![text("type", &[("arch", "x86_64"), ("machine", "q35")], "hvm")];
    if let Some(kernel) = path("kernel") {
        os.push(text("kernel", &[], &kernel));
        os.push(text("cmdline", &[], setting(seat, "append").unwrap_or(APPEND)));
    }
    if let Some(initrd) = path("initrd") {
        os.push(text("initrd", &[], &initrd));
    }
    // by places of their own, without bridges
    let place = |slot: &str| {
        let attributes =
            [("type", "pci"), ("domain", "0x0000"), ("bus", "0x00"), ("slot", slot), ("function", "0x0")];
        element("address", &attributes, Vec::new())
    };
    let source = path("image").unwrap_or_default();
    let of_disk = vec![
        element("driver", &[("name", "qemu"), ("type", "qcow2")], Vec::new()),
        element("source", &[("file", &source)], Vec::new()),
        element("target", &[("dev", "vda"), ("bus", "virtio")], Vec::new()),
        place("0x02"),
    ];
    let random = vec![text("backend", &[("model", "random")], "/dev/urandom"), place("0x03")];
    let devices = vec![
        element("disk", &[("type", "file"), ("device", "disk")], of_disk),
        element("controller", &[("type", "usb"), ("model", "none")], Vec::new()),
        element("serial", &[("type", "pty")], vec![element("target", &[("port", "0")], Vec::new())]),
        element("rng", &[("model", "virtio")], random),
        element("memballoon", &[("model", "none")], Vec::new()),
    ];
    let (kind, cpu) = match accel {
        Accel::Kvm => ("kvm", "host-passthrough"),
        Accel::Tcg => ("qemu", "maximum"),
    };
    let features = vec![
        element("acpi", &[], Vec::new()),
        element("apic", &[], Vec::new()),
        element("vmport", &[("state", "off")], Vec::new()),
    ];
    element(
        "domain",
        &[("type", kind)],
        vec![
            text("memory", &[("unit", "MiB")], &disk::memory_mb(seat).to_string()),
            text("vcpu", &[], &seat.instance.machine.cpus.max(1).to_string()),
            element("os", &[], os),
            element("features", &[], features),
            element("cpu", &[("mode", cpu)], Vec::new()),
            element("clock", &[("offset", "utc")], Vec::new()),
            element("devices", &[], devices),
        ],
    )
}

/// Whether a machine is to run under KVM.
pub fn wants_kvm(domain: &Element) -> bool {
    attribute(domain, "type") == Some("kvm")
}

/// Makes a machine one that does without KVM.
pub fn emulate(domain: &mut Element) {
    domain.attributes.insert("type".into(), "qemu".into());
    put(domain, element("cpu", &[("mode", "maximum")], Vec::new()));
    if let Some(features) = domain.get_mut_child("features") {
        remove(features, &["kvm", "hyperv", "pvspinlock", "pmu"]);
    }
    if let Some(clock) = domain.get_mut_child("clock") {
        clock.children.retain(|node| {
            let name = node.as_element().and_then(|timer| attribute(timer, "name"));
            !name.is_some_and(|name| ["kvmclock", "hypervclock", "tsc"].contains(&name))
        });
    }
}

/// Whether a device is a disk that is written to.
pub(super) fn is_written(device: &Element) -> bool {
    device.name == "disk"
        && matches!(attribute(device, "device"), None | Some("disk" | "lun"))
        && device.get_child("readonly").is_none()
}

/// The disks that a machine writes to, the first one first. Refuses what no copy-on-write disk can be made over.
pub fn disks(domain: &Element) -> Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for device in domain.get_child("devices").iter().flat_map(|devices| elements(devices, "disk")) {
        if !is_written(device) {
            continue;
        }
        let target = child_attribute(device, "target", "dev").unwrap_or_default().to_owned();
        let kind = attribute(device, "type").unwrap_or("file");
        let source = child_attribute(device, "source", if kind == "block" { "dev" } else { "file" });
        let (Some(source), "file" | "block") = (source, kind) else {
            return Err(Failure::unavailable(format!(
                "cannot clone disk \"{target}\" of the domain: it is no file and no block device"
            ))
            .detail("type", kind)
            .hint("virsh vol-path tells where a volume is: name that in the domain, as <disk type='file'>"));
        };
        let format = child_attribute(device, "driver", "type").unwrap_or("raw").to_owned();
        disks.push(Disk { target, is_first: disks.is_empty(), format, source: source.into() });
    }
    if disks.is_empty() {
        return Err(Failure::unavailable("cannot clone the domain: it has no disk"));
    }
    Ok(disks)
}

/// Where the variables of the firmware are that an instance writes to.
pub fn variables(domain: &Element) -> Option<PathBuf> {
    let file = domain.get_child("os")?.get_child("nvram")?.get_text()?.trim().to_owned();
    (!file.is_empty()).then(|| file.into())
}

/// Memory and processors, as they must be for the memory of a snapshot to fit.
pub fn size(domain: &Element) -> String {
    let memory = domain.get_child("memory");
    let number = memory.and_then(|memory| memory.get_text()).unwrap_or_default().trim().to_owned();
    let unit = memory.and_then(|memory| attribute(memory, "unit")).unwrap_or("KiB");
    let memory = match (unit, number.parse::<u64>()) {
        ("KiB", Ok(kib)) if kib % 1024 == 0 => format!("{} MiB", kib / 1024),
        _ => format!("{number} {unit}"),
    };
    let cpus = domain.get_child("vcpu").and_then(Element::get_text).unwrap_or("1".into());
    format!("{memory} and {} processors", cpus.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_a_machine_whose_names_are_escaped() {
        let seat = crate::state::store::example(
            r#"{"name": "m", "driver": "libvirt", "image": "a<b>&\"c.qcow2", "kernel": "k", "append": "x=\"1\" & y<z", "cpus": 2}"#,
        );
        let machine = of_image(&seat, Accel::Tcg);
        let xml = String::from_utf8(written(&machine).expect("written")).expect("UTF-8");
        assert!(xml.contains(r#"a&lt;b&gt;&amp;&quot;c.qcow2"#), "{xml}");
        assert_eq!(written(&parse(&xml).expect("read")).expect("written"), xml.into_bytes());
        let disk = Disk {
            target: "vda".into(),
            is_first: true,
            format: "qcow2".into(),
            source: "/doc/a<b>&\"c.qcow2".into(),
        };
        assert_eq!(disks(&machine).expect("disks"), [disk]);
        let os = machine.get_child("os").expect("os");
        assert_eq!(os.get_child("cmdline").and_then(Element::get_text).as_deref(), Some("x=\"1\" & y<z"));
        assert_eq!(size(&machine), "1024 MiB and 2 processors");
        assert!(!wants_kvm(&machine) && wants_kvm(&of_image(&seat, Accel::Kvm)));
    }

    #[test]
    fn a_machine_for_kvm_can_be_emulated() {
        let mut machine = parse(
            "<domain type='kvm'><cpu mode='host-passthrough'/><features><acpi/><kvm/><hyperv/></features>
             <clock offset='utc'><timer name='rtc'/><timer name='kvmclock'/></clock></domain>",
        )
        .expect("read");
        emulate(&mut machine);
        let xml = String::from_utf8(written(&machine).expect("written")).expect("UTF-8");
        assert!(!xml.contains("kvm") && !xml.contains("hyperv"), "{xml}");
        assert!(xml.contains("acpi") && xml.contains("rtc") && xml.contains("maximum"), "{xml}");
    }

    #[test]
    fn what_is_no_file_cannot_be_cloned() {
        let with =
            |disk: &str| disks(&parse(&format!("<domain><devices>{disk}</devices></domain>")).expect("read"));
        let file =
            with("<disk type='file'><source file='/b.raw'/><target dev='sda'/></disk>").expect("disks");
        assert_eq!((file[0].format.as_str(), file[0].file_name()), ("raw", disk::DISK.to_owned()));
        let block =
            with("<disk type='block'><source dev='/dev/b'/><target dev='sda'/></disk>").expect("disks");
        assert_eq!(block[0].source, PathBuf::from("/dev/b"));
        let volume = "<disk type='volume'><source pool='p' volume='v'/><target dev='sda'/></disk>";
        assert!(with(volume).expect_err("a volume").message.contains("\"sda\""));
        let none = "<disk type='file' device='cdrom'><source file='/c.iso'/><target dev='sda'/></disk>";
        assert!(with(none).expect_err("no disk").message.contains("no disk"));
    }
}
