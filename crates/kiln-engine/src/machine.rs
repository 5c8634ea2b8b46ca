//! What follows from the machine's grade for file trees.

use kiln_layer::OverlayXattrs;
use kiln_sys::fs::{Dir, Ownership};
use kiln_sys::namespace::Grade;

/// The machine as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) grade: Grade,
}

impl Machine {
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
