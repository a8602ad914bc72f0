//! `pkg-archive` against a server that lies and against archives that mean harm.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tests::liar::{Liar, Lie};

fn line(name: &str, source: &str, checksum: &str) -> String {
    format!("{}\n", json!({"kind": "package", "v": 1, "name": name, "source": source, "checksum": checksum}))
}

struct Ran {
    records: BTreeMap<String, Value>,
    code: Option<i32>,
    stderr: String,
}

impl Ran {
    fn cause(&self, name: &str) -> &str {
        self.records[name]["cause"].as_str().unwrap_or("none")
    }
}

fn archive(dir: &Path, lines: &str, options: &[&str]) -> Ran {
    let mut command = tests::command(tests::program("pkg-archive"), dir);
    command.args(options).args(["-", "archive"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let records = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|record| record["kind"] == "archived")
        .map(|record| (record["package"].as_str().unwrap().to_owned(), record))
        .collect();
    Ran { records, code: output.status.code(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Archives in every form with the same content, made by other programs; gives their SHA-1 by name.
fn real_archives(dir: &Path) -> BTreeMap<String, (Vec<u8>, String)> {
    tests::sh_ok(
        "mkdir -p tree/sub; echo '#lang info' > tree/info.rkt; echo x > tree/sub/x.rkt; chmod 644 tree/info.rkt tree/sub/x.rkt; cd tree; \
         zip -qr ../a.zip .; tar cf ../a.tar .; tar czf ../a.tgz *; cd ..; tar czf a.tar.gz --format=posix tree; \
         mkdir long; cp -r tree long/$(printf 'n%.0s' $(seq 120)); tar cf gnu.tar --format=gnu -C long .; tar cf pax.tar --format=pax -C long .",
        dir,
    );
    ["a.zip", "a.tar", "a.tgz", "a.tar.gz", "gnu.tar", "pax.tar"]
        .into_iter()
        .map(|name| {
            let sha1 = tests::sh_ok(&format!("sha1sum {name} | cut -c1-40"), dir);
            (name.to_owned(), (fs::read(dir.join(name)).unwrap(), sha1.trim().to_owned()))
        })
        .collect()
}

#[test]
fn every_form_over_http_and_from_disk() {
    if !tests::require("every_form_over_http", &["zip", "tar", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let liar = Liar::start();
    let mut lines = String::new();
    let archives = real_archives(dir);
    for (name, (body, sha1)) in &archives {
        let package = name.replace('.', "-");
        liar.on(&format!("/{name}"), [Lie::body(body.clone())]);
        lines += &line(&format!("web-{package}"), &liar.url(&format!("/{name}")), sha1);
        lines += &line(&format!("disk-{package}"), &format!("./{name}"), sha1);
        lines += &line(
            &format!("unpromised-{package}"),
            &format!("file://{}/{name}?type=file", dir.display()),
            "",
        );
    }
    // a directory on a server
    liar.on("/d/MANIFEST", [Lie::body("info.rkt\nsub/x.rkt\n")]);
    liar.on("/d/info.rkt", [Lie::body("#lang info\n")]);
    liar.on("/d/sub/x.rkt", [Lie::body("x\n")]);
    lines += &line("web-dir", &liar.url("/d/"), "");
    let ran = archive(dir, &lines, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let zips = dir.join("archive/pkgs");
    for package in ran.records.keys() {
        let names = tests::sh_ok(&format!("unzip -Z1 {package}.zip | sort | tr '\\n' ' '"), &zips);
        let names = names.replace(&"n".repeat(120), "N");
        let expected =
            ["info.rkt sub/ sub/x.rkt ", "info.rkt sub/ sub/x.rkt  ", "./ info.rkt sub/ sub/x.rkt "];
        assert!(expected.contains(&names.as_str()), "{package}: {names:?}");
    }
    // the same content from any form is the same zip, but for zips that come as zips
    for same in ["web-a-tgz", "disk-a-tar-gz", "web-gnu-tar", "disk-pax-tar", "web-dir"] {
        assert_eq!(
            fs::read(zips.join("web-a-tar.zip")).unwrap(),
            fs::read(zips.join(format!("{same}.zip"))).unwrap(),
            "{same}"
        );
    }
    let asked = liar.asked().len();
    let ran = archive(dir, &lines, &[]);
    assert!(ran.records.values().all(|record| record["status"] == "unchanged"), "{}", ran.stderr);
    assert_eq!(liar.asked().len() - asked, 3, "only the directory without checksum is asked for again");
    // without a promise in the catalog, the server's own counts, and then none
    let (body, sha1) = &archives["a.zip"];
    liar.on("/p.zip", [Lie::body(body.clone())]);
    liar.on("/p.zip.CHECKSUM", [Lie::body(format!("{sha1}\n"))]);
    liar.on("/q.zip", [Lie::body(body.clone())]);
    liar.on("/r.zip", [Lie::body(body.clone())]);
    liar.on("/r.zip.CHECKSUM", [Lie::body("0".repeat(40))]);
    let lines = ["p", "q", "r"].map(|name| line(name, &liar.url(&format!("/{name}.zip")), "")).concat();
    let ran = archive(dir, &lines, &[]);
    assert!(!ran.records["p"]["findings"].to_string().contains("unverified"));
    assert!(ran.records["q"]["findings"].to_string().contains("unverified"));
    assert_eq!(ran.cause("r"), "checksum");
    archive(dir, &lines, &[]);
    assert_eq!(liar.count("/p.zip"), 1, "the checksum says that it is the same");
}

#[test]
fn what_a_server_can_do_wrong() {
    if !tests::require("what_a_server_can_do_wrong", &["zip", "tar"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let (body, sha1) = real_archives(dir)["a.zip"].clone();
    let liar = Liar::start();
    let cases: Vec<(&str, Vec<Lie>, &str)> = vec![
        ("good", vec![Lie::body(body.clone())], "none"),
        ("busy", vec![Lie::status(503), Lie::status(429), Lie::body(body.clone())], "none"),
        ("cut-once", vec![Lie::truncated(body.clone(), 40), Lie::body(body.clone())], "none"),
        ("gone", vec![Lie::status(404)], "gone"),
        ("forbidden", vec![Lie::status(403)], "refused"),
        ("broken", vec![Lie::status(500)], "refused"),
        ("html", vec![Lie::html()], "checksum"),
        ("loop", vec![Lie::redirect("/loop.zip")], "refused"),
        ("endless", vec![Lie::Endless], "too-large"),
        ("cut", vec![Lie::truncated(body.clone(), 40)], "refused"),
        ("long", vec![Lie::WrongLength { body: body.clone(), claimed_bytes: 9 }], "checksum"),
        ("garbage", vec![Lie::Garbage(b"\x00\x01\x02 what?\r\n\r\n".to_vec())], "refused"),
        ("other", vec![Lie::body("something else")], "checksum"),
        ("silent", vec![Lie::Silence], "unreachable"),
        ("closing", vec![Lie::Close], "unreachable"),
        (
            "trickle",
            vec![Lie::Trickle { body: vec![0; 1 << 20], pause: Duration::from_millis(100) }],
            "unreachable",
        ),
    ];
    let mut lines = String::new();
    for (name, lies, _) in &cases {
        liar.on(&format!("/{name}.zip"), lies.clone());
        lines += &line(name, &liar.url(&format!("/{name}.zip")), &sha1);
    }
    let started = Instant::now();
    let options =
        ["--timeout", "2", "--retries", "2", "--max-package-mb", "4", "--jobs", "16", "--per-host", "16"];
    let ran = archive(dir, &lines, &options);
    assert_eq!(ran.code, Some(1));
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(name, _, cause)| ran.cause(name) != *cause)
        .map(|(name, _, cause)| format!("{name}: expected {cause}: {}", ran.records[*name]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // the failed ones come first next time, and heal
    liar.on("*", [Lie::body(body.clone())]);
    for (name, ..) in &cases {
        liar.on(&format!("/{name}.zip"), [Lie::body(body.clone())]);
    }
    let before = liar.asked().len();
    let ran = archive(dir, &lines, &["--jobs", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(liar.asked().len() - before, cases.len() - 3, "what was archived is not asked for");
    assert!(fs::read_dir(dir.join("archive/failed")).unwrap().next().is_none());
}

#[test]
fn a_dead_host_is_not_asked_two_thousand_times() {
    let scratch = tempfile::tempdir().unwrap();
    let dead = tests::liar::dead_port();
    let lines: String = (0..2000)
        .map(|n| line(&format!("p{n}"), &format!("http://127.0.0.1:{dead}/p{n}.zip"), &"a".repeat(40)))
        .collect();
    let started = Instant::now();
    let ran = archive(scratch.path(), &lines, &["-q"]);
    assert_eq!(ran.records.len(), 2000);
    assert!(ran.records.values().all(|record| record["cause"] == "unreachable"));
    let given_up =
        ran.records.values().filter(|r| r["message"].as_str().unwrap().contains("not asked")).count();
    assert!(given_up > 1900, "{given_up}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[test]
fn what_was_fetched_before_a_kill_is_not_fetched_again() {
    if !tests::require("what_was_fetched_before_a_kill", &["zip", "tar"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let (body, sha1) = real_archives(dir)["a.zip"].clone();
    let liar = Liar::start();
    let mut lines = String::new();
    for n in 0..20 {
        liar.on(&format!("/p{n}.zip"), [Lie::body(body.clone())]);
        lines += &line(&format!("p{n}"), &liar.url(&format!("/p{n}.zip")), &sha1);
    }
    liar.on("/slow.zip", [Lie::Silence]);
    lines += &line("slow", &liar.url("/slow.zip"), &sha1);
    fs::write(dir.join("lines"), &lines).unwrap();
    let mut child = tests::command(tests::program("pkg-archive"), dir)
        .args(["-q", "--no-cache", "-", "archive"])
        .stdin(fs::File::open(dir.join("lines")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    // the journal is written after the files
    let noted = || {
        fs::read_to_string(dir.join("archive/.pkg-archive/journal.jsonl")).unwrap_or_default().lines().count()
    };
    while noted() < 20 && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // and its last line may be half written
    tests::sh_ok("printf '{\"making\":1,\"pack' >> archive/.pkg-archive/journal.jsonl", dir);
    liar.on("/slow.zip", [Lie::body(body)]);
    let ran = archive(dir, &lines, &["--no-cache"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!((0..20).all(|n| liar.count(&format!("/p{n}.zip")) == 1), "fetched again");
    assert!(!dir.join("archive/.pkg-archive/journal.jsonl").exists());
}

/// Python makes what no honest program would.
const HARMFUL: &str = r##"
import zipfile, tarfile, io, struct, zlib, os
def z(name, entries):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as f:
        for n, data, mode in entries:
            i = zipfile.ZipInfo(n); i.create_system = 3; i.external_attr = mode << 16; i.compress_type = zipfile.ZIP_DEFLATED
            f.writestr(i, data)
F = 0o100644
z("up.zip", [("../evil", "x", F)]); z("deep-up.zip", [("a/../../evil", "x", F)]); z("absolute.zip", [("/etc/evil", "x", F)])
z("link.zip", [("l", "/etc/passwd", 0o120777)]); z("link-up.zip", [("a/l", "../../etc/passwd", 0o120777)])
z("through.zip", [("d", "sub", 0o120777), ("d/x", "x", F)]); z("device.zip", [("d", "", 0o020666)])
z("bomb.zip", [("b%d" % n, b"\0" * (8 << 20), F) for n in range(40)])
z("large.zip", [("l", os.urandom(5 << 20), F)])
z("twice.zip", [("a", "1", F), ("a", "2", F)])
good = io.BytesIO(); zf = zipfile.ZipFile(good, "w"); zf.writestr("info.rkt", "#lang info\n"); zf.writestr("x", "hello" * 50); zf.close(); good = good.getvalue()
open("cut.zip", "wb").write(good[:-30]); open("flipped.zip", "wb").write(good.replace(b"hellohello", b"hellOhello", 1))
open("empty.zip", "wb").write(b""); open("two-names.zip", "wb").write(good.replace(b"info.rkt", b"evil.rkt", 1))
open("lie.zip", "wb").write(good[:good.rindex(b"PK\x01\x02") + 24] + struct.pack("<I", 1 << 31) + good[good.rindex(b"PK\x01\x02") + 28:])
# many entries over the same bytes
data = zlib.compress(b"\0" * (1 << 20))[2:-4]; crc = zlib.crc32(b"\0" * (1 << 20)); out = b""; cd = b""
local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 33, crc, len(data), 1 << 20, 1, 0) + b"a" + data; out = local
for n in range(300):
    cd += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, crc, len(data), 1 << 20, 1, 0, 0, 0, 0, 0, 0) + b"a"
open("overlap.zip", "wb").write(out + cd + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 300, 300, len(cd), len(out), 0))
def t(name, *members):
    with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as f:
        for n, kind, value in members:
            i = tarfile.TarInfo(n); i.type = kind
            if kind == tarfile.REGTYPE: i.size = len(value); f.addfile(i, io.BytesIO(value))
            else: i.linkname = value; f.addfile(i)
R = tarfile.REGTYPE; S = tarfile.SYMTYPE; H = tarfile.LNKTYPE
t("up.tar", ("../evil", R, b"x")); t("absolute.tar", ("/evil", R, b"x")); t("link.tgz", ("l", S, "../../etc"))
t("through.tgz", ("d", S, "/tmp"), ("d/x", R, b"x")); t("hard.tar", ("h", H, "/etc/passwd")); t("fifo.tar", ("f", tarfile.FIFOTYPE, ""))
t("bomb.tgz", ("b", R, b"\0" * (300 << 20))); t("cycle.tar", ("a", S, "b"), ("b", S, "a")); t("self.tar", ("d/l", S, "../d"), ("d/x", R, b"x"))
open("cut.tgz", "wb").write(open("link.tgz", "rb").read()[:30]); open("text.tar", "wb").write(b"hello " * 400)
t("cut.tar", ("a", R, b"x" * 4000)); d = open("cut.tar", "rb").read(); open("cut.tar", "wb").write(d[:1500])
"##;

#[test]
fn archives_that_mean_harm_are_refused() {
    if !tests::require("archives_that_mean_harm", &["python3"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::write(dir.join("harmful.py"), HARMFUL).unwrap();
    tests::sh_ok("mkdir bad; cd bad; python3 ../harmful.py", dir);
    let mut names: Vec<String> = fs::read_dir(dir.join("bad"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 27, "{names:?}");
    let lines: String =
        names.iter().map(|name| line(&name.replace('.', "-"), &format!("./bad/{name}"), "")).collect();
    let ran = archive(dir, &lines, &["-q", "--max-package-mb", "256"]);
    let wrong: Vec<String> = names
        .iter()
        .filter(|name| {
            let cause = ran.cause(&name.replace('.', "-"));
            let expected: &[&str] = match name.as_str() {
                "large.zip" => &["none"],
                name if name.starts_with("bomb") || name == "lie.zip" => &["too-large", "bad-archive"],
                _ => &["bad-archive"],
            };
            !expected.contains(&cause)
        })
        .map(|name| format!("{name}: {}", ran.records[&name.replace('.', "-")]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        tests::sh_ok("ls archive/pkgs; find . -name 'evil*' -newer harmful.py", dir),
        "large-zip.zip\nlarge-zip.zip.CHECKSUM\n"
    );
    let ran = archive(dir, &line("large", "./bad/large.zip", ""), &["-q", "--max-package-mb", "4"]);
    assert_eq!(ran.cause("large"), "too-large");
}

#[test]
fn no_archive_makes_it_fall_over() {
    if !tests::require("no_archive_makes_it_fall_over", &["zip", "tar"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let archives = real_archives(dir);
    // seeded: every run breaks the same bytes
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut lines = String::new();
    for round in 0..60 {
        for (name, (body, _)) in &archives {
            let mut body = body.clone();
            for _ in 0..=random(4) {
                let at = random(body.len());
                match random(3) {
                    0 => body[at] = random(256) as u8,
                    1 => body.truncate(at.max(1)),
                    _ => body[at] ^= 1 << random(8),
                }
            }
            let file = format!("{round}-{name}");
            fs::write(dir.join(&file), body).unwrap();
            lines += &line(&file.replace('.', "-"), &format!("./{file}"), "");
        }
    }
    let ran = archive(dir, &lines, &["-q"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{:?} {}", ran.code, ran.stderr);
    assert_eq!(ran.records.len(), 360);
    assert!(ran.records.values().filter(|record| record["status"] == "failed").count() > 100);
}
