//! SHA-1, the checksum of Racket's catalogs.

use sha1::{Digest, Sha1};
use std::fmt::Write;

/// 40 lower-case hexadecimal digits.
pub fn sha1_hex(data: &[u8]) -> String {
    hex(&Sha1::digest(data))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
