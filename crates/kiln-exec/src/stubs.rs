//! Mount points that the root lacks: made for a step, and taken away again.
//!
//! A mount needs a file or directory to be put on. If the image has no `/proc` or no
//! `/etc/resolv.conf`, one is made before the step and removed afterwards if it is still empty, so
//! that it is in no layer. The times of the directory that holds it are put back each time, so that
//! a step which did nothing leaves a root that looks untouched; BuildKit restores them only after the
//! removal, which leaves the time of the *making* in the layer.
//!
//! Deliberately absent: mount points inside other mounts. They are no part of the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use kiln_sys::mount::create_in_root;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, fstat, openat, readlinkat, statat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For mounting a directory.
    Directory,
    /// For mounting a single file.
    File,
}

/// The mount points that were made in a root.
#[derive(Debug, Default)]
pub struct Stubs {
    made: Vec<Stub>,
}

#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
}

/// A mount point could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("could not prepare the mount point `{target}`")]
pub struct StubError {
    /// The path in the root.
    pub target: String,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

impl Stubs {
    /// Makes those of `targets`, and of the directories above them, that `root` lacks. Symlinks are
    /// followed inside the root; where one dangles, the place it points to is made.
    pub fn create(root: BorrowedFd<'_>, targets: &[(&str, Kind)]) -> Result<Self, StubError> {
        let mut stubs = Self::default();
        for (target, kind) in targets {
            if let Err(cause) = stubs.create_one(root, target, *kind) {
                // Half the work must not stay behind; the first error is the one to tell.
                let _ = stubs.remove();
                return Err(StubError {
                    target: (*target).to_owned(),
                    cause,
                });
            }
        }
        Ok(stubs)
    }

    fn create_one(&mut self, root: BorrowedFd<'_>, target: &str, kind: Kind) -> io::Result<()> {
        let Found::Missing { within, names } = Walk::new(root, Path::new(target))?.run()? else {
            return Ok(());
        };
        let mut parent = within;
        let last = names.len().saturating_sub(1);
        for (index, name) in names.iter().enumerate() {
            let times = times_of(&parent)?;
            let directory = index < last || kind == Kind::Directory;
            let made = create_in_root(parent.as_fd(), Path::new(name), directory)?;
            set_times(&parent, &times)?;
            self.made.push(Stub {
                parent,
                name: name.clone(),
            });
            parent = made;
        }
        Ok(())
    }

    /// Removes what was made and is still empty. What the step filled or removed stays as it is.
    pub fn remove(self) -> Result<(), StubError> {
        // Children were made after their parents.
        for stub in self.made.iter().rev() {
            stub.remove().map_err(|cause| StubError {
                target: stub.name.to_string_lossy().into_owned(),
                cause,
            })?;
        }
        Ok(())
    }
}

impl Stub {
    fn remove(&self) -> io::Result<()> {
        let stat = match statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // The step removed it, or the directory it was in.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
            _ => return Ok(()),
        };
        let times = times_of(&self.parent)?;
        match unlinkat(&self.parent, &self.name, flags) {
            Ok(()) => set_times(&self.parent, &times),
            Err(Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn times_of(directory: &OwnedFd) -> io::Result<Timestamps> {
    let stat = fstat(directory)?;
    // The fields are signed or not depending on the architecture; nanoseconds fit either way.
    #[expect(clippy::cast_possible_wrap, reason = "nanoseconds are below 10^9")]
    let nanoseconds = |value: u64| value as _;
    Ok(Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    })
}

fn set_times(directory: &OwnedFd, times: &Timestamps) -> io::Result<()> {
    // By name, since the descriptor is an `O_PATH` one.
    Ok(utimensat(directory, ".", times, AtFlags::empty())?)
}

enum Found {
    /// The whole path is there.
    All,
    /// `names` are missing, the first of them in the directory `within`.
    Missing {
        within: OwnedFd,
        names: Vec<OsString>,
    },
}

/// A walk along a path as a process would do it whose root directory is the first of `stack`.
struct Walk {
    stack: Vec<OwnedFd>,
    pending: VecDeque<OsString>,
    links: usize,
}

/// As the kernel: more links than this in one path are a loop.
const MAX_LINKS: usize = 40;

impl Walk {
    fn new(root: BorrowedFd<'_>, path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            stack: vec![openat(root, ".", flags, Mode::empty())?],
            pending: names(path).collect(),
            links: 0,
        })
    }

    fn run(mut self) -> io::Result<Found> {
        while let Some(name) = self.pending.pop_front() {
            if name == ".." {
                self.stack
                    .truncate(self.stack.len().saturating_sub(1).max(1));
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = match openat(self.top()?, &name, flags, Mode::empty()) {
                Ok(opened) => opened,
                Err(Errno::NOENT) => return self.missing(name),
                Err(errno) => return Err(errno.into()),
            };
            match FileType::from_raw_mode(fstat(&opened)?.st_mode) {
                FileType::Directory => self.stack.push(opened),
                FileType::Symlink => self.follow(&opened)?,
                _ if self.pending.is_empty() => {}
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(Found::All)
    }

    fn top(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.stack.last().ok_or(Errno::INVAL)?.as_fd())
    }

    fn follow(&mut self, link: &OwnedFd) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = readlinkat(link, "", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            self.stack.truncate(1);
        }
        for name in names(target).rev() {
            self.pending.push_front(name);
        }
        Ok(())
    }

    fn missing(mut self, first: OsString) -> io::Result<Found> {
        let mut names = vec![first];
        for name in self.pending {
            if name != ".." {
                names.push(name);
            } else if names.pop().is_none() {
                // Back to where directories exist: a path that nobody writes on purpose.
                return Err(Errno::NOENT.into());
            }
        }
        let within = self.stack.pop().ok_or(Errno::INVAL)?;
        Ok(Found::Missing { within, names })
    }
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use expect_test::{Expect, expect};

    use super::*;

    const TARGETS: &[(&str, Kind)] = &[
        ("/proc", Kind::Directory),
        ("/etc/hosts", Kind::File),
        ("/etc/resolv.conf", Kind::File),
        ("/a/b/c", Kind::File),
    ];

    /// Every path below `root`, sorted; directories end in `/`.
    fn tree(root: &Path) -> String {
        fn visit(dir: &Path, root: &Path, lines: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if path.is_dir() && !path.is_symlink() {
                    lines.push(name + "/");
                    visit(&path, root, lines);
                } else {
                    lines.push(name);
                }
            }
        }
        let mut lines = Vec::new();
        visit(root, root, &mut lines);
        lines.sort();
        lines.join("\n")
    }

    #[track_caller]
    fn check(prepare: impl Fn(&Path), step: impl Fn(&Path), during: &Expect, after: &Expect) {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let root = openat(rustix::fs::CWD, dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        let stubs = Stubs::create(root.as_fd(), TARGETS).unwrap();
        during.assert_eq(&tree(dir.path()));
        step(dir.path());
        stubs.remove().unwrap();
        after.assert_eq(&tree(dir.path()));
    }

    #[test]
    fn an_empty_root_is_empty_again() {
        check(
            |_| {},
            |_| {},
            &expect![[r"
                a/
                a/b/
                a/b/c
                etc/
                etc/hosts
                etc/resolv.conf
                proc/"]],
            &expect![[""]],
        );
    }

    #[test]
    fn what_was_there_and_what_was_filled_stays() {
        check(
            |root| {
                fs::create_dir(root.join("etc")).unwrap();
                fs::write(root.join("etc/hosts"), "").unwrap();
            },
            |root| {
                fs::write(root.join("a/b/new"), "").unwrap();
                fs::remove_dir(root.join("proc")).unwrap();
            },
            &expect![[r"
                a/
                a/b/
                a/b/c
                etc/
                etc/hosts
                etc/resolv.conf
                proc/"]],
            &expect![[r"
                a/
                a/b/
                a/b/new
                etc/
                etc/hosts"]],
        );
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        check(
            |root| {
                fs::create_dir(root.join("etc")).unwrap();
                symlink("../../../run/resolve/stub", root.join("etc/resolv.conf")).unwrap();
                symlink("/elsewhere", root.join("a")).unwrap();
            },
            |_| {},
            &expect![[r"
                a
                elsewhere/
                elsewhere/b/
                elsewhere/b/c
                etc/
                etc/hosts
                etc/resolv.conf
                proc/
                run/
                run/resolve/
                run/resolve/stub"]],
            &expect![[r"
                a
                etc/
                etc/resolv.conf"]],
        );
    }

    #[test]
    fn directories_keep_their_times() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).unwrap();
        let old = Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 123_456_789,
        };
        let times = Timestamps {
            last_access: old,
            last_modification: old,
        };
        utimensat(rustix::fs::CWD, &etc, &times, AtFlags::empty()).unwrap();
        let mtime = || {
            let metadata = fs::metadata(&etc).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        };
        let root = openat(rustix::fs::CWD, dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        let stubs = Stubs::create(root.as_fd(), TARGETS).unwrap();
        assert_eq!(mtime(), (1_000_000_000, 123_456_789));
        stubs.remove().unwrap();
        assert_eq!(mtime(), (1_000_000_000, 123_456_789));
        // What the step itself does to the directory is kept.
        let stubs = Stubs::create(root.as_fd(), TARGETS).unwrap();
        fs::write(etc.join("new"), "").unwrap();
        let changed = mtime();
        stubs.remove().unwrap();
        assert_eq!(mtime(), changed);
        assert_ne!(changed.0, 1_000_000_000);
    }

    #[test]
    fn a_loop_of_links_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        symlink("a", dir.path().join("a")).unwrap();
        let root = openat(rustix::fs::CWD, dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        let error = Stubs::create(root.as_fd(), TARGETS).unwrap_err();
        assert_eq!(error.target, "/a/b/c");
        assert_eq!(tree(dir.path()), "a");
    }
}
