//! A descriptor: what a blob is, how large, and its digest.

use std::collections::BTreeMap;

use crate::{Digest, MediaType, Platform};

/// Points at a blob. `data` (embedded content) is not kept: the digest names the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// What the manifest runs on; in indexes only.
    pub platform: Option<Platform>,
    /// The type of an artifact that is not an image.
    pub artifact_type: Option<String>,
    /// Where else the blob may be fetched; foreign layers have these.
    pub urls: Vec<String>,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The annotation that names a manifest inside an image layout.
    pub const REF_NAME: &'static str = "org.opencontainers.image.ref.name";

    /// A plain descriptor.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            artifact_type: None,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The descriptor of these bytes.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// The same blob, said to run on `platform`.
    #[must_use]
    pub fn with_platform(self, platform: Platform) -> Self {
        Self {
            platform: Some(platform),
            ..self
        }
    }

    /// The same blob with one more annotation.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Whether this is a manifest that BuildKit attached to an image to describe it (provenance,
    /// SBOM), and not an image that runs.
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
    }
}
