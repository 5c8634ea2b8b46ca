//! Writing a selection into a root.

mod file;
mod place;
mod sources;
mod tree;

use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_dockerfile::mode::Mode;
use kiln_sys::fs::{Dir, FileTime, LastLink, Metadata, NewDirs, Owner};

use crate::error::CopyError;
use crate::lexical::components;
use crate::select::{Content, CopyItem, Selection};

use file::Writer;
use place::{Place, make_dirs};
pub use sources::Sources;
use tree::copy_contents;

/// Of directories that are made on the way, unless an octal `--chmod` says otherwise.
const DIR_MODE: u32 = 0o755;

/// How a selection is written.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The absolute destination. A trailing slash makes it a directory.
    pub dest: String,
    /// Owner and mode.
    pub attributes: NewAttributes,
    /// The modification time of what has none from the source: inline files, directories made on
    /// the way, and existing directories that get a new name in them.
    pub now: FileTime,
    /// Later times become this one: `SOURCE_DATE_EPOCH`.
    pub clamp: Option<FileTime>,
    /// What becomes of the contents of regular files.
    pub contents: Contents,
}

/// What becomes of the contents of the regular files of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// They are copied.
    Copied,
    /// They stay where they are: a copy has its size and all its attributes, and reads as zeros.
    /// [`Sources`] leads to what it stands for. Inline files have their content all the same.
    Left,
}

/// The attributes that `--chown` and `--chmod` decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttributes {
    /// The owner.
    pub owner: NewOwner,
    /// `--chmod`; an octal one holds for directories made on the way, too.
    pub mode: Option<Mode>,
}

/// Who owns what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewOwner {
    /// Who owned it in the source: `COPY --from` without `--chown`. Directories made on the way
    /// and inline files belong to 0:0.
    Keep,
    /// This owner: `--chown`, and 0:0 for files of a build context.
    Set(Owner),
}

impl NewAttributes {
    pub(crate) fn owner_of(&self, metadata: &Metadata) -> Owner {
        match self.owner {
            NewOwner::Keep => metadata.owner(),
            NewOwner::Set(owner) => owner,
        }
    }

    pub(crate) fn mode_of(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.mode {
            Some(change) => change.apply(mode, is_dir),
            None => mode,
        }
    }

    fn owner_of_new(&self) -> Owner {
        match self.owner {
            NewOwner::Keep => Owner::ROOT,
            NewOwner::Set(owner) => owner,
        }
    }

    fn mode_of_new_dirs(&self) -> u32 {
        match self.mode {
            Some(Mode::Octal(mode)) => mode,
            Some(Mode::Symbolic(_)) | None => DIR_MODE,
        }
    }
}

impl CopyOptions {
    fn clamped(&self, time: FileTime) -> FileTime {
        self.clamp.map_or(time, |clamp| time.min(clamp))
    }

    fn new_dirs(&self, mode: u32) -> NewDirs {
        NewDirs {
            mode,
            owner: self.attributes.owner_of_new(),
            mtime: Some(self.clamped(self.now)),
        }
    }
}

/// Copies all items in their order into the root `root`. Links in the destination are followed
/// inside the root.
///
/// On an error what was written so far stays.
pub fn copy(
    selection: &Selection,
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<(), CopyError> {
    for item in &selection.items {
        copy_item(item, root, options, cancel)?;
    }
    Ok(())
}

/// Copies one item, as [`copy`] does for all. Returns the path from the root, with no link in it, of
/// the file, or of the directory that has the contents now.
pub fn copy_item(
    item: &CopyItem,
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<PathBuf, CopyError> {
    let writer = Writer { options, cancel };
    match &item.content {
        Content::Inline(file) => {
            let place = Place::for_file(root, options, &item.name)?;
            let written = writer.put_inline(file, &place.dir, &place.name);
            written.map_err(|error| error.within(Path::new(""), &place.path))?;
            place.settle(options)?;
            Ok(place.target)
        }
        Content::Tree {
            dir,
            path,
            node,
            below,
        } if item.is_dir() => {
            copy_contents((dir, path), (node, below), root, options, cancel)?;
            let dest = components(&options.dest).join("/");
            Ok(root.resolve_in_root(dest, LastLink::Follow)?.path)
        }
        Content::Tree {
            dir, path, node, ..
        } => {
            let place = Place::for_file(root, options, &item.name)?;
            let source = path.parent().unwrap_or(Path::new(""));
            writer
                .put_file(dir, node, &place.dir, &place.name)
                .map_err(|error| error.within(source, &place.path))?;
            place.settle(options)?;
            Ok(place.target)
        }
    }
}

/// Opens the directory that is the destination of an archive, and makes it where it is missing:
/// mode 0755, whatever `--chmod` says. Whoever unpacks into it sets its time afterwards.
pub fn make_dest_dir(root: &Dir, options: &CopyOptions) -> Result<Dir, CopyError> {
    let (dir, above) = make_dirs(root, options, &components(&options.dest), DIR_MODE)?;
    above.settle(root, options)?;
    Ok(dir)
}
