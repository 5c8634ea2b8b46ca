//! What can go wrong between kiln and a cache.

use kiln_base::Cancelled;
use kiln_image::BlobError;
use kiln_oci::{Digest, DocumentError};
use kiln_registry::RegistryError;
use kiln_sys::fs::FsError;
use kiln_sys::lock::LockError;

use crate::format::FormatError;
use crate::http::HttpError;

/// A cache could not be read or written. Holds no credential and no token.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Nothing is there yet: not worth more than a note.
    #[error("there is no cache at `{0}`")]
    Missing(String),
    /// GitHub's cache was asked for outside of a workflow.
    #[error(
        "GitHub's cache is not reachable from here: \
         set `ACTIONS_RUNTIME_TOKEN` and `ACTIONS_RESULTS_URL`, as a workflow's actions have them"
    )]
    Inactive,
    /// What is there is an image without an inline cache, or no cache at all.
    #[error("`{0}` has no cache in it")]
    NoCache(String),
    /// The cache's document can't be used.
    #[error("the cache at `{place}` can't be used")]
    Format {
        /// Where it is.
        place: String,
        /// What is wrong.
        #[source]
        cause: FormatError,
    },
    /// The manifest that leads to the cache can't be used.
    #[error("the manifest of the cache at `{place}` can't be used")]
    Document {
        /// Where it is.
        place: String,
        /// What is wrong.
        #[source]
        cause: DocumentError,
    },
    /// A document is not the one that was announced.
    #[error("a document of the cache at `{place}` can't be used")]
    Damaged {
        /// Where it is.
        place: String,
        /// What is wrong.
        #[source]
        cause: BlobError,
    },
    /// A layer is not what its digest says.
    #[error("layer `{expected}` of the cache at `{place}` is damaged: its content has `{found}`")]
    Layer {
        /// Where it is.
        place: String,
        /// As named.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// The cache names a layer that is not there any more.
    #[error("layer `{digest}` is not in the cache at `{place}` any more")]
    LayerMissing {
        /// Where it should be.
        place: String,
        /// Which one.
        digest: Digest,
    },
    /// The transfer of a layer broke off, or what arrived can't be kept.
    #[error("could not fetch layer `{digest}`")]
    Fetch {
        /// Which one.
        digest: Digest,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A layer to be exported can't be read.
    #[error("could not read layer `{digest}` for the cache")]
    Source {
        /// Which one.
        digest: Digest,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A registry did not do what was asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FsError),
    /// The folder can't be locked while its index changes.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A service did not do what was asked.
    #[error("could not {action}")]
    Http {
        /// What follows "could not".
        action: String,
        /// Why.
        #[source]
        cause: HttpError,
    },
    /// The settings can't be used.
    #[error("the settings of the cache can't be used: {0}")]
    Settings(String),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl CacheError {
    /// Whether there is simply nothing yet, as before the first build.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Missing(_) | Self::NoCache(_) | Self::Inactive => true,
            Self::Registry(error) => error.is_not_found(),
            Self::Http { cause, .. } => cause.is_not_found(),
            _ => false,
        }
    }

    /// Whether the build was told to stop.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled(_) => true,
            Self::Registry(error) => error.is_cancelled(),
            Self::Http { cause, .. } => matches!(cause, HttpError::Cancelled(_)),
            _ => false,
        }
    }

    /// Whether somebody who logs in, or has other rights, may succeed.
    pub fn is_authentication(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_authentication(),
            Self::Http { cause, .. } => cause.is_authentication(),
            _ => false,
        }
    }
}
