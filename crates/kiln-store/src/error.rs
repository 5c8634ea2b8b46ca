//! What can go wrong, one enum per kind of operation.

use std::io;
use std::path::{Path, PathBuf};

use kiln_base::Cancelled;
use kiln_oci::Digest;

use crate::SnapshotId;

/// The machine under the store failed: its disk, its index, or the user who cancelled.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("could not {action} `{path}`", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A file operation inside a snapshot's tree failed.
    #[error("could not {action} the tree `{path}`", path = path.display())]
    Tree {
        /// What was attempted.
        action: &'static str,
        /// The top of the tree.
        path: PathBuf,
        /// Why it failed; names the entry.
        #[source]
        cause: kiln_sys::fs::FsError,
    },
    /// The index could not be read or written.
    #[error("the store's index failed")]
    Database(#[from] rusqlite::Error),
    /// A row of the index makes no sense.
    #[error("the store's index has {what} that can't be read")]
    Damaged {
        /// What the row holds.
        what: &'static str,
    },
    /// The caller's token was cancelled while waiting for a lock.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system is shared between machines; locks and the index do not work there.
    #[error("the store `{path}` is on {kind}, a network file system; choose a local directory", path = path.display())]
    NetworkFilesystem {
        /// The store's root.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// Another user made this store.
    #[error("the store `{path}` belongs to user id {owner}, and this is user id {user}", path = path.display())]
    OtherOwner {
        /// The store's root.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A newer kiln made this store.
    #[error("the store `{path}` has format {found}, and this kiln knows formats up to {known}", path = path.display())]
    TooNew {
        /// The store's root.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// `kiln.db` exists but is some other program's database, or damaged.
    #[error("`{path}` is not a kiln store", path = path.display())]
    NotAStore {
        /// The store's root.
        path: PathBuf,
    },
    /// The machine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a blob was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The bytes are not those that were asked for. Nothing was stored.
    #[error("expected `{expected}`, but the bytes have `{found}`")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes came than were announced. Nothing was stored.
    #[error("expected {expected} bytes, but {found} came")]
    WrongSize {
        /// What was announced, in bytes.
        expected: u64,
        /// What came, in bytes.
        found: u64,
    },
    /// A document is larger than the caller allows.
    #[error("blob `{digest}` has {size} bytes, more than the {limit} that are read at once")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A stored blob's bytes changed on disk.
    #[error("stored blob `{digest}` is damaged")]
    Damaged {
        /// The blob.
        digest: Digest,
    },
    /// The caller's source of bytes failed.
    #[error("could not read the bytes to store")]
    Source(#[source] io::Error),
    /// The machine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an image was not recorded or found.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The blob that the image's descriptor names is not in the store.
    #[error("blob `{0}` is not in the store")]
    NoBlob(Digest),
    /// A shortened id fits several images.
    #[error("`{prefix}` fits {count} images")]
    Ambiguous {
        /// The shortened id.
        prefix: String,
        /// How many it fits.
        count: usize,
    },
    /// The machine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a snapshot, or a record that names one, was not stored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The named snapshot is not in the store.
    #[error("snapshot `{0}` is not in the store")]
    Unknown(SnapshotId),
    /// The machine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// Makes an [`StoreError::Io`] out of an I/O error: `.map_err(StoreError::io("open", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// Like [`StoreError::io`], for errors of rustix.
    pub(crate) fn os(action: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Io {
            action,
            path: path.to_owned(),
            cause: errno.into(),
        }
    }

    /// Whether the cause is a full disk or an exhausted quota, so that pruning would help.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { cause, .. } => is_full(cause.kind()),
            Self::Tree { cause, .. } => is_full(cause.kind()),
            Self::Database(cause) => is_disk_full(cause),
            Self::Damaged { .. } | Self::Cancelled(_) => false,
        }
    }

    /// What the user can do, where something is known to help.
    pub fn hint(&self) -> Option<&'static str> {
        if self.is_disk_full() {
            return Some("make room: `kiln prune`");
        }
        let kind = match self {
            Self::Io { cause, .. } => cause.kind(),
            Self::Tree { cause, .. } => cause.kind(),
            Self::Database(_) | Self::Damaged { .. } | Self::Cancelled(_) => return None,
        };
        match kind {
            io::ErrorKind::ReadOnlyFilesystem => {
                Some("the store is on a read-only file system; name another one: `--root DIR`")
            }
            io::ErrorKind::PermissionDenied => Some(
                "files there belong to ids that this process does not have: do it as the user, and with \
                 the subordinate ids or as the root, that made them",
            ),
            _ => None,
        }
    }
}

impl OpenError {
    /// What the user can do, where something is known to help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NetworkFilesystem { .. } | Self::NotAStore { .. } => {
                Some("name another directory: `--root DIR`")
            }
            Self::OtherOwner { .. } => {
                Some("run kiln as that user, or name a store of your own: `--root DIR`")
            }
            Self::TooNew { .. } => Some("use a newer kiln, or another `--root DIR`"),
            Self::Store(error) => error.hint(),
        }
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether SQLite ran out of space, for a page or for its shared-memory file.
pub(crate) fn is_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == rusqlite::ErrorCode::DiskFull
            || matches!(
                error.extended_code,
                rusqlite::ffi::SQLITE_IOERR_SHMSIZE | rusqlite::ffi::SQLITE_IOERR_WRITE
            )
    })
}
