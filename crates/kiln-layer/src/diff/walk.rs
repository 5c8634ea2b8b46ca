//! The merged walk: every name of the upper directory, and what the trees below have there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, FileType, FsError, Metadata};
use kiln_sys::xattr::Xattr;

use super::links::Inode;
use super::{DiffError, compare};
use crate::changes::{Change, Entry, Node, Upper};
use crate::lower::{LowerDir, Lowers, Stack};
use crate::overlay::{OPAQUE, OverlayXattrs, belongs_into_layer};
use crate::packed::PackedChanges;

/// Possible changes in the order of the layer: one that is not taken yet is part of it only if
/// something in it, or another name of its inode, is.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) list: PackedChanges,
    /// For each, whether it is part of the layer.
    pub(super) taken: Vec<bool>,
    /// Those whose inode has more than one name.
    pub(super) shared: Vec<Shared>,
    /// Bytes of file content in those that are taken and have one name.
    pub(super) content: u64,
    /// The directories among them, each with the one it is in.
    dirs: Vec<(usize, Option<DirNumber>)>,
}

/// A name of an inode that has more than one.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) record: usize,
    pub(super) parent: Option<DirNumber>,
    pub(super) inode: Inode,
}

/// A directory among the records.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirNumber(usize);

/// A possible change that is to be recorded.
struct Record {
    change: Change,
    parent: Option<DirNumber>,
    changed: bool,
    /// The inode, where it has more than one name.
    shared: Option<Inode>,
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
    records: Records,
    pending: Vec<Pending>,
}

/// All records in the order of the layer.
pub(super) fn walk(
    upper: &Upper,
    lowers: Lowers<'_>,
    clamp_mtime: Option<Timestamp>,
    cancel: &CancelToken,
) -> Result<Records, DiffError> {
    let mut walk = Walk {
        upper,
        lowers,
        clamp_mtime,
        records: Records::default(),
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
        match dir {
            Some(dir) => {
                let number = walk.records.push_dir(&record);
                walk.read(&dir, Some(number))?;
            }
            None => walk.records.push(&record),
        }
    }
    Ok(walk.records)
}

impl Records {
    fn push(&mut self, record: &Record) {
        let number = self.list.len();
        self.list.push(&record.change);
        self.taken.push(false);
        if let Some(inode) = record.shared {
            self.shared.push(Shared {
                record: number,
                parent: record.parent,
                inode,
            });
        }
        if record.changed {
            self.take(number, record.parent);
            if let (Change::Entry(entry), None) = (&record.change, record.shared)
                && let Node::File(size) = entry.node
            {
                self.content += size;
            }
        }
    }

    fn push_dir(&mut self, record: &Record) -> DirNumber {
        self.dirs.push((self.list.len(), record.parent));
        self.push(record);
        DirNumber(self.dirs.len() - 1)
    }

    /// Makes a record part of the layer, with all directories that it is in.
    pub(super) fn take(&mut self, record: usize, mut parent: Option<DirNumber>) {
        self.taken[record] = true;
        while let Some(DirNumber(number)) = parent {
            let (dir, above) = self.dirs[number];
            if self.taken[dir] {
                break;
            }
            self.taken[dir] = true;
            parent = above;
        }
    }
}

impl Walk<'_> {
    /// Records the whiteouts of a directory and leaves its other entries pending.
    fn read(&mut self, at: &PendingDir, parent: Option<DirNumber>) -> Result<(), DiffError> {
        let within = |error: FsError| error.within(&at.path);
        let upper = self.upper.dir.open_dir_beneath(&at.path)?;
        let lower = self.lowers.open(&at.stack, &at.path)?;
        let (gone, real) = classify(&upper, &at.path, self.lowers.xattrs)?;
        for name in whiteouts(&lower, at, gone, &real).map_err(within)? {
            self.records.push(&Record {
                change: Change::Whiteout(at.path.join(name)),
                parent,
                changed: true,
                shared: None,
            });
        }
        let before = self.pending.len();
        for real in real {
            let Some(pending) = self.pend(real, (&upper, &lower), at, parent)? else {
                continue;
            };
            // What comes before all directories need not wait for what is in them.
            if pending.dir.is_none() && self.pending.len() == before {
                self.records.push(&pending.record);
            } else {
                self.pending.push(pending);
            }
        }
        self.pending[before..].reverse();
        Ok(())
    }

    /// Compares an entry with what is below it. Nothing comes of an unchanged file with no other
    /// name.
    fn pend(
        &self,
        real: Real,
        (upper, lower): (&Dir, &LowerDir),
        at: &PendingDir,
        parent: Option<DirNumber>,
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
