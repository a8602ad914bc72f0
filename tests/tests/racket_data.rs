//! Our reader and printer beside Racket's own: thousands of texts, one `racket` process.

use racket_data::{Hash, HashKind, HashStream, Value, read, write};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Reads lines of hexadecimal bytes; answers each with the hexadecimal `write` of what `read` gives, or `error`, or
/// `eof`.
const PEER: &str = r#"#lang racket/base
(require file/sha1)
(for ([line (in-lines)])
  (displayln
   (with-handlers ([exn:fail? (lambda (e) "error")])
     (define v (read (open-input-bytes (hex-string->bytes line))))
     (cond
       [(eof-object? v) "eof"]
       [else
        (define out (open-output-bytes))
        (write v out)
        (bytes->hex-string (get-output-bytes out))]))))
"#;

/// What Racket makes of each text: `Err` for a read error, `Ok(None)` for end of file.
fn ask_racket(texts: &[Vec<u8>]) -> Vec<Result<Option<Vec<u8>>, ()>> {
    let scratch = tempfile::tempdir().expect("a directory");
    let script = scratch.path().join("peer.rkt");
    std::fs::write(&script, PEER).expect("written");
    let mut child = Command::new("racket")
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("racket runs");
    let mut stdin = child.stdin.take().expect("piped");
    let lines: String = texts.iter().map(|text| hex(text) + "\n").collect();
    let feeder = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("racket ends");
    feeder.join().expect("fed").expect("fed");
    let answers: Vec<_> = String::from_utf8(output.stdout)
        .expect("hexadecimal")
        .lines()
        .map(|line| match line {
            "error" => Err(()),
            "eof" => Ok(None),
            line => Ok(Some(unhex(line))),
        })
        .collect();
    assert_eq!(answers.len(), texts.len());
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// Compares, and gives a report of the differences.
fn differences(texts: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for (text, theirs) in texts.iter().zip(ask_racket(texts)) {
        let shown = String::from_utf8_lossy(text);
        match (read(text), theirs) {
            (Err(_), Err(())) | (Ok(None), Ok(None)) => {}
            // between the items of a hash Racket 8.7 allows comments of every form but this one
            (Ok(Some(_)), Err(())) if shown.contains("#;") && shown.contains("#hash") => {}
            (Ok(Some(ours)), Ok(Some(theirs))) => {
                let written = write(&ours);
                let same = written.as_bytes() == theirs
                    || (has_unsorted_hash(&ours)
                        && read(&theirs).is_ok_and(|back| back.as_ref() == Some(&ours)));
                if !same {
                    let theirs = String::from_utf8_lossy(&theirs);
                    let at = written.bytes().zip(theirs.bytes()).take_while(|(a, b)| a == b).count();
                    let from = |text: &str| -> String {
                        let at = (0..=at.min(text.len()).saturating_sub(12))
                            .rev()
                            .find(|at| text.is_char_boundary(*at));
                        text[at.unwrap_or(0)..].chars().take(60).collect()
                    };
                    let shown: String = shown.chars().take(100).collect();
                    found.push(format!(
                        "{shown:?}\n  ours   …{}\n  theirs …{}",
                        from(&written),
                        from(&theirs)
                    ));
                }
            }
            (ours, theirs) => {
                let theirs = theirs.map(|text| text.map(|text| String::from_utf8_lossy(&text).into_owned()));
                found.push(format!("{shown:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
            }
        }
    }
    found
}

/// Racket prints such hashes in an order of its own.
fn has_unsorted_hash(value: &Value) -> bool {
    match value {
        Value::Hash(hash) => {
            let class = |key: &Value| match key {
                Value::Int(_) => 1,
                // neither complex numbers nor NaN have an order, and extended ones are not sorted
                Value::Number(text) if !text.ends_with('i') && !text.contains('t') && text != "+nan.0" => 1,
                Value::Symbol(_) => 2,
                Value::Keyword(_) => 3,
                Value::String(_) => 4,
                Value::Bytes(_) => 5,
                _ => 0,
            };
            let first = hash.items.first().map_or(0, |(key, _)| class(key));
            let sorted = first != 0 && hash.items.iter().all(|(key, _)| class(key) == first);
            (hash.items.len() > 1 && !sorted)
                || hash.items.iter().any(|(k, v)| has_unsorted_hash(k) || has_unsorted_hash(v))
        }
        Value::List(items) | Value::Vector(items) => items.iter().any(has_unsorted_hash),
        Value::Dotted(items, tail) => items.iter().any(has_unsorted_hash) || has_unsorted_hash(tail),
        Value::Boxed(value) => has_unsorted_hash(value),
        Value::Prefab(_, fields) => fields.iter().any(has_unsorted_hash),
        _ => false,
    }
}

/// Every line of the reader's documentation that concerns data, and what was found at its edges.
const TEXTS: &str = include_str!("racket_data.txt");

#[test]
fn hand_picked_texts_read_as_racket_reads_them() {
    if !tests::require("hand_picked_texts_read_as_racket_reads_them", &["racket"]) {
        return;
    }
    let mut texts: Vec<Vec<u8>> = TEXTS.split('\u{1F}').map(|text| text.as_bytes().to_vec()).collect();
    texts.extend(TEXTS.lines().map(|line| line.as_bytes().to_vec()));
    // Racket decodes what is not UTF-8 in its own way
    texts.extend(
        [&b"\"\xFFa\""[..], b"\"\xE2\x82x\"", b"\"\xF0\x9F\x98\"", b"\"\xC0\x80\xED\xA0\x80\"", b"a\xFF"]
            .map(Vec::from),
    );
    texts.extend(
        [&b"(a\r\n b)\r\n"[..], b"\xEF\xBB\xBF(a)", b"\"a\\\r\nb\"", b"\"a\\\nb\"", b""].map(Vec::from),
    );
    let differences = differences(&texts);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn random_data_and_damaged_data_read_as_racket_reads_them() {
    if !tests::require("random_data_and_damaged_data_read_as_racket_reads_them", &["racket"]) {
        return;
    }
    let mut random = Random(seed());
    let mut texts = Vec::new();
    for _ in 0..3000 {
        let value = random_value(&mut random, 4);
        let text = write(&value);
        assert_eq!(read(text.as_bytes()).as_ref(), Ok(&Some(value)), "{text}");
        texts.push(text.into_bytes());
    }
    for at in 0..3000 {
        // what is left out: regular expressions, which only Racket checks, and numbers that would take it all day
        let mut text = texts[at].clone();
        for _ in 0..=random.below(2) {
            let place = random.below(text.len());
            match random.below(3) {
                0 => text.truncate(place),
                1 => text.insert(place, *random.pick(b"()[]{}\"\\|;#'`,. \nabtfhs019:@-")),
                _ => _ = text.remove(place),
            }
            if text.is_empty() {
                break;
            }
        }
        let regexp = text.windows(2).any(|pair| matches!(pair, b"rx" | b"px" | b"#p" | b"#r"));
        let large = text.windows(2).any(|pair| matches!(pair, b"#e" | b"#E"));
        let unsupported =
            text.windows(2).any(|pair| pair == b"#f") && text.windows(2).any(|p| matches!(p, b"fl" | b"fx"));
        if !regexp && !large && !unsupported {
            texts.push(text);
        }
    }
    assert!(texts.len() > 5000);
    let differences = differences(&texts);
    let first: Vec<&str> = differences.iter().map(String::as_str).take(20).collect();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), first.join("\n"));
}

#[test]
fn every_character_is_written_as_racket_writes_it() {
    if !tests::require("every_character_is_written_as_racket_writes_it", &["racket"]) {
        return;
    }
    // a kilobyte of text a case: alone, after a letter, after a character that takes the next one along, in pictographs
    let characters: Vec<char> = (0..=0x10FFFFu32).filter_map(char::from_u32).collect();
    let mut texts = Vec::new();
    for chunk in characters.chunks(512).filter(|chunk| {
        let first = u32::from(chunk[0]);
        first < 0x32000 || (0xE0000..0xE2000).contains(&first) || first % 0x8000 == 0
    }) {
        for context in ["", "a", "\u{111C2}", "\u{231A}\u{200D}", " "] {
            let mut text = String::from("(\"");
            for c in chunk {
                text.push_str(context);
                text.push_str(&format!("\\U{:08X}", u32::from(*c)));
            }
            text.push_str("\" ");
            if context.is_empty() {
                for c in chunk {
                    text.push_str(&format!("#\\U{:08X} ", u32::from(*c)));
                }
            }
            text.push(')');
            texts.push(text.into_bytes());
        }
    }
    let found = differences(&texts);
    let shown: Vec<String> = found.iter().take(2).map(|d| d.chars().take(6000).collect()).collect();
    assert!(found.is_empty(), "{} of {} differ:\n{}", found.len(), texts.len(), shown.join("\n"));
}

#[test]
fn symbols_and_keywords_are_written_as_racket_writes_them() {
    if !tests::require("symbols_and_keywords_are_written_as_racket_writes_them", &["racket"]) {
        return;
    }
    let mut random = Random(seed());
    let mut texts = Vec::new();
    for _ in 0..4000 {
        let length = 1 + random.below(6);
        let name: String = (0..length).map(|_| *random.pick(&SYMBOL_CHARACTERS)).collect();
        for value in [Value::Symbol(name.clone()), Value::Keyword(name.clone())] {
            let text = write(&value);
            assert_eq!(read(text.as_bytes()).as_ref(), Ok(&Some(value)), "{text}");
            texts.push(text.into_bytes());
        }
        // unquoted: whatever it may be for Racket
        if !name.contains("#e") && !name.contains("#E") {
            texts.push(name.into_bytes());
        }
    }
    let found = differences(&texts);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found[..found.len().min(20)].join("\n"));
}

#[test]
fn real_catalog_comes_back_byte_for_byte() {
    let path = tests::root().join("../shared/data/racket-catalog-2018/pkgs-all");
    let Ok(text) = std::fs::read(&path) else {
        return tests::skip("real_catalog_comes_back_byte_for_byte", "the real data are not there");
    };
    let value = read(&text).expect("readable").expect("there");
    assert!(write(&value).as_bytes() == text, "written differs from what Racket wrote");
    let hash = value.as_hash().expect("a hash");
    assert_eq!(hash.items.len(), 1378);
    let mut streamed = Hash::new(HashKind::Equal);
    for item in HashStream::new(text.as_slice()) {
        let item = item.expect("readable");
        let range = item.range.start as usize..item.range.end as usize;
        let (key, entry) = (write(&item.key), write(&item.value));
        assert_eq!(String::from_utf8_lossy(&text[range]), format!("({key} . {entry})"));
        streamed.items.push((item.key, item.value));
    }
    assert!(streamed == *hash);
}

/// `SEED=n` tries other data.
fn seed() -> u64 {
    std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121)
}

/// xorshift: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const SYMBOL_CHARACTERS: [char; 48] = [
    'a', 'b', 'e', 'i', 'n', 'f', 'x', 't', 'A', 'Z', '0', '1', '9', '.', '+', '-', '/', '@', '#', '%', ':',
    '|', '\\', '(', ')', '"', '\'', '`', ',', ';', ' ', '\n', '[', '}', '_', '*', '\u{A0}', '\u{FEFF}', 'é',
    'λ', '😀', '\u{0}', '\u{7F}', '\u{301}', '\u{2028}', 'İ', 'ß', '!',
];

fn random_text(random: &mut Random) -> String {
    const CHARACTERS: [char; 40] = [
        'a',
        'b',
        'z',
        '0',
        '7',
        ' ',
        '"',
        '\\',
        '\n',
        '\r',
        '\t',
        '\u{7}',
        '\u{8}',
        '\u{B}',
        '\u{C}',
        '\u{1B}',
        '\u{0}',
        '\u{1}',
        '\u{7F}',
        '\u{80}',
        '\u{A0}',
        '\u{AD}',
        'é',
        '\u{301}',
        '\u{200B}',
        '\u{200C}',
        '\u{200D}',
        '\u{2028}',
        '\u{3000}',
        '\u{E000}',
        '\u{FEFF}',
        '\u{FFFD}',
        '漢',
        '한',
        '\u{1F1E6}',
        '👩',
        '\u{1F3FD}',
        '\u{10FFFF}',
        '\u{E0041}',
        'ä',
    ];
    let length = if random.below(50) == 0 { 400 } else { random.below(9) };
    (0..length).map(|_| *random.pick(&CHARACTERS)).collect()
}

fn random_value(random: &mut Random, depth: usize) -> Value {
    let leaf = depth == 0 || random.below(3) == 0;
    let items = |random: &mut Random, least: usize| -> Vec<Value> {
        let count = least + random.below(4);
        (0..count).map(|_| random_value(random, depth.saturating_sub(1))).collect()
    };
    if !leaf {
        return match random.below(8) {
            0 | 1 => Value::List(items(random, 0)),
            2 => {
                let tail = random_atom(random);
                match tail {
                    Value::List(_) => Value::List(items(random, 0)),
                    tail => Value::Dotted(items(random, 1), Box::new(tail)),
                }
            }
            3 => Value::Vector(items(random, 0)),
            4 => Value::Boxed(Box::new(random_value(random, depth - 1))),
            5 => Value::Prefab(Box::new(Value::symbol("point")), items(random, 0)),
            _ => Value::Hash(random_hash(random, depth)),
        };
    }
    random_atom(random)
}

fn random_hash(random: &mut Random, depth: usize) -> Hash {
    let mut hash =
        Hash::new(*random.pick(&[HashKind::Equal, HashKind::Eq, HashKind::Eqv, HashKind::EqualAlways]));
    let keys = random.below(6);
    for _ in 0..random.below(6) {
        let key = match keys {
            0 => Value::String(random_text(random)),
            1 | 2 => Value::Symbol(random_text(random)),
            3 => Value::Keyword(random_text(random)),
            4 => Value::Int(random.next() as i64 >> random.below(64)),
            _ => random_atom(random),
        };
        // equal keys are one key, but strings in a `#hasheq` are never equal
        if hash.items.iter().all(|(old, _)| *old != key) {
            hash.items.push((key, random_value(random, depth - 1)));
        }
    }
    hash
}

fn random_atom(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Bool(random.below(2) == 0),
        1 => Value::Int(random.next() as i64 >> random.below(64)),
        2 => random_number(random),
        3 => Value::Char(random_text(random).chars().next().unwrap_or('x')),
        4..=6 => Value::String(random_text(random)),
        7 => Value::Bytes((0..random.below(8)).map(|_| random.next() as u8).collect()),
        8 | 9 => Value::Symbol(random_text(random)),
        10 => Value::Keyword(random_text(random)),
        _ => Value::List(Vec::new()),
    }
}

/// Numbers as Racket would write them: made by reading.
fn random_number(random: &mut Random) -> Value {
    let digits = |random: &mut Random, most: usize| -> String {
        (0..=random.below(most)).map(|_| char::from(b'0' + random.below(10) as u8)).collect()
    };
    let text = match random.below(6) {
        0 => format!("-{}9", digits(random, 40)),
        1 => format!("{}/{}1", digits(random, 12), digits(random, 30)),
        2 => format!("{}.{}", digits(random, 10), digits(random, 12)),
        3 => format!("-{}.{}e{}", digits(random, 3), digits(random, 20), random.below(640) as i64 - 330),
        4 => write(&Value::Number(format!("{}+{}i", random.below(9), 1 + random.below(9)))),
        _ => ["+inf.0", "-inf.0", "+nan.0", "-0.0", "0.0", "5e-324"][random.below(6)].to_owned(),
    };
    read(text.as_bytes()).expect("a number").expect("there")
}
