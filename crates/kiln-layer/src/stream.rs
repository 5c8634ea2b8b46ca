//! The tar stream of a layer, cut into blocks of a fixed size as it is made.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kiln_base::{CancelToken, Timestamp};
use kiln_oci::{Digest, Digester};

use crate::changes::{Change, Changes, Entry, Node};
use crate::pax;
use crate::times::WriteTimes;
use crate::write::WriteError;

/// Takes a full block and gives an empty one, of the same size, for the next.
pub(crate) trait BlockSink {
    fn put(&mut self, block: Vec<u8>, filled: usize) -> Result<Vec<u8>, WriteError>;
}

/// Collects the tar stream into blocks and hashes it.
struct Stream<'a> {
    sink: &'a mut dyn BlockSink,
    block: Vec<u8>,
    filled: usize,
    digester: Digester,
    times: &'a WriteTimes,
}

/// What a layer's tar stream is, before its compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarSummary {
    /// Its digest, as `rootfs.diff_ids` has it.
    pub diff_id: Digest,
    /// Its bytes.
    pub size: u64,
}

/// Writes all changes as tar into `sink`, in blocks of the size of `block`.
pub(crate) fn write_tar(
    changes: &Changes,
    clamp_mtime: Option<Timestamp>,
    block: Vec<u8>,
    sink: &mut dyn BlockSink,
    (times, cancel): (&WriteTimes, &CancelToken),
) -> Result<TarSummary, WriteError> {
    let mut stream = Stream {
        sink,
        block,
        filled: 0,
        digester: Digester::sha256(),
        times,
    };
    stream.put_changes(changes, clamp_mtime, cancel)?;
    stream.finish()
}

/// Writes trees as one tar, each in a folder of its own.
pub(crate) fn write_trees(
    trees: &[PlacedChanges<'_>],
    clamp_mtime: Option<Timestamp>,
    sink: &mut dyn BlockSink,
    cancel: &CancelToken,
) -> Result<TarSummary, WriteError> {
    let mut stream = Stream {
        sink,
        block: vec![0; crate::pipeline::BLOCK_BYTES],
        filled: 0,
        digester: Digester::sha256(),
        times: &WriteTimes::off(),
    };
    for tree in trees {
        stream.put_tree(tree, clamp_mtime, cancel)?;
    }
    stream.finish()
}

/// A tree on its way to a folder of an archive.
pub(crate) struct PlacedChanges<'a> {
    pub(crate) changes: Changes,
    /// What stands before the tree's own entries: its folder.
    pub(crate) before: Option<Entry>,
    /// Files beside the tree's own, with their content.
    pub(crate) files: Vec<(Entry, &'a [u8])>,
}

/// The entry in a folder; what a hard link names is moved with it.
fn moved(entry: &Entry, folder: &Path) -> Entry {
    let node = match &entry.node {
        Node::HardLink(first) => Node::HardLink(folder.join(first)),
        node => node.clone(),
    };
    Entry {
        path: folder.join(&entry.path),
        node,
        ..entry.clone()
    }
}

fn put_entry(
    headers: &mut Vec<u8>,
    entry: &Entry,
    clamp: Option<Timestamp>,
) -> Result<(), WriteError> {
    pax::put_entry(headers, entry, clamp).map_err(|pax::XattrName(name)| WriteError::XattrName {
        path: entry.path.clone(),
        name,
    })
}

impl Stream<'_> {
    fn put_changes(
        &mut self,
        changes: &Changes,
        clamp_mtime: Option<Timestamp>,
        cancel: &CancelToken,
    ) -> Result<(), WriteError> {
        let mut headers = Vec::new();
        for change in changes.iter() {
            cancel.check()?;
            headers.clear();
            match &change {
                Change::Whiteout(path) => pax::put_whiteout(&mut headers, path),
                Change::Entry(entry) => put_entry(&mut headers, entry, clamp_mtime)?,
            }
            self.put(&headers)?;
            if let Change::Entry(entry) = &change {
                self.put_file(changes, entry, cancel)?;
            }
        }
        Ok(())
    }

    /// Puts a tree whose entries get a folder's name before theirs.
    fn put_tree(
        &mut self,
        tree: &PlacedChanges<'_>,
        clamp_mtime: Option<Timestamp>,
        cancel: &CancelToken,
    ) -> Result<(), WriteError> {
        let mut headers = Vec::new();
        if let Some(folder) = &tree.before {
            put_entry(&mut headers, folder, clamp_mtime)?;
            self.put(&headers)?;
        }
        for change in tree.changes.iter() {
            cancel.check()?;
            // A tree by itself has nothing below it that could be hidden.
            let Change::Entry(entry) = &change else {
                continue;
            };
            headers.clear();
            match &tree.before {
                Some(folder) => {
                    put_entry(&mut headers, &moved(entry, &folder.path), clamp_mtime)?;
                }
                None => put_entry(&mut headers, entry, clamp_mtime)?,
            }
            self.put(&headers)?;
            self.put_file(&tree.changes, entry, cancel)?;
        }
        for (entry, content) in &tree.files {
            headers.clear();
            put_entry(&mut headers, entry, clamp_mtime)?;
            self.put(&headers)?;
            self.put(content)?;
            self.put_zeros(pax::padding(content.len() as u64))?;
        }
        Ok(())
    }

    /// Puts the content of an entry, where it has any.
    fn put_file(
        &mut self,
        changes: &Changes,
        entry: &Entry,
        cancel: &CancelToken,
    ) -> Result<(), WriteError> {
        let Node::File(size @ 1..) = entry.node else {
            return Ok(());
        };
        let read = |cause| WriteError::Read {
            path: entry.path.clone(),
            cause,
        };
        let open = || changes.upper.open(&entry.path);
        let content = self.times.read.time(open).map_err(read)?;
        self.put_content(&content.file, size, &entry.path, cancel)?;
        content.check(&entry.path).map_err(read)
    }

    /// The end of the archive.
    fn finish(mut self) -> Result<TarSummary, WriteError> {
        self.put_zeros(2 * pax::BLOCK_BYTES)?;
        self.flush()?;
        Ok(TarSummary {
            size: self.digester.length(),
            diff_id: self.digester.finish(),
        })
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let free = self.free()?;
            let length = free.len().min(bytes.len());
            free[..length].copy_from_slice(&bytes[..length]);
            self.filled += length;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Puts `size` bytes of the file, and what fills its last block of tar.
    fn put_content(
        &mut self,
        mut file: &File,
        size: u64,
        path: &Path,
        cancel: &CancelToken,
    ) -> Result<(), WriteError> {
        let times = self.times;
        let mut left = size;
        while left > 0 {
            let free = self.free()?;
            let length = usize::try_from(left).map_or(free.len(), |left| free.len().min(left));
            match times.read.time(|| file.read(&mut free[..length])) {
                Ok(0) => {
                    return Err(WriteError::Changed {
                        path: path.to_path_buf(),
                    });
                }
                Ok(length) => {
                    self.filled += length;
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    return Err(WriteError::Read {
                        path: path.to_path_buf(),
                        cause,
                    });
                }
            }
            if left > 0 {
                cancel.check()?;
            }
        }
        self.put_zeros(pax::padding(size))
    }

    fn put_zeros(&mut self, mut count: usize) -> Result<(), WriteError> {
        while count > 0 {
            let free = self.free()?;
            let length = free.len().min(count);
            free[..length].fill(0);
            self.filled += length;
            count -= length;
        }
        Ok(())
    }

    /// The free end of the block; never empty.
    fn free(&mut self) -> Result<&mut [u8], WriteError> {
        if self.filled == self.block.len() {
            self.flush()?;
        }
        Ok(&mut self.block[self.filled..])
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if self.filled == 0 {
            return Ok(());
        }
        let (digester, full) = (&mut self.digester, &self.block[..self.filled]);
        self.times.hash_tar.time(|| digester.update(full));
        let full = std::mem::take(&mut self.block);
        self.block = self.sink.put(full, self.filled)?;
        self.filled = 0;
        Ok(())
    }
}
