//! Locks between processes that die with their holder.
//!
//! `flock(2)` on a file: the kernel releases the lock when the last copy of the descriptor is
//! closed, which a killed process can't avoid. So a lock that can be taken *is* the proof that its
//! holder is gone; no process ids are written anywhere, none can go stale.
//!
//! The descriptor is close-on-exec, so a spawned program does not keep the lock. Deliberately
//! absent: byte ranges, time-outs, and any use on network file systems.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, fstat, stat};
use rustix::io::Errno;

/// Whether others may hold the lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Many holders, no exclusive one.
    Shared,
    /// One holder.
    Exclusive,
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
#[must_use = "the lock is released when this value is dropped"]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

/// A lock could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("could not lock `{path}`")]
pub struct LockError {
    /// The lock file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

impl FileLock {
    /// Waits until the lock on `path` is free, and takes it. The file is made where it is missing.
    pub fn lock(path: &Path, kind: LockKind) -> Result<Self, LockError> {
        loop {
            if let Some(lock) = Self::attempt(path, kind, Wait::UntilFree)? {
                return Ok(lock);
            }
        }
    }

    /// Takes the lock on `path` if it is free; `None` while somebody else holds it.
    pub fn try_lock(path: &Path, kind: LockKind) -> Result<Option<Self>, LockError> {
        Self::attempt(path, kind, Wait::No)
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The locked file itself, for a holder that keeps a note in it.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Turns a held exclusive lock into a shared one. Between the two, for a moment, another process
    /// may hold the lock; this waits until that one lets go.
    pub fn share(&self) -> Result<(), LockError> {
        rustix::io::retry_on_intr(|| flock(&self.file, FlockOperation::LockShared)).map_err(
            |errno| LockError {
                path: self.path.clone(),
                cause: errno.into(),
            },
        )
    }

    /// Removes the lock file, then releases the lock. Others who wait on the old file notice that it
    /// is gone and take a new one.
    pub fn remove(self) -> Result<(), LockError> {
        std::fs::remove_file(&self.path).map_err(|cause| LockError {
            path: self.path,
            cause,
        })
    }

    fn attempt(path: &Path, kind: LockKind, wait: Wait) -> Result<Option<Self>, LockError> {
        let failed = |cause: io::Error| LockError {
            path: path.to_owned(),
            cause,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(failed)?;
        let operation = match (kind, wait) {
            (LockKind::Shared, Wait::UntilFree) => FlockOperation::LockShared,
            (LockKind::Exclusive, Wait::UntilFree) => FlockOperation::LockExclusive,
            (LockKind::Shared, Wait::No) => FlockOperation::NonBlockingLockShared,
            (LockKind::Exclusive, Wait::No) => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::io::retry_on_intr(|| flock(&file, operation)) {
            Ok(()) if names_this_file(path, &file).map_err(failed)? => Ok(Some(Self {
                file,
                path: path.to_owned(),
            })),
            // The file was removed or replaced while we waited: the lock guards nothing.
            Ok(()) if wait == Wait::UntilFree => Ok(None),
            Ok(()) => Self::attempt(path, kind, wait),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    UntilFree,
    No,
}

fn names_this_file(path: &Path, file: &File) -> io::Result<bool> {
    let held = fstat(file)?;
    match stat(path) {
        Ok(named) => Ok(named.st_dev == held.st_dev && named.st_ino == held.st_ino),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_keeps_everyone_else_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::lock(&path, LockKind::Exclusive).unwrap();
        assert!(
            FileLock::try_lock(&path, LockKind::Shared)
                .unwrap()
                .is_none()
        );
        drop(held);
        assert!(
            FileLock::try_lock(&path, LockKind::Shared)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn shared_locks_live_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = FileLock::lock(&path, LockKind::Shared).unwrap();
        let second = FileLock::try_lock(&path, LockKind::Shared).unwrap();
        assert!(second.is_some());
        assert!(
            FileLock::try_lock(&path, LockKind::Exclusive)
                .unwrap()
                .is_none()
        );
        drop((first, second));
        assert!(
            FileLock::try_lock(&path, LockKind::Exclusive)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_removed_lock_file_wakes_the_waiter_on_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::lock(&path, LockKind::Exclusive).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || FileLock::lock(&path, LockKind::Exclusive).unwrap()
        });
        held.remove().unwrap();
        let lock = waiter.join().unwrap();
        assert!(names_this_file(&path, lock.file()).unwrap());
        assert!(
            FileLock::try_lock(&path, LockKind::Shared)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_error_names_the_file() {
        let error = FileLock::lock(Path::new("/nonexistent/lock"), LockKind::Shared).unwrap_err();
        assert_eq!(error.to_string(), "could not lock `/nonexistent/lock`");
    }
}
