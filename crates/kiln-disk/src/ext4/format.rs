//! Numbers of the format, and fields of records as bytes.

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;
/// The same, as the length of a buffer.
pub(super) const BLOCK_LEN: usize = 4096;
/// A bitmap is one block, so this many blocks, and at most this many inodes, make a group.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// Bytes of an inode.
pub(super) const INODE_LEN: usize = 256;
/// Inodes of a block.
pub(super) const INODES_PER_BLOCK: u32 = 16;
/// Bytes of a group descriptor.
pub(super) const DESC_LEN: usize = 64;
/// Group descriptors of a block.
pub(super) const DESCS_PER_BLOCK: u64 = 64;

/// The root directory's inode.
pub(super) const ROOT_INO: u32 = 2;
/// The inode that keeps blocks for the descriptors of groups to come.
pub(super) const RESIZE_INO: u32 = 7;
/// The journal's inode.
pub(super) const JOURNAL_INO: u32 = 8;
/// The first inode that is not reserved; by custom that of `lost+found`.
pub(super) const FIRST_INO: u32 = 11;

/// Names of one inode.
pub(super) const LINKS_MAX: u32 = 65_000;
/// Blocks of one file.
pub(super) const FILE_BLOCKS_MAX: u64 = u32::MAX as u64;

/// Flags of inodes.
pub(super) const INDEX_FLAG: u32 = 0x1000;
pub(super) const EXTENTS_FLAG: u32 = 0x8_0000;

/// Types in directory entries.
pub(super) const DIR_TYPE: u8 = 2;

/// Writes bytes into a record.
pub(super) fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    record[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes 16 bits into a record.
pub(super) fn put16(record: &mut [u8], at: usize, value: u16) {
    put(record, at, &value.to_le_bytes());
}

/// Writes 32 bits into a record.
pub(super) fn put32(record: &mut [u8], at: usize, value: u32) {
    put(record, at, &value.to_le_bytes());
}

/// The lower 32 bits of a number whose others are elsewhere, or are not kept.
#[expect(clippy::cast_possible_truncation, reason = "it is what this is for")]
pub(super) const fn low32(value: u64) -> u32 {
    value as u32
}

/// The upper 32 bits.
pub(super) const fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

/// The lower 16 bits of a number whose others are elsewhere.
#[expect(clippy::cast_possible_truncation, reason = "it is what this is for")]
pub(super) const fn low16(value: u32) -> u16 {
    value as u16
}

/// The upper 16 bits.
pub(super) const fn high16(value: u32) -> u16 {
    low16(value >> 16)
}

/// An index into what is in memory.
pub(super) fn index(value: u64) -> usize {
    usize::try_from(value).expect("what is in memory has an index")
}

/// Whether all bytes are 0.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}
