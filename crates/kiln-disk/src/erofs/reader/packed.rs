//! Compressed files: their indexes, and their clusters.
//!
//! An index has an entry for each block of a file. The first block of a cluster is its head, which
//! tells where in the block the cluster begins; what is before it is of the cluster before. In the
//! compact form the entries of a pack share one number of a block on the disk, and the counts of
//! blocks in the entries lead on from there.

use super::Reader;
use super::inode::{Index, RawInode};
use crate::erofs::index::{COUNT, LARGE, OTHER, PLAIN, Pack, SMALL, packs};
use crate::read::damaged;
use crate::read::fields::{at16, at32};
use crate::{DiskSource, ReadError};

/// The most bytes that a cluster may take on the disk and in a file, as the kernel has it.
const MOST_PACKED: u64 = 1 << 20;
const MOST_BYTES: u64 = 12 << 20;

/// The head of a cluster by a second compressor.
const HEAD2: u32 = 3;

const COMPACT_LARGE: u16 = 0x1;
const BIG: u16 = 0x2 | 0x4;
const INLINE: u16 = 0x8;
const INTERLACED: u16 = 0x10;
const FRAGMENT: u16 = 0x20;
/// Marks a file that is a fragment altogether.
const ALL_FRAGMENT: u8 = 0x80;

/// How a cluster is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// As it is, but turned so that bytes are where they are in blocks of the file.
    Turned,
    Lz4,
}

/// A cluster of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster {
    /// What it holds, in bytes of the file.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where it is on the disk, in bytes.
    place: u64,
    bytes: u64,
    pub(super) packing: Packing,
}

/// An entry of an index.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u32,
    /// Where in the block the cluster begins; or of others a distance, or a count of blocks.
    value: u32,
    /// The block on the disk, of heads.
    block: u64,
}

/// What stands before an index.
#[derive(Debug, Clone, Copy)]
struct Header {
    advice: u16,
    /// Where it ends on the disk.
    end: u64,
}

impl<D: DiskSource> Reader<D> {
    /// The clusters of a file that is not empty.
    pub(super) fn index(&self, inode: &RawInode, index: Index) -> Result<Vec<Cluster>, ReadError> {
        let header = self.header(inode)?;
        let blocks = inode.size.div_ceil(u64::from(self.facts.block_size));
        let entries = match index {
            Index::Full => self.full(&header, blocks)?,
            Index::Compact => self.compact(inode, &header, blocks)?,
        };
        self.join(inode, header.advice, &entries)
    }

    fn header(&self, inode: &RawInode) -> Result<Header, ReadError> {
        let place = inode.end().next_multiple_of(8);
        let raw = self.metadata(place, 8)?;
        let unsupported = |what: &str| Err(ReadError::Unsupported(what.to_owned()));
        let (advice, algorithm, bits) = (at16(&raw, 4), raw[6], raw[7]);
        if bits & ALL_FRAGMENT != 0 || advice & FRAGMENT != 0 {
            return unsupported("files packed with others (fragments)");
        }
        if advice & INLINE != 0 {
            return unsupported("ends of files beside their inodes (ztailpacking)");
        }
        if bits != 0 {
            return unsupported("an index for larger blocks than its own");
        }
        match algorithm & 0xf {
            0 => {}
            1 => return unsupported("files compressed by LZMA"),
            2 => return unsupported("files compressed by DEFLATE"),
            3 => return unsupported("files compressed by Zstandard"),
            _ => return unsupported("files compressed by an unknown compressor"),
        }
        if advice & !(COMPACT_LARGE | BIG | INTERLACED) != 0 {
            return unsupported("an index of an unknown form");
        }
        Ok(Header {
            advice,
            end: place + 8,
        })
    }

    fn full(&self, header: &Header, blocks: u64) -> Result<Vec<Entry>, ReadError> {
        // After 8 bytes that nothing uses. More entries than the disk has room for fail.
        let length = blocks.saturating_mul(8);
        let bytes = self.disk.read(header.end.saturating_add(8), length)?;
        let entries = bytes.chunks(8).map(|raw| {
            let kind = u32::from(at16(raw, 0) & 3);
            let is_head = kind != OTHER;
            Entry {
                kind,
                value: u32::from(at16(raw, if is_head { 2 } else { 4 })),
                block: if is_head { at32(raw, 4).into() } else { 0 },
            }
        });
        Ok(entries.collect())
    }

    fn compact(
        &self,
        inode: &RawInode,
        header: &Header,
        blocks: u64,
    ) -> Result<Vec<Entry>, ReadError> {
        if self.facts.block_size != 4096 {
            let what = "a compact index for blocks that are not of 4096 bytes".to_owned();
            return Err(ReadError::Unsupported(what));
        }
        let counts = if header.advice & COMPACT_LARGE != 0 {
            packs(inode.end(), blocks)
        } else {
            [blocks.div_ceil(2), 0, 0]
        };
        let is_big = match header.advice & BIG {
            0 => false,
            BIG => true,
            _ => return Err(inode.damaged("its index is of two kinds")),
        };
        let mut entries = Vec::new();
        let mut at = header.end;
        for (pack, count) in [SMALL, LARGE, SMALL].into_iter().zip(counts) {
            let length = count.saturating_mul(pack.bytes);
            let bytes = self.disk.read(at, length)?;
            at += length;
            for raw in bytes.chunks_exact(pack.bytes as usize) {
                unpack_entries(pack, raw, is_big, &mut entries);
            }
        }
        entries.truncate(blocks as usize);
        Ok(entries)
    }

    /// The clusters of which these are the entries.
    fn join(
        &self,
        inode: &RawInode,
        advice: u16,
        entries: &[Entry],
    ) -> Result<Vec<Cluster>, ReadError> {
        let block_size = u64::from(self.facts.block_size);
        let wrong = |problem| Err(inode.damaged(problem));
        let mut clusters: Vec<Cluster> = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let start = number as u64 * block_size + u64::from(entry.value);
            let packing = match entry.kind {
                OTHER => continue,
                PLAIN if advice & INTERLACED != 0 => Packing::Turned,
                PLAIN => Packing::Plain,
                HEAD2 => return wrong("a cluster has another compressor"),
                _ => Packing::Lz4,
            };
            // A last entry may tell where the file ends.
            if start >= inode.size && number + 1 == entries.len() {
                break;
            }
            if u64::from(entry.value) >= block_size || start >= inode.size {
                return wrong("a cluster begins outside of its block");
            }
            // The second entry may tell how many blocks the cluster takes.
            let count = match entries.get(number + 1) {
                Some(next) if next.kind == OTHER && next.value & COUNT != 0 => {
                    u64::from(next.value & (COUNT - 1))
                }
                _ => 1,
            };
            let (place, bytes) = (entry.block * block_size, count * block_size);
            if count == 0 || bytes > MOST_PACKED || place + bytes > self.disk.size() {
                return wrong("a cluster is outside of the file system");
            }
            if let Some(last) = clusters.last_mut() {
                last.end = start;
            }
            clusters.push(Cluster {
                start,
                end: inode.size,
                place,
                bytes,
                packing,
            });
        }
        let is_whole = clusters.first().is_some_and(|first| first.start == 0);
        let fits = |cluster: &Cluster| match cluster.packing {
            Packing::Lz4 => cluster.end - cluster.start <= MOST_BYTES,
            Packing::Plain => cluster.end - cluster.start <= cluster.bytes,
            Packing::Turned => cluster.end - cluster.start <= block_size,
        };
        if !is_whole || !clusters.iter().all(fits) {
            return wrong("its clusters are not all of it");
        }
        Ok(clusters)
    }

    /// What is in a cluster of the inode of this number.
    pub(super) fn unpack(&self, cluster: &Cluster, number: u64) -> Result<Vec<u8>, ReadError> {
        let length = (cluster.end - cluster.start) as usize;
        let bytes = self.disk.read(cluster.place, cluster.bytes)?;
        if cluster.packing == Packing::Turned {
            let block = &bytes[..self.facts.block_size as usize];
            let shift = (cluster.start % block.len() as u64) as usize;
            let turned = block[shift..].iter().chain(&block[..shift]);
            return Ok(turned.take(length).copied().collect());
        }
        if !cluster.is_packed() {
            return Ok(bytes[..length].to_vec());
        }
        let wrong = || damaged(format!("inode {number}"), "a cluster can't be decompressed");
        if !self.geometry.has_padding {
            return beginning(&bytes, length).ok_or_else(wrong);
        }
        let padding = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut unpacked = vec![0; length];
        let found = lz4_flex::block::decompress_into(&bytes[padding..], &mut unpacked);
        if found.map_err(|_| wrong())? != length {
            return Err(wrong());
        }
        Ok(unpacked)
    }
}

/// Decompresses as many bytes of LZ4, which may be followed by anything: disks from before Linux 5.4
/// have zeros behind it.
fn beginning(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    loop {
        let token = next(&mut packed)?;
        let literals = count(token >> 4, &mut packed)?.min(length - bytes.len());
        let (part, rest) = packed.split_at_checked(literals)?;
        bytes.extend_from_slice(part);
        if bytes.len() == length {
            return Some(bytes);
        }
        packed = rest;
        let distance = usize::from(next(&mut packed)?) | usize::from(next(&mut packed)?) << 8;
        let repeated = count(token & 0xf, &mut packed)? + 4;
        let start = bytes.len().checked_sub(distance).filter(|_| distance > 0)?;
        // It may repeat what it has just made.
        for at in start..start + repeated.min(length - bytes.len()) {
            bytes.push(bytes[at]);
        }
        if bytes.len() == length {
            return Some(bytes);
        }
    }
}

fn next(packed: &mut &[u8]) -> Option<u8> {
    let (byte, rest) = packed.split_first()?;
    *packed = rest;
    Some(*byte)
}

/// A count of which the first 4 bits are known.
fn count(first: u8, packed: &mut &[u8]) -> Option<usize> {
    let mut count = usize::from(first);
    if first == 15 {
        loop {
            let more = next(packed)?;
            count += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(count)
}

/// Adds the entries of a pack.
fn unpack_entries(pack: Pack, raw: &[u8], is_big: bool, entries: &mut Vec<Entry>) {
    let entry = |number: u64| {
        let bit = number as usize * pack.bits as usize;
        // The number at the end follows the last bits.
        let value = at32(raw, bit / 8) >> (bit % 8);
        (value & 0xfff, value >> 12 & 3)
    };
    let first = u64::from(at32(raw, raw.len() - 4));
    // Where every cluster has one block the number is that of the last one before.
    let mut block = first + u64::from(!is_big);
    for number in 0..pack.entries {
        let (value, kind) = entry(number);
        entries.push(Entry { kind, value, block });
        let tells_count = |(value, kind): (u32, u32)| kind == OTHER && value & COUNT != 0;
        if tells_count((value, kind)) {
            block += u64::from(value & (COUNT - 1));
        } else if kind != OTHER {
            let is_told = is_big && number + 1 < pack.entries && tells_count(entry(number + 1));
            block += u64::from(!is_told);
        }
    }
}
