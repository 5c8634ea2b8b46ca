//! squashfs: compressed read-only disks of version 4.0, written and read back without trust, as the kernel's
//! `Documentation/filesystems/squashfs.rst` describes them.
//!
//! Contents come first, in the tree's order: files smaller than a block are compressed together,
//! larger ones block by block, and blocks of zeros take no room. After them are inodes, directories
//! and the tables that they refer to. Times are whole seconds from 1970 to 2106, and others the
//! nearest of these.
//!
//! Deliberately absent: extended attributes other than `user.`, `trusted.` and `security.`, which
//! the format has no number for and [`Plan::left_out`] counts; files stored once for several of
//! equal content; the other compressors.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of memory have 64 bits here, and numbers of the format are checked where they arise"
)]

use std::fs;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use kiln_base::CancelToken;

use crate::stream::{Order, path_of, write_at};
use crate::{Contents, Node, NodeId, Tree};

mod codec;
mod data;
mod directory;
mod inode;
mod metadata;
mod reader;
mod tables;
mod xattrs;

pub use crate::stream::WriteError;
pub use reader::{Facts, OpenFile, Reader};

use codec::Codecs;
use tables::Ids;

/// Bytes of the superblock.
const SUPERBLOCK: u64 = 96;

/// Disks are filled up to a multiple of this, since loop devices have blocks.
const UNIT: u64 = 4096;

/// What a disk is beside its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The file system's time, in seconds since 1970.
    pub epoch: u32,
    /// How blocks are compressed.
    pub compression: Compression,
    /// How large a block is.
    pub block: Block,
}

/// A compressor with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib, which every kernel reads; levels 1 to 12.
    Gzip(u8),
    /// zstd, for Linux 4.14 and later; levels 1 to 22.
    Zstd(u8),
}

/// How much of a file is compressed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Block {
    /// 128 KiB, the usual size.
    #[default]
    Medium,
    /// 1 MiB, the largest: smaller disks, and more to read for a few bytes.
    Large,
}

/// A disk as it will be.
#[derive(Debug)]
pub struct Plan {
    options: Options,
    order: Order,
    ids: Ids,
    size: u64,
    left_out: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the disk, a multiple of 4096.
    pub size: u64,
}

/// Why a tree can't be a squashfs disk.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no such level.
    #[error("{name} has no level {level}, only {} to {}", .levels.start(), .levels.end())]
    Level {
        /// The compressor.
        name: &'static str,
        /// What was asked for.
        level: u8,
        /// What there is.
        levels: RangeInclusive<u8>,
    },
    /// Device numbers have 12 and 20 bits.
    #[error("squashfs can't hold the device number of `{}`", .path.escape_ascii())]
    Device {
        /// A name of the file.
        path: Vec<u8>,
    },
    /// Owners and groups are numbered with 16 bits.
    #[error("squashfs can't hold more than 65535 owners and groups")]
    Owners,
}

/// Decides what there will be.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, PlanError> {
    options.compression.check()?;
    let order = Order::of(tree);
    for &id in &order.nodes {
        if let Node::CharDevice(device) | Node::BlockDevice(device) = &tree.inode(id).node
            && (device.major >= 1 << 12 || device.minor >= 1 << 20)
        {
            let path = path_of(tree, id);
            return Err(PlanError::Device { path });
        }
    }
    let ids = Ids::of(tree, &order.nodes).ok_or(PlanError::Owners)?;
    let sizes = order.nodes.iter().map(|&id| most(tree, id, options.block));
    let size = sizes.fold(1 << 16, u64::saturating_add);
    let left_out = order
        .nodes
        .iter()
        .map(|&id| xattrs::left_out(&tree.inode(id).attributes));
    Ok(Plan {
        options: *options,
        size: size.checked_next_multiple_of(UNIT).unwrap_or(u64::MAX),
        left_out: left_out.sum(),
        ids,
        order,
    })
}

/// How many bytes an inode can take with all that belongs to it, compressed by nothing.
fn most(tree: &Tree, id: NodeId, block: Block) -> u64 {
    let inode = tree.inode(id);
    let data = match &inode.node {
        // A name takes at most 8 bytes, a header and an entry of the index.
        Node::Directory(entries) => {
            let names = entries.iter().map(|entry| 32 + 2 * entry.name.len() as u64);
            names.sum()
        }
        Node::File(file) => file
            .size
            .saturating_add(file.size.div_ceil(block.bytes()) * 4),
        Node::Symlink(target) => target.len() as u64,
        Node::CharDevice(_) | Node::BlockDevice(_) | Node::Fifo | Node::Socket => 0,
    };
    let xattrs = inode.attributes.xattrs.iter();
    let xattrs: u64 = xattrs
        .map(|(name, value)| (name.len() + value.len() + 32) as u64)
        .sum();
    data.saturating_add(xattrs + 128)
}

impl Plan {
    /// The most bytes that the disk can have; what it has is known when it is written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many extended attributes will not be on the disk.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Writes the disk to an empty file.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn write(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        out: &fs::File,
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<Written, WriteError> {
        let codecs = Codecs::new(self.options.compression);
        let writer = Writer {
            tree,
            contents,
            out,
            threads,
            cancel,
            codecs: &codecs,
            plan: self,
        };
        let data = data::write(&writer)?;
        let end = tables::write(&writer, &data)?;
        let size = end.next_multiple_of(UNIT);
        out.set_len(size).map_err(WriteError::Write)?;
        Ok(Written { size })
    }
}

/// What to write, and how.
struct Writer<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    out: &'a fs::File,
    threads: NonZeroUsize,
    cancel: &'a CancelToken,
    codecs: &'a Codecs,
    plan: &'a Plan,
}

impl Writer<'_> {
    fn put(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        write_at(self.out, bytes, offset)
    }

    fn block(&self) -> u64 {
        self.plan.options.block.bytes()
    }
}

impl Block {
    const fn bytes(self) -> u64 {
        1 << self.log()
    }

    const fn log(self) -> u16 {
        match self {
            Self::Medium => 17,
            Self::Large => 20,
        }
    }
}

impl Compression {
    fn check(self) -> Result<(), PlanError> {
        let (name, level, levels) = match self {
            Self::Gzip(level) => ("gzip", level, 1..=12),
            Self::Zstd(level) => ("zstd", level, 1..=22),
        };
        if levels.contains(&level) {
            return Ok(());
        }
        Err(PlanError::Level {
            name,
            level,
            levels,
        })
    }

    const fn number(self) -> u16 {
        match self {
            Self::Gzip(_) => 1,
            Self::Zstd(_) => 6,
        }
    }
}

fn too_large() -> WriteError {
    WriteError::TooLarge {
        format: "squashfs",
        limit: 1 << 48,
    }
}
