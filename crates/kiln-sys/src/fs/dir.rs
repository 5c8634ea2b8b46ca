//! An open directory and the operations on its names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::error::optional;
use super::file::{STAT_FLAGS, STAT_MASK};
use super::stepwise;
use super::{Device, FileTime, FileType, FsError, Metadata, OWNER_XATTR, Owner, Ownership, Result};
use crate::xattr::{self, Xattr};

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// `openat2` gives up with `EAGAIN` when something is renamed beside it.
const OPEN_ATTEMPTS: usize = 64;

/// An open directory.
///
/// Operations take a single name. Those on attributes also take `"."`, the directory itself
/// ([`Dir::ITSELF`]). A name that is empty, `..` or contains `/` or a zero byte is refused with
/// [`io::ErrorKind::InvalidInput`] before the system sees it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    ownership: Ownership,
}

/// What [`Dir::mknod`] can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A named pipe.
    Fifo,
    /// The name of a socket that nobody listens on.
    Socket,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

impl Dir {
    /// The name by which a directory's own attributes are reached.
    pub const ITSELF: &'static str = ".";

    /// Opens a directory by a trusted path; symbolic links are followed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = rustix::fs::open(path, DIR_FLAGS, Mode::empty())
            .map_err(|error| FsError::new("open the directory", path, error))?;
        Ok(Self::from_fd(fd))
    }

    /// A directory that is open already; a detached mount is one, too.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self {
            fd,
            ownership: Ownership::Native,
        }
    }

    /// The same directory with its owners, and those of all directories opened from it, kept as
    /// `ownership` says.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// How owners are kept here.
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// Another handle for the same directory.
    pub fn try_clone(&self) -> Result<Self> {
        let fd = self
            .fd
            .try_clone()
            .map_err(FsError::on("duplicate the handle of", OsStr::new(".")))?;
        Ok(self.opened(fd))
    }

    pub(super) fn opened(&self, fd: OwnedFd) -> Self {
        Self {
            fd,
            ownership: self.ownership,
        }
    }

    pub(super) fn reopen(&self) -> Result<Self> {
        rustix::fs::openat(&self.fd, ".", DIR_FLAGS, Mode::empty())
            .map(|fd| self.opened(fd))
            .map_err(FsError::on("open the directory", OsStr::new(".")))
    }

    /// Opens a directory in this one.
    pub fn open_dir(&self, name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        let action = "open the directory";
        check_name(action, name)?;
        rustix::fs::openat(&self.fd, name, DIR_FLAGS | OFlags::NOFOLLOW, Mode::empty())
            .map(|fd| self.opened(fd))
            .map_err(FsError::on(action, name))
    }

    /// Opens a directory below this one by a relative path. A symbolic link anywhere in the path
    /// is an error (`ELOOP`), and so is leaving this directory by `..`. The empty path is this
    /// directory.
    pub fn open_dir_beneath(&self, path: impl AsRef<Path>) -> Result<Self> {
        self.open_path(path.as_ref(), DIR_FLAGS, BENEATH)
            .map(|fd| self.opened(fd))
    }

    /// Opens a regular file below this one for reading, as [`Dir::open_dir_beneath`] does.
    pub fn open_file_beneath(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let fd = self.open_path(path, READ_FLAGS, BENEATH)?;
        Ok(regular(fd, path.as_os_str())?.0)
    }

    /// As [`Dir::open_file_beneath`], with what [`super::file_metadata`] says of the file: opening
    /// it asks for that anyway.
    pub fn open_known_file_beneath(&self, path: impl AsRef<Path>) -> Result<(File, Metadata)> {
        let path = path.as_ref();
        let fd = self.open_path(path, READ_FLAGS, BENEATH)?;
        let (file, metadata) = regular(fd, path.as_os_str())?;
        super::file::with_recorded_owner(file, metadata, self.ownership)
    }

    /// Opens a directory below this one, following symbolic links as if this one was `/`.
    pub fn open_dir_in_root(&self, path: impl AsRef<Path>) -> Result<Self> {
        self.open_path(path.as_ref(), DIR_FLAGS, IN_ROOT)
            .map(|fd| self.opened(fd))
    }

    /// Opens a regular file for reading, following symbolic links as if this directory was `/`.
    pub fn open_file_in_root(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let fd = self.open_path(path, READ_FLAGS - OFlags::NOFOLLOW, IN_ROOT)?;
        Ok(regular(fd, path.as_os_str())?.0)
    }

    fn open_path(&self, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
        let asked = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let mut result = Err(Errno::AGAIN);
        for _ in 0..OPEN_ATTEMPTS {
            result = rustix::fs::openat2(&self.fd, asked, flags, Mode::empty(), resolve);
            if result.as_ref().err() != Some(&Errno::AGAIN) {
                break;
            }
        }
        if resolve == BENEATH && result.as_ref().err() == Some(&Errno::NOSYS) {
            result = stepwise::open_beneath(self.fd.as_fd(), asked, flags);
        }
        result.map_err(|error| FsError::new("open", path, error))
    }

    /// Opens a regular file for reading. Anything else is an error of the kind
    /// [`io::ErrorKind::InvalidInput`] (a symbolic link: `ELOOP`), and opening it does not block.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        Ok(self.open_regular(name)?.0)
    }

    /// As [`Dir::open_file`], with what [`super::file_metadata`] says of the file: opening it asks
    /// for that anyway.
    pub fn open_known_file(&self, name: impl AsRef<OsStr>) -> Result<(File, Metadata)> {
        let (file, metadata) = self.open_regular(name.as_ref())?;
        super::file::with_recorded_owner(file, metadata, self.ownership)
    }

    fn open_regular(&self, name: &OsStr) -> Result<(File, Metadata)> {
        check_name("open", name)?;
        let fd = rustix::fs::openat(&self.fd, name, READ_FLAGS, Mode::empty())
            .map_err(FsError::on("open", name))?;
        regular(fd, name)
    }

    /// Makes a regular file that must not exist yet and opens it for writing and reading.
    pub fn create_file(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<File> {
        let name = name.as_ref();
        check_name("create", name)?;
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode))
            .map(File::from)
            .map_err(FsError::on("create", name))
    }

    /// What `name` is; a symbolic link is not followed.
    pub fn metadata(&self, name: impl AsRef<OsStr>) -> Result<Metadata> {
        let name = name.as_ref();
        let action = "read the attributes of";
        check_entry(action, name)?;
        let raw = rustix::fs::statx(&self.fd, name, STAT_FLAGS, STAT_MASK)
            .map_err(FsError::on(action, name))?;
        let mut metadata = Metadata::from_raw(&raw)
            .ok_or_else(|| FsError::new(action, name, io::ErrorKind::Unsupported))?;
        if self.records(metadata.file_type) {
            let recorded = self.xattr(name, OWNER_XATTR)?;
            apply_recorded(&mut metadata, recorded.as_deref());
        }
        Ok(metadata)
    }

    /// What `name` is, or `None` where it is not there.
    pub fn try_metadata(&self, name: impl AsRef<OsStr>) -> Result<Option<Metadata>> {
        optional(self.metadata(name))
    }

    /// Where a symbolic link points to.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> Result<OsString> {
        let name = name.as_ref();
        check_name("read the link", name)?;
        rustix::fs::readlinkat(&self.fd, name, Vec::new())
            .map(|target| OsString::from_vec(target.into_bytes()))
            .map_err(FsError::on("read the link", name))
    }

    /// Makes a directory. The mode is exact where the process has no file mode mask.
    pub fn mkdir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let name = name.as_ref();
        check_name("make the directory", name)?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode))
            .map_err(FsError::on("make the directory", name))
    }

    /// Makes a symbolic link `name` that points to `target`.
    pub fn symlink(&self, target: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        check_name("make the symbolic link", name)?;
        rustix::fs::symlinkat(target.as_ref(), &self.fd, name)
            .map_err(FsError::on("make the symbolic link", name))
    }

    /// Gives the file `name` of this directory the further name `to_name` in `to`.
    pub fn link_to(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        check_name("link", name)?;
        check_name("link", to_name)?;
        rustix::fs::linkat(&self.fd, name, &to.fd, to_name, AtFlags::empty())
            .map_err(FsError::on("make the hard link", to_name))
    }

    /// Makes a named pipe or a device node.
    pub fn mknod(&self, name: impl AsRef<OsStr>, kind: NodeKind, mode: u32) -> Result<()> {
        let name = name.as_ref();
        check_name("make the node", name)?;
        let (file_type, device) = match kind {
            NodeKind::Fifo => (rustix::fs::FileType::Fifo, Device::default()),
            NodeKind::Socket => (rustix::fs::FileType::Socket, Device::default()),
            NodeKind::CharDevice(device) => (rustix::fs::FileType::CharacterDevice, device),
            NodeKind::BlockDevice(device) => (rustix::fs::FileType::BlockDevice, device),
        };
        let device = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(&self.fd, name, file_type, Mode::from_raw_mode(mode), device)
            .map_err(FsError::on("make the node", name))
    }

    /// Makes overlayfs' mark for "not here any more".
    pub fn whiteout(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.mknod(name, NodeKind::CharDevice(Device::default()), 0)
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        check_name("remove", name)?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(FsError::on("remove", name))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        check_name("remove the directory", name)?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
            .map_err(FsError::on("remove the directory", name))
    }

    /// Gives `name` the name `to_name` in `to`, replacing what is there.
    pub fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        to_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        let (name, to_name) = (name.as_ref(), to_name.as_ref());
        check_name("rename", name)?;
        check_name("rename", to_name)?;
        rustix::fs::renameat(&self.fd, name, &to.fd, to_name).map_err(FsError::on("rename", name))
    }

    /// Sets the owner. Clears set-id bits and `security.capability` of files, so those come after.
    ///
    /// Where owners are recorded, an owner other than 0:0 of anything but a regular file or a
    /// directory can't be kept: that is an error of the kind [`io::ErrorKind::Unsupported`]. Where
    /// the id is outside the user namespace's map it is [`io::ErrorKind::InvalidInput`].
    pub fn set_owner(&self, name: impl AsRef<OsStr>, owner: Owner) -> Result<()> {
        let name = name.as_ref();
        let action = "change the owner of";
        check_entry(action, name)?;
        match self.ownership {
            Ownership::Native => {
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                raw_owner(owner)
                    .and_then(|(uid, gid)| {
                        rustix::fs::chownat(&self.fd, name, Some(uid), Some(gid), flags)
                    })
                    .map_err(FsError::on(action, name))
            }
            Ownership::Recorded => {
                let stat = rustix::fs::statx(&self.fd, name, STAT_FLAGS, STAT_MASK)
                    .map_err(FsError::on(action, name))?;
                let recordable = Metadata::from_raw(&stat)
                    .is_some_and(|metadata| self.records(metadata.file_type));
                match (recordable, owner) {
                    (true, Owner::ROOT) => self.remove_xattr(name, OWNER_XATTR),
                    (true, _) => self.set_xattr(name, OWNER_XATTR, owner.to_string().as_bytes()),
                    (false, Owner::ROOT) => Ok(()),
                    (false, _) => Err(FsError::new(action, name, io::ErrorKind::Unsupported)),
                }
            }
        }
    }

    /// Sets the permission bits (`0o7777`) of anything but a symbolic link.
    pub fn set_mode(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let name = name.as_ref();
        check_entry("change the mode of", name)?;
        super::chmod::chmod_nofollow(self.fd.as_fd(), name, mode)
            .map_err(FsError::on("change the mode of", name))
    }

    /// Sets the modification time; the access time becomes the same.
    pub fn set_times(&self, name: impl AsRef<OsStr>, mtime: FileTime) -> Result<()> {
        let name = name.as_ref();
        check_entry("change the times of", name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(&self.fd, name, &timestamps(mtime), flags)
            .map_err(FsError::on("change the times of", name))
    }

    /// All extended attributes that may be read, sorted by name.
    pub fn xattrs(&self, name: impl AsRef<OsStr>) -> Result<Vec<Xattr>> {
        let name = name.as_ref();
        check_entry("read the extended attributes of", name)?;
        xattr::all(&self.fd, name).map_err(FsError::on("read the extended attributes of", name))
    }

    /// One extended attribute.
    pub fn xattr(
        &self,
        name: impl AsRef<OsStr>,
        key: impl AsRef<OsStr>,
    ) -> Result<Option<Vec<u8>>> {
        let name = name.as_ref();
        check_entry("read an extended attribute of", name)?;
        xattr::get(&self.fd, name, key.as_ref())
            .map_err(FsError::on("read an extended attribute of", name))
    }

    /// Sets one extended attribute.
    pub fn set_xattr(
        &self,
        name: impl AsRef<OsStr>,
        key: impl AsRef<OsStr>,
        value: &[u8],
    ) -> Result<()> {
        let name = name.as_ref();
        check_entry("set an extended attribute of", name)?;
        xattr::set(&self.fd, name, key.as_ref(), value)
            .map_err(FsError::on("set an extended attribute of", name))
    }

    /// Removes one extended attribute; that it is not there is no error.
    pub fn remove_xattr(&self, name: impl AsRef<OsStr>, key: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        check_entry("remove an extended attribute of", name)?;
        xattr::remove(&self.fd, name, key.as_ref())
            .map_err(FsError::on("remove an extended attribute of", name))
    }

    fn records(&self, file_type: FileType) -> bool {
        self.ownership == Ownership::Recorded && matches!(file_type, FileType::File | FileType::Dir)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Dir> for OwnedFd {
    fn from(dir: Dir) -> Self {
        dir.fd
    }
}

const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Refuses what was opened if it is not a regular file.
fn regular(fd: OwnedFd, name: &OsStr) -> Result<(File, Metadata)> {
    let file = File::from(fd);
    let metadata = stat_fd(&file, name)?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(FsError::new(
            "open",
            name,
            io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"),
        ))
    }
}

pub(super) fn stat_fd(fd: impl AsFd, name: &OsStr) -> Result<Metadata> {
    let action = "read the attributes of";
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, STAT_MASK)
        .map_err(FsError::on(action, name))?;
    Metadata::from_raw(&stat).ok_or_else(|| FsError::new(action, name, io::ErrorKind::Unsupported))
}

/// Puts the recorded owner in. A value that is no owner was not written by kiln and counts as none.
pub(super) fn apply_recorded(metadata: &mut Metadata, recorded: Option<&[u8]>) {
    let owner = recorded
        .and_then(|value| std::str::from_utf8(value).ok())
        .and_then(|text| text.parse::<Owner>().ok());
    if let Some(owner) = owner {
        metadata.uid = owner.uid;
        metadata.gid = owner.gid;
    }
}

/// The ids as the system takes them. It reads the largest number as "leave it as it is", so nobody
/// can own a file by that number.
pub(super) fn raw_owner(owner: Owner) -> rustix::io::Result<(Uid, Gid)> {
    if owner.uid == u32::MAX || owner.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Uid::from_raw(owner.uid), Gid::from_raw(owner.gid)))
}

pub(super) fn timestamps(mtime: FileTime) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// A name of one entry: no path, no way up.
fn check_name(action: &'static str, name: &OsStr) -> Result<()> {
    if name == "." {
        return Err(invalid(action, name));
    }
    check_entry(action, name)
}

/// A name of one entry, or the directory itself.
fn check_entry(action: &'static str, name: &OsStr) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(invalid(action, name));
    }
    Ok(())
}

fn invalid(action: &'static str, name: &OsStr) -> FsError {
    let reason = "not a single file name";
    FsError::new(
        action,
        name,
        io::Error::new(io::ErrorKind::InvalidInput, reason),
    )
}
