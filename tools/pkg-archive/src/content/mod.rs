//! What packages consist of and what that says about them. Pure: no I/O.

pub mod checksum;
pub mod facts;
pub mod info;
pub mod links;
pub mod pack;
pub mod tree;
