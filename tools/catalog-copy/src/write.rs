//! Writing catalogs of every form.

pub mod directory;
pub mod lines;
pub mod sqlite;
pub mod swap;
pub mod tables;

use edge::{Exit, Failure};
use std::path::Path;

pub fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CantCreate, format!("cannot write \"{}\": {error}", path.display()))
}
