//! Where the items of a hash end, found without reading them: many times quicker than reading.

use memchr::memchr2;

/// What [`skim_items`] found: whole items up to `end`; `more` when the text ended within the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skimmed {
    pub end: usize,
    pub more: bool,
}

/// Steps over items `(key . value)` until at least `enough` bytes of them are found. It stops, in front of the item,
/// at anything in which parentheses or quotes may mean something else (`|a|`, `\(`, `#\(`, comments, here strings), and at
/// whatever is no item: there the reader has to look. For all items stepped over, the reader finds the same end, or an
/// error inside them.
pub(crate) fn skim_items(text: &[u8], enough: usize) -> Skimmed {
    let mut end = 0;
    let (mut at, mut depth) = (0, 0usize);
    while end < enough {
        let Some(byte) = text.get(at) else { return Skimmed { end, more: true } };
        match KIND[usize::from(*byte)] {
            PLAIN if depth > 0 => {}
            SPACE => {}
            OPEN => depth += 1,
            CLOSE if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    end = at + 1;
                }
            }
            QUOTE if depth > 0 => match after_string(text, at + 1) {
                Some(after) => {
                    at = after;
                    continue;
                }
                None => return Skimmed { end, more: true },
            },
            // `#<` may start a here string
            LESS if depth > 0 && text[at - 1] != b'#' => {}
            _ => return Skimmed { end, more: false },
        }
        at += 1;
    }
    Skimmed { end, more: false }
}

/// Past the quote that closes a string; `None` where the text ends first.
fn after_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        match text[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

const PLAIN: u8 = 0;
const SPACE: u8 = 1;
const OPEN: u8 = 2;
const CLOSE: u8 = 3;
const QUOTE: u8 = 4;
const LESS: u8 = 5;
const STOP: u8 = 6;

const KIND: [u8; 256] = {
    let mut kind = [PLAIN; 256];
    let groups: [(&[u8], u8); 6] = [
        (b" \t\n\r\x0B\x0C", SPACE),
        (b"([{", OPEN),
        (b")]}", CLOSE),
        (b"\"", QUOTE),
        (b"<", LESS),
        (b"|\\;", STOP),
    ];
    let mut group = 0;
    while group < groups.len() {
        let (bytes, of) = groups[group];
        let mut at = 0;
        while at < bytes.len() {
            kind[bytes[at] as usize] = of;
            at += 1;
        }
        group += 1;
    }
    kind
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_items() {
        let whole = |text: &str| skim_items(text.as_bytes(), usize::MAX);
        for (text, end, more) in [
            ("", 0, true),
            (r#" ("a" . 1) ("b" . #hash((c . "\")")))"#, 37, true),
            (r#"("a" . 1))"#, 9, false),
            (r#"("a" . 1) x"#, 9, false),
            (r#"("a" . |)|)"#, 0, false),
            (r#"(a . 1) (b . #\))"#, 7, false),
            ("(a . #<<E\n)\nE\n)", 0, false),
            ("(a . (< 1 2))", 13, true),
            ("(a . b) ; (", 7, false),
            (r#"("a" . "\"#, 0, true),
        ] {
            assert_eq!(whole(text), Skimmed { end, more }, "{text}");
        }
        assert_eq!(skim_items(b"(a . b) (c . d) (e . f)", 8), Skimmed { end: 15, more: false });
    }
}
