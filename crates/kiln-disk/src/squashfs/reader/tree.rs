//! The whole file system as a tree.

use kiln_sys::fs::FileTime;

use super::Reader;
use super::inode::{Kind, RawInode, wrong};
use super::metadata::Cursor;
use crate::read::fields::{at16, at32};
use crate::read::{Budget, Names, damaged};
use crate::tree::{Attributes, Inode, Node, NodeId, Tree};
use crate::{DiskSource, ReadError};

/// A listing is told to be this much longer, for `.` and `..`.
const SPECIAL: u64 = 3;

/// So many entries follow a header at most.
const RUN: u32 = 256;

/// A directory that is still to be read.
struct Pending {
    id: NodeId,
    size: u64,
    listing: u64,
}

/// What was found so far.
struct Found {
    names: Names<u64>,
    budget: Budget,
    pending: Vec<Pending>,
}

impl<D: DiskSource> Reader<D> {
    /// Everything that names lead to. The key of a file's content is its inode's place; see
    /// [`Reader::open_file`].
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn tree(&self) -> Result<Tree, ReadError> {
        let root = self.inode(self.geometry.root)?;
        let Kind::Directory { size, listing } = root.kind else {
            return Err(wrong(root.reference, "the root is no directory"));
        };
        let mut found = Found {
            names: Names::new(root.reference, self.attributes(&root)?),
            budget: Budget::new(self.disk.size()),
            pending: vec![Pending {
                id: Tree::ROOT,
                size,
                listing,
            }],
        };
        while let Some(directory) = found.pending.pop() {
            self.directory(&directory, &mut found)?;
        }
        Ok(found.names.into_tree())
    }

    fn attributes(&self, inode: &RawInode) -> Result<Attributes, ReadError> {
        Ok(Attributes {
            mode: u32::from(inode.mode) & 0o7777,
            uid: self.owner(inode.owner)?,
            gid: self.owner(inode.group)?,
            mtime: FileTime::from_seconds(inode.mtime.into()),
            xattrs: self.xattrs(inode.xattrs)?,
        })
    }

    fn directory(&self, directory: &Pending, found: &mut Found) -> Result<(), ReadError> {
        let mut cursor = Cursor::new(self.geometry.directory_table, directory.listing);
        let mut left = directory.size.saturating_sub(SPECIAL);
        let wrong = || {
            let object = "the listing of a directory".to_owned();
            damaged(object, "it is not as long as it says")
        };
        let mut names = Vec::new();
        while left > 0 {
            let head = self.take(&mut cursor, 12)?;
            left = left.checked_sub(12).ok_or_else(wrong)?;
            let count = at32(&head, 0).saturating_add(1);
            if count > RUN {
                return Err(wrong());
            }
            found.budget.records(count.into())?;
            for _ in 0..count {
                let entry = self.take(&mut cursor, 8)?;
                let length = usize::from(at16(&entry, 6)) + 1;
                let name = self.take(&mut cursor, length)?;
                left = left.checked_sub(8 + length as u64).ok_or_else(wrong)?;
                let reference = u64::from(at32(&head, 4)) << 16 | u64::from(at16(&entry, 0));
                names.push((name, reference));
            }
        }
        // The tree takes them fastest in order.
        names.sort_unstable();
        for (name, reference) in names {
            self.name(&name, reference, directory.id, found)?;
        }
        Ok(())
    }

    fn name(
        &self,
        name: &[u8],
        reference: u64,
        parent: NodeId,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        if found.names.link(parent, name, reference)? {
            return Ok(());
        }
        let inode = self.inode(reference)?;
        let attributes = self.attributes(&inode)?;
        found.budget.attributes(&attributes)?;
        let mut below = None;
        let node = match inode.kind {
            Kind::Directory { size, listing } => {
                below = Some((size, listing));
                Node::Directory(Vec::new())
            }
            Kind::File(file) => {
                let segments = self.segments(&file, &mut found.budget)?;
                Node::File(segments.file(file.size, reference))
            }
            Kind::Symlink(target) => Node::Symlink(target),
            Kind::BlockDevice(device) => Node::BlockDevice(device),
            Kind::CharDevice(device) => Node::CharDevice(device),
            Kind::Fifo => Node::Fifo,
            Kind::Socket => Node::Socket,
        };
        let new = Inode { attributes, node };
        let id = found.names.add((parent, name), reference, new)?;
        if let Some((size, listing)) = below {
            found.pending.push(Pending { id, size, listing });
        }
        Ok(())
    }
}
