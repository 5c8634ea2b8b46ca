//! Sparse files: chunks of equal size, each of which has blocks or is a hole.

use crate::{File, Segment};

use super::BLOCK;

/// Chunks can be 2^31 blocks.
const MOST_BITS: u32 = 31;

/// More chunks than this are avoided: they would be in memory together.
const MANY: u64 = 1 << 21;

/// The chunks of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    /// The size of a chunk: 4096 bytes times a power of two.
    pub(super) bits: u32,
    /// How many chunks there are.
    pub(super) count: u64,
    /// How many blocks those with data have.
    pub(super) blocks: u64,
    /// The first of the blocks.
    pub(super) block: u32,
}

impl Chunks {
    /// The chunks that need the least room; the first block is to be set.
    pub(super) fn of(file: &File, segments: &[Segment]) -> Self {
        (0..=MOST_BITS)
            .map(|bits| Self::with(file, segments, bits))
            .filter(|chunks| chunks.count <= MANY || chunks.bits == MOST_BITS)
            .min_by_key(Self::bytes)
            .unwrap_or_else(|| Self::with(file, segments, MOST_BITS))
    }

    /// How much room they need.
    pub(super) fn bytes(&self) -> u64 {
        let data = self.blocks.saturating_mul(BLOCK);
        data.saturating_add(self.count.saturating_mul(4))
    }

    fn with(file: &File, segments: &[Segment], bits: u32) -> Self {
        let mut chunks = Self {
            bits,
            count: file.size.div_ceil(BLOCK << bits),
            blocks: 0,
            block: 0,
        };
        let mut blocks = 0;
        chunks.ranges(file, segments, |_, count| blocks += count);
        chunks.blocks = blocks;
        chunks
    }

    /// Gives the number of each first chunk with data after a hole or another such range, and how
    /// many blocks follow from there on, in order.
    pub(super) fn ranges(&self, file: &File, segments: &[Segment], mut give: impl FnMut(u64, u64)) {
        let size = BLOCK << self.bits;
        let all = file.size.div_ceil(BLOCK);
        let mut done = 0;
        for segment in segments {
            let first = (segment.offset / size).max(done);
            let end = segment.offset.saturating_add(segment.length).div_ceil(size);
            if first < end {
                let end_block = (end << self.bits).min(all);
                give(first, end_block - (first << self.bits));
                done = end;
            }
        }
    }

    /// Where each chunk is: its first block, or a number with all bits set for a hole.
    pub(super) fn encode(&self, file: &File, segments: &[Segment]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut block = self.block;
        self.ranges(file, segments, |first, count| {
            bytes.resize(first as usize * 4, 0xff);
            let chunks = count.div_ceil(1 << self.bits);
            for _ in 0..chunks {
                bytes.extend_from_slice(&block.to_le_bytes());
                block = block.wrapping_add(1 << self.bits);
            }
            // The last chunk of a file can have fewer blocks, and nothing is after it.
        });
        bytes.resize(self.count as usize * 4, 0xff);
        bytes
    }
}
