//! The bytes of a tree's files, in parts and within limits.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use kiln_disk::{Content, Contents, File, Node, NodeId, Segment, Tree};

/// Bytes that can be read anywhere.
pub trait ReadAt {
    /// How many there are.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// What the system says; `UnexpectedEof` where they don't suffice.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Only regular files have bytes.
    #[error("not a regular file")]
    NotAFile,
    /// More than the caller takes.
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Bytes.
        size: u64,
        /// Bytes.
        limit: u64,
    },
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file of a tree, opened.
#[derive(Debug)]
pub struct Reader<'a> {
    size: u64,
    bytes: Bytes<'a>,
}

#[derive(Debug)]
enum Bytes<'a> {
    Here(&'a [u8]),
    Stored(fs::File),
    Sparse(fs::File, &'a [Segment]),
}

impl<'a> Reader<'a> {
    /// Opens the regular file `id`.
    pub fn open(tree: &'a Tree, contents: &dyn Contents, id: NodeId) -> Result<Self, ReadError> {
        let Node::File(File { size, content }) = &tree.inode(id).node else {
            return Err(ReadError::NotAFile);
        };
        let bytes = match content {
            Content::Bytes(bytes) => Bytes::Here(bytes),
            Content::Stored(key) => Bytes::Stored(contents.open(*key)?),
            Content::Sparse(key, segments) => Bytes::Sparse(contents.open(*key)?, segments),
        };
        Ok(Self { size: *size, bytes })
    }

    /// All bytes, if there are at most `limit`.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, ReadError> {
        if self.size > limit {
            let size = self.size;
            return Err(ReadError::TooLarge { size, limit });
        }
        Ok(self.read_range(0, self.size)?)
    }

    /// The first bytes: as many as there are, at most `length`.
    pub fn head(&self, length: u64) -> Result<Vec<u8>, ReadError> {
        Ok(self.read_range(0, self.size.min(length))?)
    }

    fn read_range(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut buffer = vec![0; length];
        self.read_at(&mut buffer, offset)?;
        Ok(buffer)
    }
}

impl ReadAt for Reader<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(self.size, buffer, offset)?;
        match &self.bytes {
            Bytes::Here(bytes) => bytes.read_at(buffer, offset),
            Bytes::Stored(file) => file.read_exact_at(buffer, offset),
            Bytes::Sparse(file, segments) => read_sparse(file, segments, buffer, offset),
        }
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(self.size(), buffer, offset)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = self.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn check_range(size: u64, buffer: &[u8], offset: u64) -> io::Result<()> {
    match offset.checked_add(buffer.len() as u64) {
        Some(end) if end <= size => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Zeros, and over them what is in segments.
fn read_sparse(
    file: &fs::File,
    segments: &[Segment],
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    buffer.fill(0);
    let end = offset + buffer.len() as u64;
    let first = segments.partition_point(|segment| segment.offset + segment.length <= offset);
    for segment in &segments[first..] {
        if segment.offset >= end {
            break;
        }
        let from = segment.offset.max(offset);
        let to = (segment.offset + segment.length).min(end);
        // Both are within the buffer, whose length is a `usize`.
        #[expect(clippy::cast_possible_truncation, reason = "within the buffer")]
        let part = &mut buffer[(from - offset) as usize..(to - offset) as usize];
        file.read_exact_at(part, from)?;
    }
    Ok(())
}

/// All bytes of the regular file `id`, if there are at most `limit`.
pub fn read(
    tree: &Tree,
    contents: &dyn Contents,
    id: NodeId,
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    Reader::open(tree, contents, id)?.read(limit)
}

/// All bytes of the file that `path` leads to, links followed; nothing where there is no such file.
///
/// # Errors
///
/// Where there is a file that can't be read or has more than `limit` bytes.
pub fn read_or_empty(
    tree: &Tree,
    contents: &dyn Contents,
    path: &[u8],
    limit: u64,
) -> Result<Vec<u8>, ReadError> {
    match super::lookup(tree, path) {
        Some(id) if matches!(tree.inode(id).node, Node::File(_)) => read(tree, contents, id, limit),
        _ => Ok(Vec::new()),
    }
}
