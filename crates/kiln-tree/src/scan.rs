//! Reading a directory tree, several directories at a time, with filters that prune it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use kiln_sys::fs::{Dir, Entry, FileType, Metadata};
use kiln_sys::xattr::Xattr;

use crate::error::SelectError;
use crate::filter::{Filters, Standing, Verdict};
use crate::parallel;
use crate::xattrs::is_kept;

/// Deeper trees are refused: a copy holds two handles for each level.
const MAX_DEPTH: usize = 256;
/// A directory with more entries than this is read in parts, by several threads.
const PART: usize = 512;

/// One name in a selected tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: OsString,
    pub(crate) metadata: Metadata,
    /// Those of a directory that a copy keeps. Those of files are read with their content.
    pub(crate) xattrs: Vec<Xattr>,
    /// Whether this directory is here only because something below it was selected.
    pub(crate) implied: bool,
    pub(crate) kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File,
    /// Sorted by name.
    Dir(Vec<Node>),
    Symlink(OsString),
    Fifo,
    Device,
    /// Becomes an empty file when it is copied.
    Socket,
}

/// What is below the directory `dir`, whose path from the source's root is `path`.
pub(crate) fn scan(dir: Dir, path: &Path, filters: Filters<'_>) -> Result<Vec<Node>, SelectError> {
    let scan = Scan {
        filters,
        root: path,
        threads: parallel::threads(),
        shared: Mutex::new(Shared {
            jobs: vec![Job::List {
                id: 0,
                parent: Arc::new(dir),
                name: Dir::ITSELF.into(),
                below: PathBuf::new(),
                depth: 0,
                standing: filters.standing_of(path),
            }],
            ids: 1,
            ..Shared::default()
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| scan.work(scope));
    let shared = scan.shared.into_inner();
    let shared = shared.unwrap_or_else(PoisonError::into_inner);
    match shared.error {
        Some(error) => Err(error),
        None => Ok(assemble(shared.ids, shared.parts)),
    }
}

/// Makes the node for one name, without what is below it.
pub(crate) fn node(dir: &Dir, name: &OsStr, metadata: Metadata) -> Result<Node, SelectError> {
    let kind = match metadata.file_type {
        FileType::File => NodeKind::File,
        FileType::Dir => NodeKind::Dir(Vec::new()),
        FileType::Symlink => NodeKind::Symlink(dir.read_link(name)?),
        FileType::Fifo => NodeKind::Fifo,
        FileType::CharDevice | FileType::BlockDevice => NodeKind::Device,
        FileType::Socket => NodeKind::Socket,
    };
    let mut xattrs = Vec::new();
    if metadata.is_dir() {
        xattrs = dir.xattrs(name)?;
        xattrs.retain(|(name, _)| is_kept(name));
    }
    Ok(Node {
        name: name.to_os_string(),
        metadata,
        xattrs,
        implied: false,
        kind,
    })
}

struct Scan<'a> {
    filters: Filters<'a>,
    root: &'a Path,
    threads: usize,
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Default)]
struct Shared {
    jobs: Vec<Job>,
    working: usize,
    helpers: usize,
    ids: usize,
    parts: Vec<Part>,
    error: Option<SelectError>,
}

enum Job {
    /// List the directory `name` of `parent`; `below` is its path from the tree's root.
    List {
        id: usize,
        parent: Arc<Dir>,
        name: OsString,
        below: PathBuf,
        depth: usize,
        standing: Standing,
    },
    /// Look at a part of a listed directory.
    Look(Listed, usize, Vec<Entry>),
}

#[derive(Clone)]
struct Listed {
    id: usize,
    dir: Arc<Dir>,
    below: Arc<Path>,
    depth: usize,
    standing: Arc<Standing>,
}

/// Nodes of the directory `id`, whose subdirectories are still empty.
struct Part {
    id: usize,
    index: usize,
    nodes: Vec<Found>,
}

struct Found {
    node: Node,
    /// The number under which a directory's own entries are found.
    dir: Option<usize>,
    /// Drop the directory if nothing below it was taken.
    only_with_content: bool,
}

impl Scan<'_> {
    /// What each thread does until all directories are read.
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let mut shared = self.lock();
        while shared.error.is_none() {
            let Some(job) = shared.jobs.pop() else {
                if shared.working == 0 {
                    break;
                }
                let waited = self.changed.wait(shared);
                shared = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            shared.working += 1;
            if !shared.jobs.is_empty() {
                self.invite_help(scope, &mut shared);
            }
            drop(shared);
            let result = self.perform(job);
            shared = self.lock();
            shared.working -= 1;
            if let Err(error) = result {
                shared.error.get_or_insert(error);
            }
        }
        self.changed.notify_all();
    }

    fn invite_help<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, shared: &mut Shared) {
        self.changed.notify_one();
        if shared.helpers + 1 < self.threads {
            shared.helpers += 1;
            // Where the system gives no thread, the ones that exist do the work.
            let _ = thread::Builder::new().spawn_scoped(scope, || self.work(scope));
        }
    }

    fn perform(&self, job: Job) -> Result<(), SelectError> {
        match job {
            Job::Look(listed, index, entries) => self.look(&listed, index, entries),
            Job::List {
                id,
                parent,
                name,
                below,
                depth,
                standing,
            } => {
                if depth > MAX_DEPTH {
                    return Err(SelectError::TooDeep(self.root.join(below)));
                }
                let within = |error: kiln_sys::fs::FsError| error.within(self.root.join(&below));
                let dir = if name == Dir::ITSELF {
                    parent
                } else {
                    // The error has the directory's own name already.
                    let above = below.parent().unwrap_or(&below);
                    let opened = parent.open_dir(&name);
                    Arc::new(opened.map_err(|error| error.within(self.root.join(above)))?)
                };
                let mut entries = dir.entries().map_err(within)?;
                let listed = Listed {
                    id,
                    dir,
                    below: below.as_path().into(),
                    depth,
                    standing: Arc::new(standing),
                };
                if entries.len() > PART {
                    let rest = entries.split_off(PART);
                    let jobs = rest
                        .chunks(PART)
                        .enumerate()
                        .map(|(index, part)| Job::Look(listed.clone(), index + 1, part.to_vec()));
                    let jobs: Vec<_> = jobs.collect();
                    self.lock().jobs.extend(jobs);
                    self.changed.notify_all();
                }
                self.look(&listed, 0, entries)
            }
        }
    }

    fn look(&self, listed: &Listed, index: usize, entries: Vec<Entry>) -> Result<(), SelectError> {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut subdirs = Vec::new();
        for entry in entries {
            let Some(verdict) = self.judge(listed, &entry) else {
                continue;
            };
            let within = |error| match error {
                SelectError::Fs(error) => error.within(self.root.join(&listed.below)).into(),
                other => other,
            };
            // What has gone since the directory was listed was never there.
            let metadata = listed.dir.try_metadata(&entry.name);
            let Some(metadata) = metadata.map_err(|error| within(error.into()))? else {
                continue;
            };
            if metadata.is_dir() != verdict.standing.is_some() {
                return Err(SelectError::Changed(
                    self.root.join(&listed.below).join(&entry.name),
                ));
            }
            let mut node = node(&listed.dir, &entry.name, metadata).map_err(within)?;
            node.implied = verdict.implied;
            if let Some(standing) = verdict.standing {
                subdirs.push((nodes.len(), standing));
            }
            nodes.push(Found {
                node,
                dir: None,
                only_with_content: verdict.only_with_content,
            });
        }
        self.keep(listed, index, nodes, subdirs);
        Ok(())
    }

    fn judge(&self, listed: &Listed, entry: &Entry) -> Option<Verdict> {
        let at = (self.root, &*listed.below);
        let is_dir = entry.file_type == FileType::Dir;
        self.filters
            .judge(&listed.standing, at, &entry.name, is_dir)
    }

    /// Hands the nodes over and queues their directories.
    fn keep(
        &self,
        listed: &Listed,
        index: usize,
        mut nodes: Vec<Found>,
        subdirs: Vec<(usize, Standing)>,
    ) {
        let more = !subdirs.is_empty();
        let mut shared = self.lock();
        // The last is taken first, so that the first comes next.
        for (subdir, standing) in subdirs.into_iter().rev() {
            let found = &mut nodes[subdir];
            found.dir = Some(shared.ids);
            let job = Job::List {
                id: shared.ids,
                parent: Arc::clone(&listed.dir),
                name: found.node.name.clone(),
                below: listed.below.join(&found.node.name),
                depth: listed.depth + 1,
                standing,
            };
            shared.ids += 1;
            shared.jobs.push(job);
        }
        shared.parts.push(Part {
            id: listed.id,
            index,
            nodes,
        });
        if more {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the directories into each other, the deepest first: a directory's number is higher than
/// that of the one it is in.
fn assemble(dirs: usize, mut parts: Vec<Part>) -> Vec<Node> {
    parts.sort_unstable_by_key(|part| (part.id, part.index));
    let mut finished: Vec<Option<Vec<Node>>> = vec![None; dirs];
    while let Some(part) = parts.pop() {
        let mut nodes: Vec<Node> = Vec::with_capacity(part.nodes.len());
        for found in part.nodes {
            let mut node = found.node;
            if let Some(dir) = found.dir {
                let children = finished[dir].take().unwrap_or_default();
                if children.is_empty() && found.only_with_content {
                    continue;
                }
                node.kind = NodeKind::Dir(children);
            }
            nodes.push(node);
        }
        // Parts of one directory come last part first.
        if let Some(later) = finished[part.id].take() {
            nodes.extend(later);
        }
        finished[part.id] = Some(nodes);
    }
    finished[0].take().unwrap_or_default()
}
