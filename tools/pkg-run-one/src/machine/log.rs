//! The log of one phase: head and tail are kept, everything is counted, and what was left out is said.

use std::collections::VecDeque;
use std::io::Write;

/// Bytes kept of the head and of the tail of a log. What tells why something failed is nearly always near an end.
pub const KEEP_BYTES: usize = 512 * 1024;

#[derive(Debug, Default)]
pub struct Log {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes printed, kept or not.
    pub bytes: u64,
}

impl Log {
    pub fn push(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        let room = KEEP_BYTES.saturating_sub(self.head.len());
        let (first, rest) = data.split_at(room.min(data.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(KEEP_BYTES)..];
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(KEEP_BYTES);
        self.tail.drain(..excess);
    }

    pub fn is_truncated(&self) -> bool {
        self.left_out_bytes() > 0
    }

    fn left_out_bytes(&self) -> u64 {
        self.bytes - self.head.len() as u64 - self.tail.len() as u64
    }

    /// What is kept, with a line where something was left out.
    pub fn write_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(&self.head)?;
        if self.is_truncated() {
            write!(
                out,
                "\n[... {} bytes left out here: the log had {} ...]\n",
                self.left_out_bytes(),
                self.bytes
            )?;
        }
        let (a, b) = self.tail.as_slices();
        out.write_all(a)?;
        out.write_all(b)
    }

    /// The kept text, for the rules of a recipe.
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.head.len() + self.tail.len() + 100);
        let _ = self.write_to(&mut bytes);
        String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_log_is_kept_whole() {
        let mut log = Log::default();
        log.push(b"one\n");
        log.push(b"two\n");
        assert_eq!(log.text(), "one\ntwo\n");
        assert!(!log.is_truncated());
        assert_eq!(log.bytes, 8);
    }

    #[test]
    fn a_log_of_exactly_head_and_tail_is_whole() {
        let mut log = Log::default();
        log.push(&vec![b'a'; KEEP_BYTES]);
        log.push(&vec![b'b'; KEEP_BYTES]);
        assert!(!log.is_truncated());
        log.push(b"c");
        assert!(log.is_truncated());
        assert!(log.text().contains("[... 1 bytes left out here: the log had 1048577 ...]"));
        assert!(log.text().ends_with("bc"));
    }

    #[test]
    fn any_cut_of_the_same_bytes_keeps_the_same() {
        let data: Vec<u8> = (0..3 * KEEP_BYTES + 17).map(|n| b'a' + (n % 23) as u8).collect();
        let mut whole = Log::default();
        whole.push(&data);
        for size in [1000, 4096, KEEP_BYTES - 1, KEEP_BYTES + 1] {
            let mut cut = Log::default();
            data.chunks(size).for_each(|chunk| cut.push(chunk));
            assert!(cut.text() == whole.text(), "chunks of {size}");
        }
    }
}
