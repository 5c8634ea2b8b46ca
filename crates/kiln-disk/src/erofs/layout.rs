//! Where everything is on the disk.

use crate::stream::Order;
use crate::{Content, Node, NodeId, Tree};

use super::chunks::Chunks;
use super::compress::Packed;
use super::place::{Places, SLOT, SLOTS};
use super::xattrs::Shared;
use super::{BLOCK, Options, Written, directory, index, inode};

/// How an inode's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// In blocks from this one on, but for what follows the inode.
    Flat(u32),
    /// By the chunks of this number.
    Chunked(u32),
    /// In the clusters of the packed file of this number.
    Compressed(u32),
}

/// Where the parts of the disk begin, in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    /// The block that inodes' numbers count from: the one before the first with inodes, so that
    /// none has the number 0.
    pub(super) inodes: u32,
    /// Shared extended attributes; 0 without.
    pub(super) xattrs: u32,
    /// How many blocks there are.
    pub(super) end: u32,
}

/// Everything's place.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) area: Area,
    pub(super) packed: Packed,
    pub(super) chunks: Vec<Chunks>,
    bodies: Vec<Body>,
    slots: Vec<u32>,
}

/// The data of a flat inode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flat {
    /// How many blocks it has.
    pub(super) blocks: u64,
    /// How many bytes follow the inode.
    pub(super) inline: u64,
}

impl Layout {
    /// Without compression; none if the disk would have too many blocks.
    pub(super) fn plain(
        tree: &Tree,
        order: &Order,
        shared: &Shared,
        options: &Options,
    ) -> Option<Self> {
        Self::packed(tree, order, shared, options, Packed::nothing())
    }

    /// With the files that have been packed where they are; none if there are too many blocks.
    pub(super) fn packed(
        tree: &Tree,
        order: &Order,
        shared: &Shared,
        options: &Options,
        packed: Packed,
    ) -> Option<Self> {
        let mut this = Self {
            area: Area {
                inodes: 0,
                xattrs: 0,
                end: packed.end,
            },
            packed,
            chunks: Vec::new(),
            bodies: vec![Body::Flat(0); tree.len()],
            slots: vec![0; tree.len()],
        };
        let mut places = Places::new();
        for &id in &order.nodes {
            let size = data_size(tree, id);
            let links = order.links[id.as_usize()];
            let xattrs = shared.beside(&tree.inode(id).attributes).len() as u64;
            let start = inode::form(tree, id, size, links, options) + xattrs;
            let body = this.choose(tree, id, size, start)?;
            this.bodies[id.as_usize()] = body;
            let after = this.after(body, size, start);
            this.slots[id.as_usize()] = places.take(start + after)?;
        }
        let first = this.area.end;
        this.area.inodes = first - 1;
        this.take_blocks(u64::from(places.blocks()))?;
        let bytes = shared.bytes().len() as u64;
        if bytes > 0 {
            this.area.xattrs = this.take_blocks(bytes.div_ceil(BLOCK))?;
        }
        Some(this)
    }

    pub(super) fn size(&self) -> u64 {
        u64::from(self.area.end) * BLOCK
    }

    pub(super) fn written(&self) -> Written {
        Written { size: self.size() }
    }

    /// An inode's number.
    pub(super) fn number(&self, id: NodeId) -> u64 {
        u64::from(self.slots[id.as_usize()]) + u64::from(SLOTS)
    }

    pub(super) fn body(&self, id: NodeId) -> Body {
        self.bodies[id.as_usize()]
    }

    /// Where an inode is, in bytes from the first of them.
    pub(super) fn place(&self, id: NodeId) -> u64 {
        u64::from(self.slots[id.as_usize()]) * SLOT
    }

    /// How many bytes follow an inode and its attributes, which end `start` bytes from its
    /// beginning.
    pub(super) fn after(&self, body: Body, size: u64, start: u64) -> u64 {
        match body {
            Body::Flat(_) => flat(size, start).inline,
            Body::Chunked(number) => self.chunks[number as usize].count * 4,
            Body::Compressed(_) => index::size(start, size.div_ceil(BLOCK)),
        }
    }

    /// Decides how an inode's data is stored, and takes blocks for it.
    fn choose(&mut self, tree: &Tree, id: NodeId, size: u64, start: u64) -> Option<Body> {
        if let Some(body) = self.packed.body(id) {
            return Some(body);
        }
        let flat = flat(size, start);
        if let Node::File(file) = &tree.inode(id).node
            && let Content::Sparse(_, segments) = &file.content
        {
            let mut chunks = Chunks::of(file, segments);
            if chunks.bytes() < flat.blocks * BLOCK {
                chunks.block = self.take_blocks(chunks.blocks)?;
                self.chunks.push(chunks);
                return Some(Body::Chunked(u32::try_from(self.chunks.len() - 1).ok()?));
            }
        }
        Some(Body::Flat(self.take_blocks(flat.blocks)?))
    }

    fn take_blocks(&mut self, count: u64) -> Option<u32> {
        let first = self.area.end;
        self.area.end = u32::try_from(u64::from(first).checked_add(count)?).ok()?;
        Some(first)
    }
}

/// How flat data of this size is stored, if what it would follow ends `start` bytes from the
/// inode's beginning: the end of it follows the inode if all of it fits in one block.
pub(super) fn flat(size: u64, start: u64) -> Flat {
    let tail = size % BLOCK;
    let fits = start + tail <= BLOCK;
    let inline = if fits { tail } else { 0 };
    Flat {
        blocks: (size - inline).div_ceil(BLOCK),
        inline,
    }
}

/// How many bytes an inode's data has.
pub(super) fn data_size(tree: &Tree, id: NodeId) -> u64 {
    match &tree.inode(id).node {
        Node::Directory(entries) => directory::size(entries),
        Node::File(file) => file.size,
        Node::Symlink(target) => target.len() as u64,
        Node::CharDevice(_) | Node::BlockDevice(_) | Node::Fifo | Node::Socket => 0,
    }
}
