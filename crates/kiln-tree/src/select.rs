//! Which files a `COPY` or `ADD` names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kiln_dockerfile::did_you_mean;
use kiln_dockerfile::ignore::Ignore;
use kiln_sys::fs::{Dir, FileType, FsError, LastLink, Location, Metadata};

use crate::error::SelectError;
use crate::filter::Filters;
use crate::glob::{BadPattern, Pattern, has_wildcards};
use crate::lexical::{components, split_pivot, split_wildcards};
use crate::nodes::{Node, NodeKind, Tree};
use crate::scan::{node, scan};

/// Where sources are looked up.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A build context: what its ignore file excludes does not exist.
    Context {
        /// The context's directory.
        root: &'a Dir,
        /// Its ignore rules.
        ignore: &'a Ignore,
    },
    /// The root file system of a stage or of an image.
    Root(&'a Dir),
    /// Nowhere: all sources are inline.
    Nothing,
}

/// What is to be copied.
#[derive(Debug, Clone)]
pub struct CopySpec {
    /// The sources, in the order written.
    pub sources: Vec<SourceSpec>,
    /// `--parents`: directories below the root, or below the pivot `/./`, are kept; a pattern may
    /// have `**`.
    pub parents: bool,
    /// `--exclude`, relative to each source that is a directory.
    pub exclude: Ignore,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A path or a pattern. It can't leave the source's root.
    Path(String),
    /// A heredoc.
    Inline(InlineFile),
}

/// A file whose content stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// Its name, for a destination that is a directory.
    pub name: String,
    /// Permission bits before `--chmod`.
    pub mode: u32,
    /// Its content.
    pub content: Vec<u8>,
}

/// Everything that was named, in the order in which it is copied.
#[derive(Debug)]
pub struct Selection {
    pub(crate) items: Vec<CopyItem>,
}

/// One thing to be copied: a file, or a directory that stands for its contents.
#[derive(Debug)]
pub struct CopyItem {
    /// The name it gets in a destination that is a directory: as named, not where links led to.
    pub(crate) name: OsString,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Inline(InlineFile),
    /// `node` is `node.name` in `dir`; `path` is where that is, from the source's root. If it is a
    /// directory, it is the first of those below.
    Tree {
        dir: Dir,
        path: PathBuf,
        node: Node,
        /// What is in it.
        below: Tree,
    },
}

/// Finds what `spec` names in `source`, and everything below.
///
/// A pattern that matches nothing selects nothing; a path that does not exist is an error.
pub fn select(source: Source<'_>, spec: &CopySpec) -> Result<Selection, SelectError> {
    let mut items = Vec::new();
    for one in &spec.sources {
        match one {
            SourceSpec::Inline(file) => items.push(CopyItem {
                name: (&file.name).into(),
                content: Content::Inline(file.clone()),
            }),
            SourceSpec::Path(path) => {
                let Some(root) = source.root() else {
                    return Err(source.not_found(path, None));
                };
                Search {
                    source,
                    root,
                    spec,
                    written: path,
                }
                .run(&mut items)?;
            }
        }
    }
    Ok(Selection { items })
}

impl Selection {
    /// The things to be copied, in order.
    pub fn items(&self) -> &[CopyItem] {
        &self.items
    }

    /// How many files, directories and nodes there are in all items.
    pub fn count(&self) -> usize {
        let count = |item: &CopyItem| match &item.content {
            Content::Inline(_) => 1,
            Content::Tree { below, .. } => 1 + below.count(),
        };
        self.items.iter().map(count).sum()
    }
}

impl CopyItem {
    /// Whether this is a directory, whose contents are copied.
    pub fn is_dir(&self) -> bool {
        match &self.content {
            Content::Tree { node, .. } => matches!(node.kind, NodeKind::Dir(_)),
            Content::Inline(_) => false,
        }
    }

    /// Whether this is a directory of which nothing was selected.
    fn is_empty(&self) -> bool {
        match &self.content {
            Content::Tree { below, .. } => self.is_dir() && below.is_empty(),
            Content::Inline(_) => false,
        }
    }

    /// The file, where the item is a regular one of the source: what `ADD` looks into to see
    /// whether it is an archive. Nothing for directories, other nodes and inline files.
    pub fn open_file(&self) -> Result<Option<File>, FsError> {
        match &self.content {
            Content::Tree { dir, node, .. } if matches!(node.kind, NodeKind::File) => {
                dir.open_file(&node.name).map(Some)
            }
            Content::Tree { .. } | Content::Inline(_) => Ok(None),
        }
    }
}

impl<'a> Source<'a> {
    fn root(self) -> Option<&'a Dir> {
        match self {
            Self::Context { root, .. } | Self::Root(root) => Some(root),
            Self::Nothing => None,
        }
    }

    fn ignore(self) -> Option<&'a Ignore> {
        match self {
            Self::Context { ignore, .. } => Some(ignore).filter(|ignore| !ignore.is_empty()),
            Self::Root(_) | Self::Nothing => None,
        }
    }

    fn not_found(self, written: &str, did_you_mean: Option<String>) -> SelectError {
        SelectError::NotFound {
            path: written.to_owned(),
            place: self.place(),
            did_you_mean,
        }
    }

    fn place(self) -> &'static str {
        match self {
            Self::Context { .. } => "the build context",
            Self::Root(_) => "the stage or image",
            Self::Nothing => "a copy of inline files only",
        }
    }
}

/// The search for one source.
struct Search<'a> {
    source: Source<'a>,
    root: &'a Dir,
    spec: &'a CopySpec,
    written: &'a str,
}

impl Search<'_> {
    fn run(&self, items: &mut Vec<CopyItem>) -> Result<(), SelectError> {
        if !self.spec.parents {
            for location in self.matches(self.written)? {
                self.take(location, None, items)?;
            }
            return Ok(());
        }
        let (rooted, below) = split_pivot(self.written);
        let below = components(below).join("/");
        let include = match &*below {
            "" => None,
            below => {
                let include = Ignore::from_patterns(&[below]);
                Some(include.map_err(|_| BadPattern(self.written.to_owned()))?)
            }
        };
        let before = items.len();
        for location in self.matches(rooted)? {
            self.take(location, include.as_ref(), items)?;
        }
        let is_literal = include.is_some() && !has_wildcards(self.written);
        if is_literal && items[before..].iter().all(CopyItem::is_empty) {
            return self.explain_nothing();
        }
        Ok(())
    }

    /// Why `--parents` of a plain path selected nothing, which is fine only for `--exclude`.
    fn explain_nothing(&self) -> Result<(), SelectError> {
        self.find(&components(self.written), self.written)?;
        if self.spec.exclude.is_empty() {
            return Err(SelectError::ThroughLink {
                path: self.written.to_owned(),
            });
        }
        Ok(())
    }

    /// What a path or pattern leads to: names as written, and where they are.
    fn matches(&self, path: &str) -> Result<Vec<(OsString, Location)>, SelectError> {
        let all = components(path);
        let (plain, patterns) = split_wildcards(&all);
        let found = self.find(plain, path)?;
        if patterns.is_empty() {
            let name = plain.last().map_or(Dir::ITSELF, |name| name);
            return Ok(vec![(name.into(), found)]);
        }
        let patterns: Result<Vec<_>, _> =
            patterns.iter().map(|text| Pattern::parse(text)).collect();
        let patterns = patterns.map_err(|_| BadPattern(self.written.to_owned()))?;
        if !found.metadata.is_some_and(|metadata| metadata.is_dir()) {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        expand(&open(&found)?, &found.path, &patterns, &mut paths)?;
        let mut matches = Vec::new();
        for path in paths {
            // A directory that is ignored may still have contents that are not: see `take`.
            if self.is_hidden(&path, false) {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_os_string();
            if self.spec.exclude.matches(&name.to_string_lossy()) && !is_dir(self.root, &path)? {
                continue;
            }
            let location = self.root.resolve_in_root(&path, LastLink::Follow)?;
            if location.path != path && self.is_hidden(&location.path, true) {
                return Err(self.dangling());
            }
            matches.push((name, location));
        }
        Ok(matches)
    }

    /// The place a plain path leads to, following links.
    fn find(&self, plain: &[&str], path: &str) -> Result<Location, SelectError> {
        let joined = plain.join("/");
        let found = match self.root.resolve_in_root(&joined, LastLink::Follow) {
            Ok(found) if found.metadata.is_some() => found,
            Ok(_) => return Err(self.missing(plain)),
            Err(error) if is_missing(&error) => return Err(self.missing(plain)),
            Err(error) => return Err(error.into()),
        };
        if self.is_hidden(Path::new(&joined), true) || self.is_hidden(&found.path, true) {
            return Err(SelectError::Excluded {
                path: path.to_owned(),
            });
        }
        Ok(found)
    }

    /// Whether the path is taken out by an ignore rule. A directory below which something may be
    /// included again is not, unless that is for certain (`deep`): then it is looked for.
    fn is_hidden(&self, path: &Path, deep: bool) -> bool {
        let Some(ignore) = self.source.ignore() else {
            return false;
        };
        let text = path.to_string_lossy();
        if text.is_empty() || !ignore.matches(&text) {
            return false;
        }
        let is_dir = is_dir(self.root, path).unwrap_or(false);
        if !is_dir || ignore.can_prune_dir(&text) {
            return true;
        }
        let below = || self.scan(self.root.open_dir_beneath(path)?, path, None);
        deep && below().is_ok_and(|below| below.is_empty())
    }

    fn scan(&self, dir: Dir, path: &Path, include: Option<&Ignore>) -> Result<Tree, SelectError> {
        let filters = Filters {
            ignore: self.source.ignore(),
            include,
            exclude: &self.spec.exclude,
        };
        scan(dir, path, filters)
    }

    /// Adds what was found, with all that is below.
    fn take(
        &self,
        (name, location): (OsString, Location),
        include: Option<&Ignore>,
        items: &mut Vec<CopyItem>,
    ) -> Result<(), SelectError> {
        let Some(metadata) = location.metadata else {
            return Err(self.dangling());
        };
        let node = node(&location.dir, &location.name, metadata)?;
        let mut below = Tree::default();
        if matches!(node.kind, NodeKind::Dir(_)) {
            below = self.scan(open(&location)?, &location.path, include)?;
            if below.is_empty() && self.is_hidden(&location.path, true) {
                // Ignored as a whole after all.
                return Ok(());
            }
        } else if include.is_some() {
            // With `--parents` only what is below the pivot is taken.
            return Ok(());
        }
        items.push(CopyItem {
            name,
            content: Content::Tree {
                dir: location.dir,
                path: location.path,
                node,
                below,
            },
        });
        Ok(())
    }

    fn dangling(&self) -> SelectError {
        SelectError::DanglingLink {
            path: self.written.to_owned(),
            place: self.source.place(),
        }
    }

    /// The error for a path that does not exist, with the nearest name in the deepest directory
    /// that does.
    fn missing(&self, plain: &[&str]) -> SelectError {
        let itself = self.root.resolve_in_root(plain.join("/"), LastLink::Keep);
        if itself.is_ok_and(|found| found.metadata.is_some()) {
            return self.dangling();
        }
        let near = (0..plain.len()).rev().find_map(|depth| {
            let path = plain[..depth].join("/");
            let dir = self.root.open_dir_in_root(&path).ok()?;
            let names = dir.entries().unwrap_or_default();
            let names = names.iter().filter_map(|entry| entry.name.to_str());
            let names = names.filter(|name| {
                let path = Path::new(&path).join(name);
                *name != plain[depth] && !self.is_hidden(&path, false)
            });
            let near = did_you_mean(plain[depth], names).map(|name| {
                let rest = plain[depth + 1..].iter().copied();
                let path = plain[..depth].iter().copied().chain([name]).chain(rest);
                path.collect::<Vec<_>>().join("/")
            });
            Some(near)
        });
        self.source.not_found(self.written, near.flatten())
    }
}

/// Adds the paths below `dir` that match one pattern a component, in the order of their names.
/// Links on the way are not followed.
fn expand(
    dir: &Dir,
    path: &Path,
    patterns: &[Pattern],
    paths: &mut Vec<PathBuf>,
) -> Result<(), SelectError> {
    let Some((pattern, rest)) = patterns.split_first() else {
        return Ok(());
    };
    let entries = dir.entries().map_err(|error| error.within(path))?;
    for entry in entries {
        if !pattern.matches(entry.name.as_bytes()) {
            continue;
        }
        let path = path.join(&entry.name);
        if rest.is_empty() {
            paths.push(path);
        } else if entry.file_type == FileType::Dir {
            let dir = dir.open_dir(&entry.name);
            let dir = dir.map_err(|error| error.within(path.parent().unwrap_or(Path::new(""))))?;
            expand(&dir, &path, rest, paths)?;
        }
    }
    Ok(())
}

/// Opens a location that is a directory.
fn open(location: &Location) -> Result<Dir, FsError> {
    if location.name == OsStr::new(Dir::ITSELF) {
        location.dir.try_clone()
    } else {
        location.dir.open_dir(&location.name)
    }
}

/// Whether the path is a directory, without following a link at its end.
fn is_dir(root: &Dir, path: &Path) -> Result<bool, FsError> {
    let found = root.resolve_in_root(path, LastLink::Keep)?.metadata;
    Ok(found.as_ref().is_some_and(Metadata::is_dir))
}

/// Whether a path leads nowhere: a name that is not there, or one below something that is not a
/// directory.
fn is_missing(error: &FsError) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
