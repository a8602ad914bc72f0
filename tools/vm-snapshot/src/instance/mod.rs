//! Instances: opened, kept, entered, copied to and from, closed.

pub mod copy;
pub mod exec;
pub mod keeper;
pub mod open;
pub mod owner;
pub mod standing;
pub mod terminal;
