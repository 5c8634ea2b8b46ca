//! Digests of definitions.

use std::fmt;

/// The digest of an operation and of its inputs' ids: BLAKE3, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId([u8; 32]);

impl StepId {
    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepId({self})")
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// One named fact that changes a step's output.
///
/// The label is what `--explain` calls it when it differs from the last build (``variable `CC` ``).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What the fact is called; unique within a step.
    pub label: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl Part {
    /// A part with a textual value.
    pub fn new(label: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
        }
    }
}

/// Hashes labelled fields unambiguously: each label and value is preceded by its length.
#[derive(Debug)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Begins a key; `domain` keeps keys of different kinds apart.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.bytes(domain.as_bytes());
        hasher
    }

    /// Adds one field.
    pub fn field(&mut self, label: &str, value: &[u8]) -> &mut Self {
        self.bytes(label.as_bytes());
        self.bytes(value);
        self
    }

    /// Adds parts in their order.
    pub fn parts(&mut self, parts: &[Part]) -> &mut Self {
        for part in parts {
            self.field(&part.label, &part.value);
        }
        self
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }

    /// The digest as a step id.
    pub(crate) fn finish_step(&self) -> StepId {
        StepId(self.finish())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = KeyHasher::new("t").field("a", b"bc").finish();
        let other = KeyHasher::new("t").field("ab", b"c").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn domains_are_kept_apart() {
        assert_ne!(KeyHasher::new("t").finish(), KeyHasher::new("u").finish());
    }
}
