//! A layer in pieces that fit into memory, for services that take it so.

use std::io::Read;
use std::sync::Arc;

use kiln_oci::{Descriptor, Digester};

use crate::CacheError;
use crate::export::Export;

/// Reads a layer in pieces. The last one is given only when all of them together are what the
/// descriptor says, so that nobody completes an upload of something else.
pub(crate) struct Chunks<'a> {
    content: Box<dyn Read + Send>,
    layer: &'a Descriptor,
    size: u64,
    digester: Digester,
    is_done: bool,
}

impl<'a> Chunks<'a> {
    /// Pieces of `size` bytes; only the last may be smaller, and is where the layer is empty.
    pub(crate) fn open(
        job: &Export<'_>,
        layer: &'a Descriptor,
        size: u64,
    ) -> Result<Self, CacheError> {
        Ok(Self {
            content: job.open(&layer.digest)?,
            layer,
            size,
            digester: Digester::new(layer.digest.algorithm()),
            is_done: false,
        })
    }

    /// The next piece; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Arc<Vec<u8>>>, CacheError> {
        if self.is_done {
            return Ok(None);
        }
        let left = self.layer.size - self.digester.length();
        self.is_done = left <= self.size;
        // One more than there should be, to see what is too long.
        let limit = if self.is_done { left + 1 } else { self.size };
        let mut bytes = Vec::new();
        let read = (&mut self.content).take(limit).read_to_end(&mut bytes);
        read.map_err(|cause| self.unreadable(cause))?;
        self.digester.update(&bytes);
        let expected = left.min(self.size);
        if bytes.len() as u64 != expected {
            let problem = format!("it is not of the announced {} bytes", self.layer.size);
            let cause = std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
            return Err(self.unreadable(cause));
        }
        if self.is_done {
            let algorithm = self.layer.digest.algorithm();
            let digester = std::mem::replace(&mut self.digester, Digester::new(algorithm));
            let found = digester.finish();
            if found != self.layer.digest {
                return Err(CacheError::Layer {
                    place: "this build".to_owned(),
                    expected: self.layer.digest.clone(),
                    found,
                });
            }
        }
        Ok(Some(Arc::new(bytes)))
    }

    fn unreadable(&self, cause: std::io::Error) -> CacheError {
        CacheError::Source {
            digest: self.layer.digest.clone(),
            cause,
        }
    }
}
