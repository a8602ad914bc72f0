//! Copy-on-write disks of user-mode Linux, as far as a snapshot needs them: version 3, all numbers big-endian.
//!
//! ```text
//! magic "OOOM" 4 · version 4 · mtime 4 · size 8 · sector size 4 · alignment 4 · format 4 · name of the base 4096
//! at the next multiple of the alignment: one bit a sector, the lowest first: set when it is in this file
//! at the next multiple: the sectors, each at its own place
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

const HEADER_BYTES: u64 = 4128;
const CHUNK_BYTES: usize = 1 << 20;

/// Where things are in a disk.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    size: u64,
    sector: u64,
    bitmap_at: u64,
    bitmap_bytes: u64,
    data_at: u64,
}

impl Shape {
    fn of(header: &[u8]) -> Option<Shape> {
        let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let size = u64::from_be_bytes(header.get(12..20)?.try_into().ok()?);
        let (sector, align) = (u64::from(word(20)?), u64::from(word(24)?));
        if header.get(..4)? != b"OOOM" || word(4)? != 3 || sector == 0 || align == 0 {
            return None;
        }
        let bitmap_at = HEADER_BYTES.next_multiple_of(align);
        let bitmap_bytes = size.div_ceil(sector).div_ceil(8);
        let data_at = (bitmap_at + bitmap_bytes).next_multiple_of(align);
        Some(Shape { size, sector, bitmap_at, bitmap_bytes, data_at })
    }
}

/// Runs of set bits: first and one past the last.
fn runs(bitmap: &[u8]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let set = (0..)
        .zip(bitmap)
        .filter(|(_, byte)| **byte != 0)
        .flat_map(|(at, byte)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit));
    for bit in set {
        match runs.last_mut() {
            Some((_, end)) if *end == bit => *end += 1,
            _ => runs.push((bit, bit + 1)),
        }
    }
    runs
}

/// Writes to `to` the disk that is seen through `cow` over `base`. Holes stay holes.
pub(super) fn merge(base: &Path, cow: &Path, to: &Path) -> io::Result<()> {
    let copied = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto", "--no-preserve=all", "--"])
        .args([base, to])
        .stdin(Stdio::null())
        .output()?;
    if !copied.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&copied.stderr).trim().to_owned()));
    }
    let (from, to) = (File::open(cow)?, File::options().write(true).open(to)?);
    let mut header = [0; 64];
    from.read_exact_at(&mut header, 0)?;
    let shape =
        Shape::of(&header).ok_or_else(|| io::Error::other("its disk is not copy-on-write, version 3"))?;
    let mut bitmap = vec![0; usize::try_from(shape.bitmap_bytes).map_err(io::Error::other)?];
    from.read_exact_at(&mut bitmap, shape.bitmap_at)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    for (first, end) in runs(&bitmap) {
        let (mut at, end) = (first * shape.sector, (end * shape.sector).min(shape.size));
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            from.read_exact_at(&mut buffer[..count], shape.data_at + at)?;
            to.write_all_at(&buffer[..count], at)?;
            at += count as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_written_lies_over_the_base() {
        let dir = std::env::temp_dir().join(format!("cow-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        fs::write(path("base"), [b'b'; 512 * 20]).unwrap();
        let mut disk = vec![0; 12288 + 512 * 20];
        disk[..8].copy_from_slice(b"OOOM\0\0\0\x03");
        disk[12..20].copy_from_slice(&(512 * 20u64).to_be_bytes());
        disk[20..28].copy_from_slice(&[0, 0, 2, 0, 0, 0, 16, 0]);
        // sectors 3 and 17
        (disk[8192], disk[8194]) = (8, 2);
        disk[12288 + 3 * 512..12288 + 4 * 512].fill(b'x');
        disk[12288 + 17 * 512..12288 + 18 * 512].fill(b'y');
        fs::write(path("cow"), &disk).unwrap();
        merge(&path("base"), &path("cow"), &path("to")).unwrap();
        let merged = fs::read(path("to")).unwrap();
        let sectors: Vec<u8> = merged.chunks(512).map(|sector| sector[0]).collect();
        assert_eq!(sectors, b"bbbxbbbbbbbbbbbbbybb");
        fs::write(path("cow"), [0; 9000]).unwrap();
        assert!(merge(&path("base"), &path("cow"), &path("to")).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn runs_of_bits() {
        assert_eq!(runs(&[0b1100_0001, 0b0000_0011, 0, 0x80]), [(0, 1), (6, 10), (31, 32)]);
    }
}
