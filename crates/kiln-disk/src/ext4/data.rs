//! The contents of files, read straight into what is written next.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::checksum::inode_seed;
use super::extents::{self, place, runs_of};
use super::format::{BLOCK, BLOCK_LEN, index};
use super::sink::write_sparse;
use super::write::{Job, WriteError};
use crate::tree::{Content, File, Node, NodeId, Tree};

/// Slots that are a task, and written at once if they are one piece of the disk: 512 KiB, which a core's cache holds.
pub(super) const CHUNK: u64 = 128;

/// What a thread keeps from one task to the next.
#[derive(Debug, Default)]
pub(super) struct Reading {
    buffer: Vec<u8>,
}

/// The slots at hand, and how far they were filled.
struct Chunk<'a> {
    slots: Range<u64>,
    bytes: &'a mut [u8],
    filled: usize,
}

impl Job<'_> {
    /// Writes these slots of the data of files.
    pub(super) fn data(&self, slots: Range<u64>, reading: &mut Reading) -> Result<(), WriteError> {
        let length = index((slots.end - slots.start) * BLOCK);
        reading.buffer.resize(length.max(reading.buffer.len()), 0);
        let mut chunk = Chunk {
            slots: slots.clone(),
            bytes: &mut reading.buffer[..length],
            filled: 0,
        };
        let starts = &self.plan.layout.starts;
        let after = |slot| {
            self.files
                .partition_point(|inode| starts[*inode as usize] <= slot)
        };
        // The one before the first that begins here may reach into it.
        let first = after(slots.start).saturating_sub(1);
        for inode in &self.files[first..after(slots.end - 1).max(first)] {
            self.cancel.check()?;
            self.file(*inode, &mut chunk)?;
        }
        chunk.zeros_until(length);
        let mut rest = &chunk.bytes[..];
        let mut result = Ok(());
        self.plan.layout.geometry.pieces(slots, |piece| {
            let (bytes, others) = rest.split_at(index((piece.end - piece.start) * BLOCK));
            rest = others;
            if result.is_ok() {
                result = write_sparse(self.out, piece.start, bytes);
            }
        });
        result.map_err(WriteError::Disk)
    }

    fn file(&self, inode: u32, chunk: &mut Chunk<'_>) -> Result<(), WriteError> {
        let id = self.plan.census.nodes[inode as usize].expect("it is a file of the tree");
        let Node::File(file) = &self.tree.inode(id).node else {
            return Ok(());
        };
        let geometry = &self.plan.layout.geometry;
        let start = self.plan.layout.starts[inode as usize];
        let place = place(geometry, start, || runs_of(file));
        if place.tree_blocks > 0 && chunk.has(&(place.tree..place.data)) {
            let seed = inode_seed(self.seed, inode, 0);
            let (_, tree) = extents::encode(geometry, &place, runs_of(file), seed);
            for (slot, block) in (place.tree..).zip(tree.chunks(BLOCK_LEN)) {
                if chunk.has(&(slot..slot + 1)) {
                    chunk.room(slot, BLOCK_LEN).copy_from_slice(block);
                }
            }
        }
        let mut source = None;
        let mut slot = place.data;
        for run in runs_of(file) {
            let slots = slot..slot + run.blocks;
            if slots.start >= chunk.slots.end {
                break;
            }
            if chunk.has(&slots) {
                let from = slots.start.max(chunk.slots.start);
                let to = slots.end.min(chunk.slots.end);
                let offset = (run.logical + from - slots.start) * BLOCK;
                let length = (to - from) * BLOCK;
                let length = index(length.min(file.size - offset));
                let room = chunk.room(from, length);
                let read = self.read(file, offset, room, &mut source);
                read.map_err(|cause| self.content_error(id, cause))?;
            }
            slot = slots.end;
        }
        Ok(())
    }

    fn read(
        &self,
        file: &File,
        offset: u64,
        room: &mut [u8],
        source: &mut Option<std::fs::File>,
    ) -> io::Result<()> {
        let key = match &file.content {
            Content::Bytes(bytes) => {
                let start = index(offset);
                room.copy_from_slice(&bytes[start..start + room.len()]);
                return Ok(());
            }
            Content::Stored(key) | Content::Sparse(key, _) => *key,
        };
        if source.is_none() {
            *source = Some(self.contents.open(key)?);
        }
        match source {
            Some(source) => source.read_exact_at(room, offset),
            None => Ok(()),
        }
    }

    fn content_error(&self, id: NodeId, cause: io::Error) -> WriteError {
        WriteError::Content {
            path: path_of(self.tree, id),
            cause,
        }
    }
}

impl Chunk<'_> {
    fn has(&self, slots: &Range<u64>) -> bool {
        slots.start < self.slots.end && slots.end > self.slots.start
    }

    /// Room for so many bytes from a slot on, which is after all that was filled.
    fn room(&mut self, slot: u64, length: usize) -> &mut [u8] {
        let start = index((slot - self.slots.start) * BLOCK);
        self.zeros_until(start);
        self.filled = start + length;
        &mut self.bytes[start..start + length]
    }

    fn zeros_until(&mut self, end: usize) {
        self.bytes[self.filled..end].fill(0);
        self.filled = end;
    }
}

/// The first path of an inode.
fn path_of(tree: &Tree, wanted: NodeId) -> Box<[u8]> {
    let mut found = None;
    tree.walk(|path, id| {
        if id == wanted && found.is_none() {
            found = Some(Box::from(path));
        }
    });
    found.unwrap_or_default()
}
