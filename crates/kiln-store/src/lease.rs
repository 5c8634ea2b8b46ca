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

use kiln_base::Timestamp;
use kiln_oci::Digest;
use kiln_sys::lock::FileLock;
use rusqlite::{Transaction, params};

use crate::id::random_hex;
use crate::index::{Index, to_column};
use crate::layout::Layout;
use crate::lock::try_lock_file;
use crate::tree::{Space, measure, remove_tree};
use crate::{CacheKey, SnapshotId, Store, StoreError};

/// How many snapshots [`Lease::record_companions`] looks at.
const COMPANIONS: i64 = 64;

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
    directory: PathBuf,
    lock: FileLock,
    names: AtomicU64,
    remembered: Mutex<HashSet<Protected>>,
    used: Mutex<Used>,
}

/// What was found while it was protected already: that it was used is written when the lease ends.
#[derive(Debug, Default)]
struct Used {
    records: HashSet<CacheKey>,
    snapshots: HashSet<SnapshotId>,
}

impl Protected {
    const BLOB: &'static str = "blob";
    const SNAPSHOT: &'static str = "snapshot";

    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Blob(digest) => (Self::BLOB, digest.as_str()),
            Self::Snapshot(id) => (Self::SNAPSHOT, id.as_str()),
        }
    }

    /// The reverse of [`Protected::columns`].
    pub(crate) fn from_columns(kind: &str, object: String) -> Option<Self> {
        match kind {
            Self::BLOB => object.parse().ok().map(Self::Blob),
            Self::SNAPSHOT => Some(Self::Snapshot(SnapshotId::from_index(object))),
            _ => None,
        }
    }
}

impl Lease {
    /// Takes a new lease.
    pub(crate) fn take(layout: &Layout) -> Result<Self, StoreError> {
        let (id, lock) = loop {
            let id = random_hex();
            // `None`: a reaper took the fresh file for a dead lease; it is welcome to it.
            if let Some(lock) = try_lock_file(&layout.lease(&id))? {
                break (id, lock);
            }
        };
        let directory = layout.tmp(&id);
        fs::create_dir(&directory).map_err(StoreError::io("make", &directory))?;
        Ok(Self {
            id,
            directory,
            lock,
            names: AtomicU64::new(0),
            remembered: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// Where this lease's unfinished things are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path for something unfinished, not used before.
    pub(crate) fn fresh_path(&self) -> PathBuf {
        self.directory.join(self.number().to_string())
    }

    /// A text not used before, by no process.
    pub(crate) fn fresh_name(&self) -> String {
        format!("{}-{}", self.id, self.number())
    }

    fn number(&self) -> u64 {
        self.names.fetch_add(1, Ordering::Relaxed)
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

    /// Protects the snapshots that were made soon after the one with this number and last used at the
    /// same time, too: where one of them is used, the others mostly are, and this spares each a
    /// transaction of its own. Returns what is then to be remembered.
    pub(crate) fn record_companions(
        &self,
        transaction: &Transaction<'_>,
        (number, last_used): (i64, i64),
    ) -> Result<Vec<Protected>, StoreError> {
        let mut statement = transaction.prepare_cached(
            "INSERT OR IGNORE INTO protected SELECT ?1, ?2, id FROM snapshots
                WHERE number > ?3 AND number <= ?4 AND last_used = ?5 RETURNING object",
        )?;
        let last = number.saturating_add(COMPANIONS);
        let ids = statement.query_map(
            params![self.id, Protected::SNAPSHOT, number, last, last_used],
            |row| row.get::<_, String>(0),
        )?;
        let protected = ids.map(|id| Ok(Protected::Snapshot(SnapshotId::from_index(id?))));
        protected.collect()
    }

    /// Notes that a record, or a snapshot, was used.
    pub(crate) fn note_used(&self, record: Option<&CacheKey>, snapshot: Option<&SnapshotId>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.records.extend(record.copied());
        if let Some(snapshot) = snapshot
            && !used.snapshots.contains(snapshot)
        {
            used.snapshots.insert(snapshot.clone());
        }
    }

    /// Gives everything up. What fails here is made good by whoever reaps the lease. Returns whether
    /// nobody else has one.
    pub(crate) fn end(&self, index: &Index, now: Timestamp) -> bool {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let forgotten = index.write(|transaction| {
            used.write(transaction, now)?;
            forget(transaction, &self.id)
        });
        let removed = remove_tree(&self.directory);
        if forgotten.is_ok() && removed.is_ok() {
            let _ = fs::remove_file(self.lock.path());
        }
        let leases = self.lock.path().parent();
        leases.is_some_and(|leases| names_in(leases).is_ok_and(|names| names.is_empty()))
    }

    fn remembered(&self) -> MutexGuard<'_, HashSet<Protected>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Writes one time for all, by which they are later known as each other's companions.
    fn write(&self, transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
        let now = to_column(now);
        let mut statement = transaction
            .prepare_cached("UPDATE cache SET last_used = max(last_used, ?2) WHERE key = ?1")?;
        for key in &self.records {
            statement.execute(params![key.0, now])?;
        }
        let mut statement = transaction
            .prepare_cached("UPDATE snapshots SET last_used = max(last_used, ?2) WHERE id = ?1")?;
        for id in &self.snapshots {
            statement.execute(params![id.as_str(), now])?;
        }
        Ok(())
    }
}

/// A lease whose process is gone, held locked while it is being reaped.
#[derive(Debug)]
struct DeadLease {
    id: String,
    directory: PathBuf,
    lock: FileLock,
}

impl DeadLease {
    fn remove(self) -> Result<(), StoreError> {
        remove_tree(&self.directory)?;
        let path = self.lock.path().to_owned();
        self.lock
            .remove()
            .map_err(|error| StoreError::io("remove", &path)(error.cause))
    }
}

/// Removes what dead processes left behind. Returns how many leases that were and the space that
/// their work took.
pub(crate) fn reap(store: &Store) -> Result<(u64, Space), StoreError> {
    let dead = find_dead(store)?;
    let count = dead.len() as u64;
    let mut freed = Space::default();
    for lease in dead {
        freed.add(measure(&lease.directory)?);
        lease.remove()?;
    }
    Ok((count, freed))
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
///
/// A lease takes its file before it makes its directory. So whoever can lock the file for a
/// directory that was there before has a dead one, even if that makes the file.
fn find_dead(store: &Store) -> Result<Vec<DeadLease>, StoreError> {
    let layout = store.layout();
    let mut ids = names_in(&layout.all_tmp())?;
    ids.extend(names_in(&layout.leases())?);
    ids.sort_unstable();
    ids.dedup();
    let mut dead = Vec::new();
    for id in ids {
        if let Some(lock) = try_lock_file(&layout.lease(&id))? {
            let directory = layout.tmp(&id);
            dead.push(DeadLease {
                id,
                directory,
                lock,
            });
        }
    }
    if !dead.is_empty() {
        store.index().write(|transaction| {
            dead.iter()
                .try_for_each(|lease| forget(transaction, &lease.id))
        })?;
    }
    Ok(dead)
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
