//! `report-html` as its users see it: the cases in `tests/cases/report-html/`, then what a folder cannot say.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn cases() {
    tests::run_cases("report-html");
}

/// Two sides with all there is to tell: 27 packages.
fn sides() -> PathBuf {
    tests::root().join("tests/cases/report-html/change/in/work")
}

fn report(sides: &Path, scratch: &Path, out: &str) -> Command {
    let mut command = tests::command(tests::program("report-html"), scratch);
    command.arg("-q").arg("--old").arg(sides.join("old")).arg("--new").arg(sides.join("new"));
    command.arg("--out").arg(out).stdout(Stdio::null());
    command
}

fn copy_of_sides(scratch: &Path) -> PathBuf {
    tests::sh_ok(&format!("cp -r '{}' sides", sides().display()), scratch);
    scratch.join("sides")
}

/// Every file below a directory with its inode: a file that was rewritten has another one.
fn inodes(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files: Vec<(PathBuf, u64)> = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.path().to_owned(), entry.metadata().expect("there").ino()))
        .collect();
    files.sort();
    files
}

#[test]
fn only_what_differs_is_rewritten() {
    let scratch = tempfile::tempdir().expect("a directory");
    let sides = copy_of_sides(scratch.path());
    let out = scratch.path().join("report");
    assert!(report(&sides, scratch.path(), "report").status().expect("runs").success());
    let first = inodes(&out);
    assert!(report(&sides, scratch.path(), "report").status().expect("runs").success());
    assert_eq!(inodes(&out), first, "nothing is new, nothing is rewritten");
    // one new result: its page, and the pages that tell of all packages
    let result = sides.join("new/out/results/turtle.json");
    let text = fs::read_to_string(&result).expect("a result").replacen("\"wall_s\": ", "\"wall_s\": 1", 1);
    fs::write(&result, text).expect("writable");
    assert!(report(&sides, scratch.path(), "report").status().expect("runs").success());
    let rewritten: Vec<_> =
        inodes(&out).into_iter().filter(|file| !first.contains(file)).map(|(path, _)| path).collect();
    let pages: Vec<_> = rewritten.iter().filter(|path| path.starts_with(out.join("packages"))).collect();
    assert_eq!(pages, [&out.join("packages/turtle.html")]);
    assert!(!rewritten.iter().any(|path| path.starts_with(out.join("logs"))), "{rewritten:?}");
    // a package that goes takes its pages with it
    fs::remove_file(&result).expect("there");
    fs::remove_file(sides.join("old/out/results/turtle.json")).expect("there");
    for side in ["old", "new"] {
        let manifest = sides.join(side).join("archive/manifest.jsonl");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let rest: Vec<&str> = text.lines().filter(|line| !line.contains("\"package\": \"turtle\"")).collect();
        fs::write(&manifest, rest.join("\n")).expect("writable");
    }
    assert!(report(&sides, scratch.path(), "report").status().expect("runs").success());
    assert!(!out.join("packages/turtle.html").exists() && !out.join("logs/new/turtle").exists());
}

#[test]
fn killed_at_any_moment_every_file_is_whole() {
    let scratch = tempfile::tempdir().expect("a directory");
    let start = std::time::Instant::now();
    assert!(report(&sides(), scratch.path(), "whole").status().expect("runs").success());
    let whole_run = start.elapsed();
    let whole = scratch.path().join("whole");
    let killed = scratch.path().join("killed");
    let mut partial = 0;
    for twentieth in 2..24 {
        let _ = fs::remove_dir_all(&killed);
        let mut child = report(&sides(), scratch.path(), "killed").spawn().expect("runs");
        std::thread::sleep(whole_run * twentieth / 20);
        let _ = child.kill();
        let _ = child.wait();
        let there = inodes(&killed);
        partial += usize::from(there.len() > 1 && !killed.join("index.html").exists());
        for (path, _) in there {
            let relative = path.strip_prefix(&killed).expect("below");
            // what is being made has no name that anything leads to yet
            if !relative.iter().any(|part| part.to_string_lossy().ends_with(".tmp")) {
                let same = fs::read(&path).ok() == fs::read(whole.join(relative)).ok();
                assert!(same, "{} is not whole", relative.display());
            }
        }
    }
    assert!(partial > 0, "no kill came while pages were written");
    // and the next run ends with the same report, nothing left over
    assert!(report(&sides(), scratch.path(), "killed").status().expect("runs").success());
    let names = |dir: &str| -> Vec<PathBuf> {
        let dir = scratch.path().join(dir);
        inodes(&dir).into_iter().map(|(path, _)| path.strip_prefix(&dir).expect("below").to_owned()).collect()
    };
    let left: Vec<PathBuf> =
        names("killed").into_iter().filter(|name| !names("whole").contains(name)).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn two_at_once_write_one_after_the_other() {
    let scratch = tempfile::tempdir().expect("a directory");
    let children: Vec<_> =
        (0..4).map(|_| report(&sides(), scratch.path(), "report").spawn().expect("runs")).collect();
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
}

#[test]
fn a_log_of_a_gigabyte_costs_bounded_memory() {
    if !tests::require("a_log_of_a_gigabyte_costs_bounded_memory", &["prlimit"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let sides = copy_of_sides(scratch.path());
    let path = sides.join("new/out/logs/pict-lib/install.log");
    let mut log = fs::File::create(&path).expect("writable");
    log.write_all(b"begins\n").expect("written");
    // one line of a gigabyte of zeros, and the end
    log.seek(SeekFrom::Start(1 << 30)).expect("sparse");
    log.write_all(b"\nutils.rkt:211:14: draw-spline-smooth: unbound identifier\nends\n").expect("written");
    let output = tests::command("prlimit", scratch.path())
        .args(["--as=300000000", "--"])
        .arg(tests::program("report-html"))
        .args(["-q", "--old", "sides/old", "--new", "sides/new", "--out", "report", "--whole-logs", "2000"])
        .output()
        .expect("prlimit runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(scratch.path().join("report/logs/new/pict-lib/1-install.log.html"))
        .expect("a page");
    assert!(page.contains("begins") && page.contains("ends") && page.contains("are not shown"));
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    let whole = fs::read_to_string(scratch.path().join("report/logs/new/pict-lib/1-install.log.txt"))
        .expect("a text");
    assert!(whole.starts_with("begins\n") && whole.ends_with("ends\n") && whole.contains("(line cut)"));
    assert!(page.contains("href=\"1-install.log.txt\""));
}

#[test]
fn a_full_disk_is_told() {
    let scratch = tempfile::tempdir().expect("a directory");
    let output = tests::sh(
        &format!(
            "ulimit -f 8; report-html --old '{0}/old' --new '{0}/new' --out report 2>err; echo $?; cat err",
            sides().display()
        ),
        scratch.path(),
    );
    let told = String::from_utf8_lossy(&output.stdout);
    // past the limit on file sizes the kernel sends a signal, or the write fails: never success
    assert!(!told.starts_with("0\n"), "{told}");
    assert!(!scratch.path().join("report/index.html").exists(), "the overview comes last");
}

/// `--watch`: pages while the run is going, which say how far it is and load themselves again; nothing of that once it is done,
/// nor when the watcher is stopped.
#[test]
fn a_run_is_watched() {
    let scratch = tempfile::tempdir().expect("a directory");
    let sides = copy_of_sides(scratch.path());
    let out = scratch.path().join("report");
    let index = || fs::read_to_string(out.join("index.html")).unwrap_or_default();
    let wait_for = |what: &str, holds: &dyn Fn() -> bool| {
        let begin = std::time::Instant::now();
        while !holds() {
            assert!(begin.elapsed().as_secs() < 60, "{what}: {}", index());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let results = sides.join("new/out/results");
    let later = scratch.path().join("later");
    fs::rename(&results, &later).expect("moved");
    let watch = || {
        let mut command = report(&sides, scratch.path(), "report");
        command.args(["--watch", "1"]).stdout(Stdio::piped()).spawn().expect("runs")
    };
    let mut stopped = watch();
    wait_for("before the first result", &|| index().contains("http-equiv=\"refresh\""));
    fs::create_dir(&results).expect("made");
    let names: Vec<_> =
        fs::read_dir(&later).expect("there").map(|e| e.expect("an entry").file_name()).collect();
    let (first, last) = names.split_at(names.len() / 2);
    for name in first {
        fs::copy(later.join(name), results.join(name)).expect("copied");
    }
    wait_for("half of it", &|| index().contains("are judged,") && index().contains("at this rate"));
    assert!(index().contains("This page loads itself again every 5 s."));
    tests::sh_ok(&format!("kill -TERM {}", stopped.id()), scratch.path());
    let status = stopped.wait().expect("ends");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15), "dies of the signal");
    assert!(index().contains("The run is still going") && !index().contains("refresh"), "{}", index());
    assert!(!index().contains("loads itself"));
    let mut watching = watch();
    wait_for("again", &|| index().contains("http-equiv=\"refresh\""));
    for name in last {
        fs::copy(later.join(name), results.join(name)).expect("copied");
    }
    let mut said = String::new();
    watching.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(watching.wait().expect("ends").success());
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() > 1, "{said}");
    assert_eq!(lines[0]["running"], true);
    assert!(lines[0]["progress"]["left"].as_u64() > Some(0), "{said}");
    assert_eq!(lines.last().expect("a line")["running"], false);
    assert!(!index().contains("refresh") && !index().contains("still going"));
    // and it is the report that is made at once
    assert!(report(&sides, scratch.path(), "once").status().expect("runs").success());
    assert_eq!(index(), fs::read_to_string(scratch.path().join("once/index.html")).expect("a page"));
}

/// Pages and feeds are valid: `tidy` finds no error and no warning, `xmllint` can read the rest.
#[test]
fn markup_is_valid() {
    if !tests::require("markup_is_valid", &["tidy", "xmllint"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let made = report(&sides(), scratch.path(), "report").arg("--logs").arg("all").status().expect("runs");
    assert!(made.success());
    let out = tests::sh_ok(
        "find report -name '*.html' | sort | while read -r page; do tidy -q -e --gnu-emacs yes --drop-empty-elements no \"$page\" 2>&1 \
         | grep -v 'proprietary attribute' || true; done; \
         find report -name '*.xml' -o -name '*.atom' -o -name '*.svg' | xargs xmllint --noout; jq -e .kind report/report.json >/dev/null",
        scratch.path(),
    );
    assert_eq!(out, "");
}

/// `summary.rktd` is what readers of pkg-build's summaries expect: exactly its keys, each of its kind.
#[test]
fn racket_reads_the_summary() {
    if !tests::require("racket_reads_the_summary", &["racket"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    assert!(report(&sides(), scratch.path(), "report").status().expect("runs").success());
    let program = r#"
      (define keys '(arch-failure-log author conflicts-log dep-failure-log docs failure-log min-failure-log success-log
                     test-failure-log test-success-log))
      (define table (call-with-input-file "report/summary.rktd" read))
      (for ([(name entry) (in-hash table)])
        (unless (equal? (sort (hash-keys entry) symbol<?) keys) (error 'summary "keys of ~a" name))
        (for ([key keys] #:unless (memq key '(author docs)))
          (define log (hash-ref entry key))
          (unless (or (not log) (file-exists? (build-path "report" log))) (error 'summary "~a of ~a: ~a" key name log)))
        (for ([doc (hash-ref entry 'docs)])
          (unless (memq (prefab-struct-key doc) '(doc/main doc/extract doc/salvage doc/none)) (error 'summary "~a" doc))))
      (define (has name key) (and (hash-ref (hash-ref table name) key) #t))
      (write (list (hash-count table) (has "draw-lib" 'success-log) (has "draw-lib" 'test-success-log) (has "pict-lib" 'failure-log)
                   (has "turtle" 'success-log) (has "turtle" 'test-failure-log) (has "ring-buffer" 'dep-failure-log)
                   (has "tzinfo" 'conflicts-log) (has "gone-src" 'failure-log) (has "gone-src" 'success-log)))"#;
    let output = tests::command("racket", scratch.path())
        .env("PLTUSERHOME", scratch.path())
        .args(["-l", "racket/base", "-e", program])
        .output()
        .expect("racket runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "(26 #t #t #t #t #t #t #t #t #f)");
}

/// Whatever a log holds, no page of it can do anything: bytes from a small seeded generator, biased towards what hurts.
#[test]
fn no_log_gets_through() {
    const PIECES: [&[u8]; 16] = [
        b"<script>alert(1)</script>",
        b"\x1b[31m",
        b"\x1b]8;;http://evil/\x07x\x1b]8;;\x07",
        b"</pre>",
        b"-->",
        b"]]>",
        b"\x00",
        b"\xff\xfe",
        b"&lt;",
        b"\"'",
        b"\r",
        b"\n",
        b"<img src=x onerror=alert(1)>",
        "\u{202e}".as_bytes(),
        b"javascript:alert(1)",
        b"\x9b5n",
    ];
    let scratch = tempfile::tempdir().expect("a directory");
    let sides = copy_of_sides(scratch.path());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for package in ["pict-lib", "images-lib", "turtle", "lazy-doc", "mail-tools"] {
        for log in fs::read_dir(sides.join("new/out/logs").join(package)).expect("logs") {
            let mut text = Vec::new();
            for _ in 0..3000 {
                match next() % 3 {
                    0 => text.push((next() % 256) as u8),
                    _ => text.extend_from_slice(PIECES[next() % PIECES.len()]),
                }
            }
            fs::write(log.expect("an entry").path(), text).expect("writable");
        }
    }
    assert!(report(&sides, scratch.path(), "report").status().expect("runs").success());
    for (path, _) in inodes(&scratch.path().join("report")) {
        let mut text = String::new();
        fs::File::open(&path)
            .expect("there")
            .read_to_string(&mut text)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let wrong = ["<script>alert", "<img", "\u{1b}", "\u{0}", "\u{202e}", "\u{9b}"]
            .iter()
            .find(|bad| text.contains(**bad));
        // report.json and summary.rktd quote by other means, but no control character is in them either
        let page = path.extension().is_some_and(|e| e != "json" && e != "rktd" && e != "md");
        assert!(
            wrong.is_none() || (!page && wrong.is_some_and(|bad| bad.starts_with('<'))),
            "{}: {wrong:?}",
            path.display()
        );
        if path.extension().is_some_and(|e| e == "html") {
            assert_eq!(text.matches("<pre").count(), text.matches("</pre>").count(), "{}", path.display());
        }
    }
}
