//! What goes out as a line comes back the same; the real Racket is asked too.

#[cfg(test)]
use super::*;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn entry(text: &str) -> Entry {
    catalog::read_entry(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn line(text: &str) -> Json {
    Json::Object(Package::new(Name::new("a").unwrap(), entry(text)).to_json())
}

/// Through a line and back.
fn there_and_back(name: &str, entry: &Entry) -> Entry {
    let package = Package::new(Name::new(name).unwrap(), entry.clone());
    let text = serde_json::to_vec(&package).unwrap();
    assert_eq!(crate::read::<Package>(&text).unwrap(), Package::read(&text).unwrap());
    Package::read(&text).unwrap().entry
}

#[test]
fn known_fields_are_what_jq_likes() {
    let line = line(
        r#"#hash((name . "a") (source . "s") (checksum . "c") (tags . ("x" "y")) (ring . 1) (modules . ((lib "a/b.rkt") other))
           (dependencies . ("b" ("c" #:version "1.0") ("d" #:platform windows #:version "2.0") ("git://h/u/e.git" #:platform #rx"linux")))
           (versions . #hash((default . #hasheq((source . "s"))) ("6.0" . #hasheq((checksum . "")))))
           (search-terms . #hasheq((x . #t))) (license . #f) (implies . (core)) (f . 1.5))"#,
    );
    let expected = serde_json::json!({
        "kind": "package", "v": 1, "name": "a", "source": "s", "checksum": "c", "tags": ["x", "y"],
        "versions": {"default": {"source": "s"}, "6.0": {"checksum": ""}},
        "dependencies": [{"name": "b"}, {"name": "c", "version": "1.0"},
            {"name": "d", "version": "2.0", "platform": "windows"},
            {"name": "e", "source": "git://h/u/e.git", "platform": "#rx\"linux\""}],
        "modules": ["a/b.rkt", {"racket": "other"}], "ring": 1,
        "f": {"racket": "1.5"}, "implies": [{"racket": "core"}], "license": false, "search-terms": {"x": true},
        "racket_form": {"hasheq": ["search-terms", "versions"], "fields": {"dependencies":
            "(\"b\" (\"c\" #:version \"1.0\") (\"d\" #:platform windows #:version \"2.0\") (\"git://h/u/e.git\" #:platform #rx\"linux\"))"}},
    });
    assert_eq!(line, expected);
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys[..5], ["kind", "v", "name", "source", "checksum"]);
    assert_eq!(keys.last(), Some(&"racket_form"));
}

#[test]
fn an_ordinary_entry_has_no_racket_form() {
    let line = line(
        r#"#hash((name . "a") (dependencies . ("b" ("c" #:version "1.0"))) (build . #hash((docs . ()))))"#,
    );
    assert_eq!(line.get("racket_form"), None);
}

#[test]
fn an_edit_of_a_field_wins_over_its_remembered_form() {
    let mut line =
        line(r#"#hash((name . "a") (dependencies . (("b") ("c" "1.0"))) (rt-dependencies . (("b"))))"#);
    line["dependencies"][0]["name"] = "z".into();
    let back = Package::read(line.to_string().as_bytes()).unwrap().entry;
    let expected =
        r#"#hash((dependencies . ("z" ("c" #:version "1.0"))) (name . "a") (rt-dependencies . (("b"))))"#;
    assert_eq!(back, entry(expected));
    line.as_object_mut().unwrap().remove("rt-dependencies");
    line["dependencies"] = Json::Null;
    assert_eq!(Package::read(line.to_string().as_bytes()).unwrap().entry, entry(r#"#hash((name . "a"))"#));
}

#[test]
fn numbers_written_in_json() {
    let number =
        |json: &str| racket_data::write(&field_from_json("x", &serde_json::from_str(json).unwrap()).unwrap());
    assert_eq!(
        ["1", "-7", "1.0", "1e5", "18446744073709551615", "2.5e-8"].map(number),
        ["1", "-7", "1.0", "100000.0", "18446744073709551615", "2.5e-8"]
    );
}

#[test]
fn every_key_has_a_place() {
    for text in [
        "#hash()",
        r#"#hasheq((name . "a"))"#,
        r#"#hasheqv((name . "other"))"#,
        r#"#hash((name . #f) ("string" . 1) (7 . (a b)) (kind . "k") (v . (1 . 2)) (why . ()) (racket_form . #hash()))"#,
        r#"#hash((racket . "x") (|| . 1) (|a b| . 2) (|"| . 3))"#,
        r#"#hash((versions . #hash((default . 1) (other . 2))))"#,
        r#"#hash((versions . #hash(("default" . 1))))"#,
        r#"#hash((versions . #hash(("racket" . "x"))))"#,
        r#"#hash((versions . #hasheq((default . 1))))"#,
        r#"#hash((versions . #hash((default . #hash()) ("1.0" . #hasheq()))))"#,
        r#"#hash((versions . ()) (modules . x) (dependencies . "b") (tags . (a "b" #f)))"#,
        r#"#hash((x . #hash((racket . "form"))) (y . #hash(("a" . 1))) (z . #hasheqv((a . 1))))"#,
        r#"#hash((x . (#hasheq((a . 1)) #hash((a . 1)))) (y . (#hash((a . #hasheq((b . 1)))))))"#,
        r#"#hash((n . (1.0 1/2 9007199254740993 -9007199254740992 123456789012345678901234567890 +inf.0 -0.0)))"#,
        r#"#hash((s . "\u0000\"\\\U1F600\uFEFF e\u0301") (b . #"\377\0") (c . #\x) (k . #:kw) (r . #px#"^a$"))"#,
        r#"#hash((p . (a . b)) (q . (1 2 . 3)) (v . #(1 2)) (x . #&1) (f . #s(point 1 2)))"#,
        r#"#hash((dependencies . (("b" #:version "1.0" #:platform #rx"^win") ("c" #:platform "x86_64-linux") bad ("d" #:x 1))))"#,
    ] {
        let entry = entry(text);
        assert_eq!(there_and_back("a", &entry), entry, "{text}");
    }
}

#[test]
fn deep_values_stay_readable() {
    let text = format!("#hash((x . {}1{}))", "(".repeat(150), ")".repeat(150));
    assert_eq!(there_and_back("a", &entry(&text)), entry(&text));
}

#[test]
fn wrong_lines_are_told() {
    let error = |text: &str| Package::read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error(r#"{"kind": "run", "v": 1}"#), r#"expected kind "package", found "run""#);
    assert!(error(r#"{"kind": "package", "v": 2, "name": "a"}"#).starts_with("unknown version 2"));
    assert!(
        error(r#"{"kind": "package", "v": 1, "name": "../x"}"#).starts_with("\"../x\" is no package name")
    );
    assert_eq!(error(r#"{"kind": "package", "v": 1}"#), "missing field \"name\"");
    let field = |field: &str| error(&format!(r#"{{"kind": "package", "v": 1, "name": "a", {field}}}"#));
    assert!(field(r#""x": {"racket": "("}"#).starts_with("field \"x\": cannot read the written form \"(\""));
    assert_eq!(field(r#""dependencies": {}"#), "field \"dependencies\": expected an array");
    assert!(field(r#""dependencies": [{}]"#).contains("without a name"));
    assert!(field(r#""racket_form": {"hash": "x"}"#).contains("unknown kind of hash"));
    assert!(field(r#""racket_form": {"items": ["(a . 1)"]}"#).contains("no pair with a key of its own"));
    assert!(error("{").contains("line 1"));
}

/// Asks the real Racket whether two catalogs, written as `pkgs-all`, are `equal?`.
fn racket_finds_equal(before: &str, after: &str) -> Option<String> {
    let program = r#"(define (next) (read)) (define a (next)) (define b (next))
        (if (equal? a b) (write 'equal)
            (for ([(name entry) a] #:unless (equal? entry (hash-ref b name #f)))
              (printf "~s\n  ~s\n  ~s\n" name entry (hash-ref b name #f))))"#;
    let mut racket = Command::new("racket")
        .args(["-n", "-l", "racket/base", "-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = racket.stdin.take()?;
    let text = format!("{before}\n{after}\n");
    let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = racket.wait_with_output().ok()?;
    let _ = feeder.join();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn real_racket_finds_every_real_entry_equal() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/data/racket-catalog-2018/pkgs-all");
    let Ok(before) = std::fs::read_to_string(path) else {
        return eprintln!("skipped: real_racket_finds_every_real_entry_equal: the data is not here");
    };
    let catalog = catalog::read_pkgs_all(before.as_bytes()).unwrap();
    let after: catalog::Catalog =
        catalog.iter().map(|(name, entry)| (name.clone(), there_and_back(name.as_str(), entry))).collect();
    assert_eq!(catalog, after);
    match racket_finds_equal(&before, &catalog::write_pkgs_all(&after)) {
        Some(answer) => assert_eq!(answer, "equal"),
        None => eprintln!("skipped: real_racket_finds_every_real_entry_equal: racket is not installed"),
    }
}

#[test]
fn real_racket_finds_every_nasty_entry_equal() {
    let mut random = Random(20_261_121);
    let mut catalog = catalog::Catalog::new();
    for n in 0..3_000 {
        let name = Name::new(format!("p{n}")).unwrap();
        let entry = random.entry(name.as_str());
        assert_eq!(there_and_back(name.as_str(), &entry), entry, "{}", catalog::write_entry(&entry));
        catalog.insert(name, entry);
    }
    let before = catalog::write_pkgs_all(&catalog);
    let after: catalog::Catalog =
        catalog.iter().map(|(name, entry)| (name.clone(), there_and_back(name.as_str(), entry))).collect();
    match racket_finds_equal(&before, &catalog::write_pkgs_all(&after)) {
        Some(answer) => assert_eq!(answer, "equal"),
        None => eprintln!("skipped: real_racket_finds_every_nasty_entry_equal: racket is not installed"),
    }
}

/// A small generator of entries as no server would send them. Deterministic (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
    fn text(&mut self) -> String {
        let pieces = [
            "a",
            "b-c",
            " ",
            "\"",
            "\\",
            "\n",
            "\u{0}",
            "é",
            "e\u{301}",
            "😀",
            "\u{10FFFF}",
            "\u{FEFF}",
            "|",
            "#",
            "1",
            "default",
            "racket",
        ];
        (0..self.below(4)).map(|_| self.pick(&pieces)).collect()
    }
    fn entry(&mut self, name: &str) -> Entry {
        let kind = [HashKind::Equal, HashKind::Equal, HashKind::Eq, HashKind::Eqv][self.below(4)];
        let mut entry = Entry::new(kind);
        if self.below(4) > 0 {
            let own = if self.below(5) > 0 { Value::string(name) } else { self.value(0) };
            entry.hash_mut().set("name", own);
        }
        for _ in 0..self.below(8) {
            let known = [
                "source",
                "checksum",
                "tags",
                "ring",
                "versions",
                "dependencies",
                "rt-dependencies",
                "modules",
                "build",
                "search-terms",
                "kind",
                "v",
                "why",
                "racket_form",
                "racket",
                "unknown",
                "",
                "a b",
            ];
            let key = self.pick(&known);
            let value = match key {
                "versions" => self.versions(),
                "dependencies" | "rt-dependencies" => self.list(Random::dependency),
                "modules" => self.list(Random::module),
                _ => self.value(0),
            };
            entry.hash_mut().set(key, value);
        }
        if self.below(6) == 0 && kind == HashKind::Equal {
            let key = Value::String(self.text());
            let value = self.value(0);
            entry.hash_mut().items.push((key, value));
        }
        entry
    }
    fn list(&mut self, one: fn(&mut Random) -> Value) -> Value {
        Value::List((0..self.below(4)).map(|_| one(self)).collect())
    }
    fn module(&mut self) -> Value {
        match self.below(4) {
            0 => self.value(1),
            _ => Value::List(vec![Value::symbol("lib"), Value::String(self.text())]),
        }
    }
    fn dependency(&mut self) -> Value {
        let source = self.pick(&[
            "b",
            "base",
            "c-lib",
            "git://github.com/u/r?path=x#b",
            "http://h/d.zip",
            "x.y.zip",
            "",
        ]);
        let version = Value::string(self.pick(&["1.0", "6.0.0.1", "3", ""]));
        let platform = match self.below(4) {
            0 => Value::symbol(self.pick(&["unix", "windows", "macosx", "other"])),
            1 => Value::Regexp { px: self.below(2) == 0, bytes: false, pattern: "^win".into() },
            2 => Value::string("x86_64-linux"),
            _ => self.value(1),
        };
        let keyword = |name: &str| Value::Keyword(name.to_owned());
        let source = Value::string(source);
        match self.below(8) {
            0 | 1 => source,
            2 => Value::List(vec![source]),
            3 => Value::List(vec![source, version]),
            4 => Value::List(vec![source, keyword("version"), version]),
            5 => Value::List(vec![source, keyword("platform"), platform]),
            6 => Value::List(vec![source, keyword("platform"), platform, keyword("version"), version]),
            _ => Value::List(vec![source, keyword("version"), version, keyword("platform"), platform]),
        }
    }
    fn versions(&mut self) -> Value {
        let mut hash = Hash::new([HashKind::Equal, HashKind::Equal, HashKind::Eq][self.below(3)]);
        for _ in 0..self.below(4) {
            let value = if self.below(4) == 0 { self.value(1) } else { self.symbol_hash(1) };
            match self.below(3) {
                0 => hash.set("default", value),
                1 => hash.set(self.pick(&["default", "other"]), value),
                _ if hash.kind == HashKind::Equal => {
                    let key = self.pick(&["6.0", "default", "0.2.1", "racket", ""]);
                    hash.items.retain(|(old, _)| old.as_str() != Some(key));
                    hash.items.push((Value::string(key), value));
                }
                _ => {}
            }
        }
        Value::Hash(hash)
    }
    fn symbol_hash(&mut self, depth: usize) -> Value {
        let mut hash = Hash::new([HashKind::Equal, HashKind::Eq, HashKind::Eq, HashKind::Eqv][self.below(4)]);
        for _ in 0..self.below(4) {
            let key = self.pick(&["source", "checksum", "source_url", "racket", "", "x y"]);
            let value = self.value(depth + 1);
            hash.set(key, value);
        }
        Value::Hash(hash)
    }
    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 9 } else { 16 }) {
            0 => Value::Bool(self.below(2) == 0),
            1 => Value::Int(self.below(1000) as i64 - 500),
            2 => Value::Int([i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1][self.below(4)]),
            3 => Value::Number(
                self.pick(&["1.5", "1/2", "1e+21", "+inf.0", "12345678901234567890123"]).to_owned(),
            ),
            4 | 5 => Value::String(self.text()),
            6 => Value::Symbol(self.text()),
            7 => Value::Keyword(self.pick(&["kw", "a b", "1"]).to_owned()),
            8 => Value::Bytes(vec![0, 255, 65]),
            9 => Value::Char('λ'),
            10 | 11 => Value::List((0..self.below(4)).map(|_| self.value(depth + 1)).collect()),
            12 => Value::Dotted(vec![self.value(depth + 1)], Box::new(Value::symbol("tail"))),
            13 => Value::Vector((0..self.below(3)).map(|_| self.value(depth + 1)).collect()),
            _ => self.symbol_hash(depth),
        }
    }
}

use racket_data::Hash;

#[test]
fn damaged_lines_are_errors_and_no_panics() {
    let mut random = Random(7);
    let (mut good, mut bad) = (0, 0);
    for n in 0..3_000 {
        let entry = random.entry("a");
        let mut line = serde_json::to_vec(&Package::new(Name::new("a").unwrap(), entry)).unwrap();
        for _ in 0..=random.below(3) {
            let at = random.below(line.len());
            match n % 3 {
                0 => line.truncate(at.max(1)),
                1 => line[at] = b"{}[]\",:\\#()0a "[random.below(14)],
                _ => {
                    let to = at + random.below(line.len() - at);
                    line.drain(at..to.max(at));
                    line.push(b'}');
                }
            }
        }
        match Package::read(&line) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 10 && bad > 1_000, "{good} good, {bad} bad");
}
