//! Where the clusters of a compressed file are: the compact form, in which most blocks of a file
//! take 2 bytes.
//!
//! A file's blocks are entries of 12 bits of value and 2 bits of type, in packs that end with the
//! number of a block on the disk. The first block of a cluster is its head; the second tells how
//! many blocks the cluster takes; the others tell how far behind them the head is, but for the
//! last of a pack, which tells how far the next head is. A file's clusters are one after the other
//! on the disk, so the number at a pack's end and the counts in it lead to each.

use super::BLOCK;

/// Bytes before the packs.
const HEADER: u64 = 8;

/// Packs of 16 entries have 32 bytes, and begin at multiples of 32.
pub(super) const LARGE: Pack = Pack {
    entries: 16,
    bytes: 32,
    bits: 14,
};

/// Packs of 2 entries have 8 bytes.
pub(super) const SMALL: Pack = Pack {
    entries: 2,
    bytes: 8,
    bits: 16,
};

/// There are packs of 16 entries; clusters can have several blocks, with either of two compressors.
const ADVICE: u16 = 0x1 | 0x2 | 0x4;

pub(super) const PLAIN: u32 = 0;
pub(super) const HEAD: u32 = 1;
pub(super) const OTHER: u32 = 2;

/// Marks a count of blocks.
pub(super) const COUNT: u32 = 1 << 11;

#[derive(Debug, Clone, Copy)]
pub(super) struct Pack {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) bits: u32,
}

/// A cluster: how many of a file's blocks it holds, and in how many blocks; none if as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) blocks: u64,
    pub(super) packed: Option<u8>,
}

/// How many small packs come first, so that large ones begin where they have to; how many large
/// ones there are; and how many small ones are after them.
pub(super) fn packs(start: u64, blocks: u64) -> [u64; 3] {
    let base = start.next_multiple_of(8) + HEADER;
    let before = (base.next_multiple_of(LARGE.bytes) - base) / 4;
    if before >= blocks {
        return [blocks.div_ceil(2), 0, 0];
    }
    let large = (blocks - before) / LARGE.entries;
    let rest = blocks - before - large * LARGE.entries;
    [before / 2, large, rest.div_ceil(2)]
}

/// Bytes of the index of a file of so many blocks that follows what ends `start` bytes from the
/// inode's beginning; with what aligns it.
pub(super) fn size(start: u64, blocks: u64) -> u64 {
    let [before, large, rest] = packs(start, blocks);
    let bytes = (before + rest) * SMALL.bytes + large * LARGE.bytes;
    start.next_multiple_of(8) - start + HEADER + bytes
}

/// The index of a file whose clusters begin at `first` on the disk.
pub(super) fn encode(start: u64, blocks: u64, first: u32, clusters: &[Cluster]) -> Vec<u8> {
    let mut bytes = vec![0; (start.next_multiple_of(8) - start) as usize];
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&ADVICE.to_le_bytes());
    // LZ4 for all clusters; entries are for blocks of 4096 bytes.
    bytes.extend_from_slice(&[0, 0]);
    let [before, large, rest] = packs(start, blocks);
    let mut entries = Entries::new(first, clusters);
    for (pack, count) in [(SMALL, before), (LARGE, large), (SMALL, rest)] {
        for _ in 0..count {
            entries.pack(pack, &mut bytes);
        }
    }
    bytes
}

/// The entries of a file, one after the other.
struct Entries<'a> {
    clusters: &'a [Cluster],
    /// The place in the first of them.
    at: u64,
    /// The number on the disk that the next head has, or that the cluster has whose head was last
    /// if its count is still to come.
    block: u32,
}

impl<'a> Entries<'a> {
    fn new(block: u32, clusters: &'a [Cluster]) -> Self {
        Self {
            clusters,
            at: 0,
            block,
        }
    }

    fn pack(&mut self, pack: Pack, bytes: &mut Vec<u8>) {
        let block = self.block;
        let mut bits = 0_u64;
        let mut filled = 0;
        let end = bytes.len() + pack.bytes as usize;
        for index in 0..pack.entries {
            let (value, kind) = self.entry(index + 1 == pack.entries);
            bits |= u64::from(kind << 12 | value) << filled;
            filled += pack.bits;
            while filled >= 8 {
                bytes.push(bits as u8);
                bits >>= 8;
                filled -= 8;
            }
        }
        debug_assert_eq!(bytes.len() + 4, end);
        bytes.extend_from_slice(&block.to_le_bytes());
    }

    fn entry(&mut self, is_last: bool) -> (u32, u32) {
        let Some(cluster) = self.clusters.first().copied() else {
            return (0, PLAIN);
        };
        let at = self.at;
        self.at += 1;
        if self.at == cluster.blocks {
            self.clusters = &self.clusters[1..];
            self.at = 0;
        }
        let Some(packed) = cluster.packed else {
            self.block += 1;
            return (0, PLAIN);
        };
        match at {
            // There is a second block, since what was packed takes less than it holds.
            0 => (0, HEAD),
            1 => {
                self.block += u32::from(packed);
                (COUNT | u32::from(packed), OTHER)
            }
            // Below 512: a cluster is never larger.
            _ if is_last => ((cluster.blocks - at) as u32, OTHER),
            _ => (at as u32, OTHER),
        }
    }
}

/// The clusters of a file of this size, each as large as `cluster` but for the last, which also
/// has what is left. There is one even if nothing is full.
pub(super) fn cut(size: u64, cluster: u64) -> impl Iterator<Item = u64> {
    let count = (size / cluster).max(1);
    (0..count).map(move |number| {
        if number + 1 == count {
            size - number * cluster
        } else {
            cluster
        }
    })
}

/// How many blocks clusters hold and take, from how each is packed (0 for as it is).
pub(super) fn clusters(size: u64, cluster: u64, packed: &[u8]) -> Vec<Cluster> {
    cut(size, cluster)
        .zip(packed)
        .map(|(bytes, &packed)| Cluster {
            blocks: bytes.div_ceil(BLOCK),
            packed: (packed > 0).then_some(packed),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_what_is_written() {
        for start in [32, 44, 64, 76, 100] {
            for blocks in 1..100 {
                let clusters = [Cluster {
                    blocks,
                    packed: None,
                }];
                let bytes = encode(start, blocks, 1, &clusters);
                assert_eq!(bytes.len() as u64, size(start, blocks), "{start} {blocks}");
            }
        }
    }

    #[test]
    fn the_last_cluster_has_the_rest() {
        let cut = |size| cut(size, 10).collect::<Vec<_>>();
        assert_eq!(cut(3), [3]);
        assert_eq!(cut(20), [10, 10]);
        assert_eq!(cut(39), [10, 10, 19]);
    }
}
