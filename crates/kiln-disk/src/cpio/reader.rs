//! Reading a cpio archive that nobody vouches for, as the kernel would unpack it.
//!
//! Several archives may follow each other, with zeros between them. Of two members of one name the
//! last counts, except that directories stay. A directory that no member is about is made up.
//!
//! Deliberately absent: the older forms of headers, and archives that are compressed in part, as
//! some initial file systems are: what follows the part that is not is told, and not read.

use std::collections::HashMap;

use kiln_sys::fs::{Device, FileTime};

use super::{END, HEADER, PATH_MAX};
use crate::read::{Disk, Segments, damaged};
use crate::tree::{Attributes, Inode, Node, NodeId, Tree, TreeError};
use crate::{DiskSource, ReadError};

/// Headers begin with these; the sums of the second form are not compared.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];

/// So much is read at a time while zeros are skipped.
const ZEROS: u64 = 1 << 16;

/// What an archive says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Where the last archive ends, without what fills it up.
    pub size: u64,
    /// How many members there are.
    pub members: u64,
    /// How many bytes follow that are no archive, as compressed ones.
    pub rest: u64,
}

/// An archive.
#[derive(Debug)]
pub struct Reader<D> {
    disk: Disk<D>,
    facts: Facts,
    tree: Tree,
}

/// A member of the archive.
#[derive(Debug)]
struct Member {
    /// With a zero where `/` would be, so that a directory's members follow it.
    path: Vec<u8>,
    attributes: Attributes,
    mode: u32,
    device: Device,
    /// The inode's number, device and archive, where it has several names.
    link: Option<[u64; 4]>,
    /// Where the content is, and how long.
    content: (u64, u64),
}

impl<D: DiskSource> Reader<D> {
    /// Opens an archive, and reads all headers.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(disk: D) -> Result<Self, ReadError> {
        let mut scan = Scan {
            disk: Disk::new(disk)?,
            at: 0,
            archive: 0,
        };
        if !scan.is_member()? {
            return Err(ReadError::Format("cpio"));
        }
        let mut members = Vec::new();
        let mut size = 0;
        while scan.is_member()? {
            match scan.member()? {
                Some(member) => members.push(member),
                None => {
                    size = scan.at;
                    scan.archive += 1;
                    scan.skip_zeros()?;
                }
            }
        }
        if size == 0 {
            let problem = "it has no end";
            return Err(damaged("the archive".to_owned(), problem));
        }
        let facts = Facts {
            size,
            members: members.len() as u64,
            rest: scan.disk.size() - scan.at,
        };
        let tree = scan.tree(members)?;
        Ok(Self {
            disk: scan.disk,
            facts,
            tree,
        })
    }

    pub(crate) fn disk(&self) -> &D {
        self.disk.source()
    }

    /// What the archive says of itself.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// All members. The key of a file's content is where it is.
    pub fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Reads what is at `offset` of the content of this key, all of which must be there.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read_at(&self, key: u64, buffer: &mut [u8], offset: u64) -> Result<(), ReadError> {
        self.disk.read_into(buffer, key.saturating_add(offset))
    }
}

/// A walk through an archive.
struct Scan<D> {
    disk: Disk<D>,
    at: u64,
    /// How many archives came before.
    archive: u64,
}

impl<D: DiskSource> Scan<D> {
    fn wrong(&self, problem: &'static str) -> ReadError {
        damaged(format!("the member at {}", self.at), problem)
    }

    fn is_member(&self) -> Result<bool, ReadError> {
        if self.disk.size() - self.at < HEADER {
            return Ok(false);
        }
        let magic = self.disk.read(self.at, 6)?;
        Ok(MAGICS.contains(&&magic[..]))
    }

    /// The next member; none for the mark of the end.
    fn member(&mut self) -> Result<Option<Member>, ReadError> {
        let header = self.disk.read(self.at, HEADER)?;
        let mut fields = [0_u64; 13];
        for (field, digits) in fields.iter_mut().zip(header[6..].chunks(8)) {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            let number = u32::from_str_radix(text, 16);
            *field = number.map_err(|_| self.wrong("a number is none"))?.into();
        }
        let [
            number,
            mode,
            uid,
            gid,
            links,
            mtime,
            size,
            major,
            minor,
            device_major,
            device_minor,
            name,
            _,
        ] = fields;
        if name == 0 || name > PATH_MAX as u64 {
            return Err(self.wrong("its name has an impossible length"));
        }
        let start = self.at + HEADER;
        let raw = self.disk.read(start, name)?;
        let Some((0, path)) = raw.split_last() else {
            return Err(self.wrong("its name has no end"));
        };
        let content = (start + name).next_multiple_of(4);
        if content.saturating_add(size) > self.disk.size() {
            return Err(self.wrong("its content is cut off"));
        }
        let is_end = path == END;
        let path = self.path(path)?;
        self.at = (content + size).next_multiple_of(4).min(self.disk.size());
        if is_end {
            return Ok(None);
        }
        let narrow = |number: u64| number as u32;
        let mode = narrow(mode);
        let has_names = links > 1 && mode >> 12 != 0o04;
        Ok(Some(Member {
            path,
            attributes: Attributes {
                mode: mode & 0o7777,
                uid: narrow(uid),
                gid: narrow(gid),
                mtime: FileTime::from_seconds(mtime.cast_signed()),
                xattrs: Vec::new(),
            },
            mode,
            device: Device {
                major: narrow(device_major),
                minor: narrow(device_minor),
            },
            link: has_names.then_some([number, major, minor, self.archive]),
            content: (content, size),
        }))
    }

    /// The path with zeros instead of slashes; empty for the root.
    fn path(&self, path: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut clean = Vec::with_capacity(path.len());
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(self.wrong("its path leads out of the archive")),
                name if name.len() > 255 || name.contains(&0) => {
                    return Err(self.wrong("its path can't be one"));
                }
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(0);
            }
            clean.extend_from_slice(name);
        }
        Ok(clean)
    }

    fn skip_zeros(&mut self) -> Result<(), ReadError> {
        while self.at < self.disk.size() {
            let length = ZEROS.min(self.disk.size() - self.at);
            let bytes = self.disk.read(self.at, length)?;
            match bytes.iter().position(|byte| *byte != 0) {
                Some(found) => {
                    self.at += found as u64;
                    return Ok(());
                }
                None => self.at += length,
            }
        }
        Ok(())
    }

    fn tree(&self, mut members: Vec<Member>) -> Result<Tree, ReadError> {
        // Hard links have their content at one name of several.
        let mut contents: HashMap<[u64; 4], (u64, u64)> = HashMap::new();
        for member in &members {
            if let Some(link) = member.link
                && member.content.1 > 0
            {
                contents.insert(link, member.content);
            }
        }
        members.sort_by(|one, other| one.path.cmp(&other.path));
        let mut place = Place {
            tree: Tree::new(Attributes {
                mode: 0o755,
                ..Attributes::default()
            }),
            open: Vec::new(),
            links: HashMap::new(),
        };
        let mut members = members.into_iter().peekable();
        while let Some(mut member) = members.next() {
            // The last of a name counts.
            while let Some(later) = members.next_if(|next| next.path == member.path) {
                member = later;
            }
            if let Some(content) = member.link.and_then(|link| contents.get(&link)) {
                member.content = *content;
            }
            let node = self.node(&member)?;
            place.put(member, node)?;
        }
        Ok(place.tree)
    }

    fn node(&self, member: &Member) -> Result<Node, ReadError> {
        let (start, size) = member.content;
        let wrong = |problem| {
            let path = shown(&member.path);
            Err(damaged(format!("`{path}`"), problem))
        };
        Ok(match member.mode >> 12 {
            0o01 => Node::Fifo,
            0o02 => Node::CharDevice(member.device),
            0o04 => Node::Directory(Vec::new()),
            0o06 => Node::BlockDevice(member.device),
            0o10 => {
                let mut segments = Segments::default();
                segments.add(&(0..size));
                Node::File(segments.file(size, start))
            }
            0o12 if (1..4096).contains(&size) => {
                let target = self.disk.read(start, size)?;
                if target.contains(&0) {
                    return wrong("its target can't be one");
                }
                Node::Symlink(target.into())
            }
            0o12 => return wrong("its target has an impossible length"),
            0o14 => Node::Socket,
            _ => return wrong("it is of no type"),
        })
    }
}

/// A tree while it grows, in the order of a walk.
struct Place {
    tree: Tree,
    /// The directories that lead to the last member, each with its name.
    open: Vec<(Vec<u8>, NodeId)>,
    links: HashMap<[u64; 4], NodeId>,
}

impl Place {
    fn put(&mut self, member: Member, node: Node) -> Result<(), ReadError> {
        let Member {
            path,
            attributes,
            link,
            ..
        } = member;
        let wrong = |_: TreeError| damaged(format!("`{}`", shown(&path)), "it can't be there");
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == 0).collect();
        let name = names.pop().unwrap_or_default();
        if name.is_empty() {
            let Node::Directory(_) = node else {
                return Err(damaged("the root".to_owned(), "it is no directory"));
            };
            self.tree.inode_mut(Tree::ROOT).attributes = attributes;
            return Ok(());
        }
        let same = self.open.iter().zip(&names);
        let same = same.take_while(|((known, _), name)| known == *name).count();
        self.open.truncate(same);
        for name in &names[same..] {
            let parent = self.open.last().map_or(Tree::ROOT, |(_, id)| *id);
            let made_up = Inode {
                attributes: Attributes {
                    mode: 0o755,
                    ..Attributes::default()
                },
                node: Node::Directory(Vec::new()),
            };
            let id = self.tree.add(parent, name, made_up).map_err(wrong)?;
            self.open.push((name.to_vec(), id));
        }
        let parent = self.open.last().map_or(Tree::ROOT, |(_, id)| *id);
        if let Some(id) = link.and_then(|link| self.links.get(&link)) {
            return self.tree.link(parent, name, *id).map_err(wrong);
        }
        let is_directory = matches!(node, Node::Directory(_));
        let inode = Inode { attributes, node };
        let id = self.tree.add(parent, name, inode).map_err(wrong)?;
        if is_directory {
            self.open.push((name.to_vec(), id));
        }
        if let Some(link) = link {
            self.links.insert(link, id);
        }
        Ok(())
    }
}

fn shown(path: &[u8]) -> String {
    let path: Vec<u8> = path
        .iter()
        .map(|byte| if *byte == 0 { b'/' } else { *byte })
        .collect();
    path.escape_ascii().to_string()
}
