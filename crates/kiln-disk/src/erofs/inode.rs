//! Inodes without what follows them.

use kiln_sys::fs::Device;

use crate::{Node, NodeId, Tree};

use super::layout::Body;
use super::{Options, PlanError, path, xattrs};

/// Bytes of the two forms.
pub(super) const COMPACT: u64 = 32;
pub(super) const EXTENDED: u64 = 64;

/// How an inode's data is found.
pub(super) const FLAT_PLAIN: u16 = 0;
pub(super) const FLAT_INLINE: u16 = 2;
pub(super) const COMPRESSED: u16 = 3;
pub(super) const CHUNKED: u16 = 4;

/// Whether an inode can be on an erofs disk.
pub(super) fn check(tree: &Tree, id: NodeId) -> Result<(), PlanError> {
    let inode = tree.inode(id);
    if let Some((name, _)) = xattrs::unfit(&inode.attributes) {
        return Err(PlanError::Xattr {
            name: name.as_encoded_bytes().to_vec(),
            path: path(tree, id),
        });
    }
    if xattrs::too_many(&inode.attributes) {
        return Err(PlanError::Xattrs {
            path: path(tree, id),
        });
    }
    if let Node::CharDevice(device) | Node::BlockDevice(device) = &inode.node
        && (device.major >= 1 << 12 || device.minor >= 1 << 20)
    {
        return Err(PlanError::Device {
            path: path(tree, id),
        });
    }
    Ok(())
}

/// What an inode says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Core {
    /// Its number for 32-bit systems.
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) links: u32,
    pub(super) body: Body,
    pub(super) is_inline: bool,
    /// What `body` has to be told by: a block, a count of blocks, a chunk format.
    pub(super) where_: u32,
    /// Bytes of extended attributes beside it.
    pub(super) xattrs: usize,
}

/// Bytes of an inode's form.
pub(super) fn form(tree: &Tree, id: NodeId, size: u64, links: u32, options: &Options) -> u64 {
    let attributes = &tree.inode(id).attributes;
    let time = attributes.mtime;
    let is_compact = time.seconds == options.epoch
        && time.nanoseconds == 0
        && attributes.uid <= 0xffff
        && attributes.gid <= 0xffff
        && links <= 0xffff
        && u32::try_from(size).is_ok();
    if is_compact { COMPACT } else { EXTENDED }
}

/// The bytes of an inode.
pub(super) fn encode(tree: &Tree, id: NodeId, core: &Core, options: &Options) -> Vec<u8> {
    let inode = tree.inode(id);
    let attributes = &inode.attributes;
    let is_extended = form(tree, id, core.size, core.links, options) == EXTENDED;
    let layout = match core.body {
        Body::Flat(_) if core.is_inline => FLAT_INLINE,
        Body::Flat(_) => FLAT_PLAIN,
        Body::Chunked(_) => CHUNKED,
        Body::Compressed(_) => COMPRESSED,
    };
    let xattr_units = match core.xattrs {
        0 => 0,
        bytes => (bytes - 12) / 4 + 1,
    };
    let (kind, device) = kind(&inode.node);
    let mode = (attributes.mode & 0o7777) as u16 | kind;
    let where_ = device.map_or(core.where_, |device| {
        (device.minor & 0xff) | (device.major << 8) | ((device.minor & !0xff) << 12)
    });
    let mut bytes = Vec::with_capacity(EXTENDED as usize);
    bytes.extend_from_slice(&(u16::from(is_extended) | layout << 1).to_le_bytes());
    // Checked to have 16 bits.
    bytes.extend_from_slice(&(xattr_units as u16).to_le_bytes());
    bytes.extend_from_slice(&mode.to_le_bytes());
    if is_extended {
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&core.size.to_le_bytes());
        bytes.extend_from_slice(&where_.to_le_bytes());
        bytes.extend_from_slice(&core.number.to_le_bytes());
        bytes.extend_from_slice(&attributes.uid.to_le_bytes());
        bytes.extend_from_slice(&attributes.gid.to_le_bytes());
        bytes.extend_from_slice(&attributes.mtime.seconds.to_le_bytes());
        bytes.extend_from_slice(&attributes.mtime.nanoseconds.to_le_bytes());
        bytes.extend_from_slice(&core.links.to_le_bytes());
        bytes.resize(EXTENDED as usize, 0);
    } else {
        bytes.extend_from_slice(&(core.links as u16).to_le_bytes());
        bytes.extend_from_slice(&(core.size as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&where_.to_le_bytes());
        bytes.extend_from_slice(&core.number.to_le_bytes());
        bytes.extend_from_slice(&(attributes.uid as u16).to_le_bytes());
        bytes.extend_from_slice(&(attributes.gid as u16).to_le_bytes());
        bytes.resize(COMPACT as usize, 0);
    }
    bytes
}

/// The type bits of a mode, and a device's number.
fn kind(node: &Node) -> (u16, Option<Device>) {
    match node {
        Node::Directory(_) => (0o040_000, None),
        Node::File(_) => (0o100_000, None),
        Node::Symlink(_) => (0o120_000, None),
        Node::CharDevice(device) => (0o020_000, Some(*device)),
        Node::BlockDevice(device) => (0o060_000, Some(*device)),
        Node::Fifo => (0o010_000, None),
        Node::Socket => (0o140_000, None),
    }
}

/// The type that a directory's entry tells.
pub(super) fn entry_type(node: &Node) -> u8 {
    match node {
        Node::File(_) => 1,
        Node::Directory(_) => 2,
        Node::CharDevice(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::Fifo => 5,
        Node::Socket => 6,
        Node::Symlink(_) => 7,
    }
}
