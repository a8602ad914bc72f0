//! `pkg-run-one` as its users see it: the cases in `tests/cases/pkg-run-one/`, then what a folder cannot say: kills,
//! several at once, a full disk.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tests::{command, root, sh_ok};

#[test]
fn cases() {
    tests::run_cases("pkg-run-one");
}

/// A directory with an archive of the given packages, in which the cases' `one` is at hand.
fn site(packages: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let case = root().join("tests/cases/pkg-run-one/passes");
    let script =
        format!("CASE_DIR={} sh {}/../common/make-archive {packages}", case.display(), case.display());
    sh_ok(&script, dir.path());
    dir
}

/// `pkg-run-one` with the stand-in machine; what it opens is written to `opened`.
fn start(package: &str, dir: &Path, more: &[&str]) -> Child {
    let common = root().join("tests/cases/pkg-run-one/common");
    command("pkg-run-one", dir)
        .args(["-q", "--machine", "m", "--archive", "archive", "--out", "out", "--recipe"])
        .arg(common.join("recipe.json"))
        .arg("--open")
        .arg(common.join("open"))
        .args(more)
        .arg(package)
        .env("OPENED", dir.join("opened"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pkg-run-one runs")
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn machines(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join("opened")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn outcome(dir: &Path, package: &str) -> Option<String> {
    let text = fs::read_to_string(dir.join(format!("out/results/{package}.json"))).ok()?;
    let run: serde_json::Value = serde_json::from_str(&text).expect("a result is whole or not there");
    Some(run["outcome"].as_str().expect("an outcome").to_owned())
}

fn unfinished(dir: &Path) -> Vec<String> {
    walkdir::WalkDir::new(dir.join("out"))
        .into_iter()
        .filter_map(Result::ok)
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".tmp") || path.ends_with(".new") || path.ends_with(".old"))
        .collect()
}

#[test]
fn a_signal_closes_the_machine_and_writes_nothing() {
    for signal in ["INT", "TERM", "HUP"] {
        let dir = site("a");
        fs::write(dir.path().join("archive/a.test"), "echo \"file main\"; touch started; sleep 60")
            .expect("written");
        let mut child = start("a", dir.path(), &[]);
        let began = || machines(dir.path()).iter().any(|m| Path::new(m).join("downstream/started").exists());
        wait_for("the test", began);
        sh_ok(&format!("kill -{signal} {}", child.id()), dir.path());
        let status = child.wait().expect("it ends");
        assert!(!status.success() && status.code().is_none(), "{signal}: {status} is no death by signal");
        let left: Vec<String> = machines(dir.path()).into_iter().filter(|m| Path::new(m).exists()).collect();
        assert_eq!(left, Vec::<String>::new(), "{signal}: open machines");
        assert_eq!(outcome(dir.path(), "a"), None, "{signal}");
        assert_eq!(unfinished(dir.path()), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn killed_at_any_moment_the_result_is_old_or_new() {
    let dir = site("a");
    let mut child = start("a", dir.path(), &[]);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(outcome(dir.path(), "a").as_deref(), Some("pass"));
    fs::write(dir.path().join("archive/a.test"), "echo 'not ok one'; exit 1").expect("written");
    let whole = Instant::now();
    assert!(start("a", dir.path(), &[]).wait().expect("it ends").success());
    let whole = whole.elapsed();
    let (mut old, mut new) = (0, 0);
    for step in 0..12 {
        fs::write(dir.path().join("archive/a.test"), "echo 'ok one'").expect("written");
        assert!(start("a", dir.path(), &[]).wait().expect("it ends").success());
        fs::write(dir.path().join("archive/a.test"), "echo 'not ok one'; exit 1").expect("written");
        let mut child = start("a", dir.path(), &[]);
        std::thread::sleep(whole * step / 9);
        let _ = child.kill();
        let _ = child.wait();
        match outcome(dir.path(), "a").as_deref() {
            Some("pass") => old += 1,
            Some("test-fail") => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 0 && new > 0, "kills came at one moment only: {old} old, {new} new");
    // and the next run cleans up
    assert!(start("a", dir.path(), &[]).wait().expect("it ends").success());
    assert_eq!(unfinished(dir.path()).len(), 0, "{:?}", unfinished(dir.path()));
}

#[test]
fn many_at_once_in_one_place() {
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let dir = site(&names.join(" "));
    // each package twice, so that the lock has something to do
    let children: Vec<Child> = names.iter().chain(&names).map(|name| start(name, dir.path(), &[])).collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    for name in &names {
        assert_eq!(outcome(dir.path(), name).as_deref(), Some("pass"));
        let read = |path: String| fs::read_to_string(dir.path().join(path)).expect("readable");
        let checksum = read(format!("out/built/pkgs/{name}.zip.CHECKSUM"));
        assert!(read(format!("out/built/catalog/pkg/{name}")).contains(&checksum));
    }
    assert_eq!(unfinished(dir.path()), Vec::<String>::new());
}

#[test]
fn a_place_that_cannot_be_written_is_no_verdict() {
    let dir = site("a");
    fs::write(dir.path().join("out"), "a file").expect("written");
    let output = start("a", dir.path(), &[]).wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(73), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_package_leaves_running_does_not_hold_it_up() {
    let dir = site("a");
    fs::write(dir.path().join("archive/a.test"), "sleep 30 & echo 'ok one'").expect("written");
    let clock = Instant::now();
    assert!(start("a", dir.path(), &[]).wait().expect("it ends").success());
    assert!(clock.elapsed() < Duration::from_secs(15), "{:?}", clock.elapsed());
    assert_eq!(outcome(dir.path(), "a").as_deref(), Some("pass"));
}

#[test]
fn a_signal_to_the_whole_group_writes_no_verdict() {
    for signal in ["INT", "TERM"] {
        let dir = site("a");
        fs::write(dir.path().join("archive/a.test"), "echo \"file main\"; touch started; sleep 60")
            .expect("written");
        let common = root().join("tests/cases/pkg-run-one/common");
        // as from a terminal: everything in the foreground group gets it
        let script = format!(
            "setsid pkg-run-one -q --machine m --archive archive --out out --recipe {0}/recipe.json --open {0}/open a & \
             for i in $(seq 200); do test ! -e \"$(tail -n 1 opened)/downstream/started\" || break; sleep 0.05; done; kill -{signal} -- -$!; wait $!",
            common.display()
        );
        let output = command("bash", dir.path())
            .args(["-c", &script])
            .env("OPENED", dir.path().join("opened"))
            .output()
            .expect("bash runs");
        assert!(!output.status.success());
        assert_eq!(outcome(dir.path(), "a"), None, "{signal}: {}", String::from_utf8_lossy(&output.stderr));
        let left: Vec<String> = machines(dir.path()).into_iter().filter(|m| Path::new(m).exists()).collect();
        assert_eq!(left, Vec::<String>::new(), "{signal}: open machines");
    }
}

#[test]
fn what_runs_the_stage_is_killed_once_and_it_runs_again() {
    let dir = site("a");
    let script = "echo \"file main\"; n=$(cat /proc/sys/kernel/random/boot_id); echo x >>\"$COUNT\"; \
                  test $(wc -l <\"$COUNT\") -gt 1 || kill -9 $$; echo 'ok one'";
    let count = dir.path().join("count");
    fs::write(dir.path().join("archive/a.test"), script.replace("$COUNT", &count.display().to_string()))
        .expect("written");
    assert!(start("a", dir.path(), &["--retry-wait-s", "0.01"]).wait().expect("it ends").success());
    assert_eq!(outcome(dir.path(), "a").as_deref(), Some("pass"));
}
