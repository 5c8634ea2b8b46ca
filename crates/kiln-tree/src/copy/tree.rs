//! Writing the contents of a directory: first all directories, then the files by several threads,
//! then hard links, and last the directories' attributes, which writing into them would change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_sys::fs::{Device, Dir};

use super::CopyOptions;
use super::file::{Writer, make_room};
use super::place::make_dirs;
use crate::error::CopyError;
use crate::lexical::components;
use crate::parallel;
use crate::scan::{Node, NodeKind};

/// So many files of one directory are written by one thread before it looks for more.
const BATCH: usize = 64;

/// Copies what is in the directory `node` of `dir` into the destination, which becomes one. `path`
/// is the source directory's, for messages.
pub(super) fn copy_contents(
    (dir, path): (&Dir, &Path),
    node: &Node,
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<(), CopyError> {
    let NodeKind::Dir(children) = &node.kind else {
        return Ok(());
    };
    let mode = options.attributes.mode_of_new_dirs();
    let (to, above) = make_dirs(root, options, &components(&options.dest), mode)?;
    let from = if node.name == Dir::ITSELF {
        dir.try_clone()
    } else {
        dir.open_dir(&node.name)
    };
    let from = from.map_err(|error| CopyError::Content {
        path: path.to_path_buf(),
        cause: error.into(),
    })?;
    let mut plan = Plan::default();
    let trees = Trees {
        from: &from,
        to: &to,
        writer: Writer { options, cancel },
    };
    plan.make_dirs(&to, children, Path::new(""))
        .and_then(|()| trees.write(&plan))
        .map_err(|error| error.within(path, Path::new(&options.dest)))?;
    above.settle(root, options)?;
    Ok(to.set_times(Dir::ITSELF, options.clamped(node.metadata.mtime))?)
}

/// What is to be done once the directories exist. Paths begin at the directory that is copied.
#[derive(Default)]
struct Plan<'a> {
    /// Files of one directory, at most [`BATCH`] of them.
    files: Vec<(PathBuf, Vec<&'a Node>)>,
    /// A further name of a file: where it goes, and the first name.
    links: Vec<(PathBuf, PathBuf)>,
    /// Each after those that are in it.
    dirs: Vec<(PathBuf, &'a Node, IsNew)>,
    first_names: HashMap<(Device, u64), PathBuf>,
}

/// Whether a directory was made by this copy.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IsNew(bool);

impl<'a> Plan<'a> {
    /// Makes the directories among `children` in `to`, which is `below`, and all that are in them.
    fn make_dirs(&mut self, to: &Dir, children: &'a [Node], below: &Path) -> Result<(), CopyError> {
        let mut files = Vec::new();
        for child in children {
            let path = below.join(&child.name);
            if let NodeKind::Dir(grandchildren) = &child.kind {
                let within = |error: CopyError| error.within(below, below);
                let is_new = make_dir(to, child).map_err(within)?;
                let dir = to.open_dir(&child.name);
                let dir = dir.map_err(|error| within(error.into()))?;
                self.make_dirs(&dir, grandchildren, &path)?;
                self.dirs.push((path, child, is_new));
                continue;
            }
            let metadata = &child.metadata;
            if metadata.is_file() && metadata.nlink > 1 {
                let inode = (metadata.dev, metadata.ino);
                if let Some(first) = self.first_names.get(&inode) {
                    self.links.push((path, first.clone()));
                    continue;
                }
                self.first_names.insert(inode, path);
            }
            files.push(child);
        }
        let batches = files.chunks(BATCH);
        self.files
            .extend(batches.map(|batch| (below.to_path_buf(), batch.to_vec())));
        Ok(())
    }
}

/// Makes a directory that only its owner can enter until it is finished, or finds the one there.
fn make_dir(to: &Dir, node: &Node) -> Result<IsNew, CopyError> {
    match to.try_metadata(&node.name)? {
        None => {
            to.mkdir(&node.name, 0o700)?;
            Ok(IsNew(true))
        }
        Some(there) if there.is_dir() => Ok(IsNew(false)),
        Some(_) => Err(CopyError::NotADirectory((&node.name).into())),
    }
}

/// The batches in another order, in which those that are worked on at one time lie far apart: two
/// threads that make files in one directory wait for each other.
fn spread<T>(batches: &[T]) -> Vec<&T> {
    let stride = batches.len().div_ceil(parallel::threads());
    let from = |start| batches.iter().skip(start).step_by(stride.max(1));
    (0..stride).flat_map(from).collect()
}

/// The two directories of a copy.
struct Trees<'a> {
    from: &'a Dir,
    to: &'a Dir,
    writer: Writer<'a>,
}

impl Trees<'_> {
    fn write(&self, plan: &Plan<'_>) -> Result<(), CopyError> {
        parallel::map(&spread(&plan.files), 1, |(below, files)| {
            self.write_files(below, files)
                .map_err(|error| error.within(below, below))
        })?;
        for (path, first) in &plan.links {
            let parent = path.parent().unwrap_or(Path::new(""));
            self.link(path, first)
                .map_err(|error| error.within(parent, parent))?;
        }
        for (path, node, is_new) in &plan.dirs {
            self.finish_dir(path, node, *is_new)
                .map_err(|error| error.within(path, path))?;
        }
        Ok(())
    }

    fn write_files(&self, below: &Path, files: &[&Node]) -> Result<(), CopyError> {
        let from = self.from.open_dir_beneath(below);
        let from = from.map_err(|error| CopyError::Content {
            path: PathBuf::new(),
            cause: error.into(),
        })?;
        let to = self.to.open_dir_beneath(below)?;
        for file in files {
            self.writer.put_file(&from, file, &to, &file.name)?;
        }
        Ok(())
    }

    fn link(&self, path: &Path, first: &Path) -> Result<(), CopyError> {
        let parent = |path: &Path| {
            let parent = path.parent().unwrap_or(Path::new(""));
            self.to.open_dir_beneath(parent)
        };
        let name = path.file_name().unwrap_or_default();
        let to = parent(path)?;
        make_room(&to, name)?;
        Ok(parent(first)?.link_to(first.file_name().unwrap_or_default(), &to, name)?)
    }

    fn finish_dir(&self, path: &Path, node: &Node, is_new: IsNew) -> Result<(), CopyError> {
        let dir = self.to.open_dir_beneath(path)?;
        if is_new == IsNew(true) || !node.implied {
            self.writer.set_dir_attributes(&dir, node)?;
        } else {
            dir.set_mode(Dir::ITSELF, node.metadata.mode)?;
        }
        let mtime = self.writer.options.clamped(node.metadata.mtime);
        Ok(dir.set_times(Dir::ITSELF, mtime)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_is_worked_on_once() {
        for count in 0..40 {
            let batches: Vec<usize> = (0..count).collect();
            let mut spread: Vec<usize> = spread(&batches).into_iter().copied().collect();
            spread.sort_unstable();
            assert_eq!(spread, batches);
        }
    }
}
