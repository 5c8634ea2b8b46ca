//! The superblock.

use super::fields::{array, at16, at32};
use super::{Checksums, ReadError, WRONG_SUM, damaged};
use crate::ext4::checksum::{crc, seed_of};
use crate::ext4::geometry::has_copy;

/// What a file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its identifier.
    pub uuid: [u8; 16],
    /// Its name, without the zeros at its end.
    pub label: Vec<u8>,
    /// Bytes of a block: 1024 to 65536.
    pub block_size: u32,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many of them are free.
    pub free_blocks: u64,
    /// How many inodes there are.
    pub inodes: u32,
    /// How many of them are free.
    pub free_inodes: u32,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it was written last, in seconds since 1970.
    pub written: i64,
    /// Whether it was unmounted, and no errors were found.
    pub is_clean: bool,
    /// The names of its features, as `mke2fs` calls them.
    pub features: Vec<&'static str>,
}

/// What is needed to find inodes.
#[derive(Debug)]
pub(super) struct Geometry {
    first_block: u64,
    blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_size: u16,
    pub(super) descriptor_size: u16,
    /// From which block of descriptors on each is in the first of the groups that it is about; the
    /// others are all after the superblock.
    spread_from: u32,
    /// What sums begin with, if they are to be compared.
    pub(super) seed: Option<u32>,
}

const COMPATIBLE: [(u32, &str); 6] = [
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x200, "sparse_super2"),
    (0x1000, "orphan_file"),
];
const WRITABLE: [(u32, &str); 10] = [
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
];
/// Those that have to be known, and whether they are.
const NEEDED: [(u32, &str, bool); 15] = [
    (0x1, "compression", false),
    (0x2, "filetype", true),
    (0x4, "needs_recovery", false),
    (0x8, "journal_dev", false),
    (0x10, "meta_bg", true),
    (0x40, "extent", true),
    (0x80, "64bit", true),
    (0x100, "mmp", true),
    (0x200, "flex_bg", true),
    (0x400, "ea_inode", false),
    (0x2000, "metadata_csum_seed", true),
    (0x4000, "large_dir", true),
    (0x8000, "inline_data", false),
    (0x1_0000, "encrypt", false),
    (0x2_0000, "casefold", true),
];
const METADATA_CSUM: u32 = 0x400;
const WIDE: u32 = 0x80;
const SEED: u32 = 0x2000;
const META_BG: u32 = 0x10;
const BIGALLOC: u32 = 0x200;

impl Geometry {
    /// Where the descriptor of a group is, in bytes.
    pub(super) fn descriptor(&self, group: u32, block_size: u32) -> u64 {
        let size = u64::from(self.descriptor_size);
        let in_block = block_size / u32::from(self.descriptor_size);
        let nth = group / in_block;
        if nth < self.spread_from {
            let first = (self.first_block + 1) * u64::from(block_size);
            return first + u64::from(group) * size;
        }
        let first = nth * in_block;
        let copy = u64::from(has_copy(first));
        let block = u64::from(first) * u64::from(self.blocks_per_group);
        // What is too much is also after the disk's end.
        let block = block.saturating_add(self.first_block + copy);
        let start = block.saturating_mul(block_size.into());
        start.saturating_add(u64::from(group % in_block) * size)
    }
}

pub(super) fn parse(
    raw: &[u8; 1024],
    disk_size: u64,
    checksums: Checksums,
) -> Result<(Facts, Geometry), ReadError> {
    if at16(raw, 0x38) != 0xef53 {
        return Err(ReadError::Format("ext4"));
    }
    let seed = seed(raw, checksums)?;
    let features = features(raw)?;
    let wrong = |problem| damaged("the superblock".to_owned(), problem);
    let needed = at32(raw, 0x60);
    let log_block_size = at32(raw, 0x18);
    if log_block_size > 6 {
        return Err(wrong("blocks are larger than any"));
    }
    let block_size = 1024 << log_block_size;
    let is_wide = needed & WIDE != 0;
    let wide = |low: usize, high: usize| {
        let high = if is_wide { at32(raw, high) } else { 0 };
        u64::from(at32(raw, low)) | u64::from(high) << 32
    };
    let blocks = wide(0x04, 0x150);
    if blocks
        .checked_mul(block_size.into())
        .is_none_or(|size| size > disk_size)
    {
        return Err(wrong("it is larger than the disk"));
    }
    let (inodes, inodes_per_group) = (at32(raw, 0x00), at32(raw, 0x28));
    let inode_size = if at32(raw, 0x4c) == 0 {
        128
    } else {
        at16(raw, 0x58)
    };
    if !inode_size.is_power_of_two() || inode_size < 128 || u32::from(inode_size) > block_size {
        return Err(wrong("inodes have an impossible size"));
    }
    if inodes_per_group == 0 || u64::from(inodes) * u64::from(inode_size) > disk_size {
        return Err(wrong("it has more inodes than the disk has room for"));
    }
    let descriptor_size = if is_wide { at16(raw, 0xfe) } else { 32 };
    let is_usual = descriptor_size.is_power_of_two() && (32..=1024).contains(&descriptor_size);
    if !is_usual || (is_wide && descriptor_size < 64) {
        return Err(wrong("descriptors of groups have an impossible size"));
    }
    let label = raw[0x78..0x88].split(|byte| *byte == 0).next();
    let facts = Facts {
        uuid: array(raw, 0x68),
        label: label.unwrap_or_default().to_vec(),
        block_size,
        blocks,
        free_blocks: wide(0x0c, 0x158),
        inodes,
        free_inodes: at32(raw, 0x10),
        created: i64::from(at32(raw, 0x108)) | i64::from(raw[0x276]) << 32,
        written: i64::from(at32(raw, 0x30)) | i64::from(raw[0x274]) << 32,
        is_clean: at16(raw, 0x3a) == 1,
        features,
    };
    let geometry = Geometry {
        first_block: at32(raw, 0x14).into(),
        blocks_per_group: at32(raw, 0x20),
        inodes_per_group,
        inode_size,
        descriptor_size,
        spread_from: if needed & META_BG != 0 {
            at32(raw, 0x104)
        } else {
            u32::MAX
        },
        seed,
    };
    Ok((facts, geometry))
}

/// What sums begin with, after that of the superblock was compared.
fn seed(raw: &[u8; 1024], checksums: Checksums) -> Result<Option<u32>, ReadError> {
    if checksums == Checksums::Ignored || at32(raw, 0x64) & METADATA_CSUM == 0 {
        return Ok(None);
    }
    if crc(!0, &raw[..1020]) != at32(raw, 1020) {
        return Err(damaged("the superblock".to_owned(), WRONG_SUM));
    }
    let has_seed = at32(raw, 0x60) & SEED != 0;
    Ok(Some(if has_seed {
        at32(raw, 0x270)
    } else {
        seed_of(&array(raw, 0x68))
    }))
}

fn features(raw: &[u8; 1024]) -> Result<Vec<&'static str>, ReadError> {
    let (compatible, needed, writable) = (at32(raw, 0x5c), at32(raw, 0x60), at32(raw, 0x64));
    let unknown = NEEDED.iter().fold(needed, |left, (bit, ..)| left & !bit);
    if unknown != 0 {
        let what = format!("the features {unknown:#x}");
        return Err(ReadError::Unsupported(what));
    }
    let missing = NEEDED
        .iter()
        .find(|(bit, _, known)| needed & bit != 0 && !known);
    if let Some((_, name, _)) = missing {
        return Err(ReadError::Unsupported(format!("the feature {name}")));
    }
    if writable & BIGALLOC != 0 {
        return Err(ReadError::Unsupported("the feature bigalloc".to_owned()));
    }
    let of = |all: &[(u32, &'static str)], set: u32| {
        let names = all.iter().filter(|(bit, _)| set & bit != 0);
        names.map(|(_, name)| *name).collect::<Vec<_>>()
    };
    let needed = of(&NEEDED.map(|(bit, name, _)| (bit, name)), needed);
    Ok([of(&COMPATIBLE, compatible), needed, of(&WRITABLE, writable)].concat())
}
