//! A disk's signature, made when all that is signed is known.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_attest::SigningKey;
use kiln_oci::Digest;
use kiln_rootfs::manifest::{Manifest, ManifestSignature};
use kiln_rootfs::sign::{SignedFile, statement};

use super::RootfsError;
use super::describe::file_name;

/// A signature that is asked for.
#[derive(Debug, Clone)]
pub struct RootfsSign {
    /// Whose.
    pub key: Arc<SigningKey>,
    /// Its file.
    pub path: PathBuf,
}

impl RootfsSign {
    /// What the manifest says of the signature that will be of it, too.
    pub(super) fn describe(&self) -> ManifestSignature {
        ManifestSignature {
            file: file_name(&self.path),
            key: self.key.public().id(),
        }
    }

    /// Signs the disk, the documents beside it, and the initial file system that the manifest names.
    pub(super) fn sign(
        &self,
        manifest: &Manifest,
        documents: &[(PathBuf, Vec<u8>)],
    ) -> Result<(PathBuf, Vec<u8>), RootfsError> {
        let documents = documents.iter().map(|(path, bytes)| SignedFile {
            name: file_name(path),
            digest: Digest::sha256(bytes),
        });
        let initrd = manifest.kernel.initrd.iter().map(|initrd| SignedFile {
            name: initrd.file.clone(),
            digest: initrd.digest.clone(),
        });
        let beside: Vec<SignedFile> = documents.chain(initrd).collect();
        let statement = statement(manifest, &beside)?;
        let envelope = self.key.sign(&statement).ok_or(RootfsError::Unsigned)?;
        Ok((self.path.clone(), envelope.to_bytes()))
    }
}
