//! What is known of base images.

use kiln_dockerfile::Span;
use kiln_oci::{Digest, ImageConfig, Platform, Reference};

/// An image that the Dockerfile begins with or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRequest {
    /// Its name.
    pub reference: Reference,
    /// The platform it is wanted for.
    pub platform: Platform,
    /// Where the Dockerfile asks for it.
    pub span: Span,
}

/// What the frontend has to know of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFacts {
    /// The digest of its manifest (never of an index).
    pub manifest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
}

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub struct Facts(Vec<(Reference, Platform, BaseFacts)>);

impl Facts {
    /// Adds what was found for a request.
    pub fn insert(&mut self, request: &BaseRequest, facts: BaseFacts) {
        self.0
            .push((request.reference.clone(), request.platform.clone(), facts));
    }

    /// What is known of an image for a platform.
    pub fn get(&self, reference: &Reference, platform: &Platform) -> Option<&BaseFacts> {
        let found = self
            .0
            .iter()
            .find(|(known, for_platform, _)| known == reference && for_platform == platform);
        found.map(|(_, _, facts)| facts)
    }
}
