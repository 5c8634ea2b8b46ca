//! ext4, written from a tree in one pass and read back without trust.
//!
//! [`plan`] decides everything about a disk: which inode and which blocks each file has, and so the
//! disk's size. [`Plan::write`] then writes it with several threads, each block once, in large
//! pieces, and leaves a hole where nothing but zeros would be. [`Reader`] reads any ext4 without
//! believing what it says.
//!
//! The disks have blocks of 4 KiB, inodes of 256 bytes, extents, hashed directories, checksums of
//! all metadata and 64-bit block numbers: what every Linux since 3.18 mounts. All bitmaps and inode
//! tables are at the front, then directories, then contents in the order of a lexical walk, then,
//! if wanted, a journal. Free space is at the end, and unless told otherwise there is none: a disk
//! is as large as its tree needs.
//!
//! The format is described by the kernel's `Documentation/filesystems/ext4`.
//!
//! Deliberately absent: changing a disk, other sizes of blocks when writing, contents within
//! inodes, attributes larger than a block, encryption, quotas, bigalloc.

mod checksum;
mod data;
mod dir;
mod extents;
mod format;
mod geometry;
mod hash;
mod inode;
mod layout;
mod options;
mod plan;
mod reader;
mod sink;
mod super_block;
mod tasks;
mod write;
mod xattr;

pub use options::{Growth, Options, PlanError};
pub use plan::{Plan, plan};
pub use reader::{Checksums, DiskSource, Facts, FileContent, OpenFile, ReadError, Reader};
pub use write::{WriteError, Written};
