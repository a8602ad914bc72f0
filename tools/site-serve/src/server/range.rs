//! `Range`: which part of a file is asked for.

/// What a `Range` header means for a file of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// No range, several, or none that is understood: the whole file.
    Whole,
    /// From `start`, `length` bytes (at least one).
    Part { start: u64, length: u64 },
    /// Nothing of the file lies in the range.
    Unsatisfiable,
}

/// Reads a `Range` header, RFC 9110 section 14. Only one range is answered as such.
pub fn parse(header: Option<&str>, size: u64) -> Range {
    let Some(spec) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else {
        return Range::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else { return Range::Whole };
    let number =
        |text: &str| text.trim().bytes().all(|b| b.is_ascii_digit()).then(|| text.trim().parse::<u64>());
    let (start, end) = match (first.trim(), last.trim()) {
        ("", "") => return Range::Whole,
        ("", suffix) => match number(suffix) {
            Some(Ok(0)) => return Range::Unsatisfiable,
            Some(count) => (size.saturating_sub(count.unwrap_or(u64::MAX)), size),
            None => return Range::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last_number)) => {
                let start = first.unwrap_or(u64::MAX);
                // no last byte, or one too large for a number: to the end
                let end = if last.is_empty() {
                    u64::MAX
                } else {
                    last_number.unwrap_or(u64::MAX).saturating_add(1)
                };
                if end <= start {
                    return if last.is_empty() { Range::Unsatisfiable } else { Range::Whole };
                }
                (start, end.min(size))
            }
            _ => return Range::Whole,
        },
    };
    if start >= size || end <= start {
        Range::Unsatisfiable
    } else {
        Range::Part { start, length: end - start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        let part = |start, length| Range::Part { start, length };
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=5-", part(5, 5)),
            ("bytes=5-100", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-100", part(0, 10)),
            ("bytes= 2 - 3 ", part(2, 2)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=99999999999999999999999-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=5-4", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("lines=1-2", Range::Whole),
            ("", Range::Whole),
        ] {
            assert_eq!(parse(Some(header), 10), expected, "{header}");
        }
        assert_eq!(parse(None, 10), Range::Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Range::Unsatisfiable);
    }
}
