//! What the engine answers with.

use kiln_oci::{Descriptor, Digest, Platform, Reference};

/// A finished build.
#[derive(Debug, Clone)]
pub struct BuildOutcome {
    /// The image; `None` where only files were asked for (`type=local`, `type=tar`).
    pub image: Option<BuiltImage>,
    /// The provenance of each platform's result as JSON, in the order asked for, where the request
    /// asks for provenance: the predicate without what it is about.
    pub provenance: Vec<(Platform, String)>,
}

/// An image that was built, as the first output that asked for one got it.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The manifest, or the index where there are several: media type, digest, size, annotations.
    pub manifest: Descriptor,
    /// What Docker calls the image id: the digest of the configuration, or the index's own.
    pub config: Digest,
    /// The image of each platform, in the order asked for.
    pub platforms: Vec<BuiltPlatform>,
    /// The names it was given.
    pub names: Vec<Reference>,
}

impl BuiltImage {
    /// Whether it is an index and not one image.
    pub fn is_index(&self) -> bool {
        self.manifest.media_type.is_index()
    }
}

/// One platform's part of what was built.
#[derive(Debug, Clone)]
pub struct BuiltPlatform {
    /// What it runs on.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Descriptor,
    /// The digest of its configuration.
    pub config: Digest,
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
    pub platforms: Vec<Platform>,
    /// When the image says it was made.
    pub created: Option<kiln_base::Timestamp>,
    /// Bytes of the blobs it refers to, each counted once.
    pub size: u64,
}
