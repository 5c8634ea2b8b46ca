//! Which records make the layer, and which of an inode's names carries its content.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kiln_sys::fs::Device;

use super::walk::Records;
use crate::changes::{Change, Entry, Node, Selected};

pub(super) type Inode = (Device, u64);

/// The changes of the layer, in the order of the records.
///
/// When one name of an inode changed, all its names in the upper tree belong to the layer: the
/// others were copied up only because they are the same file. All but the first become hard links.
pub(super) fn select(mut records: Records) -> Selected {
    let shared = std::mem::take(&mut records.shared);
    let mut changed_inodes: HashMap<Inode, bool> = HashMap::new();
    for name in &shared {
        *changed_inodes.entry(name.inode).or_default() |= records.taken[name.record];
    }
    for name in &shared {
        if changed_inodes[&name.inode] {
            records.take(name.record, name.parent);
        }
    }
    let mut links = Vec::new();
    let mut content = records.content;
    if !shared.is_empty() {
        let mut first_names: HashMap<Inode, Arc<Path>> = HashMap::new();
        let mut names = shared.iter().peekable();
        for (number, change) in records.list.iter().enumerate() {
            let Some(name) = names.next_if(|name| name.record == number) else {
                continue;
            };
            let (Change::Entry(Entry { path, node, .. }), true) = (change, records.taken[number])
            else {
                continue;
            };
            if let Some(first) = first_names.get(&name.inode) {
                links.push((number, Arc::clone(first)));
                continue;
            }
            first_names.insert(name.inode, path.into());
            if let Node::File(size) = node {
                content += size;
            }
        }
    }
    Selected {
        list: records.list,
        taken: records.taken,
        links,
        content,
    }
}
