//! Gets the content of packages from where their sources point. The only files of the tool that reach out.

pub mod directory;
pub mod file;
pub mod git;
pub mod git_program;
pub mod git_tree;
pub mod web;
