//! cpio, written and read back without trust: archives that the kernel unpacks as its initial file system ("newc", described
//! in the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Names are in lexical order, each directory before what is in it, the root as `.`. Of several
//! names of a file the last has the content, as the kernel and cpio expect. Times are whole seconds
//! from 1970 to 2106, and others the nearest of these. Holes of files become zeros.
//!
//! Deliberately absent: extended attributes, which the format has no place for and
//! [`Plan::without_xattrs`] counts, hard links of symbolic links, which the kernel makes several of,
//! and compression.

#![expect(clippy::cast_possible_truncation, reason = "sizes of buffers")]

use std::fs;
use std::num::NonZeroUsize;

use kiln_base::CancelToken;

mod reader;

use crate::stream::{Source, each, unreadable, write_at};
use crate::{Contents, File, Inode, Node, NodeId, Tree};

pub use crate::stream::WriteError;
pub use reader::{Facts, Reader};

/// Bytes before a name.
const HEADER: u64 = 110;

/// The kernel skips longer paths, with the zero at their end.
const PATH_MAX: usize = 4096;

/// The name that ends an archive.
const END: &[u8] = b"TRAILER!!!";

/// Archives are filled up to a multiple of this, as cpio does it.
const UNIT: u64 = 512;

/// Files up to this size are copied while names are written.
const SMALL: u64 = 1 << 20;

const BUFFER: usize = 1 << 20;

/// An archive as it will be.
#[derive(Debug)]
pub struct Plan {
    size: u64,
    links: Vec<u32>,
    without_xattrs: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the archive.
    pub size: u64,
}

/// Why a tree can't be a cpio archive.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Sizes have 32 bits.
    #[error("`{}` has {size} bytes, and a file in a cpio archive can't be larger than 4294967295", .path.escape_ascii())]
    FileTooLarge {
        /// A name of the file.
        path: Vec<u8>,
        /// Its size.
        size: u64,
    },
    /// The kernel would leave the file out.
    #[error("the path `{}` is longer than the 4095 bytes that the kernel takes from a cpio archive", .0.escape_ascii())]
    PathTooLong(Vec<u8>),
    /// The name is the format's mark for the end.
    #[error("`TRAILER!!!` ends a cpio archive, so no file at the root can have that name")]
    End,
}

/// Decides where everything will be.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(tree: &Tree) -> Result<Plan, PlanError> {
    let mut links = tree.link_counts();
    let mut size = 0_u64;
    let mut error = None;
    let mut seen_xattrs = vec![false; tree.len()];
    walk(tree, &mut links, |entry| {
        if let Err(found) = check(&entry) {
            error.get_or_insert(found);
        }
        seen_xattrs[entry.id.as_usize()] = !entry.inode.attributes.xattrs.is_empty();
        size = size.saturating_add(entry.size());
    });
    match error {
        Some(error) => Err(error),
        None => Ok(Plan {
            size: (size + header_size(END)).next_multiple_of(UNIT),
            links: tree.link_counts(),
            without_xattrs: seen_xattrs.iter().map(|&seen| u64::from(seen)).sum(),
        }),
    }
}

impl Plan {
    /// Bytes of the archive, exactly.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many inodes have extended attributes, which are not in the archive.
    pub fn without_xattrs(&self) -> u64 {
        self.without_xattrs
    }

    /// Writes the archive to an empty file.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn write(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        out: &fs::File,
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<Written, WriteError> {
        out.set_len(self.size).map_err(WriteError::Write)?;
        let mut writer = Writer {
            tree,
            contents,
            out,
            cancel,
            pending: Vec::with_capacity(BUFFER),
            start: 0,
            large: Vec::new(),
        };
        let mut outcome = Ok(());
        let mut links = self.links.clone();
        walk(tree, &mut links, |entry| {
            if outcome.is_ok() {
                outcome = writer.entry(&entry);
            }
        });
        outcome?;
        writer.end()?;
        let large = std::mem::take(&mut writer.large);
        let writer = &writer;
        each(threads, large.len(), |number| {
            let (id, place) = large[number];
            writer.copy(id, place)
        })?;
        Ok(Written { size: self.size })
    }
}

/// A name in the archive.
#[derive(Debug)]
struct Entry<'a> {
    path: &'a [u8],
    id: NodeId,
    inode: &'a Inode,
    links: u32,
    /// Whether no name of the inode comes after this.
    is_last: bool,
}

impl Entry<'_> {
    fn content_size(&self) -> u64 {
        match &self.inode.node {
            Node::File(file) if self.is_last => file.size,
            Node::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    fn size(&self) -> u64 {
        header_size(self.path) + padded(self.content_size())
    }

    fn header(&self) -> Vec<u8> {
        let attributes = &self.inode.attributes;
        let (kind, device) = match &self.inode.node {
            Node::Directory(_) => (0o040_000, None),
            Node::File(_) => (0o100_000, None),
            Node::Symlink(_) => (0o120_000, None),
            Node::CharDevice(device) => (0o020_000, Some(*device)),
            Node::BlockDevice(device) => (0o060_000, Some(*device)),
            Node::Fifo => (0o010_000, None),
            Node::Socket => (0o140_000, None),
        };
        let device = device.unwrap_or_default();
        let seconds = attributes.mtime.seconds.clamp(0, i64::from(u32::MAX));
        header(
            self.path,
            [
                self.id.as_usize() as u64 + 1,
                u64::from(kind | attributes.mode & 0o7777),
                u64::from(attributes.uid),
                u64::from(attributes.gid),
                u64::from(self.links),
                seconds.unsigned_abs(),
                self.content_size(),
                u64::from(device.major),
                u64::from(device.minor),
            ],
        )
    }
}

/// Gives every name with what is known of it; `links` has the counts of names, and becomes empty.
fn walk(tree: &Tree, links: &mut [u32], mut visit: impl FnMut(Entry<'_>)) {
    let counts = links.to_vec();
    tree.walk(|path, id| {
        let inode = tree.inode(id);
        let left = &mut links[id.as_usize()];
        *left = left.saturating_sub(1);
        visit(Entry {
            path: if path.is_empty() { b"." } else { path },
            id,
            inode,
            links: counts[id.as_usize()],
            is_last: *left == 0 || matches!(inode.node, Node::Directory(_)),
        });
    });
}

fn check(entry: &Entry<'_>) -> Result<(), PlanError> {
    if entry.path.len() >= PATH_MAX {
        return Err(PlanError::PathTooLong(entry.path.to_vec()));
    }
    if entry.path == END {
        return Err(PlanError::End);
    }
    match &entry.inode.node {
        Node::File(file) if u32::try_from(file.size).is_err() => Err(PlanError::FileTooLarge {
            path: entry.path.to_vec(),
            size: file.size,
        }),
        _ => Ok(()),
    }
}

/// A header with its name. The fields are inode, mode, owner, group, links, time, size, and the
/// numbers of the device.
fn header(path: &[u8], fields: [u64; 9]) -> Vec<u8> {
    let [inode, mode, uid, gid, links, time, size, major, minor] = fields;
    let name_size = path.len() as u64 + 1;
    let mut bytes = b"070701".to_vec();
    // The device that the files are on, and at the end a checksum that this form doesn't have.
    for field in [
        inode, mode, uid, gid, links, time, size, 0, 0, major, minor, name_size, 0,
    ] {
        bytes.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    bytes.extend_from_slice(path);
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn header_size(path: &[u8]) -> u64 {
    padded(HEADER + path.len() as u64 + 1)
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4)
}

/// An archive while it is written.
struct Writer<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    out: &'a fs::File,
    cancel: &'a CancelToken,
    pending: Vec<u8>,
    /// Where `pending` will be.
    start: u64,
    /// Files to be copied later, and to where.
    large: Vec<(NodeId, u64)>,
}

impl Writer<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), WriteError> {
        self.cancel.check()?;
        self.pending.extend_from_slice(&entry.header());
        match &entry.inode.node {
            Node::Symlink(target) => self.pending.extend_from_slice(target),
            Node::File(file) if entry.is_last && file.size > SMALL => {
                let place = self.start + self.pending.len() as u64;
                self.large.push((entry.id, place));
                self.flush()?;
                self.start += padded(file.size);
            }
            Node::File(file) if entry.is_last && file.size > 0 => {
                let source = Source::open(self.tree, entry.id, file, self.contents)?;
                let before = self.pending.len();
                // Small.
                self.pending.resize(before + file.size as usize, 0);
                let read = source.read_at(&mut self.pending[before..], 0);
                read.map_err(|error| unreadable(self.tree, entry.id, error))?;
            }
            _ => {}
        }
        self.pending
            .resize(self.pending.len().next_multiple_of(4), 0);
        if self.pending.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), WriteError> {
        let end = header(END, [0, 0, 0, 0, 1, 0, 0, 0, 0]);
        self.pending.extend_from_slice(&end);
        self.flush()
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        write_at(self.out, &self.pending, self.start)?;
        self.start += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn copy(&self, id: NodeId, place: u64) -> Result<(), WriteError> {
        let Node::File(file) = &self.tree.inode(id).node else {
            return Ok(());
        };
        let source = Source::open(self.tree, id, file, self.contents)?;
        self.copy_from(id, file, &source, place)
    }

    fn copy_from(
        &self,
        id: NodeId,
        file: &File,
        source: &Source<'_>,
        place: u64,
    ) -> Result<(), WriteError> {
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < file.size {
            self.cancel.check()?;
            let bytes = (file.size - done).min(BUFFER as u64) as usize;
            let read = source.read_at(&mut buffer[..bytes], done);
            read.map_err(|error| unreadable(self.tree, id, error))?;
            write_at(self.out, &buffer[..bytes], place + done)?;
            done += bytes as u64;
        }
        Ok(())
    }
}
