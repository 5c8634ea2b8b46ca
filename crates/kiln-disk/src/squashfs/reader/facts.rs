//! The superblock.

use crate::read::fields::{at16, at32, at64};
use crate::read::{Disk, damaged};
use crate::squashfs::SUPERBLOCK;
use crate::squashfs::tables::MAGIC;
use crate::{DiskSource, ReadError};

/// What a file system says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How blocks are compressed.
    pub compressor: &'static str,
    /// Bytes of a block: 4 KiB to 1 MiB.
    pub block_size: u32,
    /// How many inodes there are.
    pub inodes: u32,
    /// How many bytes there are, without what fills the disk up.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The names of its features.
    pub features: Vec<&'static str>,
}

/// A compressor that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Lz4,
    Zstd,
}

/// Where the tables are.
#[derive(Debug)]
pub(super) struct Geometry {
    pub(super) codec: Codec,
    pub(super) root: u64,
    pub(super) fragments: u32,
    pub(super) owners: u16,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: u64,
}

const COMPRESSORS: [&str; 6] = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];

const FEATURES: [(u16, &str); 9] = [
    (1 << 0, "uncompressed_inodes"),
    (1 << 1, "uncompressed_data"),
    (1 << 3, "uncompressed_fragments"),
    (1 << 4, "no_fragments"),
    (1 << 5, "always_fragments"),
    (1 << 6, "duplicates"),
    (1 << 7, "exportable"),
    (1 << 8, "uncompressed_xattrs"),
    (1 << 9, "no_xattrs"),
];

pub(super) fn read<D: DiskSource>(disk: &Disk<D>) -> Result<(Facts, Geometry), ReadError> {
    if disk.size() < SUPERBLOCK {
        return Err(ReadError::Format("squashfs"));
    }
    let raw = disk.read(0, SUPERBLOCK)?;
    if at32(&raw, 0) != MAGIC {
        return Err(ReadError::Format("squashfs"));
    }
    let wrong = |problem| damaged("the superblock".to_owned(), problem);
    let version = (at16(&raw, 28), at16(&raw, 30));
    if version != (4, 0) {
        let what = format!("version {}.{}", version.0, version.1);
        return Err(ReadError::Unsupported(what));
    }
    let number = at16(&raw, 20);
    let name = number.checked_sub(1).map(usize::from);
    let name = name.and_then(|number| COMPRESSORS.get(number)).copied();
    let compressor = name.ok_or_else(|| wrong("its compressor is unknown"))?;
    let codec = match compressor {
        "gzip" => Codec::Gzip,
        "lz4" => Codec::Lz4,
        "zstd" => Codec::Zstd,
        other => {
            let what = format!("contents compressed by {other}");
            return Err(ReadError::Unsupported(what));
        }
    };
    let (block_size, log) = (at32(&raw, 12), at16(&raw, 22));
    if !(12..=20).contains(&log) || block_size != 1 << log {
        return Err(wrong("blocks have an impossible size"));
    }
    let size = at64(&raw, 40);
    if size > disk.size() {
        return Err(wrong("it is larger than the disk"));
    }
    let flags = at16(&raw, 24);
    let features = FEATURES.iter().filter(|(bit, _)| flags & bit != 0);
    let facts = Facts {
        compressor,
        block_size,
        inodes: at32(&raw, 4),
        size,
        created: at32(&raw, 8).into(),
        features: features.map(|(_, name)| *name).collect(),
    };
    let geometry = Geometry {
        codec,
        root: at64(&raw, 32),
        fragments: at32(&raw, 16),
        owners: at16(&raw, 26),
        id_table: at64(&raw, 48),
        xattr_table: at64(&raw, 56),
        inode_table: at64(&raw, 64),
        directory_table: at64(&raw, 72),
        fragment_table: at64(&raw, 80),
    };
    Ok((facts, geometry))
}
