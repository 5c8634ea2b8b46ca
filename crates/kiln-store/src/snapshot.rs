//! Snapshots: directories that hold one layer each, in the form overlayfs stacks.
//!
//! The directories have numbers for names. The list of lower directories that `mount(2)` takes must
//! fit into one page, and with short names several hundred of them do.
//!
//! A snapshot may be *packed*: its layer is there as a blob ([`Store::layers_of`]), and its directory
//! has no files yet. [`ActiveSnapshot::fill`] gives it another one that has.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::blob::exists;
use crate::index::{count_from_column, to_column};
use crate::lease::Protected;
use crate::lock::StoreLock;
use crate::tree::{Space, measure, remove_tree};
use crate::{SnapshotError, SnapshotId, Store, StoreError};

/// The directory below a snapshot's own that holds the layer's files.
const FILES: &str = "fs";

/// A stored snapshot: one layer, never changed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// The directory with the layer's files.
    pub path: PathBuf,
    /// The snapshot it was made on top of, or for a flattened one the topmost that it was made of;
    /// stays in the store as long as this one.
    pub parent: Option<SnapshotId>,
}

impl Snapshot {
    /// Whether its files are there; a packed one has them in a blob only.
    pub fn has_files(&self) -> Result<bool, StoreError> {
        exists(&self.path)
    }
}

/// A snapshot that is being filled. Dropping it removes it.
///
/// Whoever mounts [`ActiveSnapshot::upper`] unmounts it before committing or dropping.
#[derive(Debug)]
pub struct ActiveSnapshot {
    store: Store,
    directory: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

impl Store {
    /// Begins a snapshot with an empty `upper` (mode 0755) and `work` directory.
    pub fn begin_snapshot(&self) -> Result<ActiveSnapshot, StoreError> {
        let directory = self.lease()?.fresh_path();
        let active = ActiveSnapshot {
            store: self.clone(),
            upper: directory.join(FILES),
            work: directory.join("work"),
            directory,
        };
        for (path, mode) in [
            (&active.directory, 0o700),
            (&active.upper, 0o755),
            (&active.work, 0o700),
        ] {
            let made = DirBuilder::new().mode(mode).create(path);
            made.map_err(StoreError::io("make", path))?;
        }
        // The process's umask may have taken bits away, and these end up in a layer.
        let readable = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::chmod(&active.upper, readable)
            .map_err(StoreError::os("set the mode of", &active.upper))?;
        Ok(active)
    }

    /// The snapshot of this name. It and those below it stay in the store as long as this handle
    /// lives.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Option<Snapshot>, StoreError> {
        let object = Protected::Snapshot(id.clone());
        let found = self.index().read(|index| find(index, self, id))?;
        if found.is_none() || self.protects(&object) {
            return Ok(found);
        }
        let found = self.protect(&object, |transaction| use_snapshot(transaction, self, id))?;
        if found.is_some() {
            self.lease()?.note_used(None, Some(id));
        }
        Ok(found)
    }

    /// The snapshot and all below it, topmost first: what overlayfs stacks. Empty if there is no
    /// such snapshot.
    pub fn snapshot_chain(&self, top: &SnapshotId) -> Result<Vec<Snapshot>, StoreError> {
        let mut chain: Vec<Snapshot> = self.snapshot(top)?.into_iter().collect();
        while let Some(parent) = chain.last().and_then(|snapshot| snapshot.parent.clone()) {
            let below = self.index().read(|index| find(index, self, &parent))?;
            chain.push(below.ok_or(StoreError::Damaged {
                what: "a snapshot's parent",
            })?);
        }
        Ok(chain)
    }

    /// The space that each of these snapshots takes, nothing for one that is not there. They are
    /// measured when that is first asked.
    pub fn snapshot_spaces(&self, ids: &[SnapshotId]) -> Result<Vec<Space>, StoreError> {
        let known = self.index().read(|index| {
            let mut statement = index
                .prepare_cached("SELECT number, apparent, disk FROM snapshots WHERE id = ?1")?;
            let mut known = Vec::with_capacity(ids.len());
            for id in ids {
                let row = statement.query_row([id.as_str()], |row| {
                    let space: (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
                    Ok((row.get::<_, i64>(0)?, space.0.zip(space.1)))
                });
                known.push(row.optional()?);
            }
            Ok(known)
        })?;
        let mut spaces = Vec::with_capacity(ids.len());
        let mut measured = Vec::new();
        for (id, row) in ids.iter().zip(known) {
            spaces.push(match row {
                None => Space::default(),
                Some((_, Some((apparent, disk)))) => Space {
                    apparent: count_from_column(apparent),
                    disk: count_from_column(disk),
                },
                Some((number, None)) => {
                    let space = measure(&self.layout().snapshot(number))?;
                    measured.push((id, space));
                    space
                }
            });
        }
        self.note_spaces(&measured)?;
        Ok(spaces)
    }

    /// Waits until nobody else works on the snapshot `id`, then keeps others from it.
    ///
    /// Two builds that unpack the same base layer take this lock and then look whether the snapshot
    /// is there: only the first one unpacks. Ends early with [`StoreError::Cancelled`] when `cancel`
    /// is set.
    pub fn lock_snapshot(
        &self,
        id: &SnapshotId,
        cancel: &CancelToken,
    ) -> Result<StoreLock, StoreError> {
        self.lock(&snapshot_lock(id), cancel)
    }

    /// As [`Store::lock_snapshot`], but `None` where somebody else works on it.
    pub fn try_lock_snapshot(&self, id: &SnapshotId) -> Result<Option<StoreLock>, StoreError> {
        self.try_lock(&snapshot_lock(id))
    }

    fn snapshot_files(&self, number: i64) -> PathBuf {
        self.layout().snapshot(number).join(FILES)
    }
}

impl ActiveSnapshot {
    /// The directory to fill: overlayfs' upper directory, or where a layer is unpacked.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Overlayfs' work directory.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Makes an empty directory beside the files, which stays as long as they do: for further names
    /// of files that have to have as many as somewhere else.
    pub fn make_spare(&self) -> Result<PathBuf, StoreError> {
        let path = self.directory.join("spare");
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(StoreError::io("make", &path))?;
        Ok(path)
    }

    /// Puts the snapshot into the store under the name `id`, on top of `parent`. Atomic between
    /// processes; survives a loss of power after the next [`Store::sync`].
    ///
    /// Where there is a snapshot of this name already, that one is returned and this one removed.
    pub fn commit(
        self,
        id: &SnapshotId,
        parent: Option<&SnapshotId>,
    ) -> Result<Snapshot, SnapshotError> {
        remove_tree(&self.work)?;
        let object = Protected::Snapshot(id.clone());
        let aside = self.store.lease()?.fresh_path();
        let place = |transaction: &Transaction<'_>| {
            if let Some(snapshot) = use_snapshot(transaction, &self.store, id)? {
                return Ok(Some(snapshot));
            }
            if let Some(parent) = parent
                && find(transaction, &self.store, parent)?.is_none()
            {
                return Ok(None);
            }
            self.place(transaction, id, parent, &aside).map(Some)
        };
        let placed = self.store.protect(&object, place)?;
        self.store.note_unsynced();
        match (placed, parent) {
            (Some(snapshot), _) => Ok(snapshot),
            (None, parent) => Err(SnapshotError::Unknown(parent.unwrap_or(id).clone())),
        }
    }

    /// As [`ActiveSnapshot::commit`], without the files: they are in a blob, which the caller names
    /// by [`Store::put_layer`].
    pub fn commit_packed(
        self,
        id: &SnapshotId,
        parent: Option<&SnapshotId>,
    ) -> Result<Snapshot, SnapshotError> {
        remove_tree(&self.upper)?;
        self.commit(id, parent)
    }

    /// Gives the packed snapshot `id` these files. Does nothing if it has its files already.
    ///
    /// It gets another number and so another directory, and the row that leads there says that it is
    /// not synced: whatever part of this a loss of power takes back, a row never leads to files that
    /// it may have damaged.
    pub fn fill(self, id: &SnapshotId) -> Result<(), SnapshotError> {
        remove_tree(&self.work)?;
        let store = self.store.clone();
        let emptied = store.lease()?.fresh_path();
        let is_there = store.index().write(|transaction| {
            let Some(snapshot) = find(transaction, &store, id)? else {
                return Ok(false);
            };
            if !snapshot.has_files()? {
                self.replace(transaction, &snapshot, &emptied)?;
            }
            Ok(true)
        })?;
        store.note_unsynced();
        if exists(&emptied)? {
            remove_tree(&emptied)?;
        }
        if is_there {
            Ok(())
        } else {
            Err(SnapshotError::Unknown(id.clone()))
        }
    }

    /// Puts this directory in the place of a snapshot's own, which goes to `emptied`.
    fn replace(
        &self,
        transaction: &Transaction<'_>,
        snapshot: &Snapshot,
        emptied: &Path,
    ) -> Result<(), StoreError> {
        let number: i64 = transaction.query_row(
            "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'snapshots' RETURNING seq",
            [],
            |row| row.get(0),
        )?;
        transaction
            .prepare_cached(
                "UPDATE snapshots SET number = ?2, synced = 0, apparent = NULL, disk = NULL
                 WHERE id = ?1",
            )?
            .execute(params![snapshot.id.as_str(), number])?;
        let to = self.store.layout().snapshot(number);
        if exists(&to)? {
            let aside = self.store.lease()?.fresh_path();
            fs::rename(&to, aside).map_err(StoreError::io("rename", &to))?;
        }
        fs::rename(&self.directory, &to).map_err(StoreError::io("rename", &self.directory))?;
        if let Some(before) = snapshot.path.parent() {
            fs::rename(before, emptied).map_err(StoreError::io("rename", before))?;
        }
        Ok(())
    }

    fn place(
        &self,
        transaction: &Transaction<'_>,
        id: &SnapshotId,
        parent: Option<&SnapshotId>,
        aside: &Path,
    ) -> Result<Snapshot, StoreError> {
        let now = to_column(self.store.now());
        transaction
            .prepare_cached(
                "INSERT INTO snapshots (id, parent, created, last_used) VALUES (?1, ?2, ?3, ?3)",
            )?
            .execute(params![id.as_str(), parent.map(SnapshotId::as_str), now])?;
        let number = transaction.last_insert_rowid();
        let to = self.store.layout().snapshot(number);
        if exists(&to)? {
            // Left by a process that died, or by a row lost with the power, that had this number.
            fs::rename(&to, aside).map_err(StoreError::io("rename", &to))?;
        }
        fs::rename(&self.directory, &to).map_err(StoreError::io("rename", &self.directory))?;
        Ok(Snapshot {
            id: id.clone(),
            path: to.join(FILES),
            parent: parent.cloned(),
        })
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        // What can't be removed now goes with the lease.
        let _ = remove_tree(&self.directory);
    }
}

fn snapshot_lock(id: &SnapshotId) -> String {
    format!("snapshot {id}")
}

fn find(
    index: &Connection,
    store: &Store,
    id: &SnapshotId,
) -> Result<Option<Snapshot>, StoreError> {
    let mut statement =
        index.prepare_cached("SELECT number, parent FROM snapshots WHERE id = ?1")?;
    let row = statement.query_row([id.as_str()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
    });
    Ok(row.optional()?.map(|(number, parent)| Snapshot {
        id: id.clone(),
        path: store.snapshot_files(number),
        parent: parent.map(SnapshotId::from_index),
    }))
}

/// A snapshot's number, and when it was last used: what [`crate::lease::Lease::record_companions`]
/// goes by.
pub(crate) fn place_of(
    index: &Connection,
    id: &SnapshotId,
) -> Result<Option<(i64, i64)>, StoreError> {
    let mut statement =
        index.prepare_cached("SELECT number, last_used FROM snapshots WHERE id = ?1")?;
    let row = statement.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}

/// Finds a snapshot and notes that it was used.
pub(crate) fn use_snapshot(
    transaction: &Transaction<'_>,
    store: &Store,
    id: &SnapshotId,
) -> Result<Option<Snapshot>, StoreError> {
    transaction
        .prepare_cached("UPDATE snapshots SET last_used = max(last_used, ?2) WHERE id = ?1")?
        .execute(params![id.as_str(), to_column(store.now())])?;
    find(transaction, store, id)
}
