//! A walk that can leave directories out.

use kiln_disk::{Node, NodeId, Tree};

/// A name that a walk came to.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// The way to it from the root.
    pub path: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    /// The inode.
    pub id: NodeId,
    /// The directory that has the name.
    pub parent: NodeId,
}

/// How a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Into the directory, if it is one.
    Enter,
    /// Not into it.
    Skip,
}

/// Visits every name below the root in the order of a lexical walk, a directory before what is in
/// it. Without recursion.
pub fn visit(tree: &Tree, mut each: impl FnMut(Visit<'_>) -> Next) {
    let mut path = Vec::new();
    let mut levels = vec![(Tree::ROOT, 0_usize, 0_usize)];
    while let Some((dir, next, length)) = levels.last_mut() {
        let parent = *dir;
        path.truncate(*length);
        let Some(entry) = tree.entries(parent).get(*next) else {
            levels.pop();
            continue;
        };
        *next += 1;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        let next = each(Visit {
            path: &path,
            name: &entry.name,
            id: entry.id,
            parent,
        });
        if next == Next::Enter && matches!(tree.inode(entry.id).node, Node::Directory(_)) {
            levels.push((entry.id, 0, path.len()));
        }
    }
}
