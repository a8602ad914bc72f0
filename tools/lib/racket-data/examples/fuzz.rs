//! Throws damaged texts at the reader until the time is up: `cargo run --release -p racket-data --example fuzz -- SECONDS
//! [SEED]`. A text that breaks a promise is printed and ends the run with a panic.
//!
//! The promises: no panic, no hang; an error lies inside the text; what is read is written in a form that reads back
//! equal and is written the same; a stream gives what a whole read gives, and so do its parts.

#[path = "../tests/in_parts/mod.rs"]
mod in_parts;

use in_parts::in_parts;
use racket_data::{Hash, HashStream, Value, read, read_all, read_module, write};
use std::time::{Duration, Instant};

/// Longer than this for a text of a few kilobytes is a hang.
const SLOW: Duration = Duration::from_secs(1);

const SEEDS: [&str; 8] = [
    r##"#hash(("a" . #hash((name . "a") (source . "git://h/a?path=x#main") (ring . 1) (deps . ("b" ("c" #:version "1.0" #:platform #rx"^w"))))))"##,
    r##"#hash(("p" . #hasheq((versions . #hash((default . #hasheq((checksum . "1"))) ("6.2" . #hash()))) (|a b| . #t))) ("q" . #hasheqv()))"##,
    r##"(1 -2/3 1.5e-7 +inf.0 #x1F #e1.5 1+2i 1@2 1t3 #b101 99999999999999999999 .5 1. 1# +nan.0)"##,
    "(#\\a #\\nul #\\u3BB #\\377 \"\\u41\\ud83d\\ude00\\x41\\101\\n\\\n z\" #\"\\377\\0a\" #<<E\nhere\nE\n tail)",
    r##"`(a ,b ,@c #'d #`e #,f #,@g 'h . i) (a . b . c) #(1 2) #3(x) #&box #s((p 1 #(0)) 1) #0=(x) #0#"##,
    "; line\n#| block #| nested |# |# #;(gone) #! bang\n |a|b\\ c #ci(ABC) #%x #:k #:|k k| {a} [b]",
    "#lang info\n(define collection \"x\") (define deps '(\"base\"))",
    "(module info setup/infotab (#%module-begin (define x `(\"a\" #:version ,v))))",
];

const TOKENS: [&str; 40] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "#(",
    "#hash(",
    "#hasheq(",
    "#hashalw(",
    " . ",
    "'",
    "`",
    ",",
    ",@",
    "\"",
    "\\",
    "|",
    "#|",
    "|#",
    "#;",
    ";",
    "\n",
    "#\\",
    "#:",
    "#rx\"",
    "#\"",
    "#0=",
    "#0#",
    "#s(",
    "#&",
    "#<<",
    "#e",
    "#x",
    "1/",
    "e9",
    "\u{FEFF}",
    "é",
    "#!",
    "#lang ",
];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let (seconds, seed) = (arguments.next().unwrap_or(10), arguments.next().unwrap_or(1));
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut pool: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let (end, mut tried, mut readable) = (Instant::now() + Duration::from_secs(seconds), 0u64, 0u64);
    while Instant::now() < end {
        let mut text = pool[random.below(pool.len())].clone();
        for _ in 0..=random.below(4) {
            change(&mut text, &pool, &mut random);
        }
        text.truncate(4096);
        let start = Instant::now();
        let ok = std::panic::catch_unwind(|| check(&text))
            .unwrap_or_else(|_| panic!("broken by {}", shown(&text)));
        assert!(start.elapsed() < SLOW, "takes {:?} for {}", start.elapsed(), shown(&text));
        tried += 1;
        if ok {
            readable += 1;
            // what still reads, to its end, is worth changing further
            let place = SEEDS.len() + random.below(500);
            if place < pool.len() { pool[place] = text } else { pool.push(text) }
        }
    }
    println!("{tried} texts, {readable} of them kept, seed {seed}: no promise broken");
}

fn check(text: &[u8]) -> bool {
    let _ = read_module(text);
    let interesting = text.len() > 60
        && read_all(text).is_ok_and(|values| values.iter().map(Value::size).sum::<usize>() > 8);
    let streamed: Result<Vec<(Value, Value)>, _> =
        HashStream::new(text).map(|item| item.map(|item| (item.key, item.value))).collect();
    for size in [1, 40, 4096] {
        assert_eq!(in_parts(text, size), one_by_one(text), "in parts of {size} bytes");
    }
    match read(text) {
        Err(error) => {
            assert!(error.offset <= text.len() && error.line >= 1 && error.column >= 1, "{error:?}");
            false
        }
        Ok(None) => false,
        Ok(Some(value)) => {
            let written = write(&value);
            let back = read(written.as_bytes()).expect("what is written reads").expect("it is there");
            assert!(back == value, "{written} reads back as another value");
            assert_eq!(write(&back), written);
            if let (Value::Hash(hash), Ok(streamed)) = (&value, streamed) {
                let mut all = Hash::new(hash.kind);
                for (key, value) in streamed {
                    all.items.push((key, value));
                }
                assert!(all.items.len() >= hash.items.len(), "the stream gives less than the hash has");
            }
            interesting
        }
    }
}

fn one_by_one(text: &[u8]) -> Vec<String> {
    HashStream::new(text).map(|item| format!("{item:?}")).collect()
}

fn change(text: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
    let at = random.below(text.len() + 1);
    match random.below(7) {
        0 => text.truncate(at),
        1 => {
            let end = (at + random.below(16)).min(text.len());
            text.drain(at..end);
        }
        2 => _ = text.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes()),
        3 if at < text.len() => text[at] = random.next() as u8,
        4 => {
            let other = &pool[random.below(pool.len())];
            let from = random.below(other.len() + 1);
            let part = other[from..(from + random.below(64)).min(other.len())].to_vec();
            text.splice(at..at, part);
        }
        5 => {
            let end = (at + random.below(32)).min(text.len());
            let part = text[at..end].to_vec();
            for _ in 0..random.below(20) {
                text.splice(at..at, part.iter().copied());
            }
        }
        _ => text.insert(at, b"()\"\\#|'0aeE.+-@/;\n "[random.below(18)]),
    }
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
