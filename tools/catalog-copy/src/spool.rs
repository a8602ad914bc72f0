//! Many texts in bounded memory: the first few megabytes stay here, the rest goes to a file without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Texts are collected in blocks of this size before they are kept.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks beyond this many bytes go to the disk.
const MEMORY_BYTES: u64 = 10 << 20;

#[derive(Debug, Default)]
pub struct Spool {
    current: Vec<u8>,
    blocks: Vec<Vec<u8>>,
    /// Bytes in `blocks` and in `file`: where `current` starts.
    current_at: u64,
    /// Where `file` starts.
    file_at: u64,
    file: Option<File>,
}

/// Where a text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    at: u64,
    length: u32,
}

impl Spool {
    /// Keeps a text.
    pub fn push(&mut self, text: &[u8]) -> io::Result<Span> {
        let length = u32::try_from(text.len()).map_err(|_| io::Error::other("entry is over 4 GiB"))?;
        if !self.current.is_empty() && self.current.len() + text.len() > BLOCK_BYTES {
            self.keep_current()?;
        }
        let at = self.current_at + self.current.len() as u64;
        self.current.extend_from_slice(text);
        Ok(Span { at, length })
    }

    fn keep_current(&mut self) -> io::Result<()> {
        let length = self.current.len() as u64;
        if self.file.is_none() && self.current_at + length <= MEMORY_BYTES {
            self.blocks.push(std::mem::replace(&mut self.current, Vec::with_capacity(BLOCK_BYTES)));
        } else {
            let file = match &mut self.file {
                Some(file) => file,
                file => {
                    self.file_at = self.current_at;
                    file.insert(tempfile::tempfile()?)
                }
            };
            file.write_all_at(&self.current, self.current_at - self.file_at)?;
            self.current.clear();
        }
        self.current_at += length;
        Ok(())
    }

    /// A text; `scratch` holds what has to come from the file. Any number of threads may do this.
    pub fn read<'s>(&'s self, span: Span, scratch: &'s mut Vec<u8>) -> io::Result<&'s [u8]> {
        let length = span.length as usize;
        if span.at >= self.current_at {
            let from = (span.at - self.current_at) as usize;
            return Ok(&self.current[from..from + length]);
        }
        if let Some(file) = self.file.as_ref().filter(|_| span.at >= self.file_at) {
            scratch.resize(length, 0);
            file.read_exact_at(scratch, span.at - self.file_at)?;
            return Ok(scratch);
        }
        let mut at = span.at as usize;
        for block in &self.blocks {
            if at < block.len() {
                return Ok(&block[at..at + length]);
            }
            at -= block.len();
        }
        Err(io::Error::other("text is not in the spool"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_got() {
        let mut spool = Spool::default();
        let text = |n: usize| -> Vec<u8> { format!("{n} ").repeat(n % 70_000 / 7).into_bytes() };
        let numbers = (0..2500usize).map(|n| n * 7919 % 70_000);
        let spans: Vec<(usize, Span)> = numbers.map(|n| (n, spool.push(&text(n)).expect("kept"))).collect();
        assert!(spool.file.is_some() && !spool.blocks.is_empty() && !spool.current.is_empty());
        for (n, span) in spans {
            assert_eq!(spool.read(span, &mut b"x".to_vec()).expect("there"), text(n));
        }
    }
}
