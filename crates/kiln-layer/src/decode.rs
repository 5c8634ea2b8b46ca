//! Finding out how an archive is compressed, and undoing it.

use std::io::{self, Read};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveFormat {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// Why an archive's compression could not be undone.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first bytes are those of another format.
    #[error("expected {expected} but found {found}")]
    Unexpected {
        /// What was promised.
        expected: &'static str,
        /// What the first bytes say.
        found: &'static str,
    },
    /// The source failed.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
}

/// What the first bytes (six suffice) say. Plain tar has no mark there, so that is `None`, too.
pub fn detect_archive(start: &[u8]) -> Option<ArchiveFormat> {
    unimplemented!("{start:?}")
}

/// Whether `ADD` unpacks this file: a tar archive with at least one valid header, in any of the
/// formats of [`ArchiveFormat`].
pub fn is_archive(file: impl Read) -> bool {
    let _ = file;
    unimplemented!()
}
