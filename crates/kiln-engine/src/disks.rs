//! Disks that exist: looked at, compared, unpacked and mounted, whoever wrote them.
//!
//! A disk is read by [`kiln_disk::image::Image`], which believes nothing that it says. No kernel
//! parses it: mounting goes through FUSE. A file that is compressed is unpacked to a file that has
//! no name, with holes.
//!
//! Deliberately absent: changing a disk.

mod archive;
mod diff;
mod extract;
mod mount;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Cancelled};
use kiln_disk::ext4::Checksums;
use kiln_disk::image::{Facts, Image, OpenFile};
use kiln_disk::{Node, NodeId, ReadError, Tree};
use kiln_layer::WriteError;
use kiln_sys::files;
use kiln_sys::fs::FsError;

pub use diff::{DiskDiff, Times as DiskTimes};
pub use extract::{Extracted, Lost};
pub use mount::{MountError, Mounted};

/// A symbolic link is followed within a disk so often at most.
const MOST_LINKS: usize = 40;

/// How much is read at a time.
const BUFFER: usize = 1 << 20;

/// The unit in which zeros are left out.
const HOLE: usize = 4096;

/// Why something could not be done with a disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk can't be read, or not understood.
    #[error("could not read the disk `{}`", path.display())]
    Read {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// A file of the disk can't be read.
    #[error("could not read `/{file}` of the disk `{}`", path.display())]
    Content {
        /// The disk's file.
        path: PathBuf,
        /// The file on it.
        file: String,
        /// Why.
        source: ReadError,
    },
    /// The disk's file is compressed, and that can't be undone.
    #[error("could not decompress `{}`", path.display())]
    Decompress {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such file on the disk.
    #[error("there is no `{0}` on the disk")]
    NotFound(String),
    /// It is something else than what can be taken from the disk.
    #[error("`{0}` is no file and no directory")]
    NotTakable(String),
    /// There is something already.
    #[error("`{}` has files already", .0.display())]
    NotEmpty(PathBuf),
    /// Directories are too deep.
    #[error("`{0}…` has a path that is longer than any system takes")]
    TooDeep(String),
    /// A file could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] WriteError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// An open disk with everything that is on it.
#[derive(Debug)]
pub struct DiskImage {
    path: PathBuf,
    image: Image<File>,
    tree: Tree,
}

/// Something on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The inode.
    pub id: NodeId,
    /// Its path from the root, without a slash in front; empty for the root.
    pub path: Vec<u8>,
}

impl DiskImage {
    /// Opens a disk and reads all names. One that is compressed by gzip, zstd, xz or bzip2 is
    /// unpacked to `temporary` first, a directory.
    ///
    /// # Errors
    ///
    /// See [`DiskError`].
    pub fn open(path: &Path, temporary: &Path, cancel: &CancelToken) -> Result<Self, DiskError> {
        let mut file = files::open(path)?;
        let undo = |source| DiskError::Decompress {
            path: path.to_owned(),
            source,
        };
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            let source = ReadError::Disk(io::ErrorKind::IsADirectory.into());
            let path = path.to_owned();
            return Err(DiskError::Read { path, source });
        }
        let mut start = [0; 8];
        let length = files::read_up_to(&mut file, &mut start).map_err(undo)?;
        file.seek(SeekFrom::Start(0)).map_err(undo)?;
        if kiln_layer::detect_archive(&start[..length]).is_some() {
            let into = nameless(temporary)?;
            let mut from = kiln_layer::decompressed(&file).map_err(undo)?;
            copy_with_holes(&mut from, &into, cancel)?.map_err(undo)?;
            drop(from);
            file = into;
        }
        file.seek(SeekFrom::Start(0)).map_err(undo)?;
        let unread = |source| DiskError::Read {
            path: path.to_owned(),
            source,
        };
        let image = Image::open(file, Checksums::Verified).map_err(unread)?;
        let tree = image.tree().map_err(unread)?;
        Ok(Self {
            path: path.to_owned(),
            image,
            tree,
        })
    }

    /// What the disk says of itself.
    pub fn facts(&self) -> &Facts {
        self.image.facts()
    }

    /// Everything that is on it.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Finds something by its path, with or without a slash in front. Symbolic links on the way are
    /// followed within the disk, and what the path names is not.
    ///
    /// # Errors
    ///
    /// [`DiskError::NotFound`].
    pub fn find(&self, path: &Path) -> Result<Place, DiskError> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        let found = resolve(&self.tree, bytes);
        found.ok_or_else(|| DiskError::NotFound(path.display().to_string()))
    }

    /// Reads a file of the disk from the beginning. `path` is for errors.
    fn open_file(&self, file: &kiln_disk::File, path: &[u8]) -> Result<Content<'_>, DiskError> {
        let open = self.image.open_file(file);
        Ok(Content {
            disk: self,
            file: open.map_err(|source| self.unreadable(path, source))?,
            at: 0,
        })
    }

    fn unreadable(&self, path: &[u8], source: ReadError) -> DiskError {
        DiskError::Content {
            path: self.path.clone(),
            file: String::from_utf8_lossy(path).into_owned(),
            source,
        }
    }
}

/// A file of a disk, from its first byte to its last.
struct Content<'a> {
    disk: &'a DiskImage,
    file: OpenFile,
    at: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.disk.image.read_at(&mut self.file, buffer, self.at);
        let length = read.map_err(io::Error::other)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// What a path leads to, followed from the root.
fn resolve(tree: &Tree, path: &[u8]) -> Option<Place> {
    let mut links = 0;
    // What is still to be walked, the next name last.
    let mut names: Vec<Vec<u8>> = split(path).collect();
    let mut walked: Vec<(Vec<u8>, NodeId)> = Vec::new();
    while let Some(name) = names.pop() {
        match &name[..] {
            b"" | b"." => continue,
            b".." => {
                walked.pop();
                continue;
            }
            _ => {}
        }
        let parent = walked.last().map_or(Tree::ROOT, |(_, id)| *id);
        let id = tree.child(parent, &name)?;
        match &tree.inode(id).node {
            Node::Symlink(target) if names.iter().any(|name| !name.is_empty()) => {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    walked.clear();
                }
                names.extend(split(target));
            }
            _ => walked.push((name, id)),
        }
    }
    let id = walked.last().map_or(Tree::ROOT, |(_, id)| *id);
    let path: Vec<&[u8]> = walked.iter().map(|(name, _)| &name[..]).collect();
    Some(Place {
        id,
        path: path.join(&b'/'),
    })
}

/// The names of a path, the last first.
fn split(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec)
}

/// A file without a name in a directory.
fn nameless(directory: &Path) -> Result<File, DiskError> {
    let path = directory.join(format!(".kiln-disk-{}", std::process::id()));
    files::remove_file(&path)?;
    let file = files::create_new(&path, 0o600)?;
    files::remove_file(&path)?;
    Ok(file)
}

/// Copies everything, with holes where there are blocks of zeros.
fn copy_with_holes(
    from: &mut dyn Read,
    into: &File,
    cancel: &CancelToken,
) -> Result<io::Result<()>, Cancelled> {
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    loop {
        cancel.check()?;
        let length = match files::read_up_to(&mut &mut *from, &mut buffer) {
            Ok(0) => return Ok(into.set_len(at)),
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = write_sparse(into, &buffer[..length], at) {
            return Ok(Err(error));
        }
        at += length as u64;
    }
}

/// Writes bytes, but for blocks of zeros, to a file that has nothing there.
fn write_sparse(into: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let is_hole = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let mut start = 0;
    while start < bytes.len() {
        let mut end = start;
        while let Some(block) = bytes[end..].chunks(HOLE).next().filter(|it| !is_hole(it)) {
            end += block.len();
        }
        into.write_all_at(&bytes[start..end], at + start as u64)?;
        start = end;
        while let Some(block) = bytes[start..].chunks(HOLE).next().filter(|it| is_hole(it)) {
            start += block.len();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kiln_disk::{Attributes, Inode};

    use super::*;

    #[test]
    fn paths_are_followed_within_the_disk() {
        let mut tree = Tree::new(Attributes::default());
        let mut add = |parent, name: &str, node| {
            let attributes = Attributes::default();
            let inode = Inode { attributes, node };
            tree.add(parent, name.as_bytes(), inode).unwrap()
        };
        let link = |target: &str| Node::Symlink(target.as_bytes().into());
        let usr = add(Tree::ROOT, "usr", Node::Directory(Vec::new()));
        let bin = add(usr, "bin", Node::Directory(Vec::new()));
        add(bin, "sh", link("dash"));
        add(bin, "up", link("../../../usr"));
        add(Tree::ROOT, "bin", link("/usr/bin"));
        add(Tree::ROOT, "loop", link("loop"));
        let check = |path: &str, expected: Option<&str>| {
            let found = resolve(&tree, path.as_bytes());
            let found = found.map(|place| String::from_utf8(place.path).unwrap());
            assert_eq!(found.as_deref(), expected, "{path}");
        };
        check("/", Some(""));
        check("", Some(""));
        check("/bin/sh", Some("usr/bin/sh"));
        check("bin", Some("bin"));
        check("bin/", Some("bin"));
        check("/bin/../x", None);
        check("../../usr/./bin", Some("usr/bin"));
        check("/bin/up/bin/sh", Some("usr/bin/sh"));
        check("/loop/x", None);
        check("/usr/bin/sh/x", None);
    }
}
