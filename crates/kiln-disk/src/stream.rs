//! What the streaming writers share: reading a tree's files, walking its inodes once each, writing
//! without filling holes, and work on several threads whose outcome doesn't show how many.
//!
//! Deliberately absent: anything that knows a format.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the difference of two places in a buffer is a size"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use kiln_base::Cancelled;

use crate::{Content, Contents, File, Node, NodeId, Segment, Tree};

/// More threads than this gain nothing beside one disk, and each has buffers.
const MOST_THREADS: usize = 16;

/// The unit in which zeros are left out.
const HOLE: usize = 4096;

/// Why a disk could not be written. What there is of it has to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file of the tree can't be read, or has fewer bytes than the tree says.
    #[error("failed to read `{}`", .path.escape_ascii())]
    Read {
        /// A name of it, from the root, without a slash in front.
        path: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// The disk can't be written.
    #[error("failed to write the disk")]
    Write(#[source] io::Error),
    /// The tree takes more room than the format can address.
    #[error("the file system would be larger than {limit} bytes, which {format} can't address")]
    TooLarge {
        /// The format's name.
        format: &'static str,
        /// Its limit.
        limit: u64,
    },
    /// It was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The bytes of a regular file, wherever they are.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Stored(fs::File),
    Sparse(fs::File, &'a [Segment]),
}

impl<'a> Source<'a> {
    /// Opens what the tree says of `id`, a regular file.
    pub(crate) fn open(
        tree: &Tree,
        id: NodeId,
        file: &'a File,
        contents: &dyn Contents,
    ) -> Result<Self, WriteError> {
        let open = |key| {
            contents
                .open(key)
                .map_err(|error| unreadable(tree, id, error))
        };
        Ok(match &file.content {
            Content::Bytes(bytes) => Self::Bytes(bytes),
            Content::Stored(key) => Self::Stored(open(*key)?),
            Content::Sparse(key, segments) => Self::Sparse(open(*key)?, segments),
        })
    }

    /// Whether these bytes are all in a hole.
    pub(crate) fn is_hole(&self, range: &Range<u64>) -> bool {
        let Self::Sparse(_, segments) = self else {
            return false;
        };
        let first = segments.partition_point(|segment| end_of(segment) <= range.start);
        segments
            .get(first)
            .is_none_or(|segment| segment.offset >= range.end)
    }

    /// Fills `buffer` with what is at `offset`.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            Self::Stored(file) => file.read_exact_at(buffer, offset),
            Self::Sparse(file, segments) => read_sparse(file, segments, buffer, offset),
        }
    }
}

fn read_sparse(
    file: &fs::File,
    segments: &[Segment],
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    buffer.fill(0);
    let end = offset.saturating_add(buffer.len() as u64);
    let first = segments.partition_point(|segment| end_of(segment) <= offset);
    for segment in segments[first..].iter().take_while(|it| it.offset < end) {
        let from = segment.offset.max(offset);
        let to = end_of(segment).min(end);
        // Both lie within the buffer's range, so their distances from its start are sizes.
        let range = (from - offset) as usize..(to - offset) as usize;
        file.read_exact_at(&mut buffer[range], from)?;
    }
    Ok(())
}

fn end_of(segment: &Segment) -> u64 {
    segment.offset.saturating_add(segment.length)
}

/// The error of a file that can't be read, with a name of it.
pub(crate) fn unreadable(tree: &Tree, id: NodeId, source: io::Error) -> WriteError {
    WriteError::Read {
        path: path_of(tree, id),
        source,
    }
}

/// The first name of an inode in a lexical walk.
pub(crate) fn path_of(tree: &Tree, id: NodeId) -> Vec<u8> {
    let mut found = None;
    tree.walk(|path, each| {
        if each == id && found.is_none() {
            found = Some(path.to_vec());
        }
    });
    found.unwrap_or_default()
}

/// The inodes that have names, each once, and what directories are in.
#[derive(Debug)]
pub(crate) struct Order {
    /// Directories before what is in them, and what is in a directory together, by name.
    pub(crate) nodes: Vec<NodeId>,
    /// The directory that a directory is in, by inode; the root's is the root.
    pub(crate) parents: Vec<NodeId>,
    /// How many names each inode has.
    pub(crate) links: Vec<u32>,
}

impl Order {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut seen = vec![false; tree.len()];
        let mut parents = vec![Tree::ROOT; tree.len()];
        let mut nodes = vec![Tree::ROOT];
        let mut at = 0;
        while let Some(&dir) = nodes.get(at) {
            at += 1;
            for entry in tree.entries(dir) {
                if std::mem::replace(&mut seen[entry.id.as_usize()], true) {
                    continue;
                }
                if matches!(tree.inode(entry.id).node, Node::Directory(_)) {
                    parents[entry.id.as_usize()] = dir;
                }
                nodes.push(entry.id);
            }
        }
        Self {
            nodes,
            parents,
            links: tree.link_counts(),
        }
    }
}

/// Writes what is not zero of `bytes` at `offset` of a file that has nothing there.
pub(crate) fn write_sparse(out: &fs::File, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
    let mut pending = 0;
    let mut at = 0;
    for piece in bytes.chunks(HOLE) {
        let is_hole = piece.len() == HOLE && piece.iter().all(|&byte| byte == 0);
        if is_hole {
            write_at(out, &bytes[pending..at], offset + pending as u64)?;
            pending = at + piece.len();
        }
        at += piece.len();
    }
    write_at(out, &bytes[pending..], offset + pending as u64)
}

/// Writes `bytes` at `offset`.
pub(crate) fn write_at(out: &fs::File, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
    if bytes.is_empty() {
        return Ok(());
    }
    out.write_all_at(bytes, offset).map_err(WriteError::Write)
}

/// Does `work` for every number below `count` on several threads, in any order, until one fails.
pub(crate) fn each<E: Send>(
    threads: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.get().min(MOST_THREADS).min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    if let Err(error) = work(index) {
                        next.store(count, Ordering::Relaxed);
                        lock(&failed).get_or_insert(error);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(Ok(()), Err)
}

/// Does `work` for every number below `count` on several threads, and gives what comes of it to
/// `sink` in the order of the numbers, one at a time. Work runs ahead of `sink` by a few numbers
/// more than there are threads, so memory has a bound.
pub(crate) fn ordered<T: Send, E: Send>(
    threads: NonZeroUsize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
    sink: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E> {
    let threads = threads.get().min(MOST_THREADS);
    let line = Line {
        state: Mutex::new(State {
            taken: 0,
            next: 0,
            ready: BTreeMap::new(),
            sink: Some(sink),
            failed: None,
        }),
        changed: Condvar::new(),
        count,
        ahead: threads + 8,
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                while let Some(index) = line.take() {
                    line.give(index, work(index));
                }
            });
        }
    });
    let state = line.state.into_inner();
    let failed = state.unwrap_or_else(PoisonError::into_inner).failed;
    failed.map_or(Ok(()), Err)
}

/// What [`ordered`]'s threads share.
struct Line<T, E, S> {
    state: Mutex<State<T, E, S>>,
    changed: Condvar,
    count: usize,
    ahead: usize,
}

struct State<T, E, S> {
    /// Numbers below this were taken by a thread.
    taken: usize,
    /// What the sink gets next.
    next: usize,
    /// Done, and waiting for those before.
    ready: BTreeMap<usize, T>,
    /// Absent while a thread is in it.
    sink: Option<S>,
    failed: Option<E>,
}

impl<T, E, S: FnMut(T) -> Result<(), E>> Line<T, E, S> {
    fn take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        while state.failed.is_none()
            && state.taken < self.count
            && state.taken >= state.next + self.ahead
        {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed.is_some() || state.taken >= self.count {
            return None;
        }
        state.taken += 1;
        Some(state.taken - 1)
    }

    fn give(&self, index: usize, done: Result<T, E>) {
        let mut state = lock(&self.state);
        match done {
            Ok(done) => {
                state.ready.insert(index, done);
            }
            Err(error) => {
                state.failed.get_or_insert(error);
                self.changed.notify_all();
            }
        }
        // Whoever finds the sink free empties the queue; others go on working meanwhile.
        let Some(mut sink) = state.sink.take() else {
            return;
        };
        while state.failed.is_none() {
            let next = state.next;
            let Some(done) = state.ready.remove(&next) else {
                break;
            };
            drop(state);
            let outcome = sink(done);
            state = lock(&self.state);
            state.next += 1;
            if let Err(error) = outcome {
                state.failed.get_or_insert(error);
            }
            self.changed.notify_all();
        }
        state.sink = Some(sink);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_in_order() {
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let work = |index: usize| {
                std::thread::sleep(std::time::Duration::from_micros((index as u64 * 37) % 100));
                Ok::<_, ()>(index)
            };
            let sink = |index| {
                seen.push(index);
                Ok(())
            };
            ordered(NonZeroUsize::new(threads).unwrap(), 200, work, sink).unwrap();
            assert_eq!(seen, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_ends_the_work() {
        let threads = NonZeroUsize::new(3).unwrap();
        let work = |index| if index == 20 { Err("work") } else { Ok(index) };
        assert_eq!(ordered(threads, 1000, work, |_| Ok(())), Err("work"));
        let sink = |index| if index == 30 { Err("sink") } else { Ok(()) };
        assert_eq!(ordered(threads, 1000, Ok, sink), Err("sink"));
        let work = |index| if index == 20 { Err("work") } else { Ok(()) };
        assert_eq!(each(threads, 1000, work), Err("work"));
    }
}
