//! Content types: what a browser shows, what a client may take as text, what is worth compressing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const TEXT: &str = "text/plain; charset=utf-8";

const KINDS: [(&[&str], &str); 26] = [
    (&["html", "htm"], "text/html; charset=utf-8"),
    (&["rktd", "rkt", "rktl", "scrbl", "ss", "scm", "txt", "md", "log", "mk", "checksum"], TEXT),
    (&["css"], "text/css; charset=utf-8"),
    (&["js", "mjs"], "text/javascript; charset=utf-8"),
    (&["json"], "application/json"),
    (&["jsonl"], "application/jsonl"),
    (&["xml"], "application/xml"),
    (&["svg"], "image/svg+xml"),
    (&["sh"], "application/x-sh"),
    (&["zip"], "application/zip"),
    (&["tgz", "gz"], "application/gzip"),
    (&["tar"], "application/x-tar"),
    (&["bz2"], "application/x-bzip2"),
    (&["xz"], "application/x-xz"),
    (&["exe"], "application/vnd.microsoft.portable-executable"),
    (&["dmg"], "application/x-apple-diskimage"),
    (&["pkg"], "application/octet-stream"),
    (&["plt"], "application/octet-stream"),
    (&["sqlite"], "application/vnd.sqlite3"),
    (&["pdf"], "application/pdf"),
    (&["png"], "image/png"),
    (&["jpg", "jpeg"], "image/jpeg"),
    (&["gif"], "image/gif"),
    (&["ico"], "image/x-icon"),
    (&["woff2"], "font/woff2"),
    (&["wasm"], "application/wasm"),
];

/// The type by the name; `None` where the name does not tell.
pub fn by_name(path: &Path) -> Option<&'static str> {
    let extension = path.extension().map(OsStr::as_bytes)?;
    let known = |names: &[&str]| names.iter().any(|name| extension.eq_ignore_ascii_case(name.as_bytes()));
    KINDS.iter().find(|(names, _)| known(names)).map(|(_, kind)| *kind)
}

/// The type by the first bytes, for names that do not tell (`pkgs-all`, `pkg/NAME`).
pub fn by_content(start: &[u8]) -> &'static str {
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        // cut in the middle of a character
        Err(error) => error.error_len().is_none(),
    };
    if text && !start.iter().any(|byte| *byte < b' ' && !b"\t\n\r\x0c\x1b".contains(byte)) {
        TEXT
    } else {
        "application/octet-stream"
    }
}

/// True for types that gzip makes much smaller.
pub fn is_compressible(kind: &str) -> bool {
    kind.starts_with("text/")
        || ["application/json", "application/jsonl", "application/xml", "image/svg+xml", "application/wasm"]
            .iter()
            .any(|known| kind.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_tell() {
        let name = |path: &str| by_name(Path::new(path));
        assert_eq!(name("installers/table.rktd"), Some(TEXT));
        assert_eq!(name("a.ZIP"), Some("application/zip"));
        assert_eq!(name("a.zip.CHECKSUM"), Some(TEXT));
        assert_eq!(name("racket-8.7-x86_64-linux.sh"), Some("application/x-sh"));
        assert_eq!(name("pkgs-all"), None);
        assert_eq!(name(".zip"), None);
        assert_eq!(by_content(b"#hash((a . 1))\n"), TEXT);
        assert_eq!(by_content("é".as_bytes()), TEXT);
        assert_eq!(by_content(&"é".as_bytes()[..1]), TEXT);
        assert_eq!(by_content(b"PK\x03\x04"), "application/octet-stream");
        assert_eq!(by_content(b"\xff\xfe"), "application/octet-stream");
        assert!(is_compressible(TEXT) && !is_compressible("application/zip"));
    }
}
