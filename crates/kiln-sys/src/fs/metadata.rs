//! What the system knows about one inode.

use rustix::fs::{Statx, StatxTimestamp};

use super::Owner;

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device among the driver's.
    pub minor: u32,
}

/// A file time: seconds since the epoch, rounded down, and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What `statx` tells about an inode, with the owner that kiln holds it to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// The type.
    pub file_type: FileType,
    /// Permission bits with set-id and sticky bits: `0o7777`.
    pub mode: u32,
    /// The owner; read from `user.kiln.owner` where owners are recorded.
    pub uid: u32,
    /// The group; read from `user.kiln.owner` where owners are recorded.
    pub gid: u32,
    /// Bytes of content; the length of the target for a symbolic link.
    pub size: u64,
    /// What it takes on its file system, in units of 512 bytes: fewer than its size for a file with
    /// holes.
    pub blocks: u64,
    /// Time of the last change of content.
    pub mtime: FileTime,
    /// Time of the last change of the inode.
    pub ctime: FileTime,
    /// The device a device node stands for.
    pub rdev: Device,
    /// How many names the inode has.
    pub nlink: u32,
    /// The inode's number, unique within `dev`.
    pub ino: u64,
    /// The file system the inode is on.
    pub dev: Device,
}

impl FileType {
    pub(super) fn from_raw(file_type: rustix::fs::FileType) -> Option<Self> {
        match file_type {
            rustix::fs::FileType::RegularFile => Some(Self::File),
            rustix::fs::FileType::Directory => Some(Self::Dir),
            rustix::fs::FileType::Symlink => Some(Self::Symlink),
            rustix::fs::FileType::Fifo => Some(Self::Fifo),
            rustix::fs::FileType::Socket => Some(Self::Socket),
            rustix::fs::FileType::CharacterDevice => Some(Self::CharDevice),
            rustix::fs::FileType::BlockDevice => Some(Self::BlockDevice),
            rustix::fs::FileType::Unknown => None,
        }
    }
}

impl FileTime {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self::from_seconds(0);

    /// A time with no fraction of a second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            seconds,
            nanoseconds: 0,
        }
    }

    const fn from_raw(time: StatxTimestamp) -> Self {
        Self {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec,
        }
    }
}

impl Metadata {
    pub(super) fn from_raw(stat: &Statx) -> Option<Self> {
        Some(Self {
            file_type: FileType::from_raw(rustix::fs::FileType::from_raw_mode(
                stat.stx_mode.into(),
            ))?,
            mode: u32::from(stat.stx_mode) & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            mtime: FileTime::from_raw(stat.stx_mtime),
            ctime: FileTime::from_raw(stat.stx_ctime),
            rdev: Device {
                major: stat.stx_rdev_major,
                minor: stat.stx_rdev_minor,
            },
            nlink: stat.stx_nlink,
            ino: stat.stx_ino,
            dev: Device {
                major: stat.stx_dev_major,
                minor: stat.stx_dev_minor,
            },
        })
    }

    /// The owner and group.
    pub const fn owner(&self) -> Owner {
        Owner {
            uid: self.uid,
            gid: self.gid,
        }
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Dir
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Whether this is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// Whether this is a regular file that may have holes: it takes less space than its size.
    pub fn is_sparse(&self) -> bool {
        self.is_file() && self.blocks.saturating_mul(512) < self.size
    }

    /// Whether this is overlayfs' mark for "not here any more": a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.file_type == FileType::CharDevice && self.rdev == Device::default()
    }
}
