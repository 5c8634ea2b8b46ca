//! dm-verity: a tree of hashes over a disk, so that a kernel that knows its root's hash notices
//! every changed bit (the kernel's `Documentation/admin-guide/device-mapper/verity.rst`).
//!
//! What is written is what `veritysetup format` writes with the same salt and UUID: a superblock,
//! and a block later the tree, version 1, of SHA-256 over blocks of 4 KiB. It can be appended to
//! the disk that it is for, or be a file of its own.
//!
//! Deliberately absent: other hashes and block sizes, forward error correction, and signatures of
//! root hashes.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of buffers, and of salts that were checked"
)]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use kiln_base::{CancelToken, Cancelled};
use sha2::{Digest, Sha256};

use crate::read::fields::{array, at16, at32, at64};
use crate::stream::each;
use crate::{DiskSource, ReadError};

/// Bytes of a block, of data and of hashes.
const BLOCK: u64 = 4096;

/// Bytes of a hash.
const HASH: u64 = 32;

/// Hashes in a block.
const FAN: u64 = BLOCK / HASH;

/// A salt can have this many bytes.
const SALT_MAX: usize = 256;

/// A thread hashes so many blocks at a time: as many as fill whole blocks of hashes.
const WORK: u64 = 8 * FAN;

/// What a tree is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The UUID in the superblock.
    pub uuid: [u8; 16],
    /// What is hashed before every block: at most 256 bytes.
    pub salt: Vec<u8>,
}

/// A tree as it will be.
#[derive(Debug, Clone)]
pub struct Plan {
    options: Options,
    blocks: u64,
    /// How many blocks each level of hashes has, the lowest first.
    levels: Vec<u64>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The hash that vouches for everything.
    pub root: [u8; 32],
}

/// Why there can be no tree.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The disk does not consist of blocks.
    #[error("a disk of {0} bytes does not consist of blocks of 4096 bytes")]
    Size(u64),
    /// The salt is too long.
    #[error("a salt of {0} bytes is longer than 256")]
    Salt(usize),
}

/// Why a tree could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk can't be read.
    #[error("failed to read the disk")]
    Read(#[source] io::Error),
    /// The hashes can't be written, or not be read again.
    #[error("failed to write the hashes")]
    Write(#[source] io::Error),
    /// It was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Decides how large the tree over a disk of `data_size` bytes will be.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(data_size: u64, options: &Options) -> Result<Plan, PlanError> {
    if data_size == 0 || !data_size.is_multiple_of(BLOCK) {
        return Err(PlanError::Size(data_size));
    }
    if options.salt.len() > SALT_MAX {
        return Err(PlanError::Salt(options.salt.len()));
    }
    let blocks = data_size / BLOCK;
    let mut levels = Vec::new();
    let mut below = blocks;
    while below > 1 {
        below = below.div_ceil(FAN);
        levels.push(below);
    }
    Ok(Plan {
        options: options.clone(),
        blocks,
        levels,
    })
}

impl Plan {
    /// Bytes of the superblock, what follows it, and the hashes.
    pub fn size(&self) -> u64 {
        (1 + self.levels.iter().sum::<u64>()) * BLOCK
    }

    /// Hashes `data` and writes superblock and hashes to `out`, from `offset` on, a multiple of
    /// 4096. The two can be one file if `offset` is not below the size of the data.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn write(
        &self,
        data: &File,
        out: &File,
        offset: u64,
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<Written, WriteError> {
        let mut end = offset + self.size();
        out.set_len(end).map_err(WriteError::Write)?;
        let superblock = out.write_all_at(&self.superblock(), offset);
        superblock.map_err(WriteError::Write)?;
        let salted = Hasher::new(&self.options.salt);
        let mut below = Level {
            file: data,
            offset: 0,
            blocks: self.blocks,
            failed: WriteError::Read,
        };
        // The highest level comes first on the disk, and is hashed last.
        for &blocks in &self.levels {
            end -= blocks * BLOCK;
            let jobs = below.blocks.div_ceil(WORK) as usize;
            each(threads, jobs, |job| {
                cancel.check()?;
                let first = job as u64 * WORK;
                let count = (below.blocks - first).min(WORK);
                let mut buffer = vec![0; (count * BLOCK) as usize];
                below.read(&mut buffer, first)?;
                let hashes = salted.blocks(&buffer);
                let written = out.write_all_at(&hashes, end + first * HASH);
                written.map_err(WriteError::Write)
            })?;
            below = Level {
                file: out,
                offset: end,
                blocks,
                failed: WriteError::Write,
            };
        }
        let mut top = vec![0; BLOCK as usize];
        below.read(&mut top, 0)?;
        Ok(Written {
            root: salted.block(&top),
        })
    }

    fn superblock(&self) -> Vec<u8> {
        let salt = &self.options.salt;
        let mut bytes = b"verity\0\0".to_vec();
        // The superblock's version, and the hashes'.
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&self.options.uuid);
        bytes.extend_from_slice(b"sha256");
        bytes.resize(64, 0);
        bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes.extend_from_slice(&(BLOCK as u32).to_le_bytes());
        bytes.extend_from_slice(&self.blocks.to_le_bytes());
        bytes.extend_from_slice(&(salt.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(salt);
        bytes.resize(512, 0);
        bytes
    }
}

/// What a tree that is on a disk says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where its superblock is, in bytes.
    pub offset: u64,
    /// Where it ends, in bytes.
    pub end: u64,
    /// How many bytes it is over.
    pub data_size: u64,
    /// The UUID in the superblock.
    pub uuid: [u8; 16],
    /// What is hashed before every block.
    pub salt: Vec<u8>,
    /// The hash that vouches for everything, as the tree has it: whether the blocks below are what
    /// it says was not looked at.
    pub root: [u8; 32],
}

/// Looks for a tree that begins at `offset`; none if there is none, or one that [`plan`] would not
/// make: with another hash, or other blocks.
///
/// # Errors
///
/// See [`ReadError`].
pub fn find<D: DiskSource>(disk: &D, offset: u64) -> Result<Option<Facts>, ReadError> {
    let size = disk.size()?;
    let is_there = offset.checked_add(BLOCK).is_some_and(|end| end <= size);
    if !is_there {
        return Ok(None);
    }
    let mut raw = [0; 512];
    disk.read_exact_at(&mut raw, offset)?;
    let salt_length = usize::from(at16(&raw, 80));
    let block = BLOCK as u32;
    let is_known = raw.starts_with(b"verity\0\0")
        && at32(&raw, 8) == 1
        && at32(&raw, 12) == 1
        && raw[32..64].starts_with(b"sha256\0")
        && (at32(&raw, 64), at32(&raw, 68)) == (block, block)
        && salt_length <= SALT_MAX;
    let options = Options {
        uuid: array(&raw, 16),
        salt: raw[88..88 + salt_length.min(SALT_MAX)].to_vec(),
    };
    let data_size = at64(&raw, 72).saturating_mul(BLOCK);
    let is_known = is_known && data_size <= size && data_size.is_multiple_of(BLOCK);
    let Some(plan) = plan(data_size, &options).ok().filter(|_| is_known) else {
        return Ok(None);
    };
    let end = offset.saturating_add(plan.size());
    if end > size {
        return Ok(None);
    }
    // The highest level comes first; over a single block there is none.
    let top = if plan.levels.is_empty() {
        0
    } else {
        offset + BLOCK
    };
    let mut block = vec![0; BLOCK as usize];
    disk.read_exact_at(&mut block, top)?;
    Ok(Some(Facts {
        offset,
        end,
        data_size,
        root: Hasher::new(&options.salt).block(&block),
        uuid: options.uuid,
        salt: options.salt,
    }))
}

/// Blocks that are hashed: the data, or hashes of others.
#[derive(Debug, Clone, Copy)]
struct Level<'a> {
    file: &'a File,
    offset: u64,
    blocks: u64,
    /// What it means that they can't be read.
    failed: fn(io::Error) -> WriteError,
}

impl Level<'_> {
    fn read(&self, buffer: &mut [u8], first: u64) -> Result<(), WriteError> {
        let offset = self.offset + first * BLOCK;
        let read = FileExt::read_exact_at(self.file, buffer, offset);
        read.map_err(self.failed)
    }
}

/// Hashes with a salt.
struct Hasher {
    /// After the salt.
    salted: Sha256,
    /// Of a block of zeros: disks have many.
    zeros: [u8; 32],
}

impl Hasher {
    fn new(salt: &[u8]) -> Self {
        let salted = Sha256::new().chain_update(salt);
        let zeros = salted.clone().chain_update([0; BLOCK as usize]).finalize();
        Self {
            salted,
            zeros: zeros.into(),
        }
    }

    fn block(&self, block: &[u8]) -> [u8; 32] {
        if block.iter().all(|&byte| byte == 0) {
            return self.zeros;
        }
        self.salted.clone().chain_update(block).finalize().into()
    }

    /// The hashes of these blocks, and zeros up to the end of a block.
    fn blocks(&self, blocks: &[u8]) -> Vec<u8> {
        let mut hashes = Vec::with_capacity(blocks.len() / FAN as usize + BLOCK as usize);
        for block in blocks.chunks(BLOCK as usize) {
            hashes.extend_from_slice(&self.block(block));
        }
        hashes.resize(hashes.len().next_multiple_of(BLOCK as usize), 0);
        hashes
    }
}
