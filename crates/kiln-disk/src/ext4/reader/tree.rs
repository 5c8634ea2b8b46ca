//! The whole file system as a tree.

use super::extents::Extents;
use super::fields::{at16, at32};
use super::inode::RawInode;
use super::{DiskSource, ReadError, Reader, WRONG_SUM};
use crate::ext4::checksum::crc;
use crate::ext4::format::{EXTENTS_FLAG, INDEX_FLAG, ROOT_INO};
use crate::read::{Budget, Names, Segments};
use crate::tree::{Attributes, File, Inode, Node, NodeId, Tree};

/// A directory's checksum looks like an entry of this length and type.
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// What was found so far.
struct Found {
    names: Names<u32>,
    /// Blocks that no inode has said to have. A disk on which two have the same could be made to
    /// look larger than anything.
    blocks_left: u64,
    budget: Budget,
    /// Directories to be read.
    pending: Vec<(RawInode, NodeId)>,
}

impl<D: DiskSource> Reader<D> {
    /// Everything that names lead to. The key of a file's content is its inode's number; see
    /// [`Reader::content`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn tree(&self) -> Result<Tree, ReadError> {
        let root = self.inode(ROOT_INO)?;
        if root.mode >> 12 != 4 {
            return Err(root.damaged("the root is no directory"));
        }
        let mut found = Found {
            names: Names::new(ROOT_INO, self.attributes(&root)?),
            blocks_left: self.facts.blocks,
            budget: Budget::new(self.disk.size()?),
            pending: vec![(root, Tree::ROOT)],
        };
        while let Some((directory, id)) = found.pending.pop() {
            self.directory(&directory, id, &mut found)?;
        }
        Ok(found.names.into_tree())
    }

    fn attributes(&self, inode: &RawInode) -> Result<Attributes, ReadError> {
        Ok(Attributes {
            mode: u32::from(inode.mode) & 0o7777,
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime,
            xattrs: self.xattrs(inode)?,
        })
    }

    fn directory(&self, inode: &RawInode, id: NodeId, found: &mut Found) -> Result<(), ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let blocks = inode.size / block_size;
        let mut names = Vec::new();
        let mut extents = Extents::new(self, inode)?;
        while let Some(extent) = extents.next()? {
            found.claim(extent.blocks, inode)?;
            if extent.is_unwritten || extent.logical + extent.blocks > blocks {
                return Err(inode.damaged("the directory has blocks without entries"));
            }
            for number in 0..extent.blocks {
                let mut block = self.block(extent.block + number)?;
                check_block(&block, extent.logical + number, inode)?;
                if inode.seed.is_some() || is_tail(&block) {
                    block.truncate(block.len() - TAIL);
                }
                entries(&block, inode, &mut names)?;
            }
        }
        // The tree takes them fastest in order.
        names.sort_unstable();
        for (name, number) in names {
            self.name(&name, number, id, found)?;
        }
        Ok(())
    }

    fn name(
        &self,
        name: &[u8],
        number: u32,
        parent: NodeId,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        if found.names.link(parent, name, number)? {
            return Ok(());
        }
        let inode = self.inode(number)?;
        let node = self.node(&inode, found)?;
        let is_directory = matches!(node, Node::Directory(_));
        let attributes = self.attributes(&inode)?;
        found.budget.attributes(&attributes)?;
        let new = Inode { attributes, node };
        let id = found.names.add((parent, name), number, new)?;
        if is_directory {
            found.pending.push((inode, id));
        }
        Ok(())
    }

    fn node(&self, inode: &RawInode, found: &mut Found) -> Result<Node, ReadError> {
        Ok(match inode.mode >> 12 {
            0o01 => Node::Fifo,
            0o02 => Node::CharDevice(inode.device()),
            0o04 => Node::Directory(Vec::new()),
            0o06 => Node::BlockDevice(inode.device()),
            0o10 => Node::File(self.file(inode, found)?),
            0o12 => Node::Symlink(self.target(inode)?),
            0o14 => Node::Socket,
            _ => return Err(inode.damaged("it is of no type")),
        })
    }

    fn target(&self, inode: &RawInode) -> Result<Box<[u8]>, ReadError> {
        let length = usize::try_from(inode.size).unwrap_or(usize::MAX);
        if length == 0 || length >= 4096 {
            return Err(inode.damaged("its target has an impossible length"));
        }
        let target: Option<Box<[u8]>> = if inode.flags & EXTENTS_FLAG == 0 {
            inode.content.get(..length).map(Box::from)
        } else {
            match Extents::new(self, inode)?.next()? {
                Some(extent) if extent.logical == 0 => {
                    self.block(extent.block)?.get(..length).map(Box::from)
                }
                _ => None,
            }
        };
        let target = target.filter(|target| !target.contains(&0));
        target.ok_or_else(|| inode.damaged("its target is not as long as it says"))
    }

    fn file(&self, inode: &RawInode, found: &mut Found) -> Result<File, ReadError> {
        let (size, key) = (inode.size, u64::from(inode.number));
        let block_size = u64::from(self.facts.block_size);
        if size.div_ceil(block_size) > 1 << 32 {
            return Err(inode.damaged("the file is larger than files can be"));
        }
        let mut segments = Segments::default();
        let mut extents = Extents::new(self, inode)?;
        while let Some(extent) = extents.next()? {
            found.claim(extent.blocks, inode)?;
            let offset = extent.logical * block_size;
            let end = size.min(offset + extent.blocks * block_size);
            if extent.is_unwritten || offset >= end {
                continue;
            }
            segments.add(&(offset..end));
        }
        Ok(segments.file(size, key))
    }
}

impl Found {
    fn claim(&mut self, blocks: u64, inode: &RawInode) -> Result<(), ReadError> {
        let left = self.blocks_left.checked_sub(blocks);
        self.blocks_left = left.ok_or_else(|| inode.damaged("its blocks are another's, too"))?;
        Ok(())
    }
}

/// Compares the sum of a block of a directory.
fn check_block(block: &[u8], number: u64, inode: &RawInode) -> Result<(), ReadError> {
    let Some(seed) = inode.seed else {
        return Ok(());
    };
    let end = block.len() - TAIL;
    let (sum, stored) = if is_tail(block) {
        (crc(seed, &block[..end]), at32(block, end + 8))
    } else {
        let at = if number == 0 { 32 } else { 8 };
        let (room, count) = (
            usize::from(at16(block, at)),
            usize::from(at16(block, at + 2)),
        );
        let tail = at + 8 * room;
        if inode.flags & INDEX_FLAG == 0 || count > room || tail + 8 > block.len() {
            return Err(inode.damaged("a block of the directory has no checksum"));
        }
        let sum = crc(seed, &block[..at + 8 * count]);
        let sum = crc(crc(sum, &block[tail..tail + 4]), &[0; 4]);
        (sum, at32(block, tail + 4))
    };
    if sum == stored {
        Ok(())
    } else {
        Err(inode.damaged(WRONG_SUM))
    }
}

fn is_tail(block: &[u8]) -> bool {
    let tail = &block[block.len() - TAIL..];
    at32(tail, 0) == 0 && at16(tail, 4) == 12 && tail[6] == 0 && tail[7] == TAIL_TYPE
}

/// Adds the names of a block, but for `.` and `..`.
fn entries(
    block: &[u8],
    inode: &RawInode,
    names: &mut Vec<(Box<[u8]>, u32)>,
) -> Result<(), ReadError> {
    let mut rest = block;
    while rest.len() >= 8 {
        let length = match at16(rest, 4) {
            // Blocks of 64 KiB.
            0 | u16::MAX => 1 << 16,
            length => usize::from(length),
        };
        let name = rest.get(8..8 + usize::from(rest[6]));
        let (number, name) = match name {
            Some(name) if length >= 8 + name.len() && length % 4 == 0 => (at32(rest, 0), name),
            _ => return Err(inode.damaged("the directory's entries overlap")),
        };
        if number != 0 && !matches!(name, b"." | b"..") {
            names.push((name.into(), number));
        }
        // An index is hidden in an entry as long as the block, with its checksum.
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}
