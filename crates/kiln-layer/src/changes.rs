//! What a layer does to the tree below it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kiln_sys::fs::{Device, Dir, FileTime};
use kiln_sys::xattr::Xattr;

/// The content of a layer: changes in the order of a lexical walk (whiteouts of a directory before
/// its other entries, a directory before what is in it), and the tree their file contents are in.
#[derive(Debug)]
pub struct Changes {
    pub(crate) root: Dir,
    pub(crate) list: Vec<Change>,
}

/// One change. Paths are relative, without `.`, `..` and trailing `/`; none occurs twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What the tree below has by this name is gone.
    Whiteout(PathBuf),
    /// This is added, or replaces what is there.
    Entry(Entry),
}

/// A file, directory, link or node with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub node: Node,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change, as the file system has it.
    pub mtime: FileTime,
    /// The extended attributes that belong into a layer, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A regular file of this many bytes.
    File(u64),
    /// A symbolic link to this target.
    Symlink(OsString),
    /// Another name of the regular file (or node) that stands earlier at this path.
    HardLink(PathBuf),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

impl Changes {
    /// The changes in order.
    pub fn as_slice(&self) -> &[Change] {
        &self.list
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Bytes of file content, hard links counted once.
    pub fn content_size(&self) -> u64 {
        let sizes = self.list.iter().map(|change| match change {
            Change::Entry(Entry {
                node: Node::File(size),
                ..
            }) => *size,
            _ => 0,
        });
        sizes.sum()
    }
}

impl Change {
    /// The path that changes.
    pub fn path(&self) -> &Path {
        match self {
            Self::Whiteout(path) => path,
            Self::Entry(entry) => &entry.path,
        }
    }
}
