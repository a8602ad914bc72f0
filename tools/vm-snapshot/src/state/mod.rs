//! What is on disk: machines, their snapshots and instances, in the state directory.

pub mod list;
pub mod machines;
pub mod snapshots;
pub mod store;
