//! Text to Racket values and back: what `write` prints and `read` accepts, as far as catalogs, `info.rkt` and
//! installer tables need it. Pure: no I/O of its own.
//!
//! [`read`] takes what Racket 8.7's `read` takes, but for compiled code, cyclic data and vectors of flonums or fixnums;
//! every error says where. [`write`](fn@write) prints what Racket prints. [`HashStream`] goes through a hash of any
//! size in the memory of one item, and cuts it into parts for several threads. [`read_module`] reads `info.rkt` in both
//! of its forms.
//!
//! `make fuzz` (targets in `fuzz/`) looks for texts that break a promise; `examples/fuzz.rs` does so without tools.

mod atom;
mod compound;
mod error;
mod float;
mod hash;
mod module;
mod number;
mod order;
mod part;
mod prefab;
mod read;
mod skim;
mod stream;
mod string;
mod text;
mod token;
mod unicode;
mod unicode_tables;
mod value;
mod write;

pub use error::{Limits, ReadError};
pub use module::{Module, read_module};
pub use part::{Items, Part};
pub use read::{read, read_all, read_within};
pub use stream::{HashStream, Item, Portion, StreamError};
pub use value::{Hash, HashKind, Value};
pub use write::{hash_open, write, write_hash, write_into, write_str, write_symbol};
