//! Which records make the layer, and which of an inode's names carries its content.

use std::collections::HashMap;
use std::collections::hash_map;
use std::path::PathBuf;

use kiln_sys::fs::Device;

use super::walk::Record;
use crate::changes::{Change, Node};

type Inode = (Device, u64);

/// The changes of the layer, in the order of the records.
///
/// When one name of an inode changed, all its names in the upper tree belong to the layer: the
/// others were copied up only because they are the same file.
pub(super) fn select(mut records: Vec<Record>) -> Vec<Change> {
    let mut changed_inodes: HashMap<Inode, bool> = HashMap::new();
    for record in &records {
        if let Some(inode) = record.shared {
            *changed_inodes.entry(inode).or_default() |= record.changed;
        }
    }
    for record in &mut records {
        if let Some(inode) = record.shared {
            record.changed = changed_inodes[&inode];
        }
    }
    // Parents stand before what is in them, so going backwards reaches each parent last.
    for index in (0..records.len()).rev() {
        if let (true, Some(parent)) = (records[index].changed, records[index].parent) {
            records[parent].changed = true;
        }
    }
    let mut first_names: HashMap<Inode, PathBuf> = HashMap::new();
    let kept = records.into_iter().filter(|record| record.changed);
    kept.map(|record| link(record, &mut first_names)).collect()
}

/// Turns all but the first name of an inode into hard links.
fn link(record: Record, first_names: &mut HashMap<Inode, PathBuf>) -> Change {
    let mut change = record.change;
    if let (Some(inode), Change::Entry(entry)) = (record.shared, &mut change) {
        match first_names.entry(inode) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(entry.path.clone());
            }
            hash_map::Entry::Occupied(first) => {
                entry.node = Node::HardLink(first.get().clone());
            }
        }
    }
    change
}
