//! Package lines to stdout: one entry a line.

use crate::gather::Gathered;
use contract::package::Package;
use edge::{Result, out, progress};

/// Prints the entries, in the order of their names.
pub fn write(gathered: &Gathered) -> Result<()> {
    let bar = progress::items("writing", Some(gathered.len() as u64));
    let mut scratch = Vec::new();
    for (name, slot) in gathered.slots() {
        bar.inc(1);
        let entry = gathered.entry(name, slot, &mut scratch)?;
        out::json_line(&Package::new(name.clone(), entry))?;
    }
    bar.finish_and_clear();
    Ok(())
}
