//! The contents of files: packed by several threads, written in the tree's order.

use crate::stream::{Source, ordered, unreadable};
use crate::{Node, NodeId};

use super::{SUPERBLOCK, WriteError, Writer, too_large};

/// A thread packs about this many bytes of a large file at a time.
const WORK: u64 = 1 << 20;

/// Marks a block that is as it is.
pub(super) const PLAIN: u32 = 1 << 24;

/// Where a file's content is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Nowhere: it is empty, or no file.
    Nowhere,
    /// In a block with others: its number, and the place in it.
    Fragment(u32, u32),
    /// In the blocks of the large file of this number.
    Blocks(u32),
}

/// A file with blocks of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Large {
    /// Where its blocks begin.
    pub(super) start: u64,
    /// How many of its bytes are in blocks of zeros.
    pub(super) zeros: u64,
    /// The first of its blocks in the list of all.
    first: usize,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Data {
    /// By inode.
    places: Vec<Place>,
    large: Vec<Large>,
    /// What each block of large files takes.
    blocks: Vec<u32>,
    /// The table of blocks with small files.
    pub(super) fragments: Vec<u8>,
    /// Where the next byte goes.
    pub(super) end: u64,
}

/// A part of the work.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// Small files from and up to these positions of the list.
    Fragment(usize, usize),
    /// Blocks of a file from and up to these.
    Blocks(NodeId, u64, u64),
}

/// What a job made.
#[derive(Debug)]
struct Made {
    bytes: Vec<u8>,
    /// What each block takes.
    blocks: Vec<u32>,
    zeros: u64,
    /// For a block of a large file: which, and whether its first.
    file: Option<(NodeId, bool)>,
}

impl Data {
    pub(super) fn place(&self, id: NodeId) -> Place {
        self.places[id.as_usize()]
    }

    /// A large file, and what each of its blocks takes.
    pub(super) fn large(&self, number: u32, blocks: u64) -> (Large, &[u32]) {
        let large = self.large[number as usize];
        let blocks = &self.blocks[large.first..][..blocks as usize];
        (large, blocks)
    }

    fn add(&mut self, made: &Made) -> Result<(), WriteError> {
        match made.file {
            None => {
                self.fragments.extend_from_slice(&self.end.to_le_bytes());
                let block = made.blocks.first().copied().unwrap_or(0);
                self.fragments.extend_from_slice(&block.to_le_bytes());
                self.fragments.extend_from_slice(&[0; 4]);
            }
            Some((id, is_first)) => {
                if is_first {
                    let number = u32::try_from(self.large.len()).map_err(|_| too_large())?;
                    self.places[id.as_usize()] = Place::Blocks(number);
                    self.large.push(Large {
                        start: self.end,
                        zeros: 0,
                        first: self.blocks.len(),
                    });
                }
                if let Some(large) = self.large.last_mut() {
                    large.zeros += made.zeros;
                }
                self.blocks.extend_from_slice(&made.blocks);
            }
        }
        self.end += made.bytes.len() as u64;
        Ok(())
    }
}

/// Packs and writes the contents of all files.
pub(super) fn write(writer: &Writer<'_>) -> Result<Data, WriteError> {
    let mut data = Data {
        places: vec![Place::Nowhere; writer.tree.len()],
        large: Vec::new(),
        blocks: Vec::new(),
        fragments: Vec::new(),
        end: SUPERBLOCK,
    };
    let mut small = Vec::new();
    let jobs = jobs(writer, &mut data, &mut small)?;
    let work = |number: usize| {
        writer.cancel.check()?;
        match jobs[number] {
            Job::Fragment(from, to) => fragment(writer, &small[from..to]),
            Job::Blocks(id, from, to) => blocks(writer, id, from, to),
        }
    };
    let sink = |made: Made| {
        writer.put(&made.bytes, data.end)?;
        data.add(&made)
    };
    ordered(writer.threads, jobs.len(), work, sink)?;
    Ok(data)
}

/// Decides which small files are together, which is all that has to be known of them, and how
/// large ones are divided.
fn jobs(
    writer: &Writer<'_>,
    data: &mut Data,
    small: &mut Vec<NodeId>,
) -> Result<Vec<Job>, WriteError> {
    let block = writer.block();
    let mut jobs = Vec::new();
    let mut first = 0;
    let mut filled = 0;
    let mut number = 0;
    for &id in &writer.plan.order.nodes {
        let Node::File(file) = &writer.tree.inode(id).node else {
            continue;
        };
        if file.size >= block {
            let count = file.size.div_ceil(block);
            let step = WORK / block;
            let part = |from| Job::Blocks(id, from, count.min(from + step));
            jobs.extend((0..count).step_by(step as usize).map(part));
        } else if file.size > 0 {
            if filled + file.size > block {
                jobs.push(Job::Fragment(first, small.len()));
                (first, filled) = (small.len(), 0);
                number += 1;
                if number == u32::MAX {
                    return Err(too_large());
                }
            }
            data.places[id.as_usize()] = Place::Fragment(number, filled as u32);
            small.push(id);
            filled += file.size;
        }
    }
    if first < small.len() {
        jobs.push(Job::Fragment(first, small.len()));
    }
    Ok(jobs)
}

fn fragment(writer: &Writer<'_>, files: &[NodeId]) -> Result<Made, WriteError> {
    let mut bytes = Vec::with_capacity(writer.block() as usize);
    for &id in files {
        if let Node::File(file) = &writer.tree.inode(id).node {
            let before = bytes.len();
            bytes.resize(before + file.size as usize, 0);
            let source = Source::open(writer.tree, id, file, writer.contents)?;
            let read = source.read_at(&mut bytes[before..], 0);
            read.map_err(|error| unreadable(writer.tree, id, error))?;
        }
    }
    let mut made = Made::new(None);
    made.pack(writer, &bytes);
    Ok(made)
}

fn blocks(writer: &Writer<'_>, id: NodeId, from: u64, to: u64) -> Result<Made, WriteError> {
    let mut made = Made::new(Some((id, from == 0)));
    let Node::File(file) = &writer.tree.inode(id).node else {
        return Ok(made);
    };
    let source = Source::open(writer.tree, id, file, writer.contents)?;
    let start = from * writer.block();
    let end = file.size.min(to * writer.block());
    if source.is_hole(&(start..end)) {
        made.blocks = vec![0; (to - from) as usize];
        made.zeros = end - start;
        return Ok(made);
    }
    let mut bytes = vec![0; (end - start) as usize];
    let read = source.read_at(&mut bytes, start);
    read.map_err(|error| unreadable(writer.tree, id, error))?;
    for block in bytes.chunks(writer.block() as usize) {
        if block.iter().all(|&byte| byte == 0) {
            made.blocks.push(0);
            made.zeros += block.len() as u64;
        } else {
            made.pack(writer, block);
        }
    }
    Ok(made)
}

impl Made {
    fn new(file: Option<(NodeId, bool)>) -> Self {
        Self {
            bytes: Vec::new(),
            blocks: Vec::new(),
            zeros: 0,
            file,
        }
    }

    fn pack(&mut self, writer: &Writer<'_>, bytes: &[u8]) {
        let before = self.bytes.len();
        let is_packed = writer.codecs.pack(bytes, &mut self.bytes);
        let length = (self.bytes.len() - before) as u32;
        self.blocks
            .push(if is_packed { length } else { length | PLAIN });
    }
}
