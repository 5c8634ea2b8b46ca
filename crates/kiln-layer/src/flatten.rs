//! Several stacked layer directories as one, for mounts: what overlayfs shows is the same, whatever
//! lies below and above.
//!
//! Files are copied, sharing their blocks where the file system can, and never linked: a link would
//! change the number of names that processes see a file to have, here and in all other stacks that
//! the layer is part of. For the same reason a file with several names keeps their number, even if
//! some of them don't show any more.
//!
//! Deliberately absent: layers as blobs. No layer is ever packed from a flattened directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Cancelled};
use kiln_sys::fs::{self, Device, Dir, FileType, FsError, Metadata, NodeKind};

use crate::lower::{Found, Lowers, Stack};
use crate::overlay::{CAPABILITY, OPAQUE, OverlayXattrs};

/// Why layers could not be flattened.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file's content could not be copied.
    #[error("could not copy `{}`", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Fills the empty directory `into` with what `layers` (top first) stack up to, and with the marks
/// that take away what they take away from layers below them.
///
/// All owners are the inodes' own: the directories must be [`kiln_sys::fs::Ownership::Native`].
/// Further names of files that lost some of theirs go into the empty directory `spare`, which has
/// to stay as long as `into`. Change times, and the link counts of directories, are not kept.
pub fn flatten(
    layers: &[Dir],
    (into, spare): (&Dir, &Dir),
    xattrs: OverlayXattrs,
    cancel: &CancelToken,
) -> Result<(), FlattenError> {
    let lowers = Lowers {
        roots: layers,
        xattrs,
    };
    let mut flatten = Flatten {
        lowers,
        into,
        linked: HashMap::new(),
        cancel,
    };
    let mut pending = vec![Pending {
        path: PathBuf::new(),
        stack: lowers.root(),
        is_hidden: false,
    }];
    while let Some(at) = pending.pop() {
        flatten.fill(&at, &mut pending)?;
    }
    flatten.keep_link_counts(spare)
}

/// A directory that was made, and is still to be filled.
struct Pending {
    path: PathBuf,
    stack: Stack,
    /// Nothing of the layers below `layers` shows here, so nothing has to be taken away.
    is_hidden: bool,
}

/// A file with several names.
struct Linked {
    first: PathBuf,
    placed: u32,
    names: u32,
}

struct Flatten<'a> {
    lowers: Lowers<'a>,
    into: &'a Dir,
    linked: HashMap<(Device, u64), Linked>,
    cancel: &'a CancelToken,
}

impl Flatten<'_> {
    fn fill(&mut self, at: &Pending, pending: &mut Vec<Pending>) -> Result<(), FlattenError> {
        let within = |error: FsError| error.within(&at.path);
        let lower = self.lowers.open(&at.stack, &at.path)?;
        let into = self.into.open_dir_beneath(&at.path)?;
        for (name, is_there) in lower.listing().map_err(within)? {
            self.cancel.check()?;
            let Some(found) = lower.find(&name).map_err(within)?.filter(|_| is_there) else {
                if !at.is_hidden {
                    into.whiteout(&name).map_err(within)?;
                }
                continue;
            };
            if !found.metadata.is_dir() {
                self.place(&found, &into, &at.path.join(&name))?;
                continue;
            }
            into.mkdir(&name, 0o700).map_err(within)?;
            let stack = lower.stack_of(&name, &found).map_err(within)?;
            pending.push(Pending {
                path: at.path.join(&name),
                is_hidden: at.is_hidden || stack.is_closed,
                stack,
            });
        }
        // After its content: a default access list would be inherited, and names change its time.
        if let Some(top) = lower.topmost() {
            let itself = OsStr::new(Dir::ITSELF);
            let metadata = top.metadata(itself).map_err(within)?;
            if at.stack.is_closed {
                into.set_xattr(itself, self.lowers.xattrs.opaque(), OPAQUE)
                    .map_err(within)?;
            }
            self.take_attributes((top, &metadata), &into, itself)
                .map_err(within)?;
        }
        Ok(())
    }

    /// Copies what is no directory.
    fn place(&mut self, found: &Found<'_>, into: &Dir, path: &Path) -> Result<(), FlattenError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let within = |error: FsError| error.within(parent);
        let name = path.file_name().unwrap_or_default();
        let metadata = &found.metadata;
        if metadata.nlink > 1 {
            let inode = (metadata.dev, metadata.ino);
            if let Some(linked) = self.linked.get_mut(&inode) {
                linked.placed += 1;
                let (first, first_name) = named(self.into, &linked.first)?;
                return Ok(first.link_to(first_name, into, name).map_err(within)?);
            }
            let first = Linked {
                first: path.to_path_buf(),
                placed: 1,
                names: metadata.nlink,
            };
            self.linked.insert(inode, first);
        }
        match metadata.file_type {
            FileType::File => {
                let from = found.dir.open_file(name).map_err(within)?;
                let to = into.create_file(name, 0o600).map_err(within)?;
                fs::copy_file_with_holes(&from, &to).map_err(|cause| FlattenError::Copy {
                    path: path.to_path_buf(),
                    cause,
                })?;
            }
            FileType::Symlink => {
                let target = found.dir.read_link(name).map_err(within)?;
                into.symlink(target, name).map_err(within)?;
            }
            FileType::Fifo => into.mknod(name, NodeKind::Fifo, 0o600).map_err(within)?,
            FileType::CharDevice => into
                .mknod(name, NodeKind::CharDevice(metadata.rdev), 0o600)
                .map_err(within)?,
            FileType::BlockDevice => into
                .mknod(name, NodeKind::BlockDevice(metadata.rdev), 0o600)
                .map_err(within)?,
            // Directories are not copied here.
            FileType::Socket | FileType::Dir => {
                into.mknod(name, NodeKind::Socket, 0o600).map_err(within)?;
            }
        }
        let taken = self.take_attributes((found.dir, metadata), into, name);
        Ok(taken.map_err(within)?)
    }

    fn take_attributes(
        &self,
        (from, metadata): (&Dir, &Metadata),
        to: &Dir,
        name: &OsStr,
    ) -> Result<(), FsError> {
        to.set_owner(name, metadata.owner())?;
        if metadata.file_type != FileType::Symlink {
            to.set_mode(name, metadata.mode)?;
        }
        if matches!(metadata.file_type, FileType::File | FileType::Dir) {
            for (key, value) in from.xattrs(name)? {
                if is_kept(&key, self.lowers.xattrs) {
                    to.set_xattr(name, &key, &value)?;
                }
            }
        }
        to.set_times(name, metadata.mtime)
    }

    /// Gives the names back that files lost by flattening.
    fn keep_link_counts(self, spare: &Dir) -> Result<(), FlattenError> {
        let mut number = 0_u64;
        for linked in self.linked.values() {
            let (dir, name) = named(self.into, &linked.first)?;
            for _ in linked.placed..linked.names {
                self.cancel.check()?;
                number += 1;
                dir.link_to(name, spare, number.to_string())?;
            }
        }
        Ok(())
    }
}

/// The directory that holds the last component of `path`, and that component.
fn named<'p>(root: &Dir, path: &'p Path) -> Result<(Dir, &'p OsStr), FsError> {
    let dir = root.open_dir_beneath(path.parent().unwrap_or(Path::new("")))?;
    Ok((dir, path.file_name().unwrap_or_default()))
}

/// Whether an attribute goes with the file. Labels are the machine's, who gives new files theirs.
fn is_kept(name: &OsStr, xattrs: OverlayXattrs) -> bool {
    let is_label = name.as_encoded_bytes().starts_with(b"security.") && name != CAPABILITY;
    !is_label && !xattrs.is_mark(name)
}
