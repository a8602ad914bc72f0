//! Driver `docker`: an engine that the test starts, and podman.

use crate::lab::{Lab, SMALL_TREE, Service, missing};
use crate::suite::{self, Pace};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn docker() {
    if missing("docker", &["dockerd", "docker", "containerd", "runc"]) {
        return;
    }
    let mut lab = Lab::new(
        r#"{"name":"box","driver":"docker","image":"small","memory_mb":256,"disk_mb":512,"processes":100,"pool":3},
           {"name":"big","driver":"docker","image":"small"},
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
    lab.services.push(Service(engine));
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
    lab.leftovers = "docker ps -aq".to_owned();
    suite::run(&lab, "box", Pace::Native);
    suite::gigabyte(&lab, "big");
    let left = tests::sh_ok(&format!("DOCKER_HOST={host} docker images -q"), &path);
    assert_eq!(left.lines().count(), 1, "only the image is left: {left}");
}

#[test]
fn podman() {
    if missing("podman", &["podman", "runc"]) {
        return;
    }
    let mut lab = Lab::new(
        r#"{"name":"box","driver":"docker","engine":"podman","image":"small","memory_mb":256,"disk_mb":512,"processes":100,"pool":3},
           {"name":"big","driver":"docker","engine":"podman","image":"small"}"#,
    );
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
    lab.leftovers = "podman ps -aq".to_owned();
    suite::run(&lab, "box", Pace::Native);
    // as docker does; once is enough for every day
    if std::env::var_os("DOWNSTREAM_COPY_MB").is_some() {
        suite::gigabyte(&lab, "big");
    }
    let _ = tests::sh("umount graph/overlay", &path);
}
