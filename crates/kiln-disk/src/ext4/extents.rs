//! Which blocks a file has: its runs of data, in extents, in a tree.

use super::checksum::crc;
use super::format::{BLOCK, BLOCK_LEN, high32, index, low16, low32, put16, put32};
use super::geometry::Geometry;
use crate::tree::{Content, File};

/// The longest extent that has data, in blocks.
const LONGEST: u64 = 32_768;
/// Extents, or indices, that an inode has room for.
const IN_INODE: usize = 4;
/// Those that a block has room for, and its checksum.
const IN_BLOCK: usize = 340;
const MAGIC: u16 = 0xf30a;
const RECORD: usize = 12;

/// Blocks of a file that have data, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The number of the first within the file.
    pub(super) logical: u64,
    /// How many.
    pub(super) blocks: u64,
}

/// Where a file is: first the blocks of its tree, then its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The first slot of the tree.
    pub(super) tree: u64,
    /// How many blocks the tree has.
    pub(super) tree_blocks: u64,
    /// The first slot of the data.
    pub(super) data: u64,
}

/// A piece of a file on the disk.
#[derive(Debug, Clone, Copy)]
struct Extent {
    logical: u64,
    block: u64,
    blocks: u64,
}

/// The runs of a file, in order, with none touching the next.
pub(super) fn runs_of(file: &File) -> Box<dyn Iterator<Item = Run> + '_> {
    let Content::Sparse(_, segments) = &file.content else {
        return Box::new(whole(file.size.div_ceil(BLOCK)));
    };
    let mut segments = segments.iter().peekable();
    Box::new(std::iter::from_fn(move || {
        let first = segments.next()?;
        let logical = first.offset / BLOCK;
        let mut end = (first.offset + first.length).div_ceil(BLOCK);
        while let Some(next) = segments.next_if(|next| next.offset / BLOCK <= end) {
            end = (next.offset + next.length).div_ceil(BLOCK);
        }
        Some(Run {
            logical,
            blocks: end - logical,
        })
    }))
}

/// The run of a file without holes.
pub(super) fn whole(blocks: u64) -> impl Iterator<Item = Run> {
    let run = Run { logical: 0, blocks };
    std::iter::once(run).filter(|run| run.blocks > 0)
}

/// Finds room for a file at the first slot from `slot` on at which its tree is as large as it has
/// to be; how the data is cut into extents depends on where it is.
pub(super) fn place<I>(geometry: &Geometry, slot: u64, runs: impl Fn() -> I) -> Place
where
    I: Iterator<Item = Run>,
{
    let mut tree_blocks = 0;
    loop {
        let data = slot + tree_blocks;
        let mut count = 0;
        each_extent(geometry, data, runs(), |_| count += 1);
        let needed = tree_size(count);
        if needed <= tree_blocks {
            return Place {
                // A block that is not needed here after all is before the tree, and stays free.
                tree: data - needed,
                tree_blocks: needed,
                data,
            };
        }
        tree_blocks = needed;
    }
}

/// How many blocks a tree of so many extents takes.
fn tree_size(extents: u64) -> u64 {
    let mut level = extents;
    let mut blocks = 0;
    while level > IN_INODE as u64 {
        level = level.div_ceil(IN_BLOCK as u64);
        blocks += level;
    }
    blocks
}

fn each_extent(
    geometry: &Geometry,
    data: u64,
    runs: impl Iterator<Item = Run>,
    mut visit: impl FnMut(Extent),
) {
    let mut slot = data;
    for run in runs {
        let mut logical = run.logical;
        geometry.pieces(slot..slot + run.blocks, |piece| {
            let mut block = piece.start;
            while block < piece.end {
                let blocks = LONGEST.min(piece.end - block);
                visit(Extent {
                    logical,
                    block,
                    blocks,
                });
                block += blocks;
                logical += blocks;
            }
        });
        slot += run.blocks;
    }
}

/// The tree of a file that was placed: what is in its inode, and the blocks of the rest in the
/// order of their slots. `seed` is that of the inode's checksums.
pub(super) fn encode(
    geometry: &Geometry,
    place: &Place,
    runs: impl Iterator<Item = Run>,
    seed: u32,
) -> ([u8; 60], Vec<u8>) {
    // Records of the level at hand, each with the first block of the file that it is about.
    let mut records: Vec<(u32, [u8; RECORD])> = Vec::new();
    each_extent(geometry, place.data, runs, |extent| {
        let logical = low32(extent.logical);
        records.push((logical, extent_record(logical, &extent)));
    });
    let mut blocks = Vec::with_capacity(index(place.tree_blocks) * BLOCK_LEN);
    let mut depth = 0;
    while records.len() > IN_INODE {
        let mut above = Vec::with_capacity(records.len().div_ceil(IN_BLOCK));
        for chunk in records.chunks(IN_BLOCK) {
            let slot = place.tree + (blocks.len() / BLOCK_LEN) as u64;
            let start = blocks.len();
            blocks.resize(start + BLOCK_LEN, 0);
            let block = &mut blocks[start..];
            fill(block, chunk, IN_BLOCK, depth);
            let end = RECORD * (IN_BLOCK + 1);
            let sum = crc(seed, &block[..end]);
            put32(block, end, sum);
            let logical = chunk[0].0;
            above.push((logical, index_record(logical, geometry.block(slot).0)));
        }
        records = above;
        depth += 1;
    }
    let mut root = [0; 60];
    fill(&mut root, &records, IN_INODE, depth);
    (root, blocks)
}

fn fill(node: &mut [u8], records: &[(u32, [u8; RECORD])], room: usize, depth: u16) {
    put16(node, 0, MAGIC);
    put16(node, 2, low16(low32(records.len() as u64)));
    put16(node, 4, low16(low32(room as u64)));
    put16(node, 6, depth);
    for (at, (_, record)) in records.iter().enumerate() {
        node[RECORD * (at + 1)..RECORD * (at + 2)].copy_from_slice(record);
    }
}

fn extent_record(logical: u32, extent: &Extent) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    put32(&mut record, 0, logical);
    put16(&mut record, 4, low16(low32(extent.blocks)));
    put16(&mut record, 6, low16(high32(extent.block)));
    put32(&mut record, 8, low32(extent.block));
    record
}

fn index_record(logical: u32, block: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    put32(&mut record, 0, logical);
    put32(&mut record, 4, low32(block));
    put16(&mut record, 8, low16(high32(block)));
    record
}
