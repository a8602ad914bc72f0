//! Archive formats, written here so that their bytes are ours to promise. Pure: bytes in, bytes out.

pub mod plt;
pub mod tar;
pub mod unzip;
pub mod zip;
