//! The nodes of a selected tree, packed: there may be half a million of them, which all stay in
//! memory until they are copied.
//!
//! A node takes about 25 bytes: names begin as the ones before them, and attributes are near those
//! of the first of each group. Reading goes from node to node; a name is searched by groups.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use kiln_base::packed::{Unpack, put_bytes, put_like, put_near, put_number};
use kiln_sys::fs::{Device, FileTime, FileType, Metadata};
use kiln_sys::xattr::Xattr;

use crate::name::Name;

/// So many nodes are packed relative to the first of them.
const GROUP: usize = 16;

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

/// Which parts of a node's attributes are not written down, as they are the group's first's, or what
/// nearly all have.
mod flag {
    pub(super) const SAME_MODE: u8 = 1;
    pub(super) const SAME_OWNER: u8 = 2;
    pub(super) const SAME_DEVICE: u8 = 4;
    pub(super) const ONE_NAME: u8 = 8;
    pub(super) const NO_RDEV: u8 = 16;
    pub(super) const SAME_TIMES: u8 = 32;
    pub(super) const IMPLIED: u8 = 64;
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
            runs.push(part.run);
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
            name: Vec::new(),
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

/// What the first node of a group is packed relative to.
const NOTHING: Metadata = Metadata {
    file_type: FileType::File,
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    blocks: 0,
    mtime: FileTime::EPOCH,
    ctime: FileTime::EPOCH,
    rdev: Device { major: 0, minor: 0 },
    nlink: 1,
    ino: 0,
    dev: Device { major: 0, minor: 0 },
};

fn put_body(body: &mut Vec<u8>, node: &Node, base: &Metadata) {
    let metadata = &node.metadata;
    let same_mode = (metadata.file_type, metadata.mode) == (base.file_type, base.mode);
    let same_owner = metadata.owner() == base.owner();
    let flags = [
        (flag::SAME_MODE, same_mode),
        (flag::SAME_OWNER, same_owner),
        (flag::SAME_DEVICE, metadata.dev == base.dev),
        (flag::ONE_NAME, metadata.nlink == 1),
        (flag::NO_RDEV, metadata.rdev == Device::default()),
        (flag::SAME_TIMES, metadata.ctime == metadata.mtime),
        (flag::IMPLIED, node.implied),
    ];
    let flags = flags.iter().filter(|(_, is_set)| *is_set);
    let flags = flags.fold(0, |flags, (flag, _)| flags | flag);
    body.push(flags);
    if flags & flag::SAME_MODE == 0 {
        body.push(type_to_byte(metadata.file_type));
        put_number(body, metadata.mode.into());
    }
    if flags & flag::SAME_OWNER == 0 {
        put_number(body, metadata.uid.into());
        put_number(body, metadata.gid.into());
    }
    if flags & flag::SAME_DEVICE == 0 {
        put_number(body, metadata.dev.major.into());
        put_number(body, metadata.dev.minor.into());
    }
    if flags & flag::ONE_NAME == 0 {
        put_number(body, metadata.nlink.into());
    }
    if flags & flag::NO_RDEV == 0 {
        put_number(body, metadata.rdev.major.into());
        put_number(body, metadata.rdev.minor.into());
    }
    put_near(body, metadata.ino, base.ino);
    put_number(body, metadata.size);
    put_number(body, metadata.blocks);
    put_time(body, metadata.mtime, base.mtime);
    if flags & flag::SAME_TIMES == 0 {
        put_time(body, metadata.ctime, metadata.mtime);
    }
    match &node.kind {
        NodeKind::Symlink(target) => put_bytes(body, target.as_bytes()),
        NodeKind::Dir(_) => {
            put_number(body, node.xattrs.len() as u64);
            for (name, value) in &node.xattrs {
                put_bytes(body, name.as_bytes());
                put_bytes(body, value);
            }
        }
        NodeKind::File | NodeKind::Fifo | NodeKind::Device | NodeKind::Socket => {}
    }
}

fn put_time(body: &mut Vec<u8>, time: FileTime, known: FileTime) {
    let seconds = (time.seconds.cast_unsigned(), known.seconds.cast_unsigned());
    put_near(body, seconds.0, seconds.1);
    put_near(body, time.nanoseconds.into(), known.nanoseconds.into());
}

fn time(body: &mut Unpack<'_>, known: FileTime) -> FileTime {
    let seconds = body.near(known.seconds.cast_unsigned()).cast_signed();
    let nanoseconds = body.near(known.nanoseconds.into());
    FileTime {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
    }
}

/// All but the name.
fn unpack(name: &[u8], mut body: Unpack<'_>, base: &Metadata, first_dir: usize) -> Node {
    let flags = body.byte();
    let mut metadata = *base;
    if flags & flag::SAME_MODE == 0 {
        metadata.file_type = byte_to_type(body.byte());
        metadata.mode = body.number32();
    }
    if flags & flag::SAME_OWNER == 0 {
        metadata.uid = body.number32();
        metadata.gid = body.number32();
    }
    if flags & flag::SAME_DEVICE == 0 {
        metadata.dev.major = body.number32();
        metadata.dev.minor = body.number32();
    }
    metadata.nlink = match flags & flag::ONE_NAME {
        0 => body.number32(),
        _ => 1,
    };
    metadata.rdev = Device::default();
    if flags & flag::NO_RDEV == 0 {
        metadata.rdev.major = body.number32();
        metadata.rdev.minor = body.number32();
    }
    metadata.ino = body.near(base.ino);
    metadata.size = body.number();
    metadata.blocks = body.number();
    metadata.mtime = time(&mut body, base.mtime);
    metadata.ctime = match flags & flag::SAME_TIMES {
        0 => time(&mut body, metadata.mtime),
        _ => metadata.mtime,
    };
    let mut xattrs = Box::default();
    let kind = match metadata.file_type {
        FileType::File => NodeKind::File,
        FileType::Dir => {
            let count = body.count();
            let xattr = |_| (os_string(body.bytes()), body.bytes().to_vec());
            xattrs = (0..count).map(xattr).collect();
            NodeKind::Dir(DirNumber(first_dir + body.count()))
        }
        FileType::Symlink => NodeKind::Symlink(OsStr::from_bytes(body.bytes()).into()),
        FileType::Fifo => NodeKind::Fifo,
        FileType::CharDevice | FileType::BlockDevice => NodeKind::Device,
        FileType::Socket => NodeKind::Socket,
    };
    Node {
        name: OsStr::from_bytes(name).into(),
        metadata,
        xattrs,
        implied: flags & flag::IMPLIED != 0,
        kind,
    }
}

fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// The types by the number that they are packed as.
const TYPES: [FileType; 7] = [
    FileType::File,
    FileType::Dir,
    FileType::Symlink,
    FileType::Fifo,
    FileType::CharDevice,
    FileType::BlockDevice,
    FileType::Socket,
];

const fn type_to_byte(file_type: FileType) -> u8 {
    match file_type {
        FileType::File => 0,
        FileType::Dir => 1,
        FileType::Symlink => 2,
        FileType::Fifo => 3,
        FileType::CharDevice => 4,
        FileType::BlockDevice => 5,
        FileType::Socket => 6,
    }
}

fn byte_to_type(byte: u8) -> FileType {
    TYPES[usize::from(byte)]
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

#[cfg(test)]
mod tests;
