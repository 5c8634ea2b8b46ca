//! Extended attributes: lists of them, each once, and a number for each list.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;

use kiln_sys::xattr::Xattr;

use crate::{Attributes, NodeId, Tree};

use super::codec::Codecs;
use super::metadata::{Metadata, table};

pub(super) const PREFIXES: [(&[u8], u16); 3] = [(b"user.", 0), (b"trusted.", 1), (b"security.", 2)];

/// An inode without attributes.
const NONE: u32 = u32::MAX;

/// The lists of a tree.
pub(super) struct Lists<'a> {
    numbers: HashMap<&'a [Xattr], u32>,
    /// In the order of the numbers: where each is, and how long.
    places: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Lists<'a> {
    /// Numbers the lists in the order of the inodes; none if there are too many.
    pub(super) fn of(tree: &'a Tree, nodes: &[NodeId], codecs: &Codecs) -> Option<Self> {
        let mut numbers = HashMap::new();
        let mut places = Vec::new();
        let mut stream = Metadata::new(codecs);
        for &id in nodes {
            let xattrs = tree.inode(id).attributes.xattrs.as_slice();
            if xattrs.iter().all(|xattr| split(xattr).is_none()) || numbers.contains_key(xattrs) {
                continue;
            }
            numbers.insert(xattrs, u32::try_from(numbers.len()).ok()?);
            let place = stream.place();
            let mut list = Vec::new();
            let mut count = 0_u32;
            for xattr in xattrs {
                count += u32::from(encode(xattr, &mut list)?);
            }
            stream.write(&list);
            places.extend_from_slice(&place.reference().to_le_bytes());
            places.extend_from_slice(&count.to_le_bytes());
            places.extend_from_slice(&u32::try_from(list.len()).ok()?.to_le_bytes());
        }
        Some(Self {
            numbers,
            places,
            bytes: stream.finish(),
        })
    }

    /// The number of an inode's list.
    pub(super) fn number(&self, attributes: &Attributes) -> Option<u32> {
        self.numbers.get(attributes.xattrs.as_slice()).copied()
    }

    /// All lists as they are on the disk from `start` on, and where the superblock has to point.
    pub(super) fn encode(&self, codecs: &Codecs, start: u64) -> (Vec<u8>, u64) {
        if self.numbers.is_empty() {
            return (Vec::new(), u64::MAX);
        }
        let mut bytes = self.bytes.clone();
        let (mut table, places) = table(codecs, &self.places, start + bytes.len() as u64);
        // What says where the lists are comes between the table's blocks and their places.
        let mut header = start.to_le_bytes().to_vec();
        header.extend_from_slice(&(self.numbers.len() as u32).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        let at = (places - start) as usize - bytes.len();
        table.splice(at..at, header);
        bytes.extend_from_slice(&table);
        (bytes, places)
    }
}

/// The number as it is in an inode.
pub(super) fn field(number: Option<u32>) -> [u8; 4] {
    number.unwrap_or(NONE).to_le_bytes()
}

/// How many attributes the format can't hold.
pub(super) fn left_out(attributes: &Attributes) -> u64 {
    attributes
        .xattrs
        .iter()
        .filter(|xattr| split(xattr).is_none())
        .count() as u64
}

/// The number of the prefix, and the rest of the name.
fn split((name, _): &Xattr) -> Option<(u16, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number)| {
        let rest = name.as_bytes().strip_prefix(*prefix)?;
        (!rest.is_empty()).then_some((*number, rest))
    })
}

/// Appends an attribute, unless the format can't hold it; none if it is too large.
fn encode(xattr: &Xattr, list: &mut Vec<u8>) -> Option<bool> {
    let Some((prefix, rest)) = split(xattr) else {
        return Some(false);
    };
    list.extend_from_slice(&prefix.to_le_bytes());
    list.extend_from_slice(&u16::try_from(rest.len()).ok()?.to_le_bytes());
    list.extend_from_slice(rest);
    list.extend_from_slice(&u32::try_from(xattr.1.len()).ok()?.to_le_bytes());
    list.extend_from_slice(&xattr.1);
    Some(true)
}
