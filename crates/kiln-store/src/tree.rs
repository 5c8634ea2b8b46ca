//! Removing and measuring directory trees, whose content nobody vouches for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kiln_sys::fs::{Dir, FileType, FsError};
use rustix::fs::{AtFlags, StatxFlags};

use crate::StoreError;

/// Bytes of a relative path after which the walk goes on from a nearer handle; `PATH_MAX` is 4096
/// and a name has at most 255.
const LONG_PATH: usize = 2048;

/// How much space files take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// The sum of the files' lengths, in bytes; what `du --apparent-size` adds up.
    pub apparent: u64,
    /// Bytes of disk blocks; what `du` adds up.
    pub disk: u64,
}

impl Space {
    pub(crate) fn add(&mut self, other: Self) {
        self.apparent = self.apparent.saturating_add(other.apparent);
        self.disk = self.disk.saturating_add(other.disk);
    }

    pub(crate) fn without(self, part: Self) -> Self {
        Self {
            apparent: self.apparent.saturating_sub(part.apparent),
            disk: self.disk.saturating_sub(part.disk),
        }
    }
}

impl std::iter::Sum for Space {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        let mut sum = Self::default();
        parts.for_each(|part| sum.add(part));
        sum
    }
}

/// Removes `path` and all below it. That it is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let removed = Dir::open(parent).and_then(|parent| parent.remove_tree(name));
    removed.map_err(|cause| tree_error("remove", path, cause))
}

/// The space that the directory `path` and all below it take. An inode with several names is
/// counted once. What vanishes meanwhile, since another process prunes, counts nothing.
pub(crate) fn measure(path: &Path) -> Result<Space, StoreError> {
    match Dir::open(path).and_then(measure_dir) {
        Err(cause) if cause.is_not_found() => Ok(Space::default()),
        other => other.map_err(|cause| tree_error("measure", path, cause)),
    }
}

/// The space that one file takes; nothing if it does not exist.
pub(crate) fn measure_file(path: &Path) -> Result<Space, StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(file) => Ok(Space {
            apparent: file.len(),
            disk: file.blocks() * 512,
        }),
        Err(error) if crate::lock::is_missing(&error) => Ok(Space::default()),
        Err(error) => Err(StoreError::io("examine", path)(error)),
    }
}

fn measure_dir(top: Dir) -> Result<Space, FsError> {
    let mut sum = Space::default();
    let mut seen = HashSet::new();
    sum.add(inode_space(&top, ".".as_ref(), &mut seen)?);
    let mut waiting = vec![(Rc::new(top), PathBuf::new())];
    while let Some((anchor, path)) = waiting.pop() {
        let dir = match anchor.open_dir_beneath(&path) {
            Ok(dir) => Rc::new(dir),
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let is_long = path.as_os_str().len() > LONG_PATH;
        for entry in dir.entries()? {
            sum.add(inode_space(&dir, &entry.name, &mut seen)?);
            if entry.file_type != FileType::Dir {
                continue;
            }
            waiting.push(if is_long {
                (Rc::clone(&dir), PathBuf::from(entry.name))
            } else {
                (Rc::clone(&anchor), path.join(entry.name))
            });
        }
    }
    Ok(sum)
}

fn inode_space(
    dir: &Dir,
    name: &std::ffi::OsStr,
    seen: &mut HashSet<u64>,
) -> Result<Space, FsError> {
    let wanted = StatxFlags::SIZE
        | StatxFlags::BLOCKS
        | StatxFlags::NLINK
        | StatxFlags::INO
        | StatxFlags::TYPE;
    let found = match rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(Space::default()),
        Err(error) => return Err(FsError::new("examine", Path::new(name), error)),
    };
    let is_dir = rustix::fs::FileType::from_raw_mode(found.stx_mode.into()).is_dir();
    if found.stx_nlink > 1 && !is_dir && !seen.insert(found.stx_ino) {
        return Ok(Space::default());
    }
    Ok(Space {
        apparent: found.stx_size,
        disk: found.stx_blocks * 512,
    })
}

fn tree_error(action: &'static str, path: &Path, cause: FsError) -> StoreError {
    StoreError::Tree {
        action,
        path: path.to_owned(),
        cause,
    }
}
