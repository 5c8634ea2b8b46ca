//! A layer's blob to a directory that overlayfs can stack.

mod decoded;
mod extract;
mod resolve;

use std::io::{self, Read};
use std::path::PathBuf;

use kiln_base::{CancelToken, Cancelled};
use kiln_oci::{Compression, Digest, Digester};
use kiln_sys::fs::{Dir, FsError};

pub(crate) use self::decoded::{Decoding, with_decoded};
use self::extract::Extractor;
pub use self::resolve::resolve_against;

use crate::decode::DecodeError;
use crate::overlay::OverlayXattrs;
use crate::reader::{ArchiveError, TarReader};
use crate::times::UnpackTimes;

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobFormat {
    /// As its first bytes say.
    Detect,
    /// As its media type says; anything else is an error.
    Is(Compression),
}

/// How to unpack a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackOptions {
    /// The compression.
    pub format: BlobFormat,
    /// Where to put overlayfs' marks.
    pub xattrs: OverlayXattrs,
    /// What the blob must be, if the reader does not check it.
    pub expected: Option<ExpectedBlob>,
    /// What the tar stream's digest must be.
    pub diff_id: Option<Digest>,
}

/// The digest and size of a blob, as its descriptor has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedBlob {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// What was unpacked, and what needs the layers below to be complete: see [`resolve_against`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackReport {
    /// The digest of the tar stream.
    pub diff_id: Digest,
    /// Bytes of the tar stream.
    pub uncompressed_size: u64,
    /// Directories that entries are in but the archive has no entry for, sorted; the empty path is
    /// the root.
    pub implied_dirs: Vec<PathBuf>,
    /// Hard links to files that this layer does not have, in the order of the archive.
    pub foreign_links: Vec<ForeignLink>,
    /// Whiteouts. Where the layers below have nothing to hide overlayfs would list them.
    pub whiteouts: Vec<PathBuf>,
}

/// A hard link to a file of a layer below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLink {
    /// Where the link is to be.
    pub path: PathBuf,
    /// The file it names.
    pub target: PathBuf,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The compression is not the expected one, or damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The tar stream is not valid.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A name that would leave the target, or that is no name.
    #[error("bad name `{name}` in the archive: {reason}")]
    BadName {
        /// The name as the archive has it.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry is inside something that is not a directory, such as a symbolic link that the
    /// archive made.
    #[error("`{}` is inside `{}`, which is not a directory", path.display(), parent.display())]
    ParentNotDir {
        /// The entry.
        path: PathBuf,
        /// What it is inside of.
        parent: PathBuf,
    },
    /// A hard link whose target is nowhere.
    #[error("`{}` is a hard link to `{}`, which does not exist", path.display(), target.display())]
    MissingLinkTarget {
        /// The link.
        path: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// A device node where making one is not allowed.
    #[error("may not make the device node `{}`: device nodes need root", path.display())]
    Device {
        /// The node.
        path: PathBuf,
    },
    /// An owner that this user namespace has no id for.
    #[error("`{}` is owned by {uid}:{gid}, which is outside of the ids available here", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its user.
        uid: u64,
        /// Its group.
        gid: u64,
    },
    /// The blob is not the one that was promised.
    #[error("expected the {what} {expected} but found {actual}")]
    Mismatch {
        /// `digest`, `size` or `diff ID`.
        what: &'static str,
        /// What was promised.
        expected: String,
        /// What was there.
        actual: String,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ForeignLink {
    fn missing(&self) -> UnpackError {
        UnpackError::MissingLinkTarget {
            path: self.path.clone(),
            target: self.target.clone(),
        }
    }
}

/// Unpacks a layer into the empty directory `into`, reading `blob` to its end.
///
/// Nothing is written outside of `into` whatever the archive says: no symbolic link is followed.
/// On error `into` is left half filled and is to be thrown away.
pub fn unpack(
    blob: impl Read + Send,
    into: &Dir,
    options: &UnpackOptions,
    cancel: &CancelToken,
) -> Result<UnpackReport, UnpackError> {
    unpack_timed(blob, into, options, (&UnpackTimes::off(), cancel))
}

/// [`unpack`] that says in `times` where the time went.
pub fn unpack_timed(
    blob: impl Read + Send,
    into: &Dir,
    options: &UnpackOptions,
    (times, cancel): (&UnpackTimes, &CancelToken),
) -> Result<UnpackReport, UnpackError> {
    let decoding = Decoding {
        format: options.format,
        expected: options.expected.as_ref(),
        digester: Some(Digester::sha256()),
        times,
    };
    let (unresolved, tar) = with_decoded(blob, decoding, |tar| {
        let mut extractor = Extractor::new(into, options.xattrs, cancel);
        let mut archive = TarReader::new(&mut *tar);
        while let Some(entry) = archive.next_entry()? {
            cancel.check()?;
            extractor.put(&entry, &mut archive)?;
        }
        // What follows the end of the archive is part of what the diff ID covers.
        io::copy(tar, &mut io::sink()).map_err(ArchiveError::Read)?;
        extractor.finish()
    })?;
    let tar = tar.unwrap_or_else(Digester::sha256);
    let report = UnpackReport {
        uncompressed_size: tar.length(),
        diff_id: tar.finish(),
        implied_dirs: unresolved.implied_dirs,
        foreign_links: unresolved.foreign_links,
        whiteouts: unresolved.whiteouts,
    };
    if let Some(expected) = &options.diff_id {
        check_equal("diff ID", expected, &report.diff_id)?;
    }
    Ok(report)
}

fn check_equal<T: PartialEq + ToString>(
    what: &'static str,
    expected: &T,
    actual: &T,
) -> Result<(), UnpackError> {
    if expected == actual {
        return Ok(());
    }
    Err(UnpackError::Mismatch {
        what,
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}
