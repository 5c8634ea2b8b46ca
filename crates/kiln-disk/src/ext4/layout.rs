//! Where on a disk everything is, and so how large it is.

use std::ops::Range;

use super::extents::{Place, place, runs_of, whole};
use super::format::{BLOCK, BLOCKS_PER_GROUP, INODES_PER_BLOCK, low32};
use super::geometry::{Geometry, descriptor_blocks, first_block, has_copy};
use super::options::{Growth, Options, PlanError};
use super::plan::{Census, SHORT_TARGET};
use crate::tree::{Node, Tree};

/// Disks are smaller than this, in blocks: 16 TiB. What is kept to grow is counted in 32 bits.
const BLOCKS_MAX: u64 = 1 << 32;
/// Blocks kept for descriptors: as many as a block has room to name.
const RESERVED_MAX: u64 = 1024;
/// Inodes of a group: one for each bit of a block.
const INODES_MAX: u64 = 32_768;

/// The place of everything on a disk.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) geometry: Geometry,
    /// The size of the disk.
    pub(super) blocks: u64,
    pub(super) inodes_per_group: u32,
    /// The first slot of the bitmaps of blocks, one for each group, and of those of inodes after.
    pub(super) bitmaps: u64,
    /// The first block of each group's inodes.
    pub(super) tables: Vec<u64>,
    /// The slot of the block that names those kept for descriptors.
    pub(super) resize: Option<u64>,
    /// The first slot of the blocks of attributes.
    pub(super) xattrs: u64,
    /// The slot from which on each inode's blocks were placed; 0 for those that have none.
    pub(super) starts: Vec<u64>,
    /// Slots of files.
    pub(super) data: Range<u64>,
    pub(super) journal: Option<Journal>,
    /// Slots before the end that nothing has.
    gaps: Vec<Range<u64>>,
    /// The first slot that nothing has, nor any after it.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Journal {
    pub(super) blocks: u64,
    pub(super) place: Place,
}

/// What to lay out; the same for each number of groups that is tried.
struct Wanted<'a> {
    tree: &'a Tree,
    census: &'a Census,
    options: &'a Options,
    /// Inodes, with those that are free.
    inodes: u64,
}

/// Takes slots one after another.
struct Cursor<'a> {
    geometry: &'a Geometry,
    next: u64,
    gaps: Vec<Range<u64>>,
}

impl Layout {
    pub(super) fn new(tree: &Tree, census: &Census, options: &Options) -> Result<Self, PlanError> {
        let inodes = u64::from(census.last()) + u64::from(options.free_inodes);
        if inodes > u64::from(u32::MAX) - 2 * INODES_MAX {
            return Err(PlanError::TooLarge);
        }
        let wanted = Wanted {
            tree,
            census,
            options,
            inodes,
        };
        let free = options.free_bytes.div_ceil(BLOCK);
        let least = options.min_bytes.div_ceil(BLOCK);
        // More groups take more bitmaps, which may take more groups.
        let mut groups = inodes.div_ceil(INODES_MAX).max(1);
        loop {
            if groups
                .max(free / BLOCKS_PER_GROUP)
                .max(least / BLOCKS_PER_GROUP)
                >= BLOCKS_MAX / BLOCKS_PER_GROUP
            {
                return Err(PlanError::TooLarge);
            }
            let mut layout = wanted.lay_out(low32(groups), free)?;
            let end = layout.geometry.block(layout.end + free - 1).0 + 1;
            let blocks = end.max(least);
            let needed = blocks.div_ceil(BLOCKS_PER_GROUP);
            if needed <= groups {
                layout.blocks = blocks.max(layout.least_blocks());
                return Ok(layout);
            }
            groups = needed;
        }
    }

    /// The least that so many groups can have: the last one is there, and more than its copy of
    /// the superblock is.
    fn least_blocks(&self) -> u64 {
        let last = self.geometry.groups - 1;
        let copy = if has_copy(last) {
            self.geometry.copy_blocks()
        } else {
            0
        };
        first_block(last) + copy + 1
    }

    pub(super) fn inodes(&self) -> u32 {
        self.inodes_per_group * self.geometry.groups
    }

    /// How many blocks a group has.
    pub(super) fn group_blocks(&self, group: u32) -> u64 {
        BLOCKS_PER_GROUP.min(self.blocks - first_block(group))
    }

    /// All blocks that are not free, in order.
    pub(super) fn used(&self) -> Vec<Range<u64>> {
        let geometry = &self.geometry;
        let copies = geometry.copies().iter();
        let mut used: Vec<_> = copies
            .map(|first| *first..first + geometry.copy_blocks())
            .collect();
        let mut slot = 0;
        let end = self.end..self.end;
        for gap in self.gaps.iter().chain([&end]) {
            geometry.pieces(slot..gap.start, |piece| used.push(piece));
            slot = gap.end;
        }
        used.sort_unstable_by_key(|range| range.start);
        used
    }

    pub(super) fn free_blocks(&self) -> u64 {
        let used: u64 = self
            .used()
            .iter()
            .map(|range| range.end - range.start)
            .sum();
        self.blocks - used
    }
}

impl Wanted<'_> {
    /// Lays everything out on so many groups.
    fn lay_out(&self, groups: u32, free: u64) -> Result<Layout, PlanError> {
        let reserved = self.reserved_blocks(u64::from(groups), free);
        let geometry = Geometry::new(groups, reserved);
        let per_group = self.inodes.div_ceil(u64::from(groups));
        let per_group = per_group.next_multiple_of(u64::from(INODES_PER_BLOCK));
        let table_blocks = per_group / u64::from(INODES_PER_BLOCK);
        let mut cursor = Cursor {
            geometry: &geometry,
            next: 0,
            gaps: Vec::new(),
        };
        let bitmaps = cursor.take(2 * u64::from(groups));
        let tables = (0..groups)
            .map(|_| cursor.take_piece(table_blocks))
            .collect();
        let resize = (reserved > 0).then(|| cursor.take(1));
        let xattrs = cursor.take(self.census.xattr_blocks.len() as u64);
        let mut starts = vec![0; self.census.nodes.len()];
        self.place_metadata(&mut cursor, &mut starts);
        let data = self.place_data(&mut cursor, &mut starts)?;
        let journal = self.options.journal.then(|| {
            let blocks = journal_blocks(groups);
            let place = cursor.place(|| whole(blocks), blocks).1;
            Journal { blocks, place }
        });
        let Cursor { next, gaps, .. } = cursor;
        Ok(Layout {
            geometry,
            blocks: 0,
            inodes_per_group: low32(per_group),
            bitmaps,
            tables,
            resize,
            xattrs,
            starts,
            data,
            journal,
            gaps,
            end: next,
        })
    }

    fn place_metadata(&self, cursor: &mut Cursor<'_>, starts: &mut [u64]) {
        let mut directories = self.census.directories.iter().peekable();
        for (inode, node) in self.census.nodes.iter().enumerate() {
            let directory = directories.next_if(|directory| directory.inode as usize == inode);
            let blocks = match (directory, node.map(|id| &self.tree.inode(id).node)) {
                (Some(directory), _) => u64::from(directory.blocks),
                (None, Some(Node::Symlink(target))) if target.len() >= SHORT_TARGET => 1,
                _ => continue,
            };
            starts[inode] = cursor.place(|| whole(blocks), blocks).0;
        }
    }

    fn place_data(
        &self,
        cursor: &mut Cursor<'_>,
        starts: &mut [u64],
    ) -> Result<Range<u64>, PlanError> {
        let first = cursor.next;
        for (inode, node) in self.census.nodes.iter().enumerate() {
            let Some(Node::File(file)) = node.map(|id| &self.tree.inode(id).node) else {
                continue;
            };
            let blocks: u64 = runs_of(file).map(|run| run.blocks).sum();
            if blocks > 0 {
                starts[inode] = cursor.place(|| runs_of(file), blocks).0;
            }
            if cursor.next >= BLOCKS_MAX {
                return Err(PlanError::TooLarge);
            }
        }
        Ok(first..cursor.next)
    }

    /// How many blocks are kept for descriptors of groups to come.
    fn reserved_blocks(&self, groups: u64, free: u64) -> u64 {
        let blocks = match self.options.growth {
            Growth::Unprepared => return 0,
            Growth::Times(times) => {
                let stored = if groups > 1 {
                    groups * BLOCKS_PER_GROUP
                } else {
                    self.stored_blocks().saturating_add(free)
                };
                stored.saturating_mul(u64::from(times))
            }
            Growth::Bytes(bytes) => bytes.div_ceil(BLOCK),
        };
        let all = descriptor_blocks(blocks.min(BLOCKS_MAX - 1).div_ceil(BLOCKS_PER_GROUP));
        all.saturating_sub(descriptor_blocks(groups))
            .min(RESERVED_MAX)
    }

    /// About what a small disk holds.
    fn stored_blocks(&self) -> u64 {
        let nodes = self.census.nodes.iter().flatten();
        let files = nodes.map(|id| match &self.tree.inode(*id).node {
            Node::File(file) => runs_of(file).map(|run| run.blocks).sum(),
            Node::Directory(_) => 1,
            _ => 0,
        });
        let inodes = self.inodes / u64::from(INODES_PER_BLOCK);
        files.fold(inodes, u64::saturating_add)
    }
}

impl Cursor<'_> {
    fn take(&mut self, slots: u64) -> u64 {
        let first = self.next;
        self.next += slots;
        first
    }

    /// Takes slots that are one piece of the disk, and returns the first block.
    fn take_piece(&mut self, blocks: u64) -> u64 {
        loop {
            let (block, run) = self.geometry.block(self.next);
            if run >= blocks {
                self.next += blocks;
                return block;
            }
            self.leave(run);
        }
    }

    /// Places a file, and returns where room for it was looked for.
    fn place<I>(&mut self, runs: impl Fn() -> I, blocks: u64) -> (u64, Place)
    where
        I: Iterator<Item = super::extents::Run>,
    {
        let start = self.next;
        let place = place(self.geometry, start, runs);
        self.leave(place.tree - start);
        self.next = place.data + blocks;
        (start, place)
    }

    fn leave(&mut self, slots: u64) {
        if slots > 0 {
            self.gaps.push(self.next..self.next + slots);
            self.next += slots;
        }
    }
}

/// The size of the journal of a disk of so many groups, as `mke2fs` has it.
fn journal_blocks(groups: u32) -> u64 {
    match groups {
        0..=1 => 1024,
        2..=8 => 4096,
        9..=16 => 8192,
        17..=128 => 16_384,
        129..=256 => 32_768,
        257..=512 => 65_536,
        513..=1024 => 131_072,
        _ => 262_144,
    }
}
