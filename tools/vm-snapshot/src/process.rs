//! The few system calls that std and rustix offer only as unsafe. All `unsafe` of the program is here.
#![allow(unsafe_code)]

use rustix::process::Pid;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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
        ..0 => Err(io::Error::last_os_error()),
        pid => Pid::from_raw(pid).map(Fork::Parent).ok_or_else(io::Error::last_os_error),
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

/// Kills every process of the process namespace whose process 1 this is, and of those below it; not itself.
pub fn kill_everyone_below() {
    assert_eq!(std::process::id(), 1, "only process 1 of a namespace may do that");
    // SAFETY: no memory is involved; the assertion keeps it from reaching anything outside the namespace.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Attaches a file to a free loop device that lets go of it by itself. The device stays attached while the file given
/// back is open or the device is mounted.
pub fn attach_loop(file: &File) -> io::Result<(PathBuf, File)> {
    // linux/loop.h: struct loop_config is the file (u32), the block size (u32), struct loop_info64 (232 bytes, with its
    // flags at 52) and 64 reserved bytes
    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
    const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
    const FLAGS_AT: usize = 8 + 52;
    const AUTOCLEAR: u32 = 4;
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    // SAFETY: the request takes no argument and gives a number.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let device = File::options().read(true).write(true).open(&path)?;
    let mut config = [0u8; 8 + 232 + 64];
    config[..4].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
    config[4..8].copy_from_slice(&4096u32.to_ne_bytes());
    config[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&AUTOCLEAR.to_ne_bytes());
    // SAFETY: the kernel reads a struct loop_config of just this size from the pointer.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, config.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((path, device))
}

/// Closes every descriptor but stdin, stdout and stderr: what a caller left open by accident (a directory, a lock, a pipe
/// of make) must neither stay open in a keeper nor get into a machine. Only at the start of an internal role.
pub fn close_inherited() {
    const CLOSE_RANGE: libc::c_long = libc::SYS_close_range;
    // SAFETY: called before anything of this process opened a descriptor, so that no owner of one is deceived.
    let closed =
        unsafe { libc::syscall(CLOSE_RANGE, 3 as libc::c_uint, libc::c_uint::MAX, 0 as libc::c_uint) };
    if closed != 0 {
        // before Linux 5.9
        for descriptor in 3..1024 {
            // SAFETY: as above.
            unsafe { libc::close(descriptor) };
        }
    }
}
