//! The digest of everything that decides what a copy leaves behind.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_sys::files::read_up_to;
use kiln_sys::fs::{Device, Dir, FileTime, Owner, file_metadata};
use kiln_sys::xattr::{self, Xattr};

use crate::copy::NewAttributes;
use crate::error::DigestError;
use crate::parallel;
use crate::scan::{Node, NodeKind};
use crate::select::{Content, CopyItem, Selection};
use crate::stat_cache::{FileDigest, FileStamp, StatCache};
use crate::xattrs::is_kept;

/// So many files are looked up or read by one thread before it looks for more.
const BATCH: usize = 128;
const BUFFER_BYTES: usize = 128 * 1024;

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
                Content::Inline(file) => {
                    hasher.bytes(b"inline");
                    hasher.number(options.attributes.mode_of(file.mode, false));
                    hasher.bytes(&file.content);
                }
                Content::Tree { .. } => hash_tree(item, options, cancel, &mut hasher)?,
            }
        }
        Ok(ContentDigest(hasher.finish()))
    }
}

/// One node with its path below the item: empty for the item itself.
struct Flat<'a> {
    below: PathBuf,
    node: &'a Node,
    /// Which earlier file this one is another name of.
    same_as: Option<usize>,
}

fn hash_tree(
    item: &CopyItem,
    options: &DigestOptions<'_>,
    cancel: &CancelToken,
    hasher: &mut Hasher,
) -> Result<(), DigestError> {
    let Content::Tree { dir, path, node } = &item.content else {
        return Ok(());
    };
    let nodes = flatten(node);
    let files: Vec<&Flat<'_>> = nodes
        .iter()
        .filter(|flat| matches!(flat.node.kind, NodeKind::File) && flat.same_as.is_none())
        .collect();
    let top = match node.kind {
        NodeKind::Dir(_) if node.name != Dir::ITSELF => Some(dir.open_dir(&node.name)?),
        _ => None,
    };
    let reader = Reader {
        top: top.as_ref().unwrap_or(dir),
        path,
        options,
        cancel,
    };
    let digests = parallel::map(&files, BATCH, |flat| reader.digest(flat))?;
    let mut digests = digests.into_iter();
    hasher.number(nodes.len());
    for flat in &nodes {
        hash_node(flat, options.attributes, hasher);
        match (&flat.node.kind, flat.same_as) {
            (_, Some(first)) => hasher.number(first),
            (NodeKind::File, None) => {
                hasher.bytes(&digests.next().map_or([0; 32], |digest| digest.0));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The nodes of a tree, each directory before what is in it.
fn flatten(top: &Node) -> Vec<Flat<'_>> {
    let mut nodes = Vec::new();
    let mut first_names: HashMap<(Device, u64), usize> = HashMap::new();
    let mut pending = vec![(PathBuf::new(), top)];
    while let Some((below, node)) = pending.pop() {
        if let NodeKind::Dir(children) = &node.kind {
            let children = children.iter().rev();
            pending.extend(children.map(|child| (below.join(&child.name), child)));
        }
        let metadata = &node.metadata;
        let mut same_as = None;
        if matches!(node.kind, NodeKind::File) && metadata.nlink > 1 {
            let first = *first_names
                .entry((metadata.dev, metadata.ino))
                .or_insert(nodes.len());
            same_as = (first != nodes.len()).then_some(first);
        }
        nodes.push(Flat {
            below,
            node,
            same_as,
        });
    }
    nodes
}

/// Everything about a node but the content of files.
fn hash_node(flat: &Flat<'_>, attributes: &NewAttributes, hasher: &mut Hasher) {
    let Flat {
        below,
        node,
        same_as,
    } = flat;
    let kind: &[u8] = match &node.kind {
        NodeKind::File if same_as.is_some() => b"link",
        NodeKind::File => b"file",
        NodeKind::Dir(_) if node.implied => b"implied",
        NodeKind::Dir(_) => b"dir",
        NodeKind::Symlink(_) => b"symlink",
        NodeKind::Fifo => b"fifo",
        NodeKind::Device => b"device",
        NodeKind::Socket => b"socket",
    };
    hasher.bytes(below.as_os_str().as_bytes());
    hasher.bytes(kind);
    let is_dir = matches!(node.kind, NodeKind::Dir(_));
    if is_dir && below.as_os_str().is_empty() {
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
    /// The item's path from the source's root.
    path: &'a Path,
    options: &'a DigestOptions<'a>,
    cancel: &'a CancelToken,
}

impl Reader<'_> {
    fn digest(&self, flat: &Flat<'_>) -> Result<FileDigest, DigestError> {
        self.cancel.check()?;
        let stamp = FileStamp::of(&flat.node.metadata);
        let is_item = flat.below.as_os_str().is_empty();
        let joined;
        let path = if is_item {
            self.path
        } else {
            joined = self.path.join(&flat.below);
            &joined
        };
        if let Some(known) = self.options.cache.look_up(path, &stamp) {
            return Ok(known);
        }
        let opened = if is_item {
            self.top.open_known_file(&flat.node.name)
        } else {
            self.top.open_known_file_beneath(&flat.below)
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
                count => hasher.0.update(&buffer[..count]),
            };
        }
        Ok(FileDigest(hasher.finish()))
    }
}

/// Hashes fields unambiguously: texts and lists come with their length.
struct Hasher(blake3::Hasher);

impl Hasher {
    fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.bytes(domain.as_bytes());
        hasher
    }

    fn number(&mut self, number: impl TryInto<u64>) {
        let number = number.try_into().unwrap_or(u64::MAX);
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    fn xattrs(&mut self, xattrs: &[Xattr]) {
        self.number(xattrs.len());
        for (name, value) in xattrs {
            self.bytes(name.as_bytes());
            self.bytes(value);
        }
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}
