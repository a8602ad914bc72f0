//! Everything about a machine: opening one, what runs in it, what is seen of it.

pub mod health;
pub mod keyboard;
pub mod log;
pub mod marks;
pub mod script;
pub mod stage;
pub mod stop;
pub mod testbed;
pub mod watch;
