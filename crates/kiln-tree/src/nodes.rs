//! The nodes of a selected tree, packed: there may be half a million of them, which all stay in
//! memory until they are copied.
//!
//! A node takes about 25 bytes: names begin as the ones before them, and attributes are near those
//! of the first of each group. Reading goes from node to node; a name is searched by groups.

mod body;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kiln_base::packed::{Unpack, put_bytes, put_like, put_number};
use kiln_sys::fs::Metadata;
use kiln_sys::xattr::Xattr;

use crate::name::Name;

use body::{NOTHING, put_body, unpack};

/// So many nodes are packed relative to the first of them.
const GROUP: usize = 16;
/// What most nodes and names take less than.
const USUAL_BYTES: usize = 48;
const USUAL_NAME: usize = 32;

/// One name in a selected tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) metadata: Metadata,
    /// Those of a directory that a copy keeps. Those of files are read with their content.
    pub(crate) xattrs: Box<[Xattr]>,
    /// Whether this directory is here only because something below it was selected.
    pub(crate) implied: bool,
    pub(crate) kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File,
    Dir(DirNumber),
    Symlink(Box<OsStr>),
    Fifo,
    Device,
    /// Becomes an empty file when it is copied.
    Socket,
}

/// Says which directory of a [`Tree`] something is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirNumber(pub(crate) usize);

/// What is below a directory. Without any directory it is what is below something else.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    folders: Box<[Folder]>,
}

#[derive(Debug, Default)]
struct Folder {
    /// Sorted by name.
    runs: Box<[Run]>,
    /// How many of its nodes are part of the tree.
    count: usize,
    /// It was selected only for what is in it, and nothing is.
    is_gone: bool,
}

/// Some nodes of one directory, sorted by name.
#[derive(Debug)]
pub(crate) struct Run {
    bytes: Box<[u8]>,
    /// Where groups begin, but for the first.
    starts: Box<[usize]>,
    count: usize,
    /// The number of the first directory among the nodes; the others follow it.
    first_dir: usize,
}

/// A run that is being read from the file system: which directory it is of, and its place there.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) dir: usize,
    pub(crate) index: usize,
    pub(crate) run: Run,
    /// Of each directory in it, whether it goes if nothing is in it.
    pub(crate) only_with_content: Vec<bool>,
}

/// Packs nodes.
#[derive(Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    count: usize,
    dirs: usize,
    /// The attributes of the group's first, and the name of the one before.
    base: Option<Metadata>,
    name: Vec<u8>,
    body: Vec<u8>,
}

/// Some nodes of a directory, for one thread to work on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    dir: DirNumber,
    run: usize,
    group: usize,
    groups: usize,
}

/// Goes through nodes in the order of their names.
#[derive(Debug, Clone)]
pub(crate) struct Nodes<'a> {
    tree: &'a Tree,
    runs: std::slice::Iter<'a, Run>,
    run: Reading<'a>,
}

/// Goes through the nodes of a run.
#[derive(Debug, Clone, Default)]
struct Reading<'a> {
    packed: Unpack<'a>,
    /// The group's place of the next node, and how many nodes are left.
    index: usize,
    left: usize,
    first_dir: usize,
    base: Option<Metadata>,
    name: Vec<u8>,
}

impl Tree {
    /// Puts directories together, of which there are `dirs`: the number of each is higher than that
    /// of the one it is in.
    pub(crate) fn new(dirs: usize, mut parts: Vec<Part>) -> Self {
        parts.sort_unstable_by_key(|part| (part.dir, part.index));
        let mut folders: Vec<Folder> = Vec::new();
        folders.resize_with(dirs, Folder::default);
        let mut runs = Vec::new();
        // The deepest first. Parts of one directory come last part first.
        while let Some(part) = parts.pop() {
            let mut gone = 0;
            for (number, only_with_content) in part.only_with_content.iter().enumerate() {
                let below = &mut folders[part.run.first_dir + number];
                below.is_gone = *only_with_content && below.count == 0;
                gone += usize::from(below.is_gone);
            }
            folders[part.dir].count += part.run.count - gone;
            // Filters may leave nothing of a part; `find` needs the name of each run's first node.
            if part.run.count > 0 {
                runs.push(part.run);
            }
            if parts.last().is_none_or(|next| next.dir != part.dir) {
                runs.reverse();
                folders[part.dir].runs = runs.drain(..).collect();
            }
        }
        Self {
            folders: folders.into(),
        }
    }

    /// How many nodes there are, the directory itself not among them.
    pub(crate) fn count(&self) -> usize {
        self.folders.iter().map(|folder| folder.count).sum()
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.folders.first().is_none_or(|folder| folder.count == 0)
    }

    /// What is in a directory.
    pub(crate) fn nodes(&self, dir: DirNumber) -> Nodes<'_> {
        let runs = self.folders.get(dir.0).map(|folder| &*folder.runs);
        Nodes {
            tree: self,
            runs: runs.unwrap_or_default().iter(),
            run: Reading::default(),
        }
    }

    /// What is in a directory, in batches of at most so many nodes, rounded up to whole groups.
    pub(crate) fn batches(&self, dir: DirNumber, nodes: usize) -> impl Iterator<Item = Batch> {
        let groups = nodes.div_ceil(GROUP);
        let runs = self.folders.get(dir.0).map(|folder| &*folder.runs);
        let runs = runs.unwrap_or_default().iter().enumerate();
        runs.flat_map(move |(run, packed)| {
            let batch = move |group| Batch {
                dir,
                run,
                group,
                groups,
            };
            (0..packed.count.div_ceil(GROUP)).step_by(groups).map(batch)
        })
    }

    /// The nodes of a batch.
    pub(crate) fn batch(&self, batch: Batch) -> Nodes<'_> {
        let run = &self.folders[batch.dir.0].runs[batch.run];
        Nodes {
            tree: self,
            runs: [].iter(),
            run: run.read(batch.group, batch.groups * GROUP),
        }
    }

    /// The node that a path of plain names leads to from the directory that all is below.
    pub(crate) fn find(&self, path: &Path) -> Option<Node> {
        let mut names = path.iter();
        let mut node = self.find_in(DirNumber(0), names.next()?)?;
        for name in names {
            let NodeKind::Dir(dir) = node.kind else {
                return None;
            };
            node = self.find_in(dir, name)?;
        }
        Some(node)
    }

    fn find_in(&self, dir: DirNumber, name: &OsStr) -> Option<Node> {
        let name = name.as_bytes();
        let runs = &self.folders.get(dir.0)?.runs;
        let after = runs.partition_point(|run| run.first_name(0) <= name);
        let node = runs[after.checked_sub(1)?].find(name)?;
        (!self.is_gone(&node)).then_some(node)
    }

    fn is_gone(&self, node: &Node) -> bool {
        match node.kind {
            NodeKind::Dir(dir) => self.folders[dir.0].is_gone,
            _ => false,
        }
    }
}

impl Run {
    /// The name of the group's first node.
    fn first_name(&self, group: usize) -> &[u8] {
        let mut packed = self.group(group);
        // It is not like any other.
        packed.number();
        packed.bytes()
    }

    fn group(&self, group: usize) -> Unpack<'_> {
        let start = group.checked_sub(1).map_or(0, |at| self.starts[at]);
        Unpack::new(&self.bytes[start..])
    }

    fn read(&self, group: usize, most: usize) -> Reading<'_> {
        Reading {
            packed: self.group(group),
            index: 0,
            left: most.min(self.count - group * GROUP),
            first_dir: self.first_dir,
            base: None,
            name: Vec::with_capacity(USUAL_NAME),
        }
    }

    /// The node of this name, which is not before the first.
    fn find(&self, name: &[u8]) -> Option<Node> {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if self.first_name(middle) <= name {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.read(low, GROUP).find(name)
    }
}

impl Packer {
    /// For so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(nodes * USUAL_BYTES),
            starts: Vec::with_capacity(nodes / GROUP),
            name: Vec::with_capacity(USUAL_NAME),
            body: Vec::with_capacity(USUAL_BYTES),
            ..Self::default()
        }
    }

    /// Adds a node. A directory's number is not kept: see [`Packer::finish`].
    pub(crate) fn push(&mut self, node: &Node) {
        if self.count.is_multiple_of(GROUP) {
            if self.count > 0 {
                self.starts.push(self.bytes.len());
            }
            self.base = None;
            self.name.clear();
        }
        let name = node.name.as_bytes();
        put_like(&mut self.bytes, name, &self.name);
        self.name.clear();
        self.name.extend_from_slice(name);
        self.body.clear();
        put_body(&mut self.body, node, self.base.as_ref().unwrap_or(&NOTHING));
        if matches!(node.kind, NodeKind::Dir(_)) {
            put_number(&mut self.body, self.dirs as u64);
            self.dirs += 1;
        }
        put_bytes(&mut self.bytes, &self.body);
        self.base.get_or_insert(node.metadata);
        self.count += 1;
    }

    /// The run. Its directories get numbers from `first_dir` on, in their order.
    pub(crate) fn finish(self, first_dir: usize) -> Run {
        Run {
            bytes: self.bytes.as_slice().into(),
            starts: self.starts.into(),
            count: self.count,
            first_dir,
        }
    }
}

impl Reading<'_> {
    fn next(&mut self) -> Option<Node> {
        self.left = self.left.checked_sub(1)?;
        if self.index.is_multiple_of(GROUP) {
            self.base = None;
            self.name.clear();
        }
        self.index += 1;
        self.packed.like(&mut self.name);
        let body = Unpack::new(self.packed.bytes());
        let base = self.base.as_ref().unwrap_or(&NOTHING);
        let node = unpack(&self.name, body, base, self.first_dir);
        self.base.get_or_insert(node.metadata);
        Some(node)
    }

    /// The node of this name in the group. Only the first one is unpacked on the way.
    fn find(mut self, name: &[u8]) -> Option<Node> {
        let first = self.next()?;
        if first.name.as_bytes() == name {
            return Some(first);
        }
        while self.left > 0 {
            self.left -= 1;
            self.packed.like(&mut self.name);
            let body = self.packed.bytes();
            match self.name.as_slice().cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => {
                    let body = Unpack::new(body);
                    return Some(unpack(name, body, &first.metadata, self.first_dir));
                }
                Ordering::Greater => return None,
            }
        }
        None
    }
}

impl Iterator for Nodes<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            match self.run.next() {
                Some(node) if self.tree.is_gone(&node) => {}
                Some(node) => return Some(node),
                None => self.run = self.runs.next()?.read(0, usize::MAX),
            }
        }
    }
}
