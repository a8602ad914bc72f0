//! `pkg-archive` against real git servers.

mod server;

use serde_json::{Value, json};
use server::{Daemon, HttpGit, Manner, repository};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

struct Ran {
    records: BTreeMap<String, Value>,
    summary: Value,
    code: Option<i32>,
    stderr: String,
}

fn line(name: &str, source: &str, checksum: &str) -> String {
    format!("{}\n", json!({"kind": "package", "v": 1, "name": name, "source": source, "checksum": checksum}))
}

fn archive(dir: &Path, lines: &str, options: &[&str]) -> Ran {
    let mut command = tests::command(tests::program("pkg-archive"), dir);
    command.args(options).args(["-", "archive"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let output: Output = child.wait_with_output().expect("it ends");
    let mut records = BTreeMap::new();
    let mut summary = Value::Null;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        match record["kind"].as_str() {
            Some("archived") => drop(records.insert(record["package"].as_str().unwrap().to_owned(), record)),
            _ => summary = record,
        }
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { records, summary, code: output.status.code(), stderr }
}

/// Names in a zip, one a line.
fn names(zip: &Path) -> String {
    tests::sh_ok(&format!("unzip -Z1 '{}'", zip.display()), zip.parent().unwrap())
}

const TWO_PACKAGES: &str = "mkdir -p a b/sub; printf '#lang info\\n(define deps (quote (\"b\")))\\n' > a/info.rkt; \
     printf '#lang info\\n(define deps (list))\\n' > b/info.rkt; echo text > b/sub/data; chmod +x b/sub/data; \
     echo licence > LICENSE; ln -s ../LICENSE a/LICENSE; printf '* text eol=crlf\\n*.secret export-ignore\\n' > .gitattributes; \
     echo x > a/x.secret";

#[test]
fn one_fetch_for_all_packages_of_a_repository_and_commit() {
    if !tests::require("one_fetch_for_all_packages", &["git", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    let ids = repository(&root, "mono", &[TWO_PACKAGES, "echo two > b/two", "echo three > b/three"]);
    let http = HttpGit::start(&root, Manner::Smart);
    let url = http.url("mono");
    // two packages at one commit, one at an older one that is no branch any more
    let lines = line("a", &format!("{url}?path=a#main"), &ids[2])
        + &line("b", &format!("git+{url}?path=b"), &ids[2])
        + &line("old", &format!("{url}?path=b#main"), &ids[0]);
    let ran = archive(scratch.path(), &lines, &["--relative"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(http.count("mono"), 2, "one look, one pack");
    let zips = scratch.path().join("archive/pkgs");
    // nothing is converted, ignored or linked: the blobs as they are
    assert_eq!(names(&zips.join("a.zip")), "LICENSE\ninfo.rkt\nx.secret\n");
    assert_eq!(names(&zips.join("b.zip")), "info.rkt\nsub/\nsub/data\nthree\ntwo\n");
    assert_eq!(names(&zips.join("old.zip")), "info.rkt\nsub/\nsub/data\n");
    let text = tests::sh_ok("unzip -p b.zip sub/data && unzip -Zl b.zip | grep sub/data", &zips);
    assert!(text.starts_with("text\n-rwxr-xr-x"), "{text}");
    assert_eq!(ran.records["a"]["checksum"], json!(ids[2]));
    assert_eq!(ran.records["b"]["dependents"], json!(1));
    // by the catalog's word alone
    let again = archive(scratch.path(), &lines, &["--relative"]);
    assert_eq!(again.summary["unchanged"], json!(3));
    assert_eq!(http.total(), 2, "an unchanged commit is not asked for");
    // same bytes from another transport into another archive
    let daemon = Daemon::start(&root);
    let other = scratch.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let ran = archive(&other, &line("b", &format!("{}?path=b#main", daemon.url("mono")), &ids[2]), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        std::fs::read(zips.join("b.zip")).unwrap(),
        std::fs::read(other.join("archive/pkgs/b.zip")).unwrap()
    );
}

#[test]
fn branches_and_tags_without_a_checksum() {
    if !tests::require("branches_and_tags", &["git", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    let tag = "git -c user.name=t -c user.email=t@example.org tag -a -m v1 v1";
    let ids = repository(
        &root,
        "r",
        &["echo 1 > one", &format!("{tag}; git branch side; echo 2 > two"), "echo 3 > three"],
    );
    let daemon = Daemon::start(&root);
    let url = daemon.url("r");
    let lines = [
        ("head", ""),
        ("tag", "#v1"),
        ("side", "#side"),
        ("short", &format!("#{}", &ids[0][..9])),
        ("gone", "#nowhere"),
    ]
    .map(|(name, fragment)| line(name, &format!("{url}{fragment}"), ""))
    .concat();
    let ran = archive(scratch.path(), &lines, &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let zips = scratch.path().join("archive/pkgs");
    assert_eq!(names(&zips.join("head.zip")), "one\nthree\ntwo\n");
    assert_eq!(names(&zips.join("tag.zip")), "one\n");
    assert_eq!(names(&zips.join("side.zip")), "one\n");
    assert_eq!(names(&zips.join("short.zip")), "one\n");
    // as Racket has it: an annotated tag's own id
    let tag = tests::sh_ok("git rev-parse v1", &root.join("r.git"));
    assert_eq!(ran.records["tag"]["checksum"], json!(tag.trim()));
    assert_eq!(ran.records["head"]["checksum"], json!(ids[2]));
    assert_eq!(ran.records["gone"]["cause"], json!("gone"));
    // the branch moves
    tests::sh_ok(
        "echo 4 > four && git add -A && git -c user.name=t -c user.email=t@example.org commit -q -m four && git push -q ../r.git main",
        &root.join("r.work"),
    );
    let ran = archive(scratch.path(), &lines, &[]);
    assert_eq!(ran.records["head"]["status"], json!("archived"), "{}", ran.stderr);
    assert_eq!(ran.records["tag"]["status"], json!("unchanged"));
    assert_eq!(names(&zips.join("head.zip")), "four\none\nthree\ntwo\n");
}

#[test]
fn servers_that_hand_out_no_commits() {
    if !tests::require("servers_that_hand_out_no_commits", &["git", "unzip"]) {
        return;
    }
    for manner in [Manner::Old, Manner::Dumb, Manner::BusyOnce] {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("repos");
        let commits: Vec<String> = (0..12).map(|n| format!("echo {n} > file{n}")).collect();
        let mut commits: Vec<&str> = commits.iter().map(String::as_str).collect();
        // deeper than any branch is followed step by step
        let many = "for n in $(seq 70); do git -c user.name=t -c user.email=t@example.org commit -q --allow-empty -m x; done; echo 1 > file1";
        if manner == Manner::Old {
            commits[1] = many;
        }
        let ids = repository(&root, "deep", &commits);
        let http = HttpGit::start(&root, manner);
        let url = http.url("deep");
        let missing = "0123456789".repeat(4);
        let lines = line("tip", &url, &ids[11])
            + &line("mid", &url, &ids[6])
            + &line("first", &url, &ids[0])
            + &line("gone", &url, &missing);
        let ran = archive(scratch.path(), &lines, &[]);
        assert_eq!(ran.code, Some(1), "{manner:?}: {}", ran.stderr);
        assert_eq!(ran.summary["archived"], json!(3), "{manner:?}: {}", ran.stderr);
        assert_eq!(ran.records["gone"]["cause"], json!("gone"), "{manner:?}: {}", ran.stderr);
        let zips = scratch.path().join("archive/pkgs");
        assert_eq!(names(&zips.join("first.zip")), "file0\n", "{manner:?}");
        assert_eq!(names(&zips.join("mid.zip")).lines().count(), 7, "{manner:?}");
    }
}

#[test]
fn what_is_not_there_or_does_not_answer() {
    if !tests::require("what_is_not_there", &["git"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    let ids = repository(&root, "r", &["mkdir -p p; echo 1 > p/one"]);
    let http = HttpGit::start(&root, Manner::Smart);
    // accepts connections and says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let dead = tests::liar::dead_port();
    let mut lines = line("good", &format!("{}?path=p", http.url("r")), &ids[0])
        + &line("no-dir", &format!("{}?path=q", http.url("r")), &ids[0])
        + &line("no-repo", &http.url("nowhere"), &ids[0])
        + &line("no-commit", &http.url("r"), "not-a-commit")
        + &line("refused", &format!("http://127.0.0.1:{dead}/x.git"), &ids[0]);
    for n in 0..8 {
        lines += &line(&format!("silent{n}"), &format!("git://127.0.0.1:{silent_port}/x{n}.git"), &ids[0]);
    }
    let started = std::time::Instant::now();
    let ran = archive(scratch.path(), &lines, &["--timeout", "1", "--retries", "0", "--per-host", "2"]);
    assert_eq!(ran.code, Some(1));
    let causes: Vec<(&str, &Value)> =
        ran.records.iter().map(|(name, record)| (name.as_str(), &record["cause"])).collect();
    let expected = |name: &str| match name {
        "good" => Value::Null,
        "no-dir" | "no-repo" => json!("gone"),
        "no-commit" => json!("bad-source"),
        _ => json!("unreachable"),
    };
    for (name, cause) in causes {
        assert_eq!(*cause, expected(name), "{name}: {}", ran.records[name]["message"]);
    }
    assert!(ran.stderr.contains("not asked: 127.0.0.1"), "{}", ran.stderr);
    assert!(started.elapsed().as_secs() < 20, "a silent host holds everything up");
    assert!(!scratch.path().join("archive/.pkg-archive/work").exists(), "repositories are cleaned up");
}

#[test]
fn submodules_and_large_file_pointers_are_told() {
    if !tests::require("submodules_are_told", &["git"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    repository(&root, "inner", &["echo inner > file"]);
    let add = format!(
        "git -c protocol.file.allow=always submodule add -q '{}' sub; \
         printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:00\\nsize 5\\n' > big; ln -s nowhere dangling",
        root.join("inner.git").display()
    );
    let ids = repository(&root, "outer", &[&add]);
    let http = HttpGit::start(&root, Manner::Smart);
    let ran = archive(scratch.path(), &line("p", &http.url("outer"), &ids[0]), &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let findings = ran.records["p"]["findings"].to_string();
    for code in ["submodule", "lfs-pointer", "dangling-link"] {
        assert!(findings.contains(code), "{code}: {findings}");
    }
    let escape = repository(&root, "escape", &["ln -s ../../../etc/passwd leak"]);
    let ran = archive(scratch.path(), &line("p", &http.url("escape"), &escape[0]), &[]);
    assert_eq!(ran.records["p"]["cause"], json!("bad-archive"), "{}", ran.stderr);
}

#[test]
fn a_working_copy_is_archived_as_git_would_carry_it() {
    if !tests::require("a_working_copy", &["git", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    repository(
        &root,
        "w",
        &[
            "mkdir -p p/doc; echo '#lang info' > p/info.rkt; echo d > p/doc/kept.scrbl; printf 'ignored\\n' > .gitignore; echo g > p/gone",
        ],
    );
    let work = root.join("w.work");
    tests::sh_ok(
        "cd p; mkdir -p compiled sub/compiled doc/made; echo zo > compiled/x.zo; echo zo > sub/compiled/x.zo; echo h > doc/made/x.html; \
         echo new > sub/new.rkt; echo i > ignored; echo b > new.rkt~; rm gone; echo ';changed' >> info.rkt",
        &work,
    );
    let source = format!("{}/", work.join("p").display());
    let zips = scratch.path().join("archive/pkgs");
    archive(scratch.path(), &line("p", &source, ""), &[]);
    assert_eq!(names(&zips.join("p.zip")), "doc/\ndoc/kept.scrbl\ninfo.rkt\nsub/\nsub/new.rkt\n");
    archive(scratch.path(), &line("p", &source, ""), &["--mode", "as-is"]);
    assert_eq!(names(&zips.join("p.zip")).lines().count(), 13);
    // a plain directory that happens to lie in a repository which does not track it
    tests::sh_ok(
        "mkdir -p ignored/q/compiled; echo zo > ignored/q/compiled/a.zo; echo r > ignored/q/main.rkt",
        &work,
    );
    archive(scratch.path(), &line("q", &format!("{}/", work.join("ignored/q").display()), ""), &[]);
    assert_eq!(names(&zips.join("q.zip")), "compiled/\ncompiled/a.zo\nmain.rkt\n");
    archive(
        scratch.path(),
        &line("q", &format!("{}/", work.join("ignored/q").display()), ""),
        &["--mode", "source"],
    );
    assert_eq!(names(&zips.join("q.zip")), "main.rkt\n");
}

#[test]
fn many_packages_in_many_repositories() {
    if !tests::require("many_packages", &["git"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("repos");
    let make =
        "for p in $(seq 20); do mkdir -p p$p; echo '#lang info' > p$p/info.rkt; echo $p > p$p/data; done";
    let http = HttpGit::start(&root, Manner::Smart);
    let mut lines = String::new();
    for repo in 0..5 {
        let name = format!("r{repo}");
        let ids = repository(&root, &name, &[make, &format!("echo {repo} > p1/repo")]);
        for p in 1..=20 {
            lines +=
                &line(&format!("r{repo}-p{p}"), &format!("{}?path=p{p}#main", http.url(&name)), &ids[p % 2]);
        }
    }
    let ran = archive(scratch.path(), &lines, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.summary["archived"], json!(100));
    assert!(http.total() <= 2 * 5, "{} requests for 5 repositories", http.total());
}

#[test]
fn github_in_every_spelling() {
    if !tests::require("github_in_every_spelling", &["git", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("hub/owner");
    let ids = repository(&root, "repo", &["mkdir p q; echo 1 > p/one; echo 2 > q/two", "echo 3 > p/three"]);
    // the user's own setting leads to a mirror
    let hub = scratch.path().join("hub");
    std::fs::write(
        scratch.path().join(".gitconfig"),
        format!(
            "[url \"file://{}/\"]\n\tinsteadOf = https://github.com/\n[safe]\n\tdirectory = *\n",
            hub.display()
        ),
    )
    .unwrap();
    let lines = [
        ("dead", "git://github.com/owner/repo?path=p#main", ids[1].as_str()),
        ("old", "git://github.com/owner/repo.git?path=p", ids[0].as_str()),
        ("github", "github://github.com/owner/repo/main/q", ids[1].as_str()),
        ("https", "https://github.com/owner/repo.git?path=q#main", ""),
        ("nobody", "git://github.com/owner/nothing", ids[1].as_str()),
    ]
    .map(|(name, source, checksum)| line(name, source, checksum))
    .concat();
    let ran = archive(scratch.path(), &lines, &[]);
    assert_eq!(ran.summary["archived"], json!(4), "{}", ran.stderr);
    assert_eq!(ran.records["nobody"]["cause"], json!("gone"));
    let zips = scratch.path().join("archive/pkgs");
    assert_eq!(names(&zips.join("dead.zip")), "one\nthree\n");
    assert_eq!(names(&zips.join("old.zip")), "one\n");
    assert_eq!(names(&zips.join("github.zip")), "two\n");
    assert_eq!(names(&zips.join("https.zip")), "two\n");
}
