//! Is what is mounted the tree that was written?

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;

use kiln_disk::{Content, Contents, DirEntry, Inode, Node, NodeId, Segment, Tree};
use kiln_sys::fs::{Dir, Entry, FileTime, Metadata};

/// How faithful a file system is, where they differ.
#[derive(Debug, Clone, Default)]
pub struct Fidelity {
    /// Whether modification times have nanoseconds.
    pub nanoseconds: bool,
    /// Directories that the writer adds to the root, as `lost+found`; they count as links of it.
    pub added: Vec<&'static [u8]>,
    /// Directories with more links than this have the count 1.
    pub most_directory_links: Option<u32>,
}

/// More differences than this help nobody.
const MOST: usize = 20;
/// Files larger than this are compared where they have data, and around it.
const LARGE: u64 = 8 << 20;
/// So many bytes of a hole next to data are read.
const AROUND: u64 = 64 << 10;

/// What is different in the directory `mounted` (read by root) from the tree, one in a line; at
/// most 20 lines. Compared are names, types, modes, owners, modification times, link counts, which
/// names are one inode, devices, targets, extended attributes, sizes and contents.
pub fn differences(
    tree: &Tree,
    contents: &dyn Contents,
    mounted: &Path,
    fidelity: &Fidelity,
) -> Vec<String> {
    let root = Dir::open(mounted).expect("it is mounted");
    let mut comparison = Comparison {
        tree,
        contents,
        fidelity,
        links: tree.link_counts(),
        inodes: HashMap::new(),
        nodes: HashMap::new(),
        found: Vec::new(),
    };
    comparison.entry(&root, Dir::ITSELF.as_ref(), Tree::ROOT, b"");
    let root = Rc::new(root);
    let mut pending: Vec<Pending> = Vec::new();
    let mut current = Some((root, Tree::ROOT, Vec::new()));
    while let Some((dir, id, path)) = current.take() {
        for (name, id) in comparison.directory(&dir, id, &path) {
            let path = joined(&path, &name);
            let parent = Rc::clone(&dir);
            pending.push(Pending {
                parent,
                name,
                id,
                path,
            });
        }
        while let (None, Some(next)) = (&current, pending.pop()) {
            match next.parent.open_dir(OsStr::from_bytes(&next.name)) {
                Ok(opened) => current = Some((Rc::new(opened), next.id, next.path)),
                Err(error) => comparison.note(&next.path, &error.to_string()),
            }
        }
        if comparison.found.len() >= MOST {
            break;
        }
    }
    comparison.found.truncate(MOST);
    comparison.found
}

/// A directory still to be compared: deep trees would overflow a stack, and wide ones take too many
/// handles.
struct Pending {
    parent: Rc<Dir>,
    name: Vec<u8>,
    id: NodeId,
    path: Vec<u8>,
}

struct Comparison<'a> {
    tree: &'a Tree,
    contents: &'a dyn Contents,
    fidelity: &'a Fidelity,
    links: Vec<u32>,
    /// Which number each inode of the tree has, and the reverse.
    inodes: HashMap<NodeId, u64>,
    nodes: HashMap<u64, NodeId>,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn note(&mut self, path: &[u8], what: &str) {
        if self.found.len() < MOST {
            self.found.push(format!("/{}: {what}", path.escape_ascii()));
        }
    }

    fn note_unequal<T: PartialEq + std::fmt::Debug>(
        &mut self,
        path: &[u8],
        what: &str,
        values: (T, T),
    ) {
        let (expected, found) = values;
        if expected != found {
            self.note(path, &format!("{what} is {found:?}, not {expected:?}"));
        }
    }

    /// Compares the names and everything but what is in directories, which are returned.
    fn directory(&mut self, dir: &Dir, id: NodeId, path: &[u8]) -> Vec<(Vec<u8>, NodeId)> {
        let found = dir.entries().expect("root may list everything");
        let mut found = found.iter().peekable();
        let mut below = Vec::new();
        let tree = self.tree;
        for DirEntry { name, id: child } in tree.entries(id) {
            while let Some(extra) = found.next_if(|entry| entry.name.as_bytes() < &name[..]) {
                self.extra(path, extra);
            }
            let path = joined(path, name);
            if found
                .next_if(|entry| entry.name.as_bytes() == &name[..])
                .is_none()
            {
                self.note(&path, "is missing");
                continue;
            }
            self.entry(dir, OsStr::from_bytes(name), *child, &path);
            if matches!(tree.inode(*child).node, Node::Directory(_)) {
                below.push((name.to_vec(), *child));
            }
        }
        for extra in found {
            self.extra(path, extra);
        }
        below
    }

    fn extra(&mut self, path: &[u8], entry: &Entry) {
        let name = entry.name.as_bytes();
        if !(path.is_empty() && self.fidelity.added.contains(&name)) {
            self.note(&joined(path, name), "should not be there");
        }
    }

    fn entry(&mut self, dir: &Dir, name: &OsStr, id: NodeId, path: &[u8]) {
        let metadata = match dir.metadata(name) {
            Ok(metadata) => metadata,
            Err(error) => return self.note(path, &error.to_string()),
        };
        let inode = self.tree.inode(id);
        self.metadata(inode, id, &metadata, path);
        if self.inodes.insert(id, metadata.ino).is_some() {
            // Another name of what was compared.
            return;
        }
        match dir.xattrs(name) {
            Ok(found) => {
                let expected = inode.attributes.xattrs.clone();
                self.note_unequal(path, "the attributes", (expected, found));
            }
            Err(error) => self.note(path, &error.to_string()),
        }
        match &inode.node {
            Node::Symlink(target) => match dir.read_link(name) {
                Ok(found) => self.note_unequal(path, "the target", (&target[..], found.as_bytes())),
                Err(error) => self.note(path, &error.to_string()),
            },
            Node::File(file) if metadata.is_file() => match dir.open_file(name) {
                Ok(opened) => self.content(file, &opened, path),
                Err(error) => self.note(path, &error.to_string()),
            },
            _ => {}
        }
    }

    fn metadata(&mut self, inode: &Inode, id: NodeId, found: &Metadata, path: &[u8]) {
        let attributes = &inode.attributes;
        self.note_unequal(path, "the type", (type_of(&inode.node), found.file_type));
        self.note_unequal(path, "the mode", (attributes.mode, found.mode));
        self.note_unequal(path, "the owner", (attributes.uid, found.uid));
        self.note_unequal(path, "the group", (attributes.gid, found.gid));
        let mtime = if self.fidelity.nanoseconds {
            attributes.mtime
        } else {
            FileTime::from_seconds(attributes.mtime.seconds)
        };
        self.note_unequal(path, "the time", (mtime, found.mtime));
        let mut links = self.links[id.as_usize()];
        if id == Tree::ROOT {
            let missing = |name: &&&[u8]| self.tree.child(Tree::ROOT, name).is_none();
            links += u32::try_from(self.fidelity.added.iter().filter(missing).count()).unwrap_or(0);
        }
        if found.is_dir()
            && self
                .fidelity
                .most_directory_links
                .is_some_and(|most| links > most)
        {
            links = 1;
        }
        self.note_unequal(path, "the link count", (links, found.nlink));
        if let Node::CharDevice(device) | Node::BlockDevice(device) = inode.node {
            self.note_unequal(path, "the device", (device, found.rdev));
        }
        if let Node::File(file) = &inode.node {
            self.note_unequal(path, "the size", (file.size, found.size));
        }
        let known = *self.nodes.entry(found.ino).or_insert(id);
        let again = self.inodes.get(&id).copied().unwrap_or(found.ino);
        if known != id || again != found.ino {
            self.note(path, "is a name of another inode");
        }
    }

    fn content(&mut self, file: &kiln_disk::File, found: &File, path: &[u8]) {
        let stored = match &file.content {
            Content::Bytes(_) => None,
            Content::Stored(key) | Content::Sparse(key, _) => {
                Some(self.contents.open(*key).expect("the test made it"))
            }
        };
        let mut expected = vec![0; 1 << 16];
        let mut read = vec![0; 1 << 16];
        for part in compared_parts(file) {
            let (mut at, end) = (part.offset, part.offset + part.length);
            while at < end {
                let length = usize::try_from((end - at).min(1 << 16)).expect("it is small");
                match (&file.content, &stored) {
                    (Content::Bytes(bytes), _) => {
                        let start = usize::try_from(at).expect("it is in memory");
                        expected[..length].copy_from_slice(&bytes[start..start + length]);
                    }
                    (_, stored) => {
                        let stored = stored.as_ref().expect("it was opened");
                        let read = stored.read_exact_at(&mut expected[..length], at);
                        read.expect("the file is as long as the tree says");
                    }
                }
                if let Err(error) = found.read_exact_at(&mut read[..length], at) {
                    return self.note(path, &format!("at {at}: {error}"));
                }
                if expected[..length] != read[..length] {
                    return self.note(path, &format!("the content differs at {at} or soon after"));
                }
                at += length as u64;
            }
        }
    }
}

/// The whole file; of a large one with holes, data and the holes' ends.
fn compared_parts(file: &kiln_disk::File) -> Vec<Segment> {
    let whole = Segment {
        offset: 0,
        length: file.size,
    };
    if file.size <= LARGE || !matches!(file.content, Content::Sparse(..)) {
        return vec![whole];
    }
    let around = |segment: Segment| {
        let offset = segment.offset.saturating_sub(AROUND);
        let end = (segment.offset + segment.length + AROUND).min(file.size);
        Segment {
            offset,
            length: end - offset,
        }
    };
    let last = Segment {
        offset: file.size,
        length: 0,
    };
    let segments = file.segments().into_iter().chain([last]);
    segments.map(around).collect()
}

fn type_of(node: &Node) -> kiln_sys::fs::FileType {
    use kiln_sys::fs::FileType;
    match node {
        Node::Directory(_) => FileType::Dir,
        Node::File(_) => FileType::File,
        Node::Symlink(_) => FileType::Symlink,
        Node::CharDevice(_) => FileType::CharDevice,
        Node::BlockDevice(_) => FileType::BlockDevice,
        Node::Fifo => FileType::Fifo,
        Node::Socket => FileType::Socket,
    }
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = path.to_vec();
    if !joined.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}
