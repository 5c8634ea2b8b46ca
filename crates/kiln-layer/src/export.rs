//! Outputs of a whole root file system: one tar archive, or a plain directory.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use kiln_base::{CancelToken, Cancelled, Timestamp};
use kiln_sys::fs::{Dir, FileTime, FsError, NodeKind, copy_file_contents};

use crate::changes::{Change, Entry, Node};
use crate::diff::{DiffError, DiffOptions, diff};
use crate::names;
use crate::options::{LayerCompression, LayerOptions, clamp};
use crate::overlay::OverlayXattrs;
use crate::write::{WriteError, write_layer};

/// How to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// Modification times later than this become this.
    pub clamp_mtime: Option<Timestamp>,
}

/// Why a root file system could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tree could not be read.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The archive could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl ExportError {
    /// The same error, told from one folder further up.
    pub(crate) fn within(self, folder: &Path) -> Self {
        match self {
            Self::Fs(error) => Self::Fs(error.within(folder)),
            other => other,
        }
    }
}

/// Writes all that is in `root` as one plain tar archive.
pub fn tar_tree(
    root: &Dir,
    sink: impl Write,
    options: &ExportOptions,
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    // The marks of overlayfs don't show in a mounted root, so it does not matter which are meant.
    let xattrs = OverlayXattrs::User;
    let changes = diff(
        root,
        &[],
        &DiffOptions {
            xattrs,
            clamp_mtime: None,
        },
        cancel,
    )?;
    let options = LayerOptions {
        compression: LayerCompression::None,
        clamp_mtime: options.clamp_mtime,
        threads: NonZeroUsize::MIN,
    };
    write_layer(&changes, sink, &options, cancel)?;
    Ok(())
}

/// Copies all that is in `root` into the directory `dest`, over what is there.
///
/// As with BuildKit all copies belong to whoever runs this, since owners inside of an image mean
/// nothing outside. Extended attributes are kept where that is allowed. A directory becomes one
/// with a directory that is there; anything else replaces what is there. No symbolic link in
/// `dest` is followed. Device nodes are left out where making them is not allowed.
pub fn export_tree(
    root: &Dir,
    dest: &Dir,
    options: &ExportOptions,
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    let xattrs = OverlayXattrs::User;
    let changes = diff(
        root,
        &[],
        &DiffOptions {
            xattrs,
            clamp_mtime: None,
        },
        cancel,
    )?;
    let mut dirs = Vec::new();
    for change in changes.iter() {
        cancel.check()?;
        if let Change::Entry(entry) = change {
            export_entry(root, dest, &entry, options)?;
            if entry.node == Node::Dir {
                dirs.push(entry);
            }
        }
    }
    // From the bottom up, when nothing is added to them any more.
    for entry in dirs.into_iter().rev() {
        let dir = dest.open_dir_beneath(&entry.path)?;
        dir.set_mode(Dir::ITSELF, entry.mode)
            .and_then(|()| dir.set_times(Dir::ITSELF, clamped(&entry, options)))
            .map_err(|error| error.within(&entry.path))?;
    }
    Ok(())
}

fn export_entry(
    root: &Dir,
    dest: &Dir,
    entry: &Entry,
    options: &ExportOptions,
) -> Result<(), FsError> {
    let parent = names::parent(&entry.path);
    let at = |error: FsError| error.within(parent);
    let dir = dest.open_dir_beneath(parent)?;
    let name = entry.path.file_name().unwrap_or_default();
    let there = dir.try_metadata(name).map_err(at)?;
    let keeps = entry.node == Node::Dir && there.is_some_and(|there| there.is_dir());
    if !keeps {
        dir.remove_tree(name).map_err(at)?;
    }
    match &entry.node {
        // It gets its mode and time at the end.
        Node::Dir if keeps => dir.set_mode(name, 0o700).map_err(at)?,
        Node::Dir => dir.mkdir(name, 0o700).map_err(at)?,
        Node::File(_) => {
            let source = root.open_file_beneath(&entry.path)?;
            let copy = dir.create_file(name, 0o600).map_err(at)?;
            copy_file_contents(&source, &copy)
                .map_err(|error| FsError::new("copy", &entry.path, error))?;
        }
        Node::Symlink(target) => dir.symlink(target, name).map_err(at)?,
        Node::HardLink(first) => return export_link(dest, first, &dir, name).map_err(at),
        Node::Fifo => dir.mknod(name, NodeKind::Fifo, 0o600).map_err(at)?,
        Node::CharDevice(device) => {
            if !export_device(&dir, name, NodeKind::CharDevice(*device)).map_err(at)? {
                return Ok(());
            }
        }
        Node::BlockDevice(device) => {
            if !export_device(&dir, name, NodeKind::BlockDevice(*device)).map_err(at)? {
                return Ok(());
            }
        }
    }
    for (key, value) in &entry.xattrs {
        // Where it is not allowed or the file system has none, the copy goes without.
        let _ = dir.set_xattr(name, key, value);
    }
    match &entry.node {
        Node::Dir => return Ok(()),
        Node::Symlink(_) => {}
        _ => dir.set_mode(name, entry.mode).map_err(at)?,
    }
    dir.set_times(name, clamped(entry, options)).map_err(at)
}

/// Makes a device node, where that is allowed; whether it was.
fn export_device(dir: &Dir, name: &OsStr, kind: NodeKind) -> Result<bool, FsError> {
    match dir.mknod(name, kind, 0o600) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a copy its further name. A device node that was left out has none.
fn export_link(dest: &Dir, first: &Path, dir: &Dir, name: &OsStr) -> Result<(), FsError> {
    let first_dir = dest.open_dir_beneath(names::parent(first))?;
    let first_name = first.file_name().unwrap_or_default();
    match first_dir.link_to(first_name, dir, name) {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

fn clamped(entry: &Entry, options: &ExportOptions) -> FileTime {
    clamp(entry.mtime, options.clamp_mtime)
}
