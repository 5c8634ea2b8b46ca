//! What an unpacked layer takes from the layers below it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_sys::fs::{self, Dir, FileType, FsError, Metadata, NodeKind};

use super::extract::make_implied;
use super::{ForeignLink, UnpackError, UnpackReport};
use crate::lower::{Found, Lowers, is_opaque};
use crate::names;
use crate::overlay::{OPAQUE, OverlayXattrs, belongs_into_layer};

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;

/// Completes an unpacked layer from the layers below it (top first): implied directories get the
/// attributes that the layers below give them, foreign hard links become copies, and whiteouts that
/// hide nothing go.
///
/// An implied directory that is a symbolic link below (`lib` in an image with a merged `/usr`) is
/// moved to where the link leads, as if the archive had been unpacked over the layers below.
/// Where they have nothing, or nothing that this layer lets show, implied directories stay 0755,
/// 0:0; a foreign link to nothing is an error. Directories keep the times they have.
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
    if is_opaque(into, Dir::ITSELF.as_ref(), xattrs)? {
        hide_root(into, lowers)?;
    }
    let mut moves = Moves::default();
    let mut settled = Vec::new();
    for implied in &report.implied_dirs {
        let path = moves.apply(implied);
        if path != *implied {
            if !moves.met.contains(&path) {
                settled.push(path);
            }
            continue;
        }
        match below(into, lowers, &path)? {
            Below::Dir => settled.push(path),
            Below::Symlink => {
                let to = follow(lowers, &path)?;
                settled.extend(move_tree(into, &path, &to, &mut moves.met)?);
                moves.trees.push((path, to));
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
        let dir = into.open_dir_beneath(names::parent(&link.path))?;
        keeping_time(&dir, || copy_up(into, &dir, lowers, &link, &mut copied))?;
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
struct Moves {
    trees: Vec<(PathBuf, PathBuf)>,
    /// Directories that were at their new place before, with attributes of their own.
    met: HashSet<PathBuf>,
}

impl Moves {
    fn apply(&self, path: &Path) -> PathBuf {
        let moved = self.trees.iter().find_map(|(from, to)| {
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

/// What the layers below have by the path of the layer's directory.
fn below(into: &Dir, lowers: Lowers<'_>, path: &Path) -> Result<Below, FsError> {
    for above in path.ancestors().skip(1) {
        if is_opaque_at(into, above, lowers.xattrs)? {
            return Ok(Below::Other);
        }
    }
    let found = with_found(lowers, path, |_, found| {
        Ok(found.map(|found| found.metadata.file_type))
    })?;
    match found {
        Some(FileType::Dir) => Ok(Below::Dir),
        // A whiteout of the link came with a directory in its place.
        Some(FileType::Symlink) if is_opaque_at(into, path, lowers.xattrs)? => Ok(Below::Other),
        Some(FileType::Symlink) => Ok(Below::Symlink),
        _ => Ok(Below::Other),
    }
}

fn is_opaque_at(into: &Dir, path: &Path, xattrs: OverlayXattrs) -> Result<bool, FsError> {
    let dir = into.open_dir_beneath(path)?;
    is_opaque(&dir, Dir::ITSELF.as_ref(), xattrs)
}

/// Hides all that the layers below have in the root. Overlayfs does not heed the mark there.
fn hide_root(into: &Dir, lowers: Lowers<'_>) -> Result<(), FsError> {
    let below = lowers.open(&lowers.root(), Path::new(""))?;
    keeping_time(into, || {
        for name in below.names()? {
            match into.try_metadata(&name)? {
                None => into.whiteout(&name)?,
                Some(there) if there.is_dir() => {
                    into.set_xattr(&name, lowers.xattrs.opaque(), OPAQUE)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    })
}

/// Gives the directory the time back that it had before `change`.
fn keeping_time<E: From<FsError>>(
    dir: &Dir,
    change: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let before = dir.metadata(Dir::ITSELF)?.mtime;
    change()?;
    Ok(dir.set_times(Dir::ITSELF, before)?)
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
/// had to be made, and adds those to `met` that were there.
fn move_tree(
    into: &Dir,
    from: &Path,
    to: &Path,
    met: &mut HashSet<PathBuf>,
) -> Result<Vec<PathBuf>, UnpackError> {
    let mut made = Vec::new();
    let mut dir = into.try_clone()?;
    let mut at = PathBuf::new();
    for name in to {
        let within = |error: FsError| error.within(&at);
        let there = dir.try_metadata(name).map_err(within)?;
        match there {
            Some(there) if there.is_dir() => {}
            None => keeping_time(&dir, || make_implied(&dir, name)).map_err(within)?,
            Some(_) => {
                return Err(UnpackError::ParentNotDir {
                    path: from.to_path_buf(),
                    parent: at.join(name),
                });
            }
        }
        dir = dir.open_dir(name).map_err(within)?;
        at.push(name);
        if there.is_none() {
            made.push(at.clone());
        }
    }
    let parent = into.open_dir_beneath(names::parent(from))?;
    let name = from.file_name().unwrap_or_default();
    let source = parent
        .open_dir(name)
        .map_err(|error| error.within(names::parent(from)))?;
    merge(&source, &dir, to, met)?;
    keeping_time(&parent, || parent.remove_tree(name))
        .map_err(|error| error.within(names::parent(from)))?;
    Ok(made)
}

/// Moves what is in `from` into `to`, which is at `path`; directories that both have become one.
fn merge(from: &Dir, to: &Dir, path: &Path, met: &mut HashSet<PathBuf>) -> Result<(), FsError> {
    let at = |error: FsError| error.within(path);
    keeping_time(to, || {
        for entry in from.entries().map_err(at)? {
            let name = &entry.name;
            let moved = from.metadata(name).map_err(at)?;
            let there = to.try_metadata(name).map_err(at)?;
            if let Some(there) = there {
                if there.is_dir() && moved.is_dir() {
                    let (from, to) = (from.open_dir(name), to.open_dir(name));
                    let path = path.join(name);
                    merge(&from.map_err(at)?, &to.map_err(at)?, &path, met)?;
                    met.insert(path);
                    continue;
                }
                // A whiteout hides what the layers below have, not what this one has.
                if moved.is_whiteout() {
                    continue;
                }
                to.remove_tree(name).map_err(at)?;
            }
            from.rename(name, to, name).map_err(at)?;
        }
        Ok(())
    })
}

/// Removes a whiteout that hides nothing.
fn drop_idle_whiteout(into: &Dir, lowers: Lowers<'_>, path: &Path) -> Result<(), UnpackError> {
    if with_found(lowers, path, |_, found| Ok(found.is_some()))? {
        return Ok(());
    }
    let dir = into.open_dir_beneath(names::parent(path))?;
    let at = |error: FsError| error.within(names::parent(path));
    let name = path.file_name().unwrap_or_default();
    let there = dir.try_metadata(name).map_err(at)?;
    if there.is_some_and(|there| there.is_whiteout()) {
        keeping_time(&dir, || dir.unlink(name)).map_err(at)?;
    }
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

/// Makes a hard link in `dir` to a file of the layers below: a copy, which further links to it share.
fn copy_up(
    into: &Dir,
    dir: &Dir,
    lowers: Lowers<'_>,
    link: &ForeignLink,
    copied: &mut HashMap<PathBuf, PathBuf>,
) -> Result<(), UnpackError> {
    let at = |error: FsError| error.within(names::parent(&link.path));
    let name = link.path.file_name().unwrap_or_default();
    if let Some(first) = copied.get(&link.target) {
        let first_dir = into.open_dir_beneath(names::parent(first))?;
        let first_name = first.file_name().unwrap_or_default();
        return Ok(first_dir.link_to(first_name, dir, name).map_err(at)?);
    }
    // What it names may itself have been such a link.
    if let Ok(target_dir) = into.open_dir_beneath(names::parent(&link.target)) {
        let target = link.target.file_name().unwrap_or_default();
        let there = target_dir.try_metadata(target).map_err(at)?;
        if there.is_some_and(|there| !there.is_dir() && !there.is_whiteout()) {
            return Ok(target_dir.link_to(target, dir, name).map_err(at)?);
        }
    }
    let made = with_found(lowers, &link.target, |target, found| match found {
        Some(found) if !found.metadata.is_dir() => {
            copy_node(&found, target, dir, name)?;
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
