//! `site-serve` as its users see it: the cases in `tests/cases/site-serve/`, then what a folder cannot say: real
//! clients, odd clients, many clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn cases() {
    tests::run_cases("site-serve");
}

/// A running server; stopped when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path, arguments: &[&str]) -> Server {
        let mut child = tests::command(tests::program("site-serve"), dir)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("site-serve starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let listening: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(listening["kind"], "listening");
        assert_eq!(listening["pid"], child.id());
        Server { child, address: listening["address"].as_str().expect("an address").to_owned() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends bytes as they are and reads until the server closes.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        stream.write_all(request).expect("takes the request");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One request; the answer's head and body.
    fn get(&self, path: &str, headers: &str) -> (String, String) {
        let answer = self
            .raw(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(head: &str) -> u16 {
    head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        .map(|(_, v)| v)
}

/// Old enough for strong validators.
fn settled(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, content).expect("written");
    let file = std::fs::File::options().write(true).open(path).expect("opened");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("dated");
}

#[test]
fn real_raco_reads_a_catalog_and_installs_from_it() {
    if !tests::require("real_raco_reads_a_catalog_and_installs_from_it", &["raco", "sha1sum"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    for (package, code) in [
        ("quirk", "#lang racket/base\n(provide x)\n(define x 42)\n"),
        ("user", "#lang racket/base\n(require quirk)\n(display x)\n"),
    ] {
        let source = dir.join("src").join(package);
        std::fs::create_dir_all(&source).unwrap();
        let deps = if package == "user" {
            "(define deps '(\"base\" \"quirk\"))"
        } else {
            "(define deps '(\"base\"))"
        };
        std::fs::write(
            source.join("info.rkt"),
            format!("#lang info\n(define collection \"{package}\")\n{deps}\n"),
        )
        .unwrap();
        std::fs::write(source.join("main.rkt"), code).unwrap();
    }
    tests::sh_ok(
        "export PLTUSERHOME=$PWD/maker
         mkdir -p site/pkgs site/catalog/pkg
         racket -l- pkg/dirs-catalog --immediate cat src/quirk src/user >/dev/null 2>&1 || racket -l- pkg/dirs-catalog cat src >/dev/null
         raco pkg catalog-archive --relative site cat >/dev/null",
        dir,
    );
    let server = Server::start(&dir.join("site"), &[]);
    let catalog = server.url("/catalog/");
    let shown = tests::sh_ok(
        &format!(
            "export PLTUSERHOME=$PWD/user; raco pkg catalog-show --all --only-names --catalog {catalog}"
        ),
        dir,
    );
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["quirk", "user"]);
    let ran = tests::sh_ok(
        &format!(
            "export PLTUSERHOME=$PWD/user
             raco pkg install --no-setup --auto --catalog {catalog} user >install.log 2>&1 || {{ cat install.log; exit 1; }}
             racket -l user"
        ),
        dir,
    );
    assert!(ran.ends_with("42"), "{ran}");
    let copied = tests::sh_ok(
        &format!(
            "export PLTUSERHOME=$PWD/user; raco pkg catalog-copy {catalog} copy >/dev/null && ls copy/pkg"
        ),
        dir,
    );
    assert_eq!(copied.split_whitespace().collect::<Vec<_>>(), ["quirk", "user"]);
}

#[test]
fn curl_resumes_and_revalidates() {
    if !tests::require("curl_resumes_and_revalidates", &["curl"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    settled(&dir.join("site/big.sh"), &content);
    settled(&dir.join("site/pkgs-all"), "(a b c)\n".repeat(1000).as_bytes());
    let server = Server::start(&dir.join("site"), &[]);
    let out = tests::sh_ok(
        &format!(
            "u={}
             head -c 1000000 site/big.sh > part
             curl -sS -C - -o part $u/big.sh && cmp part site/big.sh && echo resumed
             curl -sS -r -100 -o tail $u/big.sh && tail -c 100 site/big.sh | cmp - tail && echo tail
             curl -sS -o /dev/null -w '%{{http_code}}\\n' -r 3000000- $u/big.sh
             curl -sS --etag-save etag -o all $u/pkgs-all
             curl -sS --etag-compare etag -o again -w '%{{http_code}} %{{size_download}}\\n' $u/pkgs-all
             curl -sS -R -o dated $u/pkgs-all; curl -sS -z dated -o x -w '%{{http_code}}\\n' $u/pkgs-all
             curl -sS --compressed -o unpacked -w '%{{size_download}}\\n' $u/pkgs-all | awk '{{ if ($1 < 500) print \"small\" }}'
             cmp unpacked site/pkgs-all && echo same
             curl -sSI $u/big.sh | grep -ci 'content-length: 3000000'
             curl -sS --http1.0 $u/pkgs-all | cmp - site/pkgs-all && echo http10
             curl -sS -o /dev/null -w '%{{http_code}}\\n' -X POST -d x=y $u/pkgs-all
             curl -sS -o one -o two $u/pkgs-all $u/pkgs-all -w '%{{num_connects}}' && echo",
            server.url("").trim_end_matches('/')
        ),
        dir,
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        ["resumed", "tail", "416", "304 0", "304", "small", "same", "1", "http10", "405", "10"],
        "{out}"
    );
}

#[test]
fn pythons_client_agrees() {
    if !tests::require("pythons_client_agrees", &["python3"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    settled(&dir.join("site/a b/é%.txt"), b"odd name");
    settled(&dir.join("site/x"), b"0123456789");
    let server = Server::start(&dir.join("site"), &[]);
    let script = format!(
        "import http.client, urllib.parse, html.parser
host = '{}'
c = http.client.HTTPConnection(host)
def ask(method, path, headers={{}}):
    c.request(method, path, headers=headers)
    r = c.getresponse()
    return r.status, r.headers, r.read()
s, h, b = ask('GET', urllib.parse.quote('/a b/é%.txt'))
assert (s, b) == (200, b'odd name'), (s, b)
s, h, b = ask('HEAD', '/x')
assert (s, h['Content-Length'], b) == (200, '10', b''), (s, h, b)
etag = h['ETag']
assert etag.startswith('\"'), etag
assert ask('GET', '/x', {{'If-None-Match': etag}})[0] == 304
s, h, b = ask('GET', '/x', {{'Range': 'bytes=2-4', 'If-Range': etag}})
assert (s, b, h['Content-Range']) == (206, b'234', 'bytes 2-4/10'), (s, b)
s, h, b = ask('GET', '/x', {{'Range': 'bytes=2-4', 'If-Range': '\"other\"'}})
assert (s, b) == (200, b'0123456789')
assert ask('GET', '/x', {{'If-Match': '\"other\"'}})[0] == 412
# every link of every page leads somewhere
links = []
class P(html.parser.HTMLParser):
    def handle_starttag(self, tag, attrs):
        if tag == 'a': links.append(dict(attrs)['href'])
seen, todo = set(), ['/']
while todo:
    path = todo.pop()
    if path in seen: continue
    seen.add(path)
    s, h, b = ask('GET', path)
    assert s == 200, (path, s)
    if h['Content-Type'].startswith('text/html'):
        links.clear(); P().feed(b.decode()); 
        todo += [urllib.parse.urljoin(path, l) for l in links]
assert len(seen) == 4, seen
print('agrees')
",
        server.address
    );
    std::fs::write(dir.join("client.py"), script).unwrap();
    assert_eq!(tests::sh_ok("python3 client.py", dir), "agrees\n");
}

#[test]
fn two_hundred_at_a_time() {
    let scratch = tempfile::tempdir().unwrap();
    let content = "line of text\n".repeat(20_000);
    settled(&scratch.path().join("site/big.txt"), content.as_bytes());
    settled(&scratch.path().join("site/small"), b"small");
    let server = Server::start(&scratch.path().join("site"), &["--max-connections", "64"]);
    let whole = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..200)
            .map(|number| {
                let (server, content) = (&server, content.as_str());
                scope.spawn(move || match number % 3 {
                    0 => server.get("/big.txt", "").1 == content,
                    1 => server.get("/small", "").1 == "small",
                    _ => status(&server.get("/none", "").0) == 404,
                })
            })
            .collect();
        threads
            .into_iter()
            .filter(|_| true)
            .map(|thread| thread.join().unwrap())
            .filter(|whole| *whole)
            .count()
    });
    assert_eq!(whole, 200);
}

#[test]
fn odd_requests_get_plain_answers() {
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("site/dir/index.html"), b"<title>index</title>");
    settled(&scratch.path().join("site/file"), b"content");
    settled(&scratch.path().join("other/x.json"), b"{}");
    let site = scratch.path().join("site");
    let server = Server::start(&site, &["--mount", "/m/n=../other", "."]);
    let code = |path: &str| status(&server.get(path, "").0);
    for (path, expected) in [
        ("/file", 200),
        ("/file?version=8.7", 200),
        ("/./file", 200),
        ("//file", 200),
        ("/dir/../file", 200),
        ("/%66ile", 200),
        ("/file/", 404),
        ("/file/x", 404),
        ("/FILE", 404),
        ("/dir", 301),
        ("/dir/", 200),
        ("/m/", 200),
        ("/m", 301),
        ("/m/n/x.json", 200),
        ("/m/x.json", 404),
        ("/..", 400),
        ("/../other/x.json", 400),
        ("/%2e%2e/other/x.json", 400),
        ("/..%2fother/x.json", 404),
        ("/dir%2findex.html", 404),
        ("/fi%00le", 404),
        ("/%zz", 400),
        ("*", 400),
        ("file", 400),
        ("http://elsewhere/file", 200),
    ] {
        assert_eq!(code(path), expected, "{path}");
    }
    let (head, body) = server.get("/dir/", "");
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(body, "<title>index</title>");
    let (head, _) = server.get("/m/n/x.json", "");
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    let (head, _) = server.get("//dir?x=y", "");
    assert_eq!(header(&head, "location"), Some("/dir/?x=y"), "never a redirect to another host");
    // people get a page, programs a line
    let (head, body) = server.get("/<b>", "Accept: text/html\r\n");
    assert_eq!(status(&head), 404);
    assert!(body.contains("&lt;b&gt;") && !body.contains("<b>"), "{body}");
    assert_eq!(server.get("/none", "").1, "nothing is at \"/none\"\n");

    let first = |request: &str| status(&server.raw(request.as_bytes()));
    assert_eq!(first("GET /file HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(first("GET /file\r\n\r\n"), 400);
    assert_eq!(first("GET /file HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(first("\r\n\r\n\x16\x03\x01"), 400);
    assert_eq!(first("DELETE /file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 405);
    assert_eq!(first(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000))), 431);
    let body = "x".repeat(100_000);
    assert_eq!(first(&format!("PUT /file HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}")), 405);
    // several requests in one go are answered in order
    let answers = server.raw(
        b"GET /file HTTP/1.1\r\nHost: h\r\n\r\nHEAD /file HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    let codes: Vec<u16> =
        answers.split("HTTP/1.1 ").skip(1).map(|answer| status(&format!("x {answer}"))).collect();
    assert_eq!(codes, [200, 200, 404], "{answers}");
    assert_eq!(
        answers.matches("content\r\n").count() + answers.matches("contentHTTP").count(),
        1,
        "{answers}"
    );
}

#[test]
fn odd_things_on_disk_do_no_harm() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    settled(&dir.join("empty"), b"");
    settled(&dir.join("gone"), b"x");
    settled(&dir.join("many/big"), &[b'x'; 300_000]);
    tests::sh_ok("mkfifo pipe; ln -s circle circle; ln -s nowhere dangling; ln -s / outside", dir);
    let server = Server::start(dir, &[]);
    for (path, expected) in
        [("/pipe", 403), ("/circle", 404), ("/dangling", 404), ("/outside", 403), ("/empty", 200)]
    {
        assert_eq!(status(&server.get(path, "").0), expected, "{path}");
    }
    assert_eq!(status(&server.get("/empty", "Range: bytes=0-\r\n").0), 416);
    let (_, listing) = server.get("/", "");
    assert!(
        listing.contains("many/") && !listing.contains("outside") && !listing.contains("dangling"),
        "{listing}"
    );
    let long = format!("/{}", "x".repeat(3_000));
    assert_eq!(status(&server.get(&long, "").0), 404);
    // a file that is replaced while it is served: old or new, never a mixture
    let writer = {
        let path = dir.join("many/big");
        std::thread::spawn(move || {
            for round in 0..200u32 {
                let beside = path.with_extension("tmp");
                std::fs::write(&beside, vec![b'a' + (round % 26) as u8; 300_000]).unwrap();
                std::fs::rename(&beside, &path).unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let (_, body) = server.get("/many/big", "");
        assert_eq!(body.len(), 300_000);
        assert!(body.bytes().all(|byte| byte == body.as_bytes()[0]), "a mixture");
    }
    writer.join().unwrap();
}

#[test]
fn few_file_descriptors_are_enough() {
    if !tests::require("few_file_descriptors_are_enough", &["curl"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("f"), b"content");
    let program = tests::program("site-serve");
    let out = tests::sh_ok(
        &format!(
            "ulimit -n 40; exec {} --listen 127.0.0.1:0 --exec . -- sh -c '
               for i in $(seq 60); do curl -sS ${{SITE_URL}}f & done; wait'",
            program.display()
        ),
        scratch.path(),
    );
    assert_eq!(out, "content".repeat(60));
}

#[test]
fn the_other_internet_protocol_works_too() {
    if !tests::require("the_other_internet_protocol_works_too", &["curl"]) {
        return;
    }
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return tests::skip("the_other_internet_protocol_works_too", "this machine has no IPv6");
    }
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("f"), b"content");
    let out = tests::sh_ok(
        "site-serve --listen '[::1]:0' --exec . -- sh -c 'echo $SITE_URL; curl -gsS ${SITE_URL}f'",
        scratch.path(),
    );
    assert!(out.starts_with("http://[::1]:") && out.ends_with("content"), "{out}");
}

#[test]
fn generated_paths_never_leave_the_root() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    settled(&dir.join("SECRET"), b"SECRET");
    settled(&dir.join("site/a/b/f"), b"inside");
    settled(&dir.join("site/f"), b"inside");
    for (target, link) in
        [("..", "site/up"), ("../SECRET", "site/s"), ("../../..", "site/a/upup"), ("/", "site/a/root")]
    {
        std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
    }
    std::os::unix::fs::symlink(dir.join("SECRET"), dir.join("site/abs")).unwrap();
    std::os::unix::fs::symlink("../f", dir.join("site/a/fine")).unwrap();
    let server = Server::start(&dir.join("site"), &[]);
    let mut seed = 0x5eed_u64;
    let mut pick = |count: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % count as u64) as usize
    };
    let pieces = [
        "a",
        "b",
        "f",
        "up",
        "s",
        "abs",
        "upup",
        "root",
        "fine",
        "..",
        ".",
        "",
        "%2e%2e",
        "%2E.",
        "..%2f",
        "%2f",
        "%5c..",
        "..\\",
        "%00",
        "%252e%252e",
        "..;",
        "SECRET",
        "etc",
        "passwd",
        "%c0%ae%c0%ae",
        "proc/self/root",
        "site",
        "....",
    ];
    let mut stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
    let (mut inside, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let parts: Vec<&str> = (0..=pick(6)).map(|_| pieces[pick(pieces.len())]).collect();
        let path = format!("/{}", parts.join("/"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "{path}");
            head.push_str(&line);
        }
        let length: usize = header(&head, "content-length").map_or(0, |value| value.trim().parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let body = String::from_utf8_lossy(&body);
        match status(&head) {
            200 if body == "inside" => inside += 1,
            200 => assert!(
                body.contains("<table>") && !body.contains("SECRET") && !body.contains("passwd"),
                "{path}: {body}"
            ),
            301 | 404 | 403 => refused += 1,
            400 => {
                // a bad request ends the connection
                refused += 1;
                stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
            }
            other => panic!("{path}: {other}"),
        }
        if header(&head, "connection").map(str::trim) == Some("close") && status(&head) != 400 {
            stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
        }
    }
    assert!(inside > 20 && refused > 1_000, "{inside} inside, {refused} refused");
    assert_eq!(server.get("/a/fine", "").1, "inside", "links inside are followed");
}

#[test]
fn slow_and_silent_clients_do_not_keep_others_waiting() {
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("f"), b"content");
    let server = Server::start(scratch.path(), &["--max-connections", "20"]);
    // as many slow heads as there are places
    let mut slow: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /f HT").unwrap();
    }
    let start = Instant::now();
    assert_eq!(server.get("/f", "").1, "content");
    assert!(start.elapsed() < Duration::from_secs(25), "a place is free again within the time for a head");
    let mut answer = String::new();
    slow[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let _ = slow[0].read_to_string(&mut answer);
    assert_eq!(status(&answer), 408, "{answer}");
}

#[test]
fn idle_connections_make_room() {
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("f"), b"content");
    let server = Server::start(scratch.path(), &["--max-connections", "4"]);
    let idle: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    assert_eq!(server.get("/f", "").1, "content");
    assert!(start.elapsed() < Duration::from_secs(12), "not only after the time for idle connections");
    drop(idle);
}

#[test]
fn a_stopped_server_finishes_what_it_sends() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let size = 30_000_000;
    settled(&dir.join("big"), &vec![b'x'; size]);
    let ready = dir.join("ready.json");
    let mut server = Server::start(dir, &["--ready-file", "ready.json"]);
    assert!(ready.exists());
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut piece = [0; 1000];
    stream.read_exact(&mut piece).unwrap();
    assert!(Command::new("kill").arg(server.child.id().to_string()).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(300));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() + piece.len() > size, "{} bytes came", rest.len() + piece.len());
    let status = server.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert!(!ready.exists(), "the ready file goes with the server");
}

#[test]
fn a_server_ends_with_its_owner() {
    let scratch = tempfile::tempdir().unwrap();
    let mut owner = Command::new("sleep").arg("60").spawn().unwrap();
    let mut server = Server::start(scratch.path(), &["--owner", &owner.id().to_string()]);
    assert_eq!(server.child.try_wait().unwrap(), None);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_server_takes_its_command_along() {
    let scratch = tempfile::tempdir().unwrap();
    let mut server = tests::command(tests::program("site-serve"), scratch.path())
        .args(["--listen", "127.0.0.1:0", "--exec", ".", "--", "sh", "-c", "echo $$ > pid; exec sleep 60"])
        .spawn()
        .unwrap();
    let pid_file = scratch.path().join("pid");
    let deadline = Instant::now() + Duration::from_secs(10);
    let pid = loop {
        match std::fs::read_to_string(&pid_file) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "the command starts"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    server.wait().unwrap();
    assert!(!Path::new("/proc").join(&pid).exists(), "process {pid} is gone too");
}

#[test]
fn the_access_log_tells_each_request() {
    let scratch = tempfile::tempdir().unwrap();
    settled(&scratch.path().join("f"), b"content");
    let mut server = Server::start(scratch.path(), &["-v", "--message-format", "json"]);
    server.get("/f?x=%1b", "");
    server.raw(b"GET /\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n");
    let _ = server.child.kill();
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let messages: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let texts: Vec<&str> = messages.iter().filter_map(|message| message["message"].as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("\"GET /f?x=%1b\" 200 7 bytes")), "{texts:?}");
    assert!(!log.contains('\x1b'));
}

#[test]
fn fetching_works_against_it() {
    let scratch = tempfile::tempdir().unwrap();
    let catalog = "#hash((\"a\" . 1))".repeat(10_000);
    settled(&scratch.path().join("site/pkgs-all"), catalog.as_bytes());
    let server = Server::start(&scratch.path().join("site"), &[]);
    let options = fetch::Options { cache: Some(scratch.path().join("cache")), ..Default::default() };
    for expected in [fetch::Origin::Network, fetch::Origin::Revalidated] {
        let client = fetch::Client::new(options.clone());
        let (body, info) = client.request(&server.url("/pkgs-all?version=8.7")).bytes().unwrap();
        assert_eq!((body.len(), info.origin), (catalog.len(), expected));
    }
    let error = fetch::Client::new(options).get(&server.url("/nothing")).unwrap_err();
    assert!(
        error.to_string().ends_with("server says 404 Not Found: \"nothing is at \"/nothing\"\""),
        "{error}"
    );
}
