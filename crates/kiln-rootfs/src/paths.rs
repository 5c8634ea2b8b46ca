//! Paths of a tree, found as a program whose root the tree is would find them.
//!
//! Absolute links start at the tree's root and `..` stops there, so nothing in a hostile tree leads
//! out of it; a path that follows more than [`MAX_LINKS`] links is a loop, as for Linux. Paths are
//! bytes; what is returned has no links, no `.` and no slash at its ends.

mod read;
mod visit;

use kiln_disk::{Node, NodeId, Tree};

pub use read::{ReadAt, ReadError, Reader, read, read_or_empty};
pub use visit::{Next, Visit, visit};

/// Linux's own limit.
pub const MAX_LINKS: usize = 40;

/// Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;

/// What a path's last name does when it is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It is followed, as `stat` does.
    Follow,
    /// It is the result, as for `lstat`.
    Keep,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The inode.
    pub id: NodeId,
    /// The directory that has its name; the root for the root.
    pub parent: NodeId,
    /// The way to it without links, relative to the root.
    pub path: Vec<u8>,
    /// The links that were followed, as paths of the same kind.
    pub links: Vec<Vec<u8>>,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// A name on the way is not there.
    #[error("`/{}` does not exist", .0.escape_ascii())]
    Missing(Vec<u8>),
    /// A name on the way is not a directory.
    #[error("`/{}` is not a directory", .0.escape_ascii())]
    NotADirectory(Vec<u8>),
    /// Links lead in a circle, or there are too many.
    #[error("`/{}` has too many levels of symbolic links", .0.escape_ascii())]
    Loop(Vec<u8>),
    /// Longer than a path can be.
    #[error("a path of more than 4096 bytes")]
    TooLong,
}

/// Follows `path` from the directory `cwd`, which is itself a path from the root.
pub fn find(tree: &Tree, cwd: &[u8], path: &[u8], last: Last) -> Result<Found, LookupError> {
    if path.len() > MAX_PATH || cwd.len() > MAX_PATH {
        return Err(LookupError::TooLong);
    }
    let mut walk = Walk {
        tree,
        trail: vec![Tree::ROOT],
        path: Vec::new(),
        links: Vec::new(),
    };
    if !path.starts_with(b"/") {
        walk.follow(cwd, Last::Follow)?;
    }
    walk.follow(path, last)?;
    let parent = walk.trail[walk.trail.len().saturating_sub(2)];
    Ok(Found {
        id: walk.here(),
        parent,
        path: walk.path,
        links: walk.links,
    })
}

/// What `path` leads to from the root, links followed.
pub fn lookup(tree: &Tree, path: &[u8]) -> Option<NodeId> {
    find(tree, b"", path, Last::Follow)
        .ok()
        .map(|found| found.id)
}

/// What `path` names from the root; links are followed on the way, but not at the end.
pub fn name(tree: &Tree, path: &[u8]) -> Option<Found> {
    find(tree, b"", path, Last::Keep).ok()
}

/// The name at the end of a path.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// `directory/name`, where an empty directory is the root.
pub fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

struct Walk<'a> {
    tree: &'a Tree,
    /// The inodes from the root to where the walk is.
    trail: Vec<NodeId>,
    path: Vec<u8>,
    links: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn here(&self) -> NodeId {
        self.trail.last().copied().unwrap_or(Tree::ROOT)
    }

    fn restart(&mut self) {
        self.trail.truncate(1);
        self.path.clear();
    }

    fn up(&mut self) {
        if self.trail.len() > 1 {
            self.trail.pop();
            let end = self.path.iter().rposition(|byte| *byte == b'/');
            self.path.truncate(end.unwrap_or(0));
        }
    }

    fn follow(&mut self, path: &[u8], last: Last) -> Result<(), LookupError> {
        // What is left to be followed, the next name at the end.
        let mut pending: Vec<Box<[u8]>> = Vec::new();
        if path.starts_with(b"/") {
            self.restart();
        }
        push_names(&mut pending, path);
        while let Some(name) = pending.pop() {
            match &*name {
                b"." => self.expect_directory()?,
                b".." => {
                    self.expect_directory()?;
                    self.up();
                }
                name => self.enter(name, &mut pending, last)?,
            }
        }
        if path.ends_with(b"/") {
            self.expect_directory()?;
        }
        Ok(())
    }

    fn enter(
        &mut self,
        name: &[u8],
        pending: &mut Vec<Box<[u8]>>,
        last: Last,
    ) -> Result<(), LookupError> {
        self.expect_directory()?;
        let path = join(&self.path, name);
        let Some(id) = self.tree.child(self.here(), name) else {
            return Err(LookupError::Missing(path));
        };
        if let Node::Symlink(target) = &self.tree.inode(id).node
            && (last == Last::Follow || !pending.is_empty())
        {
            if self.links.len() >= MAX_LINKS {
                return Err(LookupError::Loop(path));
            }
            self.links.push(path);
            if target.starts_with(b"/") {
                self.restart();
            }
            push_names(pending, target);
            return Ok(());
        }
        self.trail.push(id);
        self.path = path;
        Ok(())
    }

    fn expect_directory(&self) -> Result<(), LookupError> {
        match self.tree.inode(self.here()).node {
            Node::Directory(_) => Ok(()),
            _ => Err(LookupError::NotADirectory(self.path.clone())),
        }
    }
}

fn push_names(pending: &mut Vec<Box<[u8]>>, path: &[u8]) {
    let names = path.split(|byte| *byte == b'/');
    let names = names.filter(|name| !name.is_empty());
    pending.extend(names.rev().map(Box::from));
}

#[cfg(test)]
mod tests;
