//! A file system as a value: inodes, and the names that directories have for them.
//!
//! A name of a directory leads to an inode by its number, so hard links are names of one inode, as
//! on a disk. Directories have their entries in the order of the names' bytes. What no name leads
//! to any more stays in memory and is on no disk.
//!
//! Names are bytes: whatever an archive or a kernel takes for a name can be here, but for `/`, the
//! zero byte, `.`, `..` and the empty name, and none is longer than 255 bytes.

use kiln_sys::fs::{Device, FileTime};
use kiln_sys::xattr::Xattr;

use crate::contents::Segment;

/// Names may be this long, in bytes; Linux's `NAME_MAX`.
pub(crate) const NAME_MAX: usize = 255;

/// The number of an inode within its tree. [`Tree::ROOT`] is the root directory's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A whole file system.
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
}

/// A file, directory or node with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// Mode, owner, time, extended attributes.
    pub attributes: Attributes,
    /// What it is.
    pub node: Node,
}

/// What every inode has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits with set-id and sticky bits: `0o7777`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change of content.
    pub mtime: FileTime,
    /// Extended attributes with their whole names (`user.x`, `security.capability`), sorted by
    /// name, each name once.
    pub xattrs: Vec<Xattr>,
}

/// What an [`Inode`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory, with its entries sorted by the bytes of their names.
    Directory(Vec<DirEntry>),
    /// A regular file.
    File(File),
    /// A symbolic link to this target, of 1 to 4095 bytes.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name; see the module for what it can be.
    pub name: Box<[u8]>,
    /// The inode that it names.
    pub id: NodeId,
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Bytes.
    pub size: u64,
    /// Where the bytes are.
    pub content: Content,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here; as many as the file's size.
    Bytes(Box<[u8]>),
    /// Where [`crate::Contents::open`] finds them by this key.
    Stored(u64),
    /// The same, for a file with holes: data is only in these segments, which are in order, don't
    /// touch, and end within the file.
    Sparse(u64, Box<[Segment]>),
}

/// Why a tree can't be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The name can't be in a directory.
    #[error("`{}` can't be a file's name", .0.escape_ascii())]
    Name(Box<[u8]>),
    /// The inode that should take or give a name is no directory.
    #[error("`{}` is to be in something that is not a directory", .0.escape_ascii())]
    NotADirectory(Box<[u8]>),
    /// There is such a name.
    #[error("`{}` exists already", .0.escape_ascii())]
    Exists(Box<[u8]>),
    /// Directories have one name.
    #[error("`{}` would be another name of a directory", .0.escape_ascii())]
    DirectoryLink(Box<[u8]>),
    /// More inodes than the numbers of any of the formats can count.
    #[error("the tree has more than 4,000,000,000 files")]
    TooMany,
}

impl Tree {
    /// The root directory.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree of an empty root directory.
    pub fn new(root: Attributes) -> Self {
        Self {
            inodes: vec![Inode {
                attributes: root,
                node: Node::Directory(Vec::new()),
            }],
        }
    }

    /// An inode.
    ///
    /// # Panics
    ///
    /// If the number is another tree's.
    pub fn inode(&self, id: NodeId) -> &Inode {
        &self.inodes[id.as_usize()]
    }

    /// An inode, to be changed. The entries of a directory must stay sorted; [`Tree::add`],
    /// [`Tree::link`] and [`Tree::unlink`] keep them so.
    ///
    /// # Panics
    ///
    /// If the number is another tree's.
    pub fn inode_mut(&mut self, id: NodeId) -> &mut Inode {
        &mut self.inodes[id.as_usize()]
    }

    /// The inode of this number, if there is one.
    pub fn nth(&self, number: usize) -> Option<NodeId> {
        let number = u32::try_from(number).ok();
        let number = number.filter(|number| (*number as usize) < self.inodes.len());
        number.map(NodeId)
    }

    /// How many inodes there are, with those that have no name any more: numbers are below this.
    pub fn len(&self) -> usize {
        self.inodes.len()
    }

    /// Never: there is always a root.
    pub fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// The entries of a directory in the order of their names' bytes; none for anything else.
    pub fn entries(&self, id: NodeId) -> &[DirEntry] {
        match &self.inode(id).node {
            Node::Directory(entries) => entries,
            _ => &[],
        }
    }

    /// What a directory has by this name.
    pub fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let entries = self.entries(parent);
        let at = find(entries, name).ok()?;
        Some(entries[at].id)
    }

    /// Adds an inode under a new name. Adding names in the order of their bytes is fastest.
    ///
    /// # Errors
    ///
    /// See [`TreeError`].
    pub fn add(&mut self, parent: NodeId, name: &[u8], inode: Inode) -> Result<NodeId, TreeError> {
        let number = u32::try_from(self.inodes.len()).map_err(|_| TreeError::TooMany)?;
        if number >= 4_000_000_000 {
            return Err(TreeError::TooMany);
        }
        let id = NodeId(number);
        self.insert_entry(parent, name, id)?;
        self.inodes.push(inode);
        Ok(id)
    }

    /// Adds another name of an inode that is no directory.
    ///
    /// # Errors
    ///
    /// See [`TreeError`].
    pub fn link(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), TreeError> {
        if matches!(self.inode(id).node, Node::Directory(_)) {
            return Err(TreeError::DirectoryLink(name.into()));
        }
        self.insert_entry(parent, name, id)
    }

    /// Takes a name away, and with it what only that name led to. Returns the inode that it named.
    pub fn unlink(&mut self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let Node::Directory(entries) = &mut self.inode_mut(parent).node else {
            return None;
        };
        let at = find(entries, name).ok()?;
        Some(entries.remove(at).id)
    }

    /// Every name in the tree once, in the order of a lexical walk: a directory before what is in
    /// it. The root comes first, with an empty path. Paths are relative, with `/` between names.
    ///
    /// Recursion has no part in it: a tree may be as deep as it likes.
    pub fn walk(&self, mut visit: impl FnMut(&[u8], NodeId)) {
        let mut path = Vec::new();
        visit(&path, Self::ROOT);
        // Each level: the directory, its next entry, and the length of its own path.
        let mut levels = vec![(Self::ROOT, 0_usize, 0_usize)];
        while let Some((dir, next, length)) = levels.last_mut() {
            path.truncate(*length);
            let Some(entry) = self.entries(*dir).get(*next) else {
                levels.pop();
                continue;
            };
            *next += 1;
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&entry.name);
            visit(&path, entry.id);
            if matches!(self.inode(entry.id).node, Node::Directory(_)) {
                levels.push((entry.id, 0, path.len()));
            }
        }
    }

    /// How many names each inode has, by number; for a directory 2 and one for each directory in
    /// it, as `stat` counts them. 0 for what can't be reached.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0_u32; self.inodes.len()];
        let mut pending = vec![Self::ROOT];
        counts[0] = 2;
        while let Some(dir) = pending.pop() {
            for entry in self.entries(dir) {
                let count = &mut counts[entry.id.as_usize()];
                if matches!(self.inode(entry.id).node, Node::Directory(_)) {
                    *count = 2;
                    counts[dir.as_usize()] += 1;
                    pending.push(entry.id);
                } else {
                    *count += 1;
                }
            }
        }
        counts
    }

    fn insert_entry(&mut self, parent: NodeId, name: &[u8], id: NodeId) -> Result<(), TreeError> {
        check_name(name)?;
        let Node::Directory(entries) = &mut self.inode_mut(parent).node else {
            return Err(TreeError::NotADirectory(name.into()));
        };
        let entry = |name: &[u8]| DirEntry {
            name: name.into(),
            id,
        };
        // Usually names come in order.
        if entries.last().is_none_or(|last| *last.name < *name) {
            entries.push(entry(name));
            return Ok(());
        }
        match find(entries, name) {
            Ok(_) => Err(TreeError::Exists(name.into())),
            Err(at) => {
                entries.insert(at, entry(name));
                Ok(())
            }
        }
    }
}

impl NodeId {
    /// As an index into a table of [`Tree::len`] rows.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl Attributes {
    /// The value of an extended attribute.
    pub fn xattr(&self, name: &str) -> Option<&[u8]> {
        let found = self.xattrs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    }
}

impl File {
    /// A file of these bytes.
    pub fn of_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    /// The parts that have data.
    pub fn segments(&self) -> Vec<Segment> {
        match &self.content {
            Content::Sparse(_, segments) => segments.to_vec(),
            _ if self.size == 0 => Vec::new(),
            Content::Bytes(_) | Content::Stored(_) => vec![Segment {
                offset: 0,
                length: self.size,
            }],
        }
    }
}

fn check_name(name: &[u8]) -> Result<(), TreeError> {
    let is_special = matches!(name, b"" | b"." | b"..");
    if is_special || name.len() > NAME_MAX || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(TreeError::Name(name.into()));
    }
    Ok(())
}

fn find(entries: &[DirEntry], name: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|entry| (*entry.name).cmp(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Inode {
        Inode {
            attributes: Attributes::default(),
            node: Node::File(File::of_bytes(*b"x")),
        }
    }

    fn directory() -> Inode {
        Inode {
            attributes: Attributes::default(),
            node: Node::Directory(Vec::new()),
        }
    }

    fn listing(tree: &Tree) -> Vec<String> {
        let counts = tree.link_counts();
        let mut lines = Vec::new();
        tree.walk(|path, id| {
            lines.push(format!("{} {}", path.escape_ascii(), counts[id.as_usize()]));
        });
        lines
    }

    #[test]
    fn names_are_walked_in_order_and_counted() {
        let mut tree = Tree::new(Attributes::default());
        let b = tree.add(Tree::ROOT, b"b", directory()).unwrap();
        let file = tree.add(b, b"z", file()).unwrap();
        tree.add(b, b"d", directory()).unwrap();
        tree.link(Tree::ROOT, b"a", file).unwrap();
        assert_eq!(listing(&tree), [" 3", "a 2", "b 3", "b/d 2", "b/z 2"]);
        assert_eq!(tree.unlink(b, b"z"), Some(file));
        assert_eq!(tree.unlink(b, b"z"), None);
        assert_eq!(listing(&tree), [" 3", "a 1", "b 3", "b/d 2"]);
    }

    #[test]
    fn names_that_no_directory_can_have_are_refused() {
        let mut tree = Tree::new(Attributes::default());
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert_eq!(
                tree.add(Tree::ROOT, name, file()),
                Err(TreeError::Name(name.into()))
            );
        }
        tree.add(Tree::ROOT, &[b'x'; 255], file()).unwrap();
        let a = tree.add(Tree::ROOT, b"a", file()).unwrap();
        assert_eq!(
            tree.add(Tree::ROOT, b"a", file()),
            Err(TreeError::Exists((*b"a").into()))
        );
        assert_eq!(
            tree.add(a, b"b", file()),
            Err(TreeError::NotADirectory((*b"b").into()))
        );
        assert_eq!(
            tree.link(Tree::ROOT, b"c", Tree::ROOT),
            Err(TreeError::DirectoryLink((*b"c").into()))
        );
    }
}
