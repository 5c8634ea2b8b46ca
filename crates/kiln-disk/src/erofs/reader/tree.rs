//! The whole file system as a tree.

use super::Reader;
use super::data::OpenFile;
use super::inode::RawInode;
use crate::read::fields::{at16, at64};
use crate::read::{Budget, Names};
use crate::tree::{Attributes, Inode, Node, NodeId, Tree};
use crate::{DiskSource, ReadError};

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// What was found so far.
struct Found {
    names: Names<u64>,
    budget: Budget,
    /// Directories to be read.
    pending: Vec<(RawInode, NodeId)>,
}

impl<D: DiskSource> Reader<D> {
    /// Everything that names lead to. The key of a file's content is its inode's number; see
    /// [`Reader::open_file`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn tree(&self) -> Result<Tree, ReadError> {
        let root = self.inode(self.geometry.root)?;
        if root.mode >> 12 != 4 {
            return Err(root.damaged("the root is no directory"));
        }
        let mut found = Found {
            names: Names::new(root.number, self.attributes(&root)?),
            budget: Budget::new(self.disk.size()),
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
        let mut names = Vec::new();
        let mut file = self.open_inode(inode)?;
        let mut block = vec![0; self.facts.block_size as usize];
        let mut at = 0;
        while at < inode.size {
            let length = self.fill(&mut file, &mut block, at)?;
            at += length as u64;
            let before = names.len();
            entries(&block[..length], inode, &mut names)?;
            // A block without a name is possible, and takes time.
            found.budget.records(1 + (names.len() - before) as u64)?;
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
        number: u64,
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
            0o10 => {
                let segments = self.segments(inode, &mut found.budget)?;
                Node::File(segments.file(inode.size, inode.number))
            }
            0o12 => Node::Symlink(self.target(inode)?),
            0o14 => Node::Socket,
            _ => return Err(inode.damaged("it is of no type")),
        })
    }

    fn target(&self, inode: &RawInode) -> Result<Box<[u8]>, ReadError> {
        if inode.size == 0 || inode.size >= 4096 {
            return Err(inode.damaged("its target has an impossible length"));
        }
        let mut target = vec![0; inode.size as usize];
        let mut file: OpenFile = self.open_inode(inode)?;
        if self.fill(&mut file, &mut target, 0)? < target.len() || target.contains(&0) {
            return Err(inode.damaged("its target is not as long as it says"));
        }
        Ok(target.into())
    }

    /// Reads until the buffer is full, or the file's end.
    fn fill(
        &self,
        file: &mut OpenFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let mut filled = 0;
        loop {
            match self.read_at(file, &mut buffer[filled..], offset + filled as u64)? {
                0 => return Ok(filled),
                length => filled += length,
            }
        }
    }
}

/// Adds the names of a block, but for `.` and `..`.
fn entries(
    block: &[u8],
    inode: &RawInode,
    names: &mut Vec<(Box<[u8]>, u64)>,
) -> Result<(), ReadError> {
    let wrong = || inode.damaged("the directory's entries overlap");
    if block.len() < ENTRY {
        return Err(wrong());
    }
    let first = usize::from(at16(block, 8));
    if first < ENTRY || !first.is_multiple_of(ENTRY) || first > block.len() {
        return Err(wrong());
    }
    let mut starts = block[..first].chunks(ENTRY).peekable();
    while let Some(entry) = starts.next() {
        let start = usize::from(at16(entry, 8));
        let name = match starts.peek() {
            Some(next) => block.get(start..usize::from(at16(next, 8))),
            // The last ends with the block, or before zeros.
            None => block.get(start..).map(|rest| {
                let end = rest.iter().position(|byte| *byte == 0);
                &rest[..end.unwrap_or(rest.len())]
            }),
        };
        let name = name.filter(|_| start >= first).ok_or_else(wrong)?;
        if !matches!(name, b"." | b"..") {
            names.push((name.into(), at64(entry, 0)));
        }
    }
    Ok(())
}
