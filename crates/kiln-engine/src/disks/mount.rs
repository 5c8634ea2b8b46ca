//! A disk as a directory, by FUSE, read only: the kernel asks kiln, and never sees the disk.
//!
//! The kernel checks modes; programs don't run with other rights, and devices are none. What is
//! mounted is unmounted when the value is dropped.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request, SessionACL,
};
use kiln_disk::image::OpenFile;
use kiln_disk::{Node, NodeId, Tree};
use kiln_sys::fs::{Device, FileTime};

use super::DiskImage;

/// Nothing changes, so the kernel may keep what it knows.
const FOREVER: Duration = Duration::from_hours(24);

/// One read asks for less; a larger buffer would be a stranger's.
const LARGEST_READ: usize = 16 << 20;

/// Why a disk could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The place is none.
    #[error("`{}` is no directory", .0.display())]
    NotADirectory(PathBuf),
    /// The machine has no FUSE, or does not let this user have it.
    #[error("this machine can't mount by FUSE: `/dev/fuse` can't be opened")]
    NoDevice(#[source] io::Error),
    /// It failed otherwise.
    #[error("could not mount `{}` on `{}`", disk.display(), directory.display())]
    Mount {
        /// The disk.
        disk: PathBuf,
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be unmounted.
    #[error("could not unmount `{}`", .0.display())]
    Unmount(PathBuf, #[source] io::Error),
}

/// A disk that is mounted, until this is dropped.
#[derive(Debug)]
pub struct Mounted {
    session: BackgroundSession,
    directory: PathBuf,
}

impl DiskImage {
    /// Mounts the disk on a directory. Everybody may look if root does it, and only the user
    /// otherwise.
    ///
    /// # Errors
    ///
    /// See [`MountError`].
    pub fn mount(self, directory: &Path) -> Result<Mounted, MountError> {
        if !directory.metadata().is_ok_and(|found| found.is_dir()) {
            return Err(MountError::NotADirectory(directory.to_owned()));
        }
        kiln_sys::files::open("/dev/fuse")
            .map_err(|error| MountError::NoDevice(io::Error::other(error)))?;
        let name = self.path.file_name().unwrap_or_default();
        // The option's value ends at a comma.
        let name = name.to_string_lossy().replace([',', '\\'], "_");
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(name),
            MountOption::Subtype("kiln".to_owned()),
            MountOption::RO,
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::DefaultPermissions,
        ];
        if kiln_sys::host::effective_uid() == 0 {
            config.acl = SessionACL::All;
        }
        let disk = self.path.clone();
        let session = fuser::spawn_mount(Served::new(self), directory, &config);
        let session = session.map_err(|source| MountError::Mount {
            disk,
            directory: directory.to_owned(),
            source,
        })?;
        Ok(Mounted {
            session,
            directory: directory.to_owned(),
        })
    }
}

impl Mounted {
    /// Whether somebody has unmounted it.
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts it, also if somebody did already. What is open there stays so until it is closed.
    ///
    /// # Errors
    ///
    /// See [`MountError`].
    pub fn unmount(self) -> Result<(), MountError> {
        let Self { session, directory } = self;
        let ended = if session.guard.is_finished() {
            session.join()
        } else {
            session.umount_and_join()
        };
        ended.map_err(|error| MountError::Unmount(directory, error))
    }
}

/// What answers the kernel. Inodes have the tree's numbers, from 1 on.
struct Served {
    disk: DiskImage,
    links: Vec<u32>,
    /// The directory that each directory is in.
    parents: HashMap<NodeId, NodeId>,
    open: Mutex<HashMap<u64, Arc<Mutex<OpenFile>>>>,
    next: AtomicU64,
}

impl Served {
    fn new(disk: DiskImage) -> Self {
        let mut parents = HashMap::new();
        let mut pending = vec![Tree::ROOT];
        while let Some(dir) = pending.pop() {
            for entry in disk.tree.entries(dir) {
                if matches!(disk.tree.inode(entry.id).node, Node::Directory(_)) {
                    parents.insert(entry.id, dir);
                    pending.push(entry.id);
                }
            }
        }
        Self {
            links: disk.tree.link_counts(),
            disk,
            parents,
            open: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    fn id(&self, number: INodeNo) -> Option<NodeId> {
        let number = usize::try_from(number.0).ok()?.checked_sub(1)?;
        self.disk.tree.nth(number)
    }

    fn attributes(&self, id: NodeId) -> FileAttr {
        let inode = self.disk.tree.inode(id);
        let attributes = &inode.attributes;
        let mtime = system_time(attributes.mtime);
        let (size, blocks) = match &inode.node {
            Node::File(file) => {
                let data = file.segments().iter().map(|it| it.length).sum::<u64>();
                (file.size, data.div_ceil(512))
            }
            Node::Symlink(target) => (target.len() as u64, 0),
            Node::Directory(_) => (4096, 8),
            _ => (0, 0),
        };
        let rdev = match &inode.node {
            Node::CharDevice(device) | Node::BlockDevice(device) => number(*device),
            _ => 0,
        };
        FileAttr {
            ino: number_of(id),
            size,
            blocks,
            atime: mtime,
            mtime,
            ctime: mtime,
            crtime: mtime,
            kind: kind(&inode.node),
            perm: u16::try_from(attributes.mode & 0o7777).unwrap_or(0),
            nlink: self.links[id.as_usize()],
            uid: attributes.uid,
            gid: attributes.gid,
            rdev,
            blksize: 4096,
            flags: 0,
        }
    }

    /// What is read of an open file.
    fn read(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let open = self.open.lock().expect("nothing panics with it");
        let file = open.get(&handle.0).map(Arc::clone).ok_or(Errno::EBADF)?;
        drop(open);
        let mut file = file.lock().expect("nothing panics with it");
        let size = usize::try_from(size).map_or(LARGEST_READ, |size| size.min(LARGEST_READ));
        let mut buffer = vec![0; size];
        let read = self.disk.image.read_at(&mut file, &mut buffer, offset);
        buffer.truncate(read.map_err(|_| Errno::EIO)?);
        Ok(buffer)
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.id(parent);
        let found = found.and_then(|parent| self.disk.tree.child(parent, name.as_bytes()));
        match found {
            Some(id) => reply.entry(&FOREVER, &self.attributes(id), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.id(ino) {
            Some(id) => reply.attr(&FOREVER, &self.attributes(id)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.id(ino).map(|id| &self.disk.tree.inode(id).node) {
            Some(Node::Symlink(target)) => reply.data(target),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let node = self.id(ino).map(|id| &self.disk.tree.inode(id).node);
        let Some(Node::File(file)) = node else {
            return reply.error(Errno::EINVAL);
        };
        let Ok(file) = self.disk.image.open_file(file) else {
            return reply.error(Errno::EIO);
        };
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().expect("nothing panics with it");
        open.insert(handle, Arc::new(Mutex::new(file)));
        reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read(handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let mut open = self.open.lock().expect("nothing panics with it");
        open.remove(&handle.0);
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(id) = self.id(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let parent = self.parents.get(&id).copied().unwrap_or(Tree::ROOT);
        let special = [(&b"."[..], id), (b"..", parent)];
        let entries = self.disk.tree.entries(id).iter();
        let all = special
            .into_iter()
            .chain(entries.map(|entry| (&*entry.name, entry.id)));
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (number, (name, id)) in (1_u64..).zip(all).skip(skipped) {
            let kind = kind(&self.disk.tree.inode(id).node);
            if reply.add(number_of(id), number, kind, OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let facts = self.disk.facts();
        let free = facts.free.map_or(0, |free| free.bytes / 4096);
        let inodes = self.disk.tree.len() as u64;
        let blocks = facts.size.div_ceil(4096);
        reply.statfs(blocks, free, free, inodes, 0, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let Some(id) = self.id(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let mut xattrs = self.disk.tree.inode(id).attributes.xattrs.iter();
        match xattrs.find(|(known, _)| known == name) {
            Some((_, value)) => answer(value, size, reply),
            None => reply.error(Errno::NO_XATTR),
        }
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let Some(id) = self.id(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let xattrs = self.disk.tree.inode(id).attributes.xattrs.iter();
        let mut names = OsString::new();
        for (name, _) in xattrs {
            names.push(name);
            names.push("\0");
        }
        answer(&names.into_vec(), size, reply);
    }
}

/// Gives as much as is asked for, or tells how much there is.
fn answer(bytes: &[u8], size: u32, reply: ReplyXattr) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if size == 0 {
        reply.size(length);
    } else if length <= size {
        reply.data(bytes);
    } else {
        reply.error(Errno::ERANGE);
    }
}

fn number_of(id: NodeId) -> INodeNo {
    INodeNo(id.as_usize() as u64 + 1)
}

fn kind(node: &Node) -> FileType {
    match node {
        Node::Directory(_) => FileType::Directory,
        Node::File(_) => FileType::RegularFile,
        Node::Symlink(_) => FileType::Symlink,
        Node::CharDevice(_) => FileType::CharDevice,
        Node::BlockDevice(_) => FileType::BlockDevice,
        Node::Fifo => FileType::NamedPipe,
        Node::Socket => FileType::Socket,
    }
}

/// As the kernel packs it into 32 bits.
fn number(device: Device) -> u32 {
    (device.minor & 0xff) | ((device.major & 0xfff) << 8) | ((device.minor & !0xff) << 12)
}

fn system_time(time: FileTime) -> SystemTime {
    let seconds = Duration::from_secs(time.seconds.unsigned_abs());
    let start = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    let time =
        start.and_then(|start| start.checked_add(Duration::from_nanos(time.nanoseconds.into())));
    time.unwrap_or(UNIX_EPOCH)
}
