//! What the engine answers with.

use kiln_oci::{Descriptor, Digest, Reference};

/// A finished build.
#[derive(Debug, Clone)]
pub struct BuildOutcome {
    /// The image; `None` where only files were asked for (`type=local`, `type=tar`).
    pub image: Option<BuiltImage>,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The manifest: media type, digest, size, platform.
    pub manifest: Descriptor,
    /// The digest of the configuration, which Docker calls the image id.
    pub config: Digest,
    /// The names it was given.
    pub names: Vec<Reference>,
}

/// An image in the local store, for listing.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// The name, `None` where it has none.
    pub name: Option<Reference>,
    /// The manifest's or index's descriptor.
    pub descriptor: Descriptor,
    /// The digest of the configuration; for an index, of its first image.
    pub id: Digest,
    /// The platforms it is for.
    pub platforms: Vec<kiln_oci::Platform>,
    /// When the image says it was made.
    pub created: Option<kiln_base::Timestamp>,
    /// Bytes of the blobs it refers to, each counted once.
    pub size: u64,
}
