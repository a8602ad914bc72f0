//! Directories over HTTP/1.0 and 1.1. What is answered is decided by pure code (`request`, `range`, `validators`,
//! `kinds`, `page`); `answer` looks at the disk, `connection` and `accept` move the bytes.

mod accept;
mod answer;
mod connection;
mod kinds;
mod listen;
mod mounts;
mod packed;
mod page;
mod range;
mod request;
mod tree;
mod validators;

pub use accept::{accept, connections_within_limits};
pub use answer::Site;
pub use connection::{Line, Shared};
pub use listen::{listen, reachable};
pub use mounts::{Mount, Mounts};
pub use packed::Packed;
