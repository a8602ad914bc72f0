//! `pkg-archive` as its users see it: the cases in `tests/cases/pkg-archive/`, then what a folder cannot say.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tests::liar::{Liar, Lie};

#[test]
fn cases() {
    tests::run_cases("pkg-archive");
}

/// Makes `pkgs/NAME` with these dependencies and a module, and its entry in `cat/`.
fn package(dir: &Path, name: &str, dependencies: &str, module: &str) {
    let home = dir.join("pkgs").join(name);
    fs::create_dir_all(&home).unwrap();
    fs::create_dir_all(dir.join("cat/pkg")).unwrap();
    let quoted: String = dependencies.split_whitespace().map(|name| format!("\"{name}\" ")).collect();
    fs::write(
        home.join("info.rkt"),
        format!("#lang info\n(define collection \"{name}\")\n(define deps '({quoted}))\n"),
    )
    .unwrap();
    fs::write(home.join("main.rkt"), module).unwrap();
    let entry = format!("#hash((name . \"{name}\") (source . \"../pkgs/{name}/\") (checksum . \"\"))");
    fs::write(dir.join("cat/pkg").join(name), entry).unwrap();
}

fn summary(stdout: &str) -> Value {
    serde_json::from_str(stdout.lines().last().expect("a summary")).expect("JSON")
}

fn all_files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .filter(|entry| !entry.path().components().any(|part| part.as_os_str() == ".pkg-archive"))
        .map(|entry| (entry.path().strip_prefix(dir).unwrap().to_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn the_same_content_gives_the_same_archive_anywhere_and_any_day() {
    let scratch = tempfile::tempdir().unwrap();
    let (here, there) = (scratch.path().join("here"), scratch.path().join("there"));
    for dir in [&here, &there] {
        for n in 0..30 {
            package(
                dir,
                &format!("p{n}"),
                &format!("p{}", (n + 1) % 30),
                &format!("#lang racket/base\n{n}\n"),
            );
        }
    }
    tests::sh_ok("chmod -R go-rwx pkgs && find pkgs -exec touch -d 1999-12-31 {} +", &there);
    tests::sh_ok("pkg-archive -q --relative --jobs 1 cat archive", &here);
    tests::sh_ok("umask 077; TZ=Asia/Tokyo pkg-archive -q --relative --jobs 8 cat archive", &there);
    let (mut ours, theirs) = (all_files(&here.join("archive")), all_files(&there.join("archive")));
    // only where the sources were differs
    for (_, content) in &mut ours {
        *content = String::from_utf8_lossy(content).replace("/here/", "/there/").into_bytes();
    }
    let theirs: Vec<_> =
        theirs.into_iter().map(|(p, c)| (p, String::from_utf8_lossy(&c).into_owned().into_bytes())).collect();
    assert_eq!(ours.len(), theirs.len());
    for (one, other) in ours.iter().zip(&theirs) {
        assert!(one == other, "{} differs", one.0.display());
    }
}

#[test]
fn only_what_changed_is_touched() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for name in ["a", "b", "c"] {
        package(dir, name, "", "#lang racket/base\n1\n");
    }
    tests::sh_ok("pkg-archive -q cat archive; find archive -exec touch -h -d 2020-01-01 {} +", dir);
    fs::write(dir.join("pkgs/b/main.rkt"), "#lang racket/base\n2\n").unwrap();
    fs::remove_file(dir.join("cat/pkg/c")).unwrap();
    let out = tests::sh_ok("pkg-archive -q cat archive", dir);
    let seen = summary(&out);
    assert_eq!([&seen["archived"], &seen["unchanged"], &seen["removed"]], [1, 1, 1], "{out}");
    assert!(out.contains(r#""package":"c","status":"removed""#));
    let touched =
        tests::sh_ok("cd archive; find . -newermt 2020-01-02 -type f ! -path './.pkg*' | sort", dir);
    assert_eq!(
        touched.lines().collect::<Vec<_>>(),
        [
            "./catalog/pkg/b",
            "./catalog/pkgs",
            "./catalog/pkgs-all",
            "./manifest.jsonl",
            "./packages.mk",
            "./pkgs/b.zip",
            "./pkgs/b.zip.CHECKSUM"
        ]
    );
    // same content, new times: the zips stay
    tests::sh_ok("touch pkgs/*/*; find archive -exec touch -h -d 2020-01-01 {} +", dir);
    assert_eq!(summary(&tests::sh_ok("pkg-archive -q cat archive", dir))["unchanged"], json!(2));
    assert_eq!(tests::sh_ok("find archive -newermt 2020-01-02 -type f ! -path '*/.pkg*'", dir), "");
    // what was tampered with or lost is repaired
    tests::sh_ok(
        "echo x >> archive/pkgs/a.zip; rm archive/pkgs/b.zip.CHECKSUM; rm archive/catalog/pkg/a",
        dir,
    );
    let before = tests::sh_ok("cat archive/manifest.jsonl", dir);
    assert_eq!(summary(&tests::sh_ok("pkg-archive -q cat archive", dir))["archived"], json!(2));
    assert_eq!(tests::sh_ok("cat archive/manifest.jsonl", dir), before);
    tests::sh_ok(
        "test $(cat archive/pkgs/a.zip.CHECKSUM) = $(sha1sum < archive/pkgs/a.zip | cut -c1-40)",
        dir,
    );
    tests::sh_ok("test -e archive/pkgs/b.zip.CHECKSUM && test -e archive/catalog/pkg/a", dir);
    // and without memory everything is found again
    tests::sh_ok("rm -r archive/.pkg-archive", dir);
    assert_eq!(summary(&tests::sh_ok("pkg-archive -q cat archive", dir))["unchanged"], json!(2));
}

#[test]
fn include_deps_follows_what_was_archived() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    // the catalog knows no dependencies at all
    for (name, needs) in [("a", "b"), ("b", "c x"), ("c", "b"), ("x", "y"), ("y", ""), ("other", "")] {
        package(dir, name, needs, "#lang racket/base\n");
    }
    let names = |options: &str| {
        tests::sh_ok(
            &format!(
                "rm -rf archive; pkg-archive -q {options} cat archive > /dev/null; ls archive/pkgs/*.zip | xargs -n1 basename -s .zip | tr '\\n' ' '"
            ),
            dir,
        )
    };
    assert_eq!(names("--include a --include-deps"), "a b c x y ");
    assert_eq!(names("--include a --include-deps --exclude x"), "a b c ");
    assert_eq!(names("--include a,other"), "a other ");
    fs::write(
        dir.join("installed.json"),
        r#"{"kind":"installation","v":1,"version":"8.7","vm":"chez-scheme","platform":"x86_64-linux","system":"unix","packages":["base","x"],"origin":"host"}"#,
    )
    .unwrap();
    assert_eq!(names("--include a --include-deps --installed installed.json"), "a b c ");
    let manifest = fs::read_to_string(dir.join("archive/manifest.jsonl")).unwrap();
    assert!(manifest.contains(r#""package":"x","status":"unchanged""#), "{manifest}");
    assert!(!fs::read_to_string(dir.join("archive/packages.mk")).unwrap().contains("/x."));
    let plan = tests::sh_ok("pkg-archive --dry-run --include b --installed installed.json cat archive", dir);
    let steps: Vec<String> = plan
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|step| format!("{} {}", step["package"].as_str().unwrap(), step["step"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, ["a remove", "b look", "c remove"]);
}

#[test]
fn make_builds_in_order_and_believes_no_empty_promise() {
    if !tests::require("make_builds_in_order", &["make"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for (name, needs) in [
        ("base1", ""),
        ("mid", "base1"),
        ("top", "mid"),
        ("loop1", "loop2 base1"),
        ("loop2", "loop1"),
        ("bad", "base1"),
    ] {
        package(dir, name, needs, "#lang racket/base\n");
    }
    fs::remove_dir_all(dir.join("pkgs/bad")).unwrap();
    fs::write(
        dir.join("run-one"),
        "#!/bin/sh\nset -e\nout=\nwhile test $# -gt 0; do case $1 in --archive) shift 2;; --out) out=$2; shift 2;; *) break;; esac; done\n\
         echo \"$@\" >> log\nmkdir -p $out/results\nfor p in \"$@\"; do echo '{}' > $out/results/$p.json; done\n",
    )
    .unwrap();
    fs::write(
        dir.join("Makefile"),
        "OUT = out\nARCHIVE = archive\nPKG_RUN_ONE = ./run-one\nall: results\ninclude archive/packages.mk\nresults: $(RESULTS)\n",
    )
    .unwrap();
    let _ = tests::sh("chmod +x run-one; pkg-archive -q cat archive", dir);
    tests::sh_ok("make -s -j3", dir);
    let log = fs::read_to_string(dir.join("log")).unwrap();
    let at =
        |line: &str| log.lines().position(|seen| seen == line).unwrap_or_else(|| panic!("{line} in {log}"));
    assert_eq!(log.lines().count(), 5, "{log}");
    assert!(at("base1") < at("mid") && at("mid") < at("top") && at("base1") < at("loop1 loop2"));
    at("bad");
    // nothing to do; then exactly a changed package and what depends on it
    assert_eq!(tests::sh_ok("rm log; make -s -j3; cat log 2>/dev/null || true", dir), "");
    std::thread::sleep(Duration::from_millis(20));
    fs::write(dir.join("pkgs/mid/main.rkt"), "#lang racket/base\n2\n").unwrap();
    let _ = tests::sh("pkg-archive -q cat archive", dir);
    assert_eq!(tests::sh_ok("make -s -j3; cat log", dir), "mid\ntop\n");
    // a launcher that claims success and ran nothing
    let _ = tests::sh("rm -r out/results/top.json", dir);
    let output = tests::sh("make -s RUN=true", dir);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no result was written: out/results/top.json"));
    tests::sh_ok("make -s", dir);
    // the kernel's clock for files goes on in steps of some milliseconds, and make takes equal times for up to date
    std::thread::sleep(Duration::from_millis(20));
    tests::sh_ok("touch archive/pkgs/top.zip.CHECKSUM", dir);
    let output = tests::sh("make -s RUN=true", dir);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no new result was written"), "{output:?}");
}

#[test]
fn a_killed_run_is_taken_up_and_leaves_no_half_file() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let module: String = (0..4000).map(|n| format!("(define x{n} {n})\n")).collect();
    for n in 0..150 {
        package(dir, &format!("p{n:03}"), "", &module.replace('x', &format!("y{n}-")));
    }
    tests::sh_ok("pkg-archive -q cat whole", dir);
    for after_ms in [10, 40, 90] {
        let mut child = tests::command(tests::program("pkg-archive"), dir)
            .args(["-q", "-j2", "cat", "killed"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        let _ = child.kill();
        let _ = child.wait();
        let zips = dir.join("killed/pkgs");
        for zip in fs::read_dir(&zips).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if zip.extension().is_some_and(|extension| extension == "zip") {
                let name = zip.file_name().unwrap();
                assert_eq!(fs::read(&zip).unwrap(), fs::read(dir.join("whole/pkgs").join(name)).unwrap());
            }
        }
    }
    let out = tests::sh_ok("pkg-archive -q cat killed", dir);
    assert_eq!(summary(&out)["packages"], json!(150));
    let whole = all_files(&dir.join("whole/pkgs"));
    assert!(whole == all_files(&dir.join("killed/pkgs")), "the archive differs after being killed");
}

#[test]
fn two_runs_at_the_same_time_do_not_mix() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    package(dir, "a", "", "#lang racket/base\n");
    // the first one waits for its catalog with the directory not yet locked; then a lock is held by hand
    tests::sh_ok("pkg-archive -q cat archive", dir);
    let output = tests::sh("flock archive/.pkg-archive/lock pkg-archive -q cat archive", dir);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another pkg-archive is at work there"));
}

#[test]
fn output_that_cannot_be_written() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    package(dir, "a", "", "#lang racket/base\n");
    fs::write(dir.join("file"), "").unwrap();
    assert_eq!(tests::sh("pkg-archive -q cat file", dir).status.code(), Some(73));
    assert_eq!(tests::sh("pkg-archive -q cat archive > /dev/full", dir).status.code(), Some(73));
    // a closed pipe is no error, and the archive is complete
    tests::sh_ok("pkg-archive -q cat archive | true", dir);
    tests::sh_ok("test -s archive/packages.mk", dir);
}

#[test]
fn an_interrupt_cleans_up() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    package(dir, "a", "", "#lang racket/base\n");
    // a git server that accepts and says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("git://127.0.0.1:{}/x.git", silent.local_addr().unwrap().port());
    fs::write(
        dir.join("cat/pkg/g"),
        format!("#hash((source . \"{source}\") (checksum . \"{}\"))", "a".repeat(40)),
    )
    .unwrap();
    let mut child =
        tests::command(tests::program("pkg-archive"), dir).args(["-q", "cat", "archive"]).spawn().unwrap();
    let started = Instant::now();
    while !dir.join("archive/.pkg-archive/work").exists() && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(200));
    tests::sh_ok(&format!("kill -INT {}", child.id()), dir);
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    assert!(!dir.join("archive/.pkg-archive/work").exists());
    std::thread::sleep(Duration::from_millis(100));
    let left = tests::sh(&format!("ps -eo args | grep -v grep | grep '{source}'"), dir);
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "git is still running");
}

#[test]
fn catalogs_from_servers() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    package(dir, "a", "b", "#lang racket/base\n");
    package(dir, "b", "", "#lang racket/base\n");
    tests::sh_ok("pkg-archive -q --relative cat site > /dev/null; printf '(\"a\" \"b\")' > names", dir);
    let read = |file: &str| fs::read(dir.join("site").join(file)).unwrap();
    let liar = Liar::start();
    for file in ["pkgs/a.zip", "pkgs/b.zip", "catalog/pkgs-all"] {
        liar.on(&format!("/{file}"), [Lie::body(read(file))]);
    }
    // everything in one request, with the version asked for
    let url = liar.url("/catalog");
    let out = tests::sh_ok(&format!("pkg-archive -q --version 8.7 {url} one"), dir);
    assert_eq!(summary(&out)["archived"], json!(2), "{out}");
    assert_eq!(liar.asked()[0].query.as_deref(), Some("version=8.7"));
    tests::sh_ok("cmp site/pkgs/a.zip one/pkgs/a.zip", dir);
    // a server that has only names and entries
    for name in ["a", "b"] {
        liar.on(
            &format!("/small/pkg/{name}"),
            [Lie::status(503), Lie::body(read(&format!("catalog/pkg/{name}")))],
        );
    }
    liar.on("/small/pkgs", [Lie::body(fs::read(dir.join("names")).unwrap())]);
    liar.on("/pkgs/a.zip", [Lie::body(read("pkgs/a.zip"))]);
    let out = tests::sh_ok(&format!("pkg-archive -q {} two", liar.url("/small/")), dir);
    assert_eq!(summary(&out)["archived"], json!(2), "{out}");
    // first catalog wins; configured ones come last
    fs::create_dir(dir.join("config")).unwrap();
    fs::write(dir.join("config/config.rktd"), format!("#hash((catalogs . (\"{url}\")))")).unwrap();
    let out =
        tests::sh_ok("rm cat/pkg/b; PLTCONFIGDIR=$PWD/config pkg-archive -q --from-config cat three", dir);
    let sources: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|record| Some(record["source"].as_str()?.split(':').next()?.to_owned()))
        .collect();
    assert_eq!(sources, ["file", "http"]);
    // trouble with a catalog is no trouble of a package
    liar.on("/bad/pkgs-all", [Lie::html()]);
    liar.on("/sick/pkgs-all", [Lie::status(500)]);
    for (path, code) in [("/bad/", 65), ("/sick/", 75), ("/nowhere/", 69)] {
        let output = tests::sh(&format!("pkg-archive -q --retries 0 {} four", liar.url(path)), dir);
        assert_eq!(output.status.code(), Some(code), "{path} {output:?}");
    }
    assert!(!dir.join("four/manifest.jsonl").exists());
}

#[test]
fn fail_fast_stops_and_the_next_run_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for name in ["a", "b", "c"] {
        package(dir, name, "", "#lang racket/base\n");
    }
    tests::sh_ok(
        "pkg-archive -q cat archive; mv pkgs/b gone; echo ';x' >> pkgs/a/main.rkt; cp -a archive before",
        dir,
    );
    let output = tests::sh("pkg-archive -q --fail-fast --jobs 1 cat archive", dir);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot archive \"b\": no such file or directory")
    );
    tests::sh_ok(
        "cmp before/manifest.jsonl archive/manifest.jsonl; cmp before/packages.mk archive/packages.mk; test -e archive/pkgs/c.zip",
        dir,
    );
    let out = tests::sh_ok("mv gone pkgs/b; pkg-archive -q cat archive", dir);
    assert_eq!(summary(&out)["packages"], json!(3));
}

#[test]
fn git_that_is_not_there_is_told_once() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let line = format!(
        r#"{{"kind":"package","v":1,"name":"g","source":"git://host/x.git","checksum":"{}"}}"#,
        "a".repeat(40)
    );
    let output =
        tests::sh(&format!("echo '{line}' | PATH={} pkg-archive - archive", tests::bin_dir().display()), dir);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("install git"));
}

#[test]
fn links_in_a_directory_become_copies_or_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for name in ["inside", "leaves", "absolute", "loop", "dangling"] {
        package(dir, name, "", "#lang racket/base\n");
    }
    tests::sh_ok(
        "cd pkgs; echo secret > secret; mkdir inside/sub; echo text > inside/sub/file; ln -s sub/file inside/file; ln -s sub inside/dir; \
         ln -s ../secret leaves/l; ln -s /etc/hostname absolute/l; mkdir loop/d; ln -s .. loop/d/up; ln -s nowhere dangling/l",
        dir,
    );
    let output = tests::sh("pkg-archive -q cat archive", dir);
    let seen: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "archived")
        .map(|record| {
            format!("{}: {}", record["package"].as_str().unwrap(), record["message"].as_str().unwrap_or("ok"))
        })
        .map(|line| line.split(": /").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        seen,
        [
            "absolute: symbolic link \"l\" points outside the package",
            "dangling: ok",
            "inside: ok",
            "leaves: symbolic link \"l\" points outside the package",
            "loop: symbolic link \"d/up\" leads back into itself",
        ]
    );
    let names = tests::sh_ok("unzip -Z1 archive/pkgs/inside.zip | tr '\\n' ' '", dir);
    assert_eq!(names, "dir/ dir/file file info.rkt main.rkt sub/ sub/file ");
}

#[test]
fn a_full_disk_leaves_the_old_archive() {
    let test = "a_full_disk_leaves_the_old_archive";
    if !tests::require(test, &["unshare", "mount"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    if !tests::sh("unshare -m mount -t tmpfs none /mnt", dir).status.success() {
        return tests::skip(test, "mounting is not permitted");
    }
    for n in 0..20 {
        package(dir, &format!("p{n:02}"), "", "#lang racket/base\n");
    }
    let script = "mkdir small; mount -t tmpfs -o size=900k none small; pkg-archive -q cat small/archive > out; cp -a small/archive before; \
         for p in pkgs/*; do head -c 200000 /dev/urandom > $p/data; done; \
         code=0; pkg-archive -q cat small/archive || code=$?; echo code $code; \
         cmp before/manifest.jsonl small/archive/manifest.jsonl; diff -r before/catalog small/archive/catalog; \
         ls -A small/archive/pkgs | sed -n 's/.*tmp$/left over/p'; rm pkgs/*/data; pkg-archive -q cat small/archive > out; tail -n 1 out; \
         diff -r before/pkgs small/archive/pkgs";
    fs::write(dir.join("script"), script).unwrap();
    let out = tests::sh_ok("unshare -m sh -eu script", dir);
    assert!(out.contains("code 73"), "{out}");
    assert!(!out.contains("left over"), "{out}");
    assert_eq!(summary(&out)["failed"], json!(0), "{out}");
}

#[test]
fn rules_follow_platform_and_past_durations() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for name in ["fast", "slow", "usual", "win", "user"] {
        package(dir, name, "", "#lang racket/base\n");
    }
    fs::write(
        dir.join("pkgs/user/info.rkt"),
        "#lang info\n(define deps '((\"win\" #:platform windows) (\"fast\" #:platform #rx\"linux\")))\n",
    )
    .unwrap();
    fs::create_dir(dir.join("results")).unwrap();
    for (name, wall_s) in [("fast", 1.0), ("slow", 500.0)] {
        let run = json!({"kind": "run", "v": 1, "packages": [name], "catalog_id": "", "recipe": "racket", "outcome": "pass",
            "phases": [], "started": "2026-11-21T00:00:00Z", "wall_s": wall_s});
        fs::write(dir.join("results").join(format!("{name}.json")), run.to_string()).unwrap();
    }
    fs::write(dir.join("results/other.json"), "{}").unwrap();
    let rules = |options: &str| {
        tests::sh_ok(
            &format!("pkg-archive -q {options} cat archive > /dev/null; cat archive/packages.mk"),
            dir,
        )
    };
    let order = |text: &str| {
        let list =
            text.split("PACKAGES := \\\n").nth(1).unwrap().split("\nRESULTS").next().unwrap().to_owned();
        list.replace(" \\\n", "").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let all = rules("");
    assert!(all.contains("results/win.json\n\t$(call run_packages,user)"), "{all}");
    assert_eq!(order(&all), "fast win slow user usual");
    let linux = rules("--platform x86_64-linux --durations results");
    assert!(!linux.contains("results/win.json\n\t$(call run_packages,user)"), "{linux}");
    assert_eq!(order(&linux), "slow fast user usual win");
    assert_eq!(tests::sh("pkg-archive -q --durations nowhere cat archive", dir).status.code(), Some(69));
}
