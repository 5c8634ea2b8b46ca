//! Copies of parts of the file tree as mounts, and putting mounts in place.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, openat, openat2, statx,
};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::raw;

/// Whether an operation takes in the mounts below the one named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursion {
    /// The one mount.
    This,
    /// The mount and all below it. What a user namespace needs where others mounted something below.
    Below,
}

/// A detached bind mount of a trusted path, following symlinks.
pub fn bind(path: &Path, recursion: Recursion) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, path, clone_flags(recursion))?)
}

/// A detached bind mount of the file or directory behind a descriptor.
///
/// The descriptor has to belong to a mount of this process's mount namespace; since Linux 6.15 it may
/// be a detached mount as well.
pub fn bind_fd(file: BorrowedFd<'_>, recursion: Recursion) -> io::Result<OwnedFd> {
    let flags = clone_flags(recursion) | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(file, "", flags)?)
}

fn clone_flags(recursion: Recursion) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match recursion {
        Recursion::This => flags,
        Recursion::Below => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Adds attributes (read-only, nodev, …) to a mount.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursion: Recursion,
) -> io::Result<()> {
    Ok(raw::mount_setattr(
        mount,
        attributes,
        recursion == Recursion::Below,
    )?)
}

/// Attaches a mount to the file or directory behind `target`.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Attaches a mount on top of `/` of this mount namespace. Processes, this one too, go on seeing what
/// is below it; only descriptors lead to the mount, until somebody pivots into it.
pub fn attach_on_root(mount: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", CWD, "/", flags)?)
}

/// A mount that was attached at a path of this mount namespace. Dropping it takes it off again.
///
/// Kernels before Linux 6.15 can't bind a part of a detached mount ([`bind_fd`]), and this is the way
/// around it: what is opened below [`Attached::as_fd`] can be bound on every kernel.
#[derive(Debug)]
#[must_use = "the mount is taken off when this is dropped"]
pub struct Attached(OwnedFd);

/// Attaches a detached mount to an empty directory, which is the caller's own.
pub fn attach_at(mount: OwnedFd, directory: &Path) -> io::Result<Attached> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&mount, "", CWD, directory, flags)?;
    Ok(Attached(mount))
}

impl AsFd for Attached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // By descriptor, since the directory may have another name by now. What can't be taken off goes
        // with the mount namespace.
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let _ = unmount(path, UnmountFlags::DETACH);
    }
}

/// Stops mount events from travelling into or out of this mount namespace.
pub fn make_private() -> io::Result<()> {
    let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    Ok(mount_change("/", flags)?)
}

/// Opens `path` below `root` as if `root` were `/`: symlinks, also the last one, and `..` stay inside.
///
/// The descriptor is an `O_PATH` one: good for `*at` calls and for mounting on, not for reading.
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // The kernel lost a race with a rename and asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Makes an empty file or directory for a mount to be put on: `name` in the directory `parent`, with
/// the mode 0755 or, for a file, 0644 less the umask. What is already there stays.
pub fn create_in_root(parent: BorrowedFd<'_>, name: &Path, directory: bool) -> io::Result<OwnedFd> {
    let created = if directory {
        mkdirat(parent, name, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    };
    match created {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Makes an attached mount the root of this process's mount namespace and drops the old root with all
/// that is mounted on it.
///
/// The process has to be alone in its mount namespace; its working directory becomes the new `/`.
pub fn pivot_into(root: &impl AsFd) -> io::Result<()> {
    fchdir(root)?;
    // The old root is stacked onto the new one and taken off again: no directory is needed for it.
    pivot_root(".", ".")?;
    for _ in 0..MAX_STACKED {
        // This takes off the topmost mount, which may be one that was stacked on the old root.
        unmount(".", UnmountFlags::DETACH)?;
        // `..` of the root leads to what is stacked on it, `/` alone does not.
        if mount_id("/..")? == mount_id("/")? {
            return Ok(chdir("/")?);
        }
    }
    Err(Errno::BUSY.into())
}

/// More mounts than this on one root are a mistake.
const MAX_STACKED: usize = 16;

fn mount_id(path: &str) -> Result<u64, Errno> {
    Ok(statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?.stx_mnt_id)
}
