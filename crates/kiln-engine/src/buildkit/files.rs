//! Reading what a step takes from a context or a root, for BuildKit's digest of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;

use kiln_base::{CancelToken, Cancelled};
use kiln_cache::buildkit::{ContentTree, EntryKind, FileHeader, Selected};
use kiln_dockerfile::ignore::Ignore;
use kiln_sys::fs::{Dir, FileTime, FileType, FsError, Metadata};
use kiln_tree::Pattern;

/// How many links are followed on the way to a file, and how deep directories may be.
const MAX_LINKS: usize = 255;
const MAX_DEPTH: usize = 500;
/// Attributes that the file system below a root keeps for itself.
const INTERNAL: [&str; 4] = [
    "user.overlay.",
    "trusted.overlay.",
    "user.kiln.",
    "user.fuseoverlayfs.",
];

/// The entries that were read so far of one tree.
#[derive(Debug, Default)]
pub(super) struct Files {
    tree: ContentTree,
    /// Paths that are in the tree, with all that is below them.
    whole: BTreeSet<String>,
    /// Something is there that BuildKit's form has no word for: a name that is not UTF-8, a socket.
    is_odd: bool,
}

/// Why the reading ended.
pub(super) enum Stop {
    /// The build was told to stop.
    Cancelled(Cancelled),
    /// Something can't be read.
    Unreadable,
}

impl From<Cancelled> for Stop {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<FsError> for Stop {
    fn from(_: FsError) -> Self {
        Self::Unreadable
    }
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

impl Files {
    /// What was read; `None` where it can't be digested as BuildKit does.
    pub(super) fn tree(&self) -> Option<&ContentTree> {
        (!self.is_odd).then_some(&self.tree)
    }

    /// Adds what is selected in `root`.
    pub(super) fn read(
        &mut self,
        root: &Dir,
        context: Option<Context<'_>>,
        selected: &[Selected],
        cancel: &CancelToken,
    ) -> Result<(), Stop> {
        let mut walk = Walk {
            files: self,
            root,
            context,
            cancel,
        };
        for one in selected {
            if one.is_pattern && one.path.contains(['*', '?', '[', '\\']) {
                walk.pattern(&one.path)?;
            } else if let Some(path) = walk.follow(&one.path)? {
                walk.whole(&path, 0)?;
            }
        }
        Ok(())
    }
}

/// What makes a tree that of a context: all belongs to root.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    /// What is ignored is not there.
    pub(super) ignore: &'a Ignore,
    /// When the build began. A file that was changed since may not be the one that the step's own
    /// key was made from.
    pub(super) opened: FileTime,
}

struct Walk<'a> {
    files: &'a mut Files,
    root: &'a Dir,
    context: Option<Context<'a>>,
    cancel: &'a CancelToken,
}

/// Whether a path can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Seen,
    /// A directory that is ignored itself, but not all that is in it.
    OnlyWithContent,
    Hidden,
}

impl Walk<'_> {
    /// Where a path leads to by the links in it, which are added to the tree with the directories
    /// on the way. `None` where nothing is there.
    fn follow(&mut self, path: &str) -> Result<Option<String>, Stop> {
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let here = format!("{at}/{part}");
            let Some(metadata) = self.look(&at, &part)? else {
                return Ok(None);
            };
            if !metadata.is_symlink() {
                at = here;
                if metadata.is_dir() {
                    self.add(&at, &metadata)?;
                } else if left.iter().any(|part| !part.is_empty()) {
                    return Ok(None);
                }
                continue;
            }
            let Some(target) = self.add(&here, &metadata)? else {
                return Ok(None);
            };
            links += 1;
            if links > MAX_LINKS {
                return Ok(None);
            }
            if target.starts_with('/') {
                at.clear();
            }
            left.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(Some(at))
    }

    /// Adds all that a pattern matches.
    fn pattern(&mut self, pattern: &str) -> Result<(), Stop> {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        let is_plain = |part: &&&str| !part.contains(['*', '?', '[', '\\']);
        let plain = parts.iter().take_while(is_plain).count();
        let (plain, rest) = parts.split_at(plain);
        match self.follow(&plain.join("/"))? {
            Some(base) => self.expand(&base, rest),
            None => Ok(()),
        }
    }

    fn expand(&mut self, directory: &str, parts: &[&str]) -> Result<(), Stop> {
        let Some((first, rest)) = parts.split_first() else {
            return Ok(());
        };
        let Ok(pattern) = Pattern::parse(first) else {
            self.files.is_odd = true;
            return Ok(());
        };
        for name in self.names(directory)? {
            if !pattern.matches(name.as_bytes()) {
                continue;
            }
            let Some(metadata) = self.look(directory, &name)? else {
                continue;
            };
            let path = format!("{directory}/{name}");
            if !rest.is_empty() {
                if metadata.is_dir() {
                    self.add(&path, &metadata)?;
                    self.expand(&path, rest)?;
                }
            } else if let Some(target) = self.follow(&path)? {
                self.whole(&target, 0)?;
            }
        }
        Ok(())
    }

    /// Adds an entry and all below it, where there is something to be seen.
    fn whole(&mut self, path: &str, depth: usize) -> Result<bool, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Unreadable);
        }
        self.cancel.check()?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", ""));
        let metadata = match name {
            "" => self.root.metadata(Dir::ITSELF)?,
            name => match self.look(parent, name)? {
                Some(metadata) => metadata,
                None => return Ok(false),
            },
        };
        if self.files.whole.contains(path) {
            return Ok(true);
        }
        if !metadata.is_dir() {
            self.add(path, &metadata)?;
            self.files.whole.insert(path.to_owned());
            return Ok(true);
        }
        let mut has_content = false;
        for name in self.names(path)? {
            has_content |= self.whole(&format!("{path}/{name}"), depth + 1)?;
        }
        if !has_content && self.sight(path, true) != Sight::Seen {
            return Ok(false);
        }
        if !path.is_empty() {
            self.add(path, &metadata)?;
        }
        self.files.whole.insert(path.to_owned());
        Ok(true)
    }

    fn sight(&self, path: &str, is_dir: bool) -> Sight {
        let path = path.trim_start_matches('/');
        match self.context.map(|context| context.ignore) {
            Some(ignore) if !path.is_empty() && ignore.matches(path) => {
                if is_dir && ignore.may_include_below(path) {
                    Sight::OnlyWithContent
                } else {
                    Sight::Hidden
                }
            }
            _ => Sight::Seen,
        }
    }

    /// What is known of a name in a directory that no link leads to.
    fn look(&self, directory: &str, name: &str) -> Result<Option<Metadata>, Stop> {
        let found = self.directory(directory)?.try_metadata(name)?;
        let path = format!("{directory}/{name}");
        Ok(found.filter(|found| self.sight(&path, found.is_dir()) != Sight::Hidden))
    }

    fn directory(&self, path: &str) -> Result<Dir, Stop> {
        Ok(match path.trim_start_matches('/') {
            "" => self.root.try_clone()?,
            path => self.root.open_dir_beneath(path)?,
        })
    }

    /// The names in a directory; those that are not text make the tree odd.
    fn names(&mut self, directory: &str) -> Result<Vec<String>, Stop> {
        let mut names = Vec::new();
        for entry in self.directory(directory)?.entries()? {
            match entry.name.into_string() {
                Ok(name) => names.push(name),
                Err(_) => self.files.is_odd = true,
            }
        }
        Ok(names)
    }

    /// Adds one entry; gives the target of a link.
    fn add(&mut self, path: &str, metadata: &Metadata) -> Result<Option<String>, Stop> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.directory(parent)?;
        if let Some(context) = self.context
            && metadata.is_file()
            && metadata.ctime > context.opened
        {
            return Err(Stop::Unreadable);
        }
        let mut target = None;
        let kind = match metadata.file_type {
            FileType::File => EntryKind::File(metadata.size),
            FileType::Dir => EntryKind::Directory,
            FileType::Symlink => {
                let Ok(link) = directory.read_link(name)?.into_string() else {
                    self.files.is_odd = true;
                    return Ok(None);
                };
                target = Some(link.clone());
                EntryKind::Link(link)
            }
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharDevice => EntryKind::Character(metadata.rdev.major, metadata.rdev.minor),
            FileType::BlockDevice => EntryKind::Block(metadata.rdev.major, metadata.rdev.minor),
            FileType::Socket => {
                self.files.is_odd = true;
                return Ok(None);
            }
        };
        let is_context = self.context.is_some();
        let header = FileHeader {
            mode: metadata.mode,
            uid: if is_context { 0 } else { metadata.uid },
            gid: if is_context { 0 } else { metadata.gid },
            xattrs: match kind {
                EntryKind::File(_) | EntryKind::Directory => xattrs(&directory, name)?,
                _ => BTreeMap::new(),
            },
            kind,
        };
        let digest = if let EntryKind::File(size) = header.kind {
            let file: File = directory.open_file(name)?;
            // A file that grows meanwhile gets the digest of what was there first.
            header.digest(&mut io::Read::take(file, size))?
        } else {
            header.digest(&mut io::empty())?
        };
        self.files.tree.insert(path, &header.kind, digest);
        Ok(target)
    }
}

fn xattrs(directory: &Dir, name: &str) -> Result<BTreeMap<String, Vec<u8>>, Stop> {
    let all = directory.xattrs(OsStr::new(name))?;
    let counted = all.into_iter().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let is_internal = INTERNAL.iter().any(|prefix| name.starts_with(prefix));
        (!is_internal).then_some((name, value))
    });
    Ok(counted.collect())
}
