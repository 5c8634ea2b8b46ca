//! Outputs of a whole root file system: one tar archive, or a plain directory.

use std::io::Write;

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, FsError};

use crate::diff::DiffError;
use crate::write::WriteError;

/// How to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// Modification times later than this become this.
    pub clamp_mtime: Option<Timestamp>,
}

/// Why a root file system could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tree could not be read.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The archive could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Writes all that is in `root` as one plain tar archive.
pub fn tar_tree(
    root: &Dir,
    sink: impl Write,
    options: &ExportOptions,
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    let _ = (root, sink, options, cancel);
    unimplemented!()
}

/// Copies all that is in `root` into the directory `dest`, over what is there. Owners, device
/// nodes and extended attributes are kept where that is allowed and left out where it is not.
pub fn export_tree(
    root: &Dir,
    dest: &Dir,
    options: &ExportOptions,
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    let _ = (root, dest, options, cancel);
    unimplemented!()
}
