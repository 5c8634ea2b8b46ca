//! Contents of files for trees that a test makes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use kiln_disk::{Contents, Segment};
use tempfile::TempDir;

/// Files in a temporary folder, by number: the [`Contents`] of a tree that a test made.
#[derive(Debug)]
pub struct DiskFiles {
    folder: TempDir,
    next: u64,
}

impl DiskFiles {
    /// A folder with nothing in it.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            next: 0,
        }
    }

    /// Keeps a file and returns its key.
    pub fn store(&mut self, bytes: &[u8]) -> u64 {
        let whole = Segment {
            offset: 0,
            length: bytes.len() as u64,
        };
        self.store_sparse(bytes.len() as u64, &[(whole, bytes)])
    }

    /// Keeps a file with holes and returns its key.
    pub fn store_sparse(&mut self, size: u64, segments: &[(Segment, &[u8])]) -> u64 {
        let key = self.next;
        self.next += 1;
        let file = File::create(self.path(key)).expect("the folder is ours");
        file.set_len(size).expect("a sparse file");
        for (segment, bytes) in segments {
            let written = file.write_all_at(bytes, segment.offset);
            written.expect("the file is ours");
        }
        key
    }

    fn path(&self, key: u64) -> PathBuf {
        self.folder.path().join(key.to_string())
    }
}

impl Default for DiskFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl Contents for DiskFiles {
    fn open(&self, key: u64) -> io::Result<File> {
        File::open(self.path(key))
    }
}
