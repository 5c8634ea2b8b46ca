//! Finding, and making, the directory that something is copied into.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use kiln_sys::fs::{Dir, LastLink};

use super::CopyOptions;
use crate::error::CopyError;
use crate::lexical::{components, names_a_directory};

/// Where a file goes.
pub(super) struct Place<'a> {
    root: &'a Dir,
    /// The path of `dir`, for messages.
    pub(super) path: PathBuf,
    pub(super) dir: Dir,
    pub(super) name: OsString,
    /// Where that is from the root, with no link in it.
    pub(super) target: PathBuf,
    above: Above,
}

impl<'a> Place<'a> {
    pub(super) fn for_file(
        root: &'a Dir,
        options: &CopyOptions,
        source_name: &OsStr,
    ) -> Result<Self, CopyError> {
        let dest = components(&options.dest);
        let mode = options.attributes.mode_of_new_dirs();
        let parents = match dest.split_last() {
            Some((_, parents)) if !names_a_directory(&options.dest) => parents,
            _ => &dest,
        };
        let (parent, above) = make_dirs(root, options, parents, mode)?;
        let mut place = Self {
            root,
            path: Path::new("/").join(parents.join("/")),
            dir: parent,
            name: source_name.to_os_string(),
            target: PathBuf::new(),
            above,
        };
        if parents.len() < dest.len() {
            let missing = options.new_dirs(mode);
            let dest = dest.join("/");
            let found = root.resolve_or_make_in_root(dest, LastLink::Follow, &missing)?;
            if found.metadata.is_some_and(|metadata| metadata.is_dir()) {
                place.dir = root.open_dir_beneath(&found.path)?;
                place.target = found.path.join(source_name);
                place.path = Path::new("/").join(found.path);
            } else {
                place.dir = found.dir;
                place.name = found.name;
                place.target = found.path;
            }
        } else {
            let parent = root.resolve_in_root(parents.join("/"), LastLink::Follow)?;
            place.target = parent.path.join(source_name);
        }
        Ok(place)
    }

    /// Sets the times that writing has changed.
    pub(super) fn settle(&self, options: &CopyOptions) -> Result<(), CopyError> {
        self.above.settle(self.root, options)?;
        let now = options.clamped(options.now);
        Ok(self.dir.set_times(Dir::ITSELF, now)?)
    }
}

/// The directories above the destination whose times change by what is made below: paths in the
/// root.
pub(super) struct Above(Vec<String>);

impl Above {
    pub(super) fn settle(&self, root: &Dir, options: &CopyOptions) -> Result<(), CopyError> {
        let now = options.clamped(options.now);
        for path in &self.0 {
            root.open_dir_in_root(path)?.set_times(Dir::ITSELF, now)?;
        }
        Ok(())
    }
}

/// Opens the destination directory that the names lead to, and makes what is missing.
pub(super) fn make_dirs(
    root: &Dir,
    options: &CopyOptions,
    names: &[&str],
    mode: u32,
) -> Result<(Dir, Above), CopyError> {
    let exists = |names: &[&str]| {
        root.resolve_in_root(names.join("/"), LastLink::Follow)
            .is_ok_and(|found| found.metadata.is_some())
    };
    let missing = names.len()
        - (0..=names.len())
            .rev()
            .find(|&count| exists(&names[..count]))
            .unwrap_or(0);
    let path = names.join("/");
    let dir = root.make_dirs_in_root(&path, &options.new_dirs(mode));
    let dir = dir.map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            CopyError::NotADirectory(Path::new("/").join(&path))
        }
        _ => error.into(),
    })?;
    // The last is settled by whoever writes into it.
    let above = (names.len() - missing..names.len()).map(|count| names[..count].join("/"));
    Ok((dir, Above(above.collect())))
}
