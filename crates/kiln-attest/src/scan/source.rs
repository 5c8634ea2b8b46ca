//! What a scan reads: a directory of this machine, or a tree that is in no directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use kiln_sys::fs::{Dir, FileType, FsError, LastLink};

/// A root file system that can be scanned. No link is followed but by [`Source::find`].
pub trait Source {
    /// A directory of it.
    type Dir;
    /// A regular file of it.
    type File: Bytes;

    /// The root directory.
    fn root(&self) -> io::Result<Self::Dir>;

    /// What is in a directory, sorted by name.
    fn entries(&self, dir: &Self::Dir) -> io::Result<Vec<SourceEntry>>;

    /// A directory in a directory.
    fn open_dir(&self, dir: &Self::Dir, name: &OsStr) -> io::Result<Self::Dir>;

    /// A regular file in a directory.
    fn open_file(&self, dir: &Self::Dir, name: &OsStr) -> io::Result<Self::File>;

    /// Permission bits and bytes of a regular file; `None` where they can't be told.
    fn mode_and_size(&self, dir: &Self::Dir, name: &OsStr) -> Option<(u32, u64)>;

    /// The regular file at a path, whose links are followed without leaving the root.
    fn find(&self, path: &str) -> Option<Self::File>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// The name.
    pub name: OsString,
    /// What it names.
    pub file_type: FileType,
}

/// Bytes that can be read anywhere.
pub trait Bytes {
    /// How many there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// What the system says; `UnexpectedEof` where they don't suffice.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// All bytes, if there are at most `limit`; `None` if there are more.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read_limited(&self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let size = self.size()?;
        if size > limit {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }
}

impl Source for Dir {
    type Dir = Self;
    type File = File;

    fn root(&self) -> io::Result<Self> {
        self.try_clone().map_err(|error| cause(&error))
    }

    fn entries(&self, dir: &Self) -> io::Result<Vec<SourceEntry>> {
        let entries = dir.entries().map_err(|error| cause(&error))?.into_iter();
        let entries = entries.map(|entry| SourceEntry {
            name: entry.name,
            file_type: entry.file_type,
        });
        Ok(entries.collect())
    }

    fn open_dir(&self, dir: &Self, name: &OsStr) -> io::Result<Self> {
        dir.open_dir(name).map_err(|error| cause(&error))
    }

    fn open_file(&self, dir: &Self, name: &OsStr) -> io::Result<File> {
        dir.open_file(name).map_err(|error| cause(&error))
    }

    fn mode_and_size(&self, dir: &Self, name: &OsStr) -> Option<(u32, u64)> {
        let metadata = dir.metadata(name).ok()?;
        Some((metadata.mode, metadata.size))
    }

    fn find(&self, path: &str) -> Option<File> {
        let place = self.resolve_in_root(path, LastLink::Follow).ok()?;
        place.dir.open_file(&place.name).ok()
    }
}

/// The system's reason alone: what is read is named by the scan.
fn cause(error: &FsError) -> io::Error {
    let cause = error.cause();
    match cause.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(cause.kind(), cause.to_string()),
    }
}

impl Bytes for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}
