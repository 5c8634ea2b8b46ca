//! Where blobs come from and go to.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use kiln_oci::{Descriptor, Digest, Digester, MAX_DOCUMENT_SIZE};

/// Something that holds blobs under their digests.
pub trait BlobSource {
    /// Opens a blob; `None` where it is not held. What is read is not verified yet.
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>>;
}

/// Something that takes blobs, and holds what it took.
pub trait BlobSink: BlobSource {
    /// Takes everything `content` gives, and says what it was. Where a digest is expected and the
    /// content has another, nothing is kept.
    fn put(
        &mut self,
        content: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), PutError>;
}

/// Why a sink did not take a blob.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Reading the content or keeping it failed.
    #[error("could not store the blob")]
    Io(#[from] io::Error),
    /// The content is not what was announced.
    #[error("expected `{expected}`, but the content has `{found}`")]
    Digest {
        /// As announced.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
}

/// Why a blob could not be read in full.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The source does not hold it.
    #[error("blob `{0}` is missing")]
    Missing(Digest),
    /// Opening or reading failed.
    #[error("could not read blob `{digest}`")]
    Read {
        /// Which blob.
        digest: Digest,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The content is not what the digest names.
    #[error("blob `{expected}` is damaged: its content has `{found}`")]
    Damaged {
        /// As named.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// The size is not what the descriptor says.
    #[error("blob `{digest}` has {found} bytes where {expected} were announced")]
    Size {
        /// Which blob.
        digest: Digest,
        /// As announced.
        expected: u64,
        /// As counted; counting stops one byte after the announced size.
        found: u64,
    },
    /// A document larger than documents may be.
    #[error(
        "document `{digest}` is announced with {size} bytes, more than the allowed {MAX_DOCUMENT_SIZE}"
    )]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// As announced.
        size: u64,
    },
}

/// Reads a document (a manifest, an index or a configuration) into memory and verifies it.
pub fn read_blob(source: &dyn BlobSource, descriptor: &Descriptor) -> Result<Vec<u8>, BlobError> {
    let digest = &descriptor.digest;
    if descriptor.size > MAX_DOCUMENT_SIZE as u64 {
        return Err(BlobError::TooLarge {
            digest: digest.clone(),
            size: descriptor.size,
        });
    }
    let read = |cause| BlobError::Read {
        digest: digest.clone(),
        cause,
    };
    let content = source
        .open(digest)
        .map_err(read)?
        .ok_or_else(|| BlobError::Missing(digest.clone()))?;
    let mut bytes = Vec::new();
    content
        .take(descriptor.size + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    check(descriptor, bytes.len() as u64, || {
        let mut digester = Digester::new(digest.algorithm());
        digester.update(&bytes);
        digester.finish()
    })?;
    Ok(bytes)
}

/// Compares what was read with what was announced; the size first, since it costs nothing.
pub(crate) fn check(
    descriptor: &Descriptor,
    size: u64,
    found: impl FnOnce() -> Digest,
) -> Result<(), BlobError> {
    if size != descriptor.size {
        return Err(BlobError::Size {
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            found: size,
        });
    }
    let found = found();
    if found != descriptor.digest {
        return Err(BlobError::Damaged {
            expected: descriptor.digest.clone(),
            found,
        });
    }
    Ok(())
}

/// Passes a blob's content on, and fails at its end, or as soon as it is too long, where it is not
/// what the descriptor says. Whoever copies the reader to the end has copied verified content.
#[derive(Debug)]
pub(crate) struct Verified<'a, R> {
    content: R,
    descriptor: &'a Descriptor,
    /// `None` after the end was reached and found good.
    digester: Option<Digester>,
}

impl<'a, R: Read> Verified<'a, R> {
    pub(crate) fn new(content: R, descriptor: &'a Descriptor) -> Self {
        Self {
            content,
            descriptor,
            digester: Some(Digester::new(descriptor.digest.algorithm())),
        }
    }
}

impl<R: Read> Read for Verified<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(digester) = &mut self.digester else {
            return Ok(0);
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        let invalid = |error: BlobError| io::Error::new(io::ErrorKind::InvalidData, error);
        let count = self.content.read(buffer)?;
        digester.update(&buffer[..count]);
        let length = digester.length();
        if count == 0 || length > self.descriptor.size {
            let digester = self.digester.take().unwrap_or_else(Digester::sha256);
            check(self.descriptor, length, || digester.finish()).map_err(invalid)?;
        }
        Ok(count)
    }
}

/// Blobs in memory: a source for documents just made, and a test double.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlobs(BTreeMap<Digest, Arc<[u8]>>);

impl MemoryBlobs {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds `bytes`, and gives their descriptor back.
    pub fn insert(&mut self, media_type: kiln_oci::MediaType, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.0.insert(descriptor.digest.clone(), bytes.into());
        descriptor
    }

    /// Puts other content under a digest.
    #[cfg(test)]
    pub(crate) fn corrupt(&mut self, digest: &Digest, bytes: &[u8]) {
        self.0.insert(digest.clone(), bytes.into());
    }

    /// The content of a blob.
    pub fn get(&self, digest: &Digest) -> Option<&[u8]> {
        self.0.get(digest).map(AsRef::as_ref)
    }

    /// How many blobs are held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no blob is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl BlobSource for MemoryBlobs {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let found = self.0.get(digest).cloned();
        Ok(found.map(|bytes| Box::new(io::Cursor::new(bytes)) as Box<dyn Read + Send>))
    }
}

impl BlobSink for MemoryBlobs {
    fn put(
        &mut self,
        content: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), PutError> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        let algorithm = expected.map_or(kiln_oci::Algorithm::Sha256, Digest::algorithm);
        let mut digester = Digester::new(algorithm);
        digester.update(&bytes);
        let found = digester.finish();
        match expected {
            Some(expected) if *expected != found => Err(PutError::Digest {
                expected: expected.clone(),
                found,
            }),
            _ => {
                let size = bytes.len() as u64;
                self.0.insert(found.clone(), bytes.into());
                Ok((found, size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_oci::MediaType;

    #[test]
    fn a_document_is_verified() {
        let mut blobs = MemoryBlobs::new();
        let good = blobs.insert(MediaType::Empty, b"{}");
        assert_eq!(read_blob(&blobs, &good).expect("the blob"), b"{}");

        let check = |descriptor: &Descriptor, message: &str| {
            let error = read_blob(&blobs, descriptor).expect_err("a bad blob");
            assert_eq!(
                error.to_string().replace(good.digest.as_str(), "D"),
                message
            );
        };
        check(
            &Descriptor {
                size: 1,
                ..good.clone()
            },
            "blob `D` has 2 bytes where 1 were announced",
        );
        check(
            &Descriptor {
                size: 1 << 40,
                ..good.clone()
            },
            "document `D` is announced with 1099511627776 bytes, more than the allowed 4194304",
        );
        let missing = Digest::sha256(b"");
        let message = format!("blob `{missing}` is missing");
        check(&Descriptor::new(MediaType::Empty, missing, 0), &message);
    }

    #[test]
    fn a_stream_is_verified_at_its_end() {
        let descriptor = Descriptor::of(MediaType::Empty, b"content");
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            Verified::new(bytes, &descriptor)
                .read_to_end(&mut out)
                .map(|_| out)
        };
        assert_eq!(read(b"content").expect("good content"), b"content");
        assert!(read(b"conten").is_err());
        assert!(read(b"contenT").is_err());
        assert!(read(b"content and more").is_err());
    }

    #[test]
    fn a_sink_keeps_nothing_unexpected() {
        let mut blobs = MemoryBlobs::new();
        let result = blobs.put(&mut &b"x"[..], Some(&Digest::sha256(b"y")));
        assert!(matches!(result, Err(PutError::Digest { .. })));
        assert!(blobs.is_empty());
    }
}
