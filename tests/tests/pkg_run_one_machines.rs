//! `pkg-run-one` on real sandboxes where that is what counts: full disks of the host, bundles, a person at a terminal.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::{command, require, sh, sh_ok, skip};

/// A directory with an archive of packages of the recipe `command`, and a sandbox of this host called `m`.
fn site(packages: &[(&str, &[&str], &str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    };
    let mut manifest = String::new();
    for (name, dependencies, build, test) in packages {
        file(&format!("archive/pkgs/{name}/readme"), name);
        file(&format!("archive/steps/{name}/build"), build);
        file(&format!("archive/steps/{name}/test"), test);
        let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name})).collect();
        let record = json!({"kind": "archived", "v": 1, "package": name, "status": "archived", "source": name,
                            "checksum": "", "dependencies": dependencies, "catalog_id": "c"});
        manifest.push_str(&format!("{record}\n"));
    }
    file("archive/manifest.jsonl", &manifest);
    file(
        "machines.json",
        r#"{"kind": "machines", "v": 1, "state_dir": "state", "machines": [{"name": "m", "driver": "sandbox", "root": "host"}]}"#,
    );
    file("state/.keep", "");
    file("out/.keep", "");
    dir
}

const RUN: &str =
    "pkg-run-one --recipe command --machine m --snapshot '' --archive archive --out out --retry-wait-s 0.01";

fn results(dir: &Path) -> String {
    sh_ok("find out -name '*.json' -path '*results*'; find out -name '*.new*'", dir)
}

/// Runs a script where it may mount things that nobody else sees; `None` when this host does not let us.
fn with_mounts(test: &str, script: &str, dir: &Path) -> Option<String> {
    let unshare = if sh_ok("id -u", dir).trim() == "0" { "unshare -m" } else { "unshare -rm" };
    let probe = format!("{unshare} sh -c 'mount -t tmpfs -o size=64k none state'");
    if !sh(&probe, dir).status.success() {
        skip(test, "nothing can be mounted here");
        return None;
    }
    fs::write(dir.join("script"), script).expect("written");
    let output = sh(&format!("{unshare} sh script 2>&1"), dir);
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn no_room_for_the_results() {
    let large = "head -c 300000 /dev/zero | tr '\\0' x | fold; echo done";
    let site = site(&[("p", &[], large, "echo ok 1 - fine")]);
    let script = format!(
        "mount -t tmpfs -o size=200k none out\n{RUN} p; echo \"exit $?\"\n\
         find out -name '*.json'; find out -name '.*.new'\n\
         mount -o remount,size=20m out\n{RUN} -q p | jq -r .outcome\nfind out -name '*.json'"
    );
    let Some(seen) = with_mounts("no_room_for_the_results", &script, site.path()) else { return };
    assert_eq!(
        seen,
        "pkg-run-one: cannot write \"out/.p.new/logs/build.txt\": No space left on device (os error 28)\n\
         \x20 hint: make room and try again; no result was written\nexit 75\npass\nout/results/p.json\n"
    );
}

#[test]
fn no_room_for_the_machine() {
    let large = "head -c 3000000 /dev/zero >big; echo done";
    let site = site(&[("p", &[], large, "echo ok 1 - fine")]);
    let script = format!(
        "mount -t tmpfs -o size=1m none state\n{RUN} -q p; echo \"full while it builds: exit $?\"\n\
         find out -name '*.json' -path '*results*'\n\
         dd if=/dev/zero of=state/fill bs=4k 2>/dev/null\n{RUN} -q --rest-s 0 p; echo \"full when it opens: exit $?\"\n\
         find out -name '*.json' -path '*results*'\nrm state/fill\n\
         mount -o remount,size=50m state\n{RUN} -q p | jq -r .outcome"
    );
    let Some(seen) = with_mounts("no_room_for_the_machine", &script, site.path()) else { return };
    let told: Vec<&str> =
        seen.lines().filter(|line| !line.starts_with("  ") && !line.starts_with("pkg-run-one: ")).collect();
    assert_eq!(told, ["full while it builds: exit 75", "full when it opens: exit 75", "pass"], "{seen}");
    assert_eq!(seen.matches("trouble: m: the disk that the machine is on is full").count(), 3, "{seen}");
    assert_eq!(seen.matches("trouble: m: cannot open it:").count(), 3, "{seen}");
}

#[test]
fn a_bundle_repeats_a_run_elsewhere() {
    let build = "test -x tool; ./tool; tar xzf \"$BUILT/pkgs/lib.tar.gz\"; cat lib/readme";
    let site = site(&[
        ("lib", &[], "true", "echo ok 1 - fine"),
        ("p", &["lib"], build, "echo ok 1 - fine; echo not ok 2 - bad; exit 1"),
        ("unneeded", &[], "true", "true"),
    ]);
    let dir = site.path();
    sh_ok("printf '#!/bin/sh\\necho works\\n' >archive/pkgs/p/tool; chmod +x archive/pkgs/p/tool", dir);
    sh_ok(&format!("{RUN} -q lib; {RUN} -q --bundle p.bundle p"), dir);
    let held = sh_ok("tar tzf p.bundle | grep -v logs/", dir);
    assert_eq!(
        held,
        "bundle.json\narchive/manifest.jsonl\narchive/pkgs/p/readme\narchive/pkgs/p/tool\narchive/steps/lib/build\n\
         archive/steps/lib/test\narchive/steps/p/build\narchive/steps/p/test\nbuilt/pkgs/lib.tar.gz\n\
         built/pkgs/lib.tar.gz.CHECKSUM\nlimits.json\nrecipe.json\nrun.json\n"
    );
    sh_ok("mkdir elsewhere; cp p.bundle machines.json elsewhere", dir);
    let replay = "cd elsewhere; pkg-run-one --machine m --snapshot '' --out out --replay p.bundle";
    let output = sh(&format!("{replay} >run.json"), dir);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("the same verdict as in the bundle"), "{told}");
    assert_eq!(sh_ok("jq -c '[.outcome, .packages]' elsewhere/run.json", dir), "[\"test-fail\",[\"p\"]]\n");
    // where the program that it needs does something else, the verdict is another
    sh_ok(
        "mkdir changed; tar xzf p.bundle -C changed; cd changed; echo 'echo ok 1 - fine' >archive/steps/p/test
         sum=$(sha1sum <archive/steps/p/test | cut -c 1-40)
         jq --arg s $sum '.files[\"archive/steps/p/test\"] = $s' bundle.json >b; mv b bundle.json
         tar czf ../elsewhere/p.bundle *",
        dir,
    );
    let output = sh(&format!("{replay} >run.json"), dir);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("another verdict than in the bundle"), "{told}");
    // and one that was tampered with is refused
    sh_ok(
        "cd changed; echo x >>archive/steps/p/test; tar czf ../elsewhere/p.bundle *; rm -rf ../elsewhere/out",
        dir,
    );
    assert_eq!(sh(replay, dir).status.code(), Some(65));
    assert_eq!(results(&dir.join("elsewhere/..")).lines().count(), 2, "{}", results(dir));
}

/// What a person sees and types at a terminal: `script` gives it one.
#[test]
fn a_person_at_a_terminal() {
    if !require("a_person_at_a_terminal", &["python3", "bash"]) {
        return;
    }
    let site = site(&[("p", &[], "echo built >made", "cat made; echo not ok 1 - wrong; exit 1")]);
    let dir = site.path();
    fs::write(
        dir.join("terminal.py"),
        "import os, pty, sys, time, select\n\
         command, typed = sys.argv[1], sys.argv[2:]\n\
         pid, fd = pty.fork()\n\
         if pid == 0: os.execvp('sh', ['sh', '-c', command])\n\
         seen, end = b'', time.time() + 60\n\
         while time.time() < end:\n\
         \x20   if select.select([fd], [], [], 0.2)[0]:\n\
         \x20       try: data = os.read(fd, 65536)\n\
         \x20       except OSError: break\n\
         \x20       if not data: break\n\
         \x20       seen += data\n\
         \x20   elif typed and (seen[-2:] in (b'$ ', b'# ') or typed[0] == '\\x03' and b'sleep' in seen[-20:]):\n\
         \x20       line = typed.pop(0)\n\
         \x20       os.write(fd, line.encode() + (b'' if line == '\\x03' else b'\\n'))\n\
         \x20       time.sleep(0.3)\n\
         sys.stdout.buffer.write(seen)\n\
         sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
    )
    .expect("written");
    let at_terminal = |options: &str, typed: &[&str]| {
        let output = command("python3", dir)
            .arg("terminal.py")
            .arg(format!("{RUN} {options} p 2>&1"))
            .args(typed)
            .env("TERM", "dumb")
            .output()
            .expect("python3 runs");
        let seen = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        assert!(output.status.success(), "{seen}");
        seen
    };
    let asks = "echo \"tty: $(test -t 0 && test -t 2 && : >/dev/tty && echo yes), in ${PWD##*/}, CI=$CI, made: $(cat made 2>/dev/null)\"";
    let seen = at_terminal("--shell build", &[asks, "exit"]);
    assert!(seen.contains("a shell in m-"), "{seen}");
    assert!(seen.contains("\ntty: yes, in p, CI=true, made: \n"), "{seen}");
    let seen = at_terminal("--shell-after build", &[asks, "exit 3"]);
    assert!(seen.contains("\ntty: yes, in p, CI=true, made: built\n"), "{seen}");
    assert_eq!(results(dir), "", "a visit is no result");
    // Ctrl-C is for what runs in the shell: that ends, and the shell goes on
    let seen = at_terminal("--shell-after build", &["sleep 60", "\u{3}", asks, "exit"]);
    assert!(seen.contains("\ntty: yes, in p, CI=true, made: built\n"), "{seen}");
    // the machine where it failed is that of the test, with what the package was there
    let seen = at_terminal("--debug", &[asks, "exit"]);
    assert!(seen.contains("test-failure: wrong"), "{seen}");
    assert!(seen.contains("\ntty: yes, in p, CI=true, made: built\n"), "{seen}");
    assert_eq!(results(dir), "out/results/p.json\n");
    assert_eq!(sh_ok("vm-snapshot list m | grep -c instance || true", dir), "0\n", "machines are left open");
}
