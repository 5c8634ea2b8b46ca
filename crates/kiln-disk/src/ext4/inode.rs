//! Inodes as they are in the table.

use kiln_sys::fs::{Device, FileTime};

use super::checksum::{crc, inode_seed};
use super::format::{BLOCK, INODE_LEN, LINKS_MAX, high16, high32, low16, low32, put, put16, put32};
use super::xattr::INODE_AREA;
use crate::tree::Node;

/// Bytes of an inode after the first 128 that have a meaning.
const EXTRA: u16 = 32;
/// What times of 34 bits that begin in 1901 can be, without the last quarter: `e2fsck` takes that
/// for times before 1970 that an old kernel wrote wrongly.
const FIRST_SECOND: i64 = -(1 << 31);
const LAST_SECOND: i64 = (2 << 32) + (1 << 31) - 1;

/// An inode to be written.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u32,
    /// All that it has, with trees and attributes.
    pub(super) blocks: u64,
    pub(super) flags: u32,
    /// The extents, a short target, or a device.
    pub(super) content: [u8; 60],
    /// The block of attributes; 0 for none.
    pub(super) xattr_block: u64,
    pub(super) xattrs: Option<[u8; INODE_AREA]>,
    pub(super) mtime: FileTime,
    pub(super) created: i64,
}

impl Record {
    /// Nothing, last changed when the file system was made.
    pub(super) fn new(mode: u16, created: i64) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            links: 1,
            blocks: 0,
            flags: 0,
            content: [0; 60],
            xattr_block: 0,
            xattrs: None,
            mtime: FileTime::from_seconds(created),
            created,
        }
    }

    /// Writes it to its place in a table, which is all zeros.
    pub(super) fn encode(&self, number: u32, seed: u32, out: &mut [u8]) {
        let sectors = self.blocks * (BLOCK / 512);
        // A directory of more links than can be counted has one, which means "many".
        let is_directory = self.mode >> 12 == 4;
        let links = if is_directory && self.links > LINKS_MAX {
            1
        } else {
            self.links
        };
        put16(out, 0, self.mode);
        put16(out, 2, low16(self.uid));
        put32(out, 4, low32(self.size));
        put16(out, 24, low16(self.gid));
        put16(out, 26, low16(links));
        put32(out, 28, low32(sectors));
        put32(out, 32, self.flags);
        put(out, 40, &self.content);
        put32(out, 104, low32(self.xattr_block));
        put32(out, 108, high32(self.size));
        put16(out, 116, low16(high32(sectors)));
        put16(out, 118, low16(high32(self.xattr_block)));
        put16(out, 120, high16(self.uid));
        put16(out, 122, high16(self.gid));
        put16(out, 128, EXTRA);
        let (seconds, more) = time(self.mtime);
        for (at, more_at) in [(8, 140), (12, 132), (16, 136)] {
            put32(out, at, seconds);
            put32(out, more_at, more);
        }
        let (seconds, more) = time(FileTime::from_seconds(self.created));
        put32(out, 144, seconds);
        put32(out, 148, more);
        if let Some(xattrs) = &self.xattrs {
            put(out, INODE_LEN - INODE_AREA, xattrs);
        }
        let sum = crc(inode_seed(seed, number, 0), &out[..INODE_LEN]);
        put16(out, 124, low16(sum));
        put16(out, 130, high16(sum));
    }
}

/// The type's bits of the mode, and the type in directories.
pub(super) const fn type_of(node: &Node) -> (u16, u8) {
    match node {
        Node::Fifo => (0o010_000, 5),
        Node::CharDevice(_) => (0o020_000, 3),
        Node::Directory(_) => (0o040_000, 2),
        Node::BlockDevice(_) => (0o060_000, 4),
        Node::File(_) => (0o100_000, 1),
        Node::Symlink(_) => (0o120_000, 7),
        Node::Socket => (0o140_000, 6),
    }
}

/// A device in place of blocks: in the old form where it fits.
pub(super) fn device_content(device: Device) -> [u8; 60] {
    let Device { major, minor } = device;
    let mut content = [0; 60];
    if major < 256 && minor < 256 {
        put32(&mut content, 0, major << 8 | minor);
    } else {
        let encoded = (minor & 0xff) | major << 8 | (minor & !0xff) << 12;
        put32(&mut content, 4, encoded);
    }
    content
}

/// The seconds, and what 32 bits of them lack with the nanoseconds. Times that can't be stored
/// become the nearest that can, as in the kernel.
fn time(time: FileTime) -> (u32, u32) {
    let seconds = time.seconds.clamp(FIRST_SECOND, LAST_SECOND);
    let nanoseconds = if seconds == time.seconds {
        time.nanoseconds.min(999_999_999)
    } else {
        0
    };
    let low = low32(seconds.cast_unsigned());
    // What has to be added to the low bits, read as signed.
    let epochs = low32(((seconds - i64::from(low.cast_signed())) >> 32).cast_unsigned());
    (low, nanoseconds << 2 | (epochs & 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_1901_to_2310() {
        let of = |seconds, nanoseconds| {
            time(FileTime {
                seconds,
                nanoseconds,
            })
        };
        assert_eq!(of(0, 7), (0, 28));
        assert_eq!(of(-1, 0), (u32::MAX, 0));
        assert_eq!(of(1 << 31, 0), (1 << 31, 1));
        assert_eq!(of(LAST_SECOND, 1), ((1 << 31) - 1, 6));
        assert_eq!(of(i64::MAX, 5), ((1 << 31) - 1, 2));
        assert_eq!(of(i64::MIN, 5), (1 << 31, 0));
    }
}
