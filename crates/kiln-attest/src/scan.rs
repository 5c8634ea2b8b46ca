//! Finding packages in a root file system that nobody vouches for.
//!
//! The tree is walked once, in the order of names. What a file is for is decided by its path; what
//! it says is parsed by one pure function for each format, from bytes to packages. A file that is
//! too large or does not parse is a warning, and the scan goes on.
//!
//! Deliberately absent: guessing. A package is listed because a package manager's record, a
//! manifest or a mark in a binary names it, never because a file looks like it.

mod apk;
mod binary;
mod composer;
mod deb;
mod java;
mod npm;
mod os_release;
mod python;
mod rpm;
mod ruby;
mod source;
mod sqlite;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::io;

use kiln_base::{CancelToken, Cancelled};

use crate::inventory::Inventory;

pub use source::{Bytes, Source, SourceEntry};

/// Why a tree could not be scanned at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The tree's own root could not be read.
    #[error("could not scan the root file system")]
    Root(#[source] io::Error),
}

/// Finds the packages in a root file system: a directory, or any other [`Source`].
///
/// Only the root itself has to be readable; everything else that can't be read is one of the
/// inventory's warnings.
pub fn scan(root: &impl Source, cancel: &CancelToken) -> Result<Inventory, ScanError> {
    walk::Scan::new(root, cancel).run()
}
