//! Changing a mode without following a symbolic link.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};

/// `fchmodat2` with `AT_SYMLINK_NOFOLLOW` (Linux 6.6), or the same through a handle.
pub(super) fn chmod_nofollow(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
    let path = CString::new(name.as_bytes())?;
    // SAFETY: the path is a NUL-terminated string that outlives the call, the descriptor is
    // borrowed and so open, and the call writes to no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            mode,
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Container runtimes that do not know the call answer EPERM instead of ENOSYS.
        Some(libc::ENOSYS | libc::EPERM) => through_handle(dir, name, mode),
        _ => Err(error),
    }
}

fn through_handle(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    // A symbolic link as the target of the magic link is refused with EOPNOTSUPP.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
}
