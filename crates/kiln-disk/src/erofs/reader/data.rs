//! The contents of files and directories.

use super::Reader;
use super::inode::{Index, Layout, RawInode};
use super::packed::{Cluster, Packing};
use crate::read::fields::{at16, at32};
use crate::read::{Budget, Segments};
use crate::{DiskSource, ReadError};

/// A file that was found: where its data is, and the cluster of it that was read last.
#[derive(Debug)]
pub struct OpenFile {
    number: u64,
    size: u64,
    body: Body,
    recent: Option<(usize, Vec<u8>)>,
}

/// Where the data is.
#[derive(Debug)]
enum Body {
    /// In bytes: where blocks begin, and from where on the rest is somewhere else.
    Flat { start: u64, inline: (u64, u64) },
    /// Bytes of a chunk, and where each is; none for a hole.
    Chunks(u64, Vec<Option<u64>>),
    /// Clusters, in order.
    Clusters(Vec<Cluster>),
}

/// Chunks of 8 bytes tell a device, too.
const WITH_DEVICE: u16 = 0x20;
const CHUNK_BITS: u16 = 0x1f;

impl<D: DiskSource> Reader<D> {
    /// Finds a file by the key that [`Reader::tree`] gave it.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open_file(&self, key: u64) -> Result<OpenFile, ReadError> {
        let inode = self.inode(key)?;
        if inode.mode >> 12 != 0o10 {
            return Err(inode.damaged("it is no file"));
        }
        self.open_inode(&inode)
    }

    pub(super) fn open_inode(&self, inode: &RawInode) -> Result<OpenFile, ReadError> {
        let body = match inode.layout {
            Layout::Plain | Layout::Inline => self.flat(inode)?,
            Layout::Chunked => self.chunks(inode)?,
            Layout::Packed(index) => self.clusters(inode, index)?,
        };
        Ok(OpenFile {
            number: inode.number,
            size: inode.size,
            body,
            recent: None,
        })
    }

    fn flat(&self, inode: &RawInode) -> Result<Body, ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let start = u64::from(inode.where_) * block_size;
        let from = match inode.layout {
            // The last block follows the inode, even if it is full.
            Layout::Inline => inode.size.saturating_sub(1) / block_size * block_size,
            _ => inode.size,
        };
        let inline = (from, inode.end());
        let ends = [
            start.checked_add(from),
            inline.1.checked_add(inode.size - from),
        ];
        let is_there = |end: Option<u64>| end.is_some_and(|end| end <= self.disk.size());
        if (from > 0 && !is_there(ends[0])) || !is_there(ends[1]) {
            return Err(inode.damaged("its data is outside of the file system"));
        }
        Ok(Body::Flat { start, inline })
    }

    fn chunks(&self, inode: &RawInode) -> Result<Body, ReadError> {
        let format = inode.where_ as u16;
        if format & !(CHUNK_BITS | WITH_DEVICE) != 0 {
            return Err(inode.damaged("its chunks have an unknown format"));
        }
        let block_size = u64::from(self.facts.block_size);
        let chunk = self.chunk_size(inode);
        let unit = if format & WITH_DEVICE == 0 { 4 } else { 8 };
        let count = inode.size.div_ceil(chunk);
        let length = count.checked_mul(unit);
        let length = length.ok_or_else(|| inode.damaged("it has more chunks than can be"))?;
        let map = self.disk.read(inode.end().next_multiple_of(unit), length)?;
        let mut places = Vec::with_capacity(count as usize);
        for (number, entry) in map.chunks(unit as usize).enumerate() {
            let block = at32(entry, entry.len() - 4);
            if entry.len() == 8 && at16(entry, 2) != 0 {
                return Err(inode.damaged("a chunk is on another device"));
            }
            let place = (block != u32::MAX).then(|| u64::from(block) * block_size);
            let left = chunk.min(inode.size - number as u64 * chunk);
            if place.is_some_and(|place| place + left > self.disk.size()) {
                return Err(inode.damaged("a chunk is outside of the file system"));
            }
            places.push(place);
        }
        Ok(Body::Chunks(chunk, places))
    }

    /// Bytes of a chunk: at most 2^16 and 31 bits more.
    fn chunk_size(&self, inode: &RawInode) -> u64 {
        u64::from(self.facts.block_size) << (inode.where_ as u16 & CHUNK_BITS)
    }

    fn clusters(&self, inode: &RawInode, index: Index) -> Result<Body, ReadError> {
        if inode.size == 0 {
            return Ok(Body::Clusters(Vec::new()));
        }
        self.index(inode, index).map(Body::Clusters)
    }

    /// The parts of a file that have data. What is compressed is not looked at.
    pub(super) fn segments(
        &self,
        inode: &RawInode,
        budget: &mut Budget,
    ) -> Result<Segments, ReadError> {
        let mut segments = Segments::default();
        if inode.layout != Layout::Chunked {
            segments.add(&(0..inode.size));
            return Ok(segments);
        }
        budget.records(inode.size.div_ceil(self.chunk_size(inode)))?;
        if let Body::Chunks(chunk, places) = self.chunks(inode)? {
            for (number, place) in places.iter().enumerate() {
                if place.is_some() {
                    let start = number as u64 * chunk;
                    segments.add(&(start..inode.size.min(start + chunk)));
                }
            }
        }
        Ok(segments)
    }

    /// Reads what is at `offset`, and returns how many bytes: 0 at the end, and perhaps fewer than
    /// there is room for before it. Holes are zeros.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_at(
        &self,
        file: &mut OpenFile,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let left = file.size.saturating_sub(offset).min(buffer.len() as u64);
        if left == 0 {
            return Ok(0);
        }
        match &file.body {
            Body::Flat { start, inline } => {
                let (length, place) = if offset < inline.0 {
                    (left.min(inline.0 - offset), start + offset)
                } else {
                    (left, inline.1 + (offset - inline.0))
                };
                self.disk.read_into(&mut buffer[..length as usize], place)?;
                Ok(length as usize)
            }
            Body::Chunks(chunk, places) => {
                let (number, within) = (offset / chunk, offset % chunk);
                let length = left.min(chunk - within) as usize;
                match places[number as usize] {
                    Some(place) => {
                        self.disk.read_into(&mut buffer[..length], place + within)?;
                    }
                    None => buffer[..length].fill(0),
                }
                Ok(length)
            }
            Body::Clusters(clusters) => {
                let number = clusters.partition_point(|cluster| cluster.end <= offset);
                let cluster = clusters[number];
                let within = (offset - cluster.start) as usize;
                let length = left.min(cluster.end - offset) as usize;
                if file
                    .recent
                    .as_ref()
                    .is_none_or(|(known, _)| *known != number)
                {
                    let bytes = self.unpack(&cluster, file.number)?;
                    file.recent = Some((number, bytes));
                }
                if let Some((_, bytes)) = &file.recent {
                    buffer[..length].copy_from_slice(&bytes[within..within + length]);
                }
                Ok(length)
            }
        }
    }
}

impl OpenFile {
    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Cluster {
    /// Whether it is packed at all.
    pub(super) fn is_packed(&self) -> bool {
        self.packing == Packing::Lz4
    }
}
