//! What is fetched over http: archives, and directories with a `MANIFEST`.

use super::file::{self, Content};
use crate::content::facts::LeftOut;
use crate::content::tree::{Tree, TreePath};
use crate::trouble::{Limits, Trouble};
use contract::archived::Cause;
use fetch::{Class, Client, FetchError};
use std::sync::Arc;

/// Fetches an archive. The catalog's checksum is the promise; without one the server's `URL.CHECKSUM` is, and
/// without that either it is taken as it comes and told.
pub fn archive(
    client: &Client,
    url: &str,
    checksum: &str,
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Content, Trouble> {
    let bare = url.split(['?', '#']).next().unwrap_or(url);
    let promised =
        if checksum.is_empty() { server_checksum(client, url)? } else { Some(checksum.to_owned()) };
    let mut request = client.request(url).max_bytes(limits.packed_bytes);
    if let Some(sha1) = &promised {
        request = request.expect_sha1(sha1.clone());
    }
    let (bytes, _) =
        request.on_progress(move |p| progress(p.received_bytes)).bytes().map_err(|e| trouble(&e))?;
    let mut content = file::unpack(bare.rsplit('/').next().unwrap_or(bare), bytes, limits)?;
    content.left_out.unverified = promised.is_none();
    Ok(content)
}

/// Checksum that stands beside the archive, where there is one.
pub fn server_checksum(client: &Client, url: &str) -> Result<Option<String>, Trouble> {
    let (bare, rest) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    match client.request(&format!("{bare}.CHECKSUM{rest}")).max_bytes(4096).bytes() {
        Ok((text, _)) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
        Err(error) if error.trouble.class() == Class::Gone => Ok(None),
        Err(error) => Err(trouble(&error)),
    }
}

/// Fetches a directory: the files that its `MANIFEST` names, one a line.
pub fn directory(
    client: &Client,
    url: &str,
    limits: &Limits,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Content, Trouble> {
    let base = url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/');
    let manifest = match client.request(&format!("{base}/MANIFEST")).max_bytes(4 << 20).bytes() {
        Ok((text, _)) => text,
        Err(error) if error.trouble.class() == Class::Gone => {
            return Err(Trouble::gone(format!(
                "no MANIFEST at {base}/; if this is a git repository, its URL must end in .git"
            )));
        }
        Err(error) => return Err(trouble(&error)),
    };
    let text = String::from_utf8_lossy(&manifest).into_owned();
    let names: Vec<&str> =
        text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty()).collect();
    limits.check_entries(names.len())?;
    let (mut tree, mut total) = (Tree::default(), 0);
    for name in names {
        let Some(path) = TreePath::parse(name.as_bytes())
            .map_err(|bad| Trouble::bad_archive(format!("the MANIFEST has an {bad}")))?
        else {
            continue;
        };
        let url = format!("{base}/{}", encode(path.as_str()));
        let (bytes, _) =
            client.request(&url).max_bytes(limits.unpacked_bytes).bytes().map_err(|error| trouble(&error))?;
        total += bytes.len() as u64;
        limits.check_size(total, total)?;
        progress(total);
        tree.add_file(path, Arc::new(bytes), false);
    }
    Ok(Content {
        tree,
        zip: None,
        resolved: String::new(),
        left_out: LeftOut { unverified: true, ..LeftOut::default() },
    })
}

fn encode(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte as char)
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// A failed fetch as the trouble of a package.
pub fn trouble(error: &FetchError) -> Trouble {
    let cause = match (&*error.trouble, error.trouble.class()) {
        (fetch::Trouble::ChecksumMismatch { .. }, _) => Cause::Checksum,
        (fetch::Trouble::TooLarge { .. }, _) => Cause::TooLarge,
        (_, Class::Gone) => Cause::Gone,
        (_, Class::Unreachable) => Cause::Unreachable,
        (_, Class::BadRequest) => Cause::BadSource,
        (_, Class::Busy | Class::Denied | Class::Damaged | Class::Local) => Cause::Refused,
    };
    Trouble::new(cause, error.to_string())
}
