//! The merged walk: every name of the upper directory, and what the trees below have there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Device, Dir, FileType, FsError, Metadata};
use kiln_sys::xattr::Xattr;

use super::{DiffError, compare};
use crate::changes::{Change, Entry, Node, Upper};
use crate::lower::{LowerDir, Lowers, Stack};
use crate::overlay::{OPAQUE, OverlayXattrs, belongs_into_layer};

/// A possible change: one that is not `changed` itself is part of the layer only if something in
/// it, or another name of its inode, is.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) change: Change,
    pub(super) parent: Option<usize>,
    pub(super) changed: bool,
    /// The inode, where it has more than one name.
    pub(super) shared: Option<(Device, u64)>,
}

/// A record that is not in the list yet, since what sorts before it may bring more.
struct Pending {
    record: Record,
    dir: Option<PendingDir>,
}

/// A directory of the upper tree that is still to be read.
struct PendingDir {
    path: PathBuf,
    stack: Stack,
    /// Nothing of the trees below shows through, here and in all directories below.
    opaque: bool,
}

/// An entry of the upper tree that is no mark of overlayfs.
struct Real {
    name: OsString,
    metadata: Metadata,
    xattrs: Vec<Xattr>,
    opaque: bool,
}

struct Walk<'a> {
    upper: &'a Upper,
    lowers: Lowers<'a>,
    clamp_mtime: Option<Timestamp>,
    records: Vec<Record>,
    pending: Vec<Pending>,
}

/// All records in the order of the layer.
pub(super) fn walk(
    upper: &Upper,
    lowers: Lowers<'_>,
    clamp_mtime: Option<Timestamp>,
    cancel: &CancelToken,
) -> Result<Vec<Record>, DiffError> {
    let mut walk = Walk {
        upper,
        lowers,
        clamp_mtime,
        records: Vec::new(),
        pending: Vec::new(),
    };
    let root = PendingDir {
        path: PathBuf::new(),
        stack: lowers.root(),
        opaque: false,
    };
    walk.read(&root, None)?;
    while let Some(Pending { record, dir }) = walk.pending.pop() {
        cancel.check()?;
        walk.records.push(record);
        if let Some(dir) = dir {
            walk.read(&dir, Some(walk.records.len() - 1))?;
        }
    }
    Ok(walk.records)
}

impl Walk<'_> {
    /// Records the whiteouts of a directory and leaves its other entries pending.
    fn read(&mut self, at: &PendingDir, parent: Option<usize>) -> Result<(), DiffError> {
        let within = |error: FsError| error.within(&at.path);
        let upper = self.upper.dir.open_dir_beneath(&at.path)?;
        let lower = self.lowers.open(&at.stack, &at.path)?;
        let (gone, real) = classify(&upper, &at.path, self.lowers.xattrs)?;
        for name in whiteouts(&lower, at, gone, &real).map_err(within)? {
            self.records.push(Record {
                change: Change::Whiteout(at.path.join(name)),
                parent,
                changed: true,
                shared: None,
            });
        }
        for real in real.into_iter().rev() {
            let pending = self.pend(real, (&upper, &lower), at, parent)?;
            self.pending.extend(pending);
        }
        Ok(())
    }

    /// Compares an entry with what is below it. Nothing comes of an unchanged file with no other
    /// name.
    fn pend(
        &self,
        real: Real,
        (upper, lower): (&Dir, &LowerDir),
        at: &PendingDir,
        parent: Option<usize>,
    ) -> Result<Option<Pending>, DiffError> {
        let within = |error: FsError| error.within(&at.path);
        let metadata = real.metadata;
        let path = at.path.join(&real.name);
        let below = lower.find(&real.name).map_err(within)?;
        let changed = match &below {
            Some(below) => {
                let ours = compare::Ours {
                    dir: upper,
                    metadata: &metadata,
                    xattrs: &real.xattrs,
                    open: &|| self.upper.open(&path),
                };
                let theirs = compare::Theirs {
                    dir: below.dir,
                    metadata: &below.metadata,
                };
                !compare::unchanged(&real.name, &ours, &theirs, self.clamp_mtime)
                    .map_err(|error| error.within(&at.path))?
            }
            None => true,
        };
        let dir = if metadata.is_dir() {
            let stack = match &below {
                Some(below) if below.metadata.is_dir() => {
                    lower.stack_of(&real.name, below).map_err(within)?
                }
                _ => Stack::default(),
            };
            Some(PendingDir {
                path: path.clone(),
                stack,
                opaque: at.opaque || real.opaque,
            })
        } else {
            None
        };
        let shared = (dir.is_none() && metadata.nlink > 1).then_some((metadata.dev, metadata.ino));
        if !changed && dir.is_none() && shared.is_none() {
            return Ok(None);
        }
        let record = Record {
            change: Change::Entry(Entry {
                node: node(upper, &real.name, &metadata).map_err(within)?,
                path,
                mode: metadata.mode,
                uid: metadata.uid,
                gid: metadata.gid,
                mtime: metadata.mtime,
                xattrs: real.xattrs,
            }),
            parent,
            changed,
            shared,
        };
        Ok(Some(Pending { record, dir }))
    }
}

/// Tells overlayfs' whiteouts from real entries. Both are sorted.
fn classify(
    upper: &Dir,
    path: &Path,
    marks: OverlayXattrs,
) -> Result<(Vec<OsString>, Vec<Real>), DiffError> {
    let within = |error: FsError| error.within(path);
    let (mut gone, mut real) = (Vec::new(), Vec::new());
    for listed in upper.entries().map_err(within)? {
        if listed.file_type == FileType::Socket {
            continue;
        }
        let name = listed.name;
        let metadata = upper.metadata(&name).map_err(within)?;
        let xattrs = match metadata.file_type {
            FileType::File | FileType::Dir => upper.xattrs(&name).map_err(within)?,
            _ => Vec::new(),
        };
        let mark = |key: &str| xattrs.iter().find(|(name, _)| name == key);
        if metadata.is_whiteout()
            || (metadata.is_file() && metadata.size == 0 && mark(marks.whiteout()).is_some())
        {
            gone.push(name);
            continue;
        }
        if name.as_bytes().starts_with(b".wh.") {
            let path = path.join(name);
            return Err(DiffError::WhiteoutName { path });
        }
        for (key, feature) in [
            (marks.redirect(), "`redirect_dir`"),
            (marks.metacopy(), "`metacopy`"),
        ] {
            if mark(key).is_some() {
                let path = path.join(name);
                return Err(DiffError::Incomplete { path, feature });
            }
        }
        real.push(Real {
            opaque: mark(marks.opaque()).is_some_and(|(_, value)| value == OPAQUE),
            name,
            metadata,
            xattrs: xattrs
                .into_iter()
                .filter(|(name, _)| belongs_into_layer(name))
                .collect(),
        });
    }
    Ok((gone, real))
}

/// Which names the layer has to take away from the trees below, sorted.
fn whiteouts(
    lower: &LowerDir,
    at: &PendingDir,
    gone: Vec<OsString>,
    real: &[Real],
) -> Result<BTreeSet<OsString>, FsError> {
    let mut names = BTreeSet::new();
    if at.opaque {
        let kept: BTreeSet<&OsStr> = real.iter().map(|real| real.name.as_os_str()).collect();
        let below = lower.names()?.into_iter();
        names.extend(below.filter(|name| !kept.contains(name.as_os_str())));
    } else {
        for name in gone {
            if lower.find(&name)?.is_some() {
                names.insert(name);
            }
        }
    }
    Ok(names)
}

fn node(dir: &Dir, name: &OsStr, metadata: &Metadata) -> Result<Node, FsError> {
    Ok(match metadata.file_type {
        FileType::Dir => Node::Dir,
        FileType::File => Node::File(metadata.size),
        FileType::Symlink => Node::Symlink(dir.read_link(name)?),
        FileType::CharDevice => Node::CharDevice(metadata.rdev),
        FileType::BlockDevice => Node::BlockDevice(metadata.rdev),
        // Sockets were left out before.
        FileType::Fifo | FileType::Socket => Node::Fifo,
    })
}
