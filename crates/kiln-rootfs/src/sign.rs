//! A disk's signature: a statement about its file and what is beside it (documents, an initial file
//! system), by their digests.
//!
//! The statement is an in-toto one in a DSSE envelope; what it says of the disk beside the digests
//! is what a machine that boots it has to trust: the image, the root hash of its verity tree and the
//! kernel's command line.

use kiln_attest::{
    Envelope, EnvelopeError, Predicate, PredicateError, Statement, StatementVersion, Subject,
    VerifyingKey,
};
use kiln_oci::Digest;
use serde::Deserialize;
use serde_json::json;

use crate::manifest::Manifest;

/// What kind of statement it is.
pub const PREDICATE: &str = "urn:kiln:rootfs:v1";

/// A file that somebody has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

/// Why a signature proves nothing about a disk.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// It is not the key's, or no signature at all.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is the key's, of something else.
    #[error("it signs no disk: {0}")]
    Statement(String),
}

/// What is to be signed: the disk first, then the files beside it by name and content.
///
/// # Errors
///
/// Never: what is said is JSON.
pub fn statement(manifest: &Manifest, beside: &[SignedFile]) -> Result<Statement, PredicateError> {
    let disk = &manifest.disk;
    let predicate = json!({
        "image": { "digest": manifest.source.digest.as_str() },
        "disk": {
            "format": disk.format.name(),
            "size": disk.size,
            "digest": disk.digest.as_str(),
            "verity": disk.verity.as_ref().map(|verity| json!({
                "root_hash": verity.root_hash,
                "salt": verity.salt,
                "offset": verity.offset,
            })),
        },
        "kernel": { "command_line": manifest.kernel.command_line },
    });
    let predicate = Predicate::new(PREDICATE, &predicate.to_string())?;
    let subject = |name: &str, digest: &Digest| Subject {
        name: name.to_owned(),
        digest: digest.clone(),
    };
    let mut subjects = vec![subject(&disk.file, &disk.file_digest)];
    subjects.extend(beside.iter().map(|file| subject(&file.name, &file.digest)));
    Ok(Statement::new(subjects, predicate))
}

/// The files that an envelope is about, the disk first, if it is signed by the key.
///
/// # Errors
///
/// See [`SignatureError`].
pub fn signed_files(
    envelope: &[u8],
    key: &VerifyingKey,
) -> Result<Vec<SignedFile>, SignatureError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        #[serde(rename = "_type")]
        version: String,
        predicate_type: String,
        subject: Vec<SubjectWire>,
    }
    #[derive(Deserialize)]
    struct SubjectWire {
        name: String,
        digest: DigestWire,
    }
    #[derive(Deserialize)]
    struct DigestWire {
        sha256: String,
    }
    let envelope = Envelope::from_bytes(envelope)?;
    let wrong = |text: String| SignatureError::Statement(text);
    let wire: Wire = serde_json::from_slice(envelope.verified(key)?)
        .map_err(|error| wrong(error.to_string()))?;
    if wire.version != StatementVersion::V1.uri() || wire.predicate_type != PREDICATE {
        return Err(wrong(format!("it is a `{}`", wire.predicate_type)));
    }
    let files = wire.subject.into_iter().map(|subject| {
        let digest = format!("sha256:{}", subject.digest.sha256);
        let digest = digest.parse::<Digest>();
        Ok(SignedFile {
            name: subject.name,
            digest: digest.map_err(|error| wrong(error.to_string()))?,
        })
    });
    let files: Vec<SignedFile> = files.collect::<Result<_, SignatureError>>()?;
    if files.is_empty() {
        return Err(wrong("it names no file".to_owned()));
    }
    Ok(files)
}
