//! `ADD` of an archive: unpacking into a root file system that is in use.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, FileTime, FsError, LastLink, NewDirs, Owner};

use crate::decode::{DecodeError, Source};
use crate::names;
use crate::options::clamp;
use crate::place::{Attributes, Copier, Place, archive_owner};
use crate::reader::{Kind, TarEntry, TarReader};
use crate::unpack::UnpackError;

const COPY_BYTES: usize = 256 * 1024;

/// How to merge an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeOptions {
    /// The owner of all that is unpacked; `None` takes the archive's.
    pub owner: Option<Owner>,
    /// Modification times later than this become this.
    pub clamp_mtime: Option<Timestamp>,
}

/// Why an archive could not be merged.
pub type MergeError = UnpackError;

/// What was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeReport {
    /// Entries of the archive.
    pub entries: u64,
}

/// Unpacks an archive (any [`crate::ArchiveFormat`], detected) over what is in the directory
/// `target` of `root`, which must exist.
///
/// As Docker does: `target` is found as a process in `root` would find it, and is itself the root
/// for all names in the archive, so that symbolic links that are there already are followed, but
/// not out of `target`; a directory over a directory takes the archive's attributes and keeps its
/// content; anything else replaces what is there; an entry for `target` itself changes nothing;
/// names that begin with `.wh.` have no meaning. An entry inside a symbolic link that the archive
/// itself made is an error.
pub fn untar_merge(
    archive: impl Read,
    root: &Dir,
    target: &Path,
    options: &MergeOptions,
    cancel: &CancelToken,
) -> Result<MergeReport, MergeError> {
    let mut source = Source::new(archive);
    let format = source.detect().map_err(DecodeError::Read)?;
    let decoder = source.decode(format).map_err(DecodeError::Read)?;
    let mut merge = Merge {
        target: root.open_dir_in_root(target)?,
        options: *options,
        copier: Copier::new(cancel),
        links: HashSet::new(),
        dir_times: BTreeMap::new(),
    };
    let mut reader = TarReader::new(BufReader::with_capacity(COPY_BYTES, decoder));
    let mut entries = 0;
    while let Some(entry) = reader.next_entry()? {
        cancel.check()?;
        merge.put(&entry, &mut reader)?;
        entries += 1;
    }
    merge.finish()?;
    Ok(MergeReport { entries })
}

struct Merge<'a> {
    target: Dir,
    options: MergeOptions,
    copier: Copier<'a>,
    /// The symbolic links that came from the archive.
    links: HashSet<PathBuf>,
    dir_times: BTreeMap<PathBuf, FileTime>,
}

/// The directory an entry goes into, and its path with no symbolic link in it.
struct Parent {
    dir: Dir,
    path: PathBuf,
}

impl Merge<'_> {
    fn put<R: BufRead>(
        &mut self,
        entry: &TarEntry,
        reader: &mut TarReader<R>,
    ) -> Result<(), MergeError> {
        let asked = names::clean(&entry.path)?;
        let Some(name) = asked.file_name() else {
            return Ok(());
        };
        let parent = self.parent(names::parent(&asked), &asked)?;
        let path = parent.path.join(name);
        let attributes = Attributes {
            entry,
            owner: match self.options.owner {
                Some(owner) => owner,
                None => archive_owner(entry, &path)?,
            },
            mtime: clamp(entry.mtime, self.options.clamp_mtime),
        };
        let place = Place {
            dir: &parent.dir,
            name,
            path: &path,
        };
        match &entry.kind {
            Kind::Dir => return self.put_dir(&place, &attributes),
            Kind::HardLink(target) => return self.put_link(&place, target),
            _ => {}
        }
        self.free(&place)?;
        if matches!(entry.kind, Kind::Symlink(_)) {
            self.links.insert(path.clone());
        }
        place.make(&attributes, reader, &self.copier)
    }

    fn put_dir(
        &mut self,
        place: &Place<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), MergeError> {
        let at = |error: FsError| error.within(names::parent(place.path));
        let there = place.dir.try_metadata(place.name).map_err(at)?;
        if !there.is_some_and(|there| there.is_dir()) {
            self.free(place)?;
            place.dir.mkdir(place.name, 0o700).map_err(at)?;
        }
        place.finish_dir(attributes)?;
        self.dir_times
            .insert(place.path.to_path_buf(), attributes.mtime);
        Ok(())
    }

    fn put_link(&mut self, place: &Place<'_>, target: &OsStr) -> Result<(), MergeError> {
        let target = names::clean(target)?;
        let missing = || MergeError::MissingLinkTarget {
            path: place.path.to_path_buf(),
            target: target.clone(),
        };
        let found = match self.target.resolve_in_root(&target, LastLink::Keep) {
            Ok(found) => found,
            Err(error) if error.is_not_found() || error.is_symlink_or_not_dir() => {
                return Err(missing());
            }
            Err(error) => return Err(error.into()),
        };
        let is_file = found.metadata.is_some_and(|there| !there.is_dir());
        if !is_file || found.path == place.path {
            return Err(missing());
        }
        self.free(place)?;
        found
            .dir
            .link_to(&found.name, place.dir, place.name)
            .map_err(|error| error.within(names::parent(place.path)))?;
        Ok(())
    }

    /// Removes what is at the place.
    fn free(&mut self, place: &Place<'_>) -> Result<(), MergeError> {
        place
            .dir
            .remove_tree(place.name)
            .map_err(|error| error.within(names::parent(place.path)))?;
        self.links.remove(place.path);
        Ok(())
    }

    /// Finds the directory an entry goes into, following links that were there before.
    fn parent(&self, path: &Path, entry: &Path) -> Result<Parent, MergeError> {
        match self.target.open_dir_beneath(path) {
            Ok(dir) => {
                let path = path.to_path_buf();
                return Ok(Parent { dir, path });
            }
            Err(error) if error.is_not_found() || error.is_symlink_or_not_dir() => {}
            Err(error) => return Err(error.into()),
        }
        let missing = NewDirs {
            mode: 0o755,
            owner: self.options.owner.unwrap_or(Owner::ROOT),
            mtime: None,
        };
        let mut at = PathBuf::new();
        let mut is_there = true;
        for name in path {
            let next = at.join(name);
            if !is_there {
                at = next;
                continue;
            }
            if self.links.contains(&next) {
                return Err(MergeError::ParentNotDir {
                    path: entry.to_path_buf(),
                    parent: next,
                });
            }
            let found = self.target.resolve_in_root(&next, LastLink::Follow)?;
            is_there = found.metadata.is_some();
            at = found.path;
        }
        let not_a_dir = |error: FsError| {
            if error.is_symlink_or_not_dir() {
                MergeError::ParentNotDir {
                    path: entry.to_path_buf(),
                    parent: at.clone(),
                }
            } else {
                error.into()
            }
        };
        let dir = self
            .target
            .make_dirs_in_root(&at, &missing)
            .map_err(not_a_dir)?;
        Ok(Parent { dir, path: at })
    }

    /// Sets the times of directories, when nothing is added to them any more.
    fn finish(self) -> Result<(), MergeError> {
        for (path, mtime) in self.dir_times.iter().rev() {
            match self.target.open_dir_beneath(path) {
                Ok(dir) => dir
                    .set_times(Dir::ITSELF, *mtime)
                    .map_err(|error| error.within(path))?,
                // A later entry took its place.
                Err(error) if error.is_not_found() || error.is_symlink_or_not_dir() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
