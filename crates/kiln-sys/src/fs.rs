//! Rooted access to file trees that nobody vouches for.
//!
//! A [`Dir`] is an open directory. Its operations take one name, never a path, and never follow a
//! symbolic link, so nothing in the tree can lead them elsewhere. Three functions take paths:
//! [`Dir::open_dir_beneath`] refuses every symbolic link on the way, and the `*_in_root` family
//! follows them as a process inside `chroot` would. Names and paths are bytes.
//!
//! File owners go through [`Dir::set_owner`] only. Where just one id is mapped ([`Ownership::Recorded`])
//! the owner is written to the extended attribute `user.kiln.owner` and read back by every
//! [`Metadata`]; elsewhere ([`Ownership::Native`]) it is the inode's own.
//!
//! Deliberately absent: walking, copying and comparing trees (`kiln-tree`, `kiln-layer`), and paths
//! we chose ourselves ([`crate::files`]).

mod chmod;
mod copy;
mod dir;
mod entries;
mod error;
mod file;
mod metadata;
mod owner;
mod remove;
mod resolve;
mod stepwise;
#[cfg(test)]
mod tests;

pub use copy::{copy_file_contents, copy_file_with_holes, data_ranges};
pub use dir::{Dir, NodeKind};
pub use entries::{Entry, Listing};
pub use error::FsError;
pub use file::{
    file_metadata, set_file_mode, set_file_owner, set_file_owner_and_mode, set_file_times,
};
pub use metadata::{Device, FileTime, FileType, Metadata};
pub use owner::{OWNER_XATTR, Owner, Ownership, ParseOwnerError};
pub use resolve::{LastLink, Location, NewDirs};

/// What every function of this module returns.
pub type Result<T> = std::result::Result<T, FsError>;
