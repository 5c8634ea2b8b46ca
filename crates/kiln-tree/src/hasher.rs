//! Hashing of fields that are told apart by their lengths.

use std::os::unix::ffi::OsStrExt;

use kiln_sys::xattr::Xattr;

/// So many bytes of fields are hashed at once.
const FIELDS_BYTES: usize = 32 * 1024;

/// Hashes fields unambiguously: texts and lists come with their length.
pub(crate) struct Hasher {
    hasher: blake3::Hasher,
    /// What comes next: many small fields are hashed faster in one piece.
    buffer: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new(domain: &str) -> Self {
        let mut hasher = Self {
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
        };
        hasher.bytes(domain.as_bytes());
        hasher
    }

    pub(crate) fn number(&mut self, number: impl TryInto<u64>) {
        let number = number.try_into().unwrap_or(u64::MAX);
        self.buffer.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        if self.buffer.len() + bytes.len() > FIELDS_BYTES {
            self.flush();
        }
        if bytes.len() > FIELDS_BYTES {
            self.hasher.update(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes without their length.
    pub(crate) fn content(&mut self, bytes: &[u8]) {
        self.flush();
        self.hasher.update(bytes);
    }

    pub(crate) fn xattrs(&mut self, xattrs: &[Xattr]) {
        self.number(xattrs.len());
        for (name, value) in xattrs {
            self.bytes(name.as_bytes());
            self.bytes(value);
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.flush();
        *self.hasher.finalize().as_bytes()
    }
}
