//! Package lines from stdin: one entry a line.

use crate::gather::Gatherer;
use contract::package::Package;
use edge::{Failure, Result, progress};
use std::io::{BufRead, Read};

/// A line may be this long.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Adds the entries of package lines.
pub fn read(mut lines: impl BufRead, into: &mut Gatherer) -> Result<()> {
    let bar = progress::items("reading", None);
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        let length = (&mut lines)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::unavailable(format!("cannot read stdin: {error}")))?;
        if length == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        if length as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            return Err(Failure::data(format!(
                "cannot read stdin: line {number} is over {MAX_LINE_BYTES} bytes"
            )));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let package = Package::read(&line).map_err(|error| {
            Failure::data(format!("cannot read package line {number} of stdin: {error}"))
                .hint("package lines are what catalog-copy CATALOG - prints; see package(5)")
        })?;
        bar.inc(1);
        into.add(package.name, package.entry)?;
    }
}
