//! `catalog-edit` as its users see it: the cases in `tests/cases/catalog-edit/`, then what a folder cannot say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::{command, program, require, sh, sh_ok, skip};

#[test]
fn cases() {
    tests::run_cases("catalog-edit");
}

const SHA: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

fn sample() -> PathBuf {
    tests::root().join("tests/cases/catalog-edit/sample")
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The real catalog of 1,378 packages, as a directory with every kind of file; `None` where it is not at hand.
fn real_catalog(test: &str, scratch: &Path) -> Option<PathBuf> {
    let all = tests::root().parent()?.join("shared/data/racket-catalog-2018/pkgs-all");
    if !all.exists() {
        skip(test, "shared/data/racket-catalog-2018 is not here");
        return None;
    }
    if !require(test, &["racket"]) {
        return None;
    }
    let dir = scratch.join("real");
    fs::create_dir_all(dir.join("pkg")).expect("a directory");
    fs::copy(all, dir.join("pkgs-all")).expect("a copy");
    let files = r#"(define h (call-with-input-file "real/pkgs-all" read))
        (for ([(k e) h]) (with-output-to-file (build-path "real/pkg" k) (lambda () (write e))))
        (with-output-to-file "real/pkgs" (lambda () (write (hash-keys h))))"#;
    racket(scratch, files);
    Some(dir)
}

/// Runs a Racket program; gives what it prints.
fn racket(scratch: &Path, program: &str) -> String {
    let output =
        command("racket", scratch).args(["-l", "racket/base", "-e", program]).output().expect("racket runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{program}\n{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every file below a directory.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files =
        walkdir::WalkDir::new(dir).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file());
    files
        .filter_map(|e| Some((e.path().strip_prefix(dir).ok()?.to_owned(), fs::read(e.path()).ok()?)))
        .collect()
}

#[test]
fn real_racket_sees_the_edit_and_nothing_else() {
    let scratch = scratch();
    let scratch = scratch.path();
    if real_catalog("real_racket_sees_the_edit_and_nothing_else", scratch).is_none() {
        return;
    }
    sh_ok("cp -r real edited", scratch);
    sh_ok(
        &format!(
            "catalog-edit --repo racket/typed-racket --tag lens --set 'ring=7' --repo jackfirth/lenses --to me/lenses#fix --commit {SHA} edited || catalog-edit --tag lens --set ring=7 --repo jackfirth/syntax-warn --to me/fork#fix --commit {SHA} edited"
        ),
        scratch,
    );
    let answer = racket(
        scratch,
        r#"(require racket/set)
        (define (get p) (call-with-input-file p read))
        (define before (get "real/pkgs-all")) (define after (get "edited/pkgs-all"))
        (define touched
          (for/list ([(k e) before] #:unless (equal? e (hash-ref after k))) k))
        (define (same-but ks a b) (for/and ([k (hash-keys a)] #:unless (memq k ks)) (equal? (hash-ref a k) (hash-ref b k #f))))
        (write (list
          (equal? (hash-keys before #t) (hash-keys after #t))
          (equal? (list->set (hash-keys after)) (list->set (get "edited/pkgs")))
          (for/and ([(k e) after]) (equal? e (get (build-path "edited/pkg" k))))
          (for/and ([k touched]) (same-but '(source checksum versions ring) (hash-ref before k) (hash-ref after k)))
          (> (length touched) 5) (< (length touched) 40)))"#,
    );
    assert_eq!(answer, "(#t #t #t #t #t #t)");
    if require("real_racket_sees_the_edit_and_nothing_else: raco", &["raco"]) {
        let show = "raco pkg catalog-show --catalog \"file://$PWD/edited\" syntax-warn";
        let shown = sh_ok(&format!("PLTUSERHOME=$PWD {show}"), scratch);
        assert!(shown.contains("Source: git://github.com/me/fork?path=syntax-warn#fix"), "{shown}");
        assert!(shown.contains(&format!("Checksum: {SHA}")), "{shown}");
    }
}

#[test]
fn real_raco_installs_from_the_working_copy() {
    if !require("real_raco_installs_from_the_working_copy", &["raco"]) {
        return;
    }
    let scratch = scratch();
    let entry = r#"#hash((name . "a-lib") (source . "git://github.com/u/r?path=a-lib") (checksum . "x") (dependencies . ()) (modules . ()) (tags . ()) (author . "") (description . ""))"#;
    let dir = scratch.path();
    fs::create_dir_all(dir.join("cat/pkg")).unwrap();
    fs::create_dir_all(dir.join("check out/a-lib")).unwrap();
    fs::write(dir.join("cat/pkg/a-lib"), entry).unwrap();
    fs::write(dir.join("check out/a-lib/info.rkt"), "#lang info\n(define collection \"a-lib\")\n").unwrap();
    fs::write(dir.join("check out/a-lib/main.rkt"), "(module main '#%kernel)\n").unwrap();
    sh_ok("catalog-edit --repo u/r --to-checkout 'check out' cat", dir);
    let install = "raco pkg install --user --no-setup --no-cache --catalog \"file://$PWD/cat\" a-lib";
    sh_ok(&format!("PLTUSERHOME=$PWD {install}"), dir);
    let checksum = sh_ok("catalog-edit --all cat | jq -r .checksum", dir);
    let shown = sh_ok("PLTUSERHOME=$PWD raco pkg show --user --full-checksum", dir);
    assert!(shown.contains(checksum.trim()), "{shown}");
}

/// Lines and directories are two ways to the same catalog, whatever the options.
#[test]
fn in_place_and_as_a_filter_give_the_same_catalog() {
    let scratch = scratch();
    let scratch = scratch.path();
    sh_ok(
        &format!("cp -r '{}' start && catalog-edit --all start > start.jsonl", sample().display()),
        scratch,
    );
    for options in [
        "--tag gui --set 'tags=[\"x\"]'",
        "--author bob --remove",
        "--match '^g' --with-dependents --depth 1 --keep",
        "--ring 0,1 --set ring=null --ring 2 --remove",
        "--dependents-of draw-lib --except plot --remove",
        "--dependencies-of plot --keep",
        &format!(
            "--match 'lib$' --to 'me/all?path=x y#b' --commit {SHA} --tag ui --set 'versions={{\"9.0\":{{\"checksum\":\"c\"}}}}' --keep"
        ),
        &format!(
            "--repo racket/gui --to https://git.example.org/a.git#b --commit {SHA} --with-dependencies --keep"
        ),
    ] {
        let script = format!(
            "rm -rf cat && cp -r start cat && cp start.jsonl lines.jsonl
             catalog-edit {options} cat > cat.json
             catalog-edit {options} lines.jsonl > lines.json
             catalog-edit {options} < start.jsonl > filtered.jsonl
             jq -r .catalog_id cat.json lines.json | uniq | wc -l
             jq -c '[.packages, .changed, .removed]' cat.json lines.json | uniq | wc -l
             cmp filtered.jsonl lines.jsonl
             catalog-edit --all cat | jq -cS . | sort > a
             jq -cS . lines.jsonl | sort > b
             cmp a b && echo same"
        );
        let answer = sh_ok(&script, scratch);
        assert_eq!(answer.split_whitespace().collect::<Vec<_>>(), ["1", "1", "same"], "{options}");
    }
}

/// A process of the tool in a process group of its own.
fn start(args: &[&str], scratch: &Path) -> Child {
    command(program("catalog-edit"), scratch)
        .args(args)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// A catalog large enough that an edit takes a while.
fn large_catalog(scratch: &Path, packages: usize) {
    let dir = scratch.join("cat");
    fs::create_dir_all(dir.join("pkg")).unwrap();
    let (mut all, mut names) = (String::from("#hash("), String::from("("));
    for n in 0..packages {
        let entry = format!(
            r#"#hash((checksum . "{SHA}") (dependencies . ("base")) (description . "{}") (name . "p{n}") (source . "git://github.com/u/r?path=p{n}"))"#,
            "text ".repeat(20)
        );
        all.push_str(&format!("(\"p{n}\" . {entry}) "));
        names.push_str(&format!("\"p{n}\" "));
        fs::write(dir.join(format!("pkg/p{n}")), entry).unwrap();
    }
    fs::write(dir.join("pkgs-all"), all + ")").unwrap();
    fs::write(dir.join("pkgs"), names + ")").unwrap();
}

#[test]
fn killed_at_any_moment_the_catalog_is_the_old_or_the_new_one() {
    let scratch = scratch();
    let scratch = scratch.path();
    large_catalog(scratch, 200);
    sh_ok("cp -r cat old && cp -r cat new && catalog-edit --match '[05]$' --set 'note=\"new\"' new", scratch);
    let (old, new) = (tree(&scratch.join("old")), tree(&scratch.join("new")));
    let edit = ["--match", "[05]$", "--set", "note=\"new\"", "cat"];
    let started = Instant::now();
    start(&edit, scratch).wait().unwrap();
    let whole = started.elapsed();
    let (mut olds, mut news) = (0, 0);
    for n in 0..28u32 {
        sh_ok("rm -rf cat && cp -r old cat", scratch);
        let mut child = start(&edit, scratch);
        std::thread::sleep(whole * n / 22);
        // SIGKILL, except for some that get SIGTERM and clean up
        let polite = n % 4 == 3;
        let signal = if polite { "TERM" } else { "KILL" };
        sh(&format!("kill -{signal} {} 2>/dev/null", child.id()), scratch);
        child.wait().unwrap();
        let now = tree(&scratch.join("cat"));
        olds += u32::from(now == old);
        news += u32::from(now == new);
        assert!(now == old || now == new, "neither old nor new after {n}/22 of {whole:?}");
    }
    assert!(olds > 0 && news > 0, "{olds} old, {news} new: the moments are badly chosen");
    sh_ok("rm -rf cat && cp -r old cat && catalog-edit --package p1 --set x=1 cat", scratch);
    let left: Vec<_> = fs::read_dir(scratch).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "left behind: {left:?}");
}

#[test]
fn readers_never_see_half_an_edit() {
    let scratch = scratch();
    let scratch = scratch.path();
    large_catalog(scratch, 100);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..5 {
                let set = format!("note={n}");
                assert!(start(&["--all", "--set", &set, "cat"], scratch).wait().unwrap().success());
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut seen = std::collections::BTreeSet::new();
        while !done.load(Ordering::Relaxed) {
            let all = fs::read_to_string(scratch.join("cat/pkgs-all")).expect("there is always one");
            assert!(all.starts_with("#hash(") && all.ends_with(')'));
            let notes: std::collections::BTreeSet<&str> =
                all.split("(note . ").skip(1).map(|rest| &rest[..rest.find(')').unwrap()]).collect();
            assert!(notes.len() <= 1, "two edits in one file: {notes:?}");
            std::thread::sleep(Duration::from_millis(1));
            seen.extend(notes.iter().map(|note| (*note).to_owned()));
        }
        assert!(seen.len() > 1, "the reader saw {seen:?} only");
    });
}

#[test]
fn edits_at_the_same_time_wait_for_each_other() {
    let scratch = scratch();
    let scratch = scratch.path();
    large_catalog(scratch, 50);
    let children: Vec<Child> =
        (0..12).map(|n| start(&["--package", &format!("p{n}"), "--set", "note=1", "cat"], scratch)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let noted = sh_ok("catalog-edit --all cat | jq -r 'select(.note == 1) | .name' | wc -l", scratch);
    assert_eq!(noted.trim(), "12");
}

#[test]
fn nothing_is_printed_before_everything_was_found() {
    let scratch = scratch();
    let lines = sh_ok(&format!("catalog-edit --all '{}'", sample().display()), scratch.path());
    let mut child = command(program("catalog-edit"), scratch.path())
        .args(["--package", "gui,nowhere", "--remove"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0));
}

#[test]
fn full_disk_and_closed_pipe() {
    let scratch = scratch();
    let scratch = scratch.path();
    sh_ok(&format!("cp -r '{}' cat && catalog-edit --all cat > all.jsonl", sample().display()), scratch);
    let full = sh("catalog-edit --all < all.jsonl > /dev/full", scratch);
    assert_eq!(full.status.code(), Some(73));
    let stderr = String::from_utf8_lossy(&full.stderr);
    assert!(stderr.starts_with("catalog-edit: cannot write to stdout:"), "{stderr}");
    let mut child = command(program("catalog-edit"), scratch)
        .args(["--all", "cat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_leaves_the_old_catalog() {
    let scratch = scratch();
    let scratch = scratch.path();
    large_catalog(scratch, 200);
    if !sh("unshare -m mount -t tmpfs none /mnt", scratch).status.success() {
        return skip("a_full_disk_leaves_the_old_catalog", "no mount namespace may be made here");
    }
    // a file system of its own, in a mount namespace of its own
    let script = "unshare -m sh -euc '
        mkdir small; mount -t tmpfs -o size=2m none small; cp -r cat small
        before=$(cat small/cat/pkgs-all small/cat/pkg/* | sha1sum)
        status=0; catalog-edit --all --set \"note=\\\"$(head -c 9000 /dev/zero | tr \"\\0\" x)\\\"\" small/cat 2>error || status=$?
        after=$(cat small/cat/pkgs-all small/cat/pkg/* | sha1sum)
        test \"$before\" = \"$after\"; ls -A small; echo $status'";
    assert_eq!(sh_ok(script, scratch), "cat\n73\n");
    let error = fs::read_to_string(scratch.join("error")).unwrap();
    assert!(
        error.starts_with("catalog-edit: cannot write catalog \"") && error.contains("No space left"),
        "{error}"
    );
}

#[test]
fn a_mount_point_is_edited_file_by_file() {
    let scratch = scratch();
    let scratch = scratch.path();
    if !sh("unshare -m mount -t tmpfs none /mnt", scratch).status.success() {
        return skip("a_mount_point_is_edited_file_by_file", "no mount namespace may be made here");
    }
    sh_ok(
        &format!(
            "cp -r '{}' cat && cp -r cat new && catalog-edit --package gui --remove --tag gui --set ring=5 new",
            sample().display()
        ),
        scratch,
    );
    let edit = "mount --bind cat cat; catalog-edit -v --package gui --remove --tag gui --set ring=5 cat";
    sh_ok(&format!("unshare -m sh -euc '{edit}' 2>told"), scratch);
    assert_eq!(tree(&scratch.join("cat")), tree(&scratch.join("new")));
    let told = fs::read_to_string(scratch.join("told")).unwrap();
    assert!(told.contains("replacing the files one by one"), "{told}");
}

#[test]
fn a_long_stream_needs_little_memory() {
    let scratch = scratch();
    let scratch = scratch.path();
    let mut child = command("sh", scratch)
        .args(["-euc", "ulimit -v 160000; exec catalog-edit --package p7 --set ring=1 --dependents-of q --depth 1 --remove"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        let text = "x".repeat(40_000);
        for n in 0..5_000 {
            writeln!(stdin, r#"{{"kind":"package","v":1,"name":"p{n}","description":"{text}","ring":0}}"#)
                .unwrap();
        }
        writeln!(stdin, r#"{{"kind":"package","v":1,"name":"q"}}"#).unwrap();
    });
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let seen = lines
        .map(|line| line.contains(r#""ring":1"#))
        .fold((0, 0), |(all, edited), hit| (all + 1, edited + u32::from(hit)));
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(seen, (5_000, 1), "200 MB went through 160 MB of address space");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    // git asks a port that accepts and says nothing; SIGTERM must end both
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let scratch = scratch();
    sh_ok(&format!("cp -r '{}' cat", sample().display()), scratch.path());
    let target = format!("git://{address}/r#b");
    let mut child = start(&["--repo", "racket/gui", "--to", &target, "cat"], scratch.path());
    let (mut connection, _) = listener.accept().unwrap();
    sh_ok(&format!("kill -TERM {}", child.id()), scratch.path());
    let started = Instant::now();
    child.wait().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    // git is gone too: its end of the connection closes
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::io::Read::read_to_end(&mut connection, &mut Vec::new()).expect("the other end closes");
    assert_eq!(tree(&scratch.path().join("cat")), tree(&sample()));
}

#[test]
fn between_two_catalog_copies_the_content_has_one_id() {
    let scratch = scratch();
    let scratch = scratch.path();
    program("catalog-copy");
    let edit =
        format!("catalog-edit --repo racket/gui --to me/fork#b --commit {SHA} --match '^loop' --remove");
    let script = format!(
        "cp -r '{}' direct && {edit} direct > direct.json
         catalog-copy '{}' - | {edit} | catalog-copy - piped > piped.json
         jq -r .catalog_id direct.json piped.json | uniq | wc -l
         catalog-copy piped - | catalog-edit --all --explain | catalog-copy - explained > explained.json
         catalog-edit --all --dry-run --set x=null explained | jq -r .catalog_id > a; jq -r .catalog_id piped.json | cmp a - && echo same",
        sample().display(),
        sample().display()
    );
    assert_eq!(sh_ok(&script, scratch), "1\nsame\n");
}
