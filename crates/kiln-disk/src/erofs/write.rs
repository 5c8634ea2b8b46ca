//! Writing a disk whose layout is known: inodes in batches of neighbours, large files in pieces,
//! each by whichever thread is free.

use std::fs;
use std::num::NonZeroUsize;

use kiln_base::CancelToken;

use crate::stream::{Source, each, unreadable, write_at, write_sparse};
use crate::{Content, Contents, File, Node, NodeId, Tree};

use super::directory::{self, Target};
use super::format::{Facts, superblock};
use super::inode::{self, Core};
use super::layout::{Body, Layout, data_size, flat};
use super::{BLOCK, Plan, WriteError};

/// A batch has about this many bytes of inodes.
const BATCH: u64 = 256 << 10;

/// Files up to this size are copied with their inodes.
const SMALL: u64 = 1 << 20;

/// Larger ones are copied in pieces of this size.
const PIECE: u64 = 64 << 20;

/// A copy goes through a buffer of this size.
const BUFFER: usize = 256 << 10;

/// What to write, and how.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) tree: &'a Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) out: &'a fs::File,
    pub(super) threads: NonZeroUsize,
    pub(super) cancel: &'a CancelToken,
}

/// A part of the work.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// Inodes from and up to these positions of the list.
    Inodes(usize, usize),
    /// A part of a flat file: where it begins, and its length.
    Piece(NodeId, u64, u64),
    /// A file with holes.
    Chunks(NodeId),
}

impl Writer<'_> {
    /// Writes everything that has not been written with the packed files.
    pub(super) fn disk(&self, plan: &Plan, layout: &Layout) -> Result<(), WriteError> {
        self.out.set_len(layout.size()).map_err(WriteError::Write)?;
        let facts = Facts {
            root: layout.number(Tree::ROOT),
            inodes: plan.order.nodes.len() as u64,
            area: layout.area,
            has_chunks: !layout.chunks.is_empty(),
            largest_cluster: u16::from(layout.packed.largest),
        };
        write_at(self.out, &superblock(&plan.options, &facts), 0)?;
        let shared = u64::from(layout.area.xattrs) * BLOCK;
        write_at(self.out, plan.shared.bytes(), shared)?;
        let disk = Disk {
            writer: *self,
            plan,
            layout,
        };
        let mut nodes = plan.order.nodes.clone();
        nodes.sort_unstable_by_key(|&id| layout.place(id));
        let jobs = disk.jobs(&nodes);
        each(self.threads, jobs.len(), |number| match jobs[number] {
            Job::Inodes(from, to) => disk.inodes(&nodes[from..to]),
            Job::Piece(id, offset, length) => disk.piece(id, offset, length),
            Job::Chunks(id) => disk.chunks(id),
        })
    }
}

/// A disk while it is written.
struct Disk<'a> {
    writer: Writer<'a>,
    plan: &'a Plan,
    layout: &'a Layout,
}

impl Disk<'_> {
    /// Large files first: what is left at the end is small.
    fn jobs(&self, nodes: &[NodeId]) -> Vec<Job> {
        let mut jobs = Vec::new();
        for &id in nodes {
            match self.layout.body(id) {
                Body::Flat(_) if self.is_piecewise(id) => {
                    let (_, full) = self.flat_parts(id);
                    let piece = |offset| Job::Piece(id, offset, PIECE.min(full - offset));
                    jobs.extend((0..full).step_by(PIECE as usize).map(piece));
                }
                Body::Chunked(_) => jobs.push(Job::Chunks(id)),
                Body::Flat(_) | Body::Compressed(_) => {}
            }
        }
        let mut first = 0;
        let (mut start, mut end) = (0, 0);
        for (at, &id) in nodes.iter().enumerate() {
            let place = self.layout.place(id);
            if place >= end && end - start >= BATCH {
                jobs.push(Job::Inodes(first, at));
                (first, start) = (at, place);
            }
            end = end.max((place + self.record_size(id)).next_multiple_of(BLOCK));
        }
        jobs.push(Job::Inodes(first, nodes.len()));
        jobs
    }

    /// Whether a file's blocks are written apart from its inode.
    fn is_piecewise(&self, id: NodeId) -> bool {
        let is_file = matches!(self.writer.tree.inode(id).node, Node::File(_));
        is_file && !self.is_there(id) && data_size(self.writer.tree, id) > SMALL
    }

    fn is_there(&self, id: NodeId) -> bool {
        self.layout.packed.body(id).is_some()
    }

    /// Where an inode with its attributes ends, and how many bytes of its data are in blocks.
    fn flat_parts(&self, id: NodeId) -> (u64, u64) {
        let size = data_size(self.writer.tree, id);
        let start = self.start(id, size);
        (start, size - flat(size, start).inline)
    }

    fn start(&self, id: NodeId, size: u64) -> u64 {
        let tree = self.writer.tree;
        let links = self.plan.order.links[id.as_usize()];
        let xattrs = self.plan.shared.beside(&tree.inode(id).attributes).len() as u64;
        inode::form(tree, id, size, links, &self.plan.options) + xattrs
    }

    fn record_size(&self, id: NodeId) -> u64 {
        let size = data_size(self.writer.tree, id);
        let start = self.start(id, size);
        start + self.layout.after(self.layout.body(id), size, start)
    }

    /// Writes inodes that are neighbours, with the blocks of small files and of directories.
    fn inodes(&self, nodes: &[NodeId]) -> Result<(), WriteError> {
        let Some(&first) = nodes.first() else {
            return Ok(());
        };
        let start = self.layout.place(first) / BLOCK * BLOCK;
        let mut bytes = Vec::new();
        for &id in nodes {
            self.writer.cancel.check()?;
            let place = (self.layout.place(id) - start) as usize;
            // Places don't overlap, and are in order.
            bytes.resize(place, 0);
            bytes.extend_from_slice(&self.record(id)?);
        }
        let area = u64::from(self.layout.area.inodes + 1) * BLOCK;
        write_sparse(self.writer.out, &bytes, area + start)
    }

    /// An inode and what follows it.
    fn record(&self, id: NodeId) -> Result<Vec<u8>, WriteError> {
        let tree = self.writer.tree;
        let size = data_size(tree, id);
        let body = self.layout.body(id);
        let xattrs = self.plan.shared.beside(&tree.inode(id).attributes);
        let start = self.start(id, size);
        let flat = flat(size, start);
        let core = Core {
            // The number on the disk, as far as it goes.
            number: self.layout.number(id) as u32,
            size,
            links: self.plan.order.links[id.as_usize()],
            body,
            is_inline: flat.inline > 0,
            where_: match body {
                Body::Flat(block) => block,
                Body::Chunked(number) => self.layout.chunks[number as usize].bits,
                Body::Compressed(number) => self.layout.packed.blocks(number),
            },
            xattrs: xattrs.len(),
        };
        let mut bytes = inode::encode(tree, id, &core, &self.plan.options);
        bytes.extend_from_slice(&xattrs);
        match body {
            Body::Flat(block) => bytes.extend_from_slice(&self.data(id, block, flat.inline)?),
            Body::Chunked(number) => {
                if let Node::File(file) = &tree.inode(id).node
                    && let Content::Sparse(_, segments) = &file.content
                {
                    let chunks = self.layout.chunks[number as usize];
                    bytes.extend_from_slice(&chunks.encode(file, segments));
                }
            }
            Body::Compressed(number) => {
                bytes.extend_from_slice(&self.layout.packed.index(number, size, start));
            }
        }
        Ok(bytes)
    }

    /// Writes the blocks of flat data, unless that is done elsewhere, and returns what follows the
    /// inode.
    fn data(&self, id: NodeId, block: u32, inline: u64) -> Result<Vec<u8>, WriteError> {
        let tree = self.writer.tree;
        let place = u64::from(block) * BLOCK;
        match &tree.inode(id).node {
            Node::Directory(entries) => {
                let mut offset = place;
                let mut rest = Vec::new();
                let give = |bytes: &[u8]| -> Result<(), WriteError> {
                    if bytes.len() < BLOCK as usize && inline > 0 {
                        rest = bytes.to_vec();
                        return Ok(());
                    }
                    write_at(self.writer.out, bytes, offset)?;
                    offset += BLOCK;
                    Ok(())
                };
                directory::blocks(entries, |target| self.find(id, target), give)?;
                Ok(rest)
            }
            Node::Symlink(target) if inline > 0 => Ok(target.to_vec()),
            Node::Symlink(target) => {
                write_at(self.writer.out, target, place)?;
                Ok(Vec::new())
            }
            Node::File(file) => self.file(id, file, place, inline),
            Node::CharDevice(_) | Node::BlockDevice(_) | Node::Fifo | Node::Socket => {
                Ok(Vec::new())
            }
        }
    }

    fn find(&self, id: NodeId, target: Target<'_>) -> (u64, u8) {
        let id = match target {
            Target::This => id,
            Target::Parent => self.plan.order.parents[id.as_usize()],
            Target::Entry(entry) => entry.id,
        };
        let file_type = inode::entry_type(&self.writer.tree.inode(id).node);
        (self.layout.number(id), file_type)
    }

    fn file(
        &self,
        id: NodeId,
        file: &File,
        place: u64,
        inline: u64,
    ) -> Result<Vec<u8>, WriteError> {
        let full = file.size - inline;
        let has_blocks = full > 0 && !self.is_there(id) && !self.is_piecewise(id);
        if inline == 0 && !has_blocks {
            return Ok(Vec::new());
        }
        let source = Source::open(self.writer.tree, id, file, self.writer.contents)?;
        if has_blocks {
            self.copy(id, &source, 0..full, place)?;
        }
        let mut rest = vec![0; inline as usize];
        let read = source.read_at(&mut rest, full);
        read.map_err(|error| unreadable(self.writer.tree, id, error))?;
        Ok(rest)
    }

    fn piece(&self, id: NodeId, offset: u64, length: u64) -> Result<(), WriteError> {
        let tree = self.writer.tree;
        let (Node::File(file), Body::Flat(block)) = (&tree.inode(id).node, self.layout.body(id))
        else {
            return Ok(());
        };
        let source = Source::open(tree, id, file, self.writer.contents)?;
        let place = u64::from(block) * BLOCK + offset;
        self.copy(id, &source, offset..offset + length, place)
    }

    fn chunks(&self, id: NodeId) -> Result<(), WriteError> {
        let tree = self.writer.tree;
        let (Node::File(file), Body::Chunked(number)) =
            (&tree.inode(id).node, self.layout.body(id))
        else {
            return Ok(());
        };
        let chunks = self.layout.chunks[number as usize];
        let source = Source::open(tree, id, file, self.writer.contents)?;
        let Content::Sparse(_, segments) = &file.content else {
            return Ok(());
        };
        let mut ranges = Vec::new();
        chunks.ranges(file, segments, |first, count| ranges.push((first, count)));
        let mut place = u64::from(chunks.block) * BLOCK;
        for (first, count) in ranges {
            let offset = (first << chunks.bits) * BLOCK;
            let end = file.size.min(offset + count * BLOCK);
            self.copy(id, &source, offset..end, place)?;
            place += count * BLOCK;
        }
        Ok(())
    }

    /// Copies a part of a file to a place of the disk.
    fn copy(
        &self,
        id: NodeId,
        source: &Source<'_>,
        range: std::ops::Range<u64>,
        place: u64,
    ) -> Result<(), WriteError> {
        let length = range.end - range.start;
        let mut buffer = vec![0; length.min(BUFFER as u64) as usize];
        let mut done = 0;
        while done < length {
            self.writer.cancel.check()?;
            let bytes = (length - done).min(buffer.len() as u64) as usize;
            let read = source.read_at(&mut buffer[..bytes], range.start + done);
            read.map_err(|error| unreadable(self.writer.tree, id, error))?;
            write_sparse(self.writer.out, &buffer[..bytes], place + done)?;
            done += bytes as u64;
        }
        Ok(())
    }
}
