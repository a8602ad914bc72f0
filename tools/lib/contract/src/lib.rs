//! Every JSON document of the suite as a serde type. The doc comment of each type is its specification; the man
//! page in section 5 with the same name says the same to users.
//!
//! Rules for all of them: `kind` and `v` come first; an unknown `v` is refused ([`read`]); unknown fields are
//! ignored by readers and kept where a document passes through; `_s` is seconds, `_mb` is MiB, `_bytes` bytes;
//! instants are RFC 3339 UTC strings. Maps are sorted by key.

pub mod archived;
pub mod catalog_summary;
pub mod installation;
pub mod limits;
pub mod listening;
pub mod machines;
pub mod package;
pub mod recipe;
pub mod report;
pub mod run;
pub mod site;
pub mod testbed;

mod document;
pub use document::{Document, DocumentError, read, read_lines};

/// Version of every document kind so far.
pub const V: u32 = 1;
