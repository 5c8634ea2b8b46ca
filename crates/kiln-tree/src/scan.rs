//! Reading a directory tree, several directories at a time, with filters that prune it.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use kiln_sys::fs::{Dir, FileType, FsError, Listing, Metadata};
use kiln_sys::xattr::Xattr;

use crate::error::SelectError;
use crate::filter::{Filters, Standing, Verdict};
use crate::name::Name;
use crate::parallel;
use crate::xattrs::is_kept;

/// Deeper trees are refused: a copy holds two handles for each level.
const MAX_DEPTH: usize = 256;
/// A directory with more entries than this is read in parts, by several threads.
const PART: usize = 512;

/// One name in a selected tree. There may be half a million of them: it is kept small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: Name,
    pub(crate) metadata: Metadata,
    /// Those of a directory that a copy keeps. Those of files are read with their content.
    pub(crate) xattrs: Box<[Xattr]>,
    /// Whether this directory is here only because something below it was selected.
    pub(crate) implied: bool,
    pub(crate) kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File,
    /// Sorted by name.
    Dir(Box<[Node]>),
    Symlink(Box<OsStr>),
    Fifo,
    Device,
    /// Becomes an empty file when it is copied.
    Socket,
}

/// What is below the directory `dir`, whose path from the source's root is `path`.
pub(crate) fn scan(
    dir: Dir,
    path: &Path,
    filters: Filters<'_>,
) -> Result<Box<[Node]>, SelectError> {
    let scan = Scan {
        filters,
        root: path,
        threads: parallel::threads(),
        shared: Mutex::new(Shared {
            jobs: vec![Job::List {
                id: 0,
                parent: Arc::new(dir),
                name: Name::from(OsStr::new(Dir::ITSELF)),
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
        FileType::Dir => NodeKind::Dir(Box::default()),
        FileType::Symlink => NodeKind::Symlink(dir.read_link(name)?.into()),
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
        name: name.into(),
        metadata,
        xattrs: xattrs.into(),
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
    /// Threads that wait for a job.
    idle: usize,
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
        name: Name,
        below: PathBuf,
        depth: usize,
        standing: Standing,
    },
    /// Look at a part of a listed directory.
    Look(Listed, usize, Range<usize>),
}

#[derive(Clone)]
struct Listed {
    id: usize,
    dir: Arc<Dir>,
    names: Arc<Listing>,
    below: Arc<Path>,
    depth: usize,
    standing: Arc<Standing>,
}

/// Nodes of the directory `id`, whose subdirectories are still empty.
struct Part {
    id: usize,
    index: usize,
    nodes: Vec<Node>,
    dirs: Vec<Subdir>,
}

/// A directory among the nodes of a part.
struct Subdir {
    /// Which node it is.
    at: usize,
    /// The number under which its own entries are found.
    id: usize,
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
                shared.idle += 1;
                let waited = self.changed.wait(shared);
                shared = waited.unwrap_or_else(PoisonError::into_inner);
                shared.idle -= 1;
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

    /// Gets another thread for the jobs that there are.
    fn invite_help<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, shared: &mut Shared) {
        if shared.idle > 0 {
            self.changed.notify_one();
        } else if shared.helpers + 1 < self.threads {
            shared.helpers += 1;
            // Where the system gives no thread, the ones that exist do the work.
            let _ = thread::Builder::new().spawn_scoped(scope, || self.work(scope));
        }
    }

    fn perform(&self, job: Job) -> Result<(), SelectError> {
        match job {
            Job::Look(listed, index, part) => self.look(&listed, index, part),
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
                let (dir, names) = if name == Dir::ITSELF {
                    let names = parent.listing();
                    (parent, names.map_err(|error| error.within(self.root))?)
                } else {
                    // The error has the directory's own name already.
                    let above = below.parent().unwrap_or(&below);
                    let opened = parent.open_and_list(&name);
                    let within = |error: FsError| error.within(self.root.join(above));
                    let (dir, names) = opened.map_err(within)?;
                    (Arc::new(dir), names)
                };
                let count = names.len();
                let listed = Listed {
                    id,
                    dir,
                    names: Arc::new(names),
                    below: below.into(),
                    depth,
                    standing: Arc::new(standing),
                };
                if count > PART {
                    let starts = (PART..count).step_by(PART).enumerate();
                    let jobs = starts.map(|(index, start)| {
                        let part = start..count.min(start + PART);
                        Job::Look(listed.clone(), index + 1, part)
                    });
                    let mut shared = self.lock();
                    shared.jobs.extend(jobs);
                    if shared.idle > 0 {
                        self.changed.notify_all();
                    }
                }
                self.look(&listed, 0, 0..count.min(PART))
            }
        }
    }

    fn look(&self, listed: &Listed, index: usize, part: Range<usize>) -> Result<(), SelectError> {
        let mut nodes = Vec::with_capacity(part.len());
        let mut dirs = Vec::new();
        for number in part {
            let Some((name, file_type)) = listed.names.get(number) else {
                break;
            };
            let Some(verdict) = self.judge(listed, name, file_type == FileType::Dir) else {
                continue;
            };
            let within = |error| match error {
                SelectError::Fs(error) => error.within(self.root.join(&listed.below)).into(),
                other => other,
            };
            // What has gone since the directory was listed was never there.
            let metadata = listed.dir.try_metadata(name);
            let Some(metadata) = metadata.map_err(|error| within(error.into()))? else {
                continue;
            };
            if metadata.is_dir() != verdict.standing.is_some() {
                return Err(SelectError::Changed(
                    self.root.join(&listed.below).join(name),
                ));
            }
            let mut node = node(&listed.dir, name, metadata).map_err(within)?;
            node.implied = verdict.implied;
            if let Some(standing) = verdict.standing {
                let subdir = Subdir {
                    at: nodes.len(),
                    id: 0,
                    only_with_content: verdict.only_with_content,
                };
                dirs.push((subdir, standing));
            }
            nodes.push(node);
        }
        self.keep(listed, index, nodes, dirs);
        Ok(())
    }

    fn judge(&self, listed: &Listed, name: &OsStr, is_dir: bool) -> Option<Verdict> {
        let at = (self.root, &*listed.below);
        self.filters.judge(&listed.standing, at, name, is_dir)
    }

    /// Hands the nodes over and queues their directories.
    fn keep(
        &self,
        listed: &Listed,
        index: usize,
        nodes: Vec<Node>,
        subdirs: Vec<(Subdir, Standing)>,
    ) {
        let mut dirs = Vec::with_capacity(subdirs.len());
        let mut shared = self.lock();
        // The last is taken first, so that the first comes next.
        for (mut subdir, standing) in subdirs.into_iter().rev() {
            let name = nodes[subdir.at].name.clone();
            subdir.id = shared.ids;
            let job = Job::List {
                id: subdir.id,
                parent: Arc::clone(&listed.dir),
                below: listed.below.join(&name),
                name,
                depth: listed.depth + 1,
                standing,
            };
            shared.ids += 1;
            shared.jobs.push(job);
            dirs.push(subdir);
        }
        let more = !dirs.is_empty();
        shared.parts.push(Part {
            id: listed.id,
            index,
            nodes,
            dirs,
        });
        if more && shared.idle > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts the directories into each other, the deepest first: a directory's number is higher than
/// that of the one it is in.
fn assemble(dirs: usize, mut parts: Vec<Part>) -> Box<[Node]> {
    parts.sort_unstable_by_key(|part| (part.id, part.index));
    let mut finished: Vec<Vec<Node>> = Vec::new();
    finished.resize_with(dirs, Vec::new);
    while let Some(Part {
        id,
        mut nodes,
        dirs,
        ..
    }) = parts.pop()
    {
        // The last comes first, so that removing one does not move those that follow.
        for subdir in dirs {
            let children = std::mem::take(&mut finished[subdir.id]);
            if children.is_empty() && subdir.only_with_content {
                nodes.remove(subdir.at);
            } else {
                nodes[subdir.at].kind = NodeKind::Dir(children.into());
            }
        }
        // Parts of one directory come last part first.
        nodes.append(&mut finished[id]);
        finished[id] = nodes;
    }
    finished
        .first_mut()
        .map(std::mem::take)
        .unwrap_or_default()
        .into()
}
