//! Where blocks of a disk are: groups, the copies of the superblock, and all that is between them.
//!
//! What a disk holds is placed in a row of *slots*, numbered from 0: the blocks of the disk without
//! those that the superblock, the group descriptors and their copies take. So whatever is placed
//! there in one piece has few extents, and nobody else has to think of the copies.

use std::ops::Range;

use super::format::{BLOCKS_PER_GROUP, DESCS_PER_BLOCK};

/// The groups of a disk.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// How many groups there are.
    pub(super) groups: u32,
    /// Blocks of group descriptors.
    pub(super) descriptor_blocks: u64,
    /// Blocks kept for the descriptors of groups to come.
    pub(super) reserved_blocks: u64,
    /// The first block of each group that begins with a copy of the superblock.
    copies: Vec<u64>,
}

impl Geometry {
    pub(super) fn new(groups: u32, reserved_blocks: u64) -> Self {
        let with_copy = (0..groups).filter(|group| has_copy(*group));
        Self {
            groups,
            descriptor_blocks: descriptor_blocks(u64::from(groups)),
            reserved_blocks,
            copies: with_copy.map(first_block).collect(),
        }
    }

    /// How many blocks a copy of the superblock and of what follows it takes.
    pub(super) fn copy_blocks(&self) -> u64 {
        1 + self.descriptor_blocks + self.reserved_blocks
    }

    /// The first block of each group that begins with a copy of the superblock; the first is 0.
    pub(super) fn copies(&self) -> &[u64] {
        &self.copies
    }

    /// The block of a slot, and how many slots from there on are one piece of the disk.
    pub(super) fn block(&self, slot: u64) -> (u64, u64) {
        let taken = self.copy_blocks();
        // How many copies are before it; the first is at block 0.
        let (mut low, mut high) = (1, self.copies.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.copies[middle] - middle as u64 * taken <= slot {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let block = slot + low as u64 * taken;
        let end = self.copies.get(low).copied().unwrap_or(u64::MAX);
        (block, end - block)
    }

    /// Calls `visit` with each piece of the disk that these slots are, as blocks.
    pub(super) fn pieces(&self, slots: Range<u64>, mut visit: impl FnMut(Range<u64>)) {
        let mut slot = slots.start;
        while slot < slots.end {
            let (block, run) = self.block(slot);
            let length = run.min(slots.end - slot);
            visit(block..block + length);
            slot += length;
        }
    }
}

/// Blocks for the descriptors of so many groups.
pub(super) fn descriptor_blocks(groups: u64) -> u64 {
    groups.div_ceil(DESCS_PER_BLOCK)
}

/// The first block of a group.
pub(super) fn first_block(group: u32) -> u64 {
    u64::from(group) * BLOCKS_PER_GROUP
}

/// Whether a group begins with a copy of the superblock: 0, 1 and the powers of 3, 5 and 7.
pub(super) fn has_copy(group: u32) -> bool {
    let is_power = |base: u32| {
        let mut left = group;
        while left > 1 && left.is_multiple_of(base) {
            left /= base;
        }
        left == 1
    };
    group == 0 || is_power(3) || is_power(5) || is_power(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_where_the_format_says() {
        let copies: Vec<u32> = (0..130).filter(|group| has_copy(*group)).collect();
        assert_eq!(copies, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn slots_leave_the_copies_out() {
        let geometry = Geometry::new(4, 3);
        assert_eq!(geometry.copy_blocks(), 5);
        assert_eq!(geometry.block(0), (5, 32_763));
        assert_eq!(geometry.block(32_762), (32_767, 1));
        assert_eq!(geometry.block(32_763), (32_773, 65_531));
        let mut pieces = Vec::new();
        geometry.pieces(32_760..98_300, |piece| pieces.push(piece));
        assert_eq!(pieces, [32_765..32_768, 32_773..98_304, 98_309..98_315]);
    }
}
