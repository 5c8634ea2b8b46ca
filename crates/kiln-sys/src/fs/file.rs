//! Attributes of a file that is already open.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Mode, StatxFlags};

use super::dir::{stat_fd, timestamps};
use super::{FileTime, FsError, Metadata, OWNER_XATTR, Owner, Ownership, Result};
use crate::xattr;

const OPEN_FILE: &str = "the open file";

/// The metadata of an open file, as [`super::Dir::metadata`] gives it by name.
pub fn file_metadata(file: &File, ownership: Ownership) -> Result<Metadata> {
    let mut metadata = stat_fd(file, OsStr::new(OPEN_FILE))?;
    read_recorded_owner(file, &mut metadata, ownership)?;
    Ok(metadata)
}

pub(super) fn with_recorded_owner(
    file: File,
    mut metadata: Metadata,
    ownership: Ownership,
) -> Result<(File, Metadata)> {
    read_recorded_owner(&file, &mut metadata, ownership)?;
    Ok((file, metadata))
}

fn read_recorded_owner(file: &File, metadata: &mut Metadata, ownership: Ownership) -> Result<()> {
    if ownership == Ownership::Recorded {
        let recorded = xattr::get_of_file(file, OWNER_XATTR.as_ref())
            .map_err(FsError::on("read the owner of", OPEN_FILE.as_ref()))?;
        super::dir::apply_recorded(metadata, recorded.as_deref());
    }
    Ok(())
}

/// Gives a new regular file an owner and permission bits (`0o7777`), and leaves alone what it was
/// made with: each change is one for the file system's journal.
pub fn set_file_owner_and_mode(
    file: &File,
    ownership: Ownership,
    owner: Owner,
    mode: u32,
) -> Result<()> {
    let there = file_metadata(file, ownership)?;
    // Other owners are set in any case: an id that the namespace does not map looks like 65534.
    let is_owned = owner == Owner::ROOT && there.owner() == owner;
    if !is_owned {
        set_file_owner(file, ownership, owner)?;
    }
    // A change of the owner clears the set-id bits.
    let is_cleared = !is_owned && mode & 0o6000 != 0;
    if there.mode != mode || is_cleared {
        set_file_mode(file, mode)?;
    }
    Ok(())
}

/// Sets the owner of an open regular file. Clears set-id bits, so set the mode afterwards.
pub fn set_file_owner(file: &File, ownership: Ownership, owner: Owner) -> Result<()> {
    let changed = match ownership {
        Ownership::Native => super::dir::raw_owner(owner)
            .and_then(|(uid, gid)| rustix::fs::fchown(file, Some(uid), Some(gid)))
            .map_err(io::Error::from),
        Ownership::Recorded if owner == Owner::ROOT => Ok(()),
        Ownership::Recorded => {
            xattr::set_of_file(file, OWNER_XATTR.as_ref(), owner.to_string().as_bytes())
        }
    };
    changed.map_err(FsError::on("change the owner of", OPEN_FILE.as_ref()))
}

/// Sets the permission bits (`0o7777`) of an open file.
pub fn set_file_mode(file: &File, mode: u32) -> Result<()> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
        .map_err(FsError::on("change the mode of", OPEN_FILE.as_ref()))
}

/// Sets the modification time of an open file; the access time becomes the same.
pub fn set_file_times(file: &File, mtime: FileTime) -> Result<()> {
    rustix::fs::futimens(file, &timestamps(mtime))
        .map_err(FsError::on("change the times of", OPEN_FILE.as_ref()))
}

pub(super) const STAT_FLAGS: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);
pub(super) const STAT_MASK: StatxFlags = StatxFlags::BASIC_STATS;
