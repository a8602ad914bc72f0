//! Text to Racket values and back: what `write` prints and `read` accepts, as far as catalogs, `info.rkt` and
//! installer tables need it. Pure: no I/O.

mod value;
pub use value::{Hash, HashKind, Value};
