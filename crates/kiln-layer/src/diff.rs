//! Comparing the upper directory of an overlay with what is below it.

use std::path::PathBuf;

use kiln_base::{CancelToken, Cancelled};
use kiln_sys::fs::{Dir, FsError};

use crate::changes::Changes;
use crate::overlay::OverlayXattrs;

/// How to read the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// Where overlayfs left its marks.
    pub xattrs: OverlayXattrs,
}

/// Why two trees could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A layer can't hold such a name: readers would take it for a whiteout.
    #[error("`{}` can't be stored in a layer: the name begins with `.wh.`", path.display())]
    WhiteoutName {
        /// The file.
        path: PathBuf,
    },
    /// The upper directory was made by a mount with `redirect_dir` or `metacopy`.
    #[error("`{}` was left incomplete by overlayfs' {feature}", path.display())]
    Incomplete {
        /// The file or directory.
        path: PathBuf,
        /// The feature of overlayfs.
        feature: &'static str,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What `upper` changes in the tree that `lowers` (top first) stack up to.
///
/// With no lowers this is all that is in `upper`; it may then also be a mounted root file system.
pub fn diff(
    upper: &Dir,
    lowers: &[Dir],
    options: &DiffOptions,
    cancel: &CancelToken,
) -> Result<Changes, DiffError> {
    let _ = (upper, lowers, options, cancel);
    unimplemented!()
}
