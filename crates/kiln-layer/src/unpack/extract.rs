//! The entries of one layer, put into its directory one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kiln_base::CancelToken;
use kiln_sys::fs::{Dir, FileTime, FsError, Owner};

use super::{ForeignLink, UnpackError};
use crate::names::{self, LayerName};
use crate::overlay::{OPAQUE, OverlayXattrs};
use crate::place::{Attributes, Copier, Place, archive_owner};
use crate::reader::{Kind, TarEntry, TarReader};

/// Permission bits of directories that no entry tells about.
const IMPLIED_MODE: u32 = 0o755;

/// A layer's directory while it is being filled. All state that an order of entries could depend
/// on is in the directory itself: a whiteout is a node that a later entry replaces.
pub(super) struct Extractor<'a> {
    into: &'a Dir,
    xattrs: OverlayXattrs,
    copier: Copier<'a>,
    /// The directory that the last entry was in.
    parent: Option<(PathBuf, Rc<Dir>)>,
    /// Times of directories, to be set when nothing is added to them any more.
    dir_times: BTreeMap<PathBuf, FileTime>,
    implied: BTreeSet<PathBuf>,
    foreign: Vec<ForeignLink>,
    whiteouts: BTreeSet<PathBuf>,
}

/// What [`Extractor::finish`] leaves to the layers below.
pub(super) struct Unresolved {
    pub(super) implied_dirs: Vec<PathBuf>,
    pub(super) foreign_links: Vec<ForeignLink>,
    pub(super) whiteouts: Vec<PathBuf>,
}

impl<'a> Extractor<'a> {
    pub(super) fn new(into: &'a Dir, xattrs: OverlayXattrs, cancel: &'a CancelToken) -> Self {
        let root = PathBuf::new();
        Self {
            into,
            xattrs,
            copier: Copier::new(cancel),
            parent: None,
            dir_times: BTreeMap::from([(root.clone(), FileTime::EPOCH)]),
            implied: BTreeSet::from([root]),
            foreign: Vec::new(),
            whiteouts: BTreeSet::new(),
        }
    }

    /// Puts in one entry, whose content is what `archive` gives next.
    pub(super) fn put<R: Read>(
        &mut self,
        entry: &TarEntry,
        archive: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        match names::layer_name(&entry.path)? {
            LayerName::Ignored => Ok(()),
            LayerName::Opaque(path) => {
                let dir = self.dir(&path, &path)?;
                self.make_opaque(&dir, OsStr::new(Dir::ITSELF), &path)
            }
            LayerName::Whiteout(path) => self.put_whiteout(&path),
            LayerName::Real(path) => self.put_real(&path, entry, archive),
        }
    }

    fn put_whiteout(&mut self, path: &Path) -> Result<(), UnpackError> {
        let dir = self.dir(names::parent(path), path)?;
        let name = path.file_name().unwrap_or_default();
        let at = |error: FsError| error.within(names::parent(path));
        match dir.try_metadata(name).map_err(at)? {
            None => {
                dir.whiteout(name).map_err(at)?;
                self.whiteouts.insert(path.to_path_buf());
                Ok(())
            }
            // It hides what the layers below have, not what this one has.
            Some(there) if there.is_dir() => self.make_opaque(&dir, name, path),
            Some(_) => Ok(()),
        }
    }

    fn put_real<R: Read>(
        &mut self,
        path: &Path,
        entry: &TarEntry,
        archive: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        let attributes = Attributes {
            entry,
            owner: archive_owner(entry, path)?,
            mtime: entry.mtime,
        };
        let Some(name) = path.file_name() else {
            return self.put_root(&attributes);
        };
        let dir = self.dir(names::parent(path), path)?;
        let place = Place {
            dir: &dir,
            name,
            path,
        };
        match &entry.kind {
            Kind::Dir => self.put_dir(&place, &attributes),
            Kind::HardLink(target) => self.put_link(&place, target),
            _ => {
                self.free(&place)?;
                place.make(&attributes, archive, &mut self.copier)
            }
        }
    }

    fn put_root(&mut self, attributes: &Attributes<'_>) -> Result<(), UnpackError> {
        let path = Path::new("");
        if !matches!(attributes.entry.kind, Kind::Dir) {
            return Err(names::bad(
                &attributes.entry.path,
                "the root must be a directory",
            ));
        }
        let root = Place {
            dir: self.into,
            name: OsStr::new(Dir::ITSELF),
            path,
        };
        root.finish_dir(attributes)?;
        self.implied.remove(path);
        self.dir_times.insert(path.to_path_buf(), attributes.mtime);
        Ok(())
    }

    fn put_dir(
        &mut self,
        place: &Place<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), UnpackError> {
        let at = |error: FsError| error.within(names::parent(place.path));
        let there = place.dir.try_metadata(place.name).map_err(at)?;
        if !there.is_some_and(|there| there.is_dir()) {
            let hides = self.free(place)?;
            place.dir.mkdir(place.name, 0o700).map_err(at)?;
            if hides {
                self.make_opaque(place.dir, place.name, place.path)?;
            }
        }
        place.finish_dir(attributes)?;
        self.implied.remove(place.path);
        self.dir_times
            .insert(place.path.to_path_buf(), attributes.mtime);
        Ok(())
    }

    fn put_link(&mut self, place: &Place<'_>, target: &OsStr) -> Result<(), UnpackError> {
        let link = ForeignLink {
            path: place.path.to_path_buf(),
            target: names::clean(target)?,
        };
        if link.path == link.target {
            return Err(link.missing());
        }
        self.free(place)?;
        if !self.link(place, &link)? {
            self.foreign.push(link);
        }
        Ok(())
    }

    /// Makes the link if its target is in this layer.
    fn link(&self, place: &Place<'_>, link: &ForeignLink) -> Result<bool, UnpackError> {
        let parent = names::parent(&link.target);
        let dir = match self.into.open_dir_beneath(parent) {
            Ok(dir) => dir,
            Err(error) if is_elsewhere(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let name = link.target.file_name().ok_or_else(|| link.missing())?;
        let at = |error: FsError| error.within(parent);
        match dir.try_metadata(name).map_err(at)? {
            None => Ok(false),
            Some(there) if there.is_dir() || there.is_whiteout() => Err(link.missing()),
            Some(_) => {
                dir.link_to(name, place.dir, place.name)
                    .map_err(|error| error.within(names::parent(place.path)))?;
                Ok(true)
            }
        }
    }

    /// Removes what an earlier entry put at the place. Returns whether that was a whiteout.
    fn free(&mut self, place: &Place<'_>) -> Result<bool, UnpackError> {
        let at = |error: FsError| error.within(names::parent(place.path));
        let Some(there) = place.dir.try_metadata(place.name).map_err(at)? else {
            return Ok(false);
        };
        if !there.is_dir() {
            place.dir.unlink(place.name).map_err(at)?;
            self.whiteouts.remove(place.path);
            return Ok(there.is_whiteout());
        }
        place.dir.remove_tree(place.name).map_err(at)?;
        self.parent = None;
        // Paths are ordered by component, so what was in it follows it.
        let inside = |path: &&PathBuf| path.starts_with(place.path);
        let from = place.path.to_path_buf();
        let hiding = self.whiteouts.range(from.clone()..);
        let gone: Vec<PathBuf> = hiding.take_while(inside).cloned().collect();
        for path in &gone {
            self.whiteouts.remove(path);
        }
        let known = self.dir_times.range(from..).map(|(path, _)| path);
        let gone: Vec<PathBuf> = known.take_while(inside).cloned().collect();
        for path in &gone {
            self.dir_times.remove(path);
            self.implied.remove(path);
        }
        self.foreign
            .retain(|link| !link.path.starts_with(place.path));
        Ok(false)
    }

    fn make_opaque(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
        Ok(dir
            .set_xattr(name, self.xattrs.opaque(), OPAQUE)
            .map_err(|error| error.within(names::parent(path)))?)
    }

    /// Opens the directory at `path`, making what is missing. `entry` is what it is needed for.
    fn dir(&mut self, path: &Path, entry: &Path) -> Result<Rc<Dir>, UnpackError> {
        if let Some((known, dir)) = &self.parent
            && known == path
        {
            return Ok(Rc::clone(dir));
        }
        let dir = match self.into.open_dir_beneath(path) {
            Ok(dir) => dir,
            Err(error) if is_elsewhere(&error) => self.make_dirs(path, entry)?,
            Err(error) => return Err(error.into()),
        };
        let dir = Rc::new(dir);
        self.parent = Some((path.to_path_buf(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn make_dirs(&mut self, path: &Path, entry: &Path) -> Result<Dir, UnpackError> {
        let mut dir = self.into.try_clone()?;
        let mut at = PathBuf::new();
        for name in path {
            let within = |error: FsError| error.within(&at);
            let there = dir.try_metadata(name).map_err(within)?;
            match there {
                Some(there) if there.is_dir() => {}
                Some(there) if !there.is_whiteout() => {
                    return Err(UnpackError::ParentNotDir {
                        path: entry.to_path_buf(),
                        parent: at.join(name),
                    });
                }
                _ => {
                    let path = at.join(name);
                    if there.is_some() {
                        dir.unlink(name).map_err(within)?;
                        self.whiteouts.remove(&path);
                    }
                    make_implied(&dir, name).map_err(within)?;
                    if there.is_some() {
                        self.make_opaque(&dir, name, &path)?;
                    }
                    self.dir_times.insert(path.clone(), FileTime::EPOCH);
                    self.implied.insert(path);
                }
            }
            dir = dir.open_dir(name).map_err(within)?;
            at.push(name);
        }
        Ok(dir)
    }

    /// Makes links whose target came after them, and sets the times of directories.
    pub(super) fn finish(mut self) -> Result<Unresolved, UnpackError> {
        let mut foreign_links = Vec::new();
        for link in std::mem::take(&mut self.foreign) {
            let dir = self.dir(names::parent(&link.path), &link.path)?;
            let place = Place {
                dir: &dir,
                name: link.path.file_name().unwrap_or_default(),
                path: &link.path,
            };
            let at = |error: FsError| error.within(names::parent(&link.path));
            // A later entry of the same name won.
            if dir.try_metadata(place.name).map_err(at)?.is_none() && !self.link(&place, &link)? {
                foreign_links.push(link);
            }
        }
        if self.implied.contains(Path::new("")) {
            self.into.set_owner(Dir::ITSELF, Owner::ROOT)?;
            self.into.set_mode(Dir::ITSELF, IMPLIED_MODE)?;
        }
        // From the bottom up: setting a time changes nothing above.
        for (path, mtime) in self.dir_times.iter().rev() {
            let dir = self.into.open_dir_beneath(path)?;
            dir.set_times(Dir::ITSELF, *mtime)
                .map_err(|error| error.within(path))?;
        }
        Ok(Unresolved {
            implied_dirs: self.implied.into_iter().collect(),
            foreign_links,
            whiteouts: self.whiteouts.into_iter().collect(),
        })
    }
}

pub(super) fn make_implied(dir: &Dir, name: &OsStr) -> Result<(), FsError> {
    dir.mkdir(name, IMPLIED_MODE)?;
    dir.set_owner(name, Owner::ROOT)?;
    dir.set_mode(name, IMPLIED_MODE)
}

/// Whether a path could not be opened because a part of it is missing or not a directory.
pub(super) fn is_elsewhere(error: &FsError) -> bool {
    error.is_not_found() || error.is_symlink_or_not_dir()
}
