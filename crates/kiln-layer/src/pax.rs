//! Tar headers as kiln writes them: POSIX ustar, and a PAX header before it where ustar is too
//! small.
//!
//! Access times, change times and user names are left out; times are whole seconds. That is what
//! makes the bytes a function of the tree.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kiln_base::Timestamp;
use kiln_sys::fs::{Device, FileTime};
use tar::{EntryType, Header, UstarHeader};

use crate::changes::{Entry, Node};

/// A tar stream is made of blocks of this size.
pub(crate) const BLOCK_BYTES: usize = 512;
/// What ustar's octal fields can hold.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
/// The mark that hides a name of the layers below.
pub(crate) const WHITEOUT_PREFIX: &str = ".wh.";
/// Where an extended attribute goes in a PAX header.
pub(crate) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// An extended attribute name that a PAX record can't express, as it contains `=`.
#[derive(Debug)]
pub(crate) struct XattrName(pub(crate) std::ffi::OsString);

/// The records of a PAX header, in the order they are written.
#[derive(Default)]
struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    fn add(&mut self, key: &[u8], value: impl Into<Vec<u8>>) {
        self.0.push((key.to_vec(), value.into()));
    }

    /// `length key=value\n`, where the length counts itself.
    fn encode(mut self) -> Vec<u8> {
        self.0.sort_unstable();
        let mut encoded = Vec::new();
        for (key, value) in self.0 {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            encoded.extend_from_slice(length.to_string().as_bytes());
            encoded.push(b' ');
            encoded.extend_from_slice(&key);
            encoded.push(b'=');
            encoded.extend_from_slice(&value);
            encoded.push(b'\n');
        }
        encoded
    }
}

/// Appends the headers of an entry.
pub(crate) fn put_entry(
    out: &mut Vec<u8>,
    entry: &Entry,
    clamp_mtime: Option<Timestamp>,
) -> Result<(), XattrName> {
    let mut records = Records::default();
    let mut header = Header::new_ustar();
    let (kind, size, link, device) = describe(&entry.node);
    let mut name = entry.path.as_os_str().as_bytes().to_vec();
    if entry.node == Node::Dir {
        name.push(b'/');
    }
    set_name(&mut header, &name, &mut records);
    if let Some(link) = link {
        set_link(&mut header, link, &mut records);
    }
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(small(
        u64::from(entry.uid),
        MAX_OCTAL_7,
        b"uid",
        &mut records,
    ));
    header.set_gid(small(
        u64::from(entry.gid),
        MAX_OCTAL_7,
        b"gid",
        &mut records,
    ));
    header.set_size(small(size, MAX_OCTAL_11, b"size", &mut records));
    let seconds = seconds(entry.mtime, clamp_mtime);
    match u64::try_from(seconds) {
        Ok(seconds) => header.set_mtime(small(seconds, MAX_OCTAL_11, b"mtime", &mut records)),
        Err(_) => {
            records.add(b"mtime", seconds.to_string());
            header.set_mtime(0);
        }
    }
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(device.major);
        ustar.set_device_minor(device.minor);
    }
    if kind != EntryType::Link {
        for (key, value) in &entry.xattrs {
            if key.as_bytes().contains(&b'=') {
                return Err(XattrName(key.clone()));
            }
            records.add(&[XATTR_PREFIX, key.as_bytes()].concat(), value.clone());
        }
    }
    put_records(out, records, &entry.path);
    put_header(out, &mut header);
    Ok(())
}

/// Appends the empty file that hides `path`.
pub(crate) fn put_whiteout(out: &mut Vec<u8>, path: &Path) {
    let mut name = WHITEOUT_PREFIX.as_bytes().to_vec();
    name.extend_from_slice(path.file_name().unwrap_or_default().as_bytes());
    let parent = path.parent().unwrap_or(Path::new(""));
    let path = parent.join(Path::new(std::ffi::OsStr::from_bytes(&name)));
    let mut records = Records::default();
    let mut header = Header::new_ustar();
    set_name(&mut header, path.as_os_str().as_bytes(), &mut records);
    header.set_entry_type(EntryType::Regular);
    set_nothing(&mut header);
    put_records(out, records, &path);
    put_header(out, &mut header);
}

/// How many bytes fill the last block of `size` bytes of content.
pub(crate) fn padding(size: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    // Less than a block, so it fits.
    usize::try_from(size.next_multiple_of(block) - size).unwrap_or(0)
}

fn describe(node: &Node) -> (EntryType, u64, Option<&[u8]>, Device) {
    let no_device = Device::default();
    match node {
        Node::Dir => (EntryType::Directory, 0, None, no_device),
        Node::File(size) => (EntryType::Regular, *size, None, no_device),
        Node::Symlink(target) => (EntryType::Symlink, 0, Some(target.as_bytes()), no_device),
        Node::HardLink(target) => {
            let target = target.as_os_str().as_bytes();
            (EntryType::Link, 0, Some(target), no_device)
        }
        Node::Fifo => (EntryType::Fifo, 0, None, no_device),
        Node::CharDevice(device) => (EntryType::Char, 0, None, *device),
        Node::BlockDevice(device) => (EntryType::Block, 0, None, *device),
    }
}

fn seconds(mtime: FileTime, clamp: Option<Timestamp>) -> i64 {
    match clamp {
        Some(limit) => mtime.seconds.min(limit.seconds()),
        None => mtime.seconds,
    }
}

/// The value for the header: itself, or zero and a record where the field is too small.
fn small(value: u64, limit: u64, key: &[u8], records: &mut Records) -> u64 {
    if value <= limit {
        return value;
    }
    records.add(key, value.to_string());
    0
}

/// Puts the name in the header, divided at a `/` if that makes it fit, or in a record.
fn set_name(header: &mut Header, name: &[u8], records: &mut Records) {
    let Some(ustar) = header.as_ustar_mut() else {
        return;
    };
    if let Some((prefix, rest)) = divide(name, ustar) {
        ustar.prefix[..prefix.len()].copy_from_slice(prefix);
        ustar.name[..rest.len()].copy_from_slice(rest);
        return;
    }
    records.add(b"path", name);
    let cut = name.len().min(ustar.name.len());
    ustar.name[..cut].copy_from_slice(&name[..cut]);
}

fn divide<'a>(name: &'a [u8], ustar: &UstarHeader) -> Option<(&'a [u8], &'a [u8])> {
    if name.len() <= ustar.name.len() {
        return Some((b"", name));
    }
    // The slash between the two parts is not stored; a trailing one can't divide.
    let end = name.len().min(ustar.prefix.len() + 1);
    let slash = name[..end.min(name.len() - 1)]
        .iter()
        .rposition(|byte| *byte == b'/')?;
    let (prefix, rest) = (&name[..slash], &name[slash + 1..]);
    (!prefix.is_empty() && rest.len() <= ustar.name.len()).then_some((prefix, rest))
}

fn set_link(header: &mut Header, link: &[u8], records: &mut Records) {
    let field = &mut header.as_old_mut().linkname;
    let cut = link.len().min(field.len());
    field[..cut].copy_from_slice(&link[..cut]);
    if link.len() > field.len() {
        records.add(b"linkpath", link);
    }
}

fn set_nothing(header: &mut Header) {
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
}

fn put_records(out: &mut Vec<u8>, records: Records, path: &Path) {
    if records.0.is_empty() {
        return;
    }
    let content = records.encode();
    let mut header = Header::new_ustar();
    // Readers that don't know PAX would make a file of this name.
    let mut name = b"PaxHeaders.0/".to_vec();
    name.extend_from_slice(path.file_name().unwrap_or_default().as_bytes());
    name.truncate(header.as_old().name.len());
    header.as_old_mut().name[..name.len()].copy_from_slice(&name);
    header.set_entry_type(EntryType::XHeader);
    set_nothing(&mut header);
    header.set_size(content.len() as u64);
    put_header(out, &mut header);
    let padding = padding(content.len() as u64);
    out.extend_from_slice(&content);
    out.resize(out.len() + padding, 0);
}

fn put_header(out: &mut Vec<u8>, header: &mut Header) {
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}
