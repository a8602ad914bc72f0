//! Reads tar files that strangers made: ustar, with GNU long names and pax headers.

use super::unzip::{Unzipped, file_as_directory, tree_of};
use crate::content::links::{self, Item, Listing};
use crate::content::tree::TreePath;
use crate::trouble::{Limits, Trouble};
use std::io::Read;
use std::sync::Arc;

const BLOCK_BYTES: usize = 512;

/// Unpacks what gzip packed; more than the limit is refused before it is held.
pub fn gunzip(packed: &[u8], limits: &Limits) -> Result<Vec<u8>, Trouble> {
    let mut tar = Vec::new();
    // headers and padding of the tar come on top of its files
    let most = limits.unpacked_bytes + (limits.entries * 2 * BLOCK_BYTES) as u64;
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take(most + 1);
    let mut chunk = vec![0; 1 << 16];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => tar.extend_from_slice(&chunk[..count]),
            Err(error) => return Err(bad(&format!("is damaged: {error}"))),
        }
        limits.check_size((tar.len() as u64).min(limits.unpacked_bytes), packed.len() as u64)?;
    }
    if tar.len() as u64 > most {
        return Err(Trouble::too_large(format!("unpacks to more than {} MiB", limits.unpacked_bytes >> 20)));
    }
    Ok(tar)
}

pub fn read(tar: &[u8], limits: &Limits) -> Result<Unzipped, Trouble> {
    let mut listing: Listing<Arc<Vec<u8>>> = Listing::new();
    let (mut at, mut total) = (0, 0u64);
    let mut long = LongNames::default();
    let mut ended = false;
    while let Some(header) = tar.get(at..at + BLOCK_BYTES) {
        at += BLOCK_BYTES;
        if header.iter().all(|byte| *byte == 0) {
            ended = true;
            break;
        }
        check_header(header)?;
        let size = match long.size.take() {
            Some(size) => size,
            None => number(&header[124..136])?,
        };
        let kind = header[156];
        // links and directories carry no data, whatever their size field says
        let stored = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        let stored = usize::try_from(stored).map_err(|_| truncated())?;
        let data = tar.get(at..at.saturating_add(stored)).ok_or_else(truncated)?;
        at += stored.next_multiple_of(BLOCK_BYTES);
        match kind {
            b'L' => long.name = Some(until_nul(data).to_vec()),
            b'K' => long.link = Some(until_nul(data).to_vec()),
            b'x' => long.read_pax(data)?,
            b'g' => {}
            _ => {
                let name = long.name.take().unwrap_or_else(|| ustar_name(header));
                let link = long.link.take().unwrap_or_else(|| until_nul(&header[157..257]).to_vec());
                let Some(name) = TreePath::parse(&name).map_err(|e| bad(&format!("has an {e}")))? else {
                    continue;
                };
                let executable = number(&header[100..108]).unwrap_or(0) & 0o100 != 0;
                let item = match kind {
                    b'0' | 0 | b'7' if !ends_with_slash(header, kind) => {
                        total += stored as u64;
                        limits.check_size(total, tar.len() as u64)?;
                        Item::File { content: Arc::new(data.to_vec()), executable }
                    }
                    b'0' | 0 | b'7' | b'5' => Item::Directory,
                    b'1' => hard_link(&listing, &name, &link)?,
                    b'2' => Item::Link {
                        target: String::from_utf8(link)
                            .map_err(|_| bad(&format!("has a bad link {:?}", name.as_str())))?,
                    },
                    _ => return Err(bad(&format!("has a device {:?}", name.as_str()))),
                };
                limits.check_entries(listing.len() + 1)?;
                // of two entries with one name the later one counts, as with tar itself
                listing.insert(name, item);
            }
        }
    }
    // some writers leave the final blocks out
    if !ended && (listing.is_empty() || at != tar.len()) {
        return Err(truncated());
    }
    if let Some(clash) = file_as_directory(&listing) {
        return Err(bad(&format!("has {clash:?} both as a file or link and as a directory")));
    }
    links::complete(&mut listing);
    tree_of(listing, limits, false)
}

/// Names too long for a header; they belong to the entry that follows.
#[derive(Default)]
struct LongNames {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl LongNames {
    /// Records `LENGTH KEY=VALUE\n`.
    fn read_pax(&mut self, mut data: &[u8]) -> Result<(), Trouble> {
        let broken = || bad("has a broken extended header");
        while !data.is_empty() {
            let space = data.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length: usize =
                std::str::from_utf8(&data[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(broken)?;
            let record = data.get(space + 1..length).ok_or_else(broken)?;
            let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let value = &record[equals + 1..];
            match &record[..equals] {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
                    self.size = Some(size.ok_or_else(broken)?);
                }
                _ => {}
            }
            data = &data[length..];
        }
        Ok(())
    }
}

fn hard_link<C: Clone>(listing: &Listing<C>, name: &TreePath, target: &[u8]) -> Result<Item<C>, Trouble> {
    let found = TreePath::parse(target).ok().flatten().and_then(|target| listing.get(&target));
    match found {
        Some(file @ Item::File { .. }) => Ok(file.clone()),
        _ => Err(bad(&format!(
            "has a hard link {:?} to something that is not in it: {:?}",
            name.as_str(),
            String::from_utf8_lossy(target)
        ))),
    }
}

/// Old archives mark a directory by nothing but the slash.
fn ends_with_slash(header: &[u8], kind: u8) -> bool {
    kind != b'7' && until_nul(&header[..100]).ends_with(b"/")
}

fn ustar_name(header: &[u8]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { &[] };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn check_header(header: &[u8]) -> Result<(), Trouble> {
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    if number(&header[148..156])? == sum { Ok(()) } else { Err(bad("is no tar file, or is damaged")) }
}

/// Octal text, or GNU's binary form for large numbers.
fn number(field: &[u8]) -> Result<u64, Trouble> {
    if field[0] & 0x80 != 0 {
        let value = field[1..].iter().try_fold(u64::from(field[0] & 0x7f), |value, byte| {
            value.checked_mul(256).map(|value| value | u64::from(*byte))
        });
        return value.ok_or_else(truncated);
    }
    let text = std::str::from_utf8(until_nul(field)).unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(text, 8).map_err(|_| bad("is no tar file, or is damaged"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

fn truncated() -> Trouble {
    bad("is cut short")
}

fn bad(what: &str) -> Trouble {
    Trouble::bad_archive(format!("the archive {what}"))
}
