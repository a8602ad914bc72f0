//! Driver `docker`, for podman too: a container for each instance, images as snapshots.
//!
//! Settings: `image` (what the bare machine is), `engine` (`docker` by default; `podman`, or a path), `user` (whom commands
//! run as; default `racket` if the image has that user, else the image's own).

use super::guest::{self, Channel};
use super::{Driver, Request, Running, check_settings, setting};
use crate::state::store::Seat;
use contract::machines::Network;
use contract::testbed::Usage;
use edge::{Exit, Failure, Result};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub struct Docker;

/// Process 1 of a container: buries orphans, and goes on when all others are killed.
const PROCESS_1: &str = "while :; do sleep 1000000 & wait; done";
const WORK_DIR: &str = "/work";
/// Label of everything that belongs to an instance.
const LABEL: &str = "vm-snapshot";

fn engine(seat: &Seat) -> &str {
    setting(seat, "engine").unwrap_or("docker")
}

fn container(seat: &Seat) -> String {
    format!("vm-snapshot-{}", seat.instance.id)
}

/// The image that an instance starts from: that of its snapshot, or of the machine.
fn image(seat: &Seat) -> Result<String> {
    match seat.instance.layers.first() {
        Some(layer) => {
            fs::read_to_string(layer.join("image")).map(|id| id.trim().to_owned()).map_err(|error| {
                Failure::unavailable(format!("cannot read snapshot \"{}\": {error}", layer.display()))
            })
        }
        None => guest::needed(seat, "image").map(str::to_owned),
    }
}

/// The whole command line that makes a container.
fn create_args(seat: &Seat, image: &str) -> Vec<String> {
    let machine = &seat.instance.machine;
    let mut args: Vec<String> = ["create", "--name"].map(str::to_owned).to_vec();
    args.push(container(seat));
    args.push(format!("--label={LABEL}={}", seat.instance.id));
    // process 1 sleeps and ignores TERM; without this, stopping it takes the engine ten seconds
    args.extend(
        ["--stop-signal=KILL", "--hostname=sandbox", "--user=root", "--entrypoint=/bin/sh"]
            .map(str::to_owned),
    );
    args.push("--security-opt=no-new-privileges".to_owned());
    if machine.network == Network::None {
        args.push("--network=none".to_owned());
    } else {
        args.push("--network=host".to_owned());
    }
    if machine.memory_mb > 0 {
        args.push(format!("--memory={}m", machine.memory_mb));
        args.push(format!("--memory-swap={}m", machine.memory_mb));
    }
    if machine.cpus > 0 {
        args.push(format!("--cpus={}", machine.cpus));
    }
    if machine.processes > 0 {
        // process 1 and its sleep
        args.push(format!("--pids-limit={}", machine.processes + 2));
    }
    for mount in &seat.instance.mounts {
        args.push(format!("--mount=type=bind,source={},target={},readonly", mount.host, mount.guest));
    }
    args.push(image.to_owned());
    args.extend(["-c", PROCESS_1].map(str::to_owned));
    args
}

fn run(seat: &Seat, args: &[String]) -> std::io::Result<Output> {
    Command::new(engine(seat)).args(args).stdin(Stdio::null()).output()
}

/// Runs the engine; what it says on stderr is the cause of a failure, sorted by what a person can do.
fn must(seat: &Seat, what: &str, args: &[String]) -> Result<String> {
    let engine = engine(seat);
    let output = run(seat, args).map_err(|error| {
        Failure::unavailable(format!("cannot {what}: cannot run \"{engine}\": {error}"))
            .hint("install docker.io or podman, or name the program with the setting \"engine\"")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(explain(what, engine, said.trim()))
}

fn explain(what: &str, engine: &str, said: &str) -> Failure {
    let has = |text: &str| said.contains(text);
    let cause = said.lines().next_back().unwrap_or_default();
    let failure = |exit| Failure::new(exit, format!("cannot {what}: {cause}"));
    if has("Cannot connect to the Docker daemon") || has("permission denied while trying to connect") {
        failure(Exit::Unavailable)
            .hint(format!("start the {engine} service, or join the group that may use its socket"))
    } else if has("No such image")
        || has("Unable to find image")
        || has("image not known")
        || has("pull access denied")
    {
        failure(Exit::Unavailable)
            .hint(format!("\"{engine} import FILE.tar NAME\" makes an image of a root tree"))
    } else {
        failure(Exit::TryAgain)
    }
}

fn texts(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

impl Channel for Docker {
    fn command(&self, seat: &Seat, argv: &[OsString], user: Option<&str>, tty: bool) -> Command {
        let mut command = Command::new(engine(seat));
        command.args(["exec", "--interactive"]);
        if tty {
            command.arg("--tty");
        }
        let noted = seat.running().and_then(|note| note["user"].as_str().map(str::to_owned));
        command.arg("--user").arg(user.map(str::to_owned).or(noted).unwrap_or_else(|| "root".to_owned()));
        command.arg(container(seat)).args(argv);
        command
    }

    fn answers(&self, seat: &Seat) -> bool {
        let name = container(seat);
        run(seat, &texts(&["inspect", "--format={{.State.Running}}", &name]))
            .is_ok_and(|output| output.stdout.starts_with(b"true"))
    }

    fn own_codes(&self) -> &'static [i32] {
        &[1, 125, 126, 137, 255]
    }

    fn is_whole_machine(&self) -> bool {
        true
    }
}

impl Driver for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &["image", "engine", "user"])?;
        let image = guest::needed(seat, "image")?;
        must(
            seat,
            &format!("find image \"{image}\""),
            &texts(&["image", "inspect", "--format={{.Id}}", image]),
        )
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let what = format!("open machine \"{}\"", seat.instance.machine.name);
        let name = container(seat);
        if !(seat.instance.persistent
            && run(seat, &texts(&["inspect", &name])).is_ok_and(|o| o.status.success()))
        {
            must(seat, &what, &create_args(seat, &image(seat)?))?;
        }
        must(seat, &what, &texts(&["start", &name]))?;
        let user = match setting(seat, "user") {
            Some(user) => user.to_owned(),
            None if guest::ask(self, seat, "id racket").is_some() => "racket".to_owned(),
            None => "root".to_owned(),
        };
        let script = format!(
            "mkdir -p {WORK_DIR} && chown '{user}' {WORK_DIR} && getent passwd '{user}' | cut -d: -f6"
        );
        let home = guest::ask(self, seat, &script)
            .ok_or_else(|| Failure::try_again(format!("cannot {what}: its image cannot run sh")))?;
        let held = seat.clone();
        let end = move || {
            let verb: &[&str] =
                if held.instance.persistent { &["kill"] } else { &["rm", "--force", "--volumes"] };
            let mut args = texts(verb);
            args.push(container(&held));
            let _ = run(&held, &args);
        };
        Ok(Running {
            note: serde_json::json!({"user": user, "home": home.trim()}),
            watch: None,
            tick: None,
            end: Box::new(end),
        })
    }

    fn reap(&self, seat: &Seat) {
        let verb: &[&str] =
            if seat.instance.persistent { &["kill"] } else { &["rm", "--force", "--volumes"] };
        let mut args = texts(verb);
        args.push(container(seat));
        let _ = run(seat, &args);
    }

    fn discard(&self, seat: &Seat) {
        let _ = run(seat, &texts(&["rm", "--force", "--volumes", &container(seat)]));
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Command> {
        let note = seat.running().unwrap_or_default();
        let home = match request.user.as_deref() {
            Some("root") => "/root",
            _ => note["home"].as_str().unwrap_or("/"),
        };
        guest::enter(seat, request, home, &self.work_dir(seat))
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        usage.alive = self.answers(seat);
        let script = "cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes /sys/fs/cgroup/memory.peak 2>/dev/null | head -n 1; \
                      cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null | grep '^oom_kill '; \
                      cat /proc/net/snmp | grep '^Ip: '";
        let said = guest::ask(self, seat, script).unwrap_or_default();
        let mut lines = said.lines();
        usage.peak_memory_mb = lines
            .next()
            .and_then(|bytes| bytes.parse::<f64>().ok())
            .map(|bytes| (bytes / 10485.76).round() / 100.0);
        usage.memory_kills = said
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok());
        let size = ["inspect", "--size", "--format={{.SizeRw}}"];
        let mut args = texts(&size);
        args.push(container(seat));
        usage.disk_mb = run(seat, &args)
            .ok()
            .and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().ok())
            .map(|bytes| (bytes / 10485.76).round() / 100.0);
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let machine = &seat.instance.machine;
        let mut has = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot", "root"];
        for (present, name) in [
            (machine.network == Network::None, "no-network"),
            (machine.memory_mb > 0, "limits-memory"),
            (machine.processes > 0, "limits-processes"),
            (machine.cpus > 0, "limits-cpu"),
        ] {
            if present {
                has.push(name);
            }
        }
        has.into_iter().map(str::to_owned).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        seat.instance.machine.work_dir.clone().unwrap_or_else(|| WORK_DIR.to_owned())
    }

    fn share_point(&self, name: &str, _host: &str) -> Option<String> {
        Some(format!("/share/{name}"))
    }

    fn channel(&self) -> Option<&'static dyn Channel> {
        Some(&Docker)
    }

    fn freezes_alive(&self) -> bool {
        true
    }

    fn freeze(&self, seat: &Seat, layer: &Path) -> Result<()> {
        let what = format!("take a snapshot of \"{}\"", seat.instance.id);
        let name = layer.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let label = format!("--change=LABEL {LABEL}={name}");
        let id = must(seat, &what, &texts(&["commit", &label, &container(seat)]))?;
        let keep = || {
            fs::create_dir(layer)?;
            fs::write(layer.join("engine"), engine(seat))?;
            fs::write(layer.join("image"), id)
        };
        keep().map_err(|error| Failure::cant_create(format!("cannot {what}: {error}")))
    }

    fn forget(&self, layer: &Path) {
        if let (Ok(engine), Ok(id)) =
            (fs::read_to_string(layer.join("engine")), fs::read_to_string(layer.join("image")))
        {
            let _ = Command::new(engine.trim()).args(["rmi", id.trim()]).stdin(Stdio::null()).output();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_told_apart() {
        let daemon =
            explain("open", "docker", "Cannot connect to the Docker daemon at unix:///x. Is it running?");
        assert_eq!(daemon.exit, Exit::Unavailable);
        assert!(daemon.hint.is_some_and(|hint| hint.contains("service")));
        assert_eq!(explain("open", "docker", "Error: No such image: nix").exit, Exit::Unavailable);
        assert_eq!(
            explain("open", "docker", "Error response from daemon: no space left").exit,
            Exit::TryAgain
        );
    }

    #[test]
    fn the_whole_container_is_described_before_it_is_made() {
        let seat = crate::state::store::example(
            r#"{"name": "m", "driver": "docker", "image": "debian", "memory_mb": 512, "cpus": 2, "processes": 100}"#,
        );
        let args = create_args(&seat, "sha256:1").join(" ");
        for part in [
            "create --name vm-snapshot-m-1 ",
            " --stop-signal=KILL ",
            " --network=none ",
            " --memory=512m --memory-swap=512m --cpus=2 --pids-limit=102 ",
            " --mount=type=bind,source=/archive,target=/share/a,readonly ",
            " --security-opt=no-new-privileges ",
        ] {
            assert!(args.contains(part), "{part:?} is not in {args}");
        }
        assert!(args.ends_with(&format!(" sha256:1 -c {PROCESS_1}")), "{args}");
    }
}
