//! What can go wrong between `catalog-copy` and a server: each trouble has its exit code, says what was asked and
//! what can be done, and leaves no destination behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tests::liar::{Liar, Lie, dead_port};

struct Bench {
    dir: tempfile::TempDir,
    liar: Liar,
}

/// What one run of `catalog-copy` gave.
struct Ran {
    status: i32,
    stderr: String,
    took: Duration,
}

const CATALOG: &str =
    "#hash((\"a\" . #hash((name . \"a\") (source . \"http://h/a.zip\") (checksum . \"1\"))))";

fn entry(name: &str) -> String {
    format!("#hash((name . {name:?}) (source . \"http://h/{name}.zip\") (checksum . \"1\"))")
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap(), liar: Liar::start() }
    }

    fn dest(&self) -> PathBuf {
        self.dir.path().join("copy")
    }

    fn command(&self, url: &str) -> Command {
        let mut command = tests::command(tests::program("catalog-copy"), self.dir.path());
        command.args(["--force", "--version", "8.7", url, "copy"]).env("DOWNSTREAM_TIMEOUT_S", "20");
        command
    }

    /// Copies the liar's catalog to `copy`.
    fn copy(&self) -> Ran {
        self.run(&mut self.command(&self.liar.url("/")))
    }

    fn run(&self, command: &mut Command) -> Ran {
        let start = Instant::now();
        let Output { status, stderr, .. } = command.output().expect("catalog-copy runs");
        let stderr = String::from_utf8(stderr).expect("text");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ran { status: status.code().expect("no signal"), stderr, took: start.elapsed() }
    }

    /// A copy that must fail like this, telling all of `parts`, and leave nothing behind.
    fn fails(&self, ran: &Ran, status: i32, parts: &[&str]) {
        assert_eq!(ran.status, status, "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
        }
        assert!(ran.stderr.starts_with("catalog-copy: cannot read catalog \"http"), "{}", ran.stderr);
        assert!(ran.stderr.contains("\n  asked: http"), "{}", ran.stderr);
        assert!(!self.dest().exists());
        let left: Vec<_> = names(self.dir.path()).into_iter().filter(|name| name != ".cache").collect();
        assert_eq!(left, Vec::<String>::new(), "nothing is left behind");
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_server_with_passing_trouble_is_asked_again() {
    let bench = Bench::new();
    let trouble = [Lie::status(503), Lie::status(429).with("Retry-After", "1"), Lie::Close];
    bench.liar.on("/pkgs-all", trouble.into_iter().chain([Lie::truncated(CATALOG, 20), Lie::body(CATALOG)]));
    let ran = bench.copy();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.took >= Duration::from_secs(1), "Retry-After is honoured");
    assert_eq!(bench.liar.count("/pkgs-all"), 5);
    assert_eq!(bench.liar.asked()[0].query.as_deref(), Some("version=8.7"));
    assert_eq!(names(&bench.dest().join("pkg")), ["a"]);
}

#[test]
fn an_unchanged_catalog_costs_one_request() {
    let bench = Bench::new();
    let entries: Vec<String> =
        (0..2_500).map(|n| format!("(\"p{n}\" . {})", entry(&format!("p{n}")))).collect();
    let catalog = format!("#hash({})", entries.join("\n"));
    bench.liar.on("/pkgs-all", [Lie::Tagged { body: catalog.into_bytes(), etag: "\"v1\"".into() }]);
    for run in 1..=3 {
        let ran = bench.copy();
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert_eq!(bench.liar.asked().len(), run, "one request a copy");
        assert_eq!(names(&bench.dest().join("pkg")).len(), 2_500);
    }
    assert_eq!(bench.liar.asked()[2].headers["if-none-match"], "\"v1\"");
    let ran = bench.run(bench.command(&bench.liar.url("/")).arg("--no-cache"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(!bench.liar.asked()[3].headers.contains_key("if-none-match"));
    bench.liar.on("/pkgs-all", [Lie::Tagged { body: CATALOG.into(), etag: "\"v2\"".into() }]);
    assert_eq!(bench.copy().status, 0);
    assert_eq!(names(&bench.dest().join("pkg")), ["a"], "a change is seen");
}

#[test]
fn without_pkgs_all_each_package_is_asked_for() {
    let bench = Bench::new();
    bench.liar.on("/pkgs", [Lie::body("(\"a\" \"b\" \"c\")")]);
    for name in ["a", "b", "c"] {
        let path = format!("/pkg/{name}");
        bench.liar.on(
            &path,
            [Lie::status(500), Lie::Tagged { body: entry(name).into_bytes(), etag: format!("\"{name}\"") }],
        );
    }
    let ran = bench.copy();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let mut got = names(&bench.dest().join("pkg"));
    got.sort();
    assert_eq!(got, ["a", "b", "c"]);
    // one of them gone: no half catalog
    std::fs::remove_dir_all(bench.dest()).unwrap();
    bench.liar.on("/pkg/b", [Lie::status(404)]);
    let ran = bench.copy();
    bench.fails(&ran, 69, &["server says 404", &bench.liar.url("/pkg/b?version=8.7"), "hint:"]);
    bench.liar.on("/pkg/b", [Lie::body("#hash((name . ")]);
    let ran = bench.copy();
    assert_eq!(ran.status, 65, "{}", ran.stderr);
    assert!(ran.stderr.contains("/pkg/b") && ran.stderr.contains("line 1"), "{}", ran.stderr);
    assert!(!bench.dest().exists());
}

#[test]
fn statuses_say_what_is_the_matter() {
    let bench = Bench::new();
    for (status, exit, part) in [
        (404, 69, "server says 404 Not Found: \"this is status 404\""),
        (410, 69, "server says 410 Gone"),
        (403, 69, "server says 403 Forbidden"),
        (401, 69, "user name and password"),
        (503, 75, "server says 503 Service Unavailable: \"this is status 503\" (tried 6 times)"),
    ] {
        bench.liar.on("/pkgs-all", [Lie::status(status)]);
        bench.liar.on("/pkgs", [Lie::status(status)]);
        let ran = bench.copy();
        bench.fails(&ran, exit, &[part, "hint:", &bench.liar.url("/pkgs-all?version=8.7")]);
    }
}

#[test]
fn answers_that_are_no_catalog() {
    let bench = Bench::new();
    bench.liar.on("/pkgs-all", [Lie::html()]);
    bench.fails(&bench.copy(), 65, &["a page for people, not a catalog", "browser"]);
    bench.liar.on("/pkgs-all", [Lie::truncated(CATALOG, 20)]);
    bench.fails(&bench.copy(), 75, &["truncated: 20 of", "tried 6 times"]);
    bench.liar.on("/pkgs-all", [Lie::body(CATALOG).with("Content-Encoding", "gzip")]);
    bench.fails(&bench.copy(), 65, &["not the gzip it claims to be"]);
    bench.liar.on("/pkgs-all", [Lie::redirect("/pkgs-all")]);
    bench.fails(&bench.copy(), 65, &["redirected 26 times"]);
    bench.liar.on("/pkgs-all", [Lie::Garbage(b"SSH-2.0-x\r\n".to_vec())]);
    bench.fails(&bench.copy(), 65, &["not HTTP"]);
    // cut where the server lies about the length too: only the reader can tell
    bench.liar.on("/pkgs-all", [Lie::body(&CATALOG.as_bytes()[..40])]);
    let ran = bench.copy();
    assert_eq!(ran.status, 65, "{}", ran.stderr);
    assert!(ran.stderr.contains("line 1, column"), "{}", ran.stderr);
    assert!(!bench.dest().exists());
}

#[test]
fn an_old_destination_survives_every_failure() {
    let bench = Bench::new();
    bench.liar.on("/pkgs-all", [Lie::body(CATALOG), Lie::truncated(CATALOG, 20)]);
    assert_eq!(bench.copy().status, 0);
    let before = std::fs::read(bench.dest().join("pkgs-all")).unwrap();
    assert_eq!(bench.copy().status, 75);
    assert_eq!(std::fs::read(bench.dest().join("pkgs-all")).unwrap(), before);
    assert_eq!(names(&bench.dest().join("pkg")), ["a"]);
}

#[test]
fn silence_and_trickles_end_in_time() {
    let bench = Bench::new();
    bench.liar.on("/pkgs-all", [Lie::Silence]);
    let ran = bench.run(bench.command(&bench.liar.url("/")).env("DOWNSTREAM_TIMEOUT_S", "1.5"));
    bench.fails(&ran, 69, &["timed out after 1.5 s waiting for an answer (tried 3 times)", "hint:"]);
    assert!(ran.took < Duration::from_secs(25));
    bench.liar.on("/pkgs-all", [Lie::Trickle { body: CATALOG.into(), pause: Duration::from_millis(500) }]);
    let ran = bench.run(bench.command(&bench.liar.url("/")).env("DOWNSTREAM_TIMEOUT_S", "1.5"));
    bench.fails(&ran, 69, &["too slow", "hint:"]);
    assert!(ran.took < Duration::from_secs(25));
}

#[test]
fn nobody_there() {
    let bench = Bench::new();
    let dead = format!("http://127.0.0.1:{}/", dead_port());
    let ran = bench.run(&mut bench.command(&dead));
    bench.fails(&ran, 69, &["connection refused by 127.0.0.1:", "is it started"]);
    let ran = bench.run(&mut bench.command("http://no-such-host.invalid/"));
    bench.fails(&ran, 69, &["host name \"no-such-host.invalid\" not found", "check the spelling"]);
    let ran = bench.run(bench.command("http://site.test/").env("http_proxy", &dead));
    bench.fails(&ran, 69, &["proxy http://127.0.0.1:", "http_proxy"]);
}

#[test]
fn a_certificate_nobody_vouches_for() {
    if !tests::require("a_certificate_nobody_vouches_for", &["openssl"]) {
        return;
    }
    use std::io::{BufRead, BufReader};
    let bench = Bench::new();
    let keys = tempfile::tempdir().unwrap();
    tests::sh_ok(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \\
           -addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE 2>err
         printf '#hash()' > pkgs-all",
        keys.path(),
    );
    let mut server = tests::command("openssl", keys.path())
        .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", "cert.pem", "-key", "key.pem"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = lines
        .by_ref()
        .find_map(|line| line.ok()?.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned))
        .expect("s_server says where");
    std::thread::spawn(move || lines.count());
    let url = format!("https://localhost:{port}/");
    let ran = bench.run(&mut bench.command(&url));
    bench.fails(&ran, 69, &["no secure connection to localhost:", "unknown issuer", "SSL_CERT_FILE"]);
    let trusted = bench.run(bench.command(&url).env("SSL_CERT_FILE", keys.path().join("cert.pem")));
    assert!(!trusted.stderr.contains("secure connection"), "trusted by name: {}", trusted.stderr);
    // as raco: the user may insist
    let insisted = bench.run(bench.command(&url).env("PLT_PKG_SSL_NO_VERIFY", "1"));
    assert!(!insisted.stderr.contains("secure connection"), "{}", insisted.stderr);
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
fn dash_v_tells_what_is_asked_of_whom() {
    let bench = Bench::new();
    bench.liar.on("/pkgs-all", [Lie::status(503), Lie::redirect("/there/pkgs-all")]);
    bench.liar.on("/there/pkgs-all", [Lie::body(CATALOG)]);
    let ran = bench.run(bench.command(&bench.liar.url("/")).arg("--verbose"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    for part in ["GET http://127.0.0.1:", "trying again in", "redirects to", "200 http://127.0.0.1:"] {
        assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
    }
}
