//! Which blocks an inode has, one extent after another.

use super::fields::{at16, at32};
use super::inode::RawInode;
use super::{DiskSource, ReadError, Reader, WRONG_SUM};
use crate::ext4::checksum::crc;
use crate::ext4::format::EXTENTS_FLAG;

/// Trees are no deeper.
const DEEPEST: u16 = 5;

/// Blocks of a file that follow each other on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The number of the first within the file.
    pub(super) logical: u64,
    pub(super) blocks: u64,
    /// The first on the disk.
    pub(super) block: u64,
    /// Whether they are reserved only, and so read as zeros.
    pub(super) is_unwritten: bool,
}

/// A walk through a tree of extents. It ends: what an extent is about is always after what the one
/// before was, so no node is visited twice.
#[derive(Debug)]
pub(super) struct Extents<'a, D> {
    reader: &'a Reader<D>,
    inode: &'a RawInode,
    /// Nodes on the way to the extent at hand, each with its next record.
    levels: Vec<(Node, u16)>,
    /// The end of the last extent, in blocks of the file.
    end: u64,
}

#[derive(Debug)]
struct Node {
    bytes: Vec<u8>,
    records: u16,
    depth: u16,
}

impl<'a, D: DiskSource> Extents<'a, D> {
    pub(super) fn new(reader: &'a Reader<D>, inode: &'a RawInode) -> Result<Self, ReadError> {
        if inode.flags & EXTENTS_FLAG == 0 {
            return Err(ReadError::Unsupported("files without extents".to_owned()));
        }
        let root = Node::parse(inode.content.to_vec(), inode)?;
        if root.depth > DEEPEST {
            return Err(inode.damaged("its tree of extents is too deep"));
        }
        Ok(Self {
            reader,
            inode,
            levels: vec![(root, 0)],
            end: 0,
        })
    }

    /// The next extent; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Extent>, ReadError> {
        while let Some((node, next)) = self.levels.last_mut() {
            if *next == node.records {
                self.levels.pop();
                continue;
            }
            let record = 12 * (1 + usize::from(*next));
            *next += 1;
            if node.depth == 0 {
                let extent = extent(&node.bytes[record..record + 12]);
                return self.check(extent).map(Some);
            }
            let (bytes, depth) = (&node.bytes[record..record + 12], node.depth);
            let block = u64::from(at32(bytes, 4)) | u64::from(at16(bytes, 8)) << 32;
            if u64::from(at32(bytes, 0)) < self.end {
                return Err(self.inode.damaged("its extents are not in order"));
            }
            let child = Node::parse(self.reader.block(block)?, self.inode)?;
            child.check(self.inode)?;
            if child.depth + 1 != depth || child.records == 0 {
                return Err(self.inode.damaged("its tree of extents is not even"));
            }
            self.levels.push((child, 0));
        }
        Ok(None)
    }

    fn check(&mut self, extent: Extent) -> Result<Extent, ReadError> {
        if extent.logical < self.end || extent.blocks == 0 {
            return Err(self.inode.damaged("its extents are not in order"));
        }
        let end = extent.block + extent.blocks;
        if extent.block == 0 || end > self.reader.facts.blocks {
            return Err(self
                .inode
                .damaged("it has blocks outside of the file system"));
        }
        self.end = extent.logical + extent.blocks;
        Ok(extent)
    }
}

impl Node {
    fn parse(bytes: Vec<u8>, inode: &RawInode) -> Result<Self, ReadError> {
        let (records, room) = (at16(&bytes, 2), at16(&bytes, 4));
        let fits = 12 * (1 + usize::from(room)) <= bytes.len();
        if at16(&bytes, 0) != 0xf30a || records > room || !fits {
            return Err(inode.damaged("its tree of extents is none"));
        }
        Ok(Self {
            records,
            depth: at16(&bytes, 6),
            bytes,
        })
    }

    /// Compares the sum of a node that is a block.
    fn check(&self, inode: &RawInode) -> Result<(), ReadError> {
        let Some(seed) = inode.seed else {
            return Ok(());
        };
        let end = 12 * (1 + usize::from(at16(&self.bytes, 4)));
        let stored = self.bytes.get(end..end + 4).map(|sum| at32(sum, 0));
        if stored != Some(crc(seed, &self.bytes[..end])) {
            return Err(inode.damaged(WRONG_SUM));
        }
        Ok(())
    }
}

fn extent(record: &[u8]) -> Extent {
    let length = at16(record, 4);
    let is_unwritten = length > 32_768;
    let blocks = if is_unwritten {
        length - 32_768
    } else {
        length
    };
    Extent {
        logical: at32(record, 0).into(),
        blocks: blocks.into(),
        block: u64::from(at32(record, 8)) | u64::from(at16(record, 6)) << 32,
        is_unwritten,
    }
}
