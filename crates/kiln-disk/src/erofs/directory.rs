//! Directories as blocks: numbers of inodes first, then the names, in the order of the names.

use crate::DirEntry;

use super::BLOCK;

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// What a name of a directory leads to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// The directory itself.
    This,
    /// The directory that it is in.
    Parent,
    /// What the tree says.
    Entry(&'a DirEntry),
}

/// The names of a directory as they are on the disk: with `.` and `..` among the others.
pub(super) fn names(entries: &[DirEntry]) -> impl Iterator<Item = (&[u8], Target<'_>)> {
    let this = entries.partition_point(|entry| *entry.name < b"."[..]);
    let parent = entries.partition_point(|entry| *entry.name < b".."[..]);
    let before = entries[..this].iter().map(named);
    before
        .chain([(&b"."[..], Target::This)])
        .chain(entries[this..parent].iter().map(named))
        .chain([(&b".."[..], Target::Parent)])
        .chain(entries[parent..].iter().map(named))
}

fn named(entry: &DirEntry) -> (&[u8], Target<'_>) {
    (&entry.name, Target::Entry(entry))
}

/// Bytes of a directory.
pub(super) fn size(entries: &[DirEntry]) -> u64 {
    let mut full = 0_u64;
    let mut used = 0;
    for (name, _) in names(entries) {
        let bytes = ENTRY + name.len();
        if used + bytes > BLOCK as usize {
            full += 1;
            used = 0;
        }
        used += bytes;
    }
    full * BLOCK + used as u64
}

/// Gives the blocks of a directory one after the other, the last as long as it is. `find` tells an
/// inode's number and its type's.
pub(super) fn blocks<E>(
    entries: &[DirEntry],
    find: impl Fn(Target<'_>) -> (u64, u8),
    mut give: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending: Vec<(&[u8], Target<'_>)> = Vec::new();
    let mut used = 0;
    for (name, target) in names(entries) {
        let bytes = ENTRY + name.len();
        if used + bytes > BLOCK as usize {
            let mut block = encode(&pending, &find);
            block.resize(BLOCK as usize, 0);
            give(&block)?;
            pending.clear();
            used = 0;
        }
        used += bytes;
        pending.push((name, target));
    }
    give(&encode(&pending, &find))
}

fn encode(names: &[(&[u8], Target<'_>)], find: impl Fn(Target<'_>) -> (u64, u8)) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK as usize);
    let mut offset = names.len() * ENTRY;
    for (name, target) in names {
        let (inode, file_type) = find(*target);
        block.extend_from_slice(&inode.to_le_bytes());
        // Within a block.
        block.extend_from_slice(&(offset as u16).to_le_bytes());
        block.extend_from_slice(&[file_type, 0]);
        offset += name.len();
    }
    for (name, _) in names {
        block.extend_from_slice(name);
    }
    block
}
