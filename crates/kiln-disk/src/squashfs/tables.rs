//! Everything after the contents: inodes, directories, and the tables that they refer to.

use std::collections::HashMap;

use crate::{Node, NodeId, Tree};

use super::data::Data;
use super::directory::{self, Inodes};
use super::inode::Maker;
use super::metadata::{Metadata, table};
use super::xattrs::Lists;
use super::{WriteError, Writer, too_large};

pub(super) const MAGIC: u32 = 0x7371_7368;

/// There is a table for exports by NFS.
const EXPORTABLE: u16 = 1 << 7;

/// There are no extended attributes.
const NO_XATTRS: u16 = 1 << 9;

/// Inodes are written when there are this many bytes of them.
const PENDING: usize = 1 << 20;

/// The owners and groups of a tree, numbered.
#[derive(Debug)]
pub(super) struct Ids {
    numbers: HashMap<u32, u16>,
    list: Vec<u8>,
}

impl Ids {
    /// Numbered in the order of the inodes; none if there are too many.
    pub(super) fn of(tree: &Tree, nodes: &[NodeId]) -> Option<Self> {
        let mut numbers = HashMap::new();
        let mut list = Vec::new();
        for &id in nodes {
            let attributes = &tree.inode(id).attributes;
            for id in [attributes.uid, attributes.gid] {
                if !numbers.contains_key(&id) {
                    let number = u16::try_from(numbers.len())
                        .ok()
                        .filter(|&it| it < u16::MAX)?;
                    numbers.insert(id, number);
                    list.extend_from_slice(&id.to_le_bytes());
                }
            }
        }
        Some(Self { numbers, list })
    }

    pub(super) fn number(&self, id: u32) -> Option<u16> {
        self.numbers.get(&id).copied()
    }
}

/// Writes what comes after the contents, and the superblock. Returns where it ends.
pub(super) fn write(writer: &Writer<'_>, data: &Data) -> Result<u64, WriteError> {
    let nodes = &writer.plan.order.nodes;
    let mut inodes = Inodes {
        numbers: vec![0; writer.tree.len()],
        references: vec![u64::MAX; writer.tree.len()],
    };
    for (at, id) in nodes.iter().enumerate() {
        // A tree has fewer than 2^32 inodes.
        inodes.numbers[id.as_usize()] = at as u32 + 1;
    }
    let lists = Lists::of(writer.tree, nodes, writer.codecs).ok_or_else(too_large)?;
    let mut end = data.end;
    let mut tables = Tables {
        inodes: end,
        ..Tables::default()
    };
    let directories = write_inodes(writer, data, &lists, &mut inodes, &mut end)?;
    let mut put = |bytes: &[u8]| {
        writer.put(bytes, end)?;
        end += bytes.len() as u64;
        Ok::<u64, WriteError>(end)
    };
    tables.directories = put(&[])?;
    let mut start = put(&directories)?;
    let exports: Vec<u8> = nodes
        .iter()
        .flat_map(|&id| inodes.reference(id).to_le_bytes())
        .collect();
    let parts = [
        (data.fragments.as_slice(), &mut tables.fragments),
        (&exports, &mut tables.exports),
        (&writer.plan.ids.list, &mut tables.ids),
    ];
    for (bytes, at) in parts {
        *at = u64::MAX;
        if !bytes.is_empty() {
            let (table, places) = table(writer.codecs, bytes, start);
            *at = places;
            start = put(&table)?;
        }
    }
    let (bytes, places) = lists.encode(writer.codecs, start);
    tables.xattrs = places;
    tables.end = put(&bytes)?;
    let root = inodes.reference(Tree::ROOT);
    let fragments = u32::try_from(data.fragments.len() / 16).map_err(|_| too_large())?;
    writer.put(&superblock(writer, &tables, root, fragments), 0)?;
    Ok(tables.end)
}

/// Writes all inodes from `end` on, and returns all directories.
fn write_inodes(
    writer: &Writer<'_>,
    data: &Data,
    lists: &Lists<'_>,
    inodes: &mut Inodes,
    end: &mut u64,
) -> Result<Vec<u8>, WriteError> {
    let tree = writer.tree;
    let mut inode_stream = Metadata::new(writer.codecs);
    let mut directory_stream = Metadata::new(writer.codecs);
    // What a directory names has to be written before it, so the deepest come first.
    for &dir in writer.plan.order.nodes.iter().rev() {
        let Node::Directory(entries) = &tree.inode(dir).node else {
            continue;
        };
        writer.cancel.check()?;
        for entry in entries {
            let is_directory = matches!(tree.inode(entry.id).node, Node::Directory(_));
            if !is_directory && inodes.reference(entry.id) == u64::MAX {
                let maker = Maker {
                    writer,
                    data,
                    lists,
                    inodes,
                };
                let bytes = maker.other(entry.id)?;
                place(inodes, entry.id, &inode_stream)?;
                inode_stream.write(&bytes);
            }
        }
        let listing = directory::write(tree, entries, inodes, &mut directory_stream);
        let maker = Maker {
            writer,
            data,
            lists,
            inodes,
        };
        let bytes = maker.directory(dir, &listing)?;
        place(inodes, dir, &inode_stream)?;
        inode_stream.write(&bytes);
        if inode_stream.pending() >= PENDING {
            let bytes = inode_stream.take();
            writer.put(&bytes, *end)?;
            *end += bytes.len() as u64;
        }
    }
    let bytes = inode_stream.finish();
    writer.put(&bytes, *end)?;
    *end += bytes.len() as u64;
    Ok(directory_stream.finish())
}

fn place(inodes: &mut Inodes, id: NodeId, stream: &Metadata<'_>) -> Result<(), WriteError> {
    let place = stream.place();
    // Directories tell the block with 32 bits.
    u32::try_from(place.block).map_err(|_| too_large())?;
    inodes.references[id.as_usize()] = place.reference();
    Ok(())
}

/// Where the tables are; those that are absent have all bits set.
#[derive(Debug, Default)]
struct Tables {
    inodes: u64,
    directories: u64,
    fragments: u64,
    exports: u64,
    ids: u64,
    xattrs: u64,
    end: u64,
}

fn superblock(writer: &Writer<'_>, tables: &Tables, root: u64, fragments: u32) -> Vec<u8> {
    let options = &writer.plan.options;
    let flags = match tables.xattrs {
        u64::MAX => EXPORTABLE | NO_XATTRS,
        _ => EXPORTABLE,
    };
    let mut bytes = Vec::new();
    for field in [
        MAGIC,
        writer.plan.order.nodes.len() as u32,
        options.epoch,
        options.block.bytes() as u32,
        fragments,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let owners = (writer.plan.ids.list.len() / 4) as u16;
    for field in [
        options.compression.number(),
        options.block.log(),
        flags,
        owners,
        // The version.
        4,
        0,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    for field in [
        root,
        tables.end,
        tables.ids,
        tables.xattrs,
        tables.inodes,
        tables.directories,
        tables.fragments,
        tables.exports,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes
}
