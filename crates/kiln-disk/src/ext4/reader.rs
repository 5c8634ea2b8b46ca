//! Reading an ext4 that nobody vouches for.
//!
//! Every number is checked before it is used, sums are compared, nothing is allocated that the
//! disk is not large enough for, and blocks that two files claim, and directories within
//! themselves, are found: what a hostile disk gets is an error.
//!
//! Deliberately absent: repairing, journals that have something to be repeated (mount it once),
//! and what only old or unusual disks have: files without extents, contents within inodes.

mod content;
mod extents;
mod facts;
mod inode;
mod tree;
mod xattr;

pub use content::{FileContent, OpenFile};
pub use facts::Facts;

use std::sync::Mutex;

use facts::Geometry;
use fields::{at16, at32};

use super::checksum::crc;
use super::format::index;
pub use crate::read::{DiskSource, ReadError};
use crate::read::{damaged, fields};

/// Whether sums are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksums {
    /// One that is wrong is an error.
    Verified,
    /// They are ignored, to see what can be read of a damaged disk.
    Ignored,
}

/// An open disk.
#[derive(Debug)]
pub struct Reader<D> {
    disk: D,
    facts: Facts,
    geometry: Geometry,
    recent: Mutex<Recent>,
}

/// What was read last of the inodes: those of one directory are side by side.
#[derive(Debug, Default)]
struct Recent {
    /// A group, and the first block of its inodes.
    table: Option<(u32, u64)>,
    /// A block of inodes.
    block: Option<(u64, Vec<u8>)>,
}

impl<D: DiskSource> Reader<D> {
    /// Opens a disk.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(disk: D, checksums: Checksums) -> Result<Self, ReadError> {
        let mut super_block = [0; 1024];
        disk.read_exact_at(&mut super_block, 1024)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => ReadError::Format("ext4"),
                _ => ReadError::Disk(error),
            })?;
        let (facts, geometry) = facts::parse(&super_block, disk.size()?, checksums)?;
        Ok(Self {
            disk,
            facts,
            geometry,
            recent: Mutex::default(),
        })
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// What the file system says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads a block of the disk.
    fn block(&self, block: u64) -> Result<Vec<u8>, ReadError> {
        if block == 0 || block >= self.facts.blocks {
            return Err(damaged(
                format!("block {block}"),
                "it is outside of the file system",
            ));
        }
        let size = u64::from(self.facts.block_size);
        let mut bytes = vec![0; index(size)];
        self.disk.read_exact_at(&mut bytes, block * size)?;
        Ok(bytes)
    }

    /// The first block of a group's inodes.
    fn inode_table(&self, group: u32) -> Result<u64, ReadError> {
        let geometry = &self.geometry;
        let length = index(geometry.descriptor_size.into());
        let at = geometry.descriptor(group, self.facts.block_size);
        let mut descriptor = vec![0; length];
        self.disk.read_exact_at(&mut descriptor, at)?;
        if let Some(seed) = geometry.seed {
            let mut cleared = descriptor.clone();
            cleared[30..32].fill(0);
            let sum = crc(crc(seed, &group.to_le_bytes()), &cleared);
            if u32::from(at16(&descriptor, 30)) != sum & 0xffff {
                return Err(damaged(format!("group {group}"), WRONG_SUM));
            }
        }
        let low = u64::from(at32(&descriptor, 8));
        let is_wide = length >= 64;
        let high = if is_wide { at32(&descriptor, 40) } else { 0 };
        Ok(low | u64::from(high) << 32)
    }
}

const WRONG_SUM: &str = "its checksum is wrong";
