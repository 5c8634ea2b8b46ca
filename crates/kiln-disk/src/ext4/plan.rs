//! What is on a disk: which inode each file has, what each takes, and whether it can be there.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use super::dir;
use super::format::{BLOCK, BLOCK_LEN, FILE_BLOCKS_MAX, FIRST_INO, LINKS_MAX, ROOT_INO};
use super::layout::Layout;
use super::options::{Options, PlanError};
use super::xattr::{self, Problem, SHARED_MAX};
use crate::tree::{Content, File, Inode, Node, NodeId, Tree};

/// The directory in which `e2fsck` puts what it finds.
pub(super) const LOST_FOUND: &[u8] = b"lost+found";
/// It has so many blocks, since a damaged disk may have none to give.
pub(super) const LOST_FOUND_BLOCKS: u32 = 4;
/// Targets shorter than this are in the inode.
pub(super) const SHORT_TARGET: usize = 60;

/// A disk that was thought through: its size is known, and nothing is written.
#[derive(Debug)]
pub struct Plan {
    pub(super) options: Options,
    pub(super) census: Census,
    pub(super) layout: Layout,
}

/// What there is to place.
#[derive(Debug)]
pub(super) struct Census {
    /// The inode of each node of the tree; 0 for what no name leads to.
    pub(super) numbers: Vec<u32>,
    /// The node of each inode; none for those that are the file system's own.
    pub(super) nodes: Vec<Option<NodeId>>,
    /// How many names each node has.
    pub(super) links: Vec<u32>,
    /// By inode.
    pub(super) directories: Vec<Directory>,
    /// Which inode has which block of attributes, by inode.
    pub(super) xattr_users: Vec<(u32, u32)>,
    pub(super) xattr_blocks: Vec<XattrBlock>,
    /// Whether `lost+found` is the writer's.
    pub(super) adds_lost_found: bool,
    /// Whether an index has more levels than the format first had.
    pub(super) has_large_directory: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    pub(super) inode: u32,
    pub(super) parent: u32,
    pub(super) blocks: u32,
}

/// A block of attributes, and how many inodes share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct XattrBlock {
    /// One of them.
    pub(super) node: NodeId,
    pub(super) users: u32,
}

/// Lays a tree out as a disk.
///
/// # Errors
///
/// See [`PlanError`]: what ext4 can't hold, by path.
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, PlanError> {
    if options.label.len() > 16 {
        return Err(PlanError::Label(options.label.clone()));
    }
    if options.uuid == [0; 16] {
        return Err(PlanError::Uuid);
    }
    let census = Census::new(tree, options)?;
    let layout = Layout::new(tree, &census, options)?;
    Ok(Plan {
        options: options.clone(),
        census,
        layout,
    })
}

impl Plan {
    /// The disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.layout.blocks * BLOCK
    }

    /// How many bytes of that are free for files.
    pub fn free_bytes(&self) -> u64 {
        self.layout.free_blocks() * BLOCK
    }

    /// How many inodes there are.
    pub fn inodes(&self) -> u32 {
        self.layout.inodes()
    }
}

impl Census {
    fn new(tree: &Tree, options: &Options) -> Result<Self, PlanError> {
        let own = tree.child(Tree::ROOT, LOST_FOUND);
        let own_directory = own.filter(|id| matches!(tree.inode(*id).node, Node::Directory(_)));
        let mut nodes = vec![None; FIRST_INO as usize];
        nodes[ROOT_INO as usize] = Some(Tree::ROOT);
        if own_directory.is_some() || own.is_none() {
            nodes.push(own_directory);
        }
        let mut census = Self {
            numbers: vec![0; tree.len()],
            nodes,
            links: tree.link_counts(),
            directories: Vec::new(),
            xattr_users: Vec::new(),
            xattr_blocks: Vec::new(),
            adds_lost_found: own.is_none(),
            has_large_directory: false,
        };
        census.number(tree)?;
        census.size_directories(tree, options);
        census.share_xattrs(tree);
        Ok(census)
    }

    /// The largest number of an inode that is used.
    pub(super) fn last(&self) -> u32 {
        u32::try_from(self.nodes.len() - 1).expect("a tree has fewer inodes")
    }

    /// The names of a directory.
    pub(super) fn names<'a>(&self, tree: &'a Tree, id: NodeId) -> Vec<dir::Name<'a>> {
        let entries = tree.entries(id).iter();
        let names = entries.map(|entry| dir::Name {
            bytes: &entry.name,
            inode: self.numbers[entry.id.as_usize()],
            file_type: super::inode::type_of(&tree.inode(entry.id).node).1,
        });
        let lost_found = dir::Name {
            bytes: LOST_FOUND,
            inode: FIRST_INO,
            file_type: super::format::DIR_TYPE,
        };
        let is_added = id == Tree::ROOT && self.adds_lost_found;
        names.chain(is_added.then_some(lost_found)).collect()
    }

    /// A directory by its inode.
    pub(super) fn directory(&self, inode: u32) -> Option<&Directory> {
        let at = self
            .directories
            .binary_search_by_key(&inode, |directory| directory.inode);
        Some(&self.directories[at.ok()?])
    }

    /// Gives each node an inode in the order of a walk, and checks it.
    fn number(&mut self, tree: &Tree) -> Result<(), PlanError> {
        for (number, node) in (0_u32..).zip(&self.nodes) {
            if let Some(id) = node {
                self.numbers[id.as_usize()] = number;
            }
        }
        let mut checked = vec![false; tree.len()];
        let mut failed = None;
        tree.walk(|path, id| {
            if failed.is_some() || std::mem::replace(&mut checked[id.as_usize()], true) {
                return;
            }
            failed = check(path, tree.inode(id), self.links[id.as_usize()]).err();
            if self.numbers[id.as_usize()] == 0 {
                match u32::try_from(self.nodes.len()) {
                    Ok(number) => self.numbers[id.as_usize()] = number,
                    Err(_) => failed = Some(PlanError::TooLarge),
                }
                self.nodes.push(Some(id));
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn size_directories(&mut self, tree: &Tree, options: &Options) {
        for (inode, node) in (0_u32..).zip(&self.nodes) {
            let Some(id) = node else {
                if inode == FIRST_INO && self.adds_lost_found {
                    self.directories.push(Directory {
                        inode,
                        parent: ROOT_INO,
                        blocks: LOST_FOUND_BLOCKS,
                    });
                }
                continue;
            };
            let Node::Directory(entries) = &tree.inode(*id).node else {
                continue;
            };
            let is_root = *id == Tree::ROOT;
            let added = (is_root && self.adds_lost_found).then_some(LOST_FOUND);
            let names = entries.iter().map(|entry| &*entry.name).chain(added);
            let (blocks, levels) = dir::size(names, &options.hash_seed);
            self.has_large_directory |= dir::is_large(levels);
            self.directories.push(Directory {
                inode,
                parent: ROOT_INO,
                blocks,
            });
        }
        for at in 0..self.directories.len() {
            let parent = self.directories[at].inode;
            let Some(id) = self.nodes[parent as usize] else {
                continue;
            };
            for entry in tree.entries(id) {
                if matches!(tree.inode(entry.id).node, Node::Directory(_)) {
                    let inode = self.numbers[entry.id.as_usize()];
                    let child = self
                        .directories
                        .binary_search_by_key(&inode, |directory| directory.inode);
                    self.directories[child.expect("it is a directory")].parent = parent;
                }
            }
        }
    }

    /// Finds out which inodes need a block of attributes, and which have the same.
    fn share_xattrs(&mut self, tree: &Tree) {
        let block_of = |id: NodeId| {
            let encoded = xattr::encode(&tree.inode(id).attributes.xattrs);
            encoded.expect("it was checked").block
        };
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut known: HashMap<u64, Vec<u32>> = HashMap::new();
        for (inode, node) in (0_u32..).zip(&self.nodes) {
            let Some(id) = *node else { continue };
            if tree.inode(id).attributes.xattrs.is_empty() {
                continue;
            }
            let Some(block) = block_of(id) else { continue };
            let alike = known.entry(hasher.hash_one(&block[..])).or_default();
            let shared = alike.iter().copied().find(|at| {
                let other = &self.xattr_blocks[*at as usize];
                other.users < SHARED_MAX && block_of(other.node).as_ref() == Some(&block)
            });
            let at = shared.unwrap_or_else(|| {
                let at = u32::try_from(self.xattr_blocks.len()).expect("fewer than inodes");
                self.xattr_blocks.push(XattrBlock { node: id, users: 0 });
                // A full one is of no more use.
                alike.clear();
                alike.push(at);
                at
            });
            self.xattr_blocks[at as usize].users += 1;
            self.xattr_users.push((inode, at));
        }
    }
}

/// Whether an inode can be on an ext4.
fn check(path: &[u8], inode: &Inode, links: u32) -> Result<(), PlanError> {
    let path = || Box::from(path);
    match &inode.node {
        Node::File(file) => check_file(file).map_err(|problem| problem(path()))?,
        Node::Symlink(target) if target.is_empty() || target.len() >= BLOCK_LEN => {
            return Err(PlanError::Target {
                path: path(),
                length: target.len(),
            });
        }
        Node::CharDevice(device) | Node::BlockDevice(device)
            if device.major > 0xfff || device.minor > 0xf_ffff =>
        {
            return Err(PlanError::Device {
                path: path(),
                major: device.major,
                minor: device.minor,
            });
        }
        _ => {}
    }
    if links > LINKS_MAX && !matches!(inode.node, Node::Directory(_)) {
        return Err(PlanError::Links {
            path: path(),
            count: links,
        });
    }
    let Err(problem) = xattr::encode(&inode.attributes.xattrs) else {
        return Ok(());
    };
    Err(match problem {
        Problem::Space(bytes) => PlanError::XattrSpace {
            path: path(),
            bytes,
        },
        Problem::Name(name) => PlanError::XattrName {
            path: path(),
            name: name.to_string_lossy().into_owned(),
        },
        Problem::Acl(name) => PlanError::Acl {
            path: path(),
            name: name.to_string_lossy().into_owned(),
        },
    })
}

fn check_file(file: &File) -> Result<(), impl FnOnce(Box<[u8]>) -> PlanError + use<>> {
    let size = file.size;
    let is_consistent = match &file.content {
        Content::Bytes(bytes) => bytes.len() as u64 == size,
        Content::Stored(_) => true,
        Content::Sparse(_, segments) => {
            let mut end = 0;
            segments.iter().all(|segment| {
                let is_after = segment.offset >= end && segment.length > 0;
                match segment.offset.checked_add(segment.length) {
                    Some(next) => end = next,
                    None => return false,
                }
                is_after && end <= size
            })
        }
    };
    let is_small = size.div_ceil(BLOCK) <= FILE_BLOCKS_MAX;
    if is_consistent && is_small {
        return Ok(());
    }
    Err(move |path| {
        if is_small {
            PlanError::Content { path }
        } else {
            PlanError::FileSize { path, size }
        }
    })
}
