//! The superblock.

use crate::erofs::format::{MAGIC, START, crc32c};
use crate::ext4::Checksums;
use crate::read::fields::{array, at16, at32, at64};
use crate::read::{Disk, damaged};
use crate::{DiskSource, ReadError};

/// What a file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its identifier.
    pub uuid: [u8; 16],
    /// Its name, without the zeros at its end.
    pub label: Vec<u8>,
    /// Bytes of a block: 512 to 65536.
    pub block_size: u32,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many inodes there are.
    pub inodes: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The compressors that files may have.
    pub compressors: Vec<&'static str>,
    /// The names of its features.
    pub features: Vec<&'static str>,
}

/// What is needed to find inodes.
#[derive(Debug)]
pub(super) struct Geometry {
    /// Where inodes' numbers count from, in bytes.
    pub(super) inodes: u64,
    /// Where shared attributes are, in bytes.
    pub(super) xattrs: u64,
    pub(super) root: u64,
    /// The time of compact inodes: nanoseconds.
    pub(super) nanoseconds: u32,
    /// Whether compressed clusters end, and not begin, at the borders of blocks.
    pub(super) has_padding: bool,
    /// Attributes may have prefixes that are on the disk.
    pub(super) has_prefixes: bool,
}

const CHECKSUM: u32 = 0x1;
const COMPATIBLE: [(u32, &str); 3] = [(CHECKSUM, "sb_csum"), (0x2, "mtime"), (0x4, "xattr_filter")];

const PADDING: u32 = 0x1;
const CONFIGURED: u32 = 0x2;
const PREFIXES: u32 = 0x40;
/// Those that have to be known, and whether they are. The fourth and the sixth have two meanings,
/// which inodes tell apart.
const NEEDED: [(u32, &str, bool); 9] = [
    (PADDING, "lz4_0padding", true),
    (CONFIGURED, "compr_cfgs", true),
    (0x4, "chunked_file", true),
    (0x8, "device_table or compr_head2", true),
    (0x10, "ztailpacking", true),
    (0x20, "fragments or dedupe", true),
    (PREFIXES, "xattr_prefixes", true),
    (0x80, "48bit", false),
    (0x100, "metabox", false),
];

const COMPRESSORS: [&str; 4] = ["lz4", "lzma", "deflate", "zstd"];

pub(super) fn read<D: DiskSource>(
    disk: &Disk<D>,
    checksums: Checksums,
) -> Result<(Facts, Geometry), ReadError> {
    let start = START as u64;
    if disk.size() < start + 128 {
        return Err(ReadError::Format("erofs"));
    }
    let raw = disk.read(start, 128)?;
    if at32(&raw, 0) != MAGIC {
        return Err(ReadError::Format("erofs"));
    }
    let wrong = |problem| damaged("the superblock".to_owned(), problem);
    if !(9..=16).contains(&raw[12]) || raw[90] != 0 {
        return Err(wrong("blocks have an impossible size"));
    }
    let block_size = 1_u32 << raw[12];
    let (compatible, needed) = (at32(&raw, 8), at32(&raw, 80));
    if checksums == Checksums::Verified && compatible & CHECKSUM != 0 {
        check(disk, block_size)?;
    }
    let features = features(compatible, needed)?;
    let devices = at16(&raw, 86);
    if devices != 0 {
        let what = format!("{devices} more devices");
        return Err(ReadError::Unsupported(what));
    }
    let set = if needed & CONFIGURED != 0 {
        at16(&raw, 84)
    } else {
        u16::from(needed & PADDING != 0)
    };
    let compressors = COMPRESSORS.iter().enumerate();
    let compressors = compressors.filter(|(bit, _)| set & 1 << bit != 0);
    let label = raw[64..80].split(|byte| *byte == 0).next();
    let place = |at: usize| u64::from(at32(&raw, at)) * u64::from(block_size);
    let facts = Facts {
        uuid: array(&raw, 48),
        label: label.unwrap_or_default().to_vec(),
        block_size,
        blocks: at32(&raw, 36).into(),
        inodes: at64(&raw, 16),
        created: at64(&raw, 24).cast_signed(),
        compressors: compressors.map(|(_, name)| *name).collect(),
        features,
    };
    if place(36) > disk.size() {
        return Err(wrong("it is larger than the disk"));
    }
    let geometry = Geometry {
        inodes: place(40),
        xattrs: place(44),
        root: at16(&raw, 14).into(),
        nanoseconds: at32(&raw, 32).min(999_999_999),
        has_padding: needed & PADDING != 0,
        has_prefixes: needed & PREFIXES != 0,
    };
    Ok((facts, geometry))
}

/// Compares the sum of the superblock's block.
fn check<D: DiskSource>(disk: &Disk<D>, block_size: u32) -> Result<(), ReadError> {
    // In a disk of smaller blocks the superblock has a block of its own.
    let size = u64::from(block_size);
    let start = START as u64;
    let end = if size > start { size } else { start + size };
    let mut bytes = disk.read(start, end - start)?;
    let stored = at32(&bytes, 4);
    bytes[4..8].fill(0);
    if crc32c(&bytes) == stored {
        return Ok(());
    }
    let object = "the superblock".to_owned();
    Err(damaged(object, "its checksum is wrong"))
}

fn features(compatible: u32, needed: u32) -> Result<Vec<&'static str>, ReadError> {
    let unknown = NEEDED.iter().fold(needed, |left, (bit, ..)| left & !bit);
    if unknown != 0 {
        let what = format!("the features {unknown:#x}");
        return Err(ReadError::Unsupported(what));
    }
    let mut features = Vec::new();
    for (bit, name) in COMPATIBLE {
        if compatible & bit != 0 {
            features.push(name);
        }
    }
    for (bit, name, is_known) in NEEDED {
        if needed & bit == 0 {
            continue;
        }
        if !is_known {
            return Err(ReadError::Unsupported(format!("the feature {name}")));
        }
        features.push(name);
    }
    Ok(features)
}
