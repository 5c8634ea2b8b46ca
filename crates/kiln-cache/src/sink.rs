//! Passing a layer's bytes on, verified.

use std::io::{self, Write};

use kiln_oci::{Descriptor, Digester};

use crate::CacheError;

/// Passes bytes on and counts and digests them.
pub(crate) struct Sink<'a> {
    inner: &'a mut dyn Write,
    digester: Digester,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(inner: &'a mut dyn Write, descriptor: &Descriptor) -> Self {
        Self {
            inner,
            digester: Digester::new(descriptor.digest.algorithm()),
        }
    }

    /// How many bytes there were so far.
    pub(crate) fn written(&self) -> u64 {
        self.digester.length()
    }

    /// Fails where the bytes are not those that the descriptor names.
    pub(crate) fn finish(self, place: &str, descriptor: &Descriptor) -> Result<(), CacheError> {
        let found = self.digester.finish();
        if found == descriptor.digest {
            return Ok(());
        }
        Err(CacheError::Layer {
            place: place.to_owned(),
            expected: descriptor.digest.clone(),
            found,
        })
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.digester.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
