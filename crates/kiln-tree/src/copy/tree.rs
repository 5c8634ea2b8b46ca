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
use crate::nodes::{Batch, DirNumber, Node, NodeKind, Tree};
use crate::parallel;

/// So many names of one directory are looked at by one thread before it looks for more.
const BATCH: usize = 64;

/// Copies what is in the directory `node` of `dir` into the destination, which becomes one. `path`
/// is the source directory's, for messages.
pub(super) fn copy_contents(
    (dir, path): (&Dir, &Path),
    (node, tree): (&Node, &Tree),
    root: &Dir,
    options: &CopyOptions,
    cancel: &CancelToken,
) -> Result<(), CopyError> {
    let NodeKind::Dir(top) = node.kind else {
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
    let mut plan = Plan {
        tree,
        files: Vec::new(),
        links: Vec::new(),
        dirs: Vec::new(),
        first_names: HashMap::new(),
    };
    let trees = Trees {
        from: &from,
        to: &to,
        writer: Writer { options, cancel },
    };
    plan.make_dirs(&to, top, Path::new(""))
        .and_then(|()| trees.write(&plan))
        .map_err(|error| error.within(path, Path::new(&options.dest)))?;
    above.settle(root, options)?;
    Ok(to.set_times(Dir::ITSELF, options.clamped(node.metadata.mtime))?)
}

/// What is to be done once the directories exist. Paths begin at the directory that is copied.
struct Plan<'a> {
    tree: &'a Tree,
    /// Batches that have files, with the path of the directory that they are in.
    files: Vec<(PathBuf, Batch)>,
    /// A further name of a file: where it goes, and the first name.
    links: Vec<(PathBuf, PathBuf)>,
    /// Each after those that are in it.
    dirs: Vec<(PathBuf, IsNew)>,
    first_names: HashMap<(Device, u64), PathBuf>,
}

/// Whether a directory was made by this copy.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IsNew(bool);

impl Plan<'_> {
    /// Makes the directories in the one that is `below`, which is `to`, and all that are in them.
    fn make_dirs(&mut self, to: &Dir, dir: DirNumber, below: &Path) -> Result<(), CopyError> {
        let tree = self.tree;
        for batch in tree.batches(dir, BATCH) {
            let mut has_files = false;
            for child in tree.batch(batch) {
                if let NodeKind::Dir(grandchildren) = child.kind {
                    let path = below.join(&child.name);
                    let within = |error: CopyError| error.within(below, below);
                    let is_new = make_dir(to, &child).map_err(within)?;
                    let dir = to.open_dir(&child.name);
                    let dir = dir.map_err(|error| within(error.into()))?;
                    self.make_dirs(&dir, grandchildren, &path)?;
                    self.dirs.push((path, is_new));
                    continue;
                }
                if let Some(inode) = shared_inode(&child) {
                    let path = below.join(&child.name);
                    if let Some(first) = self.first_names.get(&inode) {
                        self.links.push((path, first.clone()));
                        continue;
                    }
                    self.first_names.insert(inode, path);
                }
                has_files = true;
            }
            if has_files {
                self.files.push((below.to_path_buf(), batch));
            }
        }
        Ok(())
    }

    /// Whether the node, which is in the directory `below`, becomes another name of a file.
    fn is_link(&self, node: &Node, below: &Path) -> bool {
        shared_inode(node)
            .and_then(|inode| self.first_names.get(&inode))
            .is_some_and(|first| *first != below.join(&node.name))
    }
}

/// The inode of a file that has several names.
fn shared_inode(node: &Node) -> Option<(Device, u64)> {
    let metadata = &node.metadata;
    (metadata.is_file() && metadata.nlink > 1).then_some((metadata.dev, metadata.ino))
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
        parallel::map(&spread(&plan.files), 1, |(below, batch)| {
            self.write_files(plan, below, *batch)
                .map_err(|error| error.within(below, below))
        })?;
        for (path, first) in &plan.links {
            let parent = path.parent().unwrap_or(Path::new(""));
            self.link(path, first)
                .map_err(|error| error.within(parent, parent))?;
        }
        for (path, is_new) in &plan.dirs {
            let Some(node) = plan.tree.find(path) else {
                continue;
            };
            self.finish_dir(path, &node, *is_new)
                .map_err(|error| error.within(path, path))?;
        }
        Ok(())
    }

    fn write_files(&self, plan: &Plan<'_>, below: &Path, batch: Batch) -> Result<(), CopyError> {
        let from = self.from.open_dir_beneath(below);
        let from = from.map_err(|error| CopyError::Content {
            path: PathBuf::new(),
            cause: error.into(),
        })?;
        let to = self.to.open_dir_beneath(below)?;
        for node in plan.tree.batch(batch) {
            let is_dir = matches!(node.kind, NodeKind::Dir(_));
            if !is_dir && !plan.is_link(&node, below) {
                self.writer.put_file(&from, &node, &to, &node.name)?;
            }
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
