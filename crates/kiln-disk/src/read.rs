//! What the readers share: where disks are read from, why one can't be read, and bounds.
//!
//! Every reader takes a disk that nobody vouches for: a number is checked before it is used, nothing
//! is allocated that the disk is not large enough for, and whatever could be repeated is counted.
//!
//! Deliberately absent: anything that knows a format.

pub(crate) mod fields;
mod names;
mod source;

use std::ops::Range;

use kiln_sys::xattr::Xattr;

use crate::contents::Segment;
use crate::tree::{Attributes, Content, File};

pub(crate) use names::Names;
pub use source::DiskSource;

/// Why a disk can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("could not read the disk")]
    Disk(#[from] std::io::Error),
    /// It is something else.
    #[error("this is no {0} file system")]
    Format(&'static str),
    /// It is of no format that kiln knows.
    #[error("this is {0}, and no ext4, erofs, squashfs or cpio")]
    Unknown(&'static str),
    /// It has what this reader does not know.
    #[error("the file system has {0}, which kiln can't read")]
    Unsupported(String),
    /// It contradicts itself, or is cut off.
    #[error("{object} is damaged: {problem}")]
    Damaged {
        /// What is.
        object: String,
        /// How.
        problem: &'static str,
    },
}

/// An error for something of a disk that contradicts itself.
pub(crate) fn damaged(object: String, problem: &'static str) -> ReadError {
    ReadError::Damaged { object, problem }
}

/// All extended attributes of a disk take so many bytes at most: inodes share them, so there can be
/// more than the disk has.
const ATTRIBUTES_MAX: usize = 256 << 20;

/// So many names and holes any disk may have.
const RECORDS_MIN: u64 = 1 << 20;

/// How much a tree may still grow. Directories and lists of holes can be compressed, or be told of
/// several times, so the disk's size alone is no bound for them.
#[derive(Debug)]
pub(crate) struct Budget {
    records: u64,
    attributes: usize,
}

impl Budget {
    /// For a disk of this size: no useful disk has a name in each 4 bytes.
    pub(crate) fn new(disk_size: u64) -> Self {
        Self {
            records: RECORDS_MIN + disk_size / 4,
            attributes: ATTRIBUTES_MAX,
        }
    }

    /// Takes names, or holes.
    pub(crate) fn records(&mut self, count: u64) -> Result<(), ReadError> {
        let left = self.records.checked_sub(count);
        self.records = left.ok_or_else(|| {
            ReadError::Unsupported("more names than a disk of its size has".to_owned())
        })?;
        Ok(())
    }

    /// Takes the attributes of an inode.
    pub(crate) fn attributes(&mut self, attributes: &Attributes) -> Result<(), ReadError> {
        let sizes = attributes.xattrs.iter().map(|(name, value): &Xattr| {
            // Also what a small one takes in memory.
            64 + name.len() + value.len()
        });
        let left = self.attributes.checked_sub(sizes.sum());
        self.attributes = left.ok_or_else(|| {
            ReadError::Unsupported("more than 256 MiB of extended attributes".to_owned())
        })?;
        Ok(())
    }
}

/// The parts of a file that have data, while they are found in order.
#[derive(Debug, Default)]
pub(crate) struct Segments(Vec<Segment>);

impl Segments {
    /// Adds a range that begins where the last ended, or later.
    pub(crate) fn add(&mut self, range: &Range<u64>) {
        match self.0.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.offset + last.length == range.start => {
                last.length = range.end - last.offset;
            }
            _ => self.0.push(Segment {
                offset: range.start,
                length: range.end - range.start,
            }),
        }
    }

    /// A file of this size that has them, with its key.
    pub(crate) fn file(self, size: u64, key: u64) -> File {
        let is_whole = match &self.0[..] {
            [] => size == 0,
            [one] => one.offset == 0 && one.length == size,
            _ => false,
        };
        let content = if is_whole {
            Content::Stored(key)
        } else {
            Content::Sparse(key, self.0.into())
        };
        File { size, content }
    }
}

/// A disk, and where it ends.
#[derive(Debug)]
pub(crate) struct Disk<D> {
    source: D,
    size: u64,
}

impl<D: DiskSource> Disk<D> {
    pub(crate) fn new(source: D) -> Result<Self, ReadError> {
        let size = source.size()?;
        Ok(Self { source, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn source(&self) -> &D {
        &self.source
    }

    /// Reads so many bytes, for which nothing is allocated if the disk does not have them.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        let is_there = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.size);
        let length = usize::try_from(length).ok().filter(|_| is_there);
        let mut bytes = vec![0; length.ok_or_else(cut_off)?];
        self.source.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Fills a buffer.
    pub(crate) fn read_into(&self, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        Ok(self.source.read_exact_at(buffer, offset)?)
    }
}

fn cut_off() -> ReadError {
    let problem = std::io::Error::new(
        std::io::ErrorKind::UnexpectedEof,
        "it ends before what it says to have",
    );
    ReadError::Disk(problem)
}
