//! The tables that inodes refer to: owners, blocks with several files, attributes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use kiln_sys::xattr::Xattr;

use super::Reader;
use super::metadata::Cursor;
use crate::read::damaged;
use crate::read::fields::{at16, at32, at64};
use crate::squashfs::metadata::METADATA;
use crate::squashfs::xattrs::PREFIXES;
use crate::{DiskSource, ReadError};

/// There is no such table, or no entry of it.
pub(super) const NONE: u64 = u64::MAX;
pub(super) const NO_ENTRY: u32 = u32::MAX;

/// Marks a value that is somewhere else.
const ELSEWHERE: u16 = 0x100;

/// All attributes of one inode take so many bytes at most; the kernel takes 64 KiB for each.
const MOST: u64 = 16 << 20;

/// What is read once.
#[derive(Debug, Default)]
pub(super) struct Tables {
    owners: Vec<u32>,
    /// Where the values of attributes are, and where the list of them.
    xattrs: Option<(u64, u64)>,
    xattr_lists: u32,
}

/// A block with the ends of files, or small ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub(super) start: u64,
    pub(super) packed: u32,
}

impl<D: DiskSource> Reader<D> {
    pub(super) fn read_tables(&self) -> Result<Tables, ReadError> {
        let geometry = &self.geometry;
        let mut owners = Vec::new();
        for number in 0..u64::from(geometry.owners) {
            let raw = self.entry::<4>(geometry.id_table, number)?;
            owners.push(u32::from_le_bytes(raw));
        }
        let mut tables = Tables {
            owners,
            ..Tables::default()
        };
        if geometry.xattr_table != NONE {
            let raw = self.disk.read(geometry.xattr_table, 16)?;
            tables.xattrs = Some((at64(&raw, 0), geometry.xattr_table + 16));
            tables.xattr_lists = at32(&raw, 8);
        }
        Ok(tables)
    }

    /// An entry of a table whose blocks are told from `table` on.
    fn entry<const N: usize>(&self, table: u64, number: u64) -> Result<[u8; N], ReadError> {
        let in_block = (METADATA / N) as u64;
        let pointer = table.saturating_add(number / in_block * 8);
        let block = at64(&self.disk.read(pointer, 8)?, 0);
        // Below the size of a block.
        let offset = number % in_block * N as u64;
        let mut cursor = Cursor::new(block, offset);
        let bytes = self.take(&mut cursor, N)?;
        Ok(std::array::from_fn(|at| bytes[at]))
    }

    pub(super) fn owner(&self, number: u16) -> Result<u32, ReadError> {
        let owner = self.tables.owners.get(usize::from(number)).copied();
        owner.ok_or_else(|| damaged(format!("owner {number}"), "there is no such owner"))
    }

    pub(super) fn fragment(&self, number: u32) -> Result<Fragment, ReadError> {
        let wrong = |problem| damaged(format!("fragment {number}"), problem);
        if number >= self.geometry.fragments || self.geometry.fragment_table == NONE {
            return Err(wrong("there is no such fragment"));
        }
        let raw = self.entry::<16>(self.geometry.fragment_table, number.into())?;
        Ok(Fragment {
            start: at64(&raw, 0),
            packed: at32(&raw, 8),
        })
    }

    /// The attributes of a list, sorted by name.
    pub(super) fn xattrs(&self, list: u32) -> Result<Vec<Xattr>, ReadError> {
        let Some((values, table)) = self.tables.xattrs.filter(|_| list != NO_ENTRY) else {
            return Ok(Vec::new());
        };
        let wrong = |problem| damaged(format!("list {list} of attributes"), problem);
        if list >= self.tables.xattr_lists {
            return Err(wrong("there is no such list"));
        }
        let raw = self.entry::<16>(table, list.into())?;
        let mut cursor = Cursor::new(values, at64(&raw, 0));
        let mut left = MOST;
        let mut xattrs = Vec::new();
        for _ in 0..at32(&raw, 8) {
            let head = self.take(&mut cursor, 4)?;
            let (kind, length) = (at16(&head, 0), at16(&head, 2));
            let name = self.take(&mut cursor, length.into())?;
            let size = at32(&self.take(&mut cursor, 4)?, 0);
            left = left
                .checked_sub(64 + u64::from(length) + u64::from(size))
                .ok_or_else(|| wrong("it takes more than 16 MiB"))?;
            let mut value = self.take(&mut cursor, size as usize)?;
            if kind & ELSEWHERE != 0 {
                let place = (value.len() == 8).then(|| at64(&value, 0));
                let place = place.ok_or_else(|| wrong("a value is nowhere"))?;
                let mut cursor = Cursor::new(values, place);
                let size = at32(&self.take(&mut cursor, 4)?, 0);
                let rest = left.checked_sub(size.into());
                left = rest.ok_or_else(|| wrong("it takes more than 16 MiB"))?;
                value = self.take(&mut cursor, size as usize)?;
            }
            let known = PREFIXES.iter().find(|(_, number)| *number == kind & 0xff);
            let (prefix, _) = known.ok_or_else(|| wrong("a prefix is unknown"))?;
            if name.is_empty() || name.contains(&0) {
                return Err(wrong("an attribute has an impossible name"));
            }
            let name = OsString::from_vec([*prefix, &name].concat());
            xattrs.push((name, value));
        }
        xattrs.sort_unstable();
        if xattrs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(wrong("an attribute is there twice"));
        }
        Ok(xattrs)
    }
}
