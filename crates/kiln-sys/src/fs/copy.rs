//! Copying what is in a file by the cheapest way the file systems offer.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use rustix::fs::SeekFrom;
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

/// The same, and where `from` has holes, `to` gets them, too: a copy takes no more space.
pub fn copy_file_with_holes(from: &File, to: &File) -> io::Result<()> {
    let metadata = from.metadata()?;
    // Files are measured in blocks of 512 bytes, whatever the file system's are.
    let is_whole = metadata.blocks().saturating_mul(512) >= metadata.len();
    if is_whole {
        return copy_file_contents(from, to).map(|_| ());
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    for data in data_ranges(from)? {
        rustix::fs::seek(from, SeekFrom::Start(data.start))?;
        rustix::fs::seek(to, SeekFrom::Start(data.start))?;
        let length = data.end - data.start;
        io::copy(&mut io::Read::take(&mut &*from, length), &mut &*to)?;
    }
    to.set_len(metadata.len())
}

/// Where a regular file has data, in order; what is between is holes. Moves the file's position.
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut end = 0;
    loop {
        let start = match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(start) => start,
            // No data from here to the end.
            Err(Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        };
        end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let mut from = tempfile::tempfile().unwrap();
        from.write_all(b"begin").unwrap();
        from.seek(io::SeekFrom::Start(64 << 20)).unwrap();
        from.write_all(b"middle").unwrap();
        from.set_len(128 << 20).unwrap();
        let mut to = tempfile::tempfile().unwrap();
        copy_file_with_holes(&from, &to).unwrap();
        let copy = to.metadata().unwrap();
        assert_eq!(copy.len(), 128 << 20);
        assert!(copy.blocks() <= from.metadata().unwrap().blocks().max(1024));
        let mut text = [0; 6];
        to.seek(io::SeekFrom::Start(64 << 20)).unwrap();
        to.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"middle");
        let ranges = data_ranges(&from).unwrap();
        assert!(ranges.iter().any(|range| range.contains(&(64 << 20))));
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}
