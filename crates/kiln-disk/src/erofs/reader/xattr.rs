//! Extended attributes: those of one inode beside it, and those of several.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use kiln_sys::xattr::Xattr;

use super::Reader;
use super::inode::RawInode;
use crate::erofs::xattrs::{HEADER, PREFIXES};
use crate::read::fields::{at16, at32};
use crate::{DiskSource, ReadError};

/// Bytes before a name.
const ENTRY: usize = 4;

/// Marks a prefix that is on the disk.
const LONG: u8 = 0x80;

const OUTSIDE: &str = "its attributes reach out of their place";

impl<D: DiskSource> Reader<D> {
    /// All attributes of an inode, sorted by name.
    pub(super) fn xattrs(&self, inode: &RawInode) -> Result<Vec<Xattr>, ReadError> {
        let (start, length) = inode.xattrs;
        if length == 0 {
            return Ok(Vec::new());
        }
        let area = self.disk.read(start, length)?;
        let mut xattrs = Vec::new();
        let shared = usize::from(area[4]);
        let own = HEADER + 4 * shared;
        let places = area.get(HEADER..own);
        for place in places.ok_or_else(|| inode.damaged(OUTSIDE))?.chunks(4) {
            let place = u64::from(at32(place, 0)) * 4 + self.geometry.xattrs;
            let head = self.metadata(place, ENTRY as u64)?;
            let bytes = self.metadata(place, size(&head) as u64)?;
            xattrs.extend(self.decode(&bytes, inode)?);
        }
        let mut rest = &area[own..];
        while rest.len() >= ENTRY {
            let length = size(rest);
            let entry = rest.get(..length).ok_or_else(|| inode.damaged(OUTSIDE))?;
            xattrs.extend(self.decode(entry, inode)?);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        xattrs.sort_unstable();
        if xattrs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(inode.damaged("an attribute is there twice"));
        }
        Ok(xattrs)
    }

    /// An attribute as a program sees it; none for one that no program sees.
    fn decode(&self, entry: &[u8], inode: &RawInode) -> Result<Option<Xattr>, ReadError> {
        if entry[1] & LONG != 0 && self.geometry.has_prefixes {
            let what = "long prefixes of attributes' names".to_owned();
            return Err(ReadError::Unsupported(what));
        }
        let known = PREFIXES.iter().find(|(_, number)| *number == entry[1]);
        let Some((prefix, _)) = known else {
            return Ok(None);
        };
        let (name, value) = entry[ENTRY..].split_at(usize::from(entry[0]));
        if prefix.ends_with(b".") == name.is_empty() || name.contains(&0) {
            return Err(inode.damaged("an attribute has an impossible name"));
        }
        let name = OsString::from_vec([*prefix, name].concat());
        Ok(Some((name, value.to_vec())))
    }
}

/// Bytes of an entry.
fn size(entry: &[u8]) -> usize {
    ENTRY + usize::from(entry[0]) + usize::from(at16(entry, 2))
}
