//! The few system calls that std and rustix offer only as unsafe. All `unsafe` of the program is here.
#![allow(unsafe_code)]

use rustix::process::Pid;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub enum Fork {
    Child,
    Parent(Pid),
}

/// fork(2). Only for processes with one thread: the internal roles, which start none.
pub fn fork() -> io::Result<Fork> {
    debug_assert_eq!(threads(), Some(1), "fork needs a process with one thread");
    // SAFETY: the process has a single thread, so that the child has no lock held by a thread that is gone.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).filter(|_| pid > 0).map(Fork::Parent).ok_or_else(io::Error::last_os_error),
    }
}

fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count).or(Some(1))
}

/// unshare(2) of namespaces.
pub fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    assert!(!namespaces.contains(UnshareFlags::FILES));
    // SAFETY: unsafe only for FILES, which is excluded above.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.map_err(Into::into)
}

/// Runs `action` in the child between fork and exec. It must only make system calls: no allocation, no lock.
pub fn before_exec(command: &mut Command, action: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: callers pass closures of plain system calls (see above), which are allowed between fork and exec.
    unsafe { command.pre_exec(action) };
}
