//! What can go wrong, one type per operation.

use std::io;
use std::path::{Path, PathBuf};

use kiln_base::Cancelled;
use kiln_sys::fs::FsError;

use crate::glob::BadPattern;

/// Why nothing could be selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// A source that is not a pattern, or the part of a pattern before its first wildcard, does not
    /// exist.
    #[error("`{path}` not found in {place}")]
    NotFound {
        /// The path as written.
        path: String,
        /// "the build context", or "the stage or image".
        place: &'static str,
        /// A name like it that does exist: the whole path.
        did_you_mean: Option<String>,
    },
    /// The source is a symbolic link to something that does not exist, or not in the source's root.
    #[error("`{path}` is a symbolic link that leads nowhere in {place}")]
    DanglingLink {
        /// The path as written.
        path: String,
        /// As in [`SelectError::NotFound`].
        place: &'static str,
    },
    /// With `--parents`, directories are kept as they are, so a link can't stand for one.
    #[error("`{path}` leads through a symbolic link, which `--parents` does not follow")]
    ThroughLink {
        /// The path as written.
        path: String,
    },
    /// The source exists, but an ignore rule takes it out of the context.
    #[error("`{path}` is in the build context but excluded by its ignore file")]
    Excluded {
        /// The path as written.
        path: String,
    },
    /// A pattern can't be read.
    #[error(transparent)]
    BadPattern(#[from] BadPattern),
    /// Directories are nested deeper than kiln is willing to follow.
    #[error("directories in `{}` are nested too deeply", .0.display())]
    TooDeep(PathBuf),
    /// A name became, or is no longer, a directory while the tree was read.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A file can't be read.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Why a selection has no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// A file is not the one that was selected any more.
    #[error("`{}` changed while it was read", .0.display())]
    Changed(PathBuf),
    /// A file's content can't be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file, relative to the source's root.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A directory can't be opened.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Why a selection could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A directory would have to take the place of something that is not one.
    #[error("can't copy a directory to `{}`, which is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A file would have to take the place of a directory.
    #[error("can't copy a file to `{}`, which is a directory", .0.display())]
    IsADirectory(PathBuf),
    /// A file of the source is not the one that was selected any more.
    #[error("`{}` changed while it was copied", .0.display())]
    Changed(PathBuf),
    /// A file of the source can't be read, or its content not be written.
    #[error("could not copy `{}`", path.display())]
    Content {
        /// The file, relative to the source's root.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file was written, but can't be given its owner, mode, times or extended attributes.
    #[error("could not set the attributes of `{}`", path.display())]
    Attributes {
        /// The file in the destination.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file in the destination can't be made.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The build was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl CopyError {
    /// The same error with directories put in front of its path: `source` where it is about a file
    /// of the source, `dest` where it is about one in the destination.
    pub(crate) fn within(self, source: &Path, dest: &Path) -> Self {
        // Joining an empty path would add a slash.
        let join = |parent: &Path, path: PathBuf| {
            if path.as_os_str().is_empty() {
                parent.to_path_buf()
            } else {
                parent.join(path)
            }
        };
        match self {
            Self::NotADirectory(path) => Self::NotADirectory(join(dest, path)),
            Self::IsADirectory(path) => Self::IsADirectory(join(dest, path)),
            Self::Changed(path) => Self::Changed(join(source, path)),
            Self::Content { path, cause } => Self::Content {
                path: join(source, path),
                cause,
            },
            Self::Attributes { path, cause } => Self::Attributes {
                path: join(dest, path),
                cause,
            },
            Self::Fs(error) => Self::Fs(error.within(dest)),
            Self::Cancelled(_) => self,
        }
    }
}
