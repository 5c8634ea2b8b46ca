//! Making what was stored survive a loss of power, and dropping what one may have damaged.
//!
//! A file system says once that it could not write something, to whoever syncs next, and then goes on
//! as if that were written. Which files it was, nobody knows, and they may belong to other processes,
//! or have no mark yet. So whoever is told that a sync failed leaves a note in `unsynced/`, and where
//! there is one, syncing goes on, but nothing counts as synced: after the next boot blobs are compared
//! with their digests, and snapshots dropped. What another program's sync was told, and this store's
//! programs were not, is not noticed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_base::CancelToken;
use rusqlite::OptionalExtension as _;

use crate::blob::exists;
use crate::index::to_column;
use crate::lease::{Lease, names_in};
use crate::lock::is_missing;
use crate::mark::{self, Mark, drop_damaged_blobs};
use crate::sweep::{drop_doubtful_snapshots, move_orphan_snapshots};
use crate::{Store, StoreError};

/// The lock of who syncs: nobody syncs while another has been told of an error and has not said so.
const SYNC_LOCK: &str = "store: sync";

/// The lock of the first who opens the store after a boot.
const RECOVERY_LOCK: &str = "store: recovery";

/// How the name of the note begins that a sync failed; the boot in which it did follows.
const FAILED: &str = "failed-";

/// A file in `unsynced/`: a time, as the index has times, before which no mark was made.
const SINCE: &str = "since";

/// From how many marks on [`SINCE`] is written: a hundred are looked at in as little time.
const MANY_MARKS: usize = 100;

impl Store {
    /// Makes everything that was stored so far survive a loss of power.
    ///
    /// Without it, snapshots and the records that name them go when the machine loses power, and so
    /// do blobs that the disk does not have yet. Costs one `syncfs`; nothing if this handle stored
    /// nothing since the last time.
    ///
    /// After an error of the disk this and all later ones, until the machine starts again, write what
    /// they can, but the first open after the next boot takes everything for unsynced.
    pub fn sync(&self) -> Result<(), StoreError> {
        let _lock = self.lock(SYNC_LOCK, &CancelToken::new())?;
        if self.inner.unsynced.load(Ordering::Acquire) {
            self.sync_all(syncfs)
        } else {
            Ok(())
        }
    }

    /// The same, if there is a snapshot or a blob that was made longer ago than this and is not synced,
    /// by whomever.
    ///
    /// Builds that follow each other then pay for one `syncfs` in this time, and not each, and a
    /// machine that starts again has what is older. Nothing where somebody else is syncing just now.
    pub fn sync_if_older(&self, age: Duration) -> Result<(), StoreError> {
        if !self.has_unsynced(age)? {
            return Ok(());
        }
        // Of many builds that end at once, one syncs for all, and nobody waits for that.
        match self.try_lock(SYNC_LOCK)? {
            Some(_lock) if self.has_unsynced(age)? => self.sync_all(syncfs),
            _ => Ok(()),
        }
    }

    pub(crate) fn note_unsynced(&self) {
        self.inner.unsynced.store(true, Ordering::Release);
    }

    /// Whether something older than this is not synced.
    fn has_unsynced(&self, age: Duration) -> Result<bool, StoreError> {
        let now = to_column(self.now());
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let limit = now.saturating_sub(age);
        let oldest = self.index().read(|index| {
            // Numbers grow with time.
            let query = "SELECT created FROM snapshots WHERE synced = 0 ORDER BY number LIMIT 1";
            let mut statement = index.prepare_cached(query)?;
            Ok(statement.query_row([], |row| row.get(0)).optional()?)
        })?;
        let is_older = |created: i64| created < limit;
        Ok(oldest.is_some_and(is_older) || self.has_mark_before(limit, now)?)
    }

    /// Whether a mark was made before `limit`, and is still there.
    ///
    /// Of many the oldest is noted, so that the builds that follow need not look at all of them.
    fn has_mark_before(&self, limit: i64, now: i64) -> Result<bool, StoreError> {
        let note = self.layout().unsynced().join(SINCE);
        let since = fs::read_to_string(&note).ok();
        let since = since.and_then(|text| text.parse::<i64>().ok());
        if since.is_some_and(|since| (limit..=now).contains(&since)) {
            return Ok(false);
        }
        let marks = Mark::all(self.layout())?;
        let Some(oldest) = marks.first().map(Mark::created) else {
            return Ok(false);
        };
        if oldest >= limit && marks.len() >= MANY_MARKS {
            // Without it the next one looks again.
            let _ = fs::write(&note, oldest.to_string());
        }
        Ok(oldest < limit)
    }

    /// Syncs, and notes what is synced. The caller holds [`SYNC_LOCK`].
    fn sync_all(
        &self,
        syncfs: impl FnOnce(&File) -> rustix::io::Result<()>,
    ) -> Result<(), StoreError> {
        self.inner.unsynced.store(false, Ordering::Release);
        let synced = self.try_sync_all(syncfs);
        if synced.is_err() {
            self.note_unsynced();
        }
        synced
    }

    fn try_sync_all(
        &self,
        syncfs: impl FnOnce(&File) -> rustix::io::Result<()>,
    ) -> Result<(), StoreError> {
        // What is stored from here on is not known to be on the disk afterwards.
        let marks = Mark::all(self.layout())?;
        let numbers = self.index().read(|index| {
            let mut statement =
                index.prepare_cached("SELECT number FROM snapshots WHERE synced = 0")?;
            let numbers = statement.query_map([], |row| row.get::<_, i64>(0))?;
            Ok(numbers.collect::<Result<Vec<_>, _>>()?)
        })?;
        let note = self.failure_note();
        if let Err(error) = syncfs(&self.inner.directory) {
            match File::create(&note) {
                // Then no mark can be removed either.
                Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {}
                other => drop(other.map_err(StoreError::io("make", &note))?),
            }
            let failed = StoreError::os("sync the file system of", self.root());
            return Err(failed(error));
        }
        if exists(&note)? {
            return Ok(());
        }
        marks.into_iter().try_for_each(Mark::remove)?;
        if numbers.is_empty() {
            return Ok(());
        }
        self.index().write(|transaction| {
            let mut statement =
                transaction.prepare_cached("UPDATE snapshots SET synced = 1 WHERE number = ?1")?;
            for number in numbers {
                statement.execute([number])?;
            }
            Ok(())
        })?;
        let log = self.layout().log();
        match File::open(&log).and_then(|file| file.sync_data()) {
            // The log is gone when another process copied it back, and synced that.
            Err(error) if is_missing(&error) => Ok(()),
            other => other.map_err(StoreError::io("sync", &log)),
        }
    }

    /// Where it says that a sync failed since the machine started.
    fn failure_note(&self) -> PathBuf {
        let boot = boot_id().unwrap_or_default();
        self.layout().unsynced().join(format!("{FAILED}{boot}"))
    }

    /// Drops what a loss of power may have damaged: once per boot, by whoever comes first.
    pub(super) fn recover(&self) -> Result<(), StoreError> {
        let boot = boot_id();
        if self.known_boot()? == boot {
            return Ok(());
        }
        // Reading what is marked may take long; the others wait, and then have nothing to do.
        let lock = self.lock(RECOVERY_LOCK, &CancelToken::new())?;
        if self.known_boot()? == boot {
            return Ok(());
        }
        let marks = Mark::all(self.layout())?;
        let damaged = mark::damaged(self.layout(), &marks)?;
        // Its directory takes what has to go. Dropped without being ended, this lease is dead, and
        // is reaped when somebody has the time.
        let orphanage = Lease::take(self.layout())?;
        self.index().write(|transaction| {
            drop_doubtful_snapshots(transaction, self.layout())?;
            move_orphan_snapshots(transaction, self.layout(), orphanage.directory())?;
            drop_damaged_blobs(transaction, self.layout(), &damaged, orphanage.directory())?;
            transaction.execute(
                "INSERT OR REPLACE INTO meta VALUES ('boot', ?1)",
                [boot.unwrap_or_default()],
            )?;
            Ok(())
        })?;
        drop(lock);
        self.remove_old_failure_notes()?;
        if marks.is_empty() {
            return Ok(());
        }
        // What was just read need not have come from the disk: where the boot has no name, each open
        // counts as the first.
        let _lock = self.lock(SYNC_LOCK, &CancelToken::new())?;
        self.sync_all(syncfs)
    }

    /// The boot in which the store was last recovered.
    fn known_boot(&self) -> Result<Option<String>, StoreError> {
        self.index().read(|index| {
            let query = "SELECT value FROM meta WHERE key = 'boot'";
            Ok(index.query_row(query, [], |row| row.get(0)).optional()?)
        })
    }

    /// Those of other boots: what they are about was just looked at.
    fn remove_old_failure_notes(&self) -> Result<(), StoreError> {
        let current = self.failure_note();
        for name in names_in(&self.layout().unsynced())? {
            let path = self.layout().unsynced().join(&name);
            if !name.starts_with(FAILED) || path == current {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if is_missing(&error) => {}
                other => other.map_err(StoreError::io("remove", &path))?,
            }
        }
        Ok(())
    }
}

fn syncfs(directory: &File) -> rustix::io::Result<()> {
    rustix::fs::syncfs(directory)
}

/// The kernel's name for the time since the machine started; `None` where `/proc` is missing,
/// which counts as a new boot each time.
pub(super) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_base::Timestamp;
    use kiln_base::trace::Tracer;
    use kiln_oci::Digest;
    use rustix::io::Errno;

    use super::*;
    use crate::{Clock, SnapshotId};

    fn open(folder: &tempfile::TempDir) -> Store {
        Store::open(folder.path(), Clock::new(|| Timestamp::EPOCH)).unwrap()
    }

    fn fail(store: &Store) {
        let error = store.sync_all(|_| Err(Errno::IO)).unwrap_err();
        let expected = "could not sync the file system of `";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    fn marks(store: &Store) -> usize {
        Mark::all(store.layout()).unwrap().len()
    }

    fn reboot(folder: &tempfile::TempDir) -> Store {
        let change = "UPDATE meta SET value = 'an earlier boot' WHERE key = 'boot'";
        let index = rusqlite::Connection::open(folder.path().join("kiln.db")).unwrap();
        index.execute(change, []).unwrap();
        open(folder)
    }

    #[test]
    fn after_a_failed_sync_nothing_counts_as_synced_until_the_next_boot() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let lost = store.write_blob(b"lost").unwrap();
        let snapshot = SnapshotId::random();
        let active = store.begin_snapshot().unwrap();
        active.commit(&snapshot, None).unwrap();
        fail(&store);
        // Nobody is told a second time, neither here nor elsewhere.
        store.sync().unwrap();
        let other = open(&folder);
        let whole = other.write_blob(b"whole").unwrap();
        other.sync().unwrap();
        other.sync_if_older(Duration::ZERO).unwrap();
        assert_eq!(marks(&store), 2);
        drop((store, other));

        let path = |digest: &Digest| folder.path().join("blobs/sha256").join(digest.hex());
        fs::write(path(&lost), b"....").unwrap();
        let note = |name: &str| folder.path().join("unsynced").join(name);
        let boot = boot_id().unwrap_or_default();
        fs::rename(note(&format!("failed-{boot}")), note("failed-earlier")).unwrap();
        let store = reboot(&folder);
        assert!(!store.has_blob(&lost).unwrap());
        assert!(store.has_blob(&whole).unwrap());
        assert_eq!(store.snapshot(&snapshot).unwrap(), None);
        assert!(names_in(&store.layout().unsynced()).unwrap().is_empty());
        // And it counts again.
        store.write_blob(b"new").unwrap();
        store.sync().unwrap();
        assert_eq!(marks(&store), 0);
    }

    #[test]
    fn a_sync_that_failed_is_not_taken_for_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        store.write_blob(b"blob").unwrap();
        fail(&store);
        assert!(store.inner.unsynced.load(Ordering::Acquire));
        store.sync().unwrap();
        assert!(!store.inner.unsynced.load(Ordering::Acquire));
    }

    #[test]
    fn who_finds_another_syncing_leaves_it_to_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        store.write_blob(b"blob").unwrap();
        let later = Clock::new(|| Timestamp::new(1, 0));
        let other = Store::open(folder.path(), later).unwrap();
        let syncing = store.try_lock(SYNC_LOCK).unwrap().unwrap();
        other.sync_if_older(Duration::ZERO).unwrap();
        assert_eq!(marks(&store), 1);
        drop(syncing);
        other.sync_if_older(Duration::ZERO).unwrap();
        assert_eq!(marks(&store), 0);
    }

    #[test]
    fn a_sync_while_a_blob_gets_its_name_does_not_count_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        // The clock is asked while the index is written, which is when the blob gets its name.
        let inner = Arc::downgrade(&store.inner);
        let sync_elsewhere = move || {
            if let Some(inner) = inner.upgrade() {
                inner.unsynced.store(false, Ordering::Release);
            }
            Duration::ZERO
        };
        store.trace(&Tracer::new(sync_elsewhere, || 0));
        store.write_blob(b"blob").unwrap();
        assert!(store.inner.unsynced.load(Ordering::Acquire));
        store.sync().unwrap();
        assert_eq!(marks(&store), 0);
    }
}
