//! The digest of files' content, as BuildKit has it: each entry by a header in the old tarsum form
//! and its bytes, each directory by its entries, and a selection by what it selects.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Bound;

use kiln_oci::{Digest, Digester};

use super::glob::is_match;

const BUFFER_SIZE: usize = 64 * 1024;
/// How many links are followed on the way to a file.
const MAX_LINKS: usize = 255;
/// How deep directories may be.
const MAX_DEPTH: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to this path.
    Link(String),
    /// A named pipe.
    Fifo,
    /// A character device, by its numbers.
    Character(u32, u32),
    /// A block device, by its numbers.
    Block(u32, u32),
}

/// What counts of an entry besides its content. Times don't, nor does the name: that is part of
/// its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    /// What it is.
    pub kind: EntryKind,
    /// Permissions, with the bits for set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner; 0 for files of a local context, whose owners BuildKit forgets.
    pub uid: u32,
    /// Group; 0 for files of a local context.
    pub gid: u32,
    /// Extended attributes. Those of `security.` and `system.` don't count, but for
    /// `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl FileHeader {
    /// The digest of an entry with this header and, where it is a regular file, this content. A
    /// hard link has that of the file itself.
    pub fn digest(&self, content: &mut dyn Read) -> io::Result<Digest> {
        let mut digester = Digester::sha256();
        digester.update(self.text().as_bytes());
        for (name, value) in &self.xattrs {
            let is_system = name.starts_with("security.") || name.starts_with("system.");
            if name == "security.capability" || !is_system {
                digester.update(name.as_bytes());
                digester.update(value);
            }
        }
        if let EntryKind::File(_) = self.kind {
            let mut buffer = vec![0; BUFFER_SIZE];
            loop {
                match content.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => digester.update(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(digester.finish())
    }

    fn text(&self) -> String {
        let (kind, size, link, (major, minor)) = match &self.kind {
            EntryKind::File(size) => ('0', *size, "", (0, 0)),
            EntryKind::Directory => ('5', 0, "", (0, 0)),
            EntryKind::Link(target) => ('2', 0, target.as_str(), (0, 0)),
            EntryKind::Fifo => ('6', 0, "", (0, 0)),
            EntryKind::Character(major, minor) => ('3', 0, "", (*major, *minor)),
            EntryKind::Block(major, minor) => ('4', 0, "", (*major, *minor)),
        };
        let mode = if kind == '2' { 0o777 } else { self.mode };
        let (uid, gid) = (self.uid, self.gid);
        format!(
            "namemode{mode}uid{uid}gid{gid}size{size}typeflag{kind}linkname{link}\
             unamegnamedevmajor{major}devminor{minor}"
        )
    }
}

/// The entries of a context or a root, with their digests.
///
/// Keys are paths with zero bytes for slashes: a directory's own header is under its key with
/// another zero byte behind, so that the order of keys is the order in which BuildKit walks.
#[derive(Debug, Clone)]
pub struct ContentTree(BTreeMap<Vec<u8>, Node>);

#[derive(Debug, Clone)]
enum Node {
    /// A directory; its digest is made from what is in it.
    Directory,
    /// A directory's header.
    Header(Digest),
    File(Digest),
    Link(Digest, String),
}

/// What a pattern includes.
struct Included {
    path: String,
    digest: Digest,
    /// Whether the pattern matches it itself, and not only a directory that it is in.
    is_match: bool,
}

/// How selections are digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    New,
    /// As in Docker 20.10.
    Old,
}

/// One path that a step selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Absolute in its tree. May be a pattern where `is_pattern` says so.
    pub path: String,
    /// Whether `*`, `?` and `[…]` have a meaning: in sources of a `COPY`.
    pub is_pattern: bool,
}

impl Default for ContentTree {
    fn default() -> Self {
        // The root is there without being inserted, and its header counts as nothing.
        let root = [
            (Vec::new(), Node::Directory),
            (vec![0], Node::Header(Digest::sha256(b""))),
        ];
        Self(root.into())
    }
}

fn key(path: &str) -> Vec<u8> {
    let cleaned = clean(path);
    cleaned
        .bytes()
        .map(|byte| if byte == b'/' { 0 } else { byte })
        .collect()
}

/// An absolute path without `.`, `..`, doubled slashes or one at its end; empty for the root.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
        .iter()
        .map(|part| format!("/{part}"))
        .collect::<Vec<_>>()
        .concat()
}

impl ContentTree {
    /// The same tree with an entry. Its parents have to be there, too, for the digests of
    /// directories above to be right.
    pub fn insert(&mut self, path: &str, kind: &EntryKind, digest: Digest) {
        let mut key = key(path);
        let node = match kind {
            EntryKind::Directory => {
                self.0.insert(key.clone(), Node::Directory);
                key.push(0);
                Node::Header(digest)
            }
            EntryKind::Link(target) => Node::Link(digest, target.clone()),
            _ => Node::File(digest),
        };
        self.0.insert(key, node);
    }

    /// The digest of what one path selects; `None` where nothing is there, or only a pattern that
    /// is not understood would find it.
    fn checksum(&self, selected: &Selected, version: Version) -> Option<Digest> {
        if selected.is_pattern && selected.path.contains(['*', '?', '[', '\\']) {
            return self.checksum_of_pattern(&selected.path, version);
        }
        let path = self.resolve(&selected.path, true)?;
        self.node_digest(&key(&path), 0)
    }

    fn node_digest(&self, key: &[u8], depth: usize) -> Option<Digest> {
        match self.0.get(key)? {
            Node::Header(digest) | Node::File(digest) | Node::Link(digest, _) => {
                Some(digest.clone())
            }
            Node::Directory if depth < MAX_DEPTH => self.directory_digest(key, depth),
            Node::Directory => None,
        }
    }

    fn directory_digest(&self, directory: &[u8], depth: usize) -> Option<Digest> {
        let mut digester = Digester::sha256();
        let mut prefix = directory.to_vec();
        prefix.push(0);
        let mut next = prefix.clone();
        let mut from = Bound::Included(prefix.clone());
        while let Some((key, node)) = self.0.range((from, Bound::Unbounded)).next() {
            if !key.starts_with(&prefix) {
                break;
            }
            next.clone_from(key);
            let digest = self.node_digest(key, depth + 1)?;
            digester.update(&key[directory.len()..]);
            digester.update(digest.as_str().as_bytes());
            from = match node {
                // What is in it is in its digest.
                Node::Directory => {
                    next.extend([0, 0xff]);
                    Bound::Included(next.clone())
                }
                _ => Bound::Excluded(next.clone()),
            };
        }
        Some(digester.finish())
    }

    /// The path that a path leads to, by the links in it and, if `last`, the one that it is.
    fn resolve(&self, path: &str, last: bool) -> Option<String> {
        let mut left: Vec<String> = clean(path).split('/').rev().map(str::to_owned).collect();
        let mut resolved = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    resolved.truncate(resolved.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let here = format!("{resolved}/{part}");
            match self.0.get(&key(&here))? {
                Node::Link(_, target) if last || !left.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        resolved.clear();
                    }
                    left.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => resolved = here,
            }
        }
        Some(resolved)
    }

    /// What a pattern selects: each match with what is in it, by its path after the part that is no
    /// pattern; in older versions each match, by its name.
    fn checksum_of_pattern(&self, pattern: &str, version: Version) -> Option<Digest> {
        let pattern = clean(pattern);
        let plain: Vec<&str> = pattern
            .split('/')
            .take_while(|part| !part.contains(['*', '?', '[', '\\']))
            .collect();
        let prefix = plain.join("/");
        let mut included = match self.resolve(&prefix, true) {
            Some(base) => self.matches(&pattern, &prefix, &base)?,
            None => Vec::new(),
        };
        if version == Version::Old {
            included.retain(|entry| entry.is_match);
            for entry in &mut included {
                let resolved = self.resolve(&entry.path, true)?;
                entry.digest = self.node_digest(&key(&resolved), 0)?;
            }
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match included.as_slice() {
            [] => return Some(Digest::sha256(b"")),
            [one] if name(&one.path) == name(&pattern) => return Some(one.digest.clone()),
            _ => {}
        }
        let mut digester = Digester::sha256();
        for (index, entry) in included.iter().enumerate() {
            match version {
                Version::New => {
                    let rest = entry.path.strip_prefix(&prefix);
                    let rest = key(rest.unwrap_or(&entry.path));
                    digester.update(if rest.is_empty() { &[0] } else { &rest });
                }
                Version::Old => {
                    digester.update(if index > 0 { &[0][..] } else { &[] });
                    digester.update(name(&entry.path).as_bytes());
                }
            }
            digester.update(entry.digest.as_str().as_bytes());
        }
        Some(digester.finish())
    }

    /// The entries that a pattern matches and those in them, in order, by their paths as the
    /// pattern has them.
    fn matches(&self, pattern: &str, prefix: &str, base: &str) -> Option<Vec<Included>> {
        let mut included = Vec::new();
        let mut matched: Option<String> = None;
        let base = key(base);
        let is_inside = |key: &&Vec<u8>| key.starts_with(&base) && key.get(base.len()) == Some(&0);
        for (key, node) in self.0.range(base.clone()..) {
            if !key.starts_with(&base) {
                break;
            }
            if !is_inside(&key) {
                continue;
            }
            let rest = key[base.len()..]
                .strip_suffix(&[0])
                .unwrap_or(&key[base.len()..]);
            let rest: Vec<u8> = rest
                .iter()
                .map(|b| if *b == 0 { b'/' } else { *b })
                .collect();
            let path = format!("{prefix}{}", String::from_utf8(rest).ok()?);
            let is_below = matched
                .as_ref()
                .is_some_and(|matched| path.starts_with(&format!("{matched}/")));
            if !is_below {
                if !is_match(pattern.as_bytes(), path.as_bytes())? {
                    continue;
                }
                matched = Some(path.clone());
            }
            let digest = match node {
                Node::Directory => continue,
                // A link that is matched itself is followed, one inside of a match is not.
                Node::Link(_, _) if !is_below => {
                    let target = self.resolve(&path, true)?;
                    self.node_digest(&self::key(&target), 0)?
                }
                Node::Header(digest) | Node::File(digest) | Node::Link(digest, _) => digest.clone(),
            };
            included.push(Included {
                path,
                digest,
                is_match: !is_below,
            });
        }
        Some(included)
    }
}

/// The digests that versions of BuildKit have for what a step takes from a tree; none where some
/// of it is not there. `RUN` takes the sources of its mounts, a copy those of its sources that are
/// from this tree.
pub fn content_digests(tree: &ContentTree, selected: &[Selected]) -> Vec<Digest> {
    let all = in_order(selected);
    let digest = |version: Version| -> Option<Digest> {
        let digests = all.iter().map(|one| tree.checksum(one, version));
        let digests: Option<Vec<Digest>> = digests.collect();
        let digests: Vec<String> = digests?.iter().map(ToString::to_string).collect();
        Some(Digest::sha256(digests.join("\0").as_bytes()))
    };
    let mut digests: Vec<Digest> = [Version::New, Version::Old]
        .into_iter()
        .filter_map(digest)
        .collect();
    digests.dedup();
    digests
}

/// What is selected without what is selected twice, in the order of paths.
fn in_order(selected: &[Selected]) -> Vec<Selected> {
    let is_pattern = |one: &&Selected| one.is_pattern && one.path.contains(['*', '?', '[']);
    let plain: BTreeSet<&str> = selected
        .iter()
        .filter(|one| !is_pattern(one))
        .map(|one| one.path.as_str())
        .collect();
    // What is in a directory that is selected is in its digest.
    let is_covered = |path: &str| {
        plain.iter().any(|other| {
            let directory = format!("{}/", other.trim_end_matches('/'));
            *other != path && path.starts_with(&directory)
        })
    };
    let mut all: Vec<Selected> = plain
        .iter()
        .filter(|path| plain.len() < 2 || !is_covered(path))
        .map(|path| Selected {
            path: (*path).to_owned(),
            is_pattern: false,
        })
        .collect();
    all.extend(selected.iter().filter(is_pattern).cloned());
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}
