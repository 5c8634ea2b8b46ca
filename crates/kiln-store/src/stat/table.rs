//! A sorted table of records on the disk, read in blocks. Integers are little endian:
//!
//! ```text
//! file:    blocks | index | trailer
//! block:   records | their paths
//! record:  path offset u32 | path length u32 | dev u64 | ino u64 | size u64
//!          | mtime s i64 | ctime s i64 | mtime ns u32 | ctime ns u32 | age u32 | digest 32 bytes
//! index:   for each block: offset u64 | length u32 | records u32 | BLAKE3 of it, 32 bytes
//!          | first path: length u32, bytes
//! trailer: index offset u64 | index length u32 | version u32 | "kilnstat"
//!          | BLAKE3 of the index and what is before this, 32 bytes
//! ```
//!
//! The order is that of a walk: `a/b` is before `a-b`. Checksums are keyed with the context. They
//! are needed since the file is not synced: after a loss of power it may hold anything. A block
//! whose checksum is wrong has no records, and a file whose index's is wrong no blocks. That goes
//! for files of another version as well.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kiln_base::Timestamp;

use super::FileStamp;
use crate::ContextId;

pub(super) const MAGIC: &[u8; 8] = b"kilnstat";
pub(super) const VERSION: u32 = 2;
pub(super) const RECORD: usize = 92;
const CHECKSUM: usize = 32;
const TRAILER: usize = 8 + 4 + 4 + MAGIC.len() + CHECKSUM;

/// A block that has this many bytes is full.
pub(super) const BLOCK: usize = if cfg!(test) { 512 } else { 64 << 10 };
/// Longer paths are not kept: no system call takes them.
pub(super) const LONGEST_PATH: usize = 64 << 10;
/// Larger blocks are not written.
const LARGEST_BLOCK: usize = BLOCK + RECORD + LONGEST_PATH;
/// Larger indexes are not read, so that a damaged length decides no allocation. One that was written
/// all the same, of very many files or very long paths, counts as empty.
const LARGEST_INDEX: usize = 64 << 20;
/// So many blocks are kept: several copies may be digested at a time.
const KEPT_BLOCKS: usize = 4;

/// What is known of a file.
pub(super) struct Record<'a> {
    pub(super) path: &'a [u8],
    pub(super) stamp: FileStamp,
    /// How many saves in a row did not look at it.
    pub(super) age: u32,
    pub(super) digest: [u8; 32],
}

/// A table that is written, and of which just the index is in memory.
#[derive(Default)]
pub(super) struct Table {
    /// `None` for a table without records.
    file: Option<Arc<File>>,
    blocks: Vec<BlockInfo>,
    count: usize,
    key: [u8; 32],
}

/// Where a block is.
pub(super) struct BlockInfo {
    pub(super) offset: u64,
    pub(super) length: usize,
    /// How many records it has, and all before it.
    pub(super) count: usize,
    pub(super) before: usize,
    pub(super) checksum: [u8; 32],
    pub(super) first_path: Box<[u8]>,
}

/// A block in memory.
#[derive(Default)]
pub(super) struct Block {
    number: usize,
    bytes: Vec<u8>,
    count: usize,
    /// The record after the one that was found last: files are looked up about in their order.
    next: usize,
}

/// The blocks that were read last, the very last first.
#[derive(Default)]
pub(super) struct Blocks(Vec<Block>);

/// The order of a table: by names, not by the bytes of paths.
pub(super) fn order(a: &[u8], b: &[u8]) -> Ordering {
    let differ = a.iter().zip(b).find(|(a, b)| a != b);
    match differ {
        None => a.len().cmp(&b.len()),
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((a, b)) => a.cmp(b),
    }
}

impl Table {
    /// Reads the index of a file. What is not whole is empty.
    pub(super) fn open(file: Arc<File>, context: ContextId) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let mut trailer = [0; TRAILER];
        let Some(at) = size.checked_sub(TRAILER as u64) else {
            return Ok(Self::default());
        };
        file.read_exact_at(&mut trailer, at)?;
        let mut fields = Fields(&trailer);
        let (offset, length) = (fields.u64(), fields.u32());
        let (version, magic) = (fields.u32(), fields.take::<8>());
        let (Some(offset), Some(length)) = (offset, length) else {
            return Ok(Self::default());
        };
        let is_ours = version == Some(VERSION) && magic == Some(*MAGIC);
        let ends_there = offset.checked_add(length.into()) == Some(at);
        let Ok(length) = usize::try_from(length) else {
            return Ok(Self::default());
        };
        if !is_ours || !ends_there || length > LARGEST_INDEX {
            return Ok(Self::default());
        }
        let mut index = vec![0; length];
        file.read_exact_at(&mut index, offset)?;
        let (before, checksum) = trailer.split_at(TRAILER - CHECKSUM);
        let mut hasher = blake3::Hasher::new_keyed(&context.0);
        hasher.update(&index).update(before);
        if hasher.finalize() != *checksum {
            return Ok(Self::default());
        }
        let blocks = parse_index(&index, offset).unwrap_or_default();
        Ok(Self::of(file, blocks, context))
    }

    /// A table whose blocks were just written.
    pub(super) fn of(file: Arc<File>, blocks: Vec<BlockInfo>, context: ContextId) -> Self {
        let last = blocks.last();
        Self {
            count: last.map_or(0, |last| last.before + last.count),
            file: Some(file),
            blocks,
            key: context.0,
        }
    }

    /// How many records there are, if all blocks can be read.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    pub(super) const fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The number of the first record in a block.
    pub(super) fn first_of(&self, block: usize) -> usize {
        self.blocks[block].before
    }

    /// The block that has the path, if any does.
    fn block_of(&self, path: &[u8]) -> Option<usize> {
        let after = |info: &BlockInfo| order(&info.first_path, path) != Ordering::Greater;
        self.blocks.partition_point(after).checked_sub(1)
    }

    /// Reads a block into another's memory.
    pub(super) fn read(&self, number: usize, block: &mut Block) {
        let info = &self.blocks[number];
        block.number = number;
        block.next = 0;
        block.bytes.resize(info.length, 0);
        let read = self.file.as_ref().is_some_and(|file| {
            // What can't be read is not known: the file's content is read instead.
            file.read_exact_at(&mut block.bytes, info.offset).is_ok()
        });
        let is_whole = read && checksum(&self.key, &block.bytes) == info.checksum;
        block.count = if is_whole { info.count } else { 0 };
    }
}

pub(super) fn checksum(key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// The blocks of an index, all of which are before `end`.
fn parse_index(index: &[u8], end: u64) -> Option<Vec<BlockInfo>> {
    let mut fields = Fields(index);
    let mut blocks = Vec::new();
    let mut before = 0_usize;
    while !fields.0.is_empty() {
        let offset = fields.u64()?;
        let length = usize::try_from(fields.u32()?).ok()?;
        let count = usize::try_from(fields.u32()?).ok()?;
        let checksum = fields.take()?;
        let path = usize::try_from(fields.u32()?).ok()?;
        let (first_path, rest) = fields.0.split_at_checked(path)?;
        fields.0 = rest;
        let is_inside = offset.checked_add(length as u64)? <= end;
        if !is_inside || length > LARGEST_BLOCK || count.checked_mul(RECORD)? > length {
            return None;
        }
        blocks.push(BlockInfo {
            offset,
            length,
            count,
            before,
            checksum,
            first_path: first_path.into(),
        });
        before = before.checked_add(count)?;
    }
    Some(blocks)
}

impl Blocks {
    /// The record of a path, and its number.
    pub(super) fn find<'a>(
        &'a mut self,
        table: &Table,
        path: &[u8],
    ) -> Option<(usize, Record<'a>)> {
        let next = |block: &Block| block.path(block.next) == Some(path);
        if !self.0.first().is_some_and(next) {
            self.bring(table, table.block_of(path)?);
        }
        let block = self.0.first_mut()?;
        let index = match block.path(block.next) {
            Some(next) if next == path => block.next,
            _ => block.search(path)?,
        };
        block.next = index + 1;
        Some((table.first_of(block.number) + index, block.record(index)?))
    }

    /// Makes a block the first.
    fn bring(&mut self, table: &Table, number: usize) {
        if let Some(at) = self.0.iter().position(|block| block.number == number) {
            self.0[..=at].rotate_right(1);
            return;
        }
        if self.0.len() < KEPT_BLOCKS {
            self.0.push(Block::default());
        }
        self.0.rotate_right(1);
        if let Some(block) = self.0.first_mut() {
            table.read(number, block);
        }
    }
}

impl Block {
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    fn search(&self, path: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match order(self.path(middle)?, path) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub(super) fn path(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        let mut fields = Fields(self.bytes.get(index * RECORD..)?);
        let start = self.count * RECORD + usize::try_from(fields.u32()?).ok()?;
        let length = usize::try_from(fields.u32()?).ok()?;
        self.bytes.get(start..start.checked_add(length)?)
    }

    pub(super) fn record(&self, index: usize) -> Option<Record<'_>> {
        let path = self.path(index)?;
        let mut fields = Fields(self.bytes.get(index * RECORD + 8..)?);
        let [dev, ino, size] = [fields.u64()?, fields.u64()?, fields.u64()?];
        let [mtime, ctime] = [fields.i64()?, fields.i64()?];
        let mtime = Timestamp::new(mtime, fields.u32()?);
        let ctime = Timestamp::new(ctime, fields.u32()?);
        let stamp = FileStamp {
            dev,
            ino,
            size,
            mtime,
            ctime,
        };
        Some(Record {
            path,
            stamp,
            age: fields.u32()?,
            digest: fields.take()?,
        })
    }
}

/// Reads integers off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }
}
