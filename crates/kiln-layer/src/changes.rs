//! What a layer does to the tree below it.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_sys::fs::{Device, Dir, FileTime};
use kiln_sys::xattr::Xattr;

use crate::packed::PackedChanges;

/// The content of a layer: changes in the order of a lexical walk (whiteouts of a directory before
/// its other entries, a directory before what is in it), and the tree their file contents are in.
#[derive(Debug)]
pub struct Changes {
    pub(crate) upper: Upper,
    pub(crate) list: Selected,
}

/// Those of a list of changes that make the layer.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    pub(crate) list: PackedChanges,
    /// For each of them, whether it is part of the layer.
    pub(crate) taken: Vec<bool>,
    /// Those that are another name of a file: their numbers, ascending, and its first name.
    pub(crate) links: Vec<(usize, Arc<Path>)>,
    /// Bytes of file content, hard links counted once.
    pub(crate) content: u64,
}

/// The upper directory of an overlay, and where the contents of its files are.
#[derive(Debug)]
pub struct Upper {
    /// The directory.
    pub dir: Dir,
    /// Where those contents are that are elsewhere.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// Contents of files that were copied without them: a file in the upper directory has the size and
/// the attributes, and reads as zeros.
///
/// A trait, since what is copied, and from where, is the business of crates that this one does not
/// know.
pub trait Elsewhere: Debug + Send + Sync {
    /// Opens the content of the regular file at `path`; `None` if the file has its own.
    ///
    /// # Errors
    ///
    /// If it can't be opened, or is not what was copied any more.
    fn open(&self, path: &Path) -> io::Result<Option<File>>;

    /// Asked when what was opened has been read.
    ///
    /// # Errors
    ///
    /// If it changed meanwhile.
    fn check(&self, path: &Path, file: &File) -> io::Result<()>;
}

/// The content of a file, open for reading.
pub(crate) struct OpenContent<'a> {
    pub(crate) file: File,
    elsewhere: Option<&'a dyn Elsewhere>,
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

impl From<Dir> for Upper {
    fn from(dir: Dir) -> Self {
        Self {
            dir,
            elsewhere: None,
        }
    }
}

impl Upper {
    /// Opens a regular file's content.
    pub(crate) fn open(&self, path: &Path) -> io::Result<OpenContent<'_>> {
        if let Some(elsewhere) = &self.elsewhere
            && let Some(file) = elsewhere.open(path)?
        {
            return Ok(OpenContent {
                file,
                elsewhere: Some(&**elsewhere),
            });
        }
        Ok(OpenContent {
            file: self.dir.open_file_beneath(path)?,
            elsewhere: None,
        })
    }
}

impl OpenContent<'_> {
    /// Refuses what changed while it was read.
    pub(crate) fn check(&self, path: &Path) -> io::Result<()> {
        self.elsewhere
            .map_or(Ok(()), |elsewhere| elsewhere.check(path, &self.file))
    }
}

impl Changes {
    /// The changes in order. They are packed, so each is made when it comes.
    pub fn iter(&self) -> impl Iterator<Item = Change> {
        let mut links = self.list.links.iter().peekable();
        let all = self.list.list.iter().zip(&self.list.taken).enumerate();
        all.filter_map(move |(number, (mut change, is_taken))| {
            let link = links.next_if(|(link, _)| *link == number);
            if let (Some((_, first)), Change::Entry(entry)) = (link, &mut change) {
                entry.node = Node::HardLink(first.to_path_buf());
            }
            is_taken.then_some(change)
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.list.taken.contains(&true)
    }

    /// Bytes of file content, hard links counted once.
    pub fn content_size(&self) -> u64 {
        self.list.content
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
