//! The superblock.

use super::layout::Area;
use super::{BLOCK, Compression, Options};

/// Where the superblock is in its block.
pub(super) const START: usize = 1024;

pub(super) const MAGIC: u32 = 0xe0f5_e1e2;

/// The block with the superblock has a checksum; times are of the last change.
const COMPATIBLE: u32 = 0x1 | 0x2;

const ZERO_PADDING: u32 = 0x1;
const COMPRESSION_CONFIGURED: u32 = 0x2;
const CHUNKED_FILES: u32 = 0x4;

/// What is beside the options in the superblock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) root: u64,
    pub(super) inodes: u64,
    pub(super) area: Area,
    pub(super) has_chunks: bool,
    /// Blocks of the largest compressed cluster.
    pub(super) largest_cluster: u16,
}

/// The first block.
pub(super) fn superblock(options: &Options, facts: &Facts) -> Vec<u8> {
    let is_compressed = options.compression != Compression::None;
    let mut features = 0;
    if is_compressed {
        features |= ZERO_PADDING | COMPRESSION_CONFIGURED;
    }
    if facts.has_chunks {
        features |= CHUNKED_FILES;
    }
    let mut sb = Vec::with_capacity(BLOCK as usize);
    sb.extend_from_slice(&MAGIC.to_le_bytes());
    sb.extend_from_slice(&[0; 4]);
    sb.extend_from_slice(&COMPATIBLE.to_le_bytes());
    // Blocks of 2^12 bytes; no extension of the superblock.
    sb.extend_from_slice(&[12, 0]);
    // The root is placed first.
    sb.extend_from_slice(&(facts.root as u16).to_le_bytes());
    sb.extend_from_slice(&facts.inodes.to_le_bytes());
    sb.extend_from_slice(&options.epoch.to_le_bytes());
    sb.extend_from_slice(&0_u32.to_le_bytes());
    sb.extend_from_slice(&facts.area.end.to_le_bytes());
    sb.extend_from_slice(&facts.area.inodes.to_le_bytes());
    sb.extend_from_slice(&facts.area.xattrs.to_le_bytes());
    sb.extend_from_slice(&options.uuid);
    sb.extend_from_slice(&options.label);
    sb.extend_from_slice(&features.to_le_bytes());
    // The set of compressors: bit 0 is LZ4.
    sb.extend_from_slice(&u16::from(is_compressed).to_le_bytes());
    sb.resize(128, 0);
    if is_compressed {
        sb.extend_from_slice(&14_u16.to_le_bytes());
        sb.extend_from_slice(&u16::MAX.to_le_bytes());
        sb.extend_from_slice(&facts.largest_cluster.max(1).to_le_bytes());
    }
    sb.resize(BLOCK as usize - START, 0);
    let checksum = crc32c(&sb);
    sb[4..8].copy_from_slice(&checksum.to_le_bytes());
    let mut block = vec![0; START];
    block.extend_from_slice(&sb);
    block
}

/// CRC-32C without the inversion at its end, as the kernel has it. Of one block, so a table would
/// cost more than it saves.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 & carry.wrapping_neg());
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksums_are_crc32c() {
        // The check value of CRC-32C, inverted.
        assert_eq!(super::crc32c(b"123456789"), !0xe306_9283);
    }
}
