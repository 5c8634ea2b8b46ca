//! The contents of files.

use std::io::{self, Read};

use super::extents::{Extent, Extents};
use super::inode::RawInode;
use super::{DiskSource, ReadError, Reader};
use crate::ext4::format::index;

/// A file that was found: where its data is.
#[derive(Debug)]
pub struct OpenFile {
    size: u64,
    /// The extents with data, in the order of the file.
    extents: Vec<Extent>,
}

/// A file of a disk, open for reading from its first byte to its last. Holes read as zeros.
#[derive(Debug)]
pub struct FileContent<'a, D> {
    reader: &'a Reader<D>,
    file: OpenFile,
    at: u64,
}

impl<D: DiskSource> Reader<D> {
    /// Finds a file by the key that [`Reader::tree`] gave it: its inode's number.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open_file(&self, key: u64) -> Result<OpenFile, ReadError> {
        let number = u32::try_from(key).unwrap_or(0);
        let inode = self.inode(number)?;
        if inode.mode >> 12 != 0o10 {
            return Err(inode.damaged("it is no file"));
        }
        self.open_inode(&inode)
    }

    /// Opens a file for reading, by the same key.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn content(&self, key: u64) -> Result<FileContent<'_, D>, ReadError> {
        Ok(FileContent {
            reader: self,
            file: self.open_file(key)?,
            at: 0,
        })
    }

    /// Reads what is at `offset`, and returns how many bytes: 0 at the end, and fewer than there is
    /// room for only if data or a hole ends there. Holes are zeros.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read_at(&self, file: &OpenFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let block_size = u64::from(self.facts.block_size);
        let left = file.size.saturating_sub(offset).min(buffer.len() as u64);
        let end_of = |extent: &Extent| (extent.logical + extent.blocks) * block_size;
        let next = file.extents.partition_point(|it| end_of(it) <= offset);
        let length = match file.extents.get(next) {
            Some(next) if next.logical * block_size <= offset => {
                let length = left.min(end_of(next) - offset);
                let within = offset - next.logical * block_size;
                let place = next.block * block_size + within;
                let buffer = &mut buffer[..index(length)];
                self.disk.read_exact_at(buffer, place)?;
                length
            }
            next => {
                let until = next.map_or(u64::MAX, |next| next.logical * block_size);
                let length = left.min(until - offset);
                buffer[..index(length)].fill(0);
                length
            }
        };
        Ok(index(length))
    }

    fn open_inode(&self, inode: &RawInode) -> Result<OpenFile, ReadError> {
        let mut walk = Extents::new(self, inode)?;
        let mut extents = Vec::new();
        while let Some(extent) = walk.next()? {
            if !extent.is_unwritten {
                extents.push(extent);
            }
        }
        Ok(OpenFile {
            size: inode.size,
            extents,
        })
    }
}

impl OpenFile {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl<D> FileContent<'_, D> {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.file.size
    }
}

impl<D: DiskSource> Read for FileContent<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read_at(&self.file, buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}
