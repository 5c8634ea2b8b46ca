//! The tree that layer directories stack up to, seen one directory at a time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use kiln_sys::fs::{Dir, FsError, Metadata};

use crate::overlay::{OPAQUE, OverlayXattrs};

/// The layer directories that are stacked below, top first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lowers<'a> {
    pub(crate) roots: &'a [Dir],
    pub(crate) xattrs: OverlayXattrs,
}

/// Which of the [`Lowers`] one directory of the stacked tree is made of, top first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    layers: Vec<usize>,
    /// Whether nothing shows through of a directory that further layers below had here.
    pub(crate) is_closed: bool,
}

/// One directory of the stacked tree, open in all layers that it is made of.
#[derive(Debug)]
pub(crate) struct LowerDir {
    xattrs: OverlayXattrs,
    dirs: Vec<(usize, Dir)>,
}

/// What a name means in the stacked tree.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The directory, in the layer that decides.
    pub(crate) dir: &'a Dir,
    pub(crate) metadata: Metadata,
    position: usize,
}

impl Lowers<'_> {
    /// The root directory's layers: all of them.
    pub(crate) fn root(self) -> Stack {
        Stack {
            layers: (0..self.roots.len()).collect(),
            // Overlayfs does not heed the mark on a root.
            is_closed: false,
        }
    }

    /// Opens the directory at `path`, which is made of `stack`.
    pub(crate) fn open(self, stack: &Stack, path: &Path) -> Result<LowerDir, FsError> {
        let open = |&layer: &usize| Ok((layer, self.roots[layer].open_dir_beneath(path)?));
        Ok(LowerDir {
            xattrs: self.xattrs,
            dirs: stack
                .layers
                .iter()
                .map(open)
                .collect::<Result<_, FsError>>()?,
        })
    }

    /// The directory that holds the last component of `path`, if the stacked tree has it and no
    /// component before the last is anything else than a directory.
    pub(crate) fn open_parent(self, path: &Path) -> Result<Option<LowerDir>, FsError> {
        let mut stack = self.root();
        let parent = path.parent().unwrap_or(Path::new(""));
        let mut at = std::path::PathBuf::new();
        for name in parent {
            let dir = self.open(&stack, &at)?;
            match dir.find(name)? {
                Some(found) if found.metadata.is_dir() => stack = dir.stack_of(name, &found)?,
                _ => return Ok(None),
            }
            at.push(name);
        }
        self.open(&stack, &at).map(Some)
    }
}

impl LowerDir {
    /// What `name` is in the stacked tree, if it is there.
    pub(crate) fn find(&self, name: &OsStr) -> Result<Option<Found<'_>>, FsError> {
        for (position, (_, dir)) in self.dirs.iter().enumerate() {
            let Some(metadata) = dir.try_metadata(name)? else {
                continue;
            };
            if is_whiteout(dir, name, &metadata, self.xattrs)? {
                return Ok(None);
            }
            return Ok(Some(Found {
                dir,
                metadata,
                position,
            }));
        }
        Ok(None)
    }

    /// Which layers the directory `name`, found here, is made of.
    pub(crate) fn stack_of(&self, name: &OsStr, found: &Found<'_>) -> Result<Stack, FsError> {
        let mut stack = Stack::default();
        for (layer, dir) in &self.dirs[found.position..] {
            match dir.try_metadata(name)? {
                None => continue,
                Some(metadata) if metadata.is_dir() => stack.layers.push(*layer),
                Some(_) => {
                    stack.is_closed = true;
                    break;
                }
            }
            if is_opaque(dir, name, self.xattrs)? {
                stack.is_closed = true;
                break;
            }
        }
        Ok(stack)
    }

    /// The directory in the topmost layer that has it, whose attributes are the ones that show.
    pub(crate) fn topmost(&self) -> Option<&Dir> {
        self.dirs.first().map(|(_, dir)| dir)
    }

    /// The names in the directory, sorted.
    pub(crate) fn names(&self) -> Result<Vec<OsString>, FsError> {
        let there = self
            .listing()?
            .into_iter()
            .filter(|(_, is_there)| *is_there);
        Ok(there.map(|(name, _)| name).collect())
    }

    /// The names in the directory and those that were taken away, with whether they are there.
    pub(crate) fn listing(&self) -> Result<BTreeMap<OsString, bool>, FsError> {
        let mut visible = BTreeMap::new();
        for (_, dir) in &self.dirs {
            for entry in dir.entries()? {
                if visible.contains_key(&entry.name) {
                    continue;
                }
                let metadata = dir.metadata(&entry.name)?;
                let gone = is_whiteout(dir, &entry.name, &metadata, self.xattrs)?;
                visible.insert(entry.name, !gone);
            }
        }
        Ok(visible)
    }
}

/// Whether `name` is one of overlayfs' two marks for "not here any more".
pub(crate) fn is_whiteout(
    dir: &Dir,
    name: &OsStr,
    metadata: &Metadata,
    xattrs: OverlayXattrs,
) -> Result<bool, FsError> {
    if metadata.is_whiteout() {
        return Ok(true);
    }
    Ok(metadata.is_file() && metadata.size == 0 && dir.xattr(name, xattrs.whiteout())?.is_some())
}

/// Whether overlayfs shows nothing of the layers below in the directory `name`.
pub(crate) fn is_opaque(dir: &Dir, name: &OsStr, xattrs: OverlayXattrs) -> Result<bool, FsError> {
    Ok(dir.xattr(name, xattrs.opaque())?.as_deref() == Some(OPAQUE))
}
