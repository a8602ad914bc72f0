//! What is on disk: machines, their snapshots and instances, in the state directory.

pub mod age;
pub mod list;
pub mod machines;
pub mod snapshots;
pub mod store;
