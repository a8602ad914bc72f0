//! Reads zip files that strangers made: every name, size, checksum and count is verified before it is believed.

use crate::content::links::{self, Item, Listing};
use crate::content::tree::{Tree, TreePath};
use crate::trouble::{Limits, Trouble};
use flate2::{Decompress, FlushDecompress, Status};
use std::sync::Arc;

/// What a zip holds.
#[derive(Debug)]
pub struct Unzipped {
    /// As stored: a wrapper directory is still there.
    pub tree: Tree,
    /// No link, nothing that another reader may understand differently: the zip can be passed on byte for byte.
    pub plain: bool,
    pub dangling: Vec<TreePath>,
}

const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = 0xFFFF;
const CENTRAL_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;

pub fn read(zip: &[u8], limits: &Limits) -> Result<Unzipped, Trouble> {
    let end = find_end(zip)?;
    let count = u16_at(zip, end + 10)? as usize;
    let size = u32_at(zip, end + 12)? as usize;
    let start = u32_at(zip, end + 16)? as usize;
    if count == 0xFFFF
        || start == 0xFFFF_FFFF
        || u16_at(zip, end + 4)? != 0
        || u16_at(zip, end + 8)? as usize != count
    {
        return Err(bad("is a zip of more than one part or more than 4 GiB"));
    }
    limits.check_entries(count)?;
    if start.checked_add(size).is_none_or(|central_end| central_end > end) {
        return Err(bad("has its directory outside the file"));
    }
    let mut listing: Listing<Arc<Vec<u8>>> = Listing::new();
    let (mut at, mut packed_total, mut total, mut plain) = (start, 0u64, 0u64, true);
    for _ in 0..count {
        let entry = Entry::read(zip, at)?;
        at = entry.next;
        packed_total += entry.packed_bytes as u64;
        total += entry.bytes as u64;
        // entries that share bytes would count more than the file is long
        if packed_total > zip.len() as u64 {
            return Err(bad("has entries that overlap: looks like a decompression bomb"));
        }
        limits.check_size(total, zip.len() as u64)?;
        let Some(name) = TreePath::parse(entry.name).map_err(|e| bad(&format!("has an {e}")))? else {
            plain = false;
            continue;
        };
        let item = if entry.name.ends_with(b"/") || entry.mode & 0o170_000 == 0o040_000 {
            Item::Directory
        } else {
            let data = entry.unpack(zip)?;
            match entry.mode & 0o170_000 {
                0o120_000 => {
                    plain = false;
                    let target = String::from_utf8(data)
                        .map_err(|_| bad(&format!("has a bad link {:?}", name.as_str())))?;
                    Item::Link { target }
                }
                0 | 0o100_000 => Item::File { content: Arc::new(data), executable: entry.mode & 0o100 != 0 },
                _ => return Err(bad(&format!("has a device {:?}", name.as_str()))),
            }
        };
        match (listing.get(&name), &item) {
            (None, _) => drop(listing.insert(name, item)),
            (Some(Item::Directory), Item::Directory) => plain = false,
            _ => return Err(bad(&format!("has {:?} twice", name.as_str()))),
        }
    }
    if let Some(clash) = file_as_directory(&listing) {
        return Err(bad(&format!("has {clash:?} both as a file and as a directory")));
    }
    links::complete(&mut listing);
    tree_of(listing, limits, plain)
}

/// Turns a listing whose contents are at hand into a tree.
pub fn tree_of(listing: Listing<Arc<Vec<u8>>>, limits: &Limits, plain: bool) -> Result<Unzipped, Trouble> {
    let Some(resolved) = links::resolve(&listing, None, limits)? else { return Err(bad("is empty")) };
    let (mut tree, mut total) = (Tree::default(), 0);
    for (name, file) in resolved.items {
        match file {
            None => tree.add_directory(name),
            Some((data, executable)) => {
                total += data.len() as u64;
                limits.check_size(total, total)?;
                tree.add_file(name, data, executable);
            }
        }
    }
    Ok(Unzipped { tree, plain: plain && resolved.dangling.is_empty(), dangling: resolved.dangling })
}

/// A name that has children although it is no directory.
pub fn file_as_directory<C>(listing: &Listing<C>) -> Option<String> {
    listing.keys().find_map(|name| {
        let mut at = name.parent();
        while let Some(parent) = at {
            if listing.get(&parent).is_some_and(|item| !matches!(item, Item::Directory)) {
                return Some(parent.as_str().to_owned());
            }
            at = parent.parent();
        }
        None
    })
}

struct Entry<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    packed_bytes: usize,
    bytes: usize,
    /// Unix mode; 0 when the zip was made elsewhere.
    mode: u32,
    local: usize,
    next: usize,
}

impl<'a> Entry<'a> {
    fn read(zip: &'a [u8], at: usize) -> Result<Entry<'a>, Trouble> {
        if zip.get(at..at + 4) != Some(b"PK\x01\x02") {
            return Err(bad("has a broken directory"));
        }
        let (name_bytes, extra, comment) =
            (u16_at(zip, at + 28)? as usize, u16_at(zip, at + 30)? as usize, u16_at(zip, at + 32)? as usize);
        let name_at = at + CENTRAL_BYTES;
        let name = zip.get(name_at..name_at + name_bytes).ok_or_else(truncated)?;
        let made_on_unix = u16_at(zip, at + 4)? >> 8 == 3;
        Ok(Entry {
            name,
            flags: u16_at(zip, at + 8)?,
            method: u16_at(zip, at + 10)?,
            crc: u32_at(zip, at + 16)?,
            packed_bytes: u32_at(zip, at + 20)? as usize,
            bytes: u32_at(zip, at + 24)? as usize,
            mode: if made_on_unix { u32_at(zip, at + 38)? >> 16 } else { 0 },
            local: u32_at(zip, at + 42)? as usize,
            next: name_at + name_bytes + extra + comment,
        })
    }

    fn unpack(&self, zip: &[u8]) -> Result<Vec<u8>, Trouble> {
        let shown = String::from_utf8_lossy(self.name);
        if self.flags & 1 != 0 {
            return Err(bad(&format!("has an encrypted file {shown:?}")));
        }
        let local = zip.get(self.local..self.local.saturating_add(LOCAL_BYTES)).ok_or_else(truncated)?;
        if &local[..4] != b"PK\x03\x04" {
            return Err(bad("has a broken directory"));
        }
        let name_bytes = u16_at(local, 26)? as usize;
        let data_at = self.local + LOCAL_BYTES + name_bytes + u16_at(local, 28)? as usize;
        let name_at = self.local + LOCAL_BYTES;
        // a reader that trusts local headers must see the same names
        if zip.get(name_at..name_at + name_bytes) != Some(self.name) {
            return Err(bad(&format!("names {shown:?} differently in two places")));
        }
        let packed = zip.get(data_at..data_at.saturating_add(self.packed_bytes)).ok_or_else(truncated)?;
        let data = match self.method {
            0 if self.packed_bytes == self.bytes => packed.to_vec(),
            8 => inflate(packed, self.bytes).ok_or_else(|| bad(&format!("has a damaged file {shown:?}")))?,
            0 => return Err(bad(&format!("has a damaged file {shown:?}"))),
            method => {
                return Err(bad(&format!("has {shown:?} packed by method {method}, which is not supported")));
            }
        };
        let mut crc = flate2::Crc::new();
        crc.update(&data);
        if crc.sum() != self.crc {
            return Err(bad(&format!("has a damaged file {shown:?}")));
        }
        Ok(data)
    }
}

/// Exactly `bytes` bytes, or nothing.
fn inflate(packed: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let mut inflater = Decompress::new(false);
    // one more than promised, so that a longer stream is seen; grown as it comes, so that a lie costs nothing
    let mut out = Vec::with_capacity((bytes + 1).min(packed.len() * 8 + 64));
    loop {
        let done = usize::try_from(inflater.total_in()).ok()?;
        let before = out.len();
        let status = inflater.decompress_vec(&packed[done..], &mut out, FlushDecompress::None);
        if out.len() > bytes {
            return None;
        }
        match status {
            Ok(Status::StreamEnd) => return (out.len() == bytes).then_some(out),
            Ok(_) if out.len() == out.capacity() => {
                out.reserve((bytes + 1 - out.len()).min(out.len().max(64)))
            }
            Ok(_) if out.len() > before => {}
            _ => return None,
        }
    }
}

fn find_end(zip: &[u8]) -> Result<usize, Trouble> {
    let last = zip.len().checked_sub(END_BYTES).ok_or_else(|| bad("is no zip file"))?;
    let first = last.saturating_sub(COMMENT_BYTES_MAX);
    (first..=last)
        .rev()
        .find(|at| {
            zip[*at..].starts_with(b"PK\x05\x06")
                && u16_at(zip, at + 20).is_ok_and(|comment| at + END_BYTES + comment as usize == zip.len())
        })
        .ok_or_else(|| bad("is no zip file, or is cut short"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Trouble> {
    let field = bytes.get(at..at + 2).ok_or_else(truncated)?;
    Ok(u16::from_le_bytes([field[0], field[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Trouble> {
    let field = bytes.get(at..at + 4).ok_or_else(truncated)?;
    Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
}

fn truncated() -> Trouble {
    bad("is cut short")
}

fn bad(what: &str) -> Trouble {
    Trouble::bad_archive(format!("the archive {what}"))
}
