//! A disk's files in a directory.
//!
//! Every path is made from names by handles of directories that were just made, and no link is
//! followed, so nothing is written elsewhere, whatever the names and links on the disk say. What the
//! user may not keep is counted.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_disk::{Inode, Node, NodeId, Tree};
use kiln_sys::fs::{self, Dir, FsError, NodeKind, Owner, Ownership};
use kiln_sys::{files, host};

use super::{BUFFER, DiskError, DiskImage, Place, write_sparse};

/// Longer paths are no system's.
const LONGEST: usize = 1 << 16;

/// What was taken from a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Names of files, directories and nodes.
    pub names: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Files whose owner is another one now.
    pub owners: u64,
    /// Files without their set-id bits, since these would be another one's.
    pub set_ids: u64,
    /// Extended attributes that are not there.
    pub xattrs: u64,
    /// Devices, and sockets in archives, that are not there.
    pub nodes: u64,
}

/// What could not be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// An owner.
    Owner,
    /// Set-id bits.
    SetId,
    /// An extended attribute.
    Xattr,
    /// A node.
    Node,
}

impl Extracted {
    /// Whether all is as on the disk.
    pub fn is_complete(&self) -> bool {
        self.owners + self.set_ids + self.xattrs + self.nodes == 0
    }

    pub(super) fn lost(&mut self, what: Lost) {
        *match what {
            Lost::Owner => &mut self.owners,
            Lost::SetId => &mut self.set_ids,
            Lost::Xattr => &mut self.xattrs,
            Lost::Node => &mut self.nodes,
        } += 1;
    }

    pub(super) fn count(&mut self, inode: &Inode, with_content: bool) {
        self.names += 1;
        if let (Node::File(file), true) = (&inode.node, with_content) {
            self.bytes += file.size;
        }
    }
}

impl DiskImage {
    /// Fills a directory, which is made, or has to be empty, with what is in a directory of the
    /// disk. Owners and devices are kept as far as the user may do that.
    ///
    /// # Errors
    ///
    /// See [`DiskError`]. What was written stays then.
    pub fn extract_directory(
        &self,
        from: &Place,
        into: &Path,
        cancel: &CancelToken,
    ) -> Result<Extracted, DiskError> {
        files::create_dir_all(into, 0o755)?;
        let root = Dir::open(into)?;
        if !root.entries()?.is_empty() {
            return Err(DiskError::NotEmpty(into.to_owned()));
        }
        let mut extraction = Extraction {
            disk: self,
            place: into,
            is_root: host::effective_uid() == 0,
            first: HashMap::new(),
            report: Extracted::default(),
            cancel,
        };
        let mut directories: Vec<(NodeId, PathBuf)> = Vec::new();
        let mut last: Option<(PathBuf, Dir)> = None;
        walk(&self.tree, from.id, |path, id| {
            cancel.check()?;
            if path.len() > LONGEST {
                let start = String::from_utf8_lossy(&path[..64]).into_owned();
                return Err(DiskError::TooDeep(start));
            }
            let path = Path::new(OsStr::from_bytes(path));
            let parent = path.parent().unwrap_or(Path::new(""));
            if last.as_ref().is_none_or(|(known, _)| known != parent) {
                last = Some((parent.to_owned(), root.open_dir_beneath(parent)?));
            }
            let Some((_, dir)) = &last else {
                return Ok(());
            };
            if matches!(self.tree.inode(id).node, Node::Directory(_)) {
                directories.push((id, path.to_owned()));
            }
            extraction.put(&root, dir, path, id)
        })?;
        // What is in a directory changes its time, and may not be allowed once it has its mode.
        for (id, path) in directories.iter().rev() {
            cancel.check()?;
            let dir = root.open_dir_beneath(path)?;
            extraction.attributes(&dir, OsStr::new(Dir::ITSELF), self.tree.inode(*id), path)?;
        }
        let inode = self.tree.inode(from.id);
        extraction.attributes(&root, OsStr::new(Dir::ITSELF), inode, Path::new(""))?;
        Ok(extraction.report)
    }

    /// Writes the content of a file of the disk to a new file, with its mode and time.
    ///
    /// # Errors
    ///
    /// See [`DiskError`].
    pub fn extract_file(
        &self,
        from: &Place,
        into: &Path,
        cancel: &CancelToken,
    ) -> Result<Extracted, DiskError> {
        let inode = self.tree.inode(from.id);
        let parent = into
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let dir = Dir::open(parent.unwrap_or(Path::new(".")))?;
        let Some(name) = into.file_name() else {
            return Err(DiskError::NotEmpty(into.to_owned()));
        };
        let mut extraction = Extraction {
            disk: self,
            place: parent.unwrap_or(Path::new("")),
            is_root: host::effective_uid() == 0,
            first: HashMap::new(),
            report: Extracted::default(),
            cancel,
        };
        extraction.node(&dir, name, inode, Path::new(name))?;
        Ok(extraction.report)
    }

    /// Writes the content of a file of the disk somewhere.
    ///
    /// # Errors
    ///
    /// See [`DiskError`].
    pub fn write_file(
        &self,
        from: &Place,
        sink: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<Extracted, DiskError> {
        let path = || String::from_utf8_lossy(&from.path).into_owned();
        let inode = self.tree.inode(from.id);
        let Node::File(file) = &inode.node else {
            return Err(DiskError::NotTakable(format!("/{}", path())));
        };
        let mut content = self.open_file(file, &from.path)?;
        let mut buffer = vec![0; BUFFER];
        let failed = |source| DiskError::Write {
            path: "standard output".into(),
            source,
        };
        loop {
            cancel.check()?;
            let read = files::read_up_to(&mut content, &mut buffer);
            match read.map_err(|error| self.unreadable(&from.path, error.into()))? {
                0 => break,
                length => sink.write_all(&buffer[..length]).map_err(failed)?,
            }
        }
        sink.flush().map_err(failed)?;
        let mut report = Extracted::default();
        report.count(inode, true);
        Ok(report)
    }
}

/// Every name in a directory of a tree, as [`Tree::walk`] gives them for the whole.
pub(super) fn walk<E>(
    tree: &Tree,
    from: NodeId,
    mut visit: impl FnMut(&[u8], NodeId) -> Result<(), E>,
) -> Result<(), E> {
    let mut path = Vec::new();
    // Each level: the directory, its next entry, and the length of its own path.
    let mut levels = vec![(from, 0_usize, 0_usize)];
    while let Some((dir, next, length)) = levels.last_mut() {
        path.truncate(*length);
        let Some(entry) = tree.entries(*dir).get(*next) else {
            levels.pop();
            continue;
        };
        *next += 1;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        visit(&path, entry.id)?;
        if matches!(tree.inode(entry.id).node, Node::Directory(_)) {
            levels.push((entry.id, 0, path.len()));
        }
    }
    Ok(())
}

struct Extraction<'a> {
    disk: &'a DiskImage,
    /// Where it goes, for errors.
    place: &'a Path,
    is_root: bool,
    /// The first name of each inode that can have several.
    first: HashMap<NodeId, PathBuf>,
    report: Extracted,
    cancel: &'a CancelToken,
}

impl Extraction<'_> {
    /// Makes what is at `path`, the name of which is in `dir`.
    fn put(&mut self, root: &Dir, dir: &Dir, path: &Path, id: NodeId) -> Result<(), DiskError> {
        let inode = self.disk.tree.inode(id);
        let name = path.file_name().unwrap_or_default();
        if let Some(first) = self.first.get(&id) {
            let from = root.open_dir_beneath(first.parent().unwrap_or(Path::new("")))?;
            from.link_to(first.file_name().unwrap_or_default(), dir, name)?;
            self.report.count(inode, false);
            return Ok(());
        }
        if let Node::Directory(_) = inode.node {
            dir.mkdir(name, 0o700)?;
            self.report.count(inode, false);
            return Ok(());
        }
        if self.node(dir, name, inode, path)? {
            self.first.insert(id, path.to_owned());
        }
        Ok(())
    }

    /// Makes anything but a directory; tells whether it is there now.
    fn node(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        inode: &Inode,
        path: &Path,
    ) -> Result<bool, DiskError> {
        let kind = match &inode.node {
            Node::Directory(_) => return Ok(false),
            Node::File(file) => {
                let new = dir.create_file(name, 0o600)?;
                self.content(file, &new, path)?;
                self.report.count(inode, true);
                self.attributes(dir, name, inode, path)?;
                return Ok(true);
            }
            Node::Symlink(target) => {
                dir.symlink(OsStr::from_bytes(target), name)?;
                self.report.count(inode, false);
                self.attributes(dir, name, inode, path)?;
                return Ok(true);
            }
            Node::CharDevice(device) => NodeKind::CharDevice(*device),
            Node::BlockDevice(device) => NodeKind::BlockDevice(*device),
            Node::Fifo => NodeKind::Fifo,
            Node::Socket => NodeKind::Socket,
        };
        match dir.mknod(name, kind, 0o600) {
            Err(error) if is_forbidden(&error) => {
                self.report.lost(Lost::Node);
                return Ok(false);
            }
            made => made?,
        }
        self.report.count(inode, false);
        self.attributes(dir, name, inode, path)?;
        Ok(true)
    }

    fn content(&self, file: &kiln_disk::File, into: &File, path: &Path) -> Result<(), DiskError> {
        let failed = |source| DiskError::Write {
            path: self.place.join(path),
            source,
        };
        let bytes = path.as_os_str().as_bytes();
        let unreadable = |error| self.disk.unreadable(bytes, error);
        let open = self.disk.image.open_file(file);
        let mut open = open.map_err(unreadable)?;
        into.set_len(file.size).map_err(failed)?;
        let size = usize::try_from(file.size).map_or(BUFFER, |size| size.min(BUFFER));
        let mut buffer = vec![0; size];
        for segment in file.segments() {
            let (mut at, end) = (segment.offset, segment.offset + segment.length);
            while at < end {
                self.cancel.check()?;
                let left = usize::try_from(end - at).map_or(size, |left| left.min(size));
                let buffer = &mut buffer[..left];
                let read = self.disk.image.read_at(&mut open, buffer, at);
                let length = read.map_err(unreadable)?;
                if length == 0 {
                    return Err(unreadable(
                        io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                    ));
                }
                write_sparse(into, &buffer[..length], at).map_err(failed)?;
                at += length as u64;
            }
        }
        Ok(())
    }

    /// Sets owner, attributes, mode and time, in the order in which none undoes another.
    fn attributes(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        inode: &Inode,
        path: &Path,
    ) -> Result<(), DiskError> {
        let within = |error: FsError| error.within(self.place.join(path));
        let attributes = &inode.attributes;
        let owner = Owner {
            uid: attributes.uid,
            gid: attributes.gid,
        };
        let is_kept = self.owner(dir, name, owner).map_err(within)?;
        if !is_kept {
            self.report.lost(Lost::Owner);
        }
        for (key, value) in &attributes.xattrs {
            match dir.set_xattr(name, key, value) {
                Err(error) if is_forbidden(&error) => self.report.lost(Lost::Xattr),
                set => set.map_err(within)?,
            }
        }
        if !matches!(inode.node, Node::Symlink(_)) {
            let mut mode = attributes.mode;
            // The bits would give away what is the user's own.
            if !is_kept && mode & 0o6000 != 0 && !matches!(inode.node, Node::Directory(_)) {
                mode &= !0o6000;
                self.report.lost(Lost::SetId);
            }
            dir.set_mode(name, mode).map_err(within)?;
        }
        dir.set_times(name, attributes.mtime).map_err(within)?;
        Ok(())
    }

    /// Whether the owner is what it should be.
    fn owner(&self, dir: &Dir, name: &OsStr, owner: Owner) -> Result<bool, FsError> {
        if !self.is_root {
            return Ok(dir.metadata(name)?.owner() == owner);
        }
        debug_assert_eq!(dir.ownership(), Ownership::Native);
        match dir.set_owner(name, owner) {
            Err(error) if is_forbidden(&error) => Ok(false),
            set => set.map(|()| true),
        }
    }
}

/// Whether the system would not let this user, or this file system, have it.
fn is_forbidden(error: &fs::FsError) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}
