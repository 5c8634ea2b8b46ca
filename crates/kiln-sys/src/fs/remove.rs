//! Removing a tree of any depth with a handful of handles.

use std::ffi::{OsStr, OsString};
use std::io;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Device, Dir, FileType, FsError, Result};

/// A directory that is being emptied. The walk holds a handle for the deepest one only and finds
/// its way back through `..`, checking that it arrives where it came from.
struct Level {
    name: OsString,
    parent: (Device, u64),
    subdirs: Vec<OsString>,
}

impl Dir {
    /// Removes `name` and all below it. A directory that forbids it is made accessible first.
    /// That `name` is not there is no error. Mount points are not entered (`EXDEV`).
    ///
    /// On error what was removed so far stays removed.
    pub fn remove_tree(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        match self.unlink(name) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if is_directory_error(&error) => {}
            Err(error) => return Err(error),
        }
        self.remove_dir_tree(name)
    }

    /// Removes all that is in this directory and keeps the directory.
    pub fn remove_contents(&self) -> Result<()> {
        for entry in self.entries()? {
            self.remove_tree(&entry.name)?;
        }
        Ok(())
    }

    fn remove_dir_tree(&self, name: &OsStr) -> Result<()> {
        let mut current = self.reopen()?;
        let mut levels: Vec<Level> = Vec::new();
        let mut next = Some(name.to_os_string());
        loop {
            if let Some(name) = next.take() {
                let parent = identity(&current)?;
                let (dir, subdirs) = current.enter_and_unlink(&name)?;
                current = dir;
                levels.push(Level {
                    name,
                    parent,
                    subdirs,
                });
            }
            let Some(level) = levels.last_mut() else {
                return Ok(());
            };
            next = level.subdirs.pop();
            if next.is_none() {
                current = current.back_to(level.parent, &level.name)?;
                current.remove_dir(&level.name)?;
                levels.pop();
            }
        }
    }

    /// Opens `name`, removes its files and returns the names of its directories.
    fn enter_and_unlink(&self, name: &OsStr) -> Result<(Self, Vec<OsString>)> {
        let dir = match self.open_same_mount(name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.set_mode(name, 0o700)?;
                self.open_same_mount(name)?
            }
            other => other?,
        };
        let mut subdirs = Vec::new();
        let mut accessible = false;
        for entry in dir.entries()? {
            if entry.file_type == FileType::Dir {
                subdirs.push(entry.name);
                continue;
            }
            match dir.unlink(&entry.name) {
                Err(error) if !accessible && error.kind() == io::ErrorKind::PermissionDenied => {
                    dir.set_mode(Self::ITSELF, 0o700)?;
                    accessible = true;
                    dir.unlink(&entry.name)?;
                }
                other => other?,
            }
        }
        if !subdirs.is_empty() && !accessible {
            let mode = dir.metadata(Self::ITSELF)?.mode;
            if mode & 0o700 != 0o700 {
                dir.set_mode(Self::ITSELF, 0o700)?;
            }
        }
        Ok((dir, subdirs))
    }

    fn open_same_mount(&self, name: &OsStr) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(self, name, flags, Mode::empty(), resolve)
            .map(|fd| self.opened(fd))
            .map_err(FsError::on("remove the directory", name))
    }

    /// The parent directory, which must be the one with the identity `expected`.
    fn back_to(&self, expected: (Device, u64), name: &OsStr) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(self, "..", flags, Mode::empty())
            .map(|fd| self.opened(fd))
            .map_err(FsError::on("remove the directory", name))?;
        if identity(&parent)? != expected {
            let moved = io::Error::other("it was moved meanwhile");
            return Err(FsError::new("remove the directory", name, moved));
        }
        Ok(parent)
    }
}

fn identity(dir: &Dir) -> Result<(Device, u64)> {
    let metadata = super::dir::stat_fd(dir, OsStr::new("."))?;
    Ok((metadata.dev, metadata.ino))
}

/// What Linux answers to `unlink` of a directory; POSIX also allows `EPERM`.
fn is_directory_error(error: &FsError) -> bool {
    [Errno::ISDIR, Errno::PERM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
        || error.kind() == io::ErrorKind::PermissionDenied
}
