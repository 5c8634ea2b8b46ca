//! What an unpacked layer takes from the layers below it.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_sys::fs::{self, Dir, FileType, FsError, Metadata, NodeKind};

use super::extract::make_implied;
use super::{ForeignLink, UnpackError, UnpackReport};
use crate::lower::{Found, Lowers};
use crate::names;
use crate::overlay::{OverlayXattrs, belongs_into_layer};

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;

/// Completes an unpacked layer from the layers below it (top first): implied directories get the
/// attributes that the layers below give them, foreign hard links become copies, and whiteouts that
/// hide nothing go.
///
/// An implied directory that is a symbolic link below (`lib` in an image with a merged `/usr`) is
/// moved to where the link leads, as if the archive had been unpacked over the layers below.
/// Where they have nothing, implied directories stay 0755, 0:0, and a foreign link is an error.
pub fn resolve_against(
    report: &UnpackReport,
    into: &Dir,
    lowers: &[Dir],
    xattrs: OverlayXattrs,
) -> Result<(), UnpackError> {
    let lowers = Lowers {
        roots: lowers,
        xattrs,
    };
    let mut moves = Moves::default();
    let mut settled = Vec::new();
    for implied in &report.implied_dirs {
        let path = moves.apply(implied);
        if path != *implied {
            settled.push(path);
            continue;
        }
        match below(lowers, &path)? {
            Below::Dir => settled.push(path),
            Below::Symlink => {
                let to = follow(lowers, &path)?;
                settled.extend(move_tree(into, &path, &to)?);
                moves.0.push((path, to));
            }
            Below::Other => {}
        }
    }
    let mut copied = HashMap::new();
    for link in &report.foreign_links {
        let link = ForeignLink {
            path: moves.apply(&link.path),
            target: moves.apply(&link.target),
        };
        copy_up(into, lowers, &link, &mut copied)?;
    }
    for path in &report.whiteouts {
        drop_idle_whiteout(into, lowers, &moves.apply(path))?;
    }
    // The deepest first, and times after all that changes them.
    settled.sort_unstable();
    settled.dedup();
    for path in settled.iter().rev() {
        take_attributes(into, lowers, path)?;
    }
    Ok(())
}

/// Trees that were moved to where a symbolic link below leads.
#[derive(Default)]
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    fn apply(&self, path: &Path) -> PathBuf {
        let moved = self.0.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(from).ok()?;
            Some(to.join(rest))
        });
        moved.unwrap_or_else(|| path.to_path_buf())
    }
}

enum Below {
    Dir,
    Symlink,
    /// Nothing, or something that the layer replaces.
    Other,
}

fn below(lowers: Lowers<'_>, path: &Path) -> Result<Below, FsError> {
    with_found(lowers, path, |_, found| {
        Ok(match found.map(|found| found.metadata.file_type) {
            Some(FileType::Dir) => Below::Dir,
            Some(FileType::Symlink) => Below::Symlink,
            _ => Below::Other,
        })
    })
}

/// Calls `with` with what the layers below have at `path`. For the root that is the topmost layer.
fn with_found<T>(
    lowers: Lowers<'_>,
    path: &Path,
    with: impl FnOnce(&OsStr, Option<Found<'_>>) -> Result<T, FsError>,
) -> Result<T, FsError> {
    let at = |error: FsError| error.within(names::parent(path));
    let name = path.file_name().unwrap_or(OsStr::new(Dir::ITSELF));
    match lowers.open_parent(path)? {
        Some(dir) => {
            let found = dir.find(name).map_err(at)?;
            with(name, found).map_err(at)
        }
        None => with(name, None),
    }
}

/// Where `path` leads in the layers below when all symbolic links are followed; a directory.
fn follow(lowers: Lowers<'_>, path: &Path) -> Result<PathBuf, UnpackError> {
    let not_a_dir = || UnpackError::ParentNotDir {
        path: path.to_path_buf(),
        parent: path.to_path_buf(),
    };
    let mut pending: VecDeque<OsString> = path.iter().map(OsStr::to_os_string).collect();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(name) = pending.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let target = with_found(lowers, &next, |name, found| match found {
            Some(found) if found.metadata.is_symlink() => found.dir.read_link(name).map(Some),
            Some(found) if found.metadata.is_dir() => Ok(None),
            _ => Ok(Some(OsString::new())),
        })?;
        let Some(target) = target else {
            at = next;
            continue;
        };
        links += 1;
        if target.is_empty() || links > MAX_LINKS {
            return Err(not_a_dir());
        }
        if target.as_bytes().starts_with(b"/") {
            at.clear();
        }
        for part in target.as_bytes().split(|byte| *byte == b'/').rev() {
            if !part.is_empty() && part != b"." {
                pending.push_front(OsStr::from_bytes(part).to_os_string());
            }
        }
    }
    Ok(at)
}

/// Moves the directory `from` to `to`, into what the layer has there. Returns the directories that
/// had to be made, and `to`.
fn move_tree(into: &Dir, from: &Path, to: &Path) -> Result<Vec<PathBuf>, UnpackError> {
    let mut made = Vec::new();
    let mut dir = into.try_clone()?;
    let mut at = PathBuf::new();
    for name in to {
        let within = |error: FsError| error.within(&at);
        let there = dir.try_metadata(name).map_err(within)?;
        match there {
            Some(there) if there.is_dir() => {}
            None => make_implied(&dir, name).map_err(within)?,
            Some(_) => {
                return Err(UnpackError::ParentNotDir {
                    path: from.to_path_buf(),
                    parent: at.join(name),
                });
            }
        }
        dir = dir.open_dir(name).map_err(within)?;
        at.push(name);
        if there.is_none() || at == to {
            made.push(at.clone());
        }
    }
    let parent = into.open_dir_beneath(names::parent(from))?;
    let name = from.file_name().unwrap_or_default();
    let source = parent
        .open_dir(name)
        .map_err(|error| error.within(names::parent(from)))?;
    merge(&source, &dir).map_err(|error| error.within(to))?;
    parent
        .remove_tree(name)
        .map_err(|error| error.within(names::parent(from)))?;
    Ok(made)
}

/// Moves what is in `from` into `to`; directories that both have become one.
fn merge(from: &Dir, to: &Dir) -> Result<(), FsError> {
    for entry in from.entries()? {
        let name = &entry.name;
        let there = to.try_metadata(name)?;
        if entry.file_type == FileType::Dir && there.is_some_and(|there| there.is_dir()) {
            merge(&from.open_dir(name)?, &to.open_dir(name)?)
                .map_err(|error| error.within(name))?;
            continue;
        }
        if there.is_some() {
            to.remove_tree(name)?;
        }
        from.rename(name, to, name)?;
    }
    Ok(())
}

/// Removes a whiteout that hides nothing.
fn drop_idle_whiteout(into: &Dir, lowers: Lowers<'_>, path: &Path) -> Result<(), UnpackError> {
    if with_found(lowers, path, |_, found| Ok(found.is_some()))? {
        return Ok(());
    }
    let dir = into.open_dir_beneath(names::parent(path))?;
    let at = |error: FsError| error.within(names::parent(path));
    let before = dir.metadata(Dir::ITSELF).map_err(at)?;
    dir.unlink(path.file_name().unwrap_or_default())
        .and_then(|()| dir.set_times(Dir::ITSELF, before.mtime))
        .map_err(at)?;
    Ok(())
}

/// Gives the layer's directory the attributes of the one below.
fn take_attributes(into: &Dir, lowers: Lowers<'_>, path: &Path) -> Result<(), UnpackError> {
    let dir = into.open_dir_beneath(path)?;
    let taken = with_found(lowers, path, |name, found| match found {
        Some(found) if found.metadata.is_dir() => {
            copy_attributes(&found, name, &dir, OsStr::new(Dir::ITSELF))
        }
        _ => Ok(()),
    });
    Ok(taken?)
}

fn copy_attributes(
    found: &Found<'_>,
    name: &OsStr,
    to: &Dir,
    to_name: &OsStr,
) -> Result<(), FsError> {
    let Metadata {
        file_type,
        mode,
        mtime,
        ..
    } = found.metadata;
    to.set_owner(to_name, found.metadata.owner())?;
    if file_type != FileType::Symlink {
        to.set_mode(to_name, mode)?;
    }
    if matches!(file_type, FileType::File | FileType::Dir) {
        for (key, value) in found.dir.xattrs(name)? {
            if belongs_into_layer(&key) {
                to.set_xattr(to_name, &key, &value)?;
            }
        }
    }
    to.set_times(to_name, mtime)
}

/// Makes a hard link to a file of the layers below: a copy, which further links to it share.
fn copy_up(
    into: &Dir,
    lowers: Lowers<'_>,
    link: &ForeignLink,
    copied: &mut HashMap<PathBuf, PathBuf>,
) -> Result<(), UnpackError> {
    let at = |error: FsError| error.within(names::parent(&link.path));
    let dir = into.open_dir_beneath(names::parent(&link.path))?;
    let name = link.path.file_name().unwrap_or_default();
    if let Some(first) = copied.get(&link.target) {
        let first_dir = into.open_dir_beneath(names::parent(first))?;
        let first_name = first.file_name().unwrap_or_default();
        return Ok(first_dir.link_to(first_name, &dir, name).map_err(at)?);
    }
    // What it names may itself have been such a link.
    if let Ok(target_dir) = into.open_dir_beneath(names::parent(&link.target)) {
        let target = link.target.file_name().unwrap_or_default();
        let there = target_dir.try_metadata(target).map_err(at)?;
        if there.is_some_and(|there| !there.is_dir() && !there.is_whiteout()) {
            return Ok(target_dir.link_to(target, &dir, name).map_err(at)?);
        }
    }
    let made = with_found(lowers, &link.target, |target, found| match found {
        Some(found) if !found.metadata.is_dir() => {
            copy_node(&found, target, &dir, name)?;
            Ok(true)
        }
        _ => Ok(false),
    })?;
    if !made {
        return Err(link.missing());
    }
    copied.insert(link.target.clone(), link.path.clone());
    Ok(())
}

fn copy_node(found: &Found<'_>, name: &OsStr, to: &Dir, to_name: &OsStr) -> Result<(), FsError> {
    let rdev = found.metadata.rdev;
    match found.metadata.file_type {
        FileType::File => {
            let source = found.dir.open_file(name)?;
            let copy = to.create_file(to_name, 0o600)?;
            fs::copy_file_contents(&source, &copy)
                .map_err(|error| FsError::new("copy", name, error))?;
        }
        FileType::Symlink => to.symlink(found.dir.read_link(name)?, to_name)?,
        FileType::CharDevice => to.mknod(to_name, NodeKind::CharDevice(rdev), 0o600)?,
        FileType::BlockDevice => to.mknod(to_name, NodeKind::BlockDevice(rdev), 0o600)?,
        FileType::Fifo | FileType::Socket | FileType::Dir => {
            to.mknod(to_name, NodeKind::Fifo, 0o600)?;
        }
    }
    copy_attributes(found, name, to, to_name)
}
