//! Inodes.

use kiln_sys::fs::{Device, FileTime};

use super::fields::{array, at16, at32};
use super::{DiskSource, ReadError, Reader, WRONG_SUM, damaged};
use crate::ext4::checksum::{crc, inode_seed};
use crate::ext4::format::index;

/// An inode as it was read.
#[derive(Debug, Clone)]
pub(super) struct RawInode {
    pub(super) number: u32,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) flags: u32,
    pub(super) mtime: FileTime,
    /// Extents, a short target, or a device.
    pub(super) content: [u8; 60],
    /// The block of attributes; 0 for none.
    pub(super) xattr_block: u64,
    /// What is after the inode's fields.
    pub(super) rest: Vec<u8>,
    /// What the sums of its blocks begin with, if they are compared.
    pub(super) seed: Option<u32>,
}

impl<D: DiskSource> Reader<D> {
    pub(super) fn inode(&self, number: u32) -> Result<RawInode, ReadError> {
        let wrong = |problem| damaged(format!("inode {number}"), problem);
        if number == 0 || number > self.facts.inodes {
            return Err(wrong("there is no such inode"));
        }
        let per_group = self.geometry.inodes_per_group;
        let (group, within) = ((number - 1) / per_group, (number - 1) % per_group);
        let size = u64::from(self.geometry.inode_size);
        let mut raw = self.raw_inode(group, u64::from(within) * size)?;
        let extra = match raw.get(128..130) {
            Some(extra) => 128 + usize::from(at16(extra, 0)),
            None => 128,
        };
        if extra > raw.len() || !extra.is_multiple_of(4) {
            return Err(wrong("its size is impossible"));
        }
        let seed = self
            .geometry
            .seed
            .map(|seed| inode_seed(seed, number, at32(&raw, 100)));
        if seed.is_some_and(|seed| !is_intact(&raw, extra, seed)) {
            return Err(wrong(WRONG_SUM));
        }
        let field = |at: usize| if at + 4 <= extra { at32(&raw, at) } else { 0 };
        let half = |low: usize, high: usize| {
            u32::from(at16(&raw, low)) | u32::from(at16(&raw, high)) << 16
        };
        Ok(RawInode {
            number,
            mode: at16(&raw, 0),
            uid: half(2, 120),
            gid: half(24, 122),
            size: u64::from(at32(&raw, 4)) | u64::from(at32(&raw, 108)) << 32,
            flags: at32(&raw, 32),
            mtime: time(at32(&raw, 16), field(136)),
            content: array(&raw, 40),
            xattr_block: u64::from(at32(&raw, 104)) | u64::from(at16(&raw, 118)) << 32,
            rest: raw.split_off(extra),
            seed,
        })
    }

    /// The bytes of the inode at this place in a group's table.
    fn raw_inode(&self, group: u32, place: u64) -> Result<Vec<u8>, ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let mut recent = self.recent.lock().expect("nothing panics with it");
        let table = match recent.table {
            Some((known, table)) if known == group => table,
            _ => self.inode_table(group)?,
        };
        recent.table = Some((group, table));
        let number = table.saturating_add(place / block_size);
        let block = match recent.block.take() {
            Some((known, block)) if known == number => block,
            _ => self.block(number)?,
        };
        let start = index(place % block_size);
        let raw = block[start..start + usize::from(self.geometry.inode_size)].to_vec();
        recent.block = Some((number, block));
        Ok(raw)
    }
}

impl RawInode {
    pub(super) fn damaged(&self, problem: &'static str) -> ReadError {
        damaged(format!("inode {}", self.number), problem)
    }

    /// The device that it is.
    pub(super) fn device(&self) -> Device {
        let (old, new) = (at32(&self.content, 0), at32(&self.content, 4));
        if old != 0 {
            return Device {
                major: old >> 8 & 0xff,
                minor: old & 0xff,
            };
        }
        Device {
            major: new >> 8 & 0xfff,
            minor: new & 0xff | new >> 12 & 0xf_ff00,
        }
    }
}

fn is_intact(raw: &[u8], extra: usize, seed: u32) -> bool {
    let has_high = extra >= 132;
    let mut cleared = raw.to_vec();
    cleared[124..126].fill(0);
    let mut stored = u32::from(at16(raw, 124));
    if has_high {
        cleared[130..132].fill(0);
        stored |= u32::from(at16(raw, 130)) << 16;
    }
    let sum = crc(seed, &cleared);
    stored == if has_high { sum } else { sum & 0xffff }
}

fn time(seconds: u32, more: u32) -> FileTime {
    FileTime {
        seconds: i64::from(seconds.cast_signed()) + (i64::from(more & 3) << 32),
        nanoseconds: (more >> 2).min(999_999_999),
    }
}
