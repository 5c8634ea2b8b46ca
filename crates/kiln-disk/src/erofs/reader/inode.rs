//! Inodes.

use kiln_sys::fs::{Device, FileTime};

use super::Reader;
use crate::erofs::inode::{CHUNKED, COMPACT, COMPRESSED, EXTENDED, FLAT_INLINE, FLAT_PLAIN};
use crate::erofs::place::SLOT;
use crate::read::damaged;
use crate::read::fields::{at16, at32, at64};
use crate::{DiskSource, ReadError};

/// The other kind of index.
const COMPRESSED_FULL: u16 = 1;

/// How an inode's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks.
    Plain,
    /// In blocks, but for the last, which follows the inode.
    Inline,
    /// In chunks.
    Chunked,
    /// In clusters, with an index of this kind.
    Packed(Index),
}

/// An index of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Index {
    /// 8 bytes for each block.
    Full,
    /// 2 or 4 bytes for each block.
    Compact,
}

/// An inode as it was read.
#[derive(Debug, Clone)]
pub(super) struct RawInode {
    pub(super) number: u64,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: FileTime,
    pub(super) layout: Layout,
    /// A block, a chunk format, a device.
    pub(super) where_: u32,
    /// Where its attributes are on the disk, and how many bytes they take.
    pub(super) xattrs: (u64, u64),
}

impl<D: DiskSource> Reader<D> {
    pub(super) fn inode(&self, number: u64) -> Result<RawInode, ReadError> {
        let wrong = |problem| damaged(format!("inode {number}"), problem);
        let place = number.checked_mul(SLOT);
        let place = place.and_then(|place| place.checked_add(self.geometry.inodes));
        let place = place.filter(|place| *place < self.disk.size());
        let place = place.ok_or_else(|| wrong("it is outside of the file system"))?;
        let head = self.metadata(place, COMPACT)?;
        let format = at16(&head, 0);
        let layout = match format >> 1 & 7 {
            FLAT_PLAIN => Layout::Plain,
            FLAT_INLINE => Layout::Inline,
            CHUNKED => Layout::Chunked,
            COMPRESSED_FULL => Layout::Packed(Index::Full),
            COMPRESSED => Layout::Packed(Index::Compact),
            _ => return Err(wrong("its data is stored in an unknown way")),
        };
        if format >> 4 != 0 {
            return Err(wrong("its format is unknown"));
        }
        let is_extended = format & 1 != 0;
        let form = if is_extended { EXTENDED } else { COMPACT };
        let raw = self.metadata(place, form)?;
        let units = u64::from(at16(&raw, 2));
        let bytes = if units == 0 { 0 } else { 12 + 4 * (units - 1) };
        let mode = at16(&raw, 4);
        let xattrs = (place + form, bytes);
        if is_extended {
            return Ok(RawInode {
                number,
                mode,
                uid: at32(&raw, 24),
                gid: at32(&raw, 28),
                size: at64(&raw, 8),
                mtime: FileTime {
                    seconds: at64(&raw, 32).cast_signed(),
                    nanoseconds: at32(&raw, 40).min(999_999_999),
                },
                layout,
                where_: at32(&raw, 16),
                xattrs,
            });
        }
        Ok(RawInode {
            number,
            mode,
            uid: at16(&raw, 24).into(),
            gid: at16(&raw, 26).into(),
            size: at32(&raw, 8).into(),
            mtime: FileTime {
                seconds: self.facts.created,
                nanoseconds: self.geometry.nanoseconds,
            },
            layout,
            where_: at32(&raw, 16),
            xattrs,
        })
    }
}

impl RawInode {
    pub(super) fn damaged(&self, problem: &'static str) -> ReadError {
        damaged(format!("inode {}", self.number), problem)
    }

    /// Where it ends on the disk, with its attributes.
    pub(super) fn end(&self) -> u64 {
        self.xattrs.0 + self.xattrs.1
    }

    pub(super) fn device(&self) -> Device {
        let number = self.where_;
        Device {
            major: number >> 8 & 0xfff,
            minor: number & 0xff | number >> 12 & 0xf_ff00,
        }
    }
}
