//! Writing a disk: every block once, by several threads.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_base::CancelToken;

use super::checksum::{inode_seed, seed_of};
use super::data::Reading;
use super::dir::{self, Listing};
use super::extents::{self, Run, place, runs_of, whole};
use super::format::{
    BLOCK, BLOCK_LEN, EXTENTS_FLAG, FIRST_INO, INDEX_FLAG, INODE_LEN, JOURNAL_INO, RESIZE_INO,
    low16, put,
};
use super::inode::{Record, device_content, type_of};
use super::plan::{Directory, LOST_FOUND_BLOCKS, Plan, SHORT_TARGET};
use super::sink::{Sink, write_sparse};
use super::super_block::{self, resize_inode};
use super::tasks::{Progress, Task, tasks};
use super::xattr;
use crate::contents::Contents;
use crate::tree::{Node, NodeId, Tree};
use crate::watermark::Watermark;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The disk's size in bytes.
    pub size: u64,
    /// How many of them are no free space.
    pub used: u64,
}

/// Why a disk could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk can't be written to.
    #[error("could not write the disk")]
    Disk(#[source] io::Error),
    /// A file can't be read, or is shorter than the tree says.
    #[error("could not read the content of `{}`", .path.escape_ascii())]
    Content {
        /// The file's path in the tree.
        path: Box<[u8]>,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// It was cancelled.
    #[error(transparent)]
    Cancelled(#[from] kiln_base::Cancelled),
}

/// All that a task needs.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tree: &'a Tree,
    pub(super) contents: &'a dyn Contents,
    pub(super) out: &'a File,
    pub(super) cancel: &'a CancelToken,
    pub(super) seed: u32,
    /// The inodes of files that have blocks.
    pub(super) files: Vec<u32>,
}

impl Plan {
    /// Writes the disk to `out`, an empty file. `tree` is the one that was planned.
    ///
    /// # Errors
    ///
    /// See [`WriteError`]; what was written until then is no disk.
    pub fn write(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        out: &File,
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<Written, WriteError> {
        let mark = Watermark::default();
        self.write_marking(tree, contents, (out, &mark), threads, cancel)
    }

    /// The same, and tells as early as it can how much of the file's beginning is written.
    ///
    /// # Errors
    ///
    /// As [`Plan::write`].
    pub fn write_marking(
        &self,
        tree: &Tree,
        contents: &dyn Contents,
        (out, mark): (&File, &Watermark),
        threads: NonZeroUsize,
        cancel: &CancelToken,
    ) -> Result<Written, WriteError> {
        out.set_len(self.size()).map_err(WriteError::Disk)?;
        let nodes = (0_u32..).zip(&self.census.nodes);
        let files = nodes.filter(|(inode, node)| {
            let is_file = node.is_some_and(|id| matches!(tree.inode(id).node, Node::File(_)));
            is_file && self.layout.starts[*inode as usize] > 0
        });
        let job = Job {
            plan: self,
            tree,
            contents,
            out,
            cancel,
            seed: seed_of(&self.options.uuid),
            files: files.map(|(inode, _)| inode).collect(),
        };
        let tasks = tasks(self);
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let done = Mutex::new(Progress::of(&tasks));
        let work = || {
            let mut reading = Reading::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(number) else {
                    return;
                };
                if let Err(error) = job.run(task, &mut reading) {
                    // The others find no more tasks.
                    next.store(tasks.len(), Ordering::Relaxed);
                    let mut failed = failed.lock().expect("no thread panics with it");
                    failed.get_or_insert(error);
                    return;
                }
                let level = done.lock().expect("no thread panics with it").note(number);
                mark.raise(level.map_or(0, |slot| self.layout.geometry.block(slot).0 * BLOCK));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.get().min(tasks.len()) {
                scope.spawn(work);
            }
            work();
        });
        let failed = failed.into_inner().expect("no thread panics with it");
        let written = Written {
            size: self.size(),
            used: self.size() - self.free_bytes(),
        };
        failed.map_or(Ok(written), Err)
    }
}

impl Job<'_> {
    fn run(&self, task: &Task, reading: &mut Reading) -> Result<(), WriteError> {
        self.cancel.check()?;
        match task {
            Task::Front => super_block::write(self.plan, self.out).map_err(WriteError::Disk),
            Task::Inodes(inodes) => self.inodes(inodes.clone()).map_err(WriteError::Disk),
            Task::Xattrs => self.xattrs().map_err(WriteError::Disk),
            Task::Metadata(inodes) => self.metadata(inodes.clone()).map_err(WriteError::Disk),
            Task::Data(slots) => self.data(slots.clone(), reading),
        }
    }

    fn inodes(&self, inodes: Range<u32>) -> io::Result<()> {
        let per_group = self.plan.layout.inodes_per_group;
        let (group, within) = (
            (inodes.start - 1) / per_group,
            (inodes.start - 1) % per_group,
        );
        let bytes = inodes.len() * INODE_LEN;
        let mut table = vec![0; bytes.next_multiple_of(BLOCK_LEN)];
        for (inode, out) in inodes.zip(table.chunks_mut(INODE_LEN)) {
            if let Some(record) = self.record(inode) {
                record.encode(inode, self.seed, out);
            }
        }
        let first = self.plan.layout.tables[group as usize] + u64::from(within / 16);
        write_sparse(self.out, first, &table)
    }

    /// An inode; none for one that is reserved and has no use.
    fn record(&self, inode: u32) -> Option<Record> {
        let plan = self.plan;
        match plan.census.nodes[inode as usize] {
            Some(id) => Some(self.node_record(inode, id)),
            None => match inode {
                RESIZE_INO => resize_inode(plan),
                JOURNAL_INO => journal_inode(plan),
                FIRST_INO => {
                    let mut record = Record::new(0o040_700, plan.options.epoch);
                    record.links = 2;
                    let directory = plan.census.directory(inode).copied();
                    self.put_directory(&mut record, &directory?);
                    Some(record)
                }
                _ => None,
            },
        }
    }

    fn node_record(&self, inode: u32, id: NodeId) -> Record {
        let plan = self.plan;
        let node = self.tree.inode(id);
        let attributes = &node.attributes;
        let mode = low16(attributes.mode & 0o7777) | type_of(&node.node).0;
        let mut record = Record::new(mode, plan.options.epoch);
        record.uid = attributes.uid;
        record.gid = attributes.gid;
        record.mtime = attributes.mtime;
        let added = id == Tree::ROOT && plan.census.adds_lost_found;
        record.links = plan.census.links[id.as_usize()] + u32::from(added);
        match &node.node {
            Node::Directory(_) => {
                let directory = plan.census.directory(inode);
                let directory = directory.expect("all directories were counted");
                self.put_directory(&mut record, directory);
            }
            Node::File(file) => {
                record.size = file.size;
                self.put_extents(&mut record, inode, || runs_of(file));
            }
            Node::Symlink(target) => {
                record.size = target.len() as u64;
                if target.len() < SHORT_TARGET {
                    put(&mut record.content, 0, target);
                } else {
                    self.put_extents(&mut record, inode, || whole(1));
                }
            }
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                record.content = device_content(*device);
            }
            Node::Fifo | Node::Socket => {}
        }
        self.put_xattrs(&mut record, inode, id);
        record
    }

    fn put_directory(&self, record: &mut Record, directory: &Directory) {
        let blocks = u64::from(directory.blocks);
        record.size = blocks * BLOCK;
        if directory.blocks > 1 && self.plan.census.nodes[directory.inode as usize].is_some() {
            record.flags |= INDEX_FLAG;
        }
        self.put_extents(record, directory.inode, || whole(blocks));
    }

    fn put_extents<I: Iterator<Item = Run>>(
        &self,
        record: &mut Record,
        inode: u32,
        runs: impl Fn() -> I,
    ) {
        let geometry = &self.plan.layout.geometry;
        let place = place(geometry, self.plan.layout.starts[inode as usize], &runs);
        let seed = inode_seed(self.seed, inode, 0);
        record.flags |= EXTENTS_FLAG;
        record.content = extents::encode(geometry, &place, runs(), seed).0;
        record.blocks += place.tree_blocks + runs().map(|run| run.blocks).sum::<u64>();
    }

    fn put_xattrs(&self, record: &mut Record, inode: u32, id: NodeId) {
        let xattrs = &self.tree.inode(id).attributes.xattrs;
        if xattrs.is_empty() {
            return;
        }
        let encoded = xattr::encode(xattrs).expect("it was checked");
        record.xattrs = encoded.inode;
        let users = &self.plan.census.xattr_users;
        if let Ok(at) = users.binary_search_by_key(&inode, |(user, _)| *user) {
            let slot = self.plan.layout.xattrs + u64::from(users[at].1);
            record.xattr_block = self.plan.layout.geometry.block(slot).0;
            record.blocks += 1;
        }
    }

    fn xattrs(&self) -> io::Result<()> {
        let geometry = &self.plan.layout.geometry;
        let mut sink = Sink::new(self.out, geometry);
        let blocks = self.plan.census.xattr_blocks.iter();
        for (slot, shared) in (self.plan.layout.xattrs..).zip(blocks) {
            let xattrs = &self.tree.inode(shared.node).attributes.xattrs;
            let encoded = xattr::encode(xattrs).expect("it was checked");
            let mut block = encoded.block.expect("it was counted");
            let number = geometry.block(slot).0;
            xattr::finish(&mut block, self.seed, number, shared.users);
            sink.put(number, &block[..])?;
        }
        sink.flush()
    }

    /// Directories and long targets of these inodes.
    fn metadata(&self, inodes: Range<u32>) -> io::Result<()> {
        let layout = &self.plan.layout;
        let mut sink = Sink::new(self.out, &layout.geometry);
        for inode in inodes {
            let start = layout.starts[inode as usize];
            if start == 0 {
                continue;
            }
            let node = self.plan.census.nodes[inode as usize];
            match node.map(|id| (id, &self.tree.inode(id).node)) {
                Some((_, Node::Symlink(target))) => {
                    let mut block = vec![0; BLOCK_LEN];
                    put(&mut block, 0, target);
                    sink.put_slots(start, &block)?;
                }
                Some((id, Node::Directory(_))) => self.directory(inode, Some(id), &mut sink)?,
                Some(_) => {}
                None => self.directory(inode, None, &mut sink)?,
            }
        }
        sink.flush()
    }

    fn directory(&self, inode: u32, id: Option<NodeId>, sink: &mut Sink<'_>) -> io::Result<()> {
        let layout = &self.plan.layout;
        let Some(directory) = self.plan.census.directory(inode) else {
            return Ok(());
        };
        let blocks = u64::from(directory.blocks);
        let start = layout.starts[inode as usize];
        let place = place(&layout.geometry, start, || whole(blocks));
        let seed = inode_seed(self.seed, inode, 0);
        let (_, tree) = extents::encode(&layout.geometry, &place, whole(blocks), seed);
        sink.put_slots(place.tree, &tree)?;
        let names = id.map(|id| self.plan.census.names(self.tree, id));
        let listing = Listing {
            own: inode,
            parent: directory.parent,
            names: names.as_deref().unwrap_or_default(),
            checksum_seed: seed,
            empty_blocks: if id.is_none() {
                LOST_FOUND_BLOCKS - 1
            } else {
                0
            },
        };
        let mut slot = place.data;
        let mut result = Ok(());
        dir::write(&listing, &self.plan.options.hash_seed, |block| {
            if result.is_ok() {
                result = sink.put_slots(slot, block);
                slot += 1;
            }
        });
        result
    }
}

/// The journal's inode.
pub(super) fn journal_inode(plan: &Plan) -> Option<Record> {
    let journal = plan.layout.journal.as_ref()?;
    let seed = inode_seed(seed_of(&plan.options.uuid), JOURNAL_INO, 0);
    let mut record = Record::new(0o100_600, plan.options.epoch);
    let runs = || whole(journal.blocks);
    record.size = journal.blocks * BLOCK;
    record.flags = EXTENTS_FLAG;
    record.blocks = journal.blocks + journal.place.tree_blocks;
    record.content = extents::encode(&plan.layout.geometry, &journal.place, runs(), seed).0;
    Some(record)
}
