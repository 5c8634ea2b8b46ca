//! Directories: one block of entries, or leaves sorted by hash below an index.

use super::checksum::crc;
use super::format::{BLOCK_LEN, DIR_TYPE, low16, low32, put, put16, put32};
use super::hash::half_md4;

/// Entries end here; the rest of the block is its checksum, which looks like an entry.
const ENTRIES_END: usize = BLOCK_LEN - 12;
/// Where the entries of an index begin: in the directory's first block, and in others.
const ROOT_ENTRIES: usize = 32;
const NODE_ENTRIES: usize = 8;
/// Where the checksum of a block of the index is.
const INDEX_TAIL: usize = BLOCK_LEN - 8;
/// How many entries an index has room for.
const ROOT_ROOM: usize = (INDEX_TAIL - ROOT_ENTRIES) / 8;
const NODE_ROOM: usize = (INDEX_TAIL - NODE_ENTRIES) / 8;
/// The number of the hash in an index.
const HALF_MD4: u8 = 1;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) inode: u32,
    pub(super) file_type: u8,
}

/// A directory to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listing<'a> {
    pub(super) own: u32,
    pub(super) parent: u32,
    pub(super) names: &'a [Name<'a>],
    /// Of the checksums of the directory's blocks.
    pub(super) checksum_seed: u32,
    /// Blocks that are empty, after the first.
    pub(super) empty_blocks: u32,
}

/// The order of names in a directory of several blocks.
#[derive(Debug)]
struct Leaves {
    /// Hash, second hash, and the name's index.
    order: Vec<(u32, u32, u32)>,
    /// Where in the order each leaf begins.
    starts: Vec<u32>,
}

/// How many blocks a directory of these names takes, and how many levels of index there are
/// between the first block and the leaves.
pub(super) fn size<'a>(
    names: impl Iterator<Item = &'a [u8]> + Clone,
    hash_seed: &[u8; 16],
) -> (u32, usize) {
    if is_small(names.clone()) {
        return (1, 0);
    }
    let leaves = Leaves::new(names, hash_seed);
    let levels = leaves.levels();
    let blocks = 1 + levels.iter().sum::<usize>() + leaves.starts.len();
    (low32(blocks as u64), levels.len())
}

/// Calls `emit` with each block of a directory in order.
pub(super) fn write(listing: &Listing<'_>, hash_seed: &[u8; 16], mut emit: impl FnMut(&[u8])) {
    let names = listing.names.iter().map(|name| name.bytes);
    if is_small(names.clone()) {
        emit(&small_block(listing));
        for _ in 0..listing.empty_blocks {
            let mut block = [0; BLOCK_LEN];
            put16(&mut block, 4, low16(low32(ENTRIES_END as u64)));
            finish(&mut block, listing.checksum_seed);
            emit(&block);
        }
        return;
    }
    let leaves = Leaves::new(names, hash_seed);
    leaves.write_index(listing, &mut emit);
    for leaf in 0..leaves.starts.len() {
        let mut block = [0; BLOCK_LEN];
        let names = leaves.leaf(leaf);
        let names = names.iter().map(|(.., at)| listing.names[*at as usize]);
        fill(&mut block, 0, names);
        finish(&mut block, listing.checksum_seed);
        emit(&block);
    }
}

/// Whether the names, `.` and `..` fit into one block.
fn is_small<'a>(names: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut used = 24;
    for name in names {
        used += record_length(name);
        if used > ENTRIES_END {
            return false;
        }
    }
    true
}

fn record_length(name: &[u8]) -> usize {
    8 + name.len().next_multiple_of(4)
}

fn small_block(listing: &Listing<'_>) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    let dots = [dots(b".", listing.own), dots(b"..", listing.parent)];
    fill(
        &mut block,
        0,
        dots.into_iter().chain(listing.names.iter().copied()),
    );
    finish(&mut block, listing.checksum_seed);
    block
}

const fn dots(name: &'static [u8], inode: u32) -> Name<'static> {
    Name {
        bytes: name,
        inode,
        file_type: DIR_TYPE,
    }
}

/// Writes entries from `at` on; the last one takes what is left.
fn fill<'a>(block: &mut [u8], at: usize, names: impl Iterator<Item = Name<'a>>) {
    let (mut last, mut end) = (at, at);
    for name in names {
        last = end;
        end += put_entry(block, last, &name, record_length(name.bytes));
    }
    put16(block, last + 4, low16(low32((ENTRIES_END - last) as u64)));
}

fn put_entry(block: &mut [u8], at: usize, name: &Name<'_>, length: usize) -> usize {
    put32(block, at, name.inode);
    put16(block, at + 4, low16(low32(length as u64)));
    block[at + 6] = u8::try_from(name.bytes.len()).expect("names have at most 255 bytes");
    block[at + 7] = name.file_type;
    put(block, at + 8, name.bytes);
    length
}

/// Adds the checksum of a block of entries.
fn finish(block: &mut [u8; BLOCK_LEN], seed: u32) {
    let sum = crc(seed, &block[..ENTRIES_END]);
    put16(block, ENTRIES_END + 4, 12);
    block[ENTRIES_END + 7] = 0xde;
    put32(block, ENTRIES_END + 8, sum);
}

impl Leaves {
    fn new<'a>(names: impl Iterator<Item = &'a [u8]> + Clone, seed: &[u8; 16]) -> Self {
        let hashed = names.clone().zip(0_u32..).map(|(name, at)| {
            let (hash, second) = half_md4(seed, name);
            (hash, second, at)
        });
        let mut order: Vec<_> = hashed.collect();
        order.sort_unstable();
        // Lengths in the order of the names.
        let lengths: Vec<u16> = names
            .map(|name| low16(low32(record_length(name) as u64)))
            .collect();
        let mut starts = vec![0];
        let mut used = 0;
        for ((.., at), place) in order.iter().zip(0_u32..) {
            let length = usize::from(lengths[*at as usize]);
            if used + length > ENTRIES_END {
                starts.push(place);
                used = 0;
            }
            used += length;
        }
        Self { order, starts }
    }

    fn leaf(&self, leaf: usize) -> &[(u32, u32, u32)] {
        let start = self.starts[leaf] as usize;
        let end = self.starts.get(leaf + 1).map(|end| *end as usize);
        &self.order[start..end.unwrap_or(self.order.len())]
    }

    /// How many blocks each level of the index below the first block has, from the leaves up.
    fn levels(&self) -> Vec<usize> {
        let mut levels = Vec::new();
        let mut children = self.starts.len();
        while children > ROOT_ROOM {
            children = children.div_ceil(NODE_ROOM);
            levels.push(children);
        }
        levels
    }

    /// The hash at which a leaf begins, odd if names of this hash are in the leaf before, too.
    fn first_hash(&self, leaf: usize) -> u32 {
        let start = self.starts[leaf] as usize;
        let hash = self.order[start].0;
        match start.checked_sub(1) {
            None => 0,
            Some(before) => hash | u32::from(self.order[before].0 == hash),
        }
    }

    /// The first block, and then each level of the index from the top down.
    fn write_index(&self, listing: &Listing<'_>, emit: &mut impl FnMut(&[u8])) {
        let levels = self.levels();
        let mut first = 1 + low32(levels.iter().sum::<usize>() as u64);
        let hashes = (0..self.starts.len()).map(|leaf| self.first_hash(leaf));
        let mut children: Vec<(u32, u32)> = hashes.zip(first..).collect();
        let mut nodes = Vec::new();
        for count in &levels {
            first -= low32(*count as u64);
            let above = children.chunks(NODE_ROOM).map(|chunk| chunk[0].0);
            let above = above.zip(first..).collect();
            nodes.push(std::mem::replace(&mut children, above));
        }
        let mut root = [0; BLOCK_LEN];
        put_entry(&mut root, 0, &dots(b".", listing.own), 12);
        put_entry(&mut root, 12, &dots(b"..", listing.parent), BLOCK_LEN - 12);
        root[28] = HALF_MD4;
        root[29] = 8;
        root[30] = u8::try_from(levels.len()).expect("there are few levels");
        fill_index(&mut root, ROOT_ENTRIES, &children, listing.checksum_seed);
        emit(&root);
        for level in nodes.iter().rev() {
            for chunk in level.chunks(NODE_ROOM) {
                let mut node = [0; BLOCK_LEN];
                put16(&mut node, 4, low16(low32(BLOCK_LEN as u64)));
                fill_index(&mut node, NODE_ENTRIES, chunk, listing.checksum_seed);
                emit(&node);
            }
        }
    }
}

/// Writes the entries of an index; in place of the first hash is how many there are.
fn fill_index(block: &mut [u8; BLOCK_LEN], at: usize, children: &[(u32, u32)], seed: u32) {
    for (place, (hash, child)) in children.iter().enumerate() {
        put32(block, at + 8 * place, *hash);
        put32(block, at + 8 * place + 4, *child);
    }
    let room = (INDEX_TAIL - at) / 8;
    put16(block, at, low16(low32(room as u64)));
    put16(block, at + 2, low16(low32(children.len() as u64)));
    // The sum covers the entries, and the tail as if there were no sum yet.
    let entries = crc(seed, &block[..at + 8 * children.len()]);
    let sum = crc(entries, &[0; 8]);
    put32(block, INDEX_TAIL + 4, sum);
}

/// Whether so many levels need a disk that says that it has them.
pub(super) const fn is_large(levels: usize) -> bool {
    levels > 1
}
