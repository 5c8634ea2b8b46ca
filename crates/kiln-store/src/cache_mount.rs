//! Cache mounts: directories that steps keep between builds (`RUN --mount=type=cache`).
//!
//! Each is `mounts/<number>/fs` with a lock file beside it, and a row in the index. Several
//! directories may have one name: a private user, or a shared one that comes while somebody has the
//! directory for himself, gets another instance, as with BuildKit. Whoever uses a directory holds its
//! lock, shared or exclusive, so a prune leaves it alone.
//!
//! A new directory belongs to its maker alone until [`CacheMountGuard::mark_filled`]: what it starts
//! with is copied there meanwhile. One that was never filled, since its maker failed or was killed,
//! is emptied and is new for the next user.
//!
//! Deliberately absent: what the directories start with, and archives of them; both are the caller's,
//! who has the directory for himself in [`Store::take_cache_mount`] and fills it anew by
//! [`CacheMountGuard::replace`].

mod prune;
mod replace;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use kiln_base::{CancelToken, Timestamp};
use kiln_sys::fs::{Dir, Owner};
use kiln_sys::lock::{FileLock, LockKind};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::index::{count_from_column, from_column, to_column};
use crate::lock::wait_for;
use crate::tree::{Space, remove_tree};
use crate::{Store, StoreError};

pub(crate) use prune::move_orphan_mounts;
pub use prune::{CacheMountReport, PruneCacheMounts};

/// The directory below an instance's own that is mounted.
const FILES: &str = "fs";
const LOCK: &str = "lock";

/// The column `filled`: 0 while the maker fills the directory, then this until the maker shares its lock,
/// so that whoever wants to share waits and makes no second directory, then [`OPEN`].
const FILLED: i64 = 1;
const OPEN: i64 = 2;

/// What a cache mount is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheMountKey {
    /// Tells projects or tenants apart; empty for the common one.
    pub namespace: String,
    /// The `id` of the mount; its target where none is given.
    pub id: String,
    /// How owners are kept on disk, as for snapshots: processes with another map of ids must not
    /// share files. Empty for root.
    pub scope: Vec<u8>,
}

/// Who gets a new directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheMountOwner {
    /// User id, as this process's user namespace numbers them.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
    /// Mode, for example `0o755`.
    pub mode: u32,
}

/// Who may use a directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody who shares, too.
    Shared,
    /// Nobody; who comes second gets another directory.
    Private,
    /// Nobody; who comes second waits.
    Locked,
}

/// One directory, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Names this instance among all.
    pub number: i64,
    /// What it is found by.
    pub key: CacheMountKey,
    /// To whom it was given when it was made.
    pub owner: CacheMountOwner,
    /// When it was made.
    pub created: Timestamp,
    /// When a step last began to use it.
    pub last_used: Timestamp,
    /// Its size when it was last measured ([`Store::measure_cache_mounts`]).
    pub space: Option<Space>,
    /// Whether its maker filled it to the end.
    pub is_filled: bool,
}

/// A cache mount in use. Dropping it gives it free.
#[derive(Debug)]
#[must_use = "the directory is free for others when this is dropped"]
pub struct CacheMountGuard {
    store: Store,
    number: i64,
    directory: PathBuf,
    files: PathBuf,
    lock: Option<FileLock>,
    kind: LockKind,
    filled: bool,
    is_new: bool,
}

impl CacheMountGuard {
    /// The directory to mount.
    pub fn dir(&self) -> &Path {
        &self.files
    }

    /// Names this instance among all, as in [`CacheMount::number`].
    pub const fn number(&self) -> i64 {
        self.number
    }

    /// Whether the directory was made just now and is empty. Then nobody else uses it before
    /// [`CacheMountGuard::mark_filled`].
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Says that a new directory has what it starts with: it stays from now on, and with
    /// [`Sharing::Shared`] others may use it, too. To be called before the step runs; does nothing
    /// for a directory that was there before.
    pub fn mark_filled(&mut self) -> Result<(), StoreError> {
        if self.filled {
            return Ok(());
        }
        self.set_state(FILLED)?;
        self.filled = true;
        if let (LockKind::Shared, Some(lock)) = (self.kind, &self.lock) {
            let shared = lock.share();
            shared.map_err(|error| StoreError::io("lock", &error.path)(error.cause))?;
        }
        self.set_state(OPEN)
    }

    fn set_state(&self, state: i64) -> Result<(), StoreError> {
        self.store.index().write(|transaction| {
            transaction
                .prepare_cached("UPDATE cache_mounts SET filled = ?2 WHERE number = ?1")?
                .execute([self.number, state])?;
            Ok(())
        })
    }

    /// Removes the directory with all that is in it. Whoever holds it alone may do so.
    pub(crate) fn remove(mut self) -> Result<(), StoreError> {
        self.store.index().write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM cache_mounts WHERE number = ?1")?
                .execute([self.number])?;
            Ok(())
        })?;
        self.filled = true;
        // Renamed while the lock is held: who waits for it finds another file, or none.
        let aside = self.store.lease()?.fresh_path();
        fs::rename(&self.directory, &aside).map_err(StoreError::io("rename", &self.directory))?;
        drop(self.lock.take());
        remove_tree(&aside)
    }
}

impl Drop for CacheMountGuard {
    fn drop(&mut self) {
        if !self.filled {
            // The next user empties what is left here.
            let _ = remove_tree(&self.files);
        }
    }
}

impl Store {
    /// Opens a cache mount; makes its directory, empty and with this owner, where there is none.
    ///
    /// With [`Sharing::Locked`] this waits until the directory is free and ends early with
    /// [`StoreError::Cancelled`] when `cancel` is set. Ids that this process's user namespace does not
    /// have (in the single-id grade all but 0, and no step runs as another user there) become 0.
    pub fn open_cache_mount(
        &self,
        key: &CacheMountKey,
        owner: CacheMountOwner,
        sharing: Sharing,
        cancel: &CancelToken,
    ) -> Result<CacheMountGuard, StoreError> {
        let kind = match sharing {
            Sharing::Shared => LockKind::Shared,
            Sharing::Private | Sharing::Locked => LockKind::Exclusive,
        };
        wait_for(cancel, || {
            let known = self.index().read(|index| instances(index, key))?;
            for (number, _) in &known {
                if let Some(guard) = self.try_cache_mount(*number, kind)? {
                    return Ok(Some(guard));
                }
            }
            // Made before the transaction, since taking a lease is one, too.
            let aside = self.lease()?.fresh_path();
            // Making one is decided in a transaction, so that two who come at once make one.
            let made = self.index().write(|transaction| {
                let there = instances(transaction, key)?;
                let must_wait = match sharing {
                    Sharing::Private => false,
                    Sharing::Locked => !there.is_empty(),
                    // Whoever fills it now shares it in a moment.
                    Sharing::Shared => there.iter().any(|(_, state)| *state != OPEN),
                };
                // What has changed since the attempts above deserves another one.
                if must_wait || there != known {
                    return Ok(None);
                }
                self.make_cache_mount(transaction, (key, owner), kind, &aside)
            })?;
            made.map(|guard| guard.prepare(owner)).transpose()
        })
    }

    /// Takes one instance for this caller alone, for reading or replacing what is in it; `None` if it
    /// is in use or gone.
    pub fn take_cache_mount(&self, number: i64) -> Result<Option<CacheMountGuard>, StoreError> {
        self.try_cache_mount(number, LockKind::Exclusive)
    }

    fn make_cache_mount(
        &self,
        transaction: &Transaction<'_>,
        (key, owner): (&CacheMountKey, CacheMountOwner),
        kind: LockKind,
        aside: &Path,
    ) -> Result<Option<CacheMountGuard>, StoreError> {
        let insert = "INSERT INTO cache_mounts
            (namespace, id, scope, uid, gid, mode, created, last_used)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)";
        let now = to_column(self.now());
        let CacheMountOwner { uid, gid, mode } = owner;
        transaction.prepare_cached(insert)?.execute(params![
            key.namespace,
            key.id,
            key.scope,
            uid,
            gid,
            mode,
            now
        ])?;
        let number = transaction.last_insert_rowid();
        let directory = self.layout().mount(number);
        if crate::blob::exists(&directory)? {
            // Left by a process that died before its row was committed.
            fs::rename(&directory, aside).map_err(StoreError::io("rename", &directory))?;
        }
        make_directory(&directory)?;
        let lock = try_lock(&directory, LockKind::Exclusive)?;
        Ok(lock.map(|lock| self.guard((number, directory), lock, kind, false)))
    }

    /// `None` while somebody else has the instance, and when it is gone.
    fn try_cache_mount(
        &self,
        number: i64,
        kind: LockKind,
    ) -> Result<Option<CacheMountGuard>, StoreError> {
        let directory = self.layout().mount(number);
        let Some(lock) = try_lock(&directory, kind)? else {
            return Ok(None);
        };
        let now = to_column(self.now());
        let found = self.index().write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE cache_mounts
                        SET last_used = ?2, filled = CASE filled WHEN 0 THEN 0 ELSE 2 END
                        WHERE number = ?1",
                )?
                .execute([number, now])?;
            Ok(transaction
                .prepare_cached(
                    "SELECT uid, gid, mode, filled FROM cache_mounts WHERE number = ?1",
                )?
                .query_row([number], |row| {
                    Ok((read_owner(row, 0)?, row.get::<_, i64>(3)? != 0))
                })
                .optional()?)
        })?;
        let Some((owner, filled)) = found else {
            return Ok(None);
        };
        if filled && self.layout().mount(number).join(FILES).is_dir() {
            return Ok(Some(self.guard((number, directory), lock, kind, true)));
        }
        // Its maker did not get to the end, or the power was lost: from the beginning, and alone.
        drop(lock);
        let Some(lock) = try_lock(&directory, LockKind::Exclusive)? else {
            return Ok(None);
        };
        let guard = self.guard((number, directory), lock, kind, false);
        guard.prepare(owner).map(Some)
    }

    fn guard(
        &self,
        (number, directory): (i64, PathBuf),
        lock: FileLock,
        kind: LockKind,
        filled: bool,
    ) -> CacheMountGuard {
        CacheMountGuard {
            store: self.clone(),
            number,
            files: directory.join(FILES),
            directory,
            lock: Some(lock),
            kind,
            filled,
            is_new: !filled,
        }
    }

    /// Every instance, in the order in which they were made.
    pub fn cache_mounts(&self) -> Result<Vec<CacheMount>, StoreError> {
        self.index().read(|index| {
            let mut statement = index.prepare_cached(
                "SELECT number, namespace, id, scope, uid, gid, mode, created, last_used,
                    apparent, disk, filled FROM cache_mounts ORDER BY number",
            )?;
            let rows = statement.query_map([], read_mount)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

impl CacheMountGuard {
    /// Makes the directory to be mounted, empty.
    fn prepare(self, owner: CacheMountOwner) -> Result<Self, StoreError> {
        remove_tree(&self.files)?;
        make_directory(&self.files)?;
        let failed = |cause| StoreError::Tree {
            action: "give away",
            path: self.files.clone(),
            cause,
        };
        let dir = Dir::open(&self.files).map_err(failed)?;
        let known = Owner {
            uid: owner.uid,
            gid: owner.gid,
        };
        match dir.set_owner(Dir::ITSELF, known) {
            // Ids that the user namespace does not have.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            }
            other => other.map_err(failed)?,
        }
        dir.set_mode(Dir::ITSELF, owner.mode).map_err(failed)?;
        Ok(self)
    }
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(StoreError::io("make", path))
}

/// `None` while it is locked, and when the directory is gone.
fn try_lock(directory: &Path, kind: LockKind) -> Result<Option<FileLock>, StoreError> {
    match FileLock::try_lock(&directory.join(LOCK), kind) {
        Err(error) if crate::lock::is_missing(&error.cause) => Ok(None),
        other => other.map_err(|error| StoreError::io("lock", &error.path)(error.cause)),
    }
}

/// The numbers of all directories with this key, each with its state.
fn instances(index: &Connection, key: &CacheMountKey) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut statement = index.prepare_cached(
        "SELECT number, filled FROM cache_mounts WHERE namespace = ?1 AND id = ?2 AND scope = ?3
            ORDER BY number",
    )?;
    let numbers = statement.query_map(params![key.namespace, key.id, key.scope], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(numbers.collect::<Result<_, _>>()?)
}

fn read_owner(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<CacheMountOwner> {
    Ok(CacheMountOwner {
        uid: row.get(first)?,
        gid: row.get(first + 1)?,
        mode: row.get(first + 2)?,
    })
}

fn read_mount(row: &rusqlite::Row<'_>) -> rusqlite::Result<CacheMount> {
    let sizes: (Option<i64>, Option<i64>) = (row.get(9)?, row.get(10)?);
    Ok(CacheMount {
        number: row.get(0)?,
        key: CacheMountKey {
            namespace: row.get(1)?,
            id: row.get(2)?,
            scope: row.get(3)?,
        },
        owner: read_owner(row, 4)?,
        created: from_column(row.get(7)?),
        last_used: from_column(row.get(8)?),
        space: match sizes {
            (Some(apparent), Some(disk)) => Some(Space {
                apparent: count_from_column(apparent),
                disk: count_from_column(disk),
            }),
            _ => None,
        },
        is_filled: row.get::<_, i64>(11)? != 0,
    })
}
