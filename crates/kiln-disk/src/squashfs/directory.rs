//! Directories: runs of names whose inodes are near each other, and an index for long ones.

use crate::{DirEntry, Node, NodeId, Tree};

use super::metadata::{METADATA, Metadata, Place};

/// A run has at most this many names.
const RUN: usize = 256;

/// An index has at most this many entries.
const MOST_INDEXED: usize = 0xffff;

/// Where inodes are, and their numbers.
#[derive(Debug)]
pub(super) struct Inodes {
    pub(super) numbers: Vec<u32>,
    /// By inode; all bits are set for one that is not written.
    pub(super) references: Vec<u64>,
}

impl Inodes {
    pub(super) fn number(&self, id: NodeId) -> u32 {
        self.numbers[id.as_usize()]
    }

    pub(super) fn reference(&self, id: NodeId) -> u64 {
        self.references[id.as_usize()]
    }
}

/// A directory that has been written.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) place: Place,
    pub(super) bytes: u64,
    /// The encoded index.
    pub(super) index: Vec<u8>,
    pub(super) indexed: u16,
}

/// Writes the names of a directory; all inodes in it have been written.
pub(super) fn write(
    tree: &Tree,
    entries: &[DirEntry],
    inodes: &Inodes,
    stream: &mut Metadata<'_>,
) -> Listing {
    let start = stream.place();
    let mut listing = Listing {
        place: start,
        bytes: 0,
        index: Vec::new(),
        indexed: 0,
    };
    let mut rest = entries;
    let mut last_block = start.block;
    while let Some(first) = rest.first() {
        let place = stream.place();
        if place.block != last_block && usize::from(listing.indexed) < MOST_INDEXED {
            last_block = place.block;
            listing.indexed += 1;
            // A directory's size has 32 bits, which is checked with its inode.
            listing
                .index
                .extend_from_slice(&(listing.bytes as u32).to_le_bytes());
            listing
                .index
                .extend_from_slice(&(place.block as u32).to_le_bytes());
            let length = first.name.len() as u32 - 1;
            listing.index.extend_from_slice(&length.to_le_bytes());
            listing.index.extend_from_slice(&first.name);
        }
        let count = run(rest, inodes, usize::from(place.offset));
        let (names, after) = rest.split_at(count);
        let bytes = encode(tree, names, inodes);
        stream.write(&bytes);
        listing.bytes += bytes.len() as u64;
        rest = after;
    }
    listing
}

/// How many of the names make a run that begins so far in a block of metadata: with inodes in one
/// block, with numbers near the first, and ending soon after the block does.
fn run(entries: &[DirEntry], inodes: &Inodes, offset: usize) -> usize {
    let first = entries[0].id;
    let block = inodes.reference(first) >> 16;
    let base = i64::from(inodes.number(first));
    let mut filled = offset + 12;
    let mut count = 0;
    for entry in entries.iter().take(RUN) {
        let distance = i64::from(inodes.number(entry.id)) - base;
        let is_near = i16::try_from(distance).is_ok();
        if inodes.reference(entry.id) >> 16 != block || !is_near || filled >= METADATA {
            break;
        }
        filled += 8 + entry.name.len();
        count += 1;
    }
    // The first always is in its own run.
    count.max(1)
}

fn encode(tree: &Tree, entries: &[DirEntry], inodes: &Inodes) -> Vec<u8> {
    let first = entries[0].id;
    let base = inodes.number(first);
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(entries.len() as u32 - 1).to_le_bytes());
    bytes.extend_from_slice(&((inodes.reference(first) >> 16) as u32).to_le_bytes());
    bytes.extend_from_slice(&base.to_le_bytes());
    for entry in entries {
        let offset = inodes.reference(entry.id) as u16;
        bytes.extend_from_slice(&offset.to_le_bytes());
        let distance = inodes.number(entry.id).wrapping_sub(base) as u16;
        bytes.extend_from_slice(&distance.to_le_bytes());
        let kind = kind(&tree.inode(entry.id).node);
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&(entry.name.len() as u16 - 1).to_le_bytes());
        bytes.extend_from_slice(&entry.name);
    }
    bytes
}

/// The number of a type; that of an inode with extended attributes is larger by 7.
pub(super) fn kind(node: &Node) -> u16 {
    match node {
        Node::Directory(_) => 1,
        Node::File(_) => 2,
        Node::Symlink(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::CharDevice(_) => 5,
        Node::Fifo => 6,
        Node::Socket => 7,
    }
}
