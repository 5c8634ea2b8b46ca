//! Compressed blocks, and the streams of metadata that are cut into them.

use std::sync::Arc;

use super::Reader;
use super::facts::Codec;
use crate::read::damaged;
use crate::read::fields::at16;
use crate::squashfs::metadata::{METADATA, PLAIN};
use crate::{DiskSource, ReadError};

/// So many blocks of metadata are kept: those of a directory and of its inodes are near.
const KEPT: usize = 32;

/// Blocks of metadata that were read last, the last at the end: where each begins, where the next
/// begins, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Cache(Vec<(u64, u64, Arc<[u8]>)>);

/// A place in a stream of metadata.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// Where its block begins on the disk.
    block: u64,
    /// Its place in the block.
    offset: usize,
}

impl Cursor {
    /// The place that a number of an inode or a list refers to, in a table that begins at `table`.
    pub(super) fn new(table: u64, reference: u64) -> Self {
        // What is too much is also after the disk's end.
        Self {
            block: table.saturating_add(reference >> 16),
            offset: usize::from(reference as u16),
        }
    }
}

impl<D: DiskSource> Reader<D> {
    /// Reads from a stream, and moves the cursor on.
    pub(super) fn take(&self, cursor: &mut Cursor, length: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let (next, block) = self.metadata(cursor.block)?;
            let rest = block.get(cursor.offset..).ok_or_else(outside)?;
            let part = rest.len().min(length - bytes.len());
            bytes.extend_from_slice(&rest[..part]);
            cursor.offset += part;
            if cursor.offset == block.len() {
                *cursor = Cursor {
                    block: next,
                    offset: 0,
                };
            }
        }
        Ok(bytes)
    }

    /// The block of metadata that begins here, and where the next begins.
    fn metadata(&self, start: u64) -> Result<(u64, Arc<[u8]>), ReadError> {
        let mut recent = self.recent.lock().expect("nothing panics with it");
        let Cache(kept) = &mut *recent;
        if let Some(at) = kept.iter().position(|(known, ..)| *known == start) {
            kept[at..].rotate_left(1);
            let (_, next, block) = &kept[kept.len() - 1];
            return Ok((*next, Arc::clone(block)));
        }
        let header = at16(&self.disk.read(start, 2)?, 0);
        let length = header & !PLAIN;
        if length == 0 || usize::from(length) > METADATA {
            return Err(damaged(
                format!("the metadata at {start}"),
                "its length is impossible",
            ));
        }
        let raw = self.disk.read(start + 2, length.into())?;
        let block: Arc<[u8]> = if header & PLAIN == 0 {
            self.unpack(&raw, METADATA, start)?.into()
        } else {
            raw.into()
        };
        if block.is_empty() {
            return Err(damaged(format!("the metadata at {start}"), "it is empty"));
        }
        let next = start + 2 + u64::from(length);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((start, next, Arc::clone(&block)));
        Ok((next, block))
    }

    /// Decompresses a block, which has at most so many bytes then.
    pub(super) fn unpack(&self, raw: &[u8], most: usize, place: u64) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; most];
        let length = match self.geometry.codec {
            Codec::Gzip => libdeflater::Decompressor::new()
                .zlib_decompress(raw, &mut bytes)
                .ok(),
            Codec::Lz4 => lz4_flex::block::decompress_into(raw, &mut bytes).ok(),
            Codec::Zstd => zstd::bulk::decompress_to_buffer(raw, &mut bytes).ok(),
        };
        let problem = "it can't be decompressed";
        let length = length.ok_or_else(|| damaged(format!("the block at {place}"), problem))?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn outside() -> ReadError {
    let object = "the metadata".to_owned();
    damaged(object, "a place in it is after its block")
}
