//! Extended attributes, in inodes and in blocks.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use kiln_sys::xattr::Xattr;

use super::fields::{at16, at32};
use super::inode::RawInode;
use super::{DiskSource, ReadError, Reader, WRONG_SUM};
use crate::ext4::checksum::crc;

const MAGIC: u32 = 0xea02_0000;
const HEADER: usize = 32;
const ENTRY: usize = 16;

impl<D: DiskSource> Reader<D> {
    /// All attributes of an inode, sorted by name.
    pub(super) fn xattrs(&self, inode: &RawInode) -> Result<Vec<Xattr>, ReadError> {
        let mut xattrs = Vec::new();
        if inode.rest.len() >= 8 && at32(&inode.rest, 0) == MAGIC {
            parse(&inode.rest[4..], 0, inode, &mut xattrs)?;
        }
        if inode.xattr_block != 0 {
            let block = self.block(inode.xattr_block)?;
            if at32(&block, 0) != MAGIC || at32(&block, 8) != 1 {
                return Err(inode.damaged("its block of attributes is none"));
            }
            if let Some(seed) = self.geometry.seed {
                let mut cleared = block.clone();
                cleared[16..20].fill(0);
                let sum = crc(crc(seed, &inode.xattr_block.to_le_bytes()), &cleared);
                if sum != at32(&block, 16) {
                    return Err(inode.damaged(WRONG_SUM));
                }
            }
            parse(&block, HEADER, inode, &mut xattrs)?;
        }
        xattrs.sort_unstable();
        if xattrs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(inode.damaged("an attribute is there twice"));
        }
        Ok(xattrs)
    }
}

/// Reads entries from `at` on.
fn parse(
    area: &[u8],
    mut at: usize,
    inode: &RawInode,
    xattrs: &mut Vec<Xattr>,
) -> Result<(), ReadError> {
    let wrong = || inode.damaged("its attributes reach out of their place");
    // Four zeros are the end.
    while area.get(at..at + 4).ok_or_else(wrong)? != [0; 4] {
        let entry = area.get(at..at + ENTRY).ok_or_else(wrong)?;
        let name_length = usize::from(entry[0]);
        let name = area.get(at + ENTRY..at + ENTRY + name_length);
        let name = name.ok_or_else(wrong)?;
        if at32(entry, 4) != 0 {
            return Err(ReadError::Unsupported("attributes in inodes".to_owned()));
        }
        let start = usize::from(at16(entry, 2));
        let length = usize::try_from(at32(entry, 8)).map_err(|_| wrong())?;
        let value = match length {
            0 => &[],
            _ => start
                .checked_add(length)
                .and_then(|end| area.get(start..end))
                .ok_or_else(wrong)?,
        };
        if let Some(xattr) = decode(entry[1], name, value, inode)? {
            xattrs.push(xattr);
        }
        at += ENTRY + name_length.next_multiple_of(4);
    }
    Ok(())
}

/// An attribute as a program sees it; none for one that no program sees.
fn decode(
    space: u8,
    name: &[u8],
    value: &[u8],
    inode: &RawInode,
) -> Result<Option<Xattr>, ReadError> {
    let start: &[u8] = match space {
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        _ => return Ok(None),
    };
    let is_acl = matches!(space, 2 | 3);
    if is_acl != name.is_empty() || name.contains(&0) {
        return Err(inode.damaged("an attribute has an impossible name"));
    }
    let value = if is_acl {
        let acl = expand_acl(value);
        acl.ok_or_else(|| inode.damaged("its access control list is none"))?
    } else {
        value.to_vec()
    };
    Ok(Some((OsString::from_vec([start, name].concat()), value)))
}

/// An access control list as programs see it, with an id in each entry.
fn expand_acl(value: &[u8]) -> Option<Vec<u8>> {
    let (version, mut rest) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 1 {
        return None;
    }
    let mut expanded = 2_u32.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (entry, after) = rest.split_first_chunk::<4>()?;
        expanded.extend_from_slice(entry);
        rest = after;
        match at16(entry, 0) {
            0x01 | 0x04 | 0x10 | 0x20 => expanded.extend_from_slice(&[0xff; 4]),
            0x02 | 0x08 => {
                let (id, after) = rest.split_first_chunk::<4>()?;
                expanded.extend_from_slice(id);
                rest = after;
            }
            _ => return None,
        }
    }
    Some(expanded)
}
