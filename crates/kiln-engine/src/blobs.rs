//! The store as a source and sink of blobs for image documents and archives.

use std::io::{self, Read};

use kiln_base::CancelToken;
use kiln_image::{BlobSink, BlobSource, MemoryBlobs, PutError};
use kiln_oci::Digest;
use kiln_store::{BlobError, Store};

/// A store seen as a place of blobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreBlobs<'a>(pub(crate) &'a Store);

/// Documents that were made for one output, before a store that has the rest.
#[derive(Debug)]
pub(crate) struct WithDocuments<'a> {
    pub(crate) documents: MemoryBlobs,
    pub(crate) store: StoreBlobs<'a>,
}

/// A place of blobs whose readers end when the token is used: for what reads for long.
pub(crate) struct Watched<'a> {
    pub(crate) source: &'a dyn BlobSource,
    pub(crate) cancel: &'a CancelToken,
}

impl BlobSource for Watched<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let Some(blob) = self.source.open(digest)? else {
            return Ok(None);
        };
        let cancel = self.cancel.clone();
        Ok(Some(Box::new(WatchedReader { blob, cancel })))
    }
}

struct WatchedReader {
    blob: Box<dyn Read + Send>,
    cancel: CancelToken,
}

impl Read for WatchedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.blob.read(buffer)
    }
}

impl BlobSource for StoreBlobs<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        let blob = self.0.open_blob(digest).map_err(io::Error::other)?;
        Ok(blob.map(|blob| Box::new(blob) as Box<dyn Read + Send>))
    }
}

impl BlobSource for WithDocuments<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        match self.documents.open(digest)? {
            Some(document) => Ok(Some(document)),
            None => self.store.open(digest),
        }
    }
}

impl BlobSink for StoreBlobs<'_> {
    fn put(
        &mut self,
        content: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), PutError> {
        let mut blob = self.0.blob_writer().map_err(io::Error::other)?;
        let size = io::copy(content, &mut blob)?;
        match blob.commit(expected.map(|digest| (digest, size))) {
            Ok(stored) => Ok(stored),
            Err(BlobError::WrongDigest { expected, found }) => {
                Err(PutError::Digest { expected, found })
            }
            Err(error) => Err(io::Error::other(error).into()),
        }
    }
}
