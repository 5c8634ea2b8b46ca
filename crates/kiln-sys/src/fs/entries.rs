//! Listing a directory.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::RawDir;
use rustix::io::Errno;

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

/// The names in a directory, all in one piece of memory: for trees of many files.
#[derive(Debug, Default)]
pub struct Listing {
    names: Vec<u8>,
    /// In the order of their bytes.
    entries: Vec<Listed>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    start: usize,
    length: u16,
    file_type: FileType,
    ino: u64,
}

impl Listing {
    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name with this number, in the order of their bytes, and the type of what it names.
    pub fn get(&self, number: usize) -> Option<(&OsStr, FileType)> {
        let entry = self.entries.get(number)?;
        Some((name(&self.names, entry), entry.file_type))
    }

    fn sort(&mut self) {
        let names = &self.names;
        self.entries
            .sort_unstable_by(|a, b| name(names, a).cmp(name(names, b)));
    }
}

fn name<'a>(names: &'a [u8], entry: &Listed) -> &'a OsStr {
    OsStr::from_bytes(&names[entry.start..entry.start + usize::from(entry.length)])
}

impl Dir {
    /// The names in the directory in the order of their bytes, without `.` and `..`.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let listing = self.listing()?;
        let entry = |listed: &Listed| Entry {
            name: name(&listing.names, listed).to_os_string(),
            file_type: listed.file_type,
            ino: listed.ino,
        };
        Ok(listing.entries.iter().map(entry).collect())
    }

    /// The same as [`Dir::entries`] without a piece of memory for each name.
    pub fn listing(&self) -> Result<Listing> {
        // A fresh descriptor has its own position, so threads can list one handle at a time each,
        // and a handle opened with `O_PATH` (a detached mount) can be listed at all.
        self.reopen()?.list()
    }

    /// Opens a directory in this one and lists it.
    pub fn open_and_list(&self, name: impl AsRef<OsStr>) -> Result<(Self, Listing)> {
        let name = name.as_ref();
        let dir = self.open_dir(name)?;
        // Nobody else has this descriptor yet, and so nobody moves its position.
        let listing = dir.list().map_err(|error| error.within(name))?;
        Ok((dir, listing))
    }

    fn list(&self) -> Result<Listing> {
        let list = FsError::on("list", OsStr::new("."));
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut raw = RawDir::new(self.as_fd(), buffer.spare_capacity_mut());
        let mut listing = Listing::default();
        while let Some(entry) = raw.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Err(list(error)),
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let file_type = match FileType::from_raw(entry.file_type()) {
                Some(file_type) => file_type,
                None => self.metadata(OsStr::from_bytes(name))?.file_type,
            };
            let Ok(length) = u16::try_from(name.len()) else {
                return Err(list(Errno::NAMETOOLONG));
            };
            listing.entries.push(Listed {
                start: listing.names.len(),
                length,
                file_type,
                ino: entry.ino(),
            });
            listing.names.extend_from_slice(name);
        }
        listing.sort();
        Ok(listing)
    }
}
