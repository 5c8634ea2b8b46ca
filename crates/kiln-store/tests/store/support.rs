//! A store in a temporary directory, with a clock that tests set.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kiln_base::Timestamp;
use kiln_store::{Clock, Snapshot, SnapshotId, Store};
use tempfile::TempDir;

pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
    time: Arc<AtomicI64>,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(1));
        let store = Store::open(dir.path(), clock(&time)).unwrap();
        Self { store, dir, time }
    }

    /// Another handle, as another process would have.
    pub(crate) fn open_again(&self) -> Store {
        Store::open(self.dir.path(), clock(&self.time)).unwrap()
    }

    pub(crate) fn set_time(&self, seconds: i64) {
        self.time.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Ends the handle and its lease, and opens the store anew.
    pub(crate) fn reopen(&mut self) {
        self.store = self.open_again();
    }
}

fn clock(time: &Arc<AtomicI64>) -> Clock {
    let time = Arc::clone(time);
    Clock::new(move || Timestamp::from_seconds(time.load(Ordering::Relaxed)))
}

pub(crate) fn open(root: &Path) -> Store {
    let clock = Clock::new(|| std::time::SystemTime::now().into());
    Store::open(root, clock).unwrap()
}

/// A snapshot with one file of `size` bytes.
pub(crate) fn add_snapshot(
    store: &Store,
    id: &SnapshotId,
    parent: Option<&SnapshotId>,
    size: usize,
) -> Snapshot {
    let active = store.begin_snapshot().unwrap();
    std::fs::write(active.upper().join("file"), vec![b'x'; size]).unwrap();
    active.commit(id, parent).unwrap()
}

/// The names in a directory, sorted, in one line.
pub(crate) fn names(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.join(" ")
}
