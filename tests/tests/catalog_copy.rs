//! `catalog-copy` as its users see it: the cases in `tests/cases/catalog-copy/`, then what a folder cannot say: beside
//! the real `raco`, over a server that misbehaves, and killed at any point.

mod catalog_server;

use catalog_server::{Answer, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

#[test]
fn cases() {
    tests::run_cases("catalog-copy");
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().canonicalize().expect("it is there");
    (dir, path)
}

fn copy(arguments: &[&str], dir: &Path) -> Output {
    tests::command("catalog-copy", dir).args(arguments).output().expect("catalog-copy runs")
}

fn copy_ok(arguments: &[&str], dir: &Path) -> serde_json::Value {
    let output = copy(arguments, dir);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "catalog-copy {arguments:?}: {}\n{stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null)
}

/// Exit code and stderr.
fn copy_fails(arguments: &[&str], dir: &Path) -> (i32, String) {
    let output = copy(arguments, dir);
    assert!(!output.status.success(), "catalog-copy {arguments:?} must fail");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn raco(arguments: &[&str], dir: &Path) -> Output {
    tests::command("raco", dir)
        .args(["pkg", "catalog-copy"])
        .args(arguments)
        .env("PLTUSERHOME", dir)
        .output()
        .expect("raco runs")
}

fn raco_ok(arguments: &[&str], dir: &Path) {
    let output = raco(arguments, dir);
    assert!(output.status.success(), "raco {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the real `read` makes of two files: `equal?` or not.
fn racket_equal(one: &Path, other: &Path, dir: &Path) -> bool {
    let script = "(define (r f) (call-with-input-file f read)) \
                  (define-values (a b) (apply values (map r (vector->list (current-command-line-arguments))))) \
                  (exit (if (equal? a b) 0 1))";
    let status = tests::command("racket", dir)
        .args(["-l", "racket/base", "-e", script])
        .args([one, other])
        .env("PLTUSERHOME", dir)
        .status();
    status.expect("racket runs").success()
}

/// Writes a catalog that is a `pkgs-all` only.
fn catalog(dir: &Path, name: &str, entries: &str) -> String {
    fs::create_dir_all(dir.join(name)).expect("made");
    fs::write(dir.join(name).join("pkgs-all"), format!("#hash({entries})")).expect("written");
    name.to_owned()
}

fn entry(name: &str, rest: &str) -> String {
    format!(
        "(\"{name}\" . #hash((name . \"{name}\") (source . \"http://h/{name}.zip\") (checksum . \"1\") {rest}))"
    )
}

/// Entries with everything that is unusual, `count` of them.
fn unusual(count: usize) -> String {
    let kinds = ["#hash", "#hasheq", "#hasheqv"];
    let entries = (0..count).map(|n| {
        // strings as keys of a `#hasheq` are equal to nothing
        let (kind, inner) = (kinds[n % 3], kinds[(n / 3) % 3]);
        let string_key = if kind == "#hash" { "\"string key\"" } else { "key" };
        let version = if inner == "#hash" { "\"6.2\"" } else { "six" };
        format!(
            "(\"p{n}\" . {kind}((name . \"p{n}\") (source . \"git://github.com/u/p{n}\") (checksum . \"{n}\") \
             (author . \"ä 😀 \\u200D \\u0001\") (description . \"line\\nline \\\"q\\\"\") (ring . {ring}) (tags . (\"t{n}\")) \
             (dependencies . (\"base\" (\"p1\" #:version \"1.{n}\") (\"p2\" #:platform #rx\"^win\") (\"p3\" #:platform windows #:version \"2.0\") (\"p4\" \"1.0\"))) \
             (modules . ((lib \"p{n}/main.rkt\") (lib \"p{n}/other.ss\"))) (implies . (core \"x\")) \
             (versions . {inner}((default . #hasheq((source . \"s\") (checksum . \"c\"))) ({version} . #hash((checksum . \"d\"))))) \
             (|odd key| . (quote x)) ({string_key} . #(1 2/3 -0.0 +nan.0 #\\a #\"b\" |s y| #:kw (a . b) #&1 #s(p 1))) \
             (last-updated . -inf.0) (license . #f) (nested . #hasheqv((1 . #hash((a . #hasheq())))))))",
            ring = ["0", "1", "#f"][n % 3],
        )
    });
    entries.collect::<Vec<_>>().join(" ")
}

#[test]
fn copies_are_what_racket_calls_equal() {
    if !tests::require("copies_are_what_racket_calls_equal", &["racket"]) {
        return;
    }
    let (_keep, dir) = scratch();
    catalog(&dir, "in", &unusual(18));
    copy_ok(&["in", "one"], &dir);
    assert!(racket_equal(&dir.join("in/pkgs-all"), &dir.join("one/pkgs-all"), &dir));
    tests::sh_ok("catalog-copy one - > lines; catalog-copy - two < lines", &dir);
    assert!(racket_equal(&dir.join("in/pkgs-all"), &dir.join("two/pkgs-all"), &dir));
    // from pkg/* alone
    fs::remove_file(dir.join("two/pkgs-all")).expect("removed");
    copy_ok(&["two", "three"], &dir);
    assert!(racket_equal(&dir.join("in/pkgs-all"), &dir.join("three/pkgs-all"), &dir));
    for name in ["p0", "p17"] {
        assert!(racket_equal(&dir.join("two/pkg").join(name), &dir.join("one/pkg").join(name), &dir));
    }
}

#[test]
fn catalog_id_does_not_depend_on_the_form() {
    let (_keep, dir) = scratch();
    // what the tables can hold
    let entries: Vec<String> = (0..5)
        .map(|n| entry(&format!("p{n}"), "(tags . (\"b\" \"a\")) (dependencies . (\"base\" (\"x\" #:version \"1.0\"))) (modules . ((lib \"a/b.rkt\")))"))
        .collect();
    catalog(&dir, "in", &entries.join(" "));
    let id = |summary: serde_json::Value| summary["catalog_id"].as_str().map(str::to_owned).expect("an id");
    let first = id(copy_ok(&["in", "one"], &dir));
    assert_eq!(first, id(copy_ok(&["in", "db.sqlite"], &dir)));
    assert_eq!(first, id(copy_ok(&["db.sqlite", "two"], &dir)));
    tests::sh_ok("catalog-copy two - > lines", &dir);
    assert_eq!(first, tests::sh_ok("catalog-copy - three < lines | jq -r .catalog_id", &dir).trim());
    let file = dir.join("in/pkgs-all");
    let server = Server::start(move |path| match path {
        "/c/pkgs-all" => Answer::file(file.clone()),
        _ => Answer::Status(404),
    });
    assert_eq!(first, id(copy_ok(&[&server.url("/c"), "four"], &dir)));
    catalog(&dir, "other", &entries[1..].join(" "));
    assert_ne!(first, id(copy_ok(&["other", "five"], &dir)));
}

#[test]
fn sqlite_files_go_both_ways_with_raco() {
    if !tests::require("sqlite_files_go_both_ways_with_raco", &["raco"]) {
        return;
    }
    let (_keep, dir) = scratch();
    catalog(&dir, "in", &unusual(9));
    copy_ok(&["in", "ours.sqlite"], &dir);
    raco_ok(&["in", "theirs.sqlite"], &dir);
    // raco reads ours, we read raco's, and all four are the same
    raco_ok(&["ours.sqlite", "raco-of-ours"], &dir);
    raco_ok(&["theirs.sqlite", "raco-of-theirs"], &dir);
    copy_ok(&["ours.sqlite", "ours-of-ours"], &dir);
    copy_ok(&["theirs.sqlite", "ours-of-theirs"], &dir);
    let read = |name: &str| fs::read_to_string(dir.join(name).join("pkgs-all")).expect("there");
    for other in ["raco-of-theirs", "ours-of-ours", "ours-of-theirs"] {
        assert_eq!(read("raco-of-ours"), read(other), "{other}");
    }
    // and raco goes on working with a database of ours
    catalog(&dir, "more", &entry("added", ""));
    raco_ok(&["--merge", "more", "ours.sqlite"], &dir);
    assert_eq!(copy_ok(&["ours.sqlite", "after"], &dir)["packages"], 10);
}

#[test]
fn real_entries_come_through_every_form() {
    let real = tests::root().join("../shared/data/racket-catalog-2018");
    if !real.is_dir() {
        return tests::skip("real_entries_come_through_every_form", "the real data are not there");
    }
    let (_keep, dir) = scratch();
    let real = real.canonicalize().expect("there").display().to_string();
    copy_ok(&[&real, "one"], &dir);
    let bytes = |path: PathBuf| fs::read(path).expect("there");
    assert!(bytes(dir.join("one/pkgs-all")) == bytes(Path::new(&real).join("pkgs-all")), "not byte for byte");
    tests::sh_ok(
        &format!(
            "catalog-copy '{real}' - > lines; catalog-copy -q - two < lines; catalog-copy two - | cmp - lines"
        ),
        &dir,
    );
    if tests::require("real_entries_come_through_every_form", &["racket"]) {
        assert!(racket_equal(&dir.join("one/pkgs-all"), &dir.join("two/pkgs-all"), &dir));
        copy_ok(&[&real, "ours.sqlite"], &dir);
        raco_ok(&["ours.sqlite", "from-ours"], &dir);
        copy_ok(&["ours.sqlite", "from-ours-too"], &dir);
        assert!(bytes(dir.join("from-ours/pkgs-all")) == bytes(dir.join("from-ours-too/pkgs-all")));
    }
}

/// Command lines that mean the same to raco: (arguments, whether it succeeds).
#[test]
fn flag_for_flag_as_raco() {
    if !tests::require("flag_for_flag_as_raco", &["raco"]) {
        return;
    }
    let lines: [&[&str]; 16] = [
        &["DEST"],
        &["one", "DEST"],
        &["one", "two", "DEST"],
        &["two", "one", "DEST"],
        &["--force", "one", "there"],
        &["one", "there"],
        &["--merge", "one", "there"],
        &["--merge", "--override", "one", "there"],
        &["--merge", "--override", "one", "two", "there"],
        &["--merge", "two", "one", "there"],
        &["--merge", "one", "DEST"],
        &["--override", "two", "one", "DEST"],
        &["--force", "--merge", "one", "there"],
        &["nowhere", "DEST"],
        &["-v", "6.2", "one", "DEST"],
        &["--version", "6.2", "one", "DEST"],
    ];
    for line in lines {
        let results: Vec<(bool, Option<String>)> = [true, false]
            .into_iter()
            .map(|ours| {
                let (_keep, dir) = scratch();
                catalog(&dir, "one", &format!("{} {}", entry("a", "(x . 1)"), entry("b", "")));
                catalog(&dir, "two", &format!("{} {}", entry("a", "(x . 2)"), entry("c", "")));
                catalog(&dir, "there", &format!("{} {}", entry("a", "(x . 3)"), entry("d", "")));
                let output = if ours { copy(line, &dir) } else { raco(line, &dir) };
                let dest = dir.join(line.last().expect("a destination"));
                (output.status.success(), fs::read_to_string(dest.join("pkgs-all")).ok())
            })
            .collect();
        assert_eq!(results[0], results[1], "{line:?}");
    }
}

#[test]
fn relative_works_with_versions_where_raco_crashes() {
    if !tests::require("relative_works_with_versions_where_raco_crashes", &["raco"]) {
        return;
    }
    let (_keep, dir) = scratch();
    let source = dir.join("pkgs/a b.zip").display().to_string();
    catalog(
        &dir,
        "in",
        &format!(
            "(\"a\" . #hash((source . \"{source}\") (checksum . \"\") (versions . #hash((default . #hash((source . \"{source}\")))))))"
        ),
    );
    assert!(!raco(&["--relative", "in", "theirs"], &dir).status.success(), "raco has learned it");
    copy_ok(&["--relative", "in", "ours"], &dir);
    let text = fs::read_to_string(dir.join("ours/pkg/a")).expect("there");
    assert_eq!(text.matches("(source . \"../pkgs/a%20b.zip\")").count(), 2, "{text}");
    // raco finds the same place again
    raco_ok(&["ours", "again"], &dir);
    let again = fs::read_to_string(dir.join("again/pkg/a")).expect("there");
    assert_eq!(again.matches(&format!("file://{}/pkgs/a%20b.zip", dir.display())).count(), 2, "{again}");
}

#[test]
fn a_bad_dependency_does_not_abort_a_copy_to_sqlite() {
    if !tests::require("a_bad_dependency_does_not_abort_a_copy_to_sqlite", &["raco"]) {
        return;
    }
    let (_keep, dir) = scratch();
    let bad = entry("a", "(dependencies . (\"base\" (\"x\" #:version \"3\")))");
    catalog(&dir, "in", &format!("{bad} {}", entry("b", "")));
    assert!(!raco(&["in", "theirs.sqlite"], &dir).status.success(), "raco has learned it");
    let output = copy(&["in", "ours.sqlite"], &dir);
    assert!(output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("package a: dependency (\"x\" #:version \"3\") left out")
    );
    raco_ok(&["ours.sqlite", "back"], &dir);
    assert!(fs::read_to_string(dir.join("back/pkgs")).is_ok_and(|names| names.contains("\"a\"")));
}

#[test]
fn no_key_leads_out_of_the_destination() {
    if !tests::require("no_key_leads_out_of_the_destination", &["raco"]) {
        return;
    }
    let (_keep, dir) = scratch();
    catalog(&dir, "in", &format!("{} {}", entry("a", ""), entry("../../evil", "")));
    raco(&["in", "theirs"], &dir);
    assert!(dir.join("evil").exists(), "raco has learned it");
    fs::remove_file(dir.join("evil")).expect("removed");
    let (code, stderr) = copy_fails(&["in", "ours"], &dir);
    assert!(code == 65 && stderr.contains("\"../../evil\""), "{code} {stderr}");
    assert!(!dir.join("evil").exists() && !dir.join("ours").exists());
    let left: Vec<_> = fs::read_dir(&dir).expect("there").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

/// Entries are read by several threads: which failure is told, and in which order warnings come, must not depend on them.
#[test]
fn messages_do_not_depend_on_threads() {
    let (_keep, dir) = scratch();
    let name = |n: usize| format!("p{n:05}");
    let mut entries: Vec<String> = (0..4000).map(|n| entry(&name(n), "")).collect();
    for n in [5, 1700, 3900] {
        entries[n] = entry(&name(n), "(dependencies . (#:no 1))");
    }
    catalog(&dir, "odd", &entries.join(" "));
    entries[900] = entry("../first", "");
    entries[950] = entry("no name", "");
    entries[3000] = "(\"x\" . #<void>)".to_owned();
    catalog(&dir, "bad", &entries.join(" "));
    for _ in 0..5 {
        let (code, stderr) = copy_fails(&["bad", "out"], &dir);
        assert!(code == 65 && stderr.contains("\"../first\""), "{code} {stderr}");
        let output = copy(&["--force", "odd", "out.sqlite"], &dir);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let told: Vec<usize> =
            [5, 1700, 3900].iter().map(|n| stderr.find(&name(*n)).expect("a warning")).collect();
        assert!(output.status.success() && told.is_sorted(), "{stderr}");
    }
    let line =
        |n: usize| format!("{{\"kind\":\"package\",\"v\":1,\"name\":\"{}\",\"source\":\"s\"}}\n", name(n));
    let mut lines: Vec<String> = (0..4000).map(line).collect();
    lines[2000] = "{\n".to_owned();
    lines[2500] = "[\n".to_owned();
    fs::write(dir.join("lines"), lines.concat()).expect("written");
    for _ in 0..5 {
        let stdin = fs::File::open(dir.join("lines")).expect("there");
        let output =
            tests::command("catalog-copy", &dir).args(["-", "out"]).stdin(stdin).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("line 2001 of stdin"), "{stderr}");
    }
    assert!(!dir.join("out").exists());
}

#[test]
fn a_failed_copy_leaves_the_destination_as_it_was() {
    if !tests::require("a_failed_copy_leaves_the_destination_as_it_was", &["raco"]) {
        return;
    }
    let (_keep, dir) = scratch();
    // a name too long for a file fails in the middle of writing
    let long = "n".repeat(300);
    catalog(&dir, "in", &format!("{} {}", entry("a", ""), entry(&long, "")));
    for dest in ["ours", "theirs"] {
        catalog(&dir, dest, &entry("old", ""));
    }
    assert!(!raco(&["--force", "in", "theirs"], &dir).status.success());
    assert!(!dir.join("theirs/pkgs-all").exists(), "raco has learned it");
    let (code, _) = copy_fails(&["--force", "in", "ours"], &dir);
    assert_eq!(code, 73);
    assert!(fs::read_to_string(dir.join("ours/pkgs-all")).is_ok_and(|text| text.contains("\"old\"")));
}

#[test]
fn a_missing_database_is_not_made() {
    let (_keep, dir) = scratch();
    let (code, stderr) = copy_fails(&["none.sqlite", "dest"], &dir);
    assert!(code == 69 && stderr.contains("no such file"), "{stderr}");
    assert!(!dir.join("none.sqlite").exists() && !dir.join("dest").exists());
}

#[test]
fn links_files_and_mount_points_as_destinations() {
    let (_keep, dir) = scratch();
    catalog(&dir, "in", &entry("a", ""));
    tests::sh_ok(
        "mkdir real; echo stray > real/stray; ln -s real link; ln -s nowhere dangling; echo x > file",
        &dir,
    );
    copy_ok(&["--force", "in", "link"], &dir);
    assert!(
        dir.join("link").is_symlink() && dir.join("real/pkg/a").is_file() && !dir.join("real/stray").exists()
    );
    copy_ok(&["--force", "in", "file"], &dir);
    assert!(dir.join("file/pkg/a").is_file());
    assert_eq!(copy_fails(&["in", "dangling"], &dir).0, 73);
    copy_ok(&["--force", "in", "dangling"], &dir);
    assert!(dir.join("dangling/pkg/a").is_file());
    copy_ok(&["in", "new/deep/er"], &dir);
    // the current directory
    tests::sh_ok("mkdir here && cd here && catalog-copy --force ../in . && test -f ../here/pkg/a", &dir);
    copy_ok(&["in", "x.sqlite"], &dir);
    copy_ok(&["--force", "in", "x.sqlite"], &dir);
    let left: Vec<_> = fs::read_dir(&dir).expect("there").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    let mounted = tests::sh(
        "unshare -m sh -euc 'mkdir m; mount -t tmpfs none m; echo kept > m/kept; \
         catalog-copy -q --merge in m > /dev/null; test -f m/pkg/a; catalog-copy -q --force in m >/dev/null; ls -A m'",
        &dir,
    );
    match mounted.status.success() {
        true => assert_eq!(String::from_utf8_lossy(&mounted.stdout), "kept\npkg\npkgs\npkgs-all\n"),
        false => tests::skip(
            "links_files_and_mount_points_as_destinations",
            &format!("cannot mount: {}", String::from_utf8_lossy(&mounted.stderr)),
        ),
    }
}

#[test]
fn readers_see_old_or_new_also_after_a_kill() {
    let (_keep, dir) = scratch();
    let many = |tag: &str| -> String {
        (0..400).map(|n| entry(&format!("p{n}"), &format!("(tag . \"{tag}\")"))).collect::<Vec<_>>().join(" ")
    };
    catalog(&dir, "old", &many("old"));
    catalog(&dir, "new", &many("new"));
    copy_ok(&["old", "dest"], &dir);
    // a look reads names first and then entries, as a client does, and holds the directory it began with
    let look = |dest: &Path| -> (usize, usize, usize) {
        let open = fs::File::open(dest).expect("the destination is always there");
        let held = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)));
        let all = fs::read_to_string(held.join("pkgs-all")).unwrap_or_default();
        (all.matches("\"old\"").count(), all.matches("\"new\"").count(), all.len())
    };
    let mut random = 12345u64;
    let mut killed = 0;
    for round in 0..40 {
        let from = if round % 2 == 0 { "new" } else { "old" };
        let mut child = tests::command("catalog-copy", &dir)
            .args(["--force", from, "dest"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it runs");
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let stop = std::time::Instant::now() + Duration::from_micros(random >> 33 & 0xFFFF);
        loop {
            let (old, new, length) = look(&dir.join("dest"));
            // a directory that has been exchanged is being removed: what was opened may be empty by now
            assert!((old, new) == (400, 0) || (old, new) == (0, 400) || length == 0, "{old} {new} {length}");
            if std::time::Instant::now() > stop {
                break;
            }
        }
        child.kill().expect("killed or done");
        killed += usize::from(!child.wait().expect("ends").success());
        let (old, new, _) = look(&dir.join("dest"));
        assert!((old, new) == (400, 0) || (old, new) == (0, 400), "{old} {new}");
        assert_eq!(fs::read_dir(dir.join("dest/pkg")).expect("there").count(), 400);
    }
    assert!(killed > 5, "hardly any run was killed: {killed}");
    // what killed runs left is gone after the next one
    copy_ok(&["--force", "old", "dest"], &dir);
    let left: Vec<_> = fs::read_dir(&dir).expect("there").flatten().map(|e| e.file_name()).collect();
    let hidden: Vec<_> = left.iter().filter(|name| name.to_string_lossy().starts_with(".dest")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn full_disk_and_closed_pipe() {
    let (_keep, dir) = scratch();
    let entries: Vec<String> = (0..3000).map(|n| entry(&format!("p{n}"), "")).collect();
    catalog(&dir, "in", &entries.join(" "));
    let full = tests::sh("catalog-copy in - > /dev/full", &dir);
    assert_eq!(full.status.code(), Some(73), "{}", String::from_utf8_lossy(&full.stderr));
    let output = tests::sh("catalog-copy in - | head -n 1 > first; test $(wc -l < first) = 1", &dir);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let small = tests::sh(
        "unshare -m sh -euc 'mkdir m; mount -t tmpfs -o size=1m none m; mkdir m/d; echo old > m/d/pkgs-all; \
         catalog-copy --force in m/d; echo $?; cat m/d/pkgs-all; ls -A m' || true",
        &dir,
    );
    let text = String::from_utf8_lossy(&small.stderr).into_owned();
    if text.contains("unshare") || text.contains("mount:") {
        return tests::skip("full_disk_and_closed_pipe", "cannot mount");
    }
    assert!(text.contains("No space left"), "{text}");
}

#[test]
fn configured_catalogs_with_racket_and_without() {
    let (_keep, dir) = scratch();
    catalog(&dir, "first", &entry("a", "(x . 1)"));
    catalog(&dir, "second", &format!("{} {}", entry("a", "(x . 2)"), entry("b", "")));
    let config = dir.join(".local/share/racket/8.7/pkgs");
    fs::create_dir_all(&config).expect("made");
    fs::write(
        config.join("config.rktd"),
        format!("#hash((catalogs . (\"file://{}/second\")))", dir.display()),
    )
    .expect("written");
    let check = |dest: &str| {
        let text = fs::read_to_string(dir.join(dest).join("pkgs-all")).expect("there");
        assert!(text.contains("(x . 1)") && text.contains("\"b\""), "{dest}: {text}");
    };
    let bin = tests::bin_dir().display().to_string();
    tests::sh_ok(&format!("PATH={bin} catalog-copy --from-config first without"), &dir);
    check("without");
    if tests::require("configured_catalogs_with_racket_and_without", &["raco"]) {
        copy_ok(&["--from-config", "first", "with"], &dir);
        check("with");
        raco_ok(&["--from-config", "first", "theirs"], &dir);
        check("theirs");
    }
}

#[test]
fn servers_without_pkgs_all_and_addresses_without_a_slash() {
    let (_keep, dir) = scratch();
    let in_dir =
        catalog(&dir, "in", &(0..30).map(|n| entry(&format!("p{n}"), "")).collect::<Vec<_>>().join(" "));
    copy_ok(&[&in_dir, "whole"], &dir);
    let root = dir.join("whole");
    let server = Server::start(move |path| match path.strip_prefix("/sub/cat/") {
        Some("pkgs-all") | None => Answer::Status(404),
        Some(part) => Answer::file(root.join(part)),
    });
    copy_ok(&[&server.url("/sub/cat"), "ours"], &dir);
    assert_eq!(fs::read(dir.join("ours/pkgs-all")).ok(), fs::read(dir.join("whole/pkgs-all")).ok());
    assert_eq!(server.count(), 32, "pkgs-all, pkgs, 30 entries");
    if tests::require("servers_without_pkgs_all_and_addresses_without_a_slash", &["raco"]) {
        assert!(!raco(&[&server.url("/sub/cat/"), "theirs"], &dir).status.success(), "raco has learned it");
    }
    let version =
        tests::sh_ok("racket --version 2>/dev/null | sed 's/.*v\\([0-9.]*[0-9]\\).*/\\1/' || true", &dir);
    let asked = server.asked();
    let query =
        if version.trim().is_empty() { String::new() } else { format!("?version={}", version.trim()) };
    assert_eq!(asked[0], format!("/sub/cat/pkgs-all{query}"));
    // one entry missing: nothing is left
    let root = dir.join("whole");
    let server = Server::start(move |path| match path.trim_start_matches('/') {
        "pkgs-all" | "pkg/p7" => Answer::Status(404),
        part => Answer::file(root.join(part)),
    });
    let (code, stderr) = copy_fails(&[&server.url("/"), "half"], &dir);
    assert!(code == 69 && stderr.contains("/pkg/p7"), "{code} {stderr}");
    assert!(!dir.join("half").exists());
}

#[test]
fn an_unchanged_catalog_costs_one_request_and_no_body() {
    let (_keep, dir) = scratch();
    catalog(&dir, "in", &entry("a", ""));
    let file = dir.join("in/pkgs-all");
    let server = Server::start(move |_| Answer::file(file.clone()));
    copy_ok(&[&server.url("/"), "one"], &dir);
    copy_ok(&[&server.url("/"), "two"], &dir);
    assert_eq!(server.statuses(), [200, 304]);
    copy_ok(&["--no-cache", &server.url("/"), "three"], &dir);
    assert_eq!(server.statuses(), [200, 304, 200]);
    assert_eq!(fs::read(dir.join("one/pkgs-all")).ok(), fs::read(dir.join("three/pkgs-all")).ok());
}

#[test]
fn servers_that_fail_are_told_apart() {
    let (_keep, dir) = scratch();
    let fails = |answer: Answer| -> (i32, String) {
        let server = Server::start(move |_| answer.clone());
        let result = copy_fails(&[&server.url("/cat/"), "dest"], &dir);
        assert!(!dir.join("dest").exists());
        result
    };
    let page = "<!DOCTYPE html><html><body>Please log in</body></html>";
    let (code, stderr) = fails(Answer::Text("text/html", page.to_owned()));
    assert!(
        code == 65 && stderr.contains("a page for people") && stderr.contains("hint:"),
        "{code} {stderr}"
    );
    let (code, stderr) = fails(Answer::Status(403));
    assert!(code == 69 && stderr.contains("403"), "{code} {stderr}");
    let (code, stderr) = fails(Answer::Status(404));
    assert!(code == 69 && stderr.contains("404") && stderr.contains("also asked"), "{code} {stderr}");
    let (code, stderr) = fails(Answer::Truncated(format!("#hash({}", entry("a", ""))));
    assert!(code != 0 && (stderr.contains("truncated") || stderr.contains("broke")), "{code} {stderr}");
    // an end in the right place for HTTP, the wrong one for a catalog
    let (code, stderr) = fails(Answer::Text("text/plain", format!("#hash({}", entry("a", ""))));
    assert!(code == 65 && stderr.contains("line 1, column"), "{code} {stderr}");
    let (code, stderr) = fails(Answer::Text("text/plain", "(\"a\")".to_owned()));
    assert!(code == 65 && stderr.contains("expected a hash"), "{code} {stderr}");
    let (code, stderr) = fails(Answer::Status(503));
    assert!(code == 75 && stderr.contains("503") && stderr.contains("tried 6 times"), "{code} {stderr}");
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let (code, stderr) = copy_fails(&[&format!("http://{closed}/"), "dest"], &dir);
    assert!(code == 69 && stderr.contains("refused"), "{code} {stderr}");
    let (code, stderr) = copy_fails(&["https://no-such-host.invalid/", "dest"], &dir);
    assert!(code == 69 && stderr.contains("no-such-host.invalid"), "{code} {stderr}");
}
