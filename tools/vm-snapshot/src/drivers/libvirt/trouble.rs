//! What virsh says when it cannot, told as a person can act on it. One row for each way to fail.

use edge::{Exit, Failure};

/// What virsh says (all parts of it, where there is a `…`), whether it passes by itself, what to do about it. The first row
/// that is found counts: virsh often says more than one thing.
const TROUBLES: [(&str, Exit, &str); 22] = [
    (
        "no connection driver available",
        Exit::Unavailable,
        "the setting \"uri\" must be qemu:///session or qemu:///system, and libvirt be installed with its driver for QEMU (libvirt-daemon-system)",
    ),
    ("QEMU URI path", Exit::Unavailable, "the setting \"uri\" must be qemu:///session or qemu:///system"),
    (
        "Unable to parse URI",
        Exit::Unavailable,
        "the setting \"uri\" must be qemu:///session or qemu:///system",
    ),
    (
        "Failed to find user record",
        Exit::Unavailable,
        "libvirt runs for users that have a name only: getent passwd $(id -u) must find one",
    ),
    (
        "authentication unavailable",
        Exit::Unavailable,
        "whoever is in the group libvirt may use qemu:///system (sudo adduser NAME libvirt, then log in again); qemu:///session needs no permission",
    ),
    (
        "uthentication failed",
        Exit::Unavailable,
        "whoever is in the group libvirt may use qemu:///system (sudo adduser NAME libvirt, then log in again); qemu:///session needs no permission",
    ),
    (
        "Failed to connect socket to…Permission denied",
        Exit::Unavailable,
        "whoever is in the group libvirt may use qemu:///system (sudo adduser NAME libvirt, then log in again); qemu:///session needs no permission",
    ),
    (
        "Failed to connect socket to",
        Exit::Unavailable,
        "libvirtd does not run there: for qemu:///system sudo systemctl start libvirtd; for qemu:///session see that libvirtd is installed (libvirt-daemon-system) and XDG_RUNTIME_DIR is yours",
    ),
    ("Cannot find 'libvirtd'", Exit::Unavailable, "install libvirt-daemon-system"),
    (
        "Domain not found",
        Exit::Unavailable,
        "virsh -c URI list --all shows the domains there are; the setting \"domain\" must name one, by name or UUID",
    ),
    (
        "failed to get domain",
        Exit::Unavailable,
        "virsh -c URI list --all shows the domains there are; the setting \"domain\" must name one, by name or UUID",
    ),
    (
        "already exists with uuid",
        Exit::Unavailable,
        "another state directory may have a machine of this name that runs: see virsh -c URI list --all, and rename one of the two",
    ),
    ("already active", Exit::TryAgain, "it is what was left of another: vm-snapshot prune"),
    (
        "Permission denied",
        Exit::Unavailable,
        "the user that QEMU runs as (with qemu:///system libvirt-qemu) must be able to read the images and to enter the state directory and all above it: chmod o+x them, or see --state-dir",
    ),
    (
        "\"write\" lock",
        Exit::Unavailable,
        "something else writes to that disk: a machine that others are made of must be shut off, and stay so",
    ),
    ("Unable to find any emulator", Exit::Unavailable, "install qemu-system-x86"),
    ("does not support virt type", Exit::Unavailable, "the setting \"accel\": \"tcg\" does without KVM"),
    (
        "unsupported machine type",
        Exit::Unavailable,
        "this version of QEMU has no such machine: see virsh -c URI domcapabilities",
    ),
    ("Could not set up host forwarding rule", Exit::TryAgain, "another took the port: it passes"),
    ("annot allocate memory", Exit::TryAgain, "close other instances, or see the setting \"memory_mb\""),
    ("End of file while reading data", Exit::TryAgain, "libvirtd ended meanwhile: its log says why"),
    ("onnection reset by peer", Exit::TryAgain, "libvirtd ended meanwhile: its log says why"),
];

/// From all that virsh said. `action` begins the message: `cannot open machine "m"`.
pub fn explain(action: &str, uri: &str, said: &str) -> Failure {
    let lines: Vec<&str> = said.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let known = TROUBLES.iter().find(|(text, ..)| text.split('…').all(|part| said.contains(part)));
    let exit = known.map_or(Exit::TryAgain, |(_, exit, _)| *exit);
    let telling =
        |line: &&&str| known.is_some_and(|(text, ..)| text.split('…').all(|part| line.contains(part)));
    let cause = lines.iter().find(telling).or(lines.last()).copied().unwrap_or("virsh does not say why");
    let failure = Failure::new(exit, format!("{action}: {cause}")).detail("uri", uri);
    let failure = match lines.iter().filter(|line| **line != cause).copied().collect::<Vec<&str>>() {
        rest if rest.is_empty() => failure,
        rest => failure.detail("virsh", rest.join("\n")),
    };
    match known {
        Some((_, _, hint)) => failure.hint(hint.replace("URI", uri)),
        None => failure,
    }
}

/// A line of virsh without what is the same in all.
fn plain(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    line.strip_prefix("operation failed: ").unwrap_or(line).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As virsh 9.0 says it.
    const SAID: [(&str, Exit, &str, &str); 10] = [
        (
            "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied\n",
            Exit::Unavailable,
            "Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied",
            "group libvirt",
        ),
        (
            "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory\n",
            Exit::Unavailable,
            "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
            "libvirtd does not run there",
        ),
        (
            "error: failed to connect to the hypervisor\nerror: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'\n",
            Exit::Unavailable,
            "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
            "group libvirt",
        ),
        (
            "error: failed to connect to the hypervisor\nerror: no connection driver available for xen:///system\n",
            Exit::Unavailable,
            "no connection driver available for xen:///system",
            "setting \"uri\"",
        ),
        (
            "error: failed to get domain 'x'\nerror: Domain not found: no domain with matching name 'x'\n",
            Exit::Unavailable,
            "Domain not found: no domain with matching name 'x'",
            "virsh -c qemu:///session list --all",
        ),
        (
            "error: Failed to create domain from d.xml\nerror: operation failed: domain 'vm' already exists with uuid 11111111-2222-4333-8444-555555555555\n",
            Exit::Unavailable,
            "domain 'vm' already exists with uuid 11111111-2222-4333-8444-555555555555",
            "rename one",
        ),
        (
            "error: Failed to create domain from d.xml\nerror: Cannot access storage file '/home/u/disk' (as uid:64055, gid:106): Permission denied\n",
            Exit::Unavailable,
            "Cannot access storage file '/home/u/disk' (as uid:64055, gid:106): Permission denied",
            "chmod o+x",
        ),
        (
            "error: Disconnected from qemu:///session due to end of file\nerror: End of file while reading data: Input/output error\n",
            Exit::TryAgain,
            "End of file while reading data: Input/output error",
            "libvirtd ended",
        ),
        ("error: something new\n", Exit::TryAgain, "something new", ""),
        ("", Exit::TryAgain, "virsh does not say why", ""),
    ];

    #[test]
    fn each_way_to_fail_has_its_own_advice() {
        for (said, exit, cause, hint) in SAID {
            let failure = explain("cannot open machine \"m\"", "qemu:///session", said);
            assert_eq!(
                (failure.exit, failure.message),
                (exit, format!("cannot open machine \"m\": {cause}"))
            );
            assert!(failure.hint.unwrap_or_default().contains(hint), "{cause}");
        }
    }
}
