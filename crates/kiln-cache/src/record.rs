//! What a cache says: results of steps by kiln's keys, and the layers that they consist of.

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest};

/// A step's key: BLAKE3.
pub type Key = [u8; 32];

/// What is to be exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The results, in any order. For `mode=min` those that the image consists of, for `mode=max`
    /// all of the build.
    pub records: Vec<Record>,
    /// Repositories of the target's registry that may have some of the layers already, as those
    /// of base images do; a registry takes them from there without an upload.
    pub mount_from: Vec<String>,
}

/// One step's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key that the steps above were keyed with, and then the keys that lead to it. A record
    /// without keys is left out.
    pub keys: Vec<Key>,
    /// The layers of the root that the step left, lowest first, those of its base included.
    pub layers: Vec<Layer>,
    /// What else the engine keeps with a result, some hundred bytes at most. It comes back as it
    /// is.
    pub extra: Vec<u8>,
    /// When the step ran.
    pub created: Option<Timestamp>,
}

/// A layer of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob: media type, digest and size. Annotations are not kept.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed archive. In an imported record it is what the cache says;
    /// whoever unpacks the layer compares it.
    pub diff_id: Digest,
    /// When the layer was made.
    pub created: Option<Timestamp>,
}

/// What an imported cache has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The first key of its [`Record`].
    pub key: Key,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// What the exporting engine kept with it.
    pub extra: Vec<u8>,
}

/// A key in hexadecimal.
pub(crate) fn hex(key: &[u8]) -> String {
    use std::fmt::Write as _;
    key.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key from lower-case hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<Key> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut key = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(key)
}
