//! `file:` URLs.

use crate::error::Trouble;
use crate::request::{Info, Origin, Request};
use crate::sink::Sink;
use crate::url::{Url, percent_decode};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Reads a file into the sink, within the limit.
pub(crate) fn read(url: &Url, request: &Request, limit_bytes: u64, sink: &mut Sink) -> Result<Info, Trouble> {
    if !(url.host.is_empty() || url.host == "localhost") {
        return Err(Trouble::BadUrl { why: format!("a file URL cannot name a host (\"{}\")", url.host) });
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(percent_decode(&url.path)));
    let cannot_read = |error: std::io::Error| Trouble::CannotRead {
        path: path.clone(),
        cause: error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
        missing: error.kind() == std::io::ErrorKind::NotFound,
    };
    let metadata = std::fs::metadata(&path).map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err(cannot_read(std::io::Error::other("not a regular file")));
    }
    let mut file = std::fs::File::open(&path).map_err(cannot_read)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(cannot_read)?;
        if count == 0 {
            break;
        }
        if sink.size_bytes() + count as u64 > limit_bytes {
            return Err(Trouble::TooLarge { limit_bytes });
        }
        sink.write(&buffer[..count])?;
        request.tell_progress(sink.size_bytes(), Some(metadata.len()));
    }
    Ok(Info {
        final_url: url.to_string(),
        content_type: None,
        size_bytes: sink.size_bytes(),
        sha1: sink.sha1(),
        origin: Origin::File,
    })
}
