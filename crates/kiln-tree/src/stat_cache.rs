//! Digests of files that have not changed since they were last read.

use std::path::Path;

use kiln_sys::fs::{Device, FileTime, Metadata};

/// The BLAKE3 digest of what a regular file holds: its content, and the extended attributes that a
/// copy keeps. Not its name, mode, owner or times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileDigest(pub [u8; 32]);

/// What tells without reading that a file is still the same: writing to it, to its attributes or
/// over its name changes at least one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileStamp {
    /// The file system.
    pub dev: Device,
    /// The inode.
    pub ino: u64,
    /// Bytes of content.
    pub size: u64,
    /// Last change of content.
    pub mtime: FileTime,
    /// Last change of the inode.
    pub ctime: FileTime,
}

/// Remembers digests between builds. Called from several threads.
pub trait StatCache: Sync {
    /// The digest recorded for this very stamp. `path` is relative to the source's root.
    fn look_up(&self, path: &Path, stamp: &FileStamp) -> Option<FileDigest>;

    /// Keeps a digest.
    fn record(&self, path: &Path, stamp: &FileStamp, digest: &FileDigest);
}

/// Remembers nothing: for root file systems, whose files are read once.
#[derive(Debug, Clone, Copy)]
pub struct NoStatCache;

impl StatCache for NoStatCache {
    fn look_up(&self, _path: &Path, _stamp: &FileStamp) -> Option<FileDigest> {
        None
    }

    fn record(&self, _path: &Path, _stamp: &FileStamp, _digest: &FileDigest) {}
}

impl FileStamp {
    /// The stamp in a file's metadata.
    pub const fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev,
            ino: metadata.ino,
            size: metadata.size,
            mtime: metadata.mtime,
            ctime: metadata.ctime,
        }
    }

    /// Whether the stamp is safe to keep at `now`: a file that changed a moment ago may change
    /// again without a new time, because clocks of file systems tick slowly.
    pub(crate) fn has_settled(&self, now: FileTime) -> bool {
        // The kernel's clock for files ticks every 1 to 10 ms. A time without a fraction comes
        // from a file system that keeps seconds, or even pairs of them.
        let tick = match self.ctime.nanoseconds {
            0 => 2_000_000_000,
            _ => 100_000_000,
        };
        let nanoseconds = |time: FileTime| {
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
        };
        nanoseconds(self.ctime.max(self.mtime)) + tick < nanoseconds(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(changed: (i64, u32), now: (i64, u32), settled: bool) {
        let time = |(seconds, nanoseconds)| FileTime {
            seconds,
            nanoseconds,
        };
        let stamp = FileStamp {
            dev: Device::default(),
            ino: 1,
            size: 1,
            mtime: FileTime::EPOCH,
            ctime: time(changed),
        };
        assert_eq!(stamp.has_settled(time(now)), settled);
    }

    #[test]
    fn a_fresh_change_has_not_settled() {
        check((10, 500), (10, 500), false);
        check((10, 500), (10, 90_000_500), false);
        check((10, 500), (10, 200_000_000), true);
        check((10, 0), (11, 900_000_000), false);
        check((10, 0), (12, 1), true);
        check((99, 1), (10, 0), false);
    }
}
