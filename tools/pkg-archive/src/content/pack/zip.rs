//! Writes zip files whose bytes depend on names, contents and executable bits alone: no clock, no owner, no umask,
//! a fixed order, one compressor at one level.

use crate::content::tree::{Node, Tree};
use flate2::{Compress, Compression, FlushCompress};
use std::borrow::Cow;

/// 1980-01-01 00:00:00, the first instant a zip can name.
const DOS_DATE: u16 = (1 << 5) | 1;
const VERSION_NEEDED: u16 = 20;
/// Upper byte 3: the external attributes are Unix modes.
const MADE_BY: u16 = (3 << 8) | VERSION_NEEDED;
const FLAG_UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const LEVEL: u32 = 6;

/// Packs a package. Installers drop a single top directory, so a package whose root is just that is wrapped in one
/// more, named like the package. `None` when the result would be beyond what a plain zip can say (4 GiB).
pub fn write(package: &str, tree: &Tree) -> Option<Vec<u8>> {
    let prefix = if tree.single_directory().is_some() { format!("{package}/") } else { String::new() };
    let mut zip = Writer { out: Vec::new(), central: Vec::new(), entries: 0, deflate: deflater() };
    if !prefix.is_empty() {
        zip.entry(&prefix, &[], 0o040_755)?;
    }
    for (path, node) in tree.iter() {
        match node {
            Node::Directory => zip.entry(&format!("{prefix}{path}/"), &[], 0o040_755)?,
            Node::File { data, executable } => {
                let mode = if *executable { 0o100_755 } else { 0o100_644 };
                zip.entry(&format!("{prefix}{path}"), data, mode)?;
            }
        }
    }
    zip.finish()
}

fn deflater() -> Compress {
    Compress::new(Compression::new(LEVEL), false)
}

struct Writer {
    out: Vec<u8>,
    central: Vec<u8>,
    entries: u16,
    deflate: Compress,
}

impl Writer {
    fn entry(&mut self, name: &str, data: &[u8], mode: u32) -> Option<()> {
        let offset = u32::try_from(self.out.len()).ok()?;
        let (method, packed) = self.pack(data);
        let mut common = Vec::with_capacity(26);
        let flags = if name.is_ascii() { 0 } else { FLAG_UTF8 };
        for field in [VERSION_NEEDED, flags, method, 0, DOS_DATE] {
            common.extend(field.to_le_bytes());
        }
        let mut crc = flate2::Crc::new();
        crc.update(data);
        for field in [crc.sum(), u32::try_from(packed.len()).ok()?, u32::try_from(data.len()).ok()?] {
            common.extend(field.to_le_bytes());
        }
        common.extend(u16::try_from(name.len()).ok()?.to_le_bytes());
        common.extend([0, 0]); // extra field
        self.out.extend(b"PK\x03\x04");
        self.out.extend(&common);
        self.out.extend(name.as_bytes());
        self.out.extend(packed.as_ref());
        self.central.extend(b"PK\x01\x02");
        self.central.extend(MADE_BY.to_le_bytes());
        self.central.extend(&common);
        self.central.extend([0; 6]); // comment, disk, internal attributes
        let dos_directory = if name.ends_with('/') { 0x10 } else { 0 };
        self.central.extend(((mode << 16) | dos_directory).to_le_bytes());
        self.central.extend(offset.to_le_bytes());
        self.central.extend(name.as_bytes());
        self.entries = self.entries.checked_add(1)?;
        Some(())
    }

    /// Deflated, or as it is where that is not longer.
    fn pack<'a>(&mut self, data: &'a [u8]) -> (u16, Cow<'a, [u8]>) {
        if data.is_empty() {
            return (STORED, Cow::Borrowed(data));
        }
        self.deflate.reset();
        let mut packed = Vec::with_capacity(data.len() / 2 + 64);
        loop {
            let done = usize::try_from(self.deflate.total_in()).unwrap_or(usize::MAX).min(data.len());
            match self.deflate.compress_vec(&data[done..], &mut packed, FlushCompress::Finish) {
                Ok(flate2::Status::StreamEnd) => break,
                Ok(_) => packed.reserve(packed.capacity().max(64)),
                Err(_) => return (STORED, Cow::Borrowed(data)),
            }
        }
        if packed.len() < data.len() { (DEFLATED, Cow::Owned(packed)) } else { (STORED, Cow::Borrowed(data)) }
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let offset = u32::try_from(self.out.len()).ok()?;
        let size = u32::try_from(self.central.len()).ok()?;
        self.out.append(&mut self.central);
        self.out.extend(b"PK\x05\x06");
        self.out.extend([0; 4]); // disks
        self.out.extend(self.entries.to_le_bytes());
        self.out.extend(self.entries.to_le_bytes());
        self.out.extend(size.to_le_bytes());
        self.out.extend(offset.to_le_bytes());
        self.out.extend([0; 2]); // comment
        Some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::pack::unzip;
    use crate::content::tree::TreePath;
    use crate::trouble::Limits;
    use std::sync::Arc;

    fn path(name: &str) -> TreePath {
        TreePath::parse(name.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn what_is_packed_comes_back() {
        let mut tree = Tree::default();
        let noise: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        tree.add_file(path("info.rkt"), Arc::new(b"#lang info\n".to_vec()), false);
        tree.add_file(path("bin/run"), Arc::new(vec![b'x'; 1_000_000]), true);
        tree.add_file(path("noise"), Arc::new(noise), false);
        tree.add_file(path("π/λ.rkt"), Arc::new(Vec::new()), false);
        tree.add_directory(path("empty"));
        let zip = write("p", &tree).unwrap();
        assert_eq!(unzip::read(&zip, &Limits::of_mb(16)).unwrap().tree, tree);
        assert_eq!(write("p", &tree).unwrap(), zip);
    }

    #[test]
    fn a_single_directory_is_wrapped() {
        let mut tree = Tree::default();
        tree.add_file(path("coll/main.rkt"), Arc::new(b"x".to_vec()), false);
        let zip = write("p", &tree).unwrap();
        let unpacked = unzip::read(&zip, &Limits::of_mb(1)).unwrap().tree;
        assert_eq!(unpacked.file("p/coll/main.rkt"), Some(&b"x"[..]));
        assert_eq!(unpacked.without_wrapper(), tree);
    }

    /// Changing these bytes makes every archive of every user look changed: do it knowingly.
    #[test]
    fn the_bytes_are_fixed() {
        let mut tree = Tree::default();
        tree.add_file(path("main.rkt"), Arc::new(b"#lang racket/base\n".repeat(9)), false);
        tree.add_file(path("x/y"), Arc::new(b"y".to_vec()), true);
        assert_eq!(
            crate::content::checksum::sha1_hex(&write("p", &tree).unwrap()),
            "07b599313d78750a92a81c750546391bac0378bd"
        );
    }
}
