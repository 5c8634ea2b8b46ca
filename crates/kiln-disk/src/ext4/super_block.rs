//! What the file system says of itself: the superblock, the groups, their bitmaps, and the copies.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::checksum::{crc, seed_of};
use super::format::{
    BLOCK, BLOCK_LEN, BLOCKS_PER_GROUP, DESC_LEN, FIRST_INO, INODE_LEN, JOURNAL_INO, high16,
    high32, index, low16, low32, put, put16, put32,
};
use super::geometry::first_block;
use super::inode::Record;
use super::plan::Plan;
use super::sink::Sink;

/// The superblock's own size, and where it is in the first block.
const SUPER_LEN: usize = 1024;
const SUPER_AT: usize = 1024;

// Features that older kernels can ignore.
const EXT_ATTR: u32 = 0x8;
const RESIZE_INODE: u32 = 0x10;
const DIR_INDEX: u32 = 0x20;
const HAS_JOURNAL: u32 = 0x4;
// Features that they must know.
const FILETYPE: u32 = 0x2;
const EXTENTS: u32 = 0x40;
const WIDE: u32 = 0x80;
const FLEX_BG: u32 = 0x200;
const LARGE_DIR: u32 = 0x4000;
// Features that they must know to write: sparse_super, large_file, huge_file, dir_nlink,
// extra_isize, metadata_csum.
const TO_WRITE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// Unused inodes at the end of a table need not be read, and are all zeros.
const INODES_UNUSED: u16 = 1;
const TABLE_ZEROED: u16 = 4;

/// Everything in front of the inodes, and its copies.
pub(super) fn write(plan: &Plan, out: &File) -> io::Result<()> {
    let layout = &plan.layout;
    let mut sink = Sink::new(out, &layout.geometry);
    let mut descriptors = vec![0; index(layout.geometry.descriptor_blocks) * BLOCK_LEN];
    let used = layout.used();
    let seed = seed_of(&plan.options.uuid);
    // Bitmaps of blocks and of inodes are two rows, each in the order of the groups.
    let mut groups = Groups::new(plan, seed);
    for group in 0..layout.geometry.groups {
        let bitmap = block_bitmap(&used, group, layout.group_blocks(group));
        sink.put_slots(layout.bitmaps + u64::from(group), &bitmap)?;
        groups.describe_blocks(&mut descriptors, group, &bitmap);
    }
    for group in 0..layout.geometry.groups {
        let bitmap = groups.inode_bitmap(group);
        let slot = layout.bitmaps + u64::from(layout.geometry.groups + group);
        sink.put_slots(slot, &bitmap)?;
        groups.describe_inodes(&mut descriptors, group, &bitmap);
    }
    write_resize(plan, &mut sink)?;
    write_journal(plan, &mut sink)?;
    sink.flush()?;
    let free_blocks = layout.free_blocks();
    for first in layout.geometry.copies() {
        let group = low32(first / BLOCKS_PER_GROUP);
        let super_block = super_block(plan, group, free_blocks);
        let mut block = vec![0; BLOCK_LEN];
        let at = if group == 0 { SUPER_AT } else { 0 };
        put(&mut block, at, &super_block);
        sink.put(*first, &block)?;
        sink.put(first + 1, &descriptors)?;
    }
    sink.flush()
}

/// Makes descriptors.
struct Groups<'a> {
    plan: &'a Plan,
    seed: u32,
    /// How many directories each group's inodes have.
    directories: Vec<u32>,
}

impl<'a> Groups<'a> {
    fn new(plan: &'a Plan, seed: u32) -> Self {
        let mut directories = vec![0; plan.layout.geometry.groups as usize];
        for directory in &plan.census.directories {
            let group = (directory.inode - 1) / plan.layout.inodes_per_group;
            directories[group as usize] += 1;
        }
        Self {
            plan,
            seed,
            directories,
        }
    }

    /// How many of a group's inodes are used: those at its beginning.
    fn used_inodes(&self, group: u32) -> u32 {
        let per_group = self.plan.layout.inodes_per_group;
        let before = group * per_group;
        self.plan
            .census
            .last()
            .saturating_sub(before)
            .min(per_group)
    }

    fn inode_bitmap(&self, group: u32) -> Vec<u8> {
        let mut bitmap = vec![0; BLOCK_LEN];
        if self.used_inodes(group) > 0 {
            set_bits(&mut bitmap, 0..u64::from(self.used_inodes(group)));
            let per_group = u64::from(self.plan.layout.inodes_per_group);
            set_bits(&mut bitmap, per_group..BLOCKS_PER_GROUP);
        }
        bitmap
    }

    fn describe_blocks(&self, descriptors: &mut [u8], group: u32, bitmap: &[u8]) {
        let layout = &self.plan.layout;
        let descriptor = &mut descriptors[group as usize * DESC_LEN..][..DESC_LEN];
        let block = layout.geometry.block(layout.bitmaps + u64::from(group)).0;
        put32(descriptor, 0, low32(block));
        put32(descriptor, 32, high32(block));
        let used: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
        let free = 8 * BLOCK_LEN - used as usize;
        let free = low32(free as u64);
        put16(descriptor, 12, low16(free));
        put16(descriptor, 44, high16(free));
        let sum = crc(self.seed, bitmap);
        put16(descriptor, 24, low16(sum));
        put16(descriptor, 56, high16(sum));
    }

    fn describe_inodes(&mut self, descriptors: &mut [u8], group: u32, bitmap: &[u8]) {
        let layout = &self.plan.layout;
        let descriptor = &mut descriptors[group as usize * DESC_LEN..][..DESC_LEN];
        let slot = layout.bitmaps + u64::from(layout.geometry.groups + group);
        let block = layout.geometry.block(slot).0;
        put32(descriptor, 4, low32(block));
        put32(descriptor, 36, high32(block));
        let table = layout.tables[group as usize];
        put32(descriptor, 8, low32(table));
        put32(descriptor, 40, high32(table));
        let used = self.used_inodes(group);
        let free = layout.inodes_per_group - used;
        put16(descriptor, 14, low16(free));
        put16(descriptor, 46, high16(free));
        put16(descriptor, 28, low16(free));
        put16(descriptor, 50, high16(free));
        let directories = self.directories[group as usize];
        put16(descriptor, 16, low16(directories));
        put16(descriptor, 48, high16(directories));
        let flags = if used == 0 {
            TABLE_ZEROED | INODES_UNUSED
        } else {
            let bits = layout.inodes_per_group as usize / 8;
            let sum = crc(self.seed, &bitmap[..bits]);
            put16(descriptor, 26, low16(sum));
            put16(descriptor, 58, high16(sum));
            TABLE_ZEROED
        };
        put16(descriptor, 18, flags);
        let sum = crc(crc(self.seed, &group.to_le_bytes()), descriptor);
        put16(descriptor, 30, low16(sum));
    }
}

fn block_bitmap(used: &[Range<u64>], group: u32, blocks: u64) -> Vec<u8> {
    let mut bitmap = vec![0; BLOCK_LEN];
    let first = first_block(group);
    let from = used.partition_point(|range| range.end <= first);
    for range in &used[from..] {
        if range.start >= first + blocks {
            break;
        }
        let start = range.start.max(first) - first;
        set_bits(&mut bitmap, start..range.end.min(first + blocks) - first);
    }
    // There are no blocks after the disk's end.
    set_bits(&mut bitmap, blocks..BLOCKS_PER_GROUP);
    bitmap
}

fn set_bits(bitmap: &mut [u8], bits: Range<u64>) {
    let (start, end) = (index(bits.start), index(bits.end));
    let (whole_start, whole_end) = (start.next_multiple_of(8), end / 8 * 8);
    if whole_start >= whole_end {
        for bit in start..end {
            bitmap[bit / 8] |= 1 << (bit % 8);
        }
        return;
    }
    for bit in (start..whole_start).chain(whole_end..end) {
        bitmap[bit / 8] |= 1 << (bit % 8);
    }
    bitmap[whole_start / 8..whole_end / 8].fill(0xff);
}

/// The blocks that name those kept for descriptors: one names the kept blocks of the first group,
/// and each of these names its copies.
fn write_resize(plan: &Plan, sink: &mut Sink<'_>) -> io::Result<()> {
    let geometry = &plan.layout.geometry;
    let Some(slot) = plan.layout.resize else {
        return Ok(());
    };
    let mut all = vec![0; BLOCK_LEN];
    for kept in 0..geometry.reserved_blocks {
        let nth = geometry.descriptor_blocks + kept;
        let place = index(nth) % (BLOCK_LEN / 4) * 4;
        put32(&mut all, place, low32(1 + nth));
        let mut copies = vec![0; BLOCK_LEN];
        for (at, first) in geometry.copies()[1..].iter().enumerate() {
            put32(&mut copies, 4 * at, low32(first + 1 + nth));
        }
        sink.put(1 + nth, &copies)?;
    }
    sink.put_slots(slot, &all)
}

/// The inode of what is kept for descriptors.
pub(super) fn resize_inode(plan: &Plan) -> Option<Record> {
    let geometry = &plan.layout.geometry;
    let slot = plan.layout.resize?;
    let mut record = Record::new(0o100_600, plan.options.epoch);
    // Where a file's blocks are named by two levels of blocks.
    put32(&mut record.content, 13 * 4, low32(geometry.block(slot).0));
    let named = BLOCK / 4;
    record.size = (named * named + named + 12) * BLOCK;
    record.blocks = 1 + geometry.reserved_blocks * geometry.copies().len() as u64;
    Some(record)
}

/// The journal's first block: it has nothing to be repeated.
fn write_journal(plan: &Plan, sink: &mut Sink<'_>) -> io::Result<()> {
    let Some(journal) = &plan.layout.journal else {
        return Ok(());
    };
    let mut block = vec![0; BLOCK_LEN];
    let fields = [
        0xc03b_3998,
        // A superblock of the second version.
        4,
        0,
        low32(BLOCK),
        low32(journal.blocks),
        // The first block of the log, and the first number.
        1,
        1,
    ];
    for (at, field) in fields.into_iter().enumerate() {
        put(&mut block, 4 * at, &u32::to_be_bytes(field));
    }
    put(&mut block, 48, &plan.options.uuid);
    put(&mut block, 64, &1_u32.to_be_bytes());
    sink.put_slots(journal.place.data, &block)
}

fn super_block(plan: &Plan, group: u32, free_blocks: u64) -> [u8; SUPER_LEN] {
    let (layout, options) = (&plan.layout, &plan.options);
    let free_inodes = layout.inodes() - plan.census.last();
    let mut out = [0; SUPER_LEN];
    put32(&mut out, 0x00, layout.inodes());
    put32(&mut out, 0x04, low32(layout.blocks));
    put32(&mut out, 0x150, high32(layout.blocks));
    put32(&mut out, 0x0c, low32(free_blocks));
    put32(&mut out, 0x158, high32(free_blocks));
    put32(&mut out, 0x10, free_inodes);
    // Blocks and clusters of 1 KiB << 2.
    put32(&mut out, 0x18, 2);
    put32(&mut out, 0x1c, 2);
    put32(&mut out, 0x20, low32(BLOCKS_PER_GROUP));
    put32(&mut out, 0x24, low32(BLOCKS_PER_GROUP));
    put32(&mut out, 0x28, layout.inodes_per_group);
    // Never checked because of how often it was mounted.
    put16(&mut out, 0x36, u16::MAX);
    put16(&mut out, 0x38, 0xef53);
    // Clean; errors are ignored as far as they can.
    put16(&mut out, 0x3a, 1);
    put16(&mut out, 0x3c, 1);
    put32(&mut out, 0x4c, 1);
    put32(&mut out, 0x54, FIRST_INO);
    put16(&mut out, 0x58, low16(low32(INODE_LEN as u64)));
    put16(&mut out, 0x5a, low16(group));
    put_features(plan, &mut out);
    put(&mut out, 0x68, &options.uuid);
    put(&mut out, 0x78, &options.label);
    put16(
        &mut out,
        0xce,
        low16(low32(layout.geometry.reserved_blocks)),
    );
    put(&mut out, 0xec, &options.hash_seed);
    out[0xfc] = 1;
    put16(&mut out, 0xfe, low16(low32(DESC_LEN as u64)));
    // Attributes of users, and access control lists.
    put32(&mut out, 0x100, 0x4 | 0x8);
    put16(&mut out, 0x15c, 32);
    put16(&mut out, 0x15e, 32);
    // Names are hashed as unsigned bytes.
    put32(&mut out, 0x160, 2);
    // 16 groups together, sums by CRC-32C.
    out[0x174] = 4;
    out[0x175] = 1;
    put_times(options.epoch, &mut out);
    put_journal(plan, &mut out);
    let sum = crc(!0, &out[..SUPER_LEN - 4]);
    put32(&mut out, SUPER_LEN - 4, sum);
    out
}

fn put_features(plan: &Plan, out: &mut [u8]) {
    let mut compatible = EXT_ATTR | DIR_INDEX;
    if plan.layout.journal.is_some() {
        compatible |= HAS_JOURNAL;
    }
    if plan.layout.resize.is_some() {
        compatible |= RESIZE_INODE;
    }
    let mut needed = FILETYPE | EXTENTS | WIDE | FLEX_BG;
    if plan.census.has_large_directory {
        needed |= LARGE_DIR;
    }
    put32(out, 0x5c, compatible);
    put32(out, 0x60, needed);
    put32(out, 0x64, TO_WRITE);
}

/// When it was made, last written and last checked.
fn put_times(epoch: i64, out: &mut [u8]) {
    let seconds = u64::try_from(epoch).unwrap_or(0).min((1 << 40) - 1);
    for (at, more) in [(0x108, 0x276), (0x30, 0x274), (0x40, 0x277)] {
        put32(out, at, low32(seconds));
        out[more] = high32(seconds).to_le_bytes()[0];
    }
}

/// The journal's inode, and a copy of where it is.
fn put_journal(plan: &Plan, out: &mut [u8]) {
    let Some(record) = super::write::journal_inode(plan) else {
        return;
    };
    put32(out, 0xe0, JOURNAL_INO);
    out[0xfd] = 1;
    put(out, 0x10c, &record.content);
    put32(out, 0x148, high32(record.size));
    put32(out, 0x14c, low32(record.size));
}
