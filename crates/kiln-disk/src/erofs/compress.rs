//! Files as compressed clusters.
//!
//! Files are packed by several threads and written in the tree's order, so where each is depends
//! on nothing but the tree. Whether a file is stored plainly is decided by the whole of it if it is
//! small, and by three samples otherwise, so that what is compressed already costs little time.

use crate::stream::{Source, ordered, unreadable, write_at};
use crate::{Content, Node, NodeId};

use super::chunks::Chunks;
use super::index::{self, cut};
use super::layout::{Body, flat};
use super::write::Writer;
use super::{BLOCK, Cluster, Plan, WriteError, inode, too_large};

/// A thread packs about this many bytes at a time.
const WORK: u64 = 512 << 10;

/// What has been packed, and where.
#[derive(Debug)]
pub(super) struct Packed {
    /// By inode.
    bodies: Vec<Option<Body>>,
    files: Vec<PackedFile>,
    /// How the clusters of all files are packed.
    clusters: Vec<u8>,
    cluster: u64,
    /// Blocks of the largest cluster.
    pub(super) largest: u8,
    /// The first block that is free.
    pub(super) end: u32,
}

#[derive(Debug, Clone, Copy)]
struct PackedFile {
    /// The first block of its clusters.
    block: u32,
    /// How many blocks they have.
    blocks: u32,
    /// The first of its clusters in the list of all.
    first: usize,
}

/// A part of the work: files, or a part of one.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// Files from and up to these positions of the list.
    Files(usize, usize),
    /// The clusters of one file from and up to these.
    Part(NodeId, u64, u64),
}

/// What a job made: the bytes of some files, one after the other.
#[derive(Debug, Default)]
struct Made {
    /// In whole blocks.
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    id: NodeId,
    /// Whether it is the beginning of the file.
    is_first: bool,
    blocks: u32,
    /// How each cluster is packed, 0 for as it is; none for a file that is stored plainly.
    clusters: Option<Vec<u8>>,
}

impl Packed {
    pub(super) fn nothing() -> Self {
        Self {
            bodies: Vec::new(),
            files: Vec::new(),
            clusters: Vec::new(),
            cluster: BLOCK,
            largest: 0,
            end: 1,
        }
    }

    /// How an inode's data has been stored, if it has.
    pub(super) fn body(&self, id: NodeId) -> Option<Body> {
        self.bodies.get(id.as_usize()).copied().flatten()
    }

    /// How many blocks a packed file has.
    pub(super) fn blocks(&self, number: u32) -> u32 {
        self.files[number as usize].blocks
    }

    /// The index of a packed file of this size.
    pub(super) fn index(&self, number: u32, size: u64, start: u64) -> Vec<u8> {
        let file = self.files[number as usize];
        let clusters = index::clusters(size, self.cluster, &self.clusters[file.first..]);
        index::encode(start, size.div_ceil(BLOCK), file.block, &clusters)
    }

    fn add(&mut self, part: Part, block: u32) -> Result<(), WriteError> {
        if part.is_first {
            let body = match &part.clusters {
                None => Body::Flat(block),
                Some(_) => {
                    self.files.push(PackedFile {
                        block,
                        blocks: 0,
                        first: self.clusters.len(),
                    });
                    Body::Compressed(u32::try_from(self.files.len() - 1).map_err(|_| too_large())?)
                }
            };
            self.bodies[part.id.as_usize()] = Some(body);
        }
        if let Some(clusters) = part.clusters {
            if let Some(file) = self.files.last_mut() {
                file.blocks += part.blocks;
            }
            self.largest = self
                .largest
                .max(clusters.iter().copied().max().unwrap_or(0));
            self.clusters.extend_from_slice(&clusters);
        }
        Ok(())
    }
}

/// Packs and writes the contents of all files that don't fit beside their inodes.
pub(super) fn files(
    writer: &Writer<'_>,
    plan: &Plan,
    cluster: Cluster,
) -> Result<Packed, WriteError> {
    let packer = Packer {
        writer,
        plan,
        cluster: cluster.bytes(),
    };
    let files: Vec<NodeId> = plan
        .order
        .nodes
        .iter()
        .copied()
        .filter(|&id| packer.has_body(id))
        .collect();
    let jobs = packer.jobs(&files);
    let mut done = Packed {
        bodies: vec![None; writer.tree.len()],
        files: Vec::with_capacity(files.len()),
        cluster: cluster.bytes(),
        ..Packed::nothing()
    };
    let work = |number: usize| packer.work(&files, jobs[number]);
    let sink = |made: Made| {
        let mut block = done.end;
        write_at(writer.out, &made.bytes, u64::from(block) * BLOCK)?;
        for part in made.parts {
            let blocks = part.blocks;
            done.add(part, block)?;
            block = block.checked_add(blocks).ok_or_else(too_large)?;
        }
        done.end = block;
        Ok(())
    };
    ordered(writer.threads, jobs.len(), work, sink)?;
    Ok(done)
}

struct Packer<'a> {
    writer: &'a Writer<'a>,
    plan: &'a Plan,
    cluster: u64,
}

impl Packer<'_> {
    /// Whether a file has more than fits beside its inode, and is not mostly holes.
    fn has_body(&self, id: NodeId) -> bool {
        let Node::File(file) = &self.writer.tree.inode(id).node else {
            return false;
        };
        if let Content::Sparse(_, segments) = &file.content
            && Chunks::of(file, segments).bytes() <= file.size / 2
        {
            return false;
        }
        flat(file.size, self.start(id, file.size)).blocks > 0
    }

    /// Where an inode with its attributes ends, from its beginning.
    fn start(&self, id: NodeId, size: u64) -> u64 {
        let plan = self.plan;
        let links = plan.order.links[id.as_usize()];
        let xattrs = plan
            .shared
            .beside(&self.writer.tree.inode(id).attributes)
            .len() as u64;
        inode::form(self.writer.tree, id, size, links, &plan.options) + xattrs
    }

    fn size(&self, id: NodeId) -> u64 {
        super::layout::data_size(self.writer.tree, id)
    }

    fn jobs(&self, files: &[NodeId]) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut first = 0;
        let mut bytes = 0;
        for (at, &id) in files.iter().enumerate() {
            let size = self.size(id);
            if bytes + size > WORK && first < at {
                jobs.push(Job::Files(first, at));
                (first, bytes) = (at, 0);
            }
            bytes += size;
            if size > WORK {
                let count = (size / self.cluster).max(1);
                let step = (WORK / self.cluster) as usize;
                let part = |from| Job::Part(id, from, count.min(from + step as u64));
                jobs.extend((0..count).step_by(step).map(part));
                (first, bytes) = (at + 1, 0);
            }
        }
        if first < files.len() {
            jobs.push(Job::Files(first, files.len()));
        }
        jobs
    }

    fn work(&self, files: &[NodeId], job: Job) -> Result<Made, WriteError> {
        let mut made = Made::default();
        match job {
            Job::Files(from, to) => {
                for &id in &files[from..to] {
                    self.writer.cancel.check()?;
                    self.file(id, &mut made)?;
                }
            }
            Job::Part(id, from, to) => {
                self.writer.cancel.check()?;
                self.part(id, from, to, &mut made)?;
            }
        }
        Ok(made)
    }

    fn file(&self, id: NodeId, made: &mut Made) -> Result<(), WriteError> {
        let size = self.size(id);
        let bytes = self.read(id, 0, size)?;
        let before = made.bytes.len();
        let mut clusters = Vec::new();
        let mut rest = bytes.as_slice();
        for length in cut(size, self.cluster) {
            let (cluster, after) = rest.split_at(length as usize);
            clusters.push(pack(cluster, &mut made.bytes));
            rest = after;
        }
        let start = self.start(id, size);
        let flat = flat(size, start);
        let packed_bytes =
            (made.bytes.len() - before) as u64 + index::size(start, size.div_ceil(BLOCK));
        let is_packed = packed_bytes < flat.blocks * BLOCK + flat.inline;
        if !is_packed {
            made.bytes.truncate(before);
            append(&bytes[..(size - flat.inline) as usize], &mut made.bytes);
        }
        made.parts.push(Part {
            id,
            is_first: true,
            blocks: ((made.bytes.len() - before) as u64 / BLOCK) as u32,
            clusters: is_packed.then_some(clusters),
        });
        Ok(())
    }

    fn part(&self, id: NodeId, from: u64, to: u64, made: &mut Made) -> Result<(), WriteError> {
        let size = self.size(id);
        let count = (size / self.cluster).max(1);
        let start = from * self.cluster;
        let end = if to == count { size } else { to * self.cluster };
        let is_packed = self.can_be_packed(id, size)?;
        let mut clusters = Vec::new();
        if is_packed {
            let bytes = self.read(id, start, end - start)?;
            let mut rest = bytes.as_slice();
            for number in from..to {
                let length = if number + 1 == to {
                    rest.len()
                } else {
                    self.cluster as usize
                };
                let (cluster, after) = rest.split_at(length);
                clusters.push(pack(cluster, &mut made.bytes));
                rest = after;
            }
        } else {
            let flat = flat(size, self.start(id, size));
            let end = end.min(size - flat.inline);
            append(&self.read(id, start, end - start)?, &mut made.bytes);
        }
        made.parts.push(Part {
            id,
            is_first: from == 0,
            blocks: (made.bytes.len() as u64 / BLOCK) as u32,
            clusters: is_packed.then_some(clusters),
        });
        Ok(())
    }

    /// Whether any of a large file's beginning, middle and end becomes smaller.
    fn can_be_packed(&self, id: NodeId, size: u64) -> Result<bool, WriteError> {
        let length = self.cluster.min(128 << 10);
        let mut packed = Vec::new();
        for offset in [0, size / 2, size - length] {
            packed.clear();
            if pack(&self.read(id, offset, length)?, &mut packed) > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self, id: NodeId, offset: u64, length: u64) -> Result<Vec<u8>, WriteError> {
        let tree = self.writer.tree;
        let Node::File(file) = &tree.inode(id).node else {
            return Ok(Vec::new());
        };
        let source = Source::open(tree, id, file, self.writer.contents)?;
        // At most what one job takes.
        let mut bytes = vec![0; length as usize];
        let read = source.read_at(&mut bytes, offset);
        read.map_err(|error| unreadable(tree, id, error))?;
        Ok(bytes)
    }
}

/// Appends a cluster in fewer blocks, of which it tells how many, or as it is, and tells 0.
fn pack(bytes: &[u8], out: &mut Vec<u8>) -> u8 {
    let before = out.len();
    let blocks = bytes.len().div_ceil(BLOCK as usize);
    // Only what saves a block is of use: the rest need not be computed.
    let limit = (blocks - 1) * BLOCK as usize;
    out.resize(
        before + lz4_flex::block::get_maximum_output_size(bytes.len()),
        0,
    );
    let packed = lz4_flex::block::compress_into(bytes, &mut out[before..]).unwrap_or(usize::MAX);
    if packed > limit {
        out.truncate(before);
        append(bytes, out);
        return 0;
    }
    // Zeros come first, so that the kernel can decompress in place.
    let full = packed.next_multiple_of(BLOCK as usize);
    let padding = full - packed;
    out.copy_within(before..before + packed, before + padding);
    out[before..before + padding].fill(0);
    out.truncate(before + full);
    (full as u64 / BLOCK) as u8
}

/// Appends bytes and zeros up to the end of a block.
fn append(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
}
