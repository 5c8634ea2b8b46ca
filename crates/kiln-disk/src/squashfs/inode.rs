//! Inodes: of each type a short form and a long one.

use kiln_sys::fs::Device;

use crate::{File, Node, NodeId};

use super::data::{Data, Place};
use super::directory::{Inodes, Listing, kind};
use super::xattrs::{Lists, field};
use super::{WriteError, Writer, too_large};

/// How much larger the numbers of long forms are.
const LONG: u16 = 7;

/// No block with others.
const NO_FRAGMENT: u32 = u32::MAX;

/// What inodes are made of.
pub(super) struct Maker<'a> {
    pub(super) writer: &'a Writer<'a>,
    pub(super) data: &'a Data,
    pub(super) lists: &'a Lists<'a>,
    pub(super) inodes: &'a Inodes,
}

impl Maker<'_> {
    /// An inode that is no directory.
    pub(super) fn other(&self, id: NodeId) -> Result<Vec<u8>, WriteError> {
        let inode = self.writer.tree.inode(id);
        let xattrs = self.lists.number(&inode.attributes);
        let links = self.writer.plan.order.links[id.as_usize()].to_le_bytes();
        if let Node::File(file) = &inode.node {
            return self.file(id, file, xattrs);
        }
        let mut bytes = self.head(id, xattrs.is_some())?;
        bytes.extend_from_slice(&links);
        match &inode.node {
            Node::Symlink(target) => {
                let length = u32::try_from(target.len()).map_err(|_| too_large())?;
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(target);
            }
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                bytes.extend_from_slice(&number(*device).to_le_bytes());
            }
            Node::Directory(_) | Node::File(_) | Node::Fifo | Node::Socket => {}
        }
        if xattrs.is_some() {
            bytes.extend_from_slice(&field(xattrs));
        }
        Ok(bytes)
    }

    /// A directory's inode.
    pub(super) fn directory(&self, id: NodeId, listing: &Listing) -> Result<Vec<u8>, WriteError> {
        let inode = self.writer.tree.inode(id);
        let order = &self.writer.plan.order;
        let xattrs = self.lists.number(&inode.attributes);
        let links = order.links[id.as_usize()];
        // What the kernel calls a directory's size counts the names `.` and `..` as 3 bytes.
        let size = u32::try_from(listing.bytes + 3).map_err(|_| too_large())?;
        let block = u32::try_from(listing.place.block).map_err(|_| too_large())?;
        let parent = if id == crate::Tree::ROOT {
            // No inode has this number.
            order.nodes.len() as u32 + 1
        } else {
            self.inodes.number(order.parents[id.as_usize()])
        };
        let short = u16::try_from(size)
            .ok()
            .filter(|_| xattrs.is_none() && listing.indexed == 0);
        let mut bytes = self.head(id, short.is_none())?;
        match short {
            Some(size) => {
                bytes.extend_from_slice(&block.to_le_bytes());
                bytes.extend_from_slice(&links.to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&listing.place.offset.to_le_bytes());
                bytes.extend_from_slice(&parent.to_le_bytes());
            }
            None => {
                bytes.extend_from_slice(&links.to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&block.to_le_bytes());
                bytes.extend_from_slice(&parent.to_le_bytes());
                bytes.extend_from_slice(&listing.indexed.to_le_bytes());
                bytes.extend_from_slice(&listing.place.offset.to_le_bytes());
                bytes.extend_from_slice(&field(xattrs));
                bytes.extend_from_slice(&listing.index);
            }
        }
        Ok(bytes)
    }

    fn file(&self, id: NodeId, file: &File, xattrs: Option<u32>) -> Result<Vec<u8>, WriteError> {
        let links = self.writer.plan.order.links[id.as_usize()];
        let blocks = file.size.div_ceil(self.writer.block());
        let (start, zeros, sizes, fragment, offset) = match self.data.place(id) {
            Place::Nowhere => (0, 0, &[][..], NO_FRAGMENT, 0),
            Place::Fragment(number, offset) => (0, 0, &[][..], number, offset),
            Place::Blocks(number) => {
                let (large, sizes) = self.data.large(number, blocks);
                (large.start, large.zeros, sizes, NO_FRAGMENT, 0)
            }
        };
        let short = u32::try_from(start).ok().zip(u32::try_from(file.size).ok());
        let short = short.filter(|_| xattrs.is_none() && links == 1 && zeros == 0);
        let mut bytes = self.head(id, short.is_none())?;
        match short {
            Some((start, size)) => {
                for field in [start, fragment, offset, size] {
                    bytes.extend_from_slice(&field.to_le_bytes());
                }
            }
            None => {
                for field in [start, file.size, zeros] {
                    bytes.extend_from_slice(&field.to_le_bytes());
                }
                for field in [links, fragment, offset] {
                    bytes.extend_from_slice(&field.to_le_bytes());
                }
                bytes.extend_from_slice(&field(xattrs));
            }
        }
        bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        Ok(bytes)
    }

    /// What all inodes begin with.
    fn head(&self, id: NodeId, is_long: bool) -> Result<Vec<u8>, WriteError> {
        let inode = self.writer.tree.inode(id);
        let attributes = &inode.attributes;
        let ids = &self.writer.plan.ids;
        let long = if is_long { LONG } else { 0 };
        let mode = (attributes.mode & 0o7777) as u16;
        let owner = ids.number(attributes.uid).ok_or_else(too_large)?;
        let group = ids.number(attributes.gid).ok_or_else(too_large)?;
        let mut bytes = Vec::with_capacity(64);
        for field in [kind(&inode.node) + long, mode, owner, group] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        let time = attributes.mtime.seconds.clamp(0, i64::from(u32::MAX));
        // Between the two.
        bytes.extend_from_slice(&(time.unsigned_abs() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.inodes.number(id).to_le_bytes());
        Ok(bytes)
    }
}

fn number(device: Device) -> u32 {
    (device.minor & 0xff) | (device.major << 8) | ((device.minor & !0xff) << 12)
}
