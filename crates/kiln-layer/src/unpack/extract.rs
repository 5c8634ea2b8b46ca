//! The entries of one layer, put into its directory one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, BufRead};
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
const IMPLIED_DIR: Note = Note::Dir {
    mtime: FileTime::EPOCH,
    is_implied: true,
};

/// A layer's directory while it is being filled.
///
/// What the layer takes away from the layers below is written when all entries are there, since
/// the place of whiteouts in the archive has no meaning.
pub(super) struct Extractor<'a> {
    into: &'a Dir,
    xattrs: OverlayXattrs,
    copier: Copier<'a>,
    /// The directory that the last entry was in.
    parent: Option<(PathBuf, Rc<Dir>)>,
    /// What has to be remembered of names until the end.
    notes: BTreeMap<PathBuf, Note>,
    /// How many hard links were put off.
    pending_links: usize,
    whiteouts: BTreeSet<PathBuf>,
    opaque: BTreeSet<PathBuf>,
}

/// What is still to be done about a name.
enum Note {
    /// A directory gets its time when nothing is added to it any more.
    Dir { mtime: FileTime, is_implied: bool },
    /// A hard link whose target was not there when its entry came; `order` counts them.
    Link { target: PathBuf, order: usize },
}

/// What [`Extractor::finish`] leaves to the layers below.
pub(super) struct Unresolved {
    pub(super) implied_dirs: Vec<PathBuf>,
    pub(super) foreign_links: Vec<ForeignLink>,
    pub(super) whiteouts: Vec<PathBuf>,
}

impl<'a> Extractor<'a> {
    pub(super) fn new(into: &'a Dir, xattrs: OverlayXattrs, cancel: &'a CancelToken) -> Self {
        Self {
            into,
            xattrs,
            copier: Copier::new(cancel),
            parent: None,
            notes: BTreeMap::from([(PathBuf::new(), IMPLIED_DIR)]),
            pending_links: 0,
            whiteouts: BTreeSet::new(),
            opaque: BTreeSet::new(),
        }
    }

    /// Puts in one entry, whose content is what `archive` gives next.
    pub(super) fn put<R: BufRead>(
        &mut self,
        entry: &TarEntry,
        archive: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        match names::layer_name(&entry.path)? {
            LayerName::Ignored => Ok(()),
            LayerName::Opaque(path) => {
                self.opaque.insert(path);
                Ok(())
            }
            LayerName::Whiteout(path) => {
                self.whiteouts.insert(path);
                Ok(())
            }
            LayerName::Real(path) => self.put_real(&path, entry, archive),
        }
    }

    fn put_real<R: BufRead>(
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
                self.notes.remove(path);
                match place.make(&attributes, archive, &self.copier) {
                    // Rare, and told before any content was read: no look beforehand.
                    Err(UnpackError::Fs(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                        self.free(&place)?;
                        place.make(&attributes, archive, &self.copier)
                    }
                    made => made,
                }
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
        self.note_dir(path, attributes.mtime);
        Ok(())
    }

    fn put_dir(
        &mut self,
        place: &Place<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), UnpackError> {
        let at = |error: FsError| error.within(names::parent(place.path));
        match place.dir.mkdir(place.name, 0o700) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !place.dir.metadata(place.name).map_err(at)?.is_dir() {
                    self.free(place)?;
                    place.dir.mkdir(place.name, 0o700).map_err(at)?;
                }
            }
            made => made.map_err(at)?,
        }
        place.finish_dir(attributes)?;
        self.note_dir(place.path, attributes.mtime);
        Ok(())
    }

    fn note_dir(&mut self, path: &Path, mtime: FileTime) {
        let note = Note::Dir {
            mtime,
            is_implied: false,
        };
        self.notes.insert(path.to_path_buf(), note);
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
            let note = Note::Link {
                target: link.target,
                order: self.pending_links,
            };
            self.notes.insert(link.path, note);
            self.pending_links += 1;
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
            Some(there) if there.is_dir() => Err(link.missing()),
            Some(_) => {
                dir.link_to(name, place.dir, place.name)
                    .map_err(|error| error.within(names::parent(place.path)))?;
                Ok(true)
            }
        }
    }

    /// Removes what an earlier entry put at the place.
    fn free(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        let at = |error: FsError| error.within(names::parent(place.path));
        let there = place.dir.try_metadata(place.name).map_err(at)?;
        self.notes.remove(place.path);
        match there {
            None => {}
            Some(there) if !there.is_dir() => place.dir.unlink(place.name).map_err(at)?,
            Some(_) => {
                place.dir.remove_tree(place.name).map_err(at)?;
                self.parent = None;
                // Paths are ordered by component, so what was in it follows it.
                let inside = |path: &&PathBuf| path.starts_with(place.path);
                let below = self.notes.range(place.path.to_path_buf()..);
                let gone = below.map(|(path, _)| path).take_while(inside);
                for path in gone.cloned().collect::<Vec<_>>() {
                    self.notes.remove(&path);
                }
            }
        }
        Ok(())
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
                Some(_) => {
                    return Err(UnpackError::ParentNotDir {
                        path: entry.to_path_buf(),
                        parent: at.join(name),
                    });
                }
                None => {
                    make_implied(&dir, name).map_err(within)?;
                    self.notes.insert(at.join(name), IMPLIED_DIR);
                }
            }
            dir = dir.open_dir(name).map_err(within)?;
            at.push(name);
        }
        Ok(dir)
    }

    /// Does what had to wait for the last entry.
    pub(super) fn finish(mut self) -> Result<Unresolved, UnpackError> {
        let foreign_links = self.finish_links()?;
        let whiteouts = self.finish_whiteouts()?;
        for path in std::mem::take(&mut self.opaque) {
            let dir = self.dir(&path, &path)?;
            self.make_opaque(&dir, OsStr::new(Dir::ITSELF), &path)?;
        }
        if matches!(
            self.notes.get(Path::new("")),
            Some(Note::Dir {
                is_implied: true,
                ..
            })
        ) {
            self.into.set_owner(Dir::ITSELF, Owner::ROOT)?;
            self.into.set_mode(Dir::ITSELF, IMPLIED_MODE)?;
        }
        let mut implied_dirs = Vec::new();
        // From the bottom up: setting a time changes nothing above.
        for (path, note) in self.notes.iter().rev() {
            let Note::Dir { mtime, is_implied } = note else {
                continue;
            };
            let dir = self.into.open_dir_beneath(path)?;
            dir.set_times(Dir::ITSELF, *mtime)
                .map_err(|error| error.within(path))?;
            if *is_implied {
                implied_dirs.push(path.clone());
            }
        }
        implied_dirs.reverse();
        Ok(Unresolved {
            implied_dirs,
            foreign_links,
            whiteouts,
        })
    }

    /// Makes the links whose target came after them; returns the others in the order they came.
    fn finish_links(&mut self) -> Result<Vec<ForeignLink>, UnpackError> {
        let pending = self.notes.iter().filter_map(|(path, note)| match note {
            Note::Link { target, order } => {
                let (path, target) = (path.clone(), target.clone());
                Some((*order, ForeignLink { path, target }))
            }
            Note::Dir { .. } => None,
        });
        let mut pending: Vec<_> = pending.collect();
        pending.sort_unstable_by_key(|(order, _)| *order);
        let mut foreign = Vec::new();
        for (_, link) in pending {
            let dir = self.dir(names::parent(&link.path), &link.path)?;
            let place = Place {
                dir: &dir,
                name: link.path.file_name().unwrap_or_default(),
                path: &link.path,
            };
            if !self.link(&place, &link)? {
                foreign.push(link);
            }
        }
        Ok(foreign)
    }

    /// Hides what the layers below have, but not what this one has; returns the names that are now
    /// whiteouts.
    fn finish_whiteouts(&mut self) -> Result<Vec<PathBuf>, UnpackError> {
        let mut made = Vec::new();
        for path in std::mem::take(&mut self.whiteouts) {
            if let Some(Note::Link { .. }) = self.notes.get(&path) {
                continue;
            }
            let dir = self.dir(names::parent(&path), &path)?;
            let name = path.file_name().unwrap_or_default();
            let at = |error: FsError| error.within(names::parent(&path));
            match dir.try_metadata(name).map_err(at)? {
                None => {
                    dir.whiteout(name).map_err(at)?;
                    made.push(path);
                }
                // A new directory by the old name shows nothing of the old one.
                Some(there) if there.is_dir() => self.make_opaque(&dir, name, &path)?,
                Some(_) => {}
            }
        }
        Ok(made)
    }

    fn make_opaque(&self, dir: &Dir, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
        Ok(dir
            .set_xattr(name, self.xattrs.opaque(), OPAQUE)
            .map_err(|error| error.within(names::parent(path)))?)
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
