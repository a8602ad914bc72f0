//! Driver `libvirt`: a libvirtd that the test starts for an ordinary user, emulated machines of the small image of the qemu
//! tests.

use crate::lab::{Lab, Service, missing};
use crate::qemu::image;
use crate::suite::{self, Pace};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// libvirt runs for users that have a name only.
const NOBODY: u32 = 65534;

/// `image` stands for files of the lab: that user need not be able to read the ones of the checkout.
fn machine(name: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","driver":"libvirt","identity":"key","known_hosts":"known_hosts","memory_mb":512,"pool":2{more}}}"#
    )
}

const IMAGE: &str = r#","image":"base.qcow2","kernel":"kernel","initrd":"initrd.gz""#;

fn libvirt_lab(test: &str) -> Option<Lab> {
    if missing(test, &["virsh", "libvirtd", "qemu-system-x86_64", "qemu-img", "ssh", "sshd", "setpriv"]) {
        return None;
    }
    let image = image()?;
    let image = image.canonicalize().expect("an image").display().to_string();
    let machines = [
        machine("vm", IMAGE),
        machine("locked", IMAGE).replace(r#""key""#, r#""other""#),
        machine("none", &IMAGE.replace("base", "no-such")),
        machine("nowhere", &format!(r#"{IMAGE},"uri":"qemu:///nowhere""#)),
        machine("closed", &format!(r#"{IMAGE},"uri":"qemu+unix:///session?socket=PATH/closed/socket""#)),
        machine("elsewhere", &format!(r#"{IMAGE},"uri":"qemu+ssh://other/system""#)),
        machine("both", &format!(r#"{IMAGE},"domain":"base""#)),
        machine("unknown", r#","domain":"no-such-domain""#),
        machine("clone", r#","domain":"base""#),
    ];
    let mut lab = Lab::new(&machines.join(","));
    let path = lab.path();
    let document = std::fs::read_to_string(path.join("machines.json")).expect("machines");
    let document = document.replace("PATH", &path.display().to_string());
    std::fs::write(path.join("machines.json"), document).expect("machines");
    let copy = format!(
        "for f in base.qcow2 kernel initrd.gz key known_hosts; do cp --sparse=always '{image}'/$f .; done; chmod u+w base.qcow2
         ssh-keygen -q -t ed25519 -N '' -f other; mkdir -m 700 run; mkdir few; ln -s $(command -v qemu-img) few/"
    );
    tests::sh_ok(&copy, &path);
    lab.become_user(NOBODY);
    // a directory that this user may not enter, as that of another's libvirtd
    tests::sh_ok("mkdir -m 700 closed", &path);
    for (name, dir) in
        [("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", ".cache")]
    {
        lab.env.push((name, path.join(dir).display().to_string()));
    }
    // no other libvirtd than that of the test
    lab.env.push(("LIBVIRT_AUTOSTART", "0".to_owned()));
    Some(lab)
}

fn start_libvirtd(lab: &mut Lab) {
    let path = lab.path();
    let log = std::fs::File::create(path.join("libvirtd.log")).expect("a log");
    let mut command = tests::command("libvirtd", &path);
    lab.dress(&mut command);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    lab.services.push(Service(command.spawn().expect("libvirtd starts")));
    let until = Instant::now() + Duration::from_secs(60);
    while !virsh(lab, "uri").status.success() {
        assert!(
            Instant::now() < until,
            "{}",
            std::fs::read_to_string(path.join("libvirtd.log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    lab.leftovers = "virsh -q -c qemu:///session list --name --all | grep vm-snapshot; \
                     find .cache/libvirt/qemu/log config/libvirt/qemu/lib -type f"
        .to_owned();
}

/// A virsh command line, as a shell reads it.
fn virsh(lab: &Lab, line: &str) -> Output {
    let mut shell = tests::command("sh", &lab.path());
    lab.dress(&mut shell);
    shell.arg("-c").arg(format!("virsh -q -c qemu:///session {line}")).output().expect("sh runs")
}

fn virsh_ok(lab: &Lab, line: &str) -> String {
    let output = virsh(lab, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, code: i32, texts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(texts.iter().all(|text| said.contains(text)), "{texts:?} in: {said}");
}

#[test]
fn libvirt() {
    let Some(mut lab) = libvirt_lab("libvirt") else { return };
    let few = lab.path().join("few");
    refused(
        &lab.command(&["open", "vm"]).env("PATH", few).output().expect("it runs"),
        69,
        &["install libvirt-clients"],
    );
    refused(&lab.run(&["open", "vm"]), 69, &["Failed to connect socket", "libvirtd does not run there"]);
    start_libvirtd(&mut lab);
    for (name, code, texts) in [
        ("none", 69, ["no-such.qcow2", "scripts/make-image"]),
        ("nowhere", 65, ["no libvirt \"qemu:///nowhere\"", "must be qemu:///session or qemu:///system"]),
        ("closed", 69, ["Permission denied", "in the group libvirt"]),
        ("elsewhere", 65, ["is not on this host", "driver \"ssh\""]),
        ("both", 65, ["both \"domain\" and \"image\"", "leave one of the two out"]),
        ("unknown", 69, ["failed to get domain 'no-such-domain'", "list --all"]),
        ("locked", 69, ["permission denied", "must name the private key"]),
    ] {
        refused(&lab.run(&["open", name]), code, &texts);
    }
    suite::run(&lab, "vm", Pace::Emulated);
}

/// A domain that somebody defined is what instances are clones of; it stays as it is. Of one memory there are two at once.
#[test]
fn libvirt_clones_a_domain_and_its_memory() {
    let Some(mut lab) = libvirt_lab("libvirt_clones_a_domain_and_its_memory") else { return };
    start_libvirtd(&mut lab);
    let path = lab.path().display().to_string();
    let domain = format!(
        "<domain type='qemu'><name>base</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>
           <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{path}/kernel</kernel><initrd>{path}/initrd.gz</initrd>
             <cmdline>console=ttyS0 root=/dev/vda rw quiet net.ifnames=0</cmdline></os><features><acpi/></features><cpu mode='maximum'/>
           <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}/base.qcow2'/><target dev='vda' bus='virtio'/></disk>
             <interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
             <serial type='pty'/><graphics type='vnc' autoport='yes'/></devices></domain>"
    );
    std::fs::write(lab.path().join("base.xml"), domain).expect("a description");
    virsh_ok(&lab, "define base.xml");
    let described = virsh_ok(&lab, "dumpxml --inactive base");
    let image = tests::sh_ok("cksum base.qcow2", &lab.path());
    virsh_ok(&lab, "start --paused base");
    refused(&lab.run(&["open", "clone"]), 69, &["domain \"base\" is not shut off", "shutdown base"]);
    virsh_ok(&lab, "destroy base");

    let testbed = lab.open(&["clone"]);
    let id = testbed["id"].as_str().expect("an id").to_owned();
    let cold_s = testbed["open_s"].as_f64().expect("seconds");
    let script = "echo here > /dev/shm/in-memory; echo there > f; cat /sys/class/net/eth0/address";
    let said = lab.run(&["exec", &id, "--", "sh", "-c", script]);
    assert_eq!(said.stdout, b"52:54:00:11:22:33\n", "{}", String::from_utf8_lossy(&said.stderr));
    assert!(virsh_ok(&lab, "list --name").contains(&format!("vm-snapshot-{id}")));
    let taken = lab.run(&["take", &id, "warm"]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    // it goes on
    assert_eq!(lab.run(&["exec", &id, "cat", "f"]).stdout, b"there\n");
    assert!(lab.run(&["close", &id]).status.success());
    assert_eq!(virsh_ok(&lab, "dumpxml --inactive base"), described);

    let ids: Vec<String> = (0..2)
        .map(|_| {
            let testbed = lab.open(&["clone", "--snapshot", "warm"]);
            let warm_s = testbed["open_s"].as_f64().expect("seconds");
            eprintln!("libvirt: cold {cold_s} s, from memory {warm_s} s");
            assert!(warm_s < cold_s, "{warm_s} s from memory, {cold_s} s cold");
            testbed["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let mut random = Vec::new();
    for id in &ids {
        let said = lab.run(&["exec", id, "--", "sh", "-c", "cat /dev/shm/in-memory f; date +%s"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
        let clock = said.strip_prefix("here\nthere\n").expect("the state").trim();
        let clock: u64 = clock.parse().expect("a clock");
        assert!(now.abs_diff(clock) <= 5, "the clock says {clock}, it is {now}");
        random.push(lab.run(&["exec", id, "--", "head", "-c", "16", "/dev/urandom"]).stdout);
    }
    assert_ne!(random[0], random[1], "two instances must not draw the same random numbers");
    // kill -9 of a keeper ends its domain, before anybody else looks
    let keeper = lab.processes(&["internal-keep", &ids[0]]);
    tests::sh_ok(&format!("kill -9 {}", keeper.iter().min().expect("a keeper")), &lab.path());
    let until = Instant::now() + Duration::from_secs(10);
    while virsh_ok(&lab, "list --name --all").contains(&ids[0]) {
        assert!(Instant::now() < until, "the domain of a killed keeper runs on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lab.run(&["close", &ids[1]]).status.success());
    let other = lab.run(&["open", "clone", "--snapshot", "warm", "--memory-mb", "700"]);
    refused(&other, 2, &["700 MiB and 1 processors", "taken with 512 MiB and 1 processors"]);
    // whatever is left of the killed one goes with the next command
    assert!(lab.run(&["prune"]).status.success());
    assert_eq!(lab.left(), [".cache/libvirt/qemu/log/base.log"]);
    assert_eq!(tests::sh_ok("cksum base.qcow2", &lab.path()), image);
    // the snapshot knows its machine without the domain, but not another disk
    virsh_ok(&lab, "undefine base");
    tests::sh_ok("touch base.qcow2", &lab.path());
    let changed = lab.run(&["open", "clone", "--snapshot", "warm"]);
    refused(&changed, 69, &["the disk that snapshot \"warm\" stands on was changed", "anew"]);
}
