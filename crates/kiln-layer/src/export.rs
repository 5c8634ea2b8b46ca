//! Outputs of a whole root file system: one tar archive, or a plain directory.

use std::io::Write;
use std::num::NonZeroUsize;

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, FsError};

use crate::diff::{DiffError, DiffOptions, diff};
use crate::options::{LayerCompression, LayerOptions};
use crate::overlay::OverlayXattrs;
use crate::write::{WriteError, write_layer};

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
    // The marks of overlayfs don't show in a mounted root, so it does not matter which are meant.
    let xattrs = OverlayXattrs::User;
    let changes = diff(root, &[], &DiffOptions { xattrs }, cancel)?;
    let options = LayerOptions {
        compression: LayerCompression::None,
        clamp_mtime: options.clamp_mtime,
        threads: NonZeroUsize::MIN,
    };
    write_layer(&changes, sink, &options, cancel)?;
    Ok(())
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
