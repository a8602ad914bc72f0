//! The report in forms that others read.

pub mod atom;
pub mod badge;
pub mod junit;
pub mod markdown;
pub mod summary_rktd;
