//! `selftest`: proves that a machine does what its capabilities say, by doing it. One `check` object a line.

use crate::args::Open;
use crate::drivers::{self, Request};
use crate::instance::exec::{busy_file, enter, usage};
use crate::instance::open;
use crate::state::machines::Loaded;
use crate::state::store::{Seat, Store, remove_tree};
use edge::{Context, Done, Exit, Failure, Result, out};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `kind: "check"`: one thing that was tried.
#[derive(Serialize)]
struct Check {
    kind: &'static str,
    v: u32,
    machine: String,
    check: &'static str,
    ok: bool,
    took_s: f64,
    /// What was seen.
    saw: String,
}

struct Test<'a> {
    store: &'a Store,
    loaded: &'a Loaded,
    machine: &'a str,
    options: Open,
    share: PathBuf,
    failed: usize,
}

/// Limits for the checks that overstep them.
const SMALL_MEMORY_MB: u64 = 128;
const SMALL_DISK_MB: u64 = 32;
const FEW_PROCESSES: u64 = 24;
/// How far the clock inside may be from that of the host, in seconds.
const CLOCK_S: i64 = 2;

pub fn selftest(store: &Store, loaded: &Loaded, machine: &str, options: &Open) -> Result<Done> {
    let share = std::env::temp_dir().join(format!("vm-snapshot-selftest-{}", std::process::id()));
    fs::create_dir_all(&share)
        .and_then(|()| fs::write(share.join("hello"), "from the host"))
        .context(Exit::CantCreate, || format!("cannot write \"{}\"", share.display()))?;
    let cleanup = share.clone();
    let _cleanup = edge::on_exit(move || remove_tree(&cleanup));
    let mut options = options.clone();
    options.owner = Some(std::process::id().cast_signed());
    let driver = drivers::find(&loaded.find(machine)?.driver)?;
    if driver.share_point("selftest", "/").is_some() {
        options.share.push(("selftest".to_owned(), share.clone()));
    }
    let mut test = Test { store, loaded, machine, options, share, failed: 0 };
    test.run()?;
    let ok = test.failed == 0;
    Ok(if ok { Done::All } else { Done::No })
}

impl Test<'_> {
    fn run(&mut self) -> Result<()> {
        let (seat, _alive) = self.open("open", &self.options.clone())?;
        let has = drivers::find(&seat.instance.machine.driver)?.capabilities(&seat);
        let has = |name: &str| has.iter().any(|have| have == name);
        if let Some(old) = crate::state::age::of_start(self.store, &seat) {
            edge::say::warning(old, None);
        }
        self.talk(&seat)?;
        self.share(&seat)?;
        if has("kill-tree") {
            self.kill_tree(&seat)?;
        }
        if has("no-network") {
            self.network(&seat)?;
        }
        self.escape(&seat)?;
        self.sh("write", &seat, "echo marked > marker && cat marker", |said| said == "marked\n")?;
        let id = seat.instance.id.clone();
        if has("snapshot") {
            self.snapshot(&id)?;
        }
        let begun = Instant::now();
        open::close(self.store, &id)?;
        let left = self.store.instance_dir(&id).exists();
        self.told("close", begun, !left, if left { "something is left" } else { "nothing is left" })?;
        if has("fresh") {
            let (seat, _alive) = self.open("open again", &self.options.clone())?;
            self.sh("fresh", &seat, "ls -A | grep -c marker; true", |said| said == "0\n")?;
            open::close(self.store, &seat.instance.id)?;
        }
        if has("limits-memory") || self.options.memory_mb.is_some() {
            self.memory()?;
        }
        self.processes()?;
        self.disk()
    }

    /// Reports a check, and counts it when it failed.
    fn told(&mut self, check: &'static str, begun: Instant, ok: bool, saw: &str) -> Result<()> {
        self.failed += usize::from(!ok);
        out::json_line(&Check {
            kind: "check",
            v: contract::V,
            machine: self.machine.to_owned(),
            check,
            ok,
            took_s: (begun.elapsed().as_secs_f64() * 10_000.0).round() / 10_000.0,
            saw: saw.chars().take(300).collect(),
        })?;
        out::flush()
    }

    fn open(
        &mut self,
        check: &'static str,
        options: &Open,
    ) -> Result<(Seat, crate::instance::keeper::Alive)> {
        let begun = Instant::now();
        let (seat, started, _) = open::begin(self.store, self.loaded, self.machine, options)?;
        let alive = started.alive()?;
        self.told(check, begun, true, &seat.instance.id)?;
        Ok((seat, alive))
    }

    fn output(&self, seat: &Seat, argv: &[&str], stdin: &[u8]) -> Result<Output> {
        let request = Request { argv: argv.iter().map(OsString::from).collect(), ..Request::default() };
        let run = || {
            let busy = busy_file(&seat.dir).map_err(|failure| std::io::Error::other(failure.message))?;
            flock(&busy, FlockOperation::LockShared)?;
            let mut child = enter(seat, &request)
                .map_err(|failure| std::io::Error::other(failure.message))?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let input = child.stdin.take();
            let bytes = stdin.to_vec();
            let feeder = std::thread::spawn(move || input.map(|mut input| input.write_all(&bytes)));
            let output = child.wait_with_output();
            let _ = feeder.join();
            output
        };
        run().context(Exit::TryAgain, || format!("cannot run in \"{}\"", seat.instance.id))
    }

    /// Runs a script; its stdout decides.
    fn sh(
        &mut self,
        check: &'static str,
        seat: &Seat,
        script: &str,
        good: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        let output = self.output(seat, &["/bin/sh", "-c", script], b"")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let saw = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        self.told(check, begun, good(&said), saw.trim())
    }

    /// argv, stdin, stdout, stderr and exit status pass as they are.
    fn talk(&mut self, seat: &Seat) -> Result<()> {
        let begun = Instant::now();
        self.output(seat, &["true"], b"")?;
        self.told("exec", begun, true, "true")?;
        let begun = Instant::now();
        let argv = ["a b", "", "*", "$HOME", "'\"\\", "-x", "--", "é"];
        let mut whole =
            vec!["/bin/sh", "-c", r#"for a do printf '%s\n' "$a"; done; printf err >&2; exit 41"#, "sh"];
        whole.extend(argv);
        let output = self.output(seat, &whole, b"")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let good = said == argv.map(|arg| format!("{arg}\n")).concat()
            && output.stderr == b"err"
            && output.status.code() == Some(41);
        self.told("arguments, streams and exit status", begun, good, &format!("{said:?} {}", output.status))?;
        let begun = Instant::now();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let output = self.output(seat, &["cat"], &bytes)?;
        self.told("binary data", begun, output.stdout == bytes, &format!("{} bytes", output.stdout.len()))
    }

    fn share(&mut self, seat: &Seat) -> Result<()> {
        let mounts = drivers::find(&seat.instance.machine.driver)?.mounts(seat);
        let Some(mount) = mounts.iter().find(|mount| mount.name == "selftest") else {
            return Ok(());
        };
        let guest = &mount.guest;
        self.sh("share", seat, &format!("cat '{guest}/hello'"), |said| said == "from the host")?;
        if *guest != mount.host {
            let script = format!("echo x > '{guest}/hello'; echo x > '{guest}/new'; true");
            self.sh("share is read-only", seat, &script, |_| true)?;
            let begun = Instant::now();
            let kept = fs::read(self.share.join("hello")).is_ok_and(|text| text == b"from the host")
                && !self.share.join("new").exists();
            self.told("share is as it was", begun, kept, "on the host")?;
        }
        Ok(())
    }

    /// A process in a session of its own that ignores signals ends with the exec that started it.
    fn kill_tree(&mut self, seat: &Seat) -> Result<()> {
        let begun = Instant::now();
        let script = "trap '' TERM INT HUP; (trap '' TERM; while :; do date +%N >> beat; sleep 0.02; done) & \
                      setsid sh -c 'trap \"\" TERM; while :; do date +%N >> beat2; sleep 0.02; done' & \
                      until [ -s beat ] && [ -s beat2 ]; do sleep 0.05; done; echo up; wait";
        // the command that users run and kill, not what it starts
        let prefix = open::testbed(self.store, seat, Duration::ZERO)?.exec;
        let (program, rest) = prefix.split_first().ok_or_else(|| Failure::bug("no exec"))?;
        let spawned = Command::new(program)
            .args(rest)
            .args(["--", "/bin/sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = spawned.context(Exit::TryAgain, || "cannot run".to_owned())?;
        if let Some(stdout) = &mut child.stdout {
            let _ = stdout.read(&mut [0; 3]);
        }
        std::thread::sleep(Duration::from_millis(100));
        let _ = child.kill();
        let _ = child.wait();
        std::thread::sleep(Duration::from_millis(200));
        let script = "cat beat beat2 > a; sleep 0.3; cat beat beat2 > b; cmp a b && test -s a && echo still";
        let mut saw = String::new();
        // through a slow channel the end takes a moment
        while saw != "still\n" && begun.elapsed() < Duration::from_secs(20) {
            let output = self.output(seat, &["/bin/sh", "-c", script], b"")?;
            saw = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        self.told("killing exec ends all it started", begun, saw == "still\n", saw.trim())
    }

    fn network(&mut self, seat: &Seat) -> Result<()> {
        let script = "sed 1d /proc/net/route | cut -f 2 | grep -x 00000000; \
                      getent hosts pkgs.racket-lang.org; echo nothing else";
        self.sh("network is cut", seat, script, |said| said == "nothing else\n")?;
        let begun = Instant::now();
        if let Some(count) = usage(self.store, &seat.instance.id)?.network_refusals {
            self.told("attempts are counted", begun, count > 0, &count.to_string())?;
        }
        Ok(())
    }

    /// Not even root inside sees anything of the host but what is shared with it.
    fn escape(&mut self, seat: &Seat) -> Result<()> {
        let Some(script) = drivers::find(&seat.instance.machine.driver)?.escape() else { return Ok(()) };
        let begun = Instant::now();
        let argv = ["/bin/sh", "-c", script].map(OsString::from).to_vec();
        let request = Request { argv, user: Some("root".to_owned()), ..Request::default() };
        let output = enter(seat, &request)?.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.context(Exit::TryAgain, || format!("cannot run in \"{}\"", seat.instance.id))?;
        let saw = String::from_utf8_lossy(&output.stdout);
        self.told("root inside sees nothing of the host", begun, saw.is_empty(), saw.trim())
    }

    fn snapshot(&mut self, id: &str) -> Result<()> {
        let name = format!("selftest-{}", std::process::id());
        let begun = Instant::now();
        let snapshot = open::take(self.store, id, &name, false)?;
        self.told("take", begun, true, &snapshot.image_id)?;
        let options = Open { snapshot: Some(name.clone()), ..self.options.clone() };
        let (seat, _alive) = self.open("open from the snapshot", &options)?;
        self.sh("the snapshot has the write", &seat, "cat marker; echo changed > marker", |said| {
            said == "marked\n"
        })?;
        let random = self.random(&seat)?;
        open::close(self.store, &seat.instance.id)?;
        let (seat, _alive) = self.open("open from the snapshot again", &options)?;
        self.clock(&seat)?;
        let begun = Instant::now();
        let again = self.random(&seat)?;
        self.told("random numbers are fresh", begun, random != again, &format!("{random:x?}, {again:x?}"))?;
        self.sh("the snapshot is untouched", &seat, "cat marker", |said| said == "marked\n")?;
        open::close(self.store, &seat.instance.id)?;
        open::close(self.store, id)?;
        let begun = Instant::now();
        crate::instance::standing::delete(self.store, Some(self.loaded), self.machine, Some(&name))?;
        self.told("delete", begun, true, &name)
    }

    /// What a machine that goes on with the memory of a snapshot would say again.
    fn random(&self, seat: &Seat) -> Result<Vec<u8>> {
        Ok(self.output(seat, &["head", "-c", "16", "/dev/urandom"], b"")?.stdout)
    }

    /// The clock inside says what that of the host does, also where it stood still in a snapshot.
    fn clock(&mut self, seat: &Seat) -> Result<()> {
        let begun = Instant::now();
        let now = || jiff::Timestamp::now().as_second();
        let earliest = now() - CLOCK_S;
        let said = self.output(seat, &["date", "+%s"], b"")?.stdout;
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let right = said.parse().is_ok_and(|inside| (earliest..=now() + CLOCK_S).contains(&inside));
        self.told("the clock is right", begun, right, &format!("{said} at {}", now()))
    }

    fn memory(&mut self) -> Result<()> {
        let options = Open { memory_mb: Some(SMALL_MEMORY_MB), ..self.options.clone() };
        let (seat, _alive) = self.open("open with little memory", &options)?;
        // one line without end, which sort has to hold
        let hog = "sh -c 'head -c 400000000 /dev/zero | sort >/dev/null && echo survived'; true";
        self.sh("memory limit", &seat, hog, |said| !said.contains("survived"))?;
        let begun = Instant::now();
        if let Some(kills) = usage(self.store, &seat.instance.id)?.memory_kills {
            self.told("the kill is counted", begun, kills > 0, &kills.to_string())?;
        }
        open::close(self.store, &seat.instance.id)
    }

    fn processes(&mut self) -> Result<()> {
        let options = Open { processes: Some(FEW_PROCESSES), ..self.options.clone() };
        let (seat, _alive) = self.open("open with few processes", &options)?;
        if drivers::find(&seat.instance.machine.driver)?
            .capabilities(&seat)
            .iter()
            .any(|have| have == "limits-processes")
        {
            let bomb = "for i in $(seq 100); do sleep 3 & done 2>/dev/null; echo all";
            self.sh("process limit", &seat, &format!("sh -c '{bomb}'; true"), |said| !said.contains("all"))?;
        }
        open::close(self.store, &seat.instance.id)
    }

    fn disk(&mut self) -> Result<()> {
        let options = Open { disk_mb: Some(SMALL_DISK_MB), ..self.options.clone() };
        let (seat, _alive) = self.open("open with a small disk", &options)?;
        if drivers::find(&seat.instance.machine.driver)?
            .capabilities(&seat)
            .iter()
            .any(|have| have == "limits-disk")
        {
            let script = "i=0; while [ $i -lt 60 ] && head -c 2000000 /dev/zero > f$i; do i=$((i+1)); sleep 0.02; done; echo $i";
            self.sh("disk limit", &seat, script, |said| said.trim() != "60")?;
            std::thread::sleep(Duration::from_millis(300));
            let begun = Instant::now();
            let full = usage(self.store, &seat.instance.id)?.disk_full == Some(true);
            self.told("a full disk is told", begun, full, &full.to_string())?;
        }
        open::close(self.store, &seat.instance.id)
    }
}
