//! The digest of everything that decides what a copy leaves behind.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_sys::files::read_up_to;
use kiln_sys::fs::{Device, Dir, FileTime, Metadata, Owner, file_metadata};
use kiln_sys::xattr;

use crate::copy::NewAttributes;
use crate::error::DigestError;
use crate::hasher::Hasher;
use crate::nodes::{Node, NodeKind, Nodes, Tree as Below};
use crate::parallel;
use crate::select::{Content as Selected, CopyItem, Selection};
use crate::stat_cache::{FileDigest, FileStamp, StatCache};
use crate::xattrs::is_kept;

/// So many files are looked up or read by one thread before it looks for more.
const BATCH: usize = 128;
const BUFFER_BYTES: usize = 128 * 1024;
/// So many nodes are looked up, read and hashed before the next.
const PART: usize = 4096;
/// What most paths take less than.
const USUAL_PATH: usize = 64;

/// BLAKE3 over the paths, types, modes, owners, link targets, kept extended attributes, contents
/// and hard links of a [`Selection`], as its copy will write them; not over times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest([u8; 32]);

/// What a digest depends on beside the selection.
#[derive(Clone, Copy)]
pub struct DigestOptions<'a> {
    /// What the copy will set: attributes that it overrides are not part of the digest.
    pub attributes: &'a NewAttributes,
    /// Knows the files that need not be read.
    pub cache: &'a dyn StatCache,
    /// The time now. A file that changed just before is read, but not put into the cache: it may
    /// change again without a new time.
    pub now: FileTime,
}

impl ContentDigest {
    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({})", blake3::Hash::from_bytes(self.0))
    }
}

impl fmt::Debug for DigestOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestOptions")
            .field("attributes", self.attributes)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Selection {
    /// Digests the selection, reading the files that the cache does not know on several threads.
    pub fn digest(
        &self,
        options: &DigestOptions<'_>,
        cancel: &CancelToken,
    ) -> Result<ContentDigest, DigestError> {
        let mut hasher = Hasher::new("kiln selection");
        for item in &self.items {
            if !item.is_dir() {
                hasher.bytes(item.name.as_bytes());
            }
            match &item.content {
                Selected::Inline(file) => {
                    hasher.bytes(b"inline");
                    hasher.number(options.attributes.mode_of(file.mode, false));
                    hasher.bytes(&file.content);
                }
                Selected::Tree { .. } => hash_tree(item, options, cancel, &mut hasher)?,
            }
        }
        Ok(ContentDigest(hasher.finish()))
    }
}

/// The tree of one item, as its digest goes through it: in parts, so that the memory that it takes
/// does not grow with the tree.
struct Tree<'a> {
    reader: Reader<'a>,
    nodes: &'a Below,
    /// Directories that are not finished: what comes next of each, and the length of its path.
    open: Vec<(Nodes<'a>, usize)>,
    /// The path of the directory that is looked at, from the source's root; the item's first.
    path: Vec<u8>,
    /// Where in it paths below the item begin.
    below: Option<usize>,
    /// How many nodes came before.
    count: usize,
    /// The numbers of those that have several names.
    first_names: HashMap<(Device, u64), usize>,
}

/// Some nodes of a tree, each directory before what is in it.
struct Part {
    nodes: Vec<Flat>,
    /// Their paths from the source's root.
    paths: Vec<u8>,
}

/// One node with its path.
struct Flat {
    path: Range<usize>,
    /// Where the path below the item begins: at its end for the item itself.
    below: usize,
    node: Node,
    content: Content,
}

/// What is known of a node's content.
enum Content {
    /// It has none.
    Nothing,
    /// It is that of the earlier file with this number.
    SameAs(usize),
    Known(FileDigest),
    /// It has to be read.
    Unknown,
}

fn hash_tree(
    item: &CopyItem,
    options: &DigestOptions<'_>,
    cancel: &CancelToken,
    hasher: &mut Hasher,
) -> Result<(), DigestError> {
    let Selected::Tree {
        dir,
        path,
        node,
        below,
    } = &item.content
    else {
        return Ok(());
    };
    let top = match node.kind {
        NodeKind::Dir(_) if node.name != Dir::ITSELF => Some(dir.open_dir(&node.name)?),
        _ => None,
    };
    let mut tree = Tree {
        reader: Reader {
            top: top.as_ref().unwrap_or(dir),
            options,
            cancel,
        },
        nodes: below,
        open: Vec::new(),
        path: path.as_os_str().as_bytes().to_vec(),
        below: None,
        count: 0,
        first_names: HashMap::new(),
    };
    hasher.number(1 + below.count());
    let most = PART.min(1 + below.count());
    let mut part = Part {
        nodes: Vec::with_capacity(most),
        paths: Vec::with_capacity(most * USUAL_PATH),
    };
    tree.add(node.clone(), path.as_os_str().len(), &mut part);
    loop {
        tree.fill(&mut part);
        if part.nodes.is_empty() {
            return Ok(());
        }
        tree.read_unknown(&mut part)?;
        for flat in &part.nodes {
            hash_node(flat, &part.paths, options.attributes, hasher);
            match &flat.content {
                Content::Nothing | Content::Unknown => {}
                Content::SameAs(first) => hasher.number(*first),
                Content::Known(digest) => hasher.bytes(&digest.0),
            }
        }
        part.nodes.clear();
        part.paths.clear();
    }
}

impl Tree<'_> {
    /// Adds nodes until the part is full, or nothing is left.
    fn fill(&mut self, part: &mut Part) {
        while part.nodes.len() < PART {
            let Some((children, length)) = self.open.last_mut() else {
                return;
            };
            self.path.truncate(*length);
            let Some(child) = children.next() else {
                self.open.pop();
                continue;
            };
            if !matches!(self.path.last(), None | Some(b'/')) {
                self.path.push(b'/');
            }
            // What is in the item is the first that has a path below it.
            let below = *self.below.get_or_insert(self.path.len());
            self.path.extend_from_slice(child.name.as_bytes());
            self.add(child, below, part);
        }
    }

    /// Adds the node at the path, and looks up what is known of it.
    fn add(&mut self, node: Node, below: usize, part: &mut Part) {
        let start = part.paths.len();
        part.paths.extend_from_slice(&self.path);
        let metadata = &node.metadata;
        let content = match &node.kind {
            NodeKind::Dir(dir) => {
                self.open.push((self.nodes.nodes(*dir), self.path.len()));
                Content::Nothing
            }
            NodeKind::File => {
                let first = if metadata.nlink > 1 {
                    let inode = (metadata.dev, metadata.ino);
                    *self.first_names.entry(inode).or_insert(self.count)
                } else {
                    self.count
                };
                if first == self.count {
                    self.reader.look_up(bytes_path(&self.path), metadata)
                } else {
                    Content::SameAs(first)
                }
            }
            _ => Content::Nothing,
        };
        part.nodes.push(Flat {
            path: start..part.paths.len(),
            below: start + below,
            node,
            content,
        });
        self.count += 1;
    }

    /// Reads what is not known, on several threads.
    fn read_unknown(&self, part: &mut Part) -> Result<(), DigestError> {
        self.reader.cancel.check()?;
        let Part { nodes, paths } = part;
        let unknown: Vec<&Flat> = nodes
            .iter()
            .filter(|flat| matches!(flat.content, Content::Unknown))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let digests = parallel::map(&unknown, BATCH, |flat| self.reader.digest(flat, paths))?;
        let unknown = nodes
            .iter_mut()
            .filter(|flat| matches!(flat.content, Content::Unknown));
        for (flat, digest) in unknown.zip(digests) {
            flat.content = Content::Known(digest);
        }
        Ok(())
    }
}

impl Flat {
    /// The path below the item: empty for the item itself.
    fn below<'p>(&self, paths: &'p [u8]) -> &'p [u8] {
        &paths[self.below..self.path.end]
    }

    /// The path from the source's root.
    fn path<'p>(&self, paths: &'p [u8]) -> &'p Path {
        bytes_path(&paths[self.path.clone()])
    }
}

fn bytes_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// Everything about a node but the content of files.
fn hash_node(flat: &Flat, paths: &[u8], attributes: &NewAttributes, hasher: &mut Hasher) {
    let node = &flat.node;
    let below = flat.below(paths);
    let kind: &[u8] = match &node.kind {
        NodeKind::File if matches!(flat.content, Content::SameAs(_)) => b"link",
        NodeKind::File => b"file",
        NodeKind::Dir(_) if node.implied => b"implied",
        NodeKind::Dir(_) => b"dir",
        NodeKind::Symlink(_) => b"symlink",
        NodeKind::Fifo => b"fifo",
        NodeKind::Device => b"device",
        NodeKind::Socket => b"socket",
    };
    hasher.bytes(below);
    hasher.bytes(kind);
    let is_dir = matches!(node.kind, NodeKind::Dir(_));
    if is_dir && below.is_empty() {
        // It stands for its contents; its own attributes go nowhere.
        return;
    }
    let Owner { uid, gid } = attributes.owner_of(&node.metadata);
    hasher.number(uid);
    hasher.number(gid);
    match &node.kind {
        NodeKind::Symlink(target) => return hasher.bytes(target.as_bytes()),
        NodeKind::Device => {
            hasher.bytes(format!("{:?}", node.metadata.file_type).as_bytes());
            hasher.number(node.metadata.rdev.major);
            hasher.number(node.metadata.rdev.minor);
        }
        _ => {}
    }
    if node.implied {
        // Where the directory exists it gets this one, and what `--chmod` says where it does not.
        hasher.number(node.metadata.mode);
    }
    hasher.number(attributes.mode_of(node.metadata.mode, is_dir));
    hasher.xattrs(&node.xattrs);
}

struct Reader<'a> {
    /// What the paths of files below the item begin at: the item, if it is a directory.
    top: &'a Dir,
    options: &'a DigestOptions<'a>,
    cancel: &'a CancelToken,
}

impl Reader<'_> {
    fn look_up(&self, path: &Path, metadata: &Metadata) -> Content {
        let stamp = FileStamp::of(metadata);
        let known = self.options.cache.look_up(path, &stamp);
        known.map_or(Content::Unknown, Content::Known)
    }

    fn digest(&self, flat: &Flat, paths: &[u8]) -> Result<FileDigest, DigestError> {
        self.cancel.check()?;
        let stamp = FileStamp::of(&flat.node.metadata);
        let path = flat.path(paths);
        let below = flat.below(paths);
        let opened = if below.is_empty() {
            self.top.open_known_file(&flat.node.name)
        } else {
            self.top.open_known_file_beneath(bytes_path(below))
        };
        let within = |cause| DigestError::Read {
            path: path.to_path_buf(),
            cause,
        };
        let (file, opened) = opened.map_err(|error| within(error.into()))?;
        if FileStamp::of(&opened) != stamp {
            return Err(DigestError::Changed(path.to_path_buf()));
        }
        let digest = self.read(&file, stamp.size).map_err(within)?;
        let now = file_metadata(&file, self.top.ownership());
        if !now.is_ok_and(|now| FileStamp::of(&now) == stamp) {
            return Err(DigestError::Changed(path.to_path_buf()));
        }
        if stamp.has_settled(self.options.now) {
            self.options.cache.record(path, &stamp, &digest);
        }
        Ok(digest)
    }

    /// Digests `size` bytes, which is what the copy takes.
    fn read(&self, file: &File, size: u64) -> io::Result<FileDigest> {
        let mut hasher = Hasher::new("kiln file");
        let xattrs = xattr::all_of_file(file)?;
        let xattrs: Vec<_> = xattrs
            .into_iter()
            .filter(|(name, _)| is_kept(name))
            .collect();
        hasher.xattrs(&xattrs);
        let mut file = file.take(size);
        let mut buffer =
            vec![0; usize::try_from(size).map_or(BUFFER_BYTES, |size| size.min(BUFFER_BYTES))];
        while file.limit() > 0 {
            if self.cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match read_up_to(&mut file, &mut buffer)? {
                // A file that got shorter has changed: the caller sees it by its stamp.
                0 => break,
                count => hasher.content(&buffer[..count]),
            }
        }
        Ok(FileDigest(hasher.finish()))
    }
}
