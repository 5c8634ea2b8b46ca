//! What follows from the machine's grade for file trees.

use kiln_graph::KeyHasher;
use kiln_layer::OverlayXattrs;
use kiln_oci::Digest;
use kiln_store::SnapshotId;
use kiln_sys::fs::{Dir, Ownership};
use kiln_sys::idmap::IdMap;
use kiln_sys::namespace::Grade;

/// The machine as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) grade: Grade,
    /// What the owners of files in snapshots mean: differs where the grade or the subordinate ids
    /// do. `None` for real root.
    scope: Option<[u8; 32]>,
}

impl Machine {
    /// This machine, with the ids of the namespace that this process is in.
    pub(crate) fn new(grade: Grade) -> Self {
        // Without `/proc` there is no namespace of many ids either.
        let users = IdMap::current_users().unwrap_or_default();
        let groups = IdMap::current_groups().unwrap_or_default();
        Self::with_ids(grade, &users, &groups)
    }

    fn with_ids(grade: Grade, users: &IdMap, groups: &IdMap) -> Self {
        let scope = (grade != Grade::Root).then(|| {
            let mut hasher = KeyHasher::new("owners of files");
            hasher
                .field("grade", grade.name().as_bytes())
                .field("users", users.to_text().as_bytes())
                .field("groups", groups.to_text().as_bytes());
            hasher.finish()
        });
        Self { grade, scope }
    }

    /// What every key of a result has to hold, so that nobody takes a snapshot whose owners mean
    /// something else to them: one and the same store may be used with and without subordinate ids.
    pub(crate) fn scope(&self) -> &[u8] {
        self.scope.as_ref().map_or(&[], <[u8; 32]>::as_slice)
    }

    /// The name of an unpacked layer's snapshot.
    pub(crate) fn snapshot_of_chain(self, chain_id: &Digest) -> SnapshotId {
        match &self.scope {
            None => SnapshotId::of_chain(chain_id),
            Some(scope) => SnapshotId::of_chain_in(chain_id, scope),
        }
    }

    /// Where overlayfs keeps its marks.
    pub(crate) const fn overlay_xattrs(self) -> OverlayXattrs {
        if self.grade.uses_user_xattrs() {
            OverlayXattrs::User
        } else {
            OverlayXattrs::Trusted
        }
    }

    /// How trees keep owners.
    pub(crate) const fn ownership(self) -> Ownership {
        match self.grade {
            Grade::Root | Grade::RootlessMapped => Ownership::Native,
            Grade::RootlessSingle => Ownership::Recorded,
        }
    }

    /// The directory with its owners kept as the machine keeps them.
    pub(crate) fn tree(self, dir: Dir) -> Dir {
        dir.with_ownership(self.ownership())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_whose_owners_differ_have_different_names() {
        let map = |outside| IdMap::parse(&format!("0 1000 1\n1 {outside} 65536\n"));
        let machine = |grade, outside| Machine::with_ids(grade, &map(outside), &map(outside));
        let machines = [
            machine(Grade::Root, 100_000),
            machine(Grade::RootlessMapped, 100_000),
            machine(Grade::RootlessMapped, 200_000),
            machine(Grade::RootlessSingle, 100_000),
        ];
        let chain = Digest::sha256(b"");
        for (index, one) in machines.iter().enumerate() {
            for other in &machines[..index] {
                let name = |machine: &Machine| machine.snapshot_of_chain(&chain);
                assert_ne!(name(one), name(other));
                assert_ne!(one.scope(), other.scope());
            }
        }
    }
}
