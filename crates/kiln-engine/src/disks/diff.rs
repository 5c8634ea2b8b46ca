//! What differs between two disks.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_disk::image::Format;
use kiln_disk::{Inode, Node, NodeId, Tree};
use kiln_oci::{Digest, Digester};
use kiln_sys::files;

use super::{BUFFER, DiskError, DiskImage};
use crate::diff_images::{FileChange, FileDifference, ValueChange};

/// Whether times count as a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// They don't.
    Ignore,
    /// Those of files, as fine as both formats have them.
    Compare,
}

/// What differs between two disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskDiff {
    /// Files that differ, by path.
    pub files: Vec<FileChange>,
}

impl DiskImage {
    /// Compares what is on two disks. How it is stored is no difference, and what the format of one
    /// of them has no place for is not compared: attributes with a cpio archive, parts of seconds.
    /// Neither is an empty `lost+found`, if only one of them is an ext4.
    ///
    /// # Errors
    ///
    /// See [`DiskError`].
    pub fn diff(
        &self,
        other: &Self,
        times: Times,
        cancel: &CancelToken,
    ) -> Result<DiskDiff, DiskError> {
        let formats = [self.facts().format, other.facts().format];
        let comparison = Comparison {
            first: self,
            second: other,
            times,
            has_nanoseconds: formats.iter().all(|format| format.has_nanoseconds()),
            has_xattrs: !formats.contains(&Format::Cpio),
            links: [self.tree.link_counts(), other.tree.link_counts()],
            cancel,
        };
        let mut names = [Vec::new(), Vec::new()];
        for (disk, names) in [self, other].iter().zip(&mut names) {
            let is_added = formats[0] != formats[1] && disk.facts().format == Format::Ext4;
            disk.tree.walk(|path, id| {
                let is_empty = disk.tree.entries(id).is_empty();
                if !(is_added && path == b"lost+found" && is_empty) {
                    names.push((ordered(path), id));
                }
            });
        }
        comparison.files(&names[0], &names[1])
    }
}

/// A path with zeros instead of slashes: such paths are in the order of a walk.
fn ordered(path: &[u8]) -> Vec<u8> {
    let zeros = path
        .iter()
        .map(|byte| if *byte == b'/' { 0 } else { *byte });
    zeros.collect()
}

fn shown(path: &[u8]) -> Vec<u8> {
    let slashes = path
        .iter()
        .map(|byte| if *byte == 0 { b'/' } else { *byte });
    slashes.collect()
}

struct Comparison<'a> {
    first: &'a DiskImage,
    second: &'a DiskImage,
    times: Times,
    has_nanoseconds: bool,
    has_xattrs: bool,
    links: [Vec<u32>; 2],
    cancel: &'a CancelToken,
}

type Name = (Vec<u8>, NodeId);

impl Comparison<'_> {
    fn files(&self, first: &[Name], second: &[Name]) -> Result<DiskDiff, DiskError> {
        let mut files = Vec::new();
        let (mut one, mut other) = (first.iter().peekable(), second.iter().peekable());
        loop {
            self.cancel.check()?;
            let order = match (one.peek(), other.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            let of_first = if order.is_le() { one.next() } else { None };
            let of_second = if order.is_ge() { other.next() } else { None };
            let how = match (of_first, of_second) {
                (Some((path, first)), Some((_, second))) => {
                    match self.aspects(&shown(path), *first, *second)? {
                        aspects if aspects.is_empty() => continue,
                        aspects => FileDifference::Changed(aspects),
                    }
                }
                (Some((_, id)), None) => removed(&self.first.tree, *id),
                (None, Some((_, id))) => added(&self.second.tree, *id),
                (None, None) => break,
            };
            let path = of_first.or(of_second).map(|(path, _)| shown(path));
            let path = path.unwrap_or_default();
            files.push(FileChange {
                path: Path::new(OsStr::from_bytes(&path)).to_owned(),
                how,
            });
        }
        Ok(DiskDiff { files })
    }

    fn aspects(
        &self,
        path: &[u8],
        first: NodeId,
        second: NodeId,
    ) -> Result<Vec<ValueChange>, DiskError> {
        let one = self.first.tree.inode(first);
        let other = self.second.tree.inode(second);
        let mut changes = Vec::new();
        let mut compare = |name: &str, first: Option<String>, second: Option<String>| {
            if first != second {
                let name = name.to_owned();
                changes.push(ValueChange {
                    name,
                    first,
                    second,
                });
            }
        };
        let mut of_both = |name: &str, of: &dyn Fn(&Inode) -> Option<String>| {
            compare(name, of(one), of(other));
        };
        of_both("type", &|inode| Some(kind(inode).to_owned()));
        of_both("size", &|inode| size(inode).map(|size| size.to_string()));
        of_both("target", &|inode| match &inode.node {
            Node::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        });
        of_both("device", &|inode| match &inode.node {
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                Some(format!("{}:{}", device.major, device.minor))
            }
            _ => None,
        });
        of_both("mode", &|inode| {
            let is_link = matches!(inode.node, Node::Symlink(_));
            (!is_link).then(|| format!("{:04o}", inode.attributes.mode))
        });
        of_both("owner", &|inode| {
            Some(format!("{}:{}", inode.attributes.uid, inode.attributes.gid))
        });
        if self.times == Times::Compare {
            of_both("time", &|inode| Some(self.time(inode)));
        }
        if self.has_xattrs {
            let names: BTreeSet<_> = [one, other]
                .iter()
                .flat_map(|inode| &inode.attributes.xattrs)
                .map(|(name, _)| name)
                .collect();
            for name in names {
                of_both(&format!("xattr {}", name.to_string_lossy()), &|inode| {
                    let mut found = inode.attributes.xattrs.iter();
                    let (_, value) = found.find(|(known, _)| known == name)?;
                    Some(Digest::sha256(value).to_string())
                });
            }
        }
        let links = |disk: usize, id: NodeId| self.links[disk][id.as_usize()].to_string();
        if let (Node::File(file), Node::File(other)) = (&one.node, &other.node) {
            compare("links", Some(links(0, first)), Some(links(1, second)));
            if !self.is_same_content(path, file, other)? {
                let first = Some(self.digest(self.first, file, path)?);
                compare(
                    "content",
                    first,
                    Some(self.digest(self.second, other, path)?),
                );
            }
        }
        Ok(changes)
    }

    fn time(&self, inode: &Inode) -> String {
        let time = inode.attributes.mtime;
        let text = kiln_base::Timestamp::from_seconds(time.seconds).to_string();
        if self.has_nanoseconds && time.nanoseconds > 0 {
            let seconds = text.trim_end_matches('Z');
            return format!("{seconds}.{:09}Z", time.nanoseconds);
        }
        text
    }

    fn is_same_content(
        &self,
        path: &[u8],
        first: &kiln_disk::File,
        second: &kiln_disk::File,
    ) -> Result<bool, DiskError> {
        if first.size != second.size {
            return Ok(false);
        }
        let mut one = self.first.open_file(first, path)?;
        let mut other = self.second.open_file(second, path)?;
        let length = usize::try_from(first.size).map_or(BUFFER, |size| size.min(BUFFER));
        let (mut left, mut right) = (vec![0; length], vec![0; length]);
        loop {
            self.cancel.check()?;
            let read = files::read_up_to(&mut one, &mut left);
            let count = read.map_err(|error| self.first.unreadable(path, error.into()))?;
            let read = files::read_up_to(&mut other, &mut right);
            read.map_err(|error| self.second.unreadable(path, error.into()))?;
            if left[..count] != right[..count] {
                return Ok(false);
            }
            if count == 0 || count < left.len() {
                return Ok(true);
            }
        }
    }

    fn digest(
        &self,
        disk: &DiskImage,
        file: &kiln_disk::File,
        path: &[u8],
    ) -> Result<String, DiskError> {
        let mut content = disk.open_file(file, path)?;
        let mut digester = Digester::sha256();
        let mut buffer = vec![0; BUFFER];
        loop {
            self.cancel.check()?;
            let read = content.read(&mut buffer);
            match read.map_err(|error| disk.unreadable(path, error.into()))? {
                0 => return Ok(digester.finish().to_string()),
                length => digester.update(&buffer[..length]),
            }
        }
    }
}

fn added(tree: &Tree, id: NodeId) -> FileDifference {
    let inode = tree.inode(id);
    FileDifference::Added(kind(inode), size(inode))
}

fn removed(tree: &Tree, id: NodeId) -> FileDifference {
    let inode = tree.inode(id);
    FileDifference::Removed(kind(inode), size(inode))
}

fn kind(inode: &Inode) -> &'static str {
    match inode.node {
        Node::Directory(_) => "directory",
        Node::File(_) => "file",
        Node::Symlink(_) => "symbolic link",
        Node::CharDevice(_) => "character device",
        Node::BlockDevice(_) => "block device",
        Node::Fifo => "named pipe",
        Node::Socket => "socket",
    }
}

fn size(inode: &Inode) -> Option<u64> {
    match &inode.node {
        Node::File(file) => Some(file.size),
        _ => None,
    }
}
