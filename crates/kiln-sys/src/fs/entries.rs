//! Listing a directory.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::RawDir;

use super::{Dir, FileType, FsError, Result};

/// Holds about 300 names: one system call for most directories.
const BUFFER_BYTES: usize = 16 * 1024;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name: never empty, `.`, `..`, and without `/`.
    pub name: OsString,
    /// The type of what it names.
    pub file_type: FileType,
    /// The inode's number. On overlayfs it may differ from [`super::Metadata::ino`].
    pub ino: u64,
}

impl Dir {
    /// The names in the directory in the order of their bytes, without `.` and `..`.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = self.unsorted_entries()?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn unsorted_entries(&self) -> Result<Vec<Entry>> {
        // A fresh descriptor has its own position, so threads can list one handle at a time each,
        // and a handle opened with `O_PATH` (a detached mount) can be listed at all.
        let fresh = self.reopen()?;
        let list = FsError::on("list", OsStr::new("."));
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut raw = RawDir::new(fresh.as_fd(), buffer.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Err(list(error)),
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let file_type = match FileType::from_raw(entry.file_type()) {
                Some(file_type) => file_type,
                None => self.metadata(name)?.file_type,
            };
            entries.push(Entry {
                name: name.to_os_string(),
                file_type,
                ino: entry.ino(),
            });
        }
        Ok(entries)
    }
}
