//! Extended attributes: those of one inode beside it, those of several in an area that they share.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use kiln_sys::xattr::Xattr;

use crate::{Attributes, NodeId, Tree};

/// Bytes before an inode's attributes.
pub(super) const HEADER: usize = 12;

/// An inode's attributes can take this many units of 4 bytes after the header.
const MOST_UNITS: usize = 0xfffe;

/// An inode can have this many shared attributes.
const MOST_SHARED: usize = 255;

/// Prefixes of names, and the numbers that stand for them.
pub(super) const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The attributes that several inodes have.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where each is, in units of 4 bytes, by its bytes.
    places: HashMap<Box<[u8]>, u32>,
    bytes: Vec<u8>,
}

impl Shared {
    pub(super) fn of(tree: &Tree, nodes: &[NodeId]) -> Self {
        let mut counts: HashMap<&Xattr, bool> = HashMap::new();
        for &id in nodes {
            for xattr in &tree.inode(id).attributes.xattrs {
                let again = counts.insert(xattr, false).is_some();
                if again {
                    counts.insert(xattr, true);
                }
            }
        }
        let mut shared: Vec<&Xattr> = counts
            .into_iter()
            .filter(|it| it.1)
            .map(|it| it.0)
            .collect();
        shared.sort_unstable();
        let mut this = Self {
            places: HashMap::new(),
            bytes: Vec::new(),
        };
        for xattr in shared {
            let Some(entry) = encode(xattr) else {
                continue;
            };
            if let Ok(place) = u32::try_from(this.bytes.len() / 4) {
                this.bytes.extend_from_slice(&entry);
                this.places.insert(entry.into(), place);
            }
        }
        this
    }

    /// What is in the shared area.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows an inode: nothing, or a header, places of shared attributes, and attributes.
    pub(super) fn beside(&self, attributes: &Attributes) -> Vec<u8> {
        if attributes.xattrs.is_empty() {
            return Vec::new();
        }
        let mut places = Vec::new();
        let mut own = Vec::new();
        for entry in attributes.xattrs.iter().filter_map(encode) {
            match self.places.get(entry.as_slice()) {
                Some(place) if places.len() < MOST_SHARED => places.push(*place),
                _ => own.extend_from_slice(&entry),
            }
        }
        let mut bytes = vec![0; HEADER];
        bytes[4] = places.len() as u8;
        bytes.extend(places.iter().flat_map(|place| place.to_le_bytes()));
        bytes.extend_from_slice(&own);
        bytes
    }
}

/// The first attribute that the format can't hold.
pub(super) fn unfit(attributes: &Attributes) -> Option<&Xattr> {
    attributes
        .xattrs
        .iter()
        .find(|xattr| encode(xattr).is_none())
}

/// Whether the attributes are too many for one inode, even if none was shared.
pub(super) fn too_many(attributes: &Attributes) -> bool {
    let bytes: usize = attributes
        .xattrs
        .iter()
        .filter_map(encode)
        .map(|it| it.len())
        .sum();
    bytes / 4 > MOST_UNITS
}

/// An attribute as it is on the disk, in whole units of 4 bytes.
fn encode((name, value): &Xattr) -> Option<Vec<u8>> {
    let name = name.as_bytes();
    let (rest, prefix) = PREFIXES
        .iter()
        .find_map(|(prefix, number)| Some((name.strip_prefix(*prefix)?, *number)))?;
    // The prefixes that end without a dot are whole names.
    if matches!(prefix, 2 | 3) != rest.is_empty() {
        return None;
    }
    let mut bytes = vec![u8::try_from(rest.len()).ok()?, prefix];
    bytes.extend_from_slice(&u16::try_from(value.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Some(bytes)
}
