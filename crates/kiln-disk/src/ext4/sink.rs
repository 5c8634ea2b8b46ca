//! Blocks on their way to the file: in large pieces, and zeros not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::format::{BLOCK, BLOCK_LEN, is_zero};
use super::geometry::Geometry;

/// This much is written at once.
const PIECE: usize = 1 << 20;
/// Shorter runs of zeros are written: each hole costs a system call.
const SHORT_HOLE: usize = 16 * BLOCK_LEN;

/// Collects blocks that follow each other.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    out: &'a File,
    geometry: &'a Geometry,
    first: u64,
    buffer: Vec<u8>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a File, geometry: &'a Geometry) -> Self {
        Self {
            out,
            geometry,
            first: 0,
            buffer: Vec::new(),
        }
    }

    /// Writes whole blocks from a block of the disk on.
    pub(super) fn put(&mut self, block: u64, bytes: &[u8]) -> io::Result<()> {
        let next = self.first + (self.buffer.len() / BLOCK_LEN) as u64;
        if block != next || self.buffer.len() + bytes.len() > PIECE {
            self.flush()?;
            self.first = block;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes whole blocks from a slot on.
    pub(super) fn put_slots(&mut self, slot: u64, bytes: &[u8]) -> io::Result<()> {
        for (slot, bytes) in (slot..).zip(bytes.chunks(BLOCK_LEN)) {
            self.put(self.geometry.block(slot).0, bytes)?;
        }
        Ok(())
    }

    /// Writes what was collected.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        write_sparse(self.out, self.first, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes whole blocks to a file that is all zeros, without those that are.
pub(super) fn write_sparse(out: &File, block: u64, bytes: &[u8]) -> io::Result<()> {
    let write = |from: usize, to: usize| {
        let at = block * BLOCK + from as u64;
        out.write_all_at(&bytes[from..to], at)
    };
    // What is to be written begins at `start` and has nothing but zeros from `end` on.
    let (mut start, mut end) = (0, 0);
    for at in (0..bytes.len()).step_by(BLOCK_LEN) {
        if is_zero(&bytes[at..at + BLOCK_LEN]) {
            continue;
        }
        if at - end >= SHORT_HOLE || end == start {
            if end > start {
                write(start, end)?;
            }
            start = at;
        }
        end = at + BLOCK_LEN;
    }
    if end > start {
        write(start, end)
    } else {
        Ok(())
    }
}
