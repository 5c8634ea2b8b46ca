//! Several whole root file systems in one archive or directory, each in a folder or all in one.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_sys::fs::{Dir, FileTime, FileType};

use crate::changes::{Entry, Node};
use crate::diff::{DiffOptions, diff};
use crate::export::{ExportError, ExportOptions};
use crate::overlay::OverlayXattrs;
use crate::stream::{PlacedChanges, write_trees};
use crate::write::Plain;

/// A root file system, and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct ExportTree<'a> {
    /// One folder's name; empty for the destination itself.
    pub folder: &'a Path,
    /// The files.
    pub root: &'a Dir,
    /// Files that are put beside them, by name, with their content.
    pub files: &'a [(String, Vec<u8>)],
    /// The time of the folder and of those files, in seconds.
    pub time: i64,
}

/// Writes trees as one plain tar archive.
pub fn tar_trees(
    trees: &[ExportTree<'_>],
    mut sink: impl Write,
    options: &ExportOptions,
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    let mut placed = Vec::new();
    for tree in trees {
        // The marks of overlayfs don't show in a mounted root, so it does not matter which are
        // meant.
        let options = DiffOptions {
            xattrs: OverlayXattrs::User,
            clamp_mtime: None,
        };
        let changes = diff(tree.root, &[], &options, cancel)?;
        let has_folder = tree.folder != Path::new("");
        let files = tree.files.iter();
        placed.push(PlacedChanges {
            changes,
            before: has_folder.then(|| tree.entry(Path::new(""), Node::Dir, 0o755)),
            files: files
                .map(|(name, content)| {
                    let node = Node::File(content.len() as u64);
                    let entry = tree.entry(Path::new(name), node, 0o644);
                    (entry, content.as_slice())
                })
                .collect(),
        });
    }
    write_trees(&placed, options.clamp_mtime, &mut Plain(&mut sink), cancel)?;
    sink.flush().map_err(crate::write::WriteError::Sink)?;
    Ok(())
}

impl ExportTree<'_> {
    fn entry(&self, name: &Path, node: Node, mode: u32) -> Entry {
        let path = if name == Path::new("") {
            self.folder.to_owned()
        } else {
            self.folder.join(name)
        };
        Entry {
            path,
            node,
            mode,
            uid: 0,
            gid: 0,
            mtime: FileTime {
                seconds: self.time,
                nanoseconds: 0,
            },
            xattrs: Vec::new(),
        }
    }
}

/// Removes from `dest` all that none of `roots` has at its place, except for the names in `keep`,
/// which are those of `dest` itself. No symbolic link is followed.
pub fn remove_others(
    dest: &Dir,
    roots: &[&Dir],
    keep: &[&OsStr],
    cancel: &CancelToken,
) -> Result<(), ExportError> {
    for entry in dest.entries()? {
        cancel.check()?;
        if keep.contains(&entry.name.as_os_str()) {
            continue;
        }
        let mut is_there = false;
        let mut below = Vec::new();
        for root in roots {
            match root.try_metadata(&entry.name)? {
                Some(there) if there.is_dir() => below.push(root.open_dir(&entry.name)?),
                Some(_) => is_there = true,
                None => {}
            }
        }
        if entry.file_type == FileType::Dir && !below.is_empty() {
            let below: Vec<&Dir> = below.iter().collect();
            remove_others(&dest.open_dir(&entry.name)?, &below, &[], cancel)
                .map_err(|error| error.within(Path::new(&entry.name)))?;
        } else if !is_there {
            dest.remove_tree(&entry.name)?;
        }
    }
    Ok(())
}

/// The first path that both trees have and that is not a directory in both.
pub fn common_file(
    one: &Dir,
    other: &Dir,
    cancel: &CancelToken,
) -> Result<Option<PathBuf>, ExportError> {
    for entry in one.entries()? {
        cancel.check()?;
        let Some(there) = other.try_metadata(&entry.name)? else {
            continue;
        };
        if entry.file_type != FileType::Dir || !there.is_dir() {
            return Ok(Some(PathBuf::from(entry.name)));
        }
        let (one, other) = (one.open_dir(&entry.name)?, other.open_dir(&entry.name)?);
        if let Some(path) = common_file(&one, &other, cancel)? {
            return Ok(Some(Path::new(&entry.name).join(path)));
        }
    }
    Ok(None)
}
