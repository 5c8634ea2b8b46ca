//! How a node is packed: what is not the same as in the first of its group, or in nearly all.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use kiln_base::packed::{Unpack, put_bytes, put_near, put_number};
use kiln_sys::fs::{Device, FileTime, FileType, Metadata};

use super::{DirNumber, Node, NodeKind};

/// Which parts of a node's attributes are not written down, as they are the group's first's, or what
/// nearly all have.
mod flag {
    pub(super) const SAME_MODE: u8 = 1;
    pub(super) const SAME_OWNER: u8 = 2;
    pub(super) const SAME_DEVICE: u8 = 4;
    pub(super) const ONE_NAME: u8 = 8;
    pub(super) const NO_RDEV: u8 = 16;
    pub(super) const SAME_TIMES: u8 = 32;
    pub(super) const IMPLIED: u8 = 64;
}

/// What the first node of a group is packed relative to.
pub(super) const NOTHING: Metadata = Metadata {
    file_type: FileType::File,
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    blocks: 0,
    mtime: FileTime::EPOCH,
    ctime: FileTime::EPOCH,
    rdev: Device { major: 0, minor: 0 },
    nlink: 1,
    ino: 0,
    dev: Device { major: 0, minor: 0 },
};

/// Appends all but the name, and the number of a directory.
pub(super) fn put_body(body: &mut Vec<u8>, node: &Node, base: &Metadata) {
    let metadata = &node.metadata;
    let same_mode = (metadata.file_type, metadata.mode) == (base.file_type, base.mode);
    let same_owner = metadata.owner() == base.owner();
    let flags = [
        (flag::SAME_MODE, same_mode),
        (flag::SAME_OWNER, same_owner),
        (flag::SAME_DEVICE, metadata.dev == base.dev),
        (flag::ONE_NAME, metadata.nlink == 1),
        (flag::NO_RDEV, metadata.rdev == Device::default()),
        (flag::SAME_TIMES, metadata.ctime == metadata.mtime),
        (flag::IMPLIED, node.implied),
    ];
    let flags = flags.iter().filter(|(_, is_set)| *is_set);
    let flags = flags.fold(0, |flags, (flag, _)| flags | flag);
    body.push(flags);
    if flags & flag::SAME_MODE == 0 {
        body.push(type_to_byte(metadata.file_type));
        put_number(body, metadata.mode.into());
    }
    if flags & flag::SAME_OWNER == 0 {
        put_number(body, metadata.uid.into());
        put_number(body, metadata.gid.into());
    }
    if flags & flag::SAME_DEVICE == 0 {
        put_number(body, metadata.dev.major.into());
        put_number(body, metadata.dev.minor.into());
    }
    if flags & flag::ONE_NAME == 0 {
        put_number(body, metadata.nlink.into());
    }
    if flags & flag::NO_RDEV == 0 {
        put_number(body, metadata.rdev.major.into());
        put_number(body, metadata.rdev.minor.into());
    }
    put_near(body, metadata.ino, base.ino);
    put_number(body, metadata.size);
    put_number(body, metadata.blocks);
    put_time(body, metadata.mtime, base.mtime);
    if flags & flag::SAME_TIMES == 0 {
        put_time(body, metadata.ctime, metadata.mtime);
    }
    match &node.kind {
        NodeKind::Symlink(target) => put_bytes(body, target.as_bytes()),
        NodeKind::Dir(_) => {
            put_number(body, node.xattrs.len() as u64);
            for (name, value) in &node.xattrs {
                put_bytes(body, name.as_bytes());
                put_bytes(body, value);
            }
        }
        NodeKind::File | NodeKind::Fifo | NodeKind::Device | NodeKind::Socket => {}
    }
}

fn put_time(body: &mut Vec<u8>, time: FileTime, known: FileTime) {
    let seconds = (time.seconds.cast_unsigned(), known.seconds.cast_unsigned());
    put_near(body, seconds.0, seconds.1);
    put_near(body, time.nanoseconds.into(), known.nanoseconds.into());
}

fn time(body: &mut Unpack<'_>, known: FileTime) -> FileTime {
    let seconds = body.near(known.seconds.cast_unsigned()).cast_signed();
    let nanoseconds = body.near(known.nanoseconds.into());
    FileTime {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
    }
}

/// The node of this name, whose directories' numbers begin at `first_dir`.
pub(super) fn unpack(name: &[u8], mut body: Unpack<'_>, base: &Metadata, first_dir: usize) -> Node {
    let flags = body.byte();
    let mut metadata = *base;
    if flags & flag::SAME_MODE == 0 {
        metadata.file_type = byte_to_type(body.byte());
        metadata.mode = body.number32();
    }
    if flags & flag::SAME_OWNER == 0 {
        metadata.uid = body.number32();
        metadata.gid = body.number32();
    }
    if flags & flag::SAME_DEVICE == 0 {
        metadata.dev.major = body.number32();
        metadata.dev.minor = body.number32();
    }
    metadata.nlink = match flags & flag::ONE_NAME {
        0 => body.number32(),
        _ => 1,
    };
    metadata.rdev = Device::default();
    if flags & flag::NO_RDEV == 0 {
        metadata.rdev.major = body.number32();
        metadata.rdev.minor = body.number32();
    }
    metadata.ino = body.near(base.ino);
    metadata.size = body.number();
    metadata.blocks = body.number();
    metadata.mtime = time(&mut body, base.mtime);
    metadata.ctime = match flags & flag::SAME_TIMES {
        0 => time(&mut body, metadata.mtime),
        _ => metadata.mtime,
    };
    let mut xattrs = Box::default();
    let kind = match metadata.file_type {
        FileType::File => NodeKind::File,
        FileType::Dir => {
            let count = body.count();
            let xattr = |_| (os_string(body.bytes()), body.bytes().to_vec());
            xattrs = (0..count).map(xattr).collect();
            NodeKind::Dir(DirNumber(first_dir + body.count()))
        }
        FileType::Symlink => NodeKind::Symlink(OsStr::from_bytes(body.bytes()).into()),
        FileType::Fifo => NodeKind::Fifo,
        FileType::CharDevice | FileType::BlockDevice => NodeKind::Device,
        FileType::Socket => NodeKind::Socket,
    };
    Node {
        name: OsStr::from_bytes(name).into(),
        metadata,
        xattrs,
        implied: flags & flag::IMPLIED != 0,
        kind,
    }
}

fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// The types by the number that they are packed as.
pub(super) const TYPES: [FileType; 7] = [
    FileType::File,
    FileType::Dir,
    FileType::Symlink,
    FileType::Fifo,
    FileType::CharDevice,
    FileType::BlockDevice,
    FileType::Socket,
];

const fn type_to_byte(file_type: FileType) -> u8 {
    match file_type {
        FileType::File => 0,
        FileType::Dir => 1,
        FileType::Symlink => 2,
        FileType::Fifo => 3,
        FileType::CharDevice => 4,
        FileType::BlockDevice => 5,
        FileType::Socket => 6,
    }
}

fn byte_to_type(byte: u8) -> FileType {
    TYPES[usize::from(byte)]
}
