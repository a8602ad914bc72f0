//! Package lines from stdin: one entry a line.

use crate::gather::Gatherer;
use catalog::{Entry, Name};
use contract::package::Package;
use edge::{Failure, Result, progress};
use std::io::{BufRead, Read};

/// Lines go to other threads in pieces of about this size.
const PIECE_BYTES: usize = 32 << 10;

/// A line may be this long.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Adds the entries of package lines.
pub fn read(mut lines: impl BufRead, into: &mut Gatherer) -> Result<()> {
    let bar = progress::items("reading", None);
    let mut piece = Piece::default();
    loop {
        let start = piece.text.len();
        let length = (&mut lines)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut piece.text)
            .map_err(|error| Failure::unavailable(format!("cannot read stdin: {error}")))?;
        piece.lines += 1;
        if length as u64 == MAX_LINE_BYTES && piece.text.last() != Some(&b'\n') {
            let number = piece.before + piece.lines;
            return Err(Failure::data(format!(
                "cannot read stdin: line {number} is over {MAX_LINE_BYTES} bytes"
            )));
        }
        if piece.text[start..].iter().any(|byte| !byte.is_ascii_whitespace()) {
            bar.inc(1);
        }
        if length == 0 || piece.text.len() >= PIECE_BYTES {
            let before = piece.before + piece.lines;
            let ready = std::mem::replace(&mut piece, Piece { before, ..Piece::default() });
            into.add_work(Box::new(move |add| ready.read(add)))?;
        }
        if length == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}

/// Some whole lines.
#[derive(Default)]
struct Piece {
    text: Vec<u8>,
    lines: u64,
    /// Lines before these.
    before: u64,
}

impl Piece {
    fn read(&self, add: &mut dyn FnMut(Name, Entry) -> Result<()>) -> Result<()> {
        for (line, number) in self.text.split(|byte| *byte == b'\n').zip(self.before + 1..) {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let package = Package::read(line).map_err(|error| {
                Failure::data(format!("cannot read package line {number} of stdin: {error}"))
                    .hint("package lines are what catalog-copy CATALOG - prints; see package(5)")
            })?;
            add(package.name, package.entry)?;
        }
        Ok(())
    }
}
