//! Inodes.

use kiln_sys::fs::Device;

use super::Reader;
use super::metadata::Cursor;
use super::tables::NO_ENTRY;
use crate::read::damaged;
use crate::read::fields::{at16, at32, at64};
use crate::{DiskSource, ReadError};

/// An inode as it was read.
#[derive(Debug, Clone)]
pub(super) struct RawInode {
    /// Where it is.
    pub(super) reference: u64,
    pub(super) mode: u16,
    pub(super) owner: u16,
    pub(super) group: u16,
    pub(super) mtime: u32,
    pub(super) kind: Kind,
    /// The number of a list of attributes.
    pub(super) xattrs: u32,
}

/// What an inode is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Directory {
        /// Bytes of the listing, and where it is.
        size: u64,
        listing: u64,
    },
    File(RawFile),
    Symlink(Box<[u8]>),
    BlockDevice(Device),
    CharDevice(Device),
    Fifo,
    Socket,
}

/// A file, and where the sizes of its blocks are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawFile {
    pub(super) size: u64,
    pub(super) start: u64,
    /// Its last bytes: the number of a fragment, and where in it they are.
    pub(super) fragment: (u32, u32),
    pub(super) sizes: Cursor,
}

impl<D: DiskSource> Reader<D> {
    pub(super) fn inode(&self, reference: u64) -> Result<RawInode, ReadError> {
        let mut cursor = Cursor::new(self.geometry.inode_table, reference);
        let head = self.take(&mut cursor, 16)?;
        let number = at16(&head, 0);
        let is_long = number > 7;
        let mut more = |length: usize| self.take(&mut cursor, length);
        let mut xattrs = NO_ENTRY;
        let kind = match if is_long { number - 7 } else { number } {
            1 if is_long => {
                let raw = more(24)?;
                xattrs = at32(&raw, 20);
                let listing = u64::from(at32(&raw, 8)) << 16 | u64::from(at16(&raw, 18));
                let size = at32(&raw, 4).into();
                Kind::Directory { size, listing }
            }
            1 => {
                let raw = more(16)?;
                let listing = u64::from(at32(&raw, 0)) << 16 | u64::from(at16(&raw, 10));
                let size = at16(&raw, 8).into();
                Kind::Directory { size, listing }
            }
            2 => {
                let raw = more(if is_long { 40 } else { 16 })?;
                let (start, size, at) = if is_long {
                    xattrs = at32(&raw, 36);
                    (at64(&raw, 0), at64(&raw, 8), 28)
                } else {
                    (at32(&raw, 0).into(), at32(&raw, 12).into(), 4)
                };
                Kind::File(RawFile {
                    size,
                    start,
                    fragment: (at32(&raw, at), at32(&raw, at + 4)),
                    sizes: cursor,
                })
            }
            3 => {
                let length = at32(&more(8)?, 4) as usize;
                let problem = "its target has an impossible length";
                if length == 0 || length >= 4096 {
                    return Err(wrong(reference, problem));
                }
                let target = more(length)?;
                if target.contains(&0) {
                    return Err(wrong(reference, problem));
                }
                if is_long {
                    xattrs = at32(&more(4)?, 0);
                }
                Kind::Symlink(target.into())
            }
            kind @ (4 | 5) => {
                let raw = more(if is_long { 12 } else { 8 })?;
                if is_long {
                    xattrs = at32(&raw, 8);
                }
                let device = device(at32(&raw, 4));
                if kind == 4 {
                    Kind::BlockDevice(device)
                } else {
                    Kind::CharDevice(device)
                }
            }
            kind @ (6 | 7) => {
                let raw = more(if is_long { 8 } else { 4 })?;
                if is_long {
                    xattrs = at32(&raw, 4);
                }
                if kind == 6 { Kind::Fifo } else { Kind::Socket }
            }
            _ => return Err(wrong(reference, "it is of no type")),
        };
        Ok(RawInode {
            reference,
            mode: at16(&head, 2),
            owner: at16(&head, 4),
            group: at16(&head, 6),
            mtime: at32(&head, 8),
            kind,
            xattrs,
        })
    }
}

pub(super) fn wrong(reference: u64, problem: &'static str) -> ReadError {
    damaged(format!("the inode at {reference:#x}"), problem)
}

fn device(number: u32) -> Device {
    Device {
        major: number >> 8 & 0xfff,
        minor: number & 0xff | number >> 12 & 0xf_ff00,
    }
}
