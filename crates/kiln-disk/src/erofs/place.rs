//! Where inodes are: as many in each block as fit, none across two blocks unless it has to be.

/// Bytes of a slot; an inode begins at one.
pub(super) const SLOT: u64 = 32;

/// Slots of a block.
pub(super) const SLOTS: u32 = 128;

/// Gives inodes their slots, which are numbered from the first block's first.
///
/// The block that an inode fits best is found without looking: blocks are kept by how many slots
/// are left in them.
#[derive(Debug)]
pub(super) struct Places {
    /// By slots left: the blocks with so many, the last used at the end.
    open: Vec<Vec<u32>>,
    blocks: u32,
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            open: vec![Vec::new(); SLOTS as usize + 1],
            blocks: 0,
        }
    }

    /// A place for this many bytes; none if there are too many blocks.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u32> {
        let slots = bytes.div_ceil(SLOT);
        let Some(wanted) = usize::try_from(slots)
            .ok()
            .filter(|&it| it < self.open.len())
        else {
            return self.take_blocks(slots);
        };
        for left in wanted..self.open.len() {
            if let Some(block) = self.open[left].pop() {
                self.leave(block, left - wanted);
                return Some(block * SLOTS + (SLOTS - left as u32));
            }
        }
        self.take_blocks(slots)
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    fn take_blocks(&mut self, slots: u64) -> Option<u32> {
        let count = slots.div_ceil(u64::from(SLOTS));
        let first = self.blocks;
        let end = u64::from(first) + count;
        // The number of the last slot has 32 bits.
        self.blocks = u32::try_from(end)
            .ok()
            .filter(|&it| it <= u32::MAX / SLOTS)?;
        let left = count * u64::from(SLOTS) - slots;
        self.leave(self.blocks - 1, left as usize);
        Some(first * SLOTS)
    }

    fn leave(&mut self, block: u32, slots: usize) {
        if slots > 0 {
            self.open[slots].push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_inodes_fill_what_large_ones_leave() {
        let mut places = Places::new();
        assert_eq!(places.take(64), Some(0));
        assert_eq!(places.take(4096), Some(128));
        assert_eq!(places.take(4000), Some(2), "what the first left");
        assert_eq!(places.take(33), Some(256));
        assert_eq!(places.take(10_000), Some(384));
        assert_eq!(
            places.take(2000),
            Some(697),
            "the end of a large one's last block"
        );
        assert_eq!(places.take(3000), Some(258));
        assert_eq!(places.take(20), Some(127), "the fullest that it fits in");
        assert_eq!(places.blocks(), 6);
        assert_eq!(places.take(u64::MAX), None);
    }
}
