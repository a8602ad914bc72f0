//! Driver `docker`, for podman too: a container for each instance, images as snapshots.
//!
//! Settings: `image` (what the bare machine is), `engine` (`docker` by default; `podman`, or a path), `user` (whom commands
//! run as; default `racket` if the image has that user, else the image's own).

mod api;
mod engine;
mod plan;
mod usage;

use super::guest::{self, Channel};
use super::sandbox::{Groups, look_at_disk, network_refusals};
use super::{Driver, Request, Running, Tick, check_settings, setting};
use crate::state::store::Seat;
use contract::machines::Network;
use contract::testbed::Usage;
use edge::{Failure, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use plan::{Keeping, LABEL, container, create_args, texts};

pub struct Docker;

const WORK_DIR: &str = "/work";

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

/// Makes the container, with a disk limit as good as it can be had.
fn create(seat: &Seat, what: &str) -> Result<Keeping> {
    let image = image(seat)?;
    let make = |keeping| engine::must(seat, what, &create_args(seat, &image, keeping));
    if seat.instance.machine.disk_mb == 0 {
        return make(Keeping::None).map(|_| Keeping::None);
    }
    if !engine::has_no_quota(seat, &image) && make(Keeping::Engine).is_ok() {
        return Ok(Keeping::Engine);
    }
    // whatever it was, the other try tells
    make(Keeping::Watched).map(|_| Keeping::Watched)
}

/// Looks now and then at what was written, and kills everything inside when it is too much. None: it cannot be seen.
fn watch_disk(seat: &Seat) -> Option<Tick> {
    let upper = PathBuf::from(engine::shown(seat, false)?["GraphDriver"]["Data"]["UpperDir"].as_str()?);
    fs::read_dir(&upper).ok()?;
    let (seat, limit_bytes) = (seat.clone(), seat.instance.machine.disk_mb << 20);
    let action = move || {
        let (over, next) = look_at_disk(&upper, limit_bytes);
        if over {
            let _ = fs::write(seat.dir.join("disk-full"), "");
            let _ = engine::run(
                &seat,
                &texts(&["exec", "--user=0", &container(&seat), "sh", "-c", "kill -9 -1"]),
            );
        }
        next
    };
    Some(Tick { every: Duration::from_millis(250), action: Box::new(action) })
}

fn disk_is_limited(seat: &Seat) -> bool {
    seat.running().is_some_and(|note| matches!(note["disk"].as_str(), Some("engine" | "watched")))
}

impl Channel for Docker {
    fn command(&self, seat: &Seat, argv: &[OsString], user: Option<&str>, tty: bool) -> Command {
        let mut command = Command::new(engine::program(seat));
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
        engine::shown(seat, false).is_some_and(|shown| shown["State"]["Running"] == true)
    }

    fn own_codes(&self) -> &'static [i32] {
        &[1, 125, 126, 137, 255]
    }

    /// Docker gives up two seconds after a command what its caller did not read by then.
    fn loses_ends(&self) -> bool {
        true
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
        engine::image_id(seat, image)
    }

    fn image_made(&self, seat: &Seat) -> Option<jiff::Timestamp> {
        let output = engine::run(
            seat,
            &texts(&["image", "inspect", "--format={{json .Created}}", setting(seat, "image")?]),
        )
        .ok()?;
        serde_json::from_slice::<String>(&output.stdout).ok()?.parse().ok()
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let what = format!("open machine \"{}\"", seat.instance.machine.name);
        // of a container that is there already it cannot be told
        let mut keeping = if seat.instance.machine.disk_mb > 0 { Keeping::Watched } else { Keeping::None };
        if !(seat.instance.persistent && engine::shown(seat, false).is_some()) {
            keeping = create(seat, &what)?;
        }
        let (user, home) = engine::begin(seat, &what)?;
        let tick = if keeping == Keeping::Watched { watch_disk(seat) } else { None };
        if keeping == Keeping::Watched && tick.is_none() {
            keeping = Keeping::None;
        }
        let held = seat.clone();
        let end = move || {
            if engine::put_away(&held, held.instance.persistent) {
                // nothing to reap: the engine need not be asked again
                let _ = fs::remove_file(held.dir.join("running.json"));
            }
        };
        Ok(Running {
            note: serde_json::json!({"user": user, "home": home, "disk": keeping.name()}),
            watch: None,
            tick,
            end: Box::new(end),
        })
    }

    fn reap(&self, seat: &Seat) {
        engine::put_away(seat, seat.instance.persistent);
    }

    fn discard(&self, seat: &Seat) {
        engine::put_away(seat, false);
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
        let shown = engine::shown(seat, true).unwrap_or_default();
        usage.alive = shown["State"]["Running"] == true;
        let pid = shown["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let id = shown["Id"].as_str();
        // from outside where the container is on this host: asking inside uses its processor and is never idle
        match pid.zip(id).and_then(|(pid, id)| Some((pid, Groups::of_process(pid, id)?))) {
            Some((pid, groups)) => {
                groups.usage(usage);
                usage.network_refusals = network_refusals(pid);
            }
            None => usage::read(&guest::ask(self, seat, usage::SCRIPT).unwrap_or_default(), usage),
        }
        if disk_is_limited(seat) {
            // what is watched is noted when it is seen
            let by_engine = seat.running().is_some_and(|note| note["disk"] == "engine");
            let free_kb = Some("df -P / | tail -n 1")
                .filter(|_| by_engine)
                .and_then(|script| guest::ask(self, seat, script))
                .and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
            usage.disk_full =
                Some(seat.dir.join("disk-full").exists() || free_kb.is_some_and(|free_kb| free_kb < 256));
        }
        usage.disk_mb = shown["SizeRw"].as_f64().map(|bytes| (bytes / 10485.76).round() / 100.0);
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let machine = &seat.instance.machine;
        let mut has = vec!["fresh", "kill-tree", "exec-options", "usage", "snapshot", "root"];
        for (present, name) in [
            (machine.network == Network::None, "no-network"),
            (machine.memory_mb > 0, "limits-memory"),
            (machine.processes > 0, "limits-processes"),
            (machine.cpus > 0, "limits-cpu"),
            (disk_is_limited(seat), "limits-disk"),
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
        let id = engine::must(seat, &what, &texts(&["commit", &label, &container(seat)]))?;
        let keep = || {
            fs::create_dir(layer)?;
            fs::write(layer.join("engine"), engine::program(seat))?;
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
