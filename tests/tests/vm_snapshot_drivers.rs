//! The drivers of `vm-snapshot` that need something installed, against the real thing: a docker engine and an sshd that the
//! test starts, and a program of our own for `command`. A driver whose program is missing is skipped by name.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Processes that a test started; ended with it.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(10);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn missing(test: &str, programs: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let have = |program: &&&str| !std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if let Some(program) = programs.iter().find(have) {
        eprintln!("skipped: {test}: {program} is not installed");
        return true;
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        eprintln!("skipped: {test}: not root");
    }
    !root
}

struct Lab {
    // services end before their directory goes
    _services: Vec<Service>,
    dir: tempfile::TempDir,
    env: Vec<(&'static str, String)>,
}

impl Lab {
    fn new(machine: &str) -> Lab {
        let dir = tempfile::Builder::new().prefix("vms").tempdir().expect("a directory");
        let document = format!(r#"{{"kind":"machines","v":1,"state_dir":"state","machines":[{machine}]}}"#);
        std::fs::write(dir.path().join("machines.json"), document).expect("machines");
        Lab { _services: Vec::new(), dir, env: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = tests::command(tests::program("vm-snapshot"), &self.path());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.args(args).output().expect("vm-snapshot runs")
    }

    fn open(&self, args: &[&str]) -> Value {
        let mut all = vec!["open"];
        all.extend(args);
        let output = self.run(&all);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a testbed")
    }

    fn selftest(&self, machine: &str, at_least: usize) {
        let output = self.run(&["selftest", machine]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed: Vec<&str> = text.lines().filter(|line| !line.contains("\"ok\":true")).collect();
        assert_eq!(failed, [""; 0], "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.lines().count() >= at_least, "{text}{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is the same for all machines: exit codes, an owner that dies, closing twice.
    fn behaves(&self, machine: &str) {
        let testbed = self.open(&[machine]);
        let id = testbed["id"].as_str().expect("an id");
        let code = |args: &[&str]| {
            let mut all = vec!["exec", id];
            all.extend(args);
            self.run(&all).status.code()
        };
        assert_eq!(code(&["--", "sh", "-c", "exit 41"]), Some(41));
        assert_eq!(code(&["--", "sh", "-c", "kill -9 $$"]), Some(137));
        assert_eq!(code(&["--", "no-such-program"]), Some(127));
        assert_eq!(code(&["--cwd", "/no/such", "--", "true"]), Some(126));
        assert_eq!(
            code(&["--env", "A=b c", "--", "sh", "-c", "[ \"$A\" = 'b c' ] && [ -z \"$SECRET\" ]"]),
            Some(0)
        );
        let usage = self.run(&["status", id]);
        assert!(String::from_utf8_lossy(&usage.stdout).contains("\"alive\": true"));
        for _ in 0..2 {
            assert!(self.run(&["close", id]).status.success());
        }
        assert_eq!(code(&["true"]), Some(69));
        let script = format!("\"$0\" open {machine} >/dev/null; sleep 0.2");
        let mut shell = tests::command("sh", &self.path());
        shell.envs(self.env.iter().map(|(key, value)| (key, value)));
        let status =
            shell.arg("-c").arg(script).arg(tests::program("vm-snapshot")).status().expect("sh runs");
        assert!(status.success());
        let until = Instant::now() + Duration::from_secs(10);
        let instances = self.path().join("state/instances");
        while std::fs::read_dir(&instances).expect("instances").count() > 0 {
            assert!(Instant::now() < until, "an instance outlives its owner");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A root tree of a few programs of the host and their libraries, for images without a download.
const SMALL_TREE: &str = r#"
mkdir -p tree/usr/bin tree/etc tree/tmp tree/root tree/home/racket tree/proc tree/sys tree/dev; chmod 1777 tree/tmp; ln -s usr/bin tree/bin
for p in dash sh env id chown mkdir cat grep getent sed head tr ls sleep setsid tar mktemp cp dirname rm cut date seq cmp true false touch sort; do
  f=/usr/bin/$p; cp -L $f tree/usr/bin/
  for l in $(ldd $f | grep -o '/[^ ]*'); do mkdir -p tree$(dirname $l); [ -e tree$l ] || cp -L $l tree$l; done
done
printf 'root:x:0:0:root:/root:/bin/sh\nracket:x:4242:4242::/home/racket:/bin/sh\n' > tree/etc/passwd
printf 'root:x:0:\nracket:x:4242:\n' > tree/etc/group; chown 4242:4242 tree/home/racket
"#;

#[test]
fn docker() {
    if missing("docker", &["dockerd", "docker", "containerd", "runc"]) {
        return;
    }
    let mut lab = Lab::new(
        r#"{"name":"box","driver":"docker","image":"small","memory_mb":256},
           {"name":"none","driver":"docker","image":"no-such-image"},
           {"name":"gone","driver":"docker","image":"x","engine":"no-such-engine"}"#,
    );
    let path = lab.path();
    let output = lab.run(&["open", "gone"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("install docker.io or podman"));
    lab.env.push(("DOCKER_HOST", format!("unix://{}/sock", path.display())));
    let output = lab.run(&["open", "none"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start the docker service"));

    let log = std::fs::File::create(path.join("log")).expect("a log");
    let at = |name: &str| path.join(name).display().to_string();
    let engine = Command::new("dockerd")
        .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--data-root", &at("data")])
        .args(["--exec-root", &at("exec"), "--pidfile", &at("pid"), "-H", &format!("unix://{}", at("sock"))])
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("dockerd starts");
    lab._services.push(Service(engine));
    tests::sh_ok(SMALL_TREE, &path);
    let host = lab.env[0].1.clone();
    let until = Instant::now() + Duration::from_secs(30);
    let import = format!("tar -C tree -c . | DOCKER_HOST={host} docker import - small");
    while !tests::sh(&import, &path).status.success() {
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(path.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = lab.run(&["open", "none"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("makes an image of a root tree"));
    lab.selftest("box", 20);
    lab.behaves("box");
    // a machine with a disk of its own
    assert!(lab.run(&["start", "box"]).status.success());
    lab.run(&["exec", "box", "--", "sh", "-c", "echo 1 > f"]);
    assert!(lab.run(&["take", "box", "one"]).status.success());
    assert!(lab.run(&["stop", "box"]).status.success());
    assert!(lab.run(&["start", "box"]).status.success());
    assert_eq!(lab.run(&["exec", "box", "cat", "f"]).stdout, b"1\n");
    assert!(lab.run(&["stop", "box"]).status.success());
    assert!(lab.run(&["delete", "box"]).status.success());
    let left = tests::sh_ok(
        &format!("DOCKER_HOST={host} docker ps -aq; DOCKER_HOST={host} docker images -q"),
        &path,
    );
    assert_eq!(left.lines().count(), 1, "only the image is left: {left}");
}

#[test]
fn podman() {
    if missing("podman", &["podman", "runc"]) {
        return;
    }
    let mut lab =
        Lab::new(r#"{"name":"box","driver":"docker","engine":"podman","image":"small","memory_mb":256}"#);
    let path = lab.path();
    // a store of its own; runc and plain groups, because crun does not start on hosts with both versions of groups
    tests::sh_ok(
        &format!(
            "{SMALL_TREE}
             printf '%s\\n' '[containers]' 'default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]' '[engine]' \
                 'runtime = \"runc\"' 'cgroup_manager = \"cgroupfs\"' 'events_logger = \"file\"' > containers.conf
             printf '%s\\n' '[storage]' 'driver = \"overlay\"' \"graphroot = \\\"$PWD/graph\\\"\" \"runroot = \\\"$PWD/run\\\"\" > storage.conf
             export CONTAINERS_CONF=$PWD/containers.conf CONTAINERS_STORAGE_CONF=$PWD/storage.conf
             tar -C tree -c . | podman import -q - small"
        ),
        &path,
    );
    lab.env.push(("CONTAINERS_CONF", path.join("containers.conf").display().to_string()));
    lab.env.push(("CONTAINERS_STORAGE_CONF", path.join("storage.conf").display().to_string()));
    lab.selftest("box", 20);
    lab.behaves("box");
    let mut list = tests::command("podman", &path);
    let left = list
        .envs(lab.env.iter().map(|(key, value)| (key, value)))
        .args(["ps", "-aq"])
        .output()
        .expect("podman");
    assert_eq!(left.stdout, b"");
    let _ = tests::sh("umount graph/overlay", &path);
}

#[test]
fn ssh() {
    if missing("ssh", &["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let port = free_port();
    let machine = |name: &str, more: &str| {
        format!(
            r#"{{"name":"{name}","driver":"ssh","host":"127.0.0.1","port":{port},"known_hosts":"known","identity":"key"{more}}}"#
        )
    };
    let mut lab = Lab::new(&format!(
        r#"{},{},{},{}"#,
        machine("there", ""),
        machine("stranger", r#","options":["UserKnownHostsFile=/dev/null"]"#)
            .replace(r#""known_hosts":"known","#, ""),
        machine("locked", "").replace(r#""identity":"key""#, r#""identity":"other""#),
        r#"{"name":"nowhere","driver":"ssh","host":"no-such-host.invalid"}"#
    ));
    let path = lab.path();
    tests::sh_ok(
        &format!(
            "for k in key other host; do ssh-keygen -q -t ed25519 -N '' -f $k; done; mkdir -p /run/sshd
             echo \"[127.0.0.1]:{port} $(cut -d' ' -f1,2 host.pub)\" > known
             printf '%s\\n' 'Port {port}' 'ListenAddress 127.0.0.1' \"HostKey $PWD/host\" \"AuthorizedKeysFile $PWD/key.pub\" \
                'StrictModes no' 'PidFile none' 'UsePAM no' 'PasswordAuthentication no' > config"
        ),
        &path,
    );
    let daemon = Command::new("/usr/sbin/sshd")
        .args(["-D", "-f"])
        .arg(path.join("config"))
        .arg("-E")
        .arg(path.join("sshd.log"))
        .spawn()
        .expect("sshd starts");
    lab._services.push(Service(daemon));
    let told = |machine: &str, text: &str| {
        let output = lab.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{machine}: {said}");
        assert!(said.contains(text), "{machine}: {said}");
    };
    lab.selftest("there", 8);
    lab.behaves("there");
    told("stranger", "check the key");
    told("locked", "put your public key on the machine");
    told("nowhere", "must be a name that this host can look up");
    let left = std::fs::read_dir("/tmp")
        .expect("/tmp")
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("vm-snapshot-there-"));
    assert!(!left, "a work directory is left");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

/// A program that prints a testbed stands in for any machine: here it is vm-snapshot itself, and a shell script.
#[test]
fn command() {
    let vm_snapshot = tests::program("vm-snapshot");
    let lab = Lab::new(&format!(
        r#"{{"name":"inner","driver":"local"}},
           {{"name":"ours","driver":"command","open":["{}","open","inner"],"env":{{"FROM":"the document"}}}},
           {{"name":"theirs","driver":"command","open":["./bring-a-machine"]}},
           {{"name":"slow","driver":"command","open":["sleep","100"],"timeout_s":1}},
           {{"name":"mute","driver":"command","open":["true"]}},
           {{"name":"sick","driver":"command","open":["sh","-c","echo out of machines >&2; exit 75"]}}"#,
        vm_snapshot.display()
    ));
    write_program(
        &lab.path().join("bring-a-machine"),
        "#!/bin/sh\nd=$(mktemp -d)\nprintf '{\"kind\":\"testbed\",\"v\":1,\"id\":\"x\",\"machine\":\"m\",\"driver\":\"own\",\"work_dir\":\"%s\",\
         \"exec\":[\"env\"],\"close\":[\"rm\",\"-r\",\"%s\"]}' $d $d\n",
    );
    lab.selftest("ours", 8);
    lab.behaves("ours");
    let testbed = lab.open(&["theirs"]);
    let id = testbed["id"].as_str().expect("an id");
    let work = testbed["work_dir"].as_str().expect("a directory");
    let said = lab.run(&["exec", id, "--env", "A=1", "--", "sh", "-c", "echo $A; pwd"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), format!("1\n{work}\n"));
    assert!(lab.run(&["close", id]).status.success());
    assert!(!Path::new(work).exists());
    for (machine, code, text) in [
        ("slow", 75, "takes too long"),
        ("mute", 65, "must print one testbed object"),
        ("sick", 75, "out of machines"),
    ] {
        let output = lab.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{machine}: {said}");
        assert!(said.contains(text), "{machine}: {said}");
    }
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Needs an image: `scripts/make-image DIR`, then `DOWNSTREAM_IMAGE=DIR`. Emulated, so that it runs anywhere; slow.
fn qemu_lab(test: &str) -> Option<Lab> {
    if missing(test, &["qemu-system-x86_64", "qemu-img", "ssh"]) {
        return None;
    }
    let Some(image) = std::env::var_os("DOWNSTREAM_IMAGE").map(PathBuf::from) else {
        eprintln!(
            "skipped: qemu: no image; scripts/make-image DIR makes one, and DOWNSTREAM_IMAGE=DIR names it"
        );
        return None;
    };
    let image = image.canonicalize().expect("DOWNSTREAM_IMAGE").display().to_string();
    let machine = |name: &str, kernel: &str, identity: &str| {
        format!(
            r#"{{"name":"{name}","driver":"qemu","image":"{image}/base.qcow2","kernel":"{image}/{kernel}","initrd":"{image}/initrd.gz",
                "identity":"{identity}","known_hosts":"{image}/known_hosts","memory_mb":512}}"#
        )
    };
    let key = format!("{image}/key");
    let lab = Lab::new(&format!(
        "{},{},{}",
        machine("vm", "kernel", &key),
        machine("locked", "kernel", "other"),
        machine("none", "no-kernel", &key)
    ));
    tests::sh_ok("ssh-keygen -q -t ed25519 -N '' -f other", &lab.path());
    for (name, text) in [("locked", "must name the private key"), ("none", "scripts/make-image")] {
        let output = lab.run(&["open", name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(text), "{said}");
    }
    Some(lab)
}

#[test]
fn qemu_selftest() {
    if let Some(lab) = qemu_lab("qemu_selftest") {
        lab.selftest("vm", 18);
    }
}

#[test]
fn qemu_snapshots_hold_the_memory() {
    let Some(lab) = qemu_lab("qemu_snapshots_hold_the_memory") else { return };
    lab.behaves("vm");
    // the memory is part of a snapshot: what ran goes on, and the clock is right
    let testbed = lab.open(&["vm"]);
    let id = testbed["id"].as_str().expect("an id").to_owned();
    let cold_s = testbed["open_s"].as_f64().expect("seconds");
    lab.run(&["exec", &id, "--", "sh", "-c", "echo here > /dev/shm/in-memory; echo there > f"]);
    let taken = lab.run(&["take", &id, "warm"]);
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert!(lab.run(&["close", &id]).status.success());
    let mut random = Vec::new();
    for _ in 0..2 {
        let testbed = lab.open(&["vm", "--snapshot", "warm"]);
        let id = testbed["id"].as_str().expect("an id").to_owned();
        let warm_s = testbed["open_s"].as_f64().expect("seconds");
        eprintln!("qemu: cold {cold_s} s, from memory {warm_s} s");
        assert!(warm_s < cold_s, "{warm_s} s from memory, {cold_s} s cold");
        let said = lab.run(&["exec", &id, "--", "sh", "-c", "cat /dev/shm/in-memory f; date +%s"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs();
        let clock: u64 =
            said.strip_prefix("here\nthere\n").expect("the state").trim().parse().expect("a clock");
        assert!(now.abs_diff(clock) <= 5, "the clock says {clock}, it is {now}");
        random.push(lab.run(&["exec", &id, "--", "head", "-c", "16", "/dev/urandom"]).stdout);
        assert_eq!(
            lab.run(&["open", "vm", "--snapshot", "warm", "--memory-mb", "700"]).status.code(),
            Some(2)
        );
        assert!(lab.run(&["close", &id]).status.success());
    }
    assert_ne!(random[0], random[1], "two instances must not draw the same random numbers");
    assert!(lab.run(&["delete", "vm", "warm"]).status.success());
}
