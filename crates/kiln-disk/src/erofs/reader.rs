//! Reading an erofs that nobody vouches for.
//!
//! Read are plain, chunk-based and LZ4-compressed files, with either kind of index and inode, and
//! attributes of one inode and of several: what this module's writer and `mkfs.erofs` make unless
//! told otherwise. Directories are charged against the disk's size, and clusters are no larger than
//! the kernel takes them, so neither memory nor time depends on what the disk says.
//!
//! Deliberately absent: other compressors, ends of files packed with others or beside inodes
//! (`-Eztailpacking`, `-Efragments`, `-Ededupe`), several devices, long prefixes of attributes'
//! names, and disks of more than 16 TiB.

mod data;
mod facts;
mod inode;
mod packed;
mod tree;
mod xattr;

pub use data::OpenFile;
pub use facts::Facts;

use std::sync::Mutex;

use crate::ext4::Checksums;
use crate::read::Disk;
use crate::{DiskSource, ReadError};

use facts::Geometry;

/// An open disk.
#[derive(Debug)]
pub struct Reader<D> {
    disk: Disk<D>,
    facts: Facts,
    geometry: Geometry,
    /// The block of metadata that was read last, with its number: inodes are side by side.
    recent: Mutex<Option<(u64, Vec<u8>)>>,
}

impl<D: DiskSource> Reader<D> {
    /// Opens a disk.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(disk: D, checksums: Checksums) -> Result<Self, ReadError> {
        let disk = Disk::new(disk)?;
        let (facts, geometry) = facts::read(&disk, checksums)?;
        Ok(Self {
            disk,
            facts,
            geometry,
            recent: Mutex::default(),
        })
    }

    pub(crate) fn disk(&self) -> &D {
        self.disk.source()
    }

    /// What the file system says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Reads metadata, which is small.
    fn metadata(&self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let size = u64::from(self.facts.block_size);
        let (number, within) = (offset / size, offset % size);
        if within + length > size || (number + 1) * size > self.disk.size() {
            return self.disk.read(offset, length);
        }
        let mut recent = self.recent.lock().expect("nothing panics with it");
        let block = match recent.take() {
            Some((known, block)) if known == number => block,
            _ => self.disk.read(number * size, size)?,
        };
        let bytes = block[within as usize..(within + length) as usize].to_vec();
        *recent = Some((number, block));
        Ok(bytes)
    }
}
