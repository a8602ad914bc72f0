//! Compressed forms of text files, kept in memory so that a catalog asked for by many is compressed once.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// Smaller files fit a packet or two as they are.
pub const FROM_BYTES: u64 = 1024;
/// Larger ones are sent as they are: compressing them would keep the client waiting.
pub const UP_TO_BYTES: u64 = 16 << 20;
const KEPT_BYTES: usize = 32 << 20;

#[derive(Default)]
pub struct Packed(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_tag: HashMap<String, Arc<[u8]>>,
    bytes: usize,
}

impl Packed {
    /// The compressed form of what `tag` (an ETag) stands for; `content` is asked only when it is not kept.
    /// `None` when it is not smaller.
    pub fn get(
        &self,
        tag: &str,
        content: impl FnOnce() -> std::io::Result<Vec<u8>>,
    ) -> std::io::Result<Option<Arc<[u8]>>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lock().by_tag.get(tag) {
            return Ok((!kept.is_empty()).then(|| kept.clone()));
        }
        let content = content()?;
        let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::new(5));
        encoder.write_all(&content)?;
        let packed = encoder.finish()?;
        // an empty entry remembers that it is not worth it
        let packed: Arc<[u8]> =
            if packed.len() < content.len() / 10 * 9 { packed.into() } else { Arc::default() };
        let mut kept = lock();
        if kept.bytes + packed.len() > KEPT_BYTES || kept.by_tag.len() > 100_000 {
            *kept = Kept::default();
        }
        kept.bytes += packed.len();
        kept.by_tag.insert(tag.to_owned(), packed.clone());
        Ok((!packed.is_empty()).then_some(packed))
    }
}

/// True when the client takes gzip (`Accept-Encoding`).
pub fn accepted(header: Option<&str>) -> bool {
    let mut star = false;
    for entry in header.unwrap_or_default().split(',') {
        let (coding, weight) = match entry.split_once(';') {
            Some((coding, weight)) => (coding.trim(), weight.trim().trim_start_matches("q=").trim()),
            None => (entry.trim(), "1"),
        };
        let wanted = weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return wanted;
        }
        star |= coding == "*" && wanted;
    }
    star
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_accept() {
        for yes in ["gzip", "deflate, gzip", "gzip;q=0.5", "*", "br, *;q=0.1", "x-gzip", "GZIP"] {
            assert!(accepted(Some(yes)), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "*, gzip;q=0", "br", "gzipped"] {
            assert!(!accepted(Some(no)), "{no}");
        }
        assert!(!accepted(None));
    }

    #[test]
    fn packed_once_and_only_when_it_helps() {
        let packed = Packed::default();
        let text = "catalog ".repeat(1000).into_bytes();
        let first = packed.get("a", || Ok(text.clone())).unwrap().unwrap();
        assert!(first.len() < 200);
        assert_eq!(packed.get("a", || panic!("kept")).unwrap(), Some(first));
        // a small generator stands in for what cannot be compressed
        let mut state = 1u32;
        let noise = (0..5000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.collect();
        assert_eq!(packed.get("b", || Ok(noise)).unwrap(), None);
        assert_eq!(packed.get("b", || panic!("kept")).unwrap(), None);
    }
}
