//! Whether an entry is the copy that overlayfs made of the one below, or something new.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use kiln_base::Timestamp;
use kiln_sys::fs::{Dir, FileType, FsError, Metadata};
use kiln_sys::xattr::Xattr;

use super::DiffError;
use crate::changes::OpenContent;
use crate::options::clamp;
use crate::overlay::belongs_into_layer;

const READ_BYTES: usize = 256 * 1024;

/// An entry in the upper directory.
pub(super) struct Ours<'a> {
    pub(super) dir: &'a Dir,
    pub(super) metadata: &'a Metadata,
    /// Those that belong into a layer.
    pub(super) xattrs: &'a [Xattr],
    /// Opens the content of a regular file.
    pub(super) open: &'a dyn Fn() -> io::Result<OpenContent<'a>>,
}

/// An entry in the trees below.
pub(super) struct Theirs<'a> {
    pub(super) dir: &'a Dir,
    pub(super) metadata: &'a Metadata,
}

/// Why two entries could not be compared; the path is put to it by the walk.
#[derive(Debug)]
pub(super) enum CompareError {
    Fs(FsError),
    Read(std::path::PathBuf, io::Error),
}

impl CompareError {
    pub(super) fn within(self, parent: &std::path::Path) -> DiffError {
        match self {
            Self::Fs(error) => error.within(parent).into(),
            Self::Read(name, cause) => DiffError::Read {
                path: parent.join(name),
                cause,
            },
        }
    }
}

/// Whether nothing that a layer stores differs between `upper` and `lower`.
pub(super) fn unchanged(
    name: &OsStr,
    upper: &Ours<'_>,
    lower: &Theirs<'_>,
    clamp_mtime: Option<Timestamp>,
) -> Result<bool, CompareError> {
    let (ours, theirs) = (upper.metadata, lower.metadata);
    let attributes = |of: &Metadata| {
        (
            of.file_type,
            of.mode,
            of.uid,
            of.gid,
            of.rdev.major,
            of.rdev.minor,
        )
    };
    if attributes(ours) != attributes(theirs) {
        return Ok(false);
    }
    let mtime = |of: &Metadata| clamp(of.mtime, clamp_mtime);
    let timed = ours.file_type != FileType::Dir;
    if timed && (ours.size, mtime(ours)) != (theirs.size, mtime(theirs)) {
        return Ok(false);
    }
    if !same_xattrs(name, upper.xattrs, lower).map_err(CompareError::Fs)? {
        return Ok(false);
    }
    // Two files that were written within one tick of the clock, or got their times from elsewhere,
    // have the same time whatever they hold.
    same_content(name, upper, lower)
}

fn same_xattrs(name: &OsStr, upper: &[Xattr], lower: &Theirs<'_>) -> Result<bool, FsError> {
    if !matches!(lower.metadata.file_type, FileType::File | FileType::Dir) {
        return Ok(true);
    }
    let lower = lower.dir.xattrs(name)?;
    let lower = lower.iter().filter(|(name, _)| belongs_into_layer(name));
    Ok(upper.iter().eq(lower))
}

fn same_content(name: &OsStr, upper: &Ours<'_>, lower: &Theirs<'_>) -> Result<bool, CompareError> {
    let fs = CompareError::Fs;
    let read = |error| CompareError::Read(name.into(), error);
    match upper.metadata.file_type {
        FileType::Symlink => {
            let ours = upper.dir.read_link(name).map_err(fs)?;
            Ok(ours == lower.dir.read_link(name).map_err(fs)?)
        }
        FileType::File if upper.metadata.size > 0 => {
            let ours = (upper.open)().map_err(read)?;
            let theirs = lower.dir.open_file(name).map_err(fs)?;
            same_bytes(&ours.file, &theirs).map_err(read)
        }
        _ => Ok(true),
    }
}

fn same_bytes(a: &File, b: &File) -> io::Result<bool> {
    let mut a = BufReader::with_capacity(READ_BYTES, a);
    let mut b = BufReader::with_capacity(READ_BYTES, b);
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
        a.consume(length);
        b.consume(length);
    }
}
