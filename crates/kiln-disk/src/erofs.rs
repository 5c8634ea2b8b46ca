//! erofs: read-only disks, plain or compressed by LZ4, written from a tree and read back without trust.
//!
//! The format is the kernel's, `Documentation/filesystems/erofs.rst`, with blocks of 4 KiB. On the
//! disk are, in this order: a block with the superblock, what files and directories fill blocks
//! with, the inodes, extended attributes that several inodes share. An inode takes 32 bytes if its
//! time is the disk's, its owner's numbers are small and so on, and 64 otherwise; what follows it
//! are its own extended attributes and the last bytes of its file, or where its file is. Holes of
//! sparse files take no room.
//!
//! Compressed files are cut into clusters that are compressed alone, by default 128 KiB, which end
//! at block boundaries ("big physical clusters"). A file that gains nothing is stored plainly.
//!
//! Disks need Linux 5.15 if the tree has sparse files, 5.13 if compressed, 5.4 otherwise.
//!
//! Deliberately absent: other compressors, other block sizes, files stored once for several names
//! of equal content, fragments, several devices.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes of memory have 64 bits here, and numbers of the format are checked where they arise"
)]

use std::fs;
use std::num::NonZeroUsize;

use kiln_base::CancelToken;

use crate::stream::{Order, path_of};
use crate::{Contents, NodeId, Tree};

mod chunks;
mod compress;
mod directory;
mod format;
mod index;
mod inode;
mod layout;
mod place;
mod reader;
mod write;
mod xattrs;

pub use crate::stream::WriteError;
pub use reader::{Facts, OpenFile, Reader};

use layout::Layout;
use xattrs::Shared;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// What a disk is beside its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// The file system's label, with zeros at its end.
    pub label: [u8; 16],
    /// The file system's time, in seconds since 1970. Inodes of just this time may take 32 bytes
    /// instead of 64.
    pub epoch: i64,
    /// How contents are stored.
    pub compression: Compression,
}

/// How the contents of files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// By LZ4, where that saves room.
    Lz4(Cluster),
}

/// How much of a file is compressed as one: larger is smaller on the disk, and more to read for
/// a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cluster {
    /// 16 KiB.
    Small,
    /// 128 KiB, as squashfs has it.
    #[default]
    Medium,
    /// 512 KiB.
    Large,
}

/// A disk as it will be.
#[derive(Debug)]
pub struct Plan {
    options: Options,
    order: Order,
    shared: Shared,
    size: u64,
    /// Absent where it is decided by what files become.
    layout: Option<Layout>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the disk, a multiple of 4096.
    pub size: u64,
}

/// Why a tree can't be an erofs disk.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// erofs has no place for extended attributes of this name, this many or this large.
    #[error("erofs can't hold the extended attribute `{}` of `{}`", .name.escape_ascii(), .path.escape_ascii())]
    Xattr {
        /// The attribute's name.
        name: Vec<u8>,
        /// A name of the file.
        path: Vec<u8>,
    },
    /// Extended attributes of one file can take 256 KiB.
    #[error("the extended attributes of `{}` take more than the 256 KiB that erofs can hold", .path.escape_ascii())]
    Xattrs {
        /// A name of the file.
        path: Vec<u8>,
    },
    /// Device numbers have 12 and 20 bits.
    #[error("erofs can't hold the device number of `{}`", .path.escape_ascii())]
    Device {
        /// A name of the file.
        path: Vec<u8>,
    },
    /// The tree takes more room than block numbers of 32 bits can tell.
    #[error("the file system would be larger than the 16 TiB that erofs can address")]
    TooLarge,
}

/// Decides where everything will be. What is compressed is planned as if it were not.
///
/// # Errors
///
/// See [`PlanError`].
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, PlanError> {
    let order = Order::of(tree);
    for &id in &order.nodes {
        inode::check(tree, id)?;
    }
    let shared = Shared::of(tree, &order.nodes);
    let layout = Layout::plain(tree, &order, &shared, options).ok_or(PlanError::TooLarge)?;
    Ok(Plan {
        options: options.clone(),
        order,
        shared,
        size: layout.size(),
        layout: (options.compression == Compression::None).then_some(layout),
    })
}

impl Plan {
    /// Bytes of the disk: exactly without compression, and otherwise about as much as it could be
    /// if nothing can be compressed.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the disk to an empty file, with holes where there are only zeros.
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
        let writer = write::Writer {
            tree,
            contents,
            out,
            threads,
            cancel,
        };
        let packed = match (&self.layout, self.options.compression) {
            (Some(layout), _) => {
                writer.disk(self, layout)?;
                return Ok(layout.written());
            }
            (None, Compression::Lz4(cluster)) => compress::files(&writer, self, cluster)?,
            (None, Compression::None) => compress::Packed::nothing(),
        };
        let layout = Layout::packed(tree, &self.order, &self.shared, &self.options, packed);
        let layout = layout.ok_or_else(too_large)?;
        writer.disk(self, &layout)?;
        Ok(layout.written())
    }
}

impl Cluster {
    const fn bytes(self) -> u64 {
        match self {
            Self::Small => 16 << 10,
            Self::Medium => 128 << 10,
            Self::Large => 512 << 10,
        }
    }
}

fn too_large() -> WriteError {
    WriteError::TooLarge {
        format: "erofs",
        limit: BLOCK << 32,
    }
}

fn path(tree: &Tree, id: NodeId) -> Vec<u8> {
    path_of(tree, id)
}
