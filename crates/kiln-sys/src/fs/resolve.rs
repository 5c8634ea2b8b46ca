//! Finding a path inside a root file system, following symbolic links as `chroot` would.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Dir, FileTime, FileType, FsError, Metadata, Owner, Result};

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;
/// The kernel's limit for a path.
const MAX_PATH_BYTES: usize = 4096;

/// Whether a symbolic link as the last component of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// It is followed; where it dangles the result is the place it points to.
    Follow,
    /// The result is the link itself.
    Keep,
}

/// How to make the directories that a path lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDirs {
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub owner: Owner,
    /// The modification time; `None` leaves the time of making.
    pub mtime: Option<FileTime>,
}

/// Where a path inside a root leads to.
#[derive(Debug)]
pub struct Location {
    /// The directory that holds, or would hold, `name`.
    pub dir: Dir,
    /// The last component, or [`Dir::ITSELF`] where the path leads to the root.
    pub name: OsString,
    /// The path from the root with no symbolic link in it; empty for the root.
    pub path: PathBuf,
    /// What is there, if anything.
    pub metadata: Option<Metadata>,
}

impl Dir {
    /// Finds `path` as a process would whose root is this directory. `..` at the root stays there.
    ///
    /// All directories on the way must exist; the last component need not.
    pub fn resolve_in_root(&self, path: impl AsRef<Path>, last: LastLink) -> Result<Location> {
        let path = path.as_ref();
        Walk::new(self, path, last, None)?.run()
    }

    /// As [`Dir::resolve_in_root`], but makes the directories that are missing on the way (not the
    /// last component).
    pub fn resolve_or_make_in_root(
        &self,
        path: impl AsRef<Path>,
        last: LastLink,
        missing: &NewDirs,
    ) -> Result<Location> {
        Walk::new(self, path.as_ref(), last, Some(missing))?.run()
    }

    /// Opens the directory `path`, following symbolic links, and makes all that is missing.
    pub fn make_dirs_in_root(&self, path: impl AsRef<Path>, missing: &NewDirs) -> Result<Self> {
        let path = path.as_ref();
        let location = Walk::new(self, path, LastLink::Follow, Some(missing))?.run()?;
        let within = |error: FsError| match location.path.parent() {
            Some(parent) => error.within(parent),
            None => error,
        };
        if location.metadata.is_none() {
            location
                .dir
                .make_dir(&location.name, missing)
                .map_err(within)?;
        }
        if location.name == Self::ITSELF {
            return location.dir.reopen();
        }
        location.dir.open_dir(&location.name).map_err(within)
    }

    fn make_dir(&self, name: &OsStr, new: &NewDirs) -> Result<()> {
        self.mkdir(name, new.mode)?;
        // Before the mode: changing the owner clears set-id bits.
        self.set_owner(name, new.owner)?;
        self.set_mode(name, new.mode)?;
        match new.mtime {
            Some(mtime) => self.set_times(name, mtime),
            None => Ok(()),
        }
    }
}

/// A walk along a path. Only the handle of the directory it is in is open; `..` starts again from
/// the root with the names so far, none of which is a symbolic link.
struct Walk<'a> {
    root: &'a Dir,
    asked: &'a Path,
    last: LastLink,
    missing: Option<&'a NewDirs>,
    current: Dir,
    names: Vec<OsString>,
    pending: VecDeque<OsString>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(
        root: &'a Dir,
        asked: &'a Path,
        last: LastLink,
        missing: Option<&'a NewDirs>,
    ) -> Result<Self> {
        let mut walk = Walk {
            root,
            asked,
            last,
            missing,
            current: root.reopen()?,
            names: Vec::new(),
            pending: VecDeque::new(),
            links: 0,
        };
        walk.put_in_front(asked.as_os_str())?;
        Ok(walk)
    }

    fn run(mut self) -> Result<Location> {
        while let Some(name) = self.pending.pop_front() {
            if name == ".." {
                self.up()?;
                continue;
            }
            let metadata = self.at(self.current.try_metadata(&name))?;
            let is_last = self.pending.is_empty();
            match metadata {
                Some(found) if found.is_symlink() && !(is_last && self.last == LastLink::Keep) => {
                    self.follow(&name)?;
                }
                _ if is_last => return Ok(self.arrive(name, metadata)),
                Some(_) => self.down(name)?,
                None => self.make(name)?,
            }
        }
        // The path ended in the root, in `..` or in a link to such: the directory we are in.
        let Some(name) = self.names.pop() else {
            let metadata = self.at(self.current.metadata(Dir::ITSELF))?;
            return Ok(Location {
                dir: self.current,
                name: Dir::ITSELF.into(),
                path: PathBuf::new(),
                metadata: Some(metadata),
            });
        };
        self.current = self.reopen_names()?;
        let metadata = self.at(self.current.try_metadata(&name))?;
        Ok(self.arrive(name, metadata))
    }

    fn arrive(mut self, name: OsString, metadata: Option<Metadata>) -> Location {
        self.names.push(name.clone());
        Location {
            dir: self.current,
            name,
            path: self.names.iter().collect(),
            metadata,
        }
    }

    fn up(&mut self) -> Result<()> {
        if self.names.pop().is_some() {
            self.current = self.reopen_names()?;
        }
        Ok(())
    }

    fn down(&mut self, name: OsString) -> Result<()> {
        self.current = self.at(self.current.open_dir(&name))?;
        self.names.push(name);
        Ok(())
    }

    fn make(&mut self, name: OsString) -> Result<()> {
        let Some(new) = self.missing else {
            return Err(self.error(Errno::NOENT));
        };
        self.at(self.current.make_dir(&name, new))?;
        self.down(name)
    }

    fn follow(&mut self, name: &OsStr) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(self.error(Errno::LOOP));
        }
        let target = self.at(self.current.read_link(name))?;
        if target.as_bytes().starts_with(b"/") {
            self.names.clear();
            self.current = self.root.reopen()?;
        }
        self.put_in_front(&target)
    }

    /// Takes the components of `path` as the next ones to go along.
    fn put_in_front(&mut self, path: &OsStr) -> Result<()> {
        if path.len() > MAX_PATH_BYTES {
            return Err(self.error(Errno::NAMETOOLONG));
        }
        let components = path.as_bytes().split(|byte| *byte == b'/');
        for name in components.rev() {
            if !name.is_empty() && name != b"." {
                self.pending
                    .push_front(OsStr::from_bytes(name).to_os_string());
            }
        }
        Ok(())
    }

    fn reopen_names(&self) -> Result<Dir> {
        let path: PathBuf = self.names.iter().collect();
        self.root.open_dir_beneath(path)
    }

    fn at<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.within(self.names.iter().collect::<PathBuf>()))
    }

    fn error(&self, errno: Errno) -> FsError {
        FsError::new("find", self.asked, errno)
    }
}

impl Location {
    /// The type of what is there, if anything.
    pub fn file_type(&self) -> Option<FileType> {
        self.metadata.map(|metadata| metadata.file_type)
    }
}
