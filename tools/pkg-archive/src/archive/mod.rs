//! The archive directory on disk and what it remembers.

pub mod publish;
pub mod raco_state;
pub mod state;
pub mod store;
