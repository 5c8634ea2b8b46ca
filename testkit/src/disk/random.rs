//! Trees that nobody would make, the same for the same seed.

use std::ffi::OsString;
use std::ops::RangeInclusive;

use kiln_disk::{Attributes, Content, File, Inode, Node, NodeId, Segment, Tree};
use kiln_sys::fs::{Device, FileTime};
use kiln_sys::xattr::Xattr;

use super::DiskFiles;

/// What a random tree may have: what its file system can keep.
#[derive(Debug, Clone)]
pub struct Shape {
    /// About so many names.
    pub names: usize,
    /// Directories may be nested this deep.
    pub depth: usize,
    /// Modification times, in seconds since 1970.
    pub times: RangeInclusive<i64>,
    /// Whether times have nanoseconds.
    pub nanoseconds: bool,
    /// All attributes of one inode take about this many bytes at most; 0 for no attributes.
    pub xattr_bytes: usize,
    /// Whether there are POSIX ACLs among the attributes.
    pub acls: bool,
    /// Files are this large at most, in bytes; sparse ones may be much larger.
    pub file_bytes: usize,
}

/// Pseudo-random numbers (splitmix64): only for tests, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// A tree of this shape, with the contents of its larger files in `files`.
pub fn random_tree(seed: u64, shape: &Shape, files: &mut DiskFiles) -> Tree {
    let mut maker = Maker {
        random: Random::new(seed),
        shape,
        files,
    };
    let root = maker.attributes(Kind::Directory);
    let mut tree = Tree::new(root);
    // Each with its depth. Few of them make a deep or wide tree.
    let mut directories = vec![(Tree::ROOT, 0)];
    let mut others: Vec<NodeId> = Vec::new();
    let wide = maker.random.below(3) == 0;
    for _ in 0..shape.names {
        let (parent, depth) = if wide && maker.random.below(8) != 0 {
            directories[0]
        } else if maker.random.below(2) == 0 {
            directories[directories.len() - 1]
        } else {
            directories[maker.random.index(directories.len())]
        };
        let name = maker.name();
        if !others.is_empty() && maker.random.below(12) == 0 {
            let id = others[maker.random.index(others.len())];
            // A name may be there already.
            let _ = tree.link(parent, &name, id);
            continue;
        }
        let kind = maker.kind(depth < shape.depth);
        let inode = maker.inode(kind);
        let Ok(id) = tree.add(parent, &name, inode) else {
            continue;
        };
        match kind {
            Kind::Directory => directories.push((id, depth + 1)),
            _ => others.push(id),
        }
    }
    tree
}

struct Maker<'a> {
    random: Random,
    shape: &'a Shape,
    files: &'a mut DiskFiles,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Symlink,
    Special,
}

impl Shape {
    /// What ext4 keeps: about this many names, and everything else that it can.
    pub fn all(names: usize) -> Self {
        Self {
            names,
            depth: 60,
            times: -(1 << 31)..=(2 << 32) + (1 << 31) - 1,
            nanoseconds: true,
            xattr_bytes: 3000,
            acls: true,
            file_bytes: 100_000,
        }
    }
}

impl Random {
    /// Numbers that follow from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of all.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// An index into a list of this length, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}

impl Maker<'_> {
    fn kind(&mut self, can_nest: bool) -> Kind {
        match self.random.below(16) {
            0..=3 if can_nest => Kind::Directory,
            4 | 5 => Kind::Symlink,
            6 => Kind::Special,
            _ => Kind::File,
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let length = match self.random.below(10) {
            0 => 255,
            1 => 1 + self.random.index(255),
            _ => 1 + self.random.index(20),
        };
        let is_odd = self.random.below(4) == 0;
        let mut name = self.random.bytes(length);
        for byte in &mut name {
            if !is_odd {
                *byte = b"abcdefghijklmnopqrstuvwxyz0123456789._-+ ABCDEFGHIJKLMNOPQRSTUVW"
                    [usize::from(*byte % 64)];
            } else if matches!(*byte, 0 | b'/') {
                *byte = 0xff;
            }
        }
        if matches!(&name[..], b"." | b"..") {
            name.push(b'x');
        }
        name
    }

    fn inode(&mut self, kind: Kind) -> Inode {
        let node = match kind {
            Kind::Directory => Node::Directory(Vec::new()),
            Kind::File => Node::File(self.file()),
            Kind::Symlink => {
                let length = self.random.pick(&[1, 5, 30, 59, 60, 61, 200, 1000, 4095]);
                let mut target = self.random.bytes(length);
                for byte in &mut target {
                    *byte |= 1;
                }
                Node::Symlink(target.into())
            }
            Kind::Special => self.special(),
        };
        Inode {
            attributes: self.attributes(kind),
            node,
        }
    }

    fn special(&mut self) -> Node {
        let device = Device {
            major: self.random.pick(&[0, 1, 8, 255, 256, 4095]),
            minor: self.random.pick(&[0, 3, 255, 256, 65_535, 1_048_575]),
        };
        match self.random.below(4) {
            0 => Node::CharDevice(device),
            1 => Node::BlockDevice(device),
            2 => Node::Fifo,
            _ => Node::Socket,
        }
    }

    fn file(&mut self) -> File {
        let largest = self.shape.file_bytes;
        let size = match self.random.below(8) {
            0 => 0,
            1 => self.random.pick(&[1, 4095, 4096, 4097, 8192]).min(largest),
            2 => self.random.index(largest + 1),
            3 => return self.sparse_file(),
            _ => self.random.index(largest.min(3000) + 1),
        };
        let bytes = self.random.bytes(size);
        if self.random.below(2) == 0 {
            return File::of_bytes(bytes);
        }
        File {
            size: size as u64,
            content: Content::Stored(self.files.store(&bytes)),
        }
    }

    fn sparse_file(&mut self) -> File {
        let mut parts = Vec::new();
        let mut end = 0;
        // One in eight begins with data, and one in eight is larger than 4 GiB.
        for _ in 0..self.random.below(12) {
            let gap = match self.random.below(8) {
                0 if end == 0 => 0,
                1 => self.random.below(1 << 30),
                _ => 1 + self.random.below(40_000),
            };
            let longest = self.shape.file_bytes.clamp(1, 9000);
            let length = 1 + self.random.index(longest);
            let offset = end + gap;
            let segment = Segment {
                offset,
                length: length as u64,
            };
            end = offset + segment.length;
            parts.push((segment, self.random.bytes(length)));
        }
        let size = end + self.random.pick(&[0, 1, 5000, 5 << 30]);
        let stored: Vec<_> = parts.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
        let key = self.files.store_sparse(size, &stored);
        File {
            size,
            content: Content::Sparse(key, parts.iter().map(|(segment, _)| *segment).collect()),
        }
    }

    fn attributes(&mut self, kind: Kind) -> Attributes {
        let (first, last) = (*self.shape.times.start(), *self.shape.times.end());
        let seconds = match self.random.below(6) {
            0 => first,
            1 => last,
            2 => first + (self.random.number() >> 1).cast_signed() % (last - first + 1),
            _ => 1_700_000_000 + self.random.below(1 << 24).cast_signed(),
        };
        let nanoseconds = self.random.pick(&[0, 1, 123_456_789, 999_999_999]);
        let ids = [0, 1, 1000, 65_534, 65_536, 4_294_967_294];
        let mode = match self.random.below(4) {
            _ if kind == Kind::Symlink => 0o777,
            0 => self.random.pick(&[0o7777, 0o4755, 0o2755, 0o1777, 0]),
            _ => self.random.pick(&[0o755, 0o644, 0o600]),
        };
        Attributes {
            mode,
            uid: self.random.pick(&ids),
            gid: self.random.pick(&ids),
            mtime: FileTime {
                seconds,
                nanoseconds: if self.shape.nanoseconds {
                    nanoseconds
                } else {
                    0
                },
            },
            xattrs: self.xattrs(kind),
        }
    }

    /// Attributes that a kernel shows to root as they are.
    fn xattrs(&mut self, kind: Kind) -> Vec<Xattr> {
        let mut xattrs: Vec<Xattr> = Vec::new();
        let mut left = self.shape.xattr_bytes;
        if left == 0 || self.random.below(3) != 0 {
            return xattrs;
        }
        for _ in 0..self.random.below(6) {
            let space = match kind {
                Kind::Directory | Kind::File => self.random.pick(&["user", "trusted", "security"]),
                Kind::Symlink | Kind::Special => self.random.pick(&["trusted", "security"]),
            };
            let length = 1 + self.random.index(20);
            let word: String = (0..length)
                .map(|_| char::from(b'a' + u8::try_from(self.random.below(26)).unwrap_or(0)))
                .collect();
            let size = self.random.pick(&[0, 1, 4, 20, 33, 700, 2500]);
            let value = self.random.bytes(size);
            left = match left.checked_sub(length + size + 40) {
                Some(left) => left,
                None => break,
            };
            xattrs.push((OsString::from(format!("{space}.kiln-{word}")), value));
        }
        if kind == Kind::File && self.random.below(2) == 0 {
            let rights = [0x0200_0001_u32, 0x2400, 0, 0, 0].map(u32::to_le_bytes);
            xattrs.push(("security.capability".into(), rights.concat()));
        }
        if self.shape.acls && matches!(kind, Kind::File | Kind::Directory) {
            if self.random.below(2) == 0 {
                xattrs.push(("system.posix_acl_access".into(), acl(1000)));
            }
            if kind == Kind::Directory && self.random.below(2) == 0 {
                xattrs.push(("system.posix_acl_default".into(), acl(7)));
            }
        }
        xattrs.sort();
        xattrs.dedup_by(|a, b| a.0 == b.0);
        xattrs
    }
}

/// An access control list as `getxattr` shows it: the owner, one more user, a group, the mask.
fn acl(user: u32) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [
        (1_u16, 7_u16, none),
        (2, 5, user),
        (4, 5, none),
        (8, 4, 50),
        (16, 5, none),
        (32, 0, none),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&rights.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}
