//! Driver `command`: a program of the site that prints a testbed, so that any kind of machine can be brought along without
//! touching this one.
//!
//! Settings: `open` (argv; `--snapshot NAME`, `--share NAME=DIR` and the limits are appended as `vm-snapshot open` takes
//! them; relative programs start from the document), `timeout_s` (for opening; default 600).

use super::{Driver, Request, Running, check_settings, setting_list};
use crate::state::store::Seat;
use contract::testbed::{Mount, Testbed, Usage};
use edge::{Context, Exit, Failure, Result};
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

pub struct Command;

/// The command line that opens an instance.
fn open_argv(seat: &Seat) -> Result<Vec<OsString>> {
    let given = setting_list(seat, "open");
    let machine = &seat.instance.machine;
    let Some((program, rest)) = given.split_first() else {
        return Err(Failure::data(format!(
            "cannot use machine \"{}\": driver \"command\" needs the setting \"open\", a list of words",
            machine.name
        )));
    };
    let program = if program.contains('/') {
        seat.instance.base_dir.join(program).into()
    } else {
        OsString::from(program)
    };
    let mut argv = vec![program];
    argv.extend(rest.iter().map(OsString::from));
    let mut option = |name: &str, value: String| argv.extend([name.into(), value.into()]);
    if let Some(snapshot) = &seat.instance.snapshot {
        option("--snapshot", snapshot.clone());
    }
    for mount in &seat.instance.mounts {
        option("--share", format!("{}={}", mount.name, mount.host));
    }
    for (name, value) in [
        ("--memory-mb", machine.memory_mb),
        ("--disk-mb", machine.disk_mb),
        ("--processes", machine.processes),
        ("--cpus", u64::from(machine.cpus)),
    ] {
        if value > 0 {
            option(name, value.to_string());
        }
    }
    Ok(argv)
}

fn inner(seat: &Seat) -> Option<Testbed> {
    serde_json::from_value(seat.running()?).ok()
}

fn run_words(words: &[String]) -> Option<Vec<u8>> {
    let (program, rest) = words.split_first()?;
    let output = Process::new(program).args(rest).stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

impl Driver for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn identify(&self, seat: &Seat) -> Result<String> {
        check_settings(seat, &["open", "timeout_s"])?;
        Ok(format!("{:?}", open_argv(seat)?))
    }

    fn has_own_snapshots(&self) -> bool {
        true
    }

    fn start(&self, seat: &Seat) -> Result<Running> {
        let argv = open_argv(seat)?;
        let shown = argv[0].display().to_string();
        let log = seat.dir.join("open.log");
        let timeout_s = seat.instance.machine.settings.get("timeout_s").and_then(serde_json::Value::as_u64);
        let until = Instant::now() + Duration::from_secs(timeout_s.unwrap_or(600));
        let out = seat.dir.join("open.json");
        let begin = || {
            Process::new(&argv[0])
                .args(&argv[1..])
                .current_dir(&seat.instance.base_dir)
                .stdin(Stdio::null())
                .stdout(File::create(&out)?)
                .stderr(File::create(&log)?)
                .spawn()
        };
        let mut child = begin().context(Exit::Unavailable, || format!("cannot run \"{shown}\""))?;
        let status = loop {
            match child.try_wait().context(Exit::TryAgain, || format!("cannot wait for \"{shown}\""))? {
                Some(status) => break status,
                None if Instant::now() > until => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Failure::try_again(format!(
                        "cannot open a machine with \"{shown}\": it takes too long"
                    ))
                    .hint("the setting \"timeout_s\" gives it more time"));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let exit = if status.code() == Some(69) { Exit::Unavailable } else { Exit::TryAgain };
            return Err(Failure::new(exit, format!("cannot open a machine with \"{shown}\": {status}"))
                .detail("said", said.trim()));
        }
        let text = std::fs::read(&out).unwrap_or_default();
        let testbed: Testbed = contract::read(&text).map_err(|error| {
            Failure::data(format!("cannot understand what \"{shown}\" printed: {error}"))
                .hint("it must print one testbed object; see testbed(5)")
        })?;
        let close = testbed.close.clone();
        Ok(Running {
            note: serde_json::to_value(&testbed).map_err(|error| Failure::bug(error.to_string()))?,
            watch: None,
            tick: None,
            end: Box::new(move || {
                let _ = run_words(&close);
            }),
        })
    }

    fn reap(&self, seat: &Seat) {
        if let Some(testbed) = inner(seat) {
            let _ = run_words(&testbed.close);
        }
    }

    fn enter(&self, seat: &Seat, request: &Request) -> Result<Process> {
        let testbed =
            inner(seat).ok_or_else(|| Failure::try_again("cannot enter the machine: it has ended"))?;
        let has_options = testbed.capabilities.iter().any(|have| have == "exec-options");
        let mut argv: Vec<OsString> = testbed.exec.iter().map(OsString::from).collect();
        let env =
            seat.instance.machine.env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        let env: Vec<(OsString, OsString)> = env.chain(request.env.iter().cloned()).collect();
        let pairs = env.into_iter().map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            key
        });
        if has_options {
            for pair in pairs {
                argv.extend(["--env".into(), pair]);
            }
            argv.extend(request.cwd.iter().flat_map(|dir| ["--cwd".into(), dir.clone()]));
            argv.extend(request.user.iter().flat_map(|user| ["--user".into(), OsString::from(user)]));
            if request.tty {
                argv.push("--tty".into());
            }
            argv.push("--".into());
        } else {
            if request.user.is_some() {
                return Err(Failure::unavailable(
                    "cannot change the user: the machine's exec takes no options",
                ));
            }
            let cwd = request.cwd.clone().unwrap_or_else(|| testbed.work_dir.into());
            argv.extend(
                ["sh", "-c", r#"cd "$1" || exit 126; shift; exec env "$@""#, "vm-snapshot"]
                    .map(OsString::from),
            );
            argv.push(cwd);
            argv.extend(pairs);
        }
        argv.extend(request.argv.iter().cloned());
        let exe =
            std::env::current_exe().context(Exit::Software, || "cannot find this program".to_owned())?;
        let mut command = Process::new(exe);
        command
            .arg("internal-local")
            .arg(std::process::id().to_string())
            .arg(&seat.dir)
            .arg(if request.tty { "tty" } else { "" })
            .arg("/")
            .args(argv);
        Ok(command)
    }

    fn usage(&self, seat: &Seat, usage: &mut Usage) {
        let Some(testbed) = inner(seat) else { return };
        usage.alive = true;
        if let Some(measured) =
            run_words(&testbed.status).and_then(|text| contract::read::<Usage>(&text).ok())
        {
            let id = std::mem::take(&mut usage.id);
            *usage = Usage { id, ..measured };
        }
    }

    fn capabilities(&self, seat: &Seat) -> Vec<String> {
        let inner = inner(seat).map(|testbed| testbed.capabilities).unwrap_or_default();
        // `take` is for layers of our own
        let kept = inner.into_iter().filter(|have| have != "snapshot" && have != "exec-options");
        kept.chain(["exec-options".to_owned()]).collect()
    }

    fn work_dir(&self, seat: &Seat) -> String {
        inner(seat).map_or_else(|| "/".to_owned(), |testbed| testbed.work_dir)
    }

    fn mounts(&self, seat: &Seat) -> Vec<Mount> {
        inner(seat).map(|testbed| testbed.mounts).unwrap_or_default()
    }

    fn host_url(&self, seat: &Seat) -> Option<String> {
        inner(seat)?.host_url
    }

    fn share_point(&self, _name: &str, host: &str) -> Option<String> {
        // where it is inside, the program will say
        Some(host.to_owned())
    }

    fn freeze(&self, _seat: &Seat, _layer: &Path) -> Result<()> {
        Err(Failure::unavailable("cannot take a snapshot: the program that opened the machine keeps its own"))
    }
}
