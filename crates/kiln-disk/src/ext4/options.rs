//! What can be chosen about a disk, and what can't be on one.

/// Choices about a disk. All are plain values: the same tree and options give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The file system's identifier; not all zeros.
    pub uuid: [u8; 16],
    /// Decides the order of names in large directories, so that nobody can make a directory slow
    /// with chosen names.
    pub hash_seed: [u8; 16],
    /// The file system's name, of 16 bytes at most.
    pub label: Vec<u8>,
    /// When the file system and its inodes were created, in seconds since 1970; also the times of
    /// `lost+found`.
    pub epoch: i64,
    /// Whether there is a journal, as large as `mke2fs` would make it. A disk that is only read
    /// needs none.
    pub journal: bool,
    /// Space that is free for files, in bytes.
    pub free_bytes: u64,
    /// Files that can be added. A disk that is made larger gets inodes in proportion to all that
    /// it had.
    pub free_inodes: u32,
    /// The disk is at least this large, in bytes; what is not needed is free.
    pub min_bytes: u64,
    /// How much larger the disk can become while it is mounted.
    pub growth: Growth,
}

/// How large a disk can become while it is mounted, by `resize2fs`: what is kept for that takes
/// some blocks at every copy of the superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Growth {
    /// Nothing is kept. The kernel still finds a way, but a slower one.
    Unprepared,
    /// So many times its size; `mke2fs` has 1024.
    Times(u32),
    /// This many bytes.
    Bytes(u64),
}

impl Default for Options {
    /// An exact, growable disk without a journal, of 1970, with an identifier that all such disks
    /// have.
    fn default() -> Self {
        Self {
            uuid: *b"kiln\x2d\x65\x78\x44\x80\x34\x64\x69\x73\x6b\x00\x01",
            hash_seed: *b"kiln\x68\x61\x73\x48\x80\x73\x65\x65\x64\x00\x00\x01",
            label: Vec::new(),
            epoch: 0,
            journal: false,
            free_bytes: 0,
            free_inodes: 0,
            min_bytes: 0,
            growth: Growth::Times(1024),
        }
    }
}

/// Why a tree can't be an ext4.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The label is too long.
    #[error("the label `{}` has more than 16 bytes", .0.escape_ascii())]
    Label(Vec<u8>),
    /// Tools take it for no identifier at all, and change it.
    #[error("the file system's UUID is all zeros")]
    Uuid,
    /// Attributes of one inode have room in the inode and in one block.
    #[error(
        "the extended attributes of `{}` take {bytes} bytes, ext4 has room for 4,060: remove some",
        .path.escape_ascii()
    )]
    XattrSpace {
        /// The file's path.
        path: Box<[u8]>,
        /// What doesn't fit beside what is in the inode, with names.
        bytes: usize,
    },
    /// Names begin with one of the words that the kernel knows, and are 255 bytes at most after it.
    #[error("`{}` has the extended attribute `{name}`, which ext4 can't name", .path.escape_ascii())]
    XattrName {
        /// The file's path.
        path: Box<[u8]>,
        /// The attribute.
        name: String,
    },
    /// Access control lists are stored in ext4's own form.
    #[error("`{}` of `{}` is no access control list", .name, .path.escape_ascii())]
    Acl {
        /// The file's path.
        path: Box<[u8]>,
        /// The attribute.
        name: String,
    },
    /// One inode has too many names.
    #[error("`{}` has {count} names, ext4 counts to 65,000", .path.escape_ascii())]
    Links {
        /// The first of the paths.
        path: Box<[u8]>,
        /// How many there are.
        count: u32,
    },
    /// A file is too large.
    #[error("`{}` has {size} bytes, files of ext4 are smaller than 16 TiB", .path.escape_ascii())]
    FileSize {
        /// The file's path.
        path: Box<[u8]>,
        /// Its size.
        size: u64,
    },
    /// The numbers of a device don't fit.
    #[error("the device `{}` is {major}:{minor}, Linux counts to 4095:1048575", .path.escape_ascii())]
    Device {
        /// The file's path.
        path: Box<[u8]>,
        /// The driver.
        major: u32,
        /// The device.
        minor: u32,
    },
    /// A symbolic link's target is empty or too long.
    #[error("the target of `{}` has {length} bytes, not 1 to 4095", .path.escape_ascii())]
    Target {
        /// The link's path.
        path: Box<[u8]>,
        /// The target's length.
        length: usize,
    },
    /// The tree contradicts itself.
    #[error("the content of `{}` is not as large as it says, or has overlapping parts", .path.escape_ascii())]
    Content {
        /// The file's path.
        path: Box<[u8]>,
    },
    /// All of it is too much.
    #[error("the disk would have 16 TiB or more, or more than 4,000,000,000 inodes")]
    TooLarge,
}
