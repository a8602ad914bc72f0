use crate::input::log::clean_line;
use std::io::{BufRead, Read as _, Write};

/// A longer line is cut.
const LINE_BYTES: u64 = 64 * 1024;

/// Copies a log as it may be read anywhere, also in a terminal: each line made clean. Memory is bounded by a line's.
pub fn clean_copy(mut from: impl BufRead, mut to: impl Write) -> std::io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return to.flush();
        }
        let whole = line.last() == Some(&b'\n');
        to.write_all(clean_line(String::from_utf8_lossy(&line).trim_end_matches('\n')).as_bytes())?;
        to.write_all(b"\n")?;
        if !whole {
            from.skip_until(b'\n')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_clean_and_bounded() {
        let mut text = b"a\x1b[31mb\r\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3_000_000));
        text.extend(b"\nlast \xff");
        let mut copy = Vec::new();
        clean_copy(&text[..], &mut copy).unwrap();
        let copy = String::from_utf8(copy).unwrap();
        let lines: Vec<&str> = copy.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "ab", "last \u{fffd}"));
        assert!(lines[1].ends_with("(line cut)") && lines[1].len() < 5000);
    }
}
