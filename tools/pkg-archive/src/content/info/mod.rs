//! `info.rkt`: the small language it is written in, and what it declares. Pure.

pub mod declared;
pub mod language;
pub mod modules;
