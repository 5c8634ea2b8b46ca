//! How much a tree holds, kept true while names go.

use kiln_disk::{Node, NodeId, Tree};

use super::report::Totals;

/// How many names each inode has left, and what they hold together.
pub(super) struct Usage {
    names: Vec<u32>,
    totals: Totals,
}

impl Usage {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut usage = Self {
            names: vec![0; tree.len()],
            totals: Totals::default(),
        };
        tree.walk(|_, id| {
            let names = &mut usage.names[id.as_usize()];
            *names = names.saturating_add(1);
            if *names == 1 {
                usage.totals.files += 1;
                usage.totals.bytes += bytes(tree, id);
            }
        });
        usage
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// How many names an inode has.
    pub(super) fn names(&self, id: NodeId) -> u32 {
        self.names.get(id.as_usize()).copied().unwrap_or(0)
    }

    /// A name goes. Returns what that frees: nothing if the inode has another name.
    pub(super) fn unlink(&mut self, tree: &Tree, id: NodeId) -> Totals {
        let freed = match self.names.get_mut(id.as_usize()) {
            Some(names) if *names > 1 => {
                *names -= 1;
                return Totals::default();
            }
            Some(names) => {
                *names = 0;
                bytes(tree, id)
            }
            None => 0,
        };
        let freed = Totals {
            files: 1,
            bytes: freed,
        };
        self.totals.files = self.totals.files.saturating_sub(freed.files);
        self.totals.bytes = self.totals.bytes.saturating_sub(freed.bytes);
        freed
    }

    /// A file's content was replaced by fewer bytes.
    pub(super) fn shrink(&mut self, before: u64, after: u64) {
        self.totals.bytes = self
            .totals
            .bytes
            .saturating_sub(before)
            .saturating_add(after);
    }
}

/// The bytes of a file's data.
pub(super) fn bytes(tree: &Tree, id: NodeId) -> u64 {
    match &tree.inode(id).node {
        Node::File(file) => {
            let segments = file.segments();
            let lengths = segments.iter().map(|segment| segment.length);
            lengths.fold(0, u64::saturating_add)
        }
        _ => 0,
    }
}
