//! Archives: a file on this machine, and what any archive holds once its bytes are here.

use crate::content::checksum::sha1_hex;
use crate::content::facts::LeftOut;
use crate::content::pack::{plt, tar, unzip};
use crate::content::tree::Tree;
use crate::trouble::{Limits, Trouble};
use contract::archived::Cause;
use std::fs;
use std::io::Read;
use std::path::Path;

/// The content of a package, wherever it came from.
#[derive(Debug)]
pub struct Content {
    /// As an installer sees it.
    pub tree: Tree,
    /// A zip that can be passed on byte for byte.
    pub zip: Option<Vec<u8>>,
    /// Commit, SHA-1 of the archive, `""` for a directory.
    pub resolved: String,
    pub left_out: LeftOut,
}

/// What the name of an archive says about its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Zip,
    Tar,
    TarGz,
    Plt,
}

fn form(name: &str) -> Option<Form> {
    [
        (".zip", Form::Zip),
        (".tgz", Form::TarGz),
        (".tar.gz", Form::TarGz),
        (".tar", Form::Tar),
        (".plt", Form::Plt),
    ]
    .into_iter()
    .find_map(|(suffix, form)| name.ends_with(suffix).then_some(form))
}

/// Unpacks an archive whose bytes have been verified.
pub fn unpack(name: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Content, Trouble> {
    let resolved = sha1_hex(&bytes);
    let unpacked = match form(name) {
        Some(Form::Zip) => unzip::read(&bytes, limits)?,
        Some(Form::Tar) => tar::read(&bytes, limits)?,
        Some(Form::TarGz) => tar::read(&tar::gunzip(&bytes, limits)?, limits)?,
        Some(Form::Plt) => plt::read(&bytes, limits)?,
        None => return Err(Trouble::bad_source(format!("no archive of a known form: {name}"))),
    };
    let plain_zip = unpacked.plain && form(name) == Some(Form::Zip);
    let tree = match form(name) {
        // never wrapped
        Some(Form::Plt) => unpacked.tree,
        _ => unpacked.tree.without_wrapper(),
    };
    Ok(Content {
        tree,
        zip: plain_zip.then_some(bytes),
        resolved,
        left_out: LeftOut { dangling: unpacked.dangling, ..LeftOut::default() },
    })
}

/// Reads an archive on this machine and verifies it against the catalog and against the checksum file beside it.
pub fn read(path: &Path, checksum: &str, limits: &Limits) -> Result<Content, Trouble> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::gone(format!("no such file: {}", path.display())),
        _ => Trouble::new(Cause::Refused, format!("cannot read {}: {error}", path.display())),
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(cannot)?;
    file.take(limits.packed_bytes + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limits.packed_bytes {
        return Err(Trouble::too_large(format!("larger than {} MiB", limits.packed_bytes >> 20)));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let got = sha1_hex(&bytes);
    if !checksum.is_empty() && !checksum.eq_ignore_ascii_case(&got) {
        return Err(Trouble::checksum(&path.display().to_string(), checksum, &got));
    }
    if let Ok(beside) = fs::read_to_string(path.with_file_name(format!("{name}.CHECKSUM"))) {
        let beside = beside.trim();
        if !beside.eq_ignore_ascii_case(&got) {
            return Err(Trouble::checksum(&format!("{} (in its .CHECKSUM)", path.display()), beside, &got));
        }
    }
    unpack(&name, bytes, limits)
}
