use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// What is kept of a log, however long it is: memory is bounded by this.
pub const HEAD_BYTES: u64 = 64 * 1024;
pub const TAIL_BYTES: u64 = 192 * 1024;
/// A longer line is cut.
const LINE_CHARS: usize = 4000;

/// A log as it may be shown: made of clean lines, head and tail when it is long.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Log {
    pub head: Vec<String>,
    /// Lines and bytes between head and tail that are not shown; `None` when `head` is all of it. Lines are not counted,
    /// because that would mean reading them.
    pub skipped_bytes: Option<u64>,
    pub tail: Vec<String>,
    pub total_bytes: u64,
}

impl Log {
    /// Reads head and tail of a file.
    pub fn read(path: &Path, head_bytes: u64, tail_bytes: u64) -> std::io::Result<Log> {
        let mut file = File::open(path)?;
        let total_bytes = file.metadata()?.len();
        let mut head = Vec::new();
        if total_bytes <= head_bytes + tail_bytes {
            file.take(head_bytes + tail_bytes).read_to_end(&mut head)?;
            return Ok(Log { head: clean(&head), skipped_bytes: None, tail: Vec::new(), total_bytes });
        }
        (&mut file).take(head_bytes).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(total_bytes - tail_bytes))?;
        let mut tail = Vec::new();
        file.take(tail_bytes).read_to_end(&mut tail)?;
        // whole lines only: what is cut in two counts as skipped
        if let Some(end) = head.iter().rposition(|byte| *byte == b'\n') {
            head.truncate(end + 1);
        }
        if let Some(start) = tail.iter().position(|byte| *byte == b'\n').filter(|at| at + 1 < tail.len()) {
            tail.drain(..=start);
        }
        let skipped = total_bytes - head.len() as u64 - tail.len() as u64;
        Ok(Log { head: clean(&head), skipped_bytes: Some(skipped), tail: clean(&tail), total_bytes })
    }

    #[cfg(test)]
    pub fn from_text(text: &str) -> Log {
        Log {
            head: clean(text.as_bytes()),
            skipped_bytes: None,
            tail: Vec::new(),
            total_bytes: text.len() as u64,
        }
    }

    /// All lines that are kept, each with its index; the tail goes on counting after the head.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = (usize, &str)> {
        (0..self.len()).map(|at| (at, self.line(at)))
    }

    fn line(&self, at: usize) -> &str {
        self.head.get(at).or_else(|| self.tail.get(at - self.head.len())).map_or("", String::as_str)
    }

    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Index of the line that tells what went wrong: the last one that holds `message` (what pkg-run-one found telling) or is a
    /// part of it; failing that the one that looks most like it. `None` when nothing does: then the end tells most.
    pub fn telling(&self, message: &str) -> Option<usize> {
        let wanted = message.trim();
        if !wanted.is_empty() {
            let holds = self.lines().rev().find(|(_, line)| line.contains(wanted));
            let part = |line: &str| line.len() >= 12 && wanted.contains(line);
            if let Some((at, _)) = holds.or_else(|| self.lines().rev().find(|(_, line)| part(line.trim()))) {
                return Some(at);
            }
        }
        let least = if wanted.is_empty() { 1 } else { 4 };
        let mut best: Option<(u32, usize)> = None;
        for (at, line) in self.lines() {
            let weight = weight(line);
            if weight >= least && best.is_none_or(|(w, _)| weight > w) {
                best = Some((weight, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// The lines around index `at`: `before` and `after` of it, as far as they are there.
    pub fn around(&self, at: usize, before: usize, after: usize) -> Vec<(usize, &str)> {
        self.lines().skip(at.saturating_sub(before)).take(before.min(at) + 1 + after).collect()
    }
}

/// How much a line looks like the one that tells what went wrong.
fn weight(line: &str) -> u32 {
    let lower = line.to_lowercase();
    let has = |needle: &str| lower.contains(needle);
    if has("unbound identifier") || has("cannot find") || has("contract violation") || has("undefined;") {
        5
    } else if has("error:") || has("fatal") || has("killed") || has("exception:") || has("out of memory") {
        4
    } else if has("failure") || has("failed") || has("not found") || has("timeout") || has("timed out") {
        3
    } else if has("error") {
        2
    } else {
        0
    }
}

/// Lines as they may be shown: terminal escapes gone, other control characters and characters that change the direction of
/// text made visible, long lines cut, bytes that are no UTF-8 replaced.
pub fn clean(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.split('\n').map(clean_line).collect();
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// One line of [`clean`].
pub fn clean_line(line: &str) -> String {
    let line = line.strip_suffix('\r').unwrap_or(line);
    // a progress bar that draws over itself: its last state is the line
    let line = match line.rfind('\r') {
        Some(at) if line.len() > 400 => &line[at + 1..],
        _ => line,
    };
    let mut clean = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if count >= LINE_CHARS {
            clean.push_str(" … (line cut)");
            break;
        }
        count += 1;
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            // C1 control sequence introducer
            '\u{9b}' => skip_csi(&mut chars),
            '\t' => clean.push('\t'),
            '\u{7f}' => clean.push('\u{2421}'),
            '\0'..='\u{1f}' => clean.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{80}'..='\u{9f}' => clean.push('\u{fffd}'),
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{61c}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => {
                use std::fmt::Write as _;
                let _ = write!(clean, "⟨U+{:04X}⟩", c as u32);
            }
            // what XML does not allow
            '\u{fffe}' | '\u{ffff}' => clean.push('\u{fffd}'),
            _ => clean.push(c),
        }
    }
    clean
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        // OSC, DCS, SOS, PM, APC: up to BEL or ESC \
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    return;
                }
                if c == '\u{1b}' && chars.peek() == Some(&'\\') {
                    chars.next();
                    return;
                }
            }
        }
        // ESC, intermediates, final
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut Chars) {
    while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_controls_show() {
        assert_eq!(
            clean_line("\u{1b}[1;31mred\u{1b}[0m \u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{1b}\\ end\r"),
            "red link end"
        );
        assert_eq!(clean_line("a\u{8}b\u{0}c\u{7f}\u{9b}31md"), "a␈b␀c␡d");
        assert_eq!(clean_line("safe\u{202e}gnp.exe"), "safe⟨U+202E⟩gnp.exe");
        assert_eq!(clean_line("\u{1b}(Bx\u{1b}"), "x");
        assert!(clean_line(&"x".repeat(1_000_000)).len() < 5000);
        let bar: String = (0..200).map(|n| format!("\r{n:>3} % done")).collect();
        assert_eq!(clean_line(&bar), "199 % done");
    }

    #[test]
    fn a_long_log_is_read_at_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let log = Log::read(&path, 1000, 1000).unwrap();
        assert_eq!(log.head[0], "line 0");
        assert_eq!(log.tail.last().unwrap(), "line 99999");
        let shown: usize = log.head.iter().chain(&log.tail).map(|line| line.len() + 1).sum();
        assert_eq!(log.skipped_bytes.unwrap() + shown as u64, text.len() as u64);
        assert_eq!(Log::read(&path, 10_000_000, 0).unwrap().skipped_bytes, None);
    }

    #[test]
    fn the_telling_line_is_found() {
        let log =
            Log::from_text("start\nerror: a thing\nmain.rkt:3:1: foo: unbound identifier\n  in: foo\nend\n");
        assert_eq!(log.telling("error: a thing"), Some(1));
        assert_eq!(log.telling(""), Some(2));
        assert_eq!(log.telling("not in the log"), Some(2));
        assert_eq!(
            Log::from_text("raco test: 0 exception.rkt\nit failed\n").telling("ended by signal 15"),
            None
        );
        assert_eq!(
            log.around(2, 1, 1),
            vec![(1, "error: a thing"), (2, "main.rkt:3:1: foo: unbound identifier"), (3, "  in: foo")]
        );
        assert_eq!(Log::from_text("").telling(""), None);
    }
}
