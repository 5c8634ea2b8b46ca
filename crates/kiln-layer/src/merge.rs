//! `ADD` of an archive: unpacking into a root file system that is in use.

use std::io::Read;
use std::path::Path;

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, Owner};

use crate::unpack::UnpackError;

/// How to merge an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeOptions {
    /// The owner of all that is unpacked; `None` takes the archive's.
    pub owner: Option<Owner>,
    /// Modification times later than this become this.
    pub clamp_mtime: Option<Timestamp>,
}

/// Why an archive could not be merged.
pub type MergeError = UnpackError;

/// What was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeReport {
    /// Entries of the archive.
    pub entries: u64,
}

/// Unpacks an archive (any [`crate::ArchiveFormat`], detected) over what is in the directory
/// `target` of `root`, which must exist.
///
/// As Docker does: symbolic links that the root file system has on the way are followed inside
/// `root`; a directory over a directory takes the archive's attributes and keeps its content;
/// anything else replaces what is there; names that begin with `.wh.` have no meaning.
pub fn untar_merge(
    archive: impl Read,
    root: &Dir,
    target: &Path,
    options: &MergeOptions,
    cancel: &CancelToken,
) -> Result<MergeReport, MergeError> {
    let _ = (archive, root, target, options, cancel);
    unimplemented!()
}
