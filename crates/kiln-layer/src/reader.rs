//! Reading a tar stream that nobody vouches for.

/// A stream that is no valid tar archive, or one that goes beyond what kiln reads.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source failed, or the compressed data is damaged.
    #[error("could not read the archive")]
    Read(#[source] std::io::Error),
    /// The archive ends inside an entry.
    #[error("the archive is cut off at byte {offset}")]
    Truncated {
        /// How many bytes of tar there were.
        offset: u64,
    },
    /// A header that can't be understood.
    #[error("bad archive header at byte {offset}: {reason}")]
    Header {
        /// Where the header begins in the uncompressed archive.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A kind of entry that kiln does not unpack.
    #[error("`{path}` is of the archive entry type `{kind}`, which is not supported")]
    UnsupportedKind {
        /// The entry.
        path: String,
        /// Its type flag.
        kind: char,
    },
}
