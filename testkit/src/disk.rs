//! File systems as files: random trees for writers of disks, and the comparison of what a kernel
//! mounts with the tree that was written.
//!
//! A test of a writer makes a tree with [`random_tree`] (the same for the same seed), writes it,
//! mounts the file with [`Mounted::new`] and expects [`differences`] to be empty.

mod compare;
mod files;
mod mounted;
mod random;

pub use compare::{Fidelity, differences};
pub use files::DiskFiles;
pub use mounted::Mounted;
pub use random::{Random, Shape, random_tree};
