//! The drivers of `vm-snapshot` against the real thing, each under the same suite (`suite.rs`): a docker engine and an sshd
//! that the test starts, images of machines, and a program of our own for `command`. A driver whose program is missing is
//! skipped by name.

mod command;
mod docker;
mod lab;
mod libvirt;
mod qemu;
mod sandbox;
mod ssh;
mod ssh_trouble;
mod suite;
mod uml;
mod virtualbox;
