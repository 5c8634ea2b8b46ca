//! File systems as files: a [`Tree`] and the contents of its files, written as a disk.
//!
//! A [`Tree`] says what a file system will hold, and nothing of how; a writer lays it out, which
//! tells its exact size before a byte is written, and then writes it. Nothing is mounted, no device
//! is used, no privilege is needed. [`image::Image`] reads such a disk, also one that others wrote,
//! back into a tree.
//!
//! The same tree and options give the same bytes: nothing here reads a clock, a random number or
//! the order in which a directory was read.
//!
//! Deliberately absent: images and layers, and what a disk should have beside an image's files
//! (`kiln-rootfs`).

mod contents;
pub mod cpio;
pub mod erofs;
pub mod ext4;
pub mod image;
mod read;
pub mod squashfs;
mod stream;
mod tree;
pub mod verity;
mod watermark;

pub use contents::{Contents, Segment};
pub use read::{DiskSource, ReadError};
pub use tree::{Attributes, Content, DirEntry, File, Inode, Node, NodeId, Tree, TreeError};
pub use watermark::{Closing, Watermark};
