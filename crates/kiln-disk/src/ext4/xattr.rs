//! Extended attributes: in what is left of an inode, and in one block that inodes may share.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use kiln_sys::xattr::Xattr;

use super::checksum::crc;
use super::format::{BLOCK_LEN, put, put16, put32};

/// What an inode has room for, with the mark at its beginning.
pub(super) const INODE_AREA: usize = 96;
/// What a block's header takes.
const HEADER: usize = 32;
const MAGIC: u32 = 0xea02_0000;
const ENTRY: usize = 16;
/// Inodes may share a block.
pub(super) const SHARED_MAX: u32 = 1024;

/// What names begin with, and the number that stands for it. The rest of a name is kept as it is.
const SPACES: [(&[u8], u8); 4] = [
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.posix_acl_", 0),
];
const ACL_ACCESS: (&[u8], u8) = (b"access", 2);
const ACL_DEFAULT: (&[u8], u8) = (b"default", 3);

/// The attributes of an inode as they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// At the end of the inode.
    pub(super) inode: Option<[u8; INODE_AREA]>,
    /// In a block, without its checksum and the number of inodes that share it.
    pub(super) block: Option<Box<[u8; BLOCK_LEN]>>,
}

/// Why attributes can't be stored.
#[derive(Debug)]
pub(super) enum Problem<'a> {
    Name(&'a OsStr),
    Acl(&'a OsStr),
    /// What is left for the block takes so many bytes.
    Space(usize),
}

#[derive(Debug)]
struct Attribute<'a> {
    space: u8,
    name: &'a [u8],
    value: Vec<u8>,
}

/// Encodes attributes: as many as fit into the inode, small ones first, and the others in a block.
pub(super) fn encode(xattrs: &[Xattr]) -> Result<Encoded, Problem<'_>> {
    if xattrs.is_empty() {
        return Ok(Encoded::default());
    }
    let attributes = xattrs.iter().map(|(name, value)| attribute(name, value));
    let mut attributes = attributes.collect::<Result<Vec<_>, _>>()?;
    attributes.sort_by(|a, b| {
        a.size()
            .cmp(&b.size())
            .then_with(|| a.order().cmp(&b.order()))
    });
    let mut left = INODE_AREA - 8;
    let fit = attributes.iter().take_while(|attribute| {
        let fits = attribute.size() <= left;
        left = left.saturating_sub(attribute.size());
        fits
    });
    let in_inode = fit.count();
    let mut in_block = attributes.split_off(in_inode);
    attributes.sort_by(|a, b| a.order().cmp(&b.order()));
    in_block.sort_by(|a, b| a.order().cmp(&b.order()));
    let needed: usize = in_block.iter().map(Attribute::size).sum();
    if needed > BLOCK_LEN - HEADER - 4 {
        return Err(Problem::Space(needed));
    }
    Ok(Encoded {
        inode: (!attributes.is_empty()).then(|| inode_area(&attributes)),
        block: (!in_block.is_empty()).then(|| block(&in_block)),
    })
}

/// Completes a block that is going to be at `number`.
pub(super) fn finish(block: &mut [u8; BLOCK_LEN], seed: u32, number: u64, inodes: u32) {
    put32(block, 4, inodes);
    let sum = crc(crc(seed, &number.to_le_bytes()), block);
    put32(block, 16, sum);
}

fn attribute<'a>(name: &'a OsStr, value: &[u8]) -> Result<Attribute<'a>, Problem<'a>> {
    let bytes = name.as_bytes();
    let found = SPACES.iter().find_map(|(start, space)| {
        let rest = bytes.strip_prefix(*start)?;
        Some((rest, *space))
    });
    let (space, rest, value) = match found {
        Some((rest, 0)) => {
            let (_, space) = [ACL_ACCESS, ACL_DEFAULT]
                .into_iter()
                .find(|(kind, _)| *kind == rest)
                .ok_or(Problem::Name(name))?;
            let value = compact_acl(value).ok_or(Problem::Acl(name))?;
            (space, &b""[..], value)
        }
        Some((rest, space)) if !rest.is_empty() && rest.len() <= 255 && !rest.contains(&0) => {
            (space, rest, value.to_vec())
        }
        _ => return Err(Problem::Name(name)),
    };
    Ok(Attribute {
        space,
        name: rest,
        value,
    })
}

/// An access control list in ext4's form: ids only where they mean something.
fn compact_acl(value: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let mut compact = 1_u32.to_le_bytes().to_vec();
    for entry in entries {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        match tag {
            // Its user, its group, the mask, the others.
            0x01 | 0x04 | 0x10 | 0x20 => compact.extend_from_slice(&entry[..4]),
            // A user, a group.
            0x02 | 0x08 => compact.extend_from_slice(entry),
            _ => return None,
        }
    }
    Some(compact)
}

impl Attribute<'_> {
    fn size(&self) -> usize {
        ENTRY + self.name.len().next_multiple_of(4) + self.value.len().next_multiple_of(4)
    }

    /// How the kernel expects entries of a block to be sorted.
    fn order(&self) -> (u8, usize, &[u8]) {
        (self.space, self.name.len(), self.name)
    }

    fn hash(&self) -> u32 {
        let mut hash = 0_u32;
        for byte in self.name {
            hash = hash.rotate_left(5) ^ u32::from(*byte);
        }
        for chunk in self.value.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = hash.rotate_left(16) ^ u32::from_le_bytes(word);
        }
        hash
    }
}

fn inode_area(attributes: &[Attribute<'_>]) -> [u8; INODE_AREA] {
    let mut area = [0; INODE_AREA];
    put32(&mut area, 0, MAGIC);
    // Places of values are counted from the first entry.
    fill(&mut area[4..], 0, attributes);
    area
}

fn block(attributes: &[Attribute<'_>]) -> Box<[u8; BLOCK_LEN]> {
    let mut block = Box::new([0; BLOCK_LEN]);
    put32(&mut block[..], 0, MAGIC);
    put32(&mut block[..], 8, 1);
    fill(&mut block[..], HEADER, attributes);
    // One that has no hash leaves the block without one.
    let mut hashes = attributes.iter().map(Attribute::hash);
    let hash = hashes.try_fold(0_u32, |all, hash| match hash {
        0 => None,
        _ => Some(all.rotate_left(16) ^ hash),
    });
    put32(&mut block[..], 12, hash.unwrap_or(0));
    block
}

/// Writes entries from `at` on, and values from the end back.
fn fill(area: &mut [u8], at: usize, attributes: &[Attribute<'_>]) {
    let (mut entry, mut end) = (at, area.len());
    for attribute in attributes {
        end -= attribute.value.len().next_multiple_of(4);
        let has_value = !attribute.value.is_empty();
        area[entry] = u8::try_from(attribute.name.len()).expect("it was checked");
        area[entry + 1] = attribute.space;
        let place = if has_value { end } else { 0 };
        put16(
            area,
            entry + 2,
            u16::try_from(place).expect("it is in a block"),
        );
        let length = u32::try_from(attribute.value.len()).expect("it is in a block");
        put32(area, entry + 8, length);
        put32(area, entry + 12, attribute.hash());
        put(area, entry + ENTRY, attribute.name);
        put(area, end, &attribute.value);
        entry += ENTRY + attribute.name.len().next_multiple_of(4);
    }
}
