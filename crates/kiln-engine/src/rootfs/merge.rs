//! The layers of an image as one [`Tree`], read from their directories; nothing is mounted.
//!
//! What the tree has is what overlayfs shows of the same directories, less what does not belong into
//! an image: labels and access lists of this machine, and the marks of overlayfs and kiln.
//!
//! Directories are read side by side, a batch at a time, and put into the tree in the order in which
//! they were found: the tree is the same, inode by inode, for any number of threads.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_base::{CancelToken, Cancelled, Timestamp};
use kiln_disk::{Attributes, Content, Inode, Node, NodeId, Segment, Tree, TreeError};
use kiln_layer::{OPAQUE, OverlayXattrs, belongs_into_layer};
use kiln_sys::fs::{Dir, FileTime, FileType, FsError, Metadata, data_ranges};
use kiln_sys::xattr::Xattr;

use super::files::{LayerFiles, TooManyNames, open_dir};

/// How many directories are read before their content goes into the tree.
const BATCH: usize = 128;

/// How layers are merged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MergeOptions {
    /// Where overlayfs has its marks in these directories.
    pub(crate) xattrs: OverlayXattrs,
    /// Later modification times become this one.
    pub(crate) clamp_mtime: Option<Timestamp>,
    /// Threads that read.
    pub(crate) threads: NonZeroUsize,
}

/// Why layers could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A layer's directory could not be read.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A directory has what no tree can have.
    #[error("the image can't be one tree of files")]
    Tree(#[from] TreeError),
    /// More files than can be counted.
    #[error("the image has more files than a disk can hold")]
    TooMany,
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<TooManyNames> for MergeError {
    fn from(_: TooManyNames) -> Self {
        Self::TooMany
    }
}

/// Merges layers, given top first, to one tree, and says where its files are.
pub(crate) fn merge(
    layers: Vec<Dir>,
    options: &MergeOptions,
    cancel: &CancelToken,
) -> Result<(Tree, LayerFiles), MergeError> {
    let root = match layers.first() {
        Some(top) => {
            directory(top, OsStr::new(Dir::ITSELF), options)?
                .inode
                .attributes
        }
        None => Attributes {
            mode: 0o755,
            ..Attributes::default()
        },
    };
    let count = u32::try_from(layers.len()).map_err(|_| MergeError::TooMany)?;
    let mut merge = Merge {
        tree: Tree::new(root),
        files: LayerFiles::new(layers),
        linked: HashMap::new(),
        pending: VecDeque::from([Pending {
            id: Tree::ROOT,
            row: LayerFiles::ROOT,
            stack: (0..count).collect(),
        }]),
    };
    while !merge.pending.is_empty() {
        let batch: Vec<Pending> = {
            let size = merge.pending.len().min(BATCH);
            merge.pending.drain(..size).collect()
        };
        for (at, found) in batch
            .iter()
            .zip(scan(&merge.files, &batch, options, cancel)?)
        {
            for (name, found) in found {
                merge.put(at, &name, found)?;
            }
        }
    }
    Ok((merge.tree, merge.files))
}

/// A directory of the tree whose content is still to be read.
struct Pending {
    id: NodeId,
    row: u32,
    /// The layers that it is made of, top first.
    stack: Vec<u32>,
}

struct Merge {
    tree: Tree,
    files: LayerFiles,
    /// Files with several names, as long as some are still to come.
    linked: HashMap<(u32, u64), (NodeId, u32)>,
    pending: VecDeque<Pending>,
}

/// What a name of a directory is.
struct Found {
    layer: u32,
    inode: Inode,
    /// For a file with several names: its number in the layer, and how many.
    names: Option<(u64, u32)>,
    /// For a directory: the layers that it is made of.
    stack: Vec<u32>,
    /// Layers below show nothing more of it.
    is_closed: bool,
}

/// The names of one directory; `None` for what a layer took away.
type Names = BTreeMap<Box<[u8]>, Option<Found>>;

impl Merge {
    fn put(&mut self, at: &Pending, name: &[u8], found: Option<Found>) -> Result<(), MergeError> {
        let Some(Found {
            layer,
            mut inode,
            names,
            stack,
            is_closed: _,
        }) = found
        else {
            return Ok(());
        };
        let link = names.map(|(number, count)| ((layer, number), count));
        if let Some((key, _)) = &link
            && let Some((id, left)) = self.linked.get_mut(key)
        {
            let id = *id;
            *left -= 1;
            if *left == 0 {
                self.linked.remove(key);
            }
            return Ok(self.tree.link(at.id, name, id)?);
        }
        if let Node::File(file) = &mut inode.node {
            let (Content::Stored(key) | Content::Sparse(key, _)) = &mut file.content else {
                unreachable!("files of layers are not in memory")
            };
            *key = self.files.add_file(layer, at.row, name)?;
        }
        let is_dir = matches!(inode.node, Node::Directory(_));
        let id = self.tree.add(at.id, name, inode)?;
        if let Some((key, count)) = link {
            self.linked
                .insert(key, (id, count.saturating_sub(1).max(1)));
        }
        if is_dir {
            let row = self.files.add_dir(at.row, name)?;
            self.pending.push_back(Pending { id, row, stack });
        }
        Ok(())
    }
}

/// Reads directories side by side.
fn scan(
    files: &LayerFiles,
    batch: &[Pending],
    options: &MergeOptions,
    cancel: &CancelToken,
) -> Result<Vec<Names>, MergeError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Names)>, MergeError> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(dir) = batch.get(index) else {
                return Ok(done);
            };
            cancel.check()?;
            done.push((index, list(files, dir, options)?));
        }
    };
    let threads = options.threads.get().min(batch.len().div_ceil(8));
    let mut done = if threads <= 1 {
        work()?
    } else {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let mut all = Vec::new();
            for thread in threads {
                match thread.join() {
                    Ok(done) => all.extend(done?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok::<_, MergeError>(all)
        })?
    };
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, names)| names).collect())
}

/// The names of a directory, from all layers that have it.
fn list(
    files: &LayerFiles,
    pending: &Pending,
    options: &MergeOptions,
) -> Result<Names, MergeError> {
    let path = files.dir_path(pending.row);
    let mut names = Names::new();
    for &layer in &pending.stack {
        let dir = open_dir(&files.layers()[layer as usize], &path)?;
        list_layer(&dir, layer, &mut names, options).map_err(|error| error.within(&path))?;
    }
    Ok(names)
}

/// Adds what one layer has below those that were looked at.
fn list_layer(
    dir: &Dir,
    layer: u32,
    names: &mut Names,
    options: &MergeOptions,
) -> Result<(), FsError> {
    for entry in dir.entries()? {
        let name = entry.name.as_bytes();
        match names.get_mut(name) {
            None => {
                let found = look(dir, &entry.name, layer, options)?;
                names.insert(name.into(), found);
            }
            Some(Some(above)) if !above.is_closed => {
                if entry.file_type == FileType::Dir {
                    above.stack.push(layer);
                    let mark = dir.xattr(&entry.name, options.xattrs.opaque())?;
                    above.is_closed = mark.as_deref() == Some(OPAQUE);
                } else {
                    above.is_closed = true;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What a layer has by a name; `None` if that is a mark for "not here any more".
fn look(
    dir: &Dir,
    name: &OsStr,
    layer: u32,
    options: &MergeOptions,
) -> Result<Option<Found>, FsError> {
    let metadata = dir.metadata(name)?;
    if metadata.is_whiteout() {
        return Ok(None);
    }
    if metadata.is_dir() {
        let mut found = directory(dir, name, options)?;
        found.layer = layer;
        found.stack = vec![layer];
        return Ok(Some(found));
    }
    let mut xattrs = Vec::new();
    let node = match metadata.file_type {
        FileType::File => {
            xattrs = dir.xattrs(name)?;
            if metadata.size == 0 && has(&xattrs, options.xattrs.whiteout()) {
                return Ok(None);
            }
            Node::File(kiln_disk::File {
                size: metadata.size,
                content: content(dir, name, &metadata)?,
            })
        }
        FileType::Symlink => Node::Symlink(dir.read_link(name)?.into_vec().into()),
        FileType::CharDevice => Node::CharDevice(metadata.rdev),
        FileType::BlockDevice => Node::BlockDevice(metadata.rdev),
        FileType::Fifo => Node::Fifo,
        // Directories were dealt with.
        FileType::Socket | FileType::Dir => Node::Socket,
    };
    Ok(Some(Found {
        layer,
        inode: Inode {
            attributes: attributes(&metadata, xattrs, options),
            node,
        },
        names: (metadata.nlink > 1).then_some((metadata.ino, metadata.nlink)),
        stack: Vec::new(),
        is_closed: true,
    }))
}

/// A directory; who calls knows its layer.
fn directory(dir: &Dir, name: &OsStr, options: &MergeOptions) -> Result<Found, FsError> {
    let metadata = dir.metadata(name)?;
    let xattrs = dir.xattrs(name)?;
    let opaque = OsStr::new(options.xattrs.opaque());
    let is_closed = xattrs
        .iter()
        .any(|(key, value)| key == opaque && value == OPAQUE);
    Ok(Found {
        layer: 0,
        inode: Inode {
            attributes: attributes(&metadata, xattrs, options),
            node: Node::Directory(Vec::new()),
        },
        names: None,
        stack: Vec::new(),
        is_closed,
    })
}

/// Where a file's bytes are; who calls puts the key in.
fn content(dir: &Dir, name: &OsStr, metadata: &Metadata) -> Result<Content, FsError> {
    if !metadata.is_sparse() {
        return Ok(Content::Stored(0));
    }
    let file = dir.open_file(name)?;
    let ranges = data_ranges(&file)
        .map_err(|error| FsError::new("find the holes of", Path::new(name), error))?;
    let segments: Box<[Segment]> = ranges
        .into_iter()
        .map(|range| Segment {
            offset: range.start,
            length: range.end.min(metadata.size).saturating_sub(range.start),
        })
        .filter(|segment| segment.length > 0)
        .collect();
    let is_whole = matches!(&*segments, [only] if only.length == metadata.size);
    Ok(if is_whole {
        Content::Stored(0)
    } else {
        Content::Sparse(0, segments)
    })
}

fn attributes(metadata: &Metadata, xattrs: Vec<Xattr>, options: &MergeOptions) -> Attributes {
    let mut xattrs = xattrs;
    xattrs.retain(|(key, _)| belongs_into_layer(key));
    xattrs.shrink_to_fit();
    Attributes {
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: clamp(metadata.mtime, options.clamp_mtime),
        xattrs,
    }
}

fn clamp(time: FileTime, latest: Option<Timestamp>) -> FileTime {
    let Some(latest) = latest else { return time };
    time.min(FileTime {
        seconds: latest.seconds(),
        nanoseconds: latest.nanoseconds(),
    })
}

fn has(xattrs: &[Xattr], name: &str) -> bool {
    xattrs.iter().any(|(key, _)| key == name)
}

#[cfg(test)]
mod tests;
