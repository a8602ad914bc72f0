//! The archive directory on disk and what it remembers.

pub mod state;
pub mod store;
