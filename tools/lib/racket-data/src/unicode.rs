//! Which characters `write` prints as they are. Tables of Racket 8.7's Unicode, made by `unicode-tables.rkt`.

use crate::unicode_tables::{CONTROLS, EXTENDERS, GRAPHIC, PICTOGRAPHS, PREPENDERS};

fn contains(ranges: &[(u32, u32)], c: char) -> bool {
    let code = u32::from(c);
    let after = ranges.partition_point(|(first, _)| *first <= code);
    after > 0 && code <= ranges[after - 1].1
}

/// Letters, marks, numbers, punctuation and symbols.
pub(crate) fn is_graphic(c: char) -> bool {
    match c {
        '!'..='~' => true,
        _ => contains(&GRAPHIC, c),
    }
}

/// Space separators: printed as they are in strings, but nothing goes along with them.
pub(crate) fn is_space_separator(c: char) -> bool {
    matches!(c, ' ' | '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}')
}

/// After a graphic character printed as it is, the rest of its grapheme cluster goes along unescaped: its length in bytes.
pub(crate) fn cluster_tail(first: char, rest: &str) -> usize {
    const JOINER: char = '\u{200D}';
    let (mut last, mut pictograph) = (first, contains(&PICTOGRAPHS, first));
    for (at, c) in rest.char_indices() {
        let joins = contains(&EXTENDERS, c)
            || (contains(&PREPENDERS, last) && !contains(&CONTROLS, c) && !c.is_ascii_control())
            || (last == JOINER && pictograph && contains(&PICTOGRAPHS, c));
        if !joins {
            return at;
        }
        pictograph = contains(&PICTOGRAPHS, c) || (pictograph && contains(&EXTENDERS, c));
        last = c;
    }
    rest.len()
}
