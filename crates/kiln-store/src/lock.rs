//! Named locks between processes and threads, on files that exist only while somebody holds them.

use std::io;
use std::path::Path;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_base::trace::Tracer;
use kiln_sys::lock::{FileLock, LockKind};

use crate::{Store, StoreError};

/// How long to sleep between two attempts: long enough to cost nothing, short against any work
/// that is done under a lock.
const POLL: Duration = Duration::from_millis(5);

/// An exclusive lock between processes and threads; released when dropped, or when its process
/// dies, however it dies.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct StoreLock(Option<FileLock>);

impl Store {
    /// Waits until no other process or thread holds the lock `name`, then holds it.
    ///
    /// Ends early with [`StoreError::Cancelled`] when `cancel` is set.
    pub fn lock(&self, name: &str, cancel: &CancelToken) -> Result<StoreLock, StoreError> {
        if let Some(lock) = self.try_lock(name)? {
            return Ok(lock);
        }
        let tracer = self.index().tracer();
        let since = tracer.map(Tracer::since);
        let lock = wait_for(cancel, || self.try_lock(name));
        if let (Some(tracer), Some(since)) = (tracer, since) {
            tracer.waited("wait for a lock", since);
        }
        lock
    }

    /// Holds the lock `name`, unless somebody else does.
    pub fn try_lock(&self, name: &str) -> Result<Option<StoreLock>, StoreError> {
        let file = try_lock_file(&self.layout().lock(name))?;
        Ok(file.map(|file| StoreLock(Some(file))))
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // A file that can't be removed is only untidy.
        let _ = self.0.take().map(FileLock::remove);
    }
}

/// Locks the file at `path`, which is made where it is missing; `None` while it is locked by
/// somebody else.
pub(crate) fn try_lock_file(path: &Path) -> Result<Option<FileLock>, StoreError> {
    FileLock::try_lock(path, LockKind::Exclusive)
        .map_err(|error| StoreError::io("lock", path)(error.cause))
}

/// Calls `attempt` until it gives something or `cancel` is set.
pub(crate) fn wait_for<T>(
    cancel: &CancelToken,
    mut attempt: impl FnMut() -> Result<Option<T>, StoreError>,
) -> Result<T, StoreError> {
    loop {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        cancel.check()?;
        std::thread::sleep(POLL);
    }
}

/// Whether an error says that the file does not exist.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
