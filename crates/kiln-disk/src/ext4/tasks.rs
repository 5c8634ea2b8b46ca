//! What is to be written of a disk, in pieces for threads, and which of it is done.

use std::ops::Range;

use super::data::CHUNK;
use super::plan::Plan;

/// Inodes that are written at once: 1 MiB.
const INODES_AT_ONCE: u32 = 4096;
/// Blocks of directories that are a task, if one has not more.
const METADATA_AT_ONCE: u32 = 256;

/// What a thread does next. Each writes blocks that no other does.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// The superblock and what belongs to it.
    Front,
    /// Inodes of one group.
    Inodes(Range<u32>),
    /// Blocks of attributes.
    Xattrs,
    /// Directories and long targets, by their inodes.
    Metadata(Range<u32>),
    /// These slots of the data of files.
    Data(Range<u64>),
}

/// Which tasks are done. They are begun in their order and end in any.
pub(super) struct Progress<'a> {
    tasks: &'a [Task],
    is_done: Vec<bool>,
    /// The first that is not done.
    first: usize,
}

impl<'a> Progress<'a> {
    /// Of these, none is done.
    pub(super) fn of(tasks: &'a [Task]) -> Self {
        Self {
            tasks,
            is_done: vec![false; tasks.len()],
            first: 0,
        }
    }

    /// Notes a task, and returns the slot before which all data is written, if all else is.
    pub(super) fn note(&mut self, number: usize) -> Option<u64> {
        self.is_done[number] = true;
        while self.is_done.get(self.first) == Some(&true) {
            self.first += 1;
        }
        match self.tasks.get(self.first) {
            Some(Task::Data(slots)) => Some(slots.start),
            Some(_) | None => None,
        }
    }
}

/// What is to be done: the data of files last and in its order, so that it is known early how much
/// of the disk is written.
pub(super) fn tasks(plan: &Plan) -> Vec<Task> {
    let layout = &plan.layout;
    let mut tasks = vec![Task::Front];
    let end = plan.census.last() + 1;
    let mut first = 1;
    while first < end {
        let group = (first - 1) / layout.inodes_per_group;
        let next = (first + INODES_AT_ONCE).min(1 + (group + 1) * layout.inodes_per_group);
        tasks.push(Task::Inodes(first..next.min(end)));
        first = next;
    }
    if !plan.census.xattr_blocks.is_empty() {
        tasks.push(Task::Xattrs);
    }
    // Targets take little: tasks are cut by directories.
    let (mut first, mut blocks) = (1, 0);
    for directory in &plan.census.directories {
        blocks += directory.blocks;
        if blocks >= METADATA_AT_ONCE {
            tasks.push(Task::Metadata(first..directory.inode + 1));
            (first, blocks) = (directory.inode + 1, 0);
        }
    }
    tasks.push(Task::Metadata(first..end));
    let step = usize::try_from(CHUNK).unwrap_or(usize::MAX);
    let data = layout.data.clone().step_by(step);
    tasks.extend(data.map(|slot| Task::Data(slot..layout.data.end.min(slot + CHUNK))));
    tasks
}
