//! Names of things inside the store.

use std::fmt;
use std::sync::Arc;

use kiln_oci::Digest;

/// Names a snapshot: lower-case letters, digits and `-`.
///
/// The snapshot of an unpacked image layer is named by the layer's chain ID, so that two builds
/// share it; the snapshot of a step gets a fresh random name. One that several were flattened into
/// is named after those.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(Arc<str>);

/// Names the result of a step: 32 bytes of BLAKE3 over all that makes the result.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(pub [u8; 32]);

/// Names a place in a Dockerfile (file, stage, position), whatever stands there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub [u8; 32]);

/// Names a build context, so that the digests of its files are found again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub [u8; 32]);

/// What the names of flattened snapshots begin with. No digest has an algorithm of this name.
const FLATTENED: &str = "flat-";

impl SnapshotId {
    /// The name of the snapshot that holds the layer on top of this chain.
    pub fn of_chain(chain_id: &Digest) -> Self {
        Self(format!("{}-{}", chain_id.algorithm().name(), chain_id.hex()).into())
    }

    /// The same where `scope` tells such snapshots from those of other processes on the store, which
    /// keep the owners of files in another way.
    pub fn of_chain_in(chain_id: &Digest, scope: &[u8; 32]) -> Self {
        let scope = blake3::Hash::from_bytes(*scope).to_hex();
        Self(format!("{}-{scope}", Self::of_chain(chain_id)).into())
    }

    /// A fresh name. It never reaches an image, so randomness here does not touch reproducibility.
    pub fn random() -> Self {
        Self(random_hex().into())
    }

    /// The name of the snapshot that these, lowest first, were flattened into.
    pub fn flattened<'a>(layers: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for layer in layers {
            hasher.update(layer.0.as_bytes()).update(b"\n");
        }
        Self(format!("{FLATTENED}{}", hasher.finalize().to_hex()).into())
    }

    /// Whether the name was made by [`SnapshotId::flattened`].
    pub fn is_flattened(&self) -> bool {
        self.0.starts_with(FLATTENED)
    }

    /// Whether the name was made by [`SnapshotId::of_chain`].
    pub fn is_of_chain(&self) -> bool {
        self.0.contains('-') && !self.is_flattened()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name read back from where its text was kept; `None` if it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (!text.is_empty() && text.bytes().all(is_name)).then(|| Self(text.into()))
    }

    /// A name read back from the index.
    pub(crate) fn from_index(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CacheKey {
    /// A key read back from its text; `None` if it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|hash| Self(*hash.as_bytes()))
    }
}

impl SlotId {
    /// The slot that `name` describes; equal names, equal slots.
    pub fn of(name: &[u8]) -> Self {
        Self(*blake3::hash(name).as_bytes())
    }
}

impl ContextId {
    /// The context that `name` describes, for example an absolute path.
    pub fn of(name: &[u8]) -> Self {
        Self(*blake3::hash(name).as_bytes())
    }
}

macro_rules! hex_debug {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

hex_debug!(CacheKey, SlotId, ContextId);

/// 128 random bits as 32 hexadecimal digits.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's generator fails only before it is seeded, early in boot, or when a signal
        // arrives; trying again is right in both cases.
        let rest = &mut bytes[filled..];
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .unwrap_or_default();
    }
    let number = u128::from_le_bytes(bytes);
    format!("{number:032x}")
}
