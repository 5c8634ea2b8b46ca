//! A list of changes, packed: a layer may have half a million of them, which all stay in memory
//! until it is written.
//!
//! A file takes about 20 bytes: paths begin as the ones before them, and so are most attributes.
//! The list is read from its beginning only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use kiln_base::packed::{Unpack, put_bytes, put_like, put_near, put_number};
use kiln_sys::fs::{Device, FileTime};

use crate::changes::{Change, Entry, Node};

/// So many bytes make a chunk, in which the first change is not like any before. A list that is in
/// chunks has no room that is not used yet, and is not moved when it grows.
const CHUNK: usize = if cfg!(test) { 256 } else { 64 << 10 };

/// A list of changes.
#[derive(Debug, Default)]
pub(crate) struct PackedChanges {
    chunks: Vec<Box<[u8]>>,
    last: Vec<u8>,
    before: Before,
    count: usize,
}

/// Goes through the changes in their order.
#[derive(Debug, Clone)]
pub(crate) struct PackedIter<'a> {
    chunks: std::slice::Iter<'a, Box<[u8]>>,
    last: &'a [u8],
    unpack: Unpack<'a>,
    before: Before,
}

/// What is known of the change before.
#[derive(Debug, Clone, Default)]
struct Before {
    path: Vec<u8>,
    attributes: Attributes,
}

#[derive(Debug, Clone, Copy, Default)]
struct Attributes {
    mode: u32,
    owner: (u32, u32),
    mtime: FileTime,
}

/// The kinds of changes, in the lower bits of a change's first byte.
mod kind {
    pub(super) const WHITEOUT: u8 = 0;
    pub(super) const DIR: u8 = 1;
    pub(super) const FILE: u8 = 2;
    pub(super) const SYMLINK: u8 = 3;
    pub(super) const HARD_LINK: u8 = 4;
    pub(super) const FIFO: u8 = 5;
    pub(super) const CHAR_DEVICE: u8 = 6;
    pub(super) const BLOCK_DEVICE: u8 = 7;
    pub(super) const MASK: u8 = 7;
}

/// What is not written down.
mod flag {
    pub(super) const SAME_MODE: u8 = 0x10;
    pub(super) const SAME_OWNER: u8 = 0x20;
    pub(super) const NO_XATTRS: u8 = 0x40;
}

impl PackedChanges {
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Adds a change.
    pub(crate) fn push(&mut self, change: &Change) {
        if self.last.len() >= CHUNK {
            self.chunks.push(self.last.as_slice().into());
            self.last.clear();
            self.before = Before::default();
        }
        self.count += 1;
        let (bytes, before) = (&mut self.last, &mut self.before);
        let first = bytes.len();
        bytes.push(kind::WHITEOUT);
        let path = change.path().as_os_str().as_bytes();
        put_like(bytes, path, &before.path);
        before.path.clear();
        before.path.extend_from_slice(path);
        if let Change::Entry(entry) = change {
            bytes[first] = put_entry(bytes, entry, &mut before.attributes);
        }
    }

    /// The changes in order.
    pub(crate) fn iter(&self) -> PackedIter<'_> {
        PackedIter {
            chunks: self.chunks.iter(),
            last: &self.last,
            unpack: Unpack::default(),
            before: Before::default(),
        }
    }
}

/// Puts all but the path, and says what the first byte is.
fn put_entry(bytes: &mut Vec<u8>, entry: &Entry, before: &mut Attributes) -> u8 {
    let kind = match entry.node {
        Node::Dir => kind::DIR,
        Node::File(_) => kind::FILE,
        Node::Symlink(_) => kind::SYMLINK,
        Node::HardLink(_) => kind::HARD_LINK,
        Node::Fifo => kind::FIFO,
        Node::CharDevice(_) => kind::CHAR_DEVICE,
        Node::BlockDevice(_) => kind::BLOCK_DEVICE,
    };
    let mut first = kind;
    let now = Attributes {
        mode: entry.mode,
        owner: (entry.uid, entry.gid),
        mtime: entry.mtime,
    };
    if now.mode == before.mode {
        first |= flag::SAME_MODE;
    } else {
        put_number(bytes, now.mode.into());
    }
    if now.owner == before.owner {
        first |= flag::SAME_OWNER;
    } else {
        put_number(bytes, now.owner.0.into());
        put_number(bytes, now.owner.1.into());
    }
    let seconds = |attributes: &Attributes| attributes.mtime.seconds.cast_unsigned();
    put_near(bytes, seconds(&now), seconds(before));
    let nanoseconds = |attributes: &Attributes| attributes.mtime.nanoseconds.into();
    put_near(bytes, nanoseconds(&now), nanoseconds(before));
    match &entry.node {
        Node::File(size) => put_number(bytes, *size),
        Node::Symlink(target) => put_bytes(bytes, target.as_bytes()),
        Node::HardLink(path) => put_bytes(bytes, path.as_os_str().as_bytes()),
        Node::CharDevice(device) | Node::BlockDevice(device) => {
            put_number(bytes, device.major.into());
            put_number(bytes, device.minor.into());
        }
        Node::Dir | Node::Fifo => {}
    }
    if entry.xattrs.is_empty() {
        first |= flag::NO_XATTRS;
    } else {
        put_number(bytes, entry.xattrs.len() as u64);
        for (name, value) in &entry.xattrs {
            put_bytes(bytes, name.as_bytes());
            put_bytes(bytes, value);
        }
    }
    *before = now;
    first
}

impl PackedIter<'_> {
    fn entry(&mut self, first: u8, path: PathBuf) -> Entry {
        let unpack = &mut self.unpack;
        let attributes = &mut self.before.attributes;
        if first & flag::SAME_MODE == 0 {
            attributes.mode = unpack.number32();
        }
        if first & flag::SAME_OWNER == 0 {
            attributes.owner = (unpack.number32(), unpack.number32());
        }
        let mtime = &mut attributes.mtime;
        mtime.seconds = unpack.near(mtime.seconds.cast_unsigned()).cast_signed();
        let nanoseconds = unpack.near(mtime.nanoseconds.into());
        mtime.nanoseconds = u32::try_from(nanoseconds).unwrap_or_default();
        let node = match first & kind::MASK {
            kind::FILE => Node::File(unpack.number()),
            kind::SYMLINK => Node::Symlink(os_string(unpack.bytes())),
            kind::HARD_LINK => Node::HardLink(os_string(unpack.bytes()).into()),
            kind::CHAR_DEVICE => Node::CharDevice(device(unpack)),
            kind::BLOCK_DEVICE => Node::BlockDevice(device(unpack)),
            kind::FIFO => Node::Fifo,
            _ => Node::Dir,
        };
        let mut xattrs = Vec::new();
        if first & flag::NO_XATTRS == 0 {
            let count = unpack.count();
            let xattr = |_| (os_string(unpack.bytes()), unpack.bytes().to_vec());
            xattrs = (0..count).map(xattr).collect();
        }
        Entry {
            path,
            node,
            mode: attributes.mode,
            uid: attributes.owner.0,
            gid: attributes.owner.1,
            mtime: attributes.mtime,
            xattrs,
        }
    }
}

fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

fn device(unpack: &mut Unpack<'_>) -> Device {
    Device {
        major: unpack.number32(),
        minor: unpack.number32(),
    }
}

impl Iterator for PackedIter<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if self.unpack.is_empty() {
            let chunk = match self.chunks.next() {
                Some(chunk) => chunk,
                None => std::mem::take(&mut self.last),
            };
            self.unpack = Unpack::new(chunk);
            self.before = Before::default();
        }
        if self.unpack.is_empty() {
            return None;
        }
        let first = self.unpack.byte();
        self.unpack.like(&mut self.before.path);
        let path = PathBuf::from(OsStr::from_bytes(&self.before.path));
        Some(match first & kind::MASK {
            kind::WHITEOUT => Change::Whiteout(path),
            _ => Change::Entry(self.entry(first, path)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ab/]{1,4}", "src/file-[0-9]{1,3}", "[a-z/]{1,300}"]
    }

    fn node() -> impl Strategy<Value = Node> {
        let device = || {
            let numbers = any::<(u32, u32)>();
            numbers.prop_map(|(major, minor)| Device { major, minor })
        };
        prop_oneof![
            Just(Node::Dir),
            any::<u64>().prop_map(Node::File),
            (0..1000_u64).prop_map(Node::File),
            text().prop_map(|target| Node::Symlink(target.into())),
            text().prop_map(|first| Node::HardLink(first.into())),
            Just(Node::Fifo),
            device().prop_map(Node::CharDevice),
            device().prop_map(Node::BlockDevice),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        let xattr = (
            "user\\.[a-z]{1,4}",
            prop::collection::vec(any::<u8>(), 0..9),
        );
        let xattr = xattr.prop_map(|(name, value)| (OsString::from(name), value));
        let attributes = (
            prop_oneof![Just(0o644), 0..0o10_000_u32],
            prop_oneof![Just((0, 0)), any::<(u32, u32)>()],
            (
                prop_oneof![Just(1_700_000_000), any::<i64>()],
                0..1_000_000_000_u32,
            ),
            prop_oneof![Just(Vec::new()), prop::collection::vec(xattr, 0..3).boxed()],
        );
        let entry = (text(), node(), attributes).prop_map(|(path, node, attributes)| {
            let (mode, (uid, gid), (seconds, nanoseconds), xattrs) = attributes;
            let mtime = FileTime {
                seconds,
                nanoseconds,
            };
            Change::Entry(Entry {
                path: path.into(),
                node,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            })
        });
        prop_oneof![
            1 => text().prop_map(|path| Change::Whiteout(path.into())),
            9 => entry,
        ]
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(changes in prop::collection::vec(change(), 0..200)) {
            let mut packed = PackedChanges::default();
            for change in &changes {
                packed.push(change);
            }
            prop_assert_eq!(packed.len(), changes.len());
            let seen: Vec<Change> = packed.iter().collect();
            prop_assert_eq!(seen, changes);
        }
    }

    #[test]
    fn a_usual_file_takes_few_bytes() {
        let mut packed = PackedChanges::default();
        for number in 0..1000_u32 {
            packed.push(&Change::Entry(Entry {
                path: format!("src/folder/file-{number:04}.txt").into(),
                node: Node::File(300),
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: FileTime {
                    seconds: 1_700_000_000 + i64::from(number / 50),
                    nanoseconds: number.wrapping_mul(1_234_567) % 1_000_000_000,
                },
                xattrs: Vec::new(),
            }));
        }
        let chunks = packed.chunks.iter().map(|chunk| chunk.len());
        let bytes = chunks.sum::<usize>() + packed.last.len();
        // Chunks are small in tests, and begin anew: that is a part of it.
        assert!(bytes < 1000 * 25, "{bytes}");
    }
}
