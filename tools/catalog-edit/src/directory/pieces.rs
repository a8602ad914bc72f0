//! `pkgs-all` read by several threads, a piece each.
//!
//! Where a piece begins is a guess: a place that looks like the start of an item, `("NAME" . #hash`. It is checked, not
//! trusted: the thread before must come to an item that starts exactly there. When a guess was wrong, and when anything
//! cannot be read, the text is read again from the start by one thread, which then tells the right place.

use catalog::{DirectoryError, Entry, Name, check_item};
use racket_data::HashStream;
use std::io::Read;
use std::ops::Range;

/// A piece smaller than this is not worth a thread.
const MIN_PIECE_BYTES: usize = 256 << 10;
const HEAD: &[u8] = b"#hash(";

/// Goes through all items, in order for each thread; gives what `look` made of them, in order of the text.
pub fn read<T: Send>(
    text: &[u8],
    look: &(impl Fn(Name, Entry, Range<usize>) -> T + Sync),
) -> Result<Vec<T>, DirectoryError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    read_in(text, threads.min(text.len() / MIN_PIECE_BYTES), look)
}

fn read_in<T: Send>(
    text: &[u8],
    pieces: usize,
    look: &(impl Fn(Name, Entry, Range<usize>) -> T + Sync),
) -> Result<Vec<T>, DirectoryError> {
    let mut starts: Vec<usize> =
        (1..pieces).filter_map(|n| likely_start(text, text.len() / pieces * n)).collect();
    starts.dedup();
    if !starts.is_empty() {
        let found = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..=starts.len())
                .map(|n| {
                    let from = n.checked_sub(1).map(|before| starts[before]);
                    let to = starts.get(n).copied();
                    scope.spawn(move || piece(text, from, to, look))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().ok().flatten()).collect::<Option<Vec<Vec<T>>>>()
        });
        if let Some(found) = found {
            return Ok(found.into_iter().flatten().collect());
        }
    }
    let mut all = Vec::new();
    for item in HashStream::new(text) {
        let item = item?;
        let (name, entry) = check_item(item.key, item.value)?;
        all.push(look(name, entry, item.range.start as usize..item.range.end as usize));
    }
    Ok(all)
}

/// The items from one start up to the next; `None` when something is not as it was guessed.
fn piece<T>(
    text: &[u8],
    from: Option<usize>,
    to: Option<usize>,
    look: &impl Fn(Name, Entry, Range<usize>) -> T,
) -> Option<Vec<T>> {
    let (head, offset) = if from.is_some() { (HEAD, from?) } else { (&b""[..], 0) };
    let mut found = Vec::new();
    for item in HashStream::new(head.chain(&text[offset..])) {
        let item = item.ok()?;
        let at = |position: u64| position as usize - head.len() + offset;
        let range = at(item.range.start)..at(item.range.end);
        if let Some(to) = to.filter(|to| range.start >= *to) {
            return (range.start == to).then_some(found);
        }
        let (name, entry) = check_item(item.key, item.value).ok()?;
        found.push(look(name, entry, range));
    }
    // the end of the hash is right for the last piece only
    to.is_none().then_some(found)
}

/// The first place from `from` on that looks like the start of an item.
fn likely_start(text: &[u8], from: usize) -> Option<usize> {
    const AFTER_NAME: &[u8] = b"\" . #hash";
    let mut at = from;
    while at < text.len() {
        let after = at + text[at..].windows(AFTER_NAME.len()).position(|window| window == AFTER_NAME)?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let name_bytes = text[from..after].iter().rev().take_while(|byte| is_name(byte)).count();
        let start = after - name_bytes;
        if name_bytes > 0 && start >= from + 2 && text[start - 2..start] == *b"(\"" {
            return Some(start - 2);
        }
        at = after + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, pieces: usize) -> Result<Vec<(String, String)>, DirectoryError> {
        read_in(text.as_bytes(), pieces, &|name, _, range| (name.to_string(), text[range].to_owned()))
    }

    #[test]
    fn the_same_however_many_threads() {
        let tricky = r#"#hash(("a" . #hash((versions . #hash(("7" . #hasheq()) ("8" . #hash()))))) ; ("x" . #hash())
            ("b" . #hasheq((d . "(\"y\" . #hash(") (e . #:k))) #;("z" . #hash()) ("c" . #hash((f . |("w" . #hash()|)))
            ["d" . #hash()] ("a" . #hash((again . #t))) ("e" . #hash((s . "(") (t . " . #hash")))) ("q" . #hash())"#;
        let one = items(tricky, 1).unwrap();
        assert_eq!(
            one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["a", "b", "c", "d", "a", "e"]
        );
        for pieces in 2..24 {
            assert_eq!(items(tricky, pieces).as_ref(), Ok(&one), "{pieces}");
        }
    }

    #[test]
    fn errors_are_those_of_one_thread() {
        let text =
            r#"#hash(("a" . #hash()) ("b" . #hash()) ("c" . #hash((x . 1) ("d" . #hash()) ("e" . #hash()))"#;
        let one = items(text, 1).unwrap_err();
        for pieces in 2..30 {
            assert_eq!(items(text, pieces), Err(one.clone()));
        }
    }
}
