//! Package lines to stdout: one entry a line.

use crate::gather::Gathered;
use catalog::{Entry, Name};
use contract::package::Package;
use edge::{Failure, Result, out, progress};
use std::sync::Arc;

/// Prints the entries, in the order of their names.
pub fn write(gathered: &Arc<Gathered>) -> Result<()> {
    let bar = progress::items_beside_output("writing", Some(gathered.len() as u64));
    gathered.each(line, |line| {
        bar.inc(1);
        out::bytes(&line?)
    })?;
    bar.finish_and_clear();
    Ok(())
}

fn line(name: Name, entry: Entry) -> Result<Vec<u8>> {
    let line = serde_json::to_vec(&Package::new(name, entry));
    let mut line = line.map_err(|error| Failure::bug(format!("cannot render JSON: {error}")))?;
    line.push(b'\n');
    Ok(line)
}
