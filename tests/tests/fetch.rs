//! lib/fetch against a server that lies, and against files.

use fetch::{Class, Client, Event, Options, Origin, Phase, Trouble};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::liar::{Liar, Lie, dead_port};

/// The defaults, but quick: these tests are about what is done, not about how long it takes.
fn quick() -> Options {
    Options {
        backoff: Duration::from_millis(2),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(20),
        proxies_from_environment: false,
        ..Options::default()
    }
}

/// For tests that wait for a time-out.
fn impatient() -> Options {
    Options { read_timeout: Duration::from_millis(600), ..quick() }
}

fn client() -> Client {
    Client::new(quick())
}

fn data(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

fn sha1(data: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x");
    std::fs::write(&file, data).unwrap();
    Client::new(quick()).request(&format!("file://{}", file.display())).bytes().unwrap().1.sha1
}

#[test]
fn an_honest_answer_is_passed_on() {
    let liar = Liar::start();
    liar.on("/pkgs-all", [Lie::body("#hash()").with("Content-Type", "text/plain")]);
    let client = client();
    let (body, info) = client.request(&liar.url("/pkgs-all?version=8.7")).bytes().unwrap();
    assert_eq!(body, b"#hash()");
    assert_eq!(info.content_type.as_deref(), Some("text/plain"));
    assert_eq!(info.origin, Origin::Network);
    assert_eq!(info.sha1, sha1(b"#hash()"));
    let asked = &liar.asked()[0];
    assert_eq!(asked.query.as_deref(), Some("version=8.7"));
    assert!(asked.headers["user-agent"].starts_with("downstream/"));
    for _ in 0..3 {
        client.get(&liar.url("/pkgs-all")).unwrap();
    }
    assert_eq!(liar.connections(), 1, "connections are kept");
}

#[test]
fn transient_trouble_is_tried_again() {
    let liar = Liar::start();
    let troubles = [408, 409, 429, 500, 503].map(Lie::status);
    liar.on("/a", troubles.into_iter().chain([Lie::body("there")]));
    assert_eq!(client().get(&liar.url("/a")).unwrap(), b"there");
    assert_eq!(liar.count("/a"), 6);

    liar.on(
        "/b",
        [Lie::Close, Lie::truncated("0123456789", 4), Lie::Garbage(vec![]), Lie::body("0123456789")],
    );
    assert_eq!(client().get(&liar.url("/b")).unwrap(), b"0123456789");
    assert_eq!(liar.count("/b"), 4);
}

#[test]
fn what_cannot_get_better_is_asked_once() {
    let liar = Liar::start();
    for (status, class) in [
        (404, Class::Gone),
        (410, Class::Gone),
        (403, Class::Denied),
        (401, Class::Denied),
        (400, Class::Denied),
    ] {
        let path = format!("/{status}");
        liar.on(&path, [Lie::status(status)]);
        let error = client().get(&liar.url(&path)).unwrap_err();
        assert_eq!((error.status(), error.class()), (Some(status), class));
        assert_eq!(liar.count(&path), 1);
        let line = error.to_string();
        assert!(line.starts_with(&format!("{}: server says {status} ", liar.url(&path))), "{line}");
        assert!(line.ends_with(&format!(": \"this is status {status}\"")), "{line}");
        assert!(!line.contains('\n'));
    }
}

#[test]
fn retries_end() {
    let liar = Liar::start();
    liar.on("/", [Lie::status(503)]);
    let error = client().get(&liar.url("/")).unwrap_err();
    assert_eq!(error.class(), Class::Busy);
    assert_eq!((error.attempts, liar.count("/")), (6, 6));
    assert!(error.to_string().ends_with("(tried 6 times)"), "{error}");
}

#[test]
fn retry_after_is_honoured_and_capped() {
    let liar = Liar::start();
    liar.on("/a", [Lie::status(429).with("Retry-After", "1"), Lie::body("x")]);
    let start = Instant::now();
    client().get(&liar.url("/a")).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    liar.on("/b", [Lie::status(503).with("Retry-After", "100000")]);
    let client = Client::new(Options { retry_after_max: Duration::from_millis(50), ..quick() });
    let start = Instant::now();
    assert_eq!(client.get(&liar.url("/b")).unwrap_err().status(), Some(503));
    assert_eq!(liar.count("/b"), 2, "once more after the longest pause we are ready for");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn bodies_that_lie_are_found_out() {
    let liar = Liar::start();
    let client = Client::new(Options { retries: 1, ..quick() });
    liar.on("/short", [Lie::truncated(data(10_000), 5_000)]);
    liar.on("/chunks", [Lie::TruncatedChunks { body: data(100) }]);
    liar.on("/claims", [Lie::WrongLength { body: data(100), claimed_bytes: 1_000 }]);
    for path in ["/short", "/chunks", "/claims"] {
        let error = client.get(&liar.url(path)).unwrap_err();
        assert!(matches!(*error.trouble, Trouble::Truncated { .. }), "{path}: {error}");
        assert_eq!(liar.count(path), 2, "{path}");
    }
    liar.on("/endless", [Lie::Endless]);
    let error = client.request(&liar.url("/endless")).max_bytes(100_000).bytes().unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooLarge { limit_bytes: 100_000 }), "{error}");
    assert_eq!(liar.count("/endless"), 1);
    liar.on("/big", [Lie::body(data(2_000))]);
    let error = client.request(&liar.url("/big")).max_bytes(1_999).bytes().unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooLarge { .. }));
    client.request(&liar.url("/big")).max_bytes(2_000).bytes().unwrap();
    liar.on("/garbage", [Lie::Garbage(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())]);
    let error = client.get(&liar.url("/garbage")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::NotHttp { .. }), "{error}");
    liar.on("/gzip", [Lie::body("this is no gzip").with("Content-Encoding", "gzip")]);
    let error = client.get(&liar.url("/gzip")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::BadEncoding { .. }), "{error}");
}

#[test]
fn silence_and_trickles_end() {
    let liar = Liar::start();
    let client = Client::new(Options { retries: 1, ..impatient() });
    liar.on("/silence", [Lie::Silence]);
    let error = client.get(&liar.url("/silence")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TimedOut { phase: Phase::Response, .. }), "{error}");
    assert_eq!((error.class(), liar.count("/silence")), (Class::Unreachable, 2));

    liar.on("/trickle", [Lie::Trickle { body: data(100_000), pause: Duration::from_millis(20) }]);
    let error = client.get(&liar.url("/trickle")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooSlow { .. }), "{error}");

    liar.on("/stall", [Lie::Trickle { body: data(5), pause: Duration::from_secs(3) }]);
    let error = client.get(&liar.url("/stall")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TimedOut { phase: Phase::Body, .. }), "{error}");

    let client = Client::new(Options { total_timeout: Some(Duration::from_millis(300)), ..impatient() });
    liar.on("/total", [Lie::Trickle { body: data(100_000), pause: Duration::from_millis(20) }]);
    let start = Instant::now();
    let error = client.get(&liar.url("/total")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TimedOut { phase: Phase::Total, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn redirects_are_followed_and_circles_left() {
    let liar = Liar::start();
    liar.on("/end", [Lie::body("here")]);
    for step in 0..25 {
        let to = if step == 24 { "/end".to_owned() } else { format!("/s{}", step + 1) };
        liar.on(&format!("/s{step}"), [Lie::redirect(&to)]);
    }
    let (body, info) = client().request(&liar.url("/s0")).bytes().unwrap();
    assert_eq!((body.as_slice(), info.final_url), (&b"here"[..], liar.url("/end")));
    liar.on("/before", [Lie::redirect("s0")]);
    let error = client().get(&liar.url("/before")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooManyRedirects { .. }), "{error}");

    liar.on("/circle", [Lie::redirect("circle")]);
    let error = client().get(&liar.url("/circle")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooManyRedirects { .. }), "{error}");
    assert_eq!(liar.count("/circle"), 26);

    for (to, shown) in [("file:///etc/passwd", "file"), ("ftp://h/", "ftp")] {
        liar.on("/out", [Lie::redirect(to)]);
        let error = client().get(&liar.url("/out")).unwrap_err();
        assert!(matches!(*error.trouble, Trouble::BadRedirect { .. }), "{error}");
        assert!(error.to_string().contains(shown), "{error}");
    }
    liar.on("/gone", [Lie::redirect("/nowhere")]);
    let error = client().get(&liar.url("/gone")).unwrap_err();
    assert_eq!(error.redirected_to.as_deref(), Some(liar.url("/nowhere").as_str()));
    assert!(error.to_string().contains("redirected to"), "{error}");
}

#[test]
fn nobody_there() {
    let dead = dead_port();
    let client = Client::new(Options { retries: 2, ..quick() });
    let error = client.get(&format!("http://127.0.0.1:{dead}/")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::ConnectionRefused { .. }), "{error}");
    assert_eq!((error.attempts, error.class()), (3, Class::Unreachable));
    assert!(error.hint().is_some());
    let error = client.get("http://no-such-host.invalid/").unwrap_err();
    assert!(matches!(*error.trouble, Trouble::NameNotFound { .. }), "{error}");
    for (url, part) in [("HTTP://h/", "lower case"), ("ftp://h/", "only http"), ("git://h/x", "only http")] {
        let error = client.get(url).unwrap_err();
        assert_eq!(error.class(), Class::BadRequest);
        assert!(error.hint().unwrap().contains(part), "{url}");
    }
    for url in ["", "nonsense", "http://", "http://h:x/", "http://user:secret@/"] {
        let error = client.get(url).unwrap_err();
        assert!(matches!(*error.trouble, Trouble::BadUrl { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn a_host_that_stops_answering_is_not_asked_two_thousand_times() {
    let dead = dead_port();
    let requests = Arc::new(Mutex::new(0));
    let counter = requests.clone();
    let on_event: fetch::Listener = Arc::new(move |event: &Event| {
        if matches!(event, Event::Asking { .. }) {
            *counter.lock().unwrap() += 1;
        }
    });
    let client = Client::new(Options { on_event: Some(on_event), ..quick() });
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for number in 0..250 {
                    let url = format!("http://127.0.0.1:{dead}/{thread}-{number}");
                    assert_eq!(client.get(&url).unwrap_err().class(), Class::Unreachable);
                }
            });
        }
    });
    let requests = *requests.lock().unwrap();
    assert!((12..=20).contains(&requests), "{requests} requests");
    assert!(start.elapsed() < Duration::from_secs(25));
    // other hosts are not touched by that
    let liar = Liar::start();
    liar.on("/", [Lie::body("alive")]);
    assert_eq!(client.get(&liar.url("/")).unwrap(), b"alive");
}

#[test]
fn one_host_gets_so_many_requests_at_a_time() {
    let liar = Liar::start();
    liar.on("*", [Lie::Trickle { body: data(5), pause: Duration::from_millis(5) }]);
    let client = Client::new(Options { per_host: 4, ..quick() });
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (client, liar) = (&client, &liar);
            scope.spawn(move || client.get(&liar.url(&format!("/{number}"))).unwrap());
        }
    });
    assert!(liar.most_active() <= 4, "{}", liar.most_active());
}

#[test]
fn a_broken_download_is_taken_up_where_it_broke() {
    let liar = Liar::start();
    let whole = data(1_000_000);
    let etag = "\"v1\"".to_owned();
    liar.on("/a.zip", [Lie::Breaking { body: whole.clone(), etag, every_bytes: 100_000 }]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/dir/a.zip");
    let seen = Mutex::new(Vec::new());
    let info = client()
        .request(&liar.url("/a.zip"))
        .expect_sha1(sha1(&whole))
        .on_progress(|progress| seen.lock().unwrap().push(progress))
        .to_file(&path)
        .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert_eq!(info.size_bytes, 1_000_000);
    let ranges: Vec<Option<String>> =
        liar.asked().iter().map(|asked| asked.headers.get("range").cloned()).collect();
    assert_eq!(ranges.len(), 10);
    assert_eq!(ranges[9].as_deref(), Some("bytes=900000-"));
    let seen = seen.into_inner().unwrap();
    assert!(seen.windows(2).all(|pair| pair[0].received_bytes <= pair[1].received_bytes));
    assert_eq!(seen.last().map(|p| (p.received_bytes, p.total_bytes)), Some((1_000_000, Some(1_000_000))));
}

#[test]
fn a_file_that_changes_under_a_download_is_fetched_anew() {
    let liar = Liar::start();
    let (old, new) = (vec![b'o'; 100_000], vec![b'n'; 100_000]);
    liar.on(
        "/a.zip",
        [
            Lie::Breaking { body: old, etag: "\"old\"".into(), every_bytes: 50_000 },
            Lie::Breaking { body: new.clone(), etag: "\"new\"".into(), every_bytes: 200_000 },
        ],
    );
    assert_eq!(client().get(&liar.url("/a.zip")).unwrap(), new);
}

#[test]
fn a_wrong_checksum_leaves_no_file() {
    let liar = Liar::start();
    liar.on("/a.zip", [Lie::body("content")]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.zip");
    std::fs::write(&path, "before").unwrap();
    let error = client().request(&liar.url("/a.zip")).expect_sha1("0".repeat(40)).to_file(&path).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::ChecksumMismatch { .. }), "{error}");
    let line = error.to_string();
    assert!(line.contains(&"0".repeat(40)) && line.contains(&sha1(b"content")), "{line}");
    assert_eq!(std::fs::read(&path).unwrap(), b"before");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn gzip_is_undone() {
    let liar = Liar::start();
    let text = "(hash a 1)".repeat(1000);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text"), &text).unwrap();
    tests::sh_ok("gzip -c text > packed", dir.path());
    let packed = std::fs::read(dir.path().join("packed")).unwrap();
    assert!(packed.len() < 1000);
    liar.on("/x", [Lie::body(packed.clone()).with("Content-Encoding", "gzip")]);
    let client = client();
    assert_eq!(client.get(&liar.url("/x")).unwrap(), text.as_bytes());
    assert_eq!(liar.asked()[0].headers["accept-encoding"], "gzip");
    let error = client.request(&liar.url("/x")).max_bytes(5_000).bytes().unwrap_err();
    assert!(matches!(*error.trouble, Trouble::TooLarge { .. }), "the limit is for what comes out: {error}");
    liar.on("/cut", [Lie::body(packed[..packed.len() / 2].to_vec()).with("Content-Encoding", "gzip")]);
    let error = client.get(&liar.url("/cut")).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::Truncated { .. }), "{error}");
    // an archive that a server labels so is saved as it is
    client.request(&liar.url("/x")).to_file(&dir.path().join("x.tgz")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("x.tgz")).unwrap(), packed);
}

#[test]
fn an_unchanged_file_costs_one_304() {
    let liar = Liar::start();
    let body = data(500_000);
    liar.on("/pkgs-all", [Lie::Tagged { body: body.clone(), etag: "\"1\"".into() }]);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cache: Some(dir.path().join("cache")), ..quick() };
    for (run, expected) in [(0, Origin::Network), (1, Origin::Revalidated), (2, Origin::Revalidated)] {
        // a client a run: what is remembered is on disk
        let (got, info) = Client::new(options.clone()).request(&liar.url("/pkgs-all")).bytes().unwrap();
        assert_eq!(got, body);
        assert_eq!((info.origin, liar.count("/pkgs-all")), (expected, run + 1));
    }
    let (_, info) =
        Client::new(options.clone()).request(&liar.url("/pkgs-all")).without_cache().bytes().unwrap();
    assert_eq!(info.origin, Origin::Network);
    // with the checksum known nobody has to be asked
    let asked = liar.count("/pkgs-all");
    let client = Client::new(options.clone());
    let info = client
        .request(&liar.url("/pkgs-all"))
        .expect_sha1(sha1(&body))
        .to_file(&dir.path().join("x"))
        .unwrap();
    assert_eq!((info.origin, liar.count("/pkgs-all")), (Origin::Cache, asked));
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), body);
    // and a change is seen
    liar.on("/pkgs-all", [Lie::Tagged { body: b"new".to_vec(), etag: "\"2\"".into() }]);
    assert_eq!(client.get(&liar.url("/pkgs-all")).unwrap(), b"new");
}

#[test]
fn a_damaged_cache_does_no_harm() {
    let liar = Liar::start();
    liar.on("/x", [Lie::Tagged { body: data(1000), etag: "\"1\"".into() }]);
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(Options { cache: Some(dir.path().join("cache")), ..quick() });
    client.get(&liar.url("/x")).unwrap();
    let entry =
        walkdir::WalkDir::new(dir.path()).into_iter().flatten().find(|e| e.file_type().is_file()).unwrap();
    let mut bytes = std::fs::read(entry.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(entry.path(), bytes).unwrap();
    assert_eq!(client.get(&liar.url("/x")).unwrap(), data(1000));

    // a cache that cannot be written is told and done without
    let told = Arc::new(Mutex::new(String::new()));
    let sink = told.clone();
    let on_event: fetch::Listener = Arc::new(move |event: &Event| {
        if matches!(event, Event::CacheTrouble { .. }) {
            *sink.lock().unwrap() = event.to_string();
        }
    });
    let options = Options { cache: Some("/proc/no/such".into()), on_event: Some(on_event), ..quick() };
    assert_eq!(Client::new(options).get(&liar.url("/x")).unwrap(), data(1000));
    assert!(told.lock().unwrap().starts_with("cache not used: "));
}

#[test]
fn many_processes_share_one_cache() {
    let liar = Liar::start();
    liar.on("/x", [Lie::Tagged { body: data(300_000), etag: "\"1\"".into() }]);
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            // one client each, as processes have
            let (liar, dir) = (&liar, dir.path());
            scope.spawn(move || {
                for _ in 0..10 {
                    let client = Client::new(Options { cache: Some(dir.to_owned()), ..quick() });
                    assert_eq!(client.get(&liar.url("/x")).unwrap(), data(300_000));
                }
            });
        }
    });
}

#[test]
fn files_are_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b%é");
    std::fs::write(&path, "content").unwrap();
    let client = client();
    let url = format!("file://{}/a%20b%25%C3%A9", dir.path().display());
    let (body, info) = client.request(&url).bytes().unwrap();
    assert_eq!((body.as_slice(), info.origin), (&b"content"[..], Origin::File));
    assert_eq!(client.get(&url.replace("file://", "file://localhost")).unwrap(), b"content");
    let copy = dir.path().join("copy");
    client.request(&url).expect_sha1(info.sha1).to_file(&copy).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), b"content");
    let error = client.get(&format!("file://{}/none", dir.path().display())).unwrap_err();
    assert_eq!(error.class(), Class::Gone);
    let error = client.get(&format!("file://{}", dir.path().display())).unwrap_err();
    assert_eq!(error.class(), Class::Local);
    assert!(client.get("file://elsewhere/x").is_err());
    assert!(client.request(&url).max_bytes(3).bytes().is_err());
    let error = client.request(&url).to_file("/proc/no/such".as_ref()).unwrap_err();
    assert!(matches!(*error.trouble, Trouble::CannotWrite { .. }), "{error}");
}

#[test]
fn passwords_are_sent_and_never_shown() {
    let liar = Liar::start();
    liar.on("/private", [Lie::status(401)]);
    let url = liar.url("/private").replace("http://", "http://me:s%65cret@");
    let error = client().get(&url).unwrap_err();
    assert_eq!(liar.asked()[0].headers["authorization"], "Basic bWU6c2VjcmV0");
    assert!(!format!("{error} {:?}", error.hint()).contains("cret"), "{error}");
    let other = Liar::start();
    liar.on("/away", [Lie::redirect(&other.url("/x"))]);
    let _ = client().get(&liar.url("/away").replace("http://", "http://me:secret@"));
    assert!(!other.asked()[0].headers.contains_key("authorization"));
}

/// A program of this file that fetches one URL with the environment it has been given: proxies and trusted
/// certificates are read from the environment, which the tests of one process share.
#[test]
fn fetch_as_the_environment_says() {
    let Some(url) = std::env::var_os("FETCH_TEST_URL") else { return };
    let options = Options { proxies_from_environment: true, retries: 0, ..quick() };
    match Client::new(options).get(&url.to_string_lossy()) {
        Ok(body) => println!("\nfetched: {}", String::from_utf8_lossy(&body)),
        Err(error) => println!("\nfailed: {error}\nhint: {}", error.hint().unwrap_or_default()),
    }
}

fn fetch_with(url: &str, environment: &[(&str, &str)]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let mut command = tests::command(std::env::current_exe().unwrap(), scratch.path());
    command.args(["--exact", "fetch_as_the_environment_says", "--nocapture"]).env("FETCH_TEST_URL", url);
    for (name, value) in environment {
        command.env(name, value);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn proxies_of_the_environment_are_used() {
    let proxy = Liar::start();
    proxy.on("http://site.test:81/a", [Lie::body("through the proxy")]);
    let address = proxy.url("/").replace("http://", "http://me:secret@");
    let out = fetch_with("http://site.test:81/a?b", &[("http_proxy", &address)]);
    assert!(out.contains("fetched: through the proxy"), "{out}");
    let asked = &proxy.asked()[0];
    assert_eq!((asked.path.as_str(), asked.query.as_deref()), ("http://site.test:81/a", Some("b")));
    assert_eq!(asked.headers["host"], "site.test:81");
    assert_eq!(asked.headers["proxy-authorization"], "Basic bWU6c2VjcmV0");
    // TLS goes through a tunnel, and a proxy that refuses one is named
    let out = fetch_with("https://site.test/a", &[("https_proxy", &address)]);
    assert!(out.contains("failed: https://site.test/a: proxy http://127.0.0.1:"), "{out}");
    assert!(out.contains("hint: check http_proxy") && !out.contains("secret"), "{out}");
    assert_eq!(proxy.asked().last().unwrap().method, "CONNECT");
    let before = proxy.asked().len();
    let out =
        fetch_with("http://no-such-host.invalid/", &[("http_proxy", &address), ("no_proxy", ".invalid")]);
    assert!(out.contains("not found"), "{out}");
    assert_eq!(proxy.asked().len(), before);
    let dead = format!("http://127.0.0.1:{}", dead_port());
    let out = fetch_with("http://site.test/", &[("http_proxy", &dead)]);
    assert!(out.contains(&format!("proxy {dead} does not let us through: connection refused")), "{out}");
}

#[test]
fn tls_is_verified() {
    if !tests::require("tls_is_verified", &["openssl"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    tests::sh_ok(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority 2>err
         for name in localhost elsewhere.test; do
           openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name 2>err
           printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n' $name > ext
           openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $name.pem 2>err
         done
         openssl req -x509 -newkey rsa:2048 -nodes -keyout self.key -out self.pem -days 2 -subj /CN=localhost \
           -addext subjectAltName=DNS:localhost 2>err",
        dir,
    );
    let ca = dir.join("ca.pem");
    let ca = ca.to_str().unwrap();
    let with = |name: &str, environment: &[(&str, &str)]| {
        let server = TlsServer::start(dir, name);
        fetch_with(&format!("https://localhost:{}/x", server.port), environment)
    };
    let trusted = with("localhost", &[("SSL_CERT_FILE", ca)]);
    assert!(trusted.contains("fetched: "), "{trusted}");
    let unknown = with("localhost", &[]);
    assert!(unknown.contains("no secure connection to localhost:"), "{unknown}");
    assert!(unknown.contains("unknown issuer") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
    let other = with("elsewhere.test", &[("SSL_CERT_FILE", ca)]);
    assert!(other.contains("its certificate is for another name"), "{other}");
    let own = with("self", &[]);
    assert!(own.contains("unknown issuer"), "{own}");
    let plain = Liar::start();
    plain.on("/", [Lie::body("x")]);
    let out = fetch_with(&plain.url("/").replace("http://127.0.0.1", "https://localhost"), &[]);
    assert!(out.contains("what it speaks is not TLS") || out.contains("connection broke"), "{out}");
    let tls = TlsServer::start(dir, "localhost");
    let out = fetch_with(&format!("http://localhost:{}/", tls.port), &[]);
    assert!(out.contains("failed: "), "{out}");
}

/// `openssl s_server` with a certificate.
struct TlsServer {
    child: std::process::Child,
    port: u16,
}

impl TlsServer {
    fn start(dir: &std::path::Path, name: &str) -> TlsServer {
        use std::io::BufRead;
        let mut child = tests::command("openssl", dir)
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-naccept", "5"])
            .args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .find_map(|line| line.ok()?.strip_prefix("ACCEPT 127.0.0.1:")?.trim().parse().ok())
            .expect("s_server says where");
        std::thread::spawn(move || lines.count());
        TlsServer { child, port }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
