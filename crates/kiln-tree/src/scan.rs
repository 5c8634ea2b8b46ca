//! Reading a directory tree, several directories at a time, with filters that prune it.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use kiln_sys::fs::{Dir, FileType, FsError, Listing, Metadata};

use crate::error::SelectError;
use crate::filter::{Filters, PathText, Standing};
use crate::name::Name;
use crate::nodes::{DirNumber, Node, NodeKind, Packer, Part, Tree};
use crate::parallel;
use crate::xattrs::is_kept;

/// Deeper trees are refused: a copy holds two handles for each level.
const MAX_DEPTH: usize = 256;
/// A directory with more entries than this is read in parts, by several threads.
const PART: usize = 512;

/// What is below the directory `dir`, whose path from the source's root is `path`.
pub(crate) fn scan(dir: Dir, path: &Path, filters: Filters<'_>) -> Result<Tree, SelectError> {
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
        None => Ok(Tree::new(shared.ids, shared.parts)),
    }
}

/// Makes the node for one name, without what is below it.
pub(crate) fn node(dir: &Dir, name: &OsStr, metadata: Metadata) -> Result<Node, SelectError> {
    let kind = match metadata.file_type {
        FileType::File => NodeKind::File,
        FileType::Dir => NodeKind::Dir(DirNumber(0)),
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

/// A directory among the nodes of a part.
struct Subdir {
    name: Name,
    standing: Standing,
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
        let mut packer = Packer::new(part.len());
        let mut dirs = Vec::new();
        let mut paths = PathText::new(self.root, &listed.below);
        for number in part {
            let Some((name, file_type)) = listed.names.get(number) else {
                break;
            };
            let is_dir = file_type == FileType::Dir;
            let verdict = self
                .filters
                .judge(&listed.standing, &mut paths, name, is_dir);
            let Some(verdict) = verdict else {
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
                dirs.push(Subdir {
                    name: node.name.clone(),
                    standing,
                    only_with_content: verdict.only_with_content,
                });
            }
            packer.push(&node);
        }
        self.keep(listed, index, packer, dirs);
        Ok(())
    }

    /// Hands the nodes over and queues their directories.
    fn keep(&self, listed: &Listed, index: usize, packer: Packer, subdirs: Vec<Subdir>) {
        let only_with_content: Vec<bool> =
            subdirs.iter().map(|dir| dir.only_with_content).collect();
        let more = !subdirs.is_empty();
        let mut shared = self.lock();
        let first_dir = shared.ids;
        shared.ids += subdirs.len();
        // The last is taken first, so that the first comes next.
        for (number, Subdir { name, standing, .. }) in subdirs.into_iter().enumerate().rev() {
            shared.jobs.push(Job::List {
                id: first_dir + number,
                parent: Arc::clone(&listed.dir),
                below: listed.below.join(&name),
                name,
                depth: listed.depth + 1,
                standing,
            });
        }
        shared.parts.push(Part {
            dir: listed.id,
            index,
            run: packer.finish(first_dir),
            only_with_content,
        });
        if more && shared.idle > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
