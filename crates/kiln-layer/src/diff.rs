//! Comparing the upper directory of an overlay with what is below it.
//!
//! The rules are BuildKit's: a directory counts as changed when its mode, owner or attributes
//! differ or something in it changed, not when only its time did; a file also when its size, time
//! or content differ. BuildKit compares the content only where both times may have been cut to
//! whole seconds, and so loses a file that replaces one of the same size and time.

mod compare;
mod links;
mod walk;

use std::path::PathBuf;

use kiln_base::{CancelToken, Cancelled, Timestamp};
use kiln_sys::fs::{Dir, FsError};

use crate::changes::{Changes, Upper};
use crate::lower::Lowers;
use crate::overlay::OverlayXattrs;

/// How to read the directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffOptions {
    /// Where overlayfs left its marks.
    pub xattrs: OverlayXattrs,
    /// Times that the layer will clamp to this one are the same: see
    /// [`crate::LayerOptions::clamp_mtime`].
    pub clamp_mtime: Option<Timestamp>,
}

/// Why two trees could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A file could not be read to its end.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: std::io::Error,
    },
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
/// The root directory itself is never part of it, and sockets are left out. With no lowers this
/// is all that is in `upper`; it may then also be a mounted root file system.
pub fn diff(
    upper: &Dir,
    lowers: &[Dir],
    options: &DiffOptions,
    cancel: &CancelToken,
) -> Result<Changes, DiffError> {
    diff_upper(upper.try_clone()?.into(), lowers, options, cancel)
}

/// As [`diff`], for an upper directory whose files may have their contents elsewhere.
pub fn diff_upper(
    upper: Upper,
    lowers: &[Dir],
    options: &DiffOptions,
    cancel: &CancelToken,
) -> Result<Changes, DiffError> {
    let lowers = Lowers {
        roots: lowers,
        xattrs: options.xattrs,
    };
    let records = walk::walk(&upper, lowers, options.clamp_mtime, cancel)?;
    Ok(Changes {
        list: links::select(records),
        upper,
    })
}
