//! Leases: what a process has in progress or in use, and how that ends with the process.
//!
//! A lease is a file under `leases/` that its process keeps locked. Everything unfinished is below
//! `tmp/<lease>/`; everything in use has a row in the `protected` table. A lease whose file can be
//! locked by somebody else is dead, and so is a directory under `tmp/` that has no lease file.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_oci::Digest;
use kiln_sys::lock::FileLock;
use rusqlite::{Transaction, params};

use crate::id::random_hex;
use crate::index::Index;
use crate::layout::Layout;
use crate::lock::{is_missing, try_lock_file};
use crate::tree::remove_tree;
use crate::{SnapshotId, Store, StoreError};

/// Something that a lease keeps from being pruned, with all that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Protected {
    /// A blob and, for a manifest or an index, the blobs it names.
    Blob(Digest),
    /// A snapshot and those below it.
    Snapshot(SnapshotId),
}

/// This process's lease.
#[derive(Debug)]
pub(crate) struct Lease {
    id: String,
    path: PathBuf,
    directory: PathBuf,
    _locked: FileLock,
    names: AtomicU64,
    remembered: Mutex<HashSet<Protected>>,
}

impl Protected {
    pub(crate) const BLOB: &'static str = "blob";
    pub(crate) const SNAPSHOT: &'static str = "snapshot";

    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Blob(digest) => (Self::BLOB, digest.as_str()),
            Self::Snapshot(id) => (Self::SNAPSHOT, id.as_str()),
        }
    }
}

impl Lease {
    /// Takes a new lease.
    pub(crate) fn take(layout: &Layout) -> Result<Self, StoreError> {
        let (id, path, locked) = loop {
            let id = random_hex();
            let path = layout.lease(&id);
            // `None`: a reaper took the fresh file for a dead lease; it is welcome to it.
            if let Some(file) = try_lock_file(&path)? {
                break (id, path, file);
            }
        };
        let directory = layout.tmp(&id);
        fs::create_dir(&directory).map_err(StoreError::io("make", &directory))?;
        Ok(Self {
            id,
            path,
            directory,
            _locked: locked,
            names: AtomicU64::new(0),
            remembered: Mutex::default(),
        })
    }

    /// A path for something unfinished, not used before.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        self.directory.join(number.to_string())
    }

    /// Writes down that `object` is in use.
    pub(crate) fn record(
        &self,
        transaction: &Transaction<'_>,
        object: &Protected,
    ) -> Result<(), StoreError> {
        let (kind, name) = object.columns();
        transaction
            .prepare_cached("INSERT OR IGNORE INTO protected VALUES (?1, ?2, ?3)")?
            .execute(params![self.id, kind, name])?;
        Ok(())
    }

    /// Notes that [`Lease::record`] was committed.
    pub(crate) fn remember(&self, object: &Protected) {
        self.remembered().insert(object.clone());
    }

    /// Whether [`Lease::remember`] was called.
    pub(crate) fn remembers(&self, object: &Protected) -> bool {
        self.remembered().contains(object)
    }

    /// Gives everything up. What fails here is made good by whoever reaps the lease.
    pub(crate) fn end(&self, index: &Index) {
        let forgotten = index.write(|transaction| forget(transaction, &self.id));
        let removed = remove_tree(&self.directory);
        if forgotten.is_ok() && removed.is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<Protected>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease whose process is gone, held locked while it is being reaped.
#[derive(Debug)]
struct DeadLease {
    path: PathBuf,
    directory: PathBuf,
    /// `None` for a directory that never had, or no longer has, a lease file.
    _locked: Option<FileLock>,
}

impl DeadLease {
    fn remove(&self) -> Result<(), StoreError> {
        remove_tree(&self.directory)?;
        match fs::remove_file(&self.path) {
            Err(error) if is_missing(&error) => Ok(()),
            other => other.map_err(StoreError::io("remove", &self.path)),
        }
    }
}

/// Removes what dead processes left behind. Returns how many leases that were.
pub(crate) fn reap(store: &Store) -> Result<usize, StoreError> {
    let dead = find_dead(store)?;
    for lease in &dead {
        lease.remove()?;
    }
    Ok(dead.len())
}

/// Like [`reap`], but leaves the removal of files, which may take long, to a thread. If the
/// process ends before the thread does, the next one goes on.
pub(crate) fn reap_in_background(store: &Store) -> Result<(), StoreError> {
    let dead = find_dead(store)?;
    if dead.is_empty() {
        return Ok(());
    }
    let remove_all = move || {
        for lease in dead {
            // Nobody is there to be told; `prune` does the same work and tells.
            let _ = lease.remove();
        }
    };
    // Without a thread the files simply stay for later.
    let _ = std::thread::Builder::new()
        .name("kiln-reap".to_owned())
        .spawn(remove_all);
    Ok(())
}

/// Finds and locks dead leases, and forgets what they protected.
fn find_dead(store: &Store) -> Result<Vec<DeadLease>, StoreError> {
    let layout = store.layout();
    let mut dead = Vec::new();
    // Directories first: a lease has its file before it has its directory, so a directory that is
    // seen now and has no file afterwards is dead.
    let directories = names_in(&layout.all_tmp())?;
    for id in names_in(&layout.leases())? {
        let path = layout.lease(&id);
        if let Some(file) = try_lock_file(&path)? {
            let directory = layout.tmp(&id);
            dead.push((
                id,
                DeadLease {
                    path,
                    directory,
                    _locked: Some(file),
                },
            ));
        }
    }
    for id in directories {
        let path = layout.lease(&id);
        let is_known = dead.iter().any(|(known, _)| *known == id);
        if !is_known && !path.exists() {
            let directory = layout.tmp(&id);
            dead.push((
                id,
                DeadLease {
                    path,
                    directory,
                    _locked: None,
                },
            ));
        }
    }
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    store
        .index()
        .write(|transaction| dead.iter().try_for_each(|(id, _)| forget(transaction, id)))?;
    Ok(dead.into_iter().map(|(_, lease)| lease).collect())
}

fn forget(transaction: &Transaction<'_>, lease: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("DELETE FROM protected WHERE lease = ?1")?
        .execute([lease])?;
    Ok(())
}

/// The names in one of the store's own directories.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(directory).map_err(StoreError::io("list", directory))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", directory))?;
        // The store makes no other names.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
