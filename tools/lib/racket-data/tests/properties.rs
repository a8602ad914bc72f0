//! What must hold for every text and every value, tried on many.

mod in_parts;

use in_parts::in_parts;
use racket_data::{
    Hash, HashKind, HashStream, Limits, Value, read, read_all, read_module, read_within, write,
};
use std::io::Read;
use std::time::{Duration, Instant};

/// A value with one of everything in it.
const RICH: &str = r##"#hash((author . "a \"q\" \\ \u00AD λ 😀") (bytes . #"\0\377a") (char . #\λ) (flag . #t)
 (deps . ("base" ("b" #:version "1.0" #:platform #rx"^win\\d") (c . d) #(1 2.5 -3/4) #&box #s(p 1 (2)))) ; comment
 #| block #| nested |# |# (versions . #hasheq((default . #hasheqv((1 . "x"))) (|odd key| . ()))) (s . (quote (a b . c)))
 (n . 1e100) (long . "0123456789012345678901234567890123456789") (k . #px#"b+"))"##;

#[test]
fn every_prefix_is_an_error_with_a_position_or_a_value() {
    let text = RICH.as_bytes();
    assert!(read(text).is_ok_and(|value| value.is_some()));
    for end in 0..text.len() {
        let prefix = &text[..end];
        match read(prefix) {
            Ok(value) => assert!(value.is_none() && end == 0, "prefix of {end} bytes gives {value:?}"),
            Err(error) => {
                assert!(error.offset <= end, "{error:?}");
                let before = &prefix[..error.offset];
                assert_eq!(error.line, 1 + before.iter().filter(|b| **b == b'\n').count(), "{error:?}");
                let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                let characters = String::from_utf8_lossy(&before[line_start..]).chars().count();
                assert_eq!(error.column, 1 + characters, "{error:?}");
                assert!(!error.message.is_empty());
            }
        }
        // none of these may panic or hang either
        let _ = (read_all(prefix), read_module(prefix), HashStream::new(prefix).count());
    }
}

#[test]
fn every_tail_and_every_changed_byte_is_taken_in_stride() {
    let text = RICH.as_bytes();
    let start = Instant::now();
    for at in 0..text.len() {
        let _ = read(&text[at..]);
        for byte in [b'(', b')', b'"', b'\\', b'#', b'|', b'.', b'\'', 0, 0x80, 0xFF, b'\n', b';', b'1', b'e']
        {
            let mut changed = text.to_vec();
            changed[at] = byte;
            if let Ok(Some(value)) = read(&changed) {
                assert_eq!(read(write(&value).as_bytes()), Ok(Some(value)));
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "slow: {:?}", start.elapsed());
}

#[test]
fn depth_is_limited_whatever_nests() {
    let nests = [
        "(",
        "[",
        "#(",
        "#&",
        "'",
        "`",
        ",",
        ",@",
        "#'",
        "#;",
        "#hash((",
        "#hash((a . ",
        "#s(",
        "(a . ",
        "#0=",
        "#ci",
    ];
    for open in nests {
        let text = open.repeat(1_000_000);
        let error = read(text.as_bytes()).expect_err(open);
        let limited = error.message.contains("nesting is deeper") || error.message.contains("there twice");
        assert!(limited, "{open}: {error}");
    }
    let nested = |depth: usize| format!("{}{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read(nested(Limits::default().max_depth).as_bytes()).is_ok());
    assert!(read(nested(Limits::default().max_depth + 1).as_bytes()).is_err());
    // comments nest without going deeper
    let comment = format!("{}{} a", "#|".repeat(100_000), "|#".repeat(100_000));
    assert_eq!(read(comment.as_bytes()), Ok(Some(Value::symbol("a"))));
}

#[test]
fn size_is_limited() {
    let limits = Limits { max_atom_bytes: 1000, max_bytes: 10_000, ..Limits::default() };
    let long = "x".repeat(1001);
    let number = "1".repeat(1001);
    for text in [
        format!("\"{long}\""),
        long.clone(),
        format!("|{long}|"),
        format!("#:{long}"),
        format!("#\"{long}\""),
        number,
        format!("#\\{long}"),
        format!("#<<E\n{long}\nE\n"),
    ] {
        let error = read_within(text.as_bytes(), &limits).expect_err(&text[..10]);
        assert!(error.message.contains("is over") || error.message.contains("bad character"), "{error}");
    }
    assert!(read_within(" ".repeat(10_001).as_bytes(), &limits).is_err());
    for bomb in ["#e1e999999999", "#e1e-999999999", "#1000000000(x)", "#999999999999(x)"] {
        assert!(read(bomb.as_bytes()).is_err(), "{bomb}");
    }
    // each level doubles what is there
    let laughs: String = (1..60).map(|n| format!("#{n}=(#{0}# #{0}#) ", n - 1)).collect();
    let error = read(format!("(#0=(a b c) {laughs})").as_bytes()).expect_err("too many copies");
    assert!(error.message.contains("copies"), "{error}");
}

/// Gives what it has in pieces of all sizes.
struct Dribble<'t>(&'t [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.1 = (self.1 * 7 + 3) % 4099;
        let count = (1 + self.1).min(into.len()).min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn a_stream_gives_what_a_whole_read_gives() {
    let mut hash = Hash::new(HashKind::Equal);
    for n in 0..3000usize {
        let size = if n % 1000 == 999 { 200_000 } else { n % 100 };
        let value =
            Value::List(vec![Value::Int(n as i64), Value::String("λ\"x".repeat(size)), Value::symbol("|")]);
        hash.items.push((Value::String(format!("key {n}")), value));
    }
    hash.items.sort_by(|one, other| one.0.as_str().cmp(&other.0.as_str()));
    let text = format!("; first a comment\n{} ignored (", write(&Value::Hash(hash.clone())));
    let mut stream = HashStream::new(Dribble(text.as_bytes(), 1));
    let mut streamed = Hash::new(HashKind::Equal);
    for item in stream.by_ref() {
        let item = item.expect("readable");
        let source = &text.as_bytes()[item.range.start as usize..item.range.end as usize];
        assert!(source.starts_with(b"(\"key ") && source.ends_with(b")"));
        streamed.items.push((item.key, item.value));
    }
    assert_eq!(stream.kind(), Some(HashKind::Equal));
    assert!(streamed == hash);
    assert_eq!(read(text.as_bytes()), Ok(Some(Value::Hash(hash))));
}

#[test]
fn a_stream_tells_the_place_of_an_error() {
    let good: String = (0..20_000).map(|n| format!("(\"k{n}\" . (\"λ\" {n}))\n")).collect();
    let text = format!("#hash(\n{good} (\"bad\" . #<void>) (\"more\" . 1))");
    let error =
        HashStream::new(Dribble(text.as_bytes(), 5)).find_map(Result::err).expect("an error").to_string();
    assert_eq!(error, "line 20002, column 11: bad syntax `#<void>`");
    let whole = read(text.as_bytes()).expect_err("an error");
    assert_eq!(error, whole.to_string());
    // an endless item is given up
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let endless = std::io::Read::chain(&b"#hash((\"a\" . "[..], std::io::repeat(b'('));
    assert!(HashStream::within(endless, limits).next().is_some_and(|item| item.is_err()));
    let endless = std::io::Read::chain(&b"#hash((\"a\" . \""[..], std::io::repeat(b'x'));
    assert!(HashStream::within(endless, limits).next().is_some_and(|item| item.is_err()));
}

/// What the iterator gives, errors included.
fn one_by_one(source: impl Read) -> Vec<String> {
    HashStream::new(source).map(|item| format!("{item:?}")).collect()
}

#[test]
fn parts_give_what_the_stream_gives() {
    let odd = [
        r##"#hash(("a" . 1) ("b" . #\() ("c" . "\")") (d . |)|) ("e" . #(1 2)))"##,
        "#hash((a . 1) ; (b . 2)\n (c . #| ( |# 3) #;(d . 4) (e . #;(] 5))",
        "#hasheq[(a . \"\\\\\") [b . {1 . 2}] (c . #<<E\n)\nE\n) (d . (< #rx\"[(]\"))]",
        "#hash((a . #0=(1)) (b . #0#))",
        " \u{FEFF} #hash((a . \u{2003}1)\u{2003}(b . λ))",
        "#hash((a . 1) (b . 2]) (c . 3))",
        "#hash((a . 1) b (c . 3))",
        "#hash((a . 1)",
        "(a . 1)",
    ];
    for text in odd.iter().copied().chain([RICH]) {
        let mut texts: Vec<Vec<u8>> = (0..=text.len()).map(|end| text.as_bytes()[..end].to_vec()).collect();
        let step = text.len().div_ceil(30);
        for at in (0..text.len()).step_by(step) {
            for byte in *b"()]\"\\#|;.<\xFF" {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = byte;
                texts.push(changed);
            }
        }
        for text in texts {
            let whole = one_by_one(text.as_slice());
            for size in [1, 100] {
                assert_eq!(in_parts(text.as_slice(), size), whole, "{size}: {}", text.escape_ascii());
            }
        }
    }
    let items: String = (0..30_000).map(|n| format!("(\"k{n}\" . (\"λ)\" {n}))\n")).collect();
    for text in [format!("#hash({items})"), format!("#hash({items}(1 . #<void>) (2 . 3))")] {
        let whole = one_by_one(text.as_bytes());
        assert_eq!(in_parts(Dribble(text.as_bytes(), 3), 10_000), whole);
        assert_eq!(in_parts(text.as_bytes(), 64 << 10), whole);
    }
}

#[test]
fn a_large_hash_takes_time_in_proportion() {
    let time = |count: usize| {
        let items: String = (0..count).map(|n| format!("(k{n} . {n})")).collect();
        let text = format!("#hash({items})");
        let start = Instant::now();
        let value = read(text.as_bytes()).expect("readable").expect("there");
        assert_eq!(value.as_hash().map(|hash| hash.items.len()), Some(count));
        let other = read(text.as_bytes()).expect("readable").expect("there");
        assert!(value == other);
        start.elapsed().as_secs_f64()
    };
    let lists: String = (0..50_000).map(|n| format!("(({n}) . {n})")).collect();
    assert!(read(format!("#hasheq({lists})").as_bytes()).is_ok());
    time(1000);
    let (small, large) = (time(20_000), time(80_000));
    assert!(large < 40.0 * small + 0.5, "{small} s and {large} s");
}

#[test]
fn both_forms_of_info_rkt() {
    let old =
        "(module info setup/infotab\n (#%module-begin (define collection \"x\") (define deps '(\"base\"))))";
    let new = "; licence\n#lang info\n(define collection \"x\")\n(define deps '(\"base\"))\n";
    let plain = "(module info setup/infotab (define collection \"x\") (define deps (quote (\"base\"))))";
    let modules = [old, new, plain].map(|text| read_module(text.as_bytes()).expect("readable"));
    assert_eq!(modules[0].body, modules[1].body);
    assert_eq!(modules[0].body, modules[2].body);
    assert_eq!(write(&modules[0].body[1]), "(define deps (quote (\"base\")))");
    assert_eq!([&modules[0].language, &modules[1].language], ["setup/infotab", "info"]);
    for bad in ["", "(define x 1)", "#lang", "#lang ", "(module)", "#lang info\n(", "x"] {
        assert!(read_module(bad.as_bytes()).is_err(), "{bad}");
    }
}
