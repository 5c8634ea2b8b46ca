//! The content of a file, from its first byte to its last.

use std::io::{self, Read};

use super::extents::{Extent, Extents};
use super::inode::RawInode;
use super::{DiskSource, ReadError, Reader};
use crate::ext4::format::index;

/// A file of a disk, open for reading. Holes read as zeros.
#[derive(Debug)]
pub struct FileContent<'a, D> {
    reader: &'a Reader<D>,
    inode: RawInode,
    /// The extents with data of the file, those that are next last.
    extents: Vec<Extent>,
    at: u64,
}

impl<D: DiskSource> Reader<D> {
    /// Opens a file by the key that [`Reader::tree`] gave it: its inode's number.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn content(&self, key: u64) -> Result<FileContent<'_, D>, ReadError> {
        let number = u32::try_from(key).unwrap_or(0);
        let inode = self.inode(number)?;
        if inode.mode >> 12 != 0o10 {
            return Err(inode.damaged("it is no file"));
        }
        self.open_inode(inode)
    }

    /// Opens anything that has extents.
    pub(super) fn open_inode(&self, inode: RawInode) -> Result<FileContent<'_, D>, ReadError> {
        let mut walk = Extents::new(self, &inode)?;
        let mut extents = Vec::new();
        while let Some(extent) = walk.next()? {
            if !extent.is_unwritten {
                extents.push(extent);
            }
        }
        extents.reverse();
        Ok(FileContent {
            reader: self,
            inode,
            extents,
            at: 0,
        })
    }
}

impl<D> FileContent<'_, D> {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.inode.size
    }
}

impl<D: DiskSource> Read for FileContent<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block_size = u64::from(self.reader.facts.block_size);
        let left = (self.inode.size - self.at).min(buffer.len() as u64);
        let end_of = |extent: &Extent| (extent.logical + extent.blocks) * block_size;
        while self
            .extents
            .last()
            .is_some_and(|next| end_of(next) <= self.at)
        {
            self.extents.pop();
        }
        let length = match self.extents.last() {
            Some(next) if next.logical * block_size <= self.at => {
                let length = left.min(end_of(next) - self.at);
                let within = self.at - next.logical * block_size;
                let offset = next.block * block_size + within;
                let buffer = &mut buffer[..index(length)];
                self.reader.disk.read_exact_at(buffer, offset)?;
                length
            }
            next => {
                let until = next.map_or(u64::MAX, |next| next.logical * block_size);
                let length = left.min(until - self.at);
                buffer[..index(length)].fill(0);
                length
            }
        };
        self.at += length;
        Ok(index(length))
    }
}
