//! A tree that grows by the names that a reader finds.

use std::collections::HashMap;
use std::hash::Hash;

use super::{ReadError, damaged};
use crate::tree::{Attributes, Inode, NodeId, Tree, TreeError};

/// The tree so far, and the node of each inode that was met, by what the format calls it.
pub(crate) struct Names<N> {
    tree: Tree,
    nodes: HashMap<N, NodeId>,
}

impl<N: Copy + Eq + Hash> Names<N> {
    /// With the root alone.
    pub(crate) fn new(root: N, attributes: Attributes) -> Self {
        Self {
            tree: Tree::new(attributes),
            nodes: HashMap::from([(root, Tree::ROOT)]),
        }
    }

    /// One more name for an inode, if that was met before; says whether it was.
    pub(crate) fn link(
        &mut self,
        parent: NodeId,
        name: &[u8],
        inode: N,
    ) -> Result<bool, ReadError> {
        let Some(id) = self.nodes.get(&inode) else {
            return Ok(false);
        };
        // Also: a directory has no second name, so none is within itself.
        let linked = self.tree.link(parent, name, *id);
        linked.map(|()| true).map_err(|_| wrong(name))
    }

    /// The first name of an inode.
    pub(crate) fn add(
        &mut self,
        (parent, name): (NodeId, &[u8]),
        number: N,
        inode: Inode,
    ) -> Result<NodeId, ReadError> {
        let added = self.tree.add(parent, name, inode);
        let id = added.map_err(|_: TreeError| wrong(name))?;
        self.nodes.insert(number, id);
        Ok(id)
    }

    /// The tree as it is now.
    pub(crate) fn into_tree(self) -> Tree {
        self.tree
    }
}

fn wrong(name: &[u8]) -> ReadError {
    let name = name.escape_ascii();
    damaged(format!("the directory of `{name}`"), "a name can't be")
}
