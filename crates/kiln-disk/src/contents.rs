//! Where the bytes of files come from while a disk is written.

use std::fs;
use std::io;

/// Gives the contents of the files that a [`crate::Tree`] names by a key.
///
/// A trait, since whoever makes a tree knows where its files are: in the directories of layers, or
/// in a test's memory. Called by several threads at once.
pub trait Contents: Sync {
    /// Opens the file of this key for reading, positioned anywhere. It must be the regular file
    /// that the tree was told of: a writer fails if it is shorter than the tree says.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, key: u64) -> io::Result<fs::File>;
}

/// A part of a file that has data; what lies between segments is a hole and reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never 0.
    pub length: u64,
}
