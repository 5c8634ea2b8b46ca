//! Distribution client: resolve, pull, push, authentication, mirrors.

use std::io::{self, Read, Write};

use kiln_base::CancelToken;
use kiln_oci::{Descriptor, MediaType, Reference};

/// Talks to registries.
#[derive(Debug)]
pub struct Client {}

/// A document as a registry gave it; the bytes have the descriptor's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The document.
    pub bytes: Vec<u8>,
}

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// To be replaced by the real ones.
    #[error("not there")]
    NotThere,
}

impl RegistryError {
    /// Whether the transfer broke off, so that going on from there may help.
    pub fn is_interrupted(&self) -> bool {
        false
    }
}

/// Opens a blob's content from its beginning; called again for each attempt.
pub type OpenBlob<'a> = &'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync);

impl Client {
    /// The manifest or index that a name leads to (by digest where it has one).
    pub fn resolve(
        &self,
        reference: &Reference,
        cancel: &CancelToken,
    ) -> Result<Resolved, RegistryError> {
        let _ = (reference, cancel);
        unimplemented!()
    }

    /// A blob's bytes from `offset` on; whoever takes them checks the digest.
    pub fn pull_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        sink: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let _ = (reference, blob, offset, sink, cancel);
        unimplemented!()
    }

    /// Uploads a blob, unless the registry has it, or takes it from one of the repositories
    /// `mount_from` of the same registry.
    pub fn push_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        mount_from: &[String],
        content: OpenBlob<'_>,
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let _ = (reference, blob, mount_from, content, cancel);
        unimplemented!()
    }

    /// Uploads a manifest or an index under a tag, or by its digest where the name has one.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
        cancel: &CancelToken,
    ) -> Result<(), RegistryError> {
        let _ = (reference, media_type, bytes, cancel);
        unimplemented!()
    }
}
