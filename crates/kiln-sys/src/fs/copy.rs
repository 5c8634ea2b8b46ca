//! Copying what is in a file by the cheapest way the file systems offer.

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// One `copy_file_range` call copies at most this much, so that a cancelled copy ends soon.
const RANGE_BYTES: usize = 64 * 1024 * 1024;

/// Copies all that is left in `from` to the empty file `to`: as a reflink where the file system
/// can, inside the kernel where it can't, through a buffer otherwise. Returns the bytes copied.
pub fn copy_file_contents(from: &File, to: &File) -> io::Result<u64> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(from.metadata()?.len());
    }
    let mut total = 0;
    loop {
        match rustix::fs::copy_file_range(from, None, to, None, RANGE_BYTES) {
            Ok(0) => break,
            Ok(copied) => total += copied as u64,
            Err(Errno::INTR) => {}
            Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::NOSYS
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::BADF,
            ) if total == 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    // The kernel reports zero bytes for files that only make their content up when read.
    Ok(total + io::copy(&mut &*from, &mut &*to)?)
}
