//! The SQLite file with everything that is not bytes of content: names, records, protections.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kiln_base::Timestamp;
use kiln_base::trace::Tracer;
use kiln_sys::processor::Undisturbed;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::StoreError;
use crate::crowd::Crowd;
use crate::layout::Layout;

/// The newest format this program reads and the one it writes; kept as `user_version`.
pub(crate) const FORMAT: i64 = 3;

/// The oldest format that [`Index::migrate`] brings up to date.
const OLDEST: i64 = 1;

/// "kiln" in ASCII; kept as `application_id`.
const APPLICATION: i64 = 0x6b69_6c6e;

/// Bytes of a page of a new index. Few, since a write to the log writes whole pages, and most rows
/// have a hundred bytes; an older index has 4096.
const PAGE_BYTES: i64 = 1024;

/// Bytes in the write-ahead log after which the last process that leaves copies it back. Few, because
/// the first process to open the store reads the whole log.
const LOG_LEFT_BEHIND: i64 = 1 << 20;

/// How large the log becomes before whoever writes copies it back, so that it has its bounds also
/// where there always is a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLimit {
    /// 64 MiB, which is what two hundred builds write. Many, because the next to write syncs the log's
    /// beginning, with all others waiting.
    Roomy,
    /// 1 MiB, where the disk is nearly full.
    Tight,
}

/// Prepared statements kept; the store has about ninety.
const STATEMENTS: usize = 128;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    number INTEGER PRIMARY KEY,
    name TEXT UNIQUE,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
);
CREATE INDEX images_by_digest ON images (digest);
CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    parent TEXT,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    apparent INTEGER,
    disk INTEGER,
    synced INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX snapshots_unsynced ON snapshots (number) WHERE synced = 0;
CREATE TABLE cache (
    key BLOB PRIMARY KEY,
    snapshot TEXT REFERENCES snapshots (id) ON DELETE CASCADE,
    extra BLOB NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cache_by_snapshot ON cache (snapshot);
CREATE TABLE aliases (
    key BLOB PRIMARY KEY,
    canonical BLOB NOT NULL REFERENCES cache (key) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX aliases_by_canonical ON aliases (canonical);
CREATE TABLE layers (
    snapshot TEXT NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    options TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    uncompressed_size INTEGER NOT NULL,
    PRIMARY KEY (snapshot, options)
) WITHOUT ROWID;
CREATE TABLE explanations (
    slot BLOB PRIMARY KEY,
    parts BLOB NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE protected (
    lease TEXT NOT NULL,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (lease, kind, object)
) WITHOUT ROWID;
";

/// What format 2 has and format 1 has not: cache mounts, the history of builds, HTTP validators.
const SCHEMA_2: &str = "
CREATE TABLE cache_mounts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    scope BLOB NOT NULL,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    filled INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    apparent INTEGER,
    disk INTEGER
);
CREATE INDEX cache_mounts_by_name ON cache_mounts (namespace, id, scope);
CREATE TABLE builds (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    names TEXT NOT NULL,
    target TEXT,
    dockerfile TEXT NOT NULL,
    context TEXT NOT NULL,
    platforms TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER,
    status TEXT,
    digest TEXT,
    steps INTEGER NOT NULL DEFAULT 0,
    cached INTEGER NOT NULL DEFAULT 0,
    warnings INTEGER NOT NULL DEFAULT 0,
    error TEXT
);
CREATE TABLE downloads (
    key TEXT PRIMARY KEY,
    etag TEXT,
    last_modified TEXT,
    digest TEXT NOT NULL,
    file_name TEXT,
    updated INTEGER NOT NULL
) WITHOUT ROWID;
";

/// One connection, shared by the threads of one process.
///
/// A mutex suffices: no statement takes longer than some microseconds, and SQLite lets only one
/// writer in anyway.
#[derive(Debug)]
pub(crate) struct Index {
    connection: Mutex<Connection>,
    tracer: OnceLock<Tracer>,
    crowd: Crowd,
}

thread_local! {
    /// How often this thread slept because another process had the index.
    static SLEPT: Cell<u64> = const { Cell::new(0) };
    /// How much longer than asked for the last of these sleeps was.
    static LATE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl Index {
    /// Opens the file without looking at what is inside; makes an empty one where there is none.
    pub(crate) fn open(layout: &Layout) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(layout.index(), flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.busy_handler(Some(wait_when_busy))?;
        // Closing would copy the log back and fsync twice, milliseconds that every command would
        // pay at its end.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self {
            connection: Mutex::new(connection),
            tracer: OnceLock::new(),
            crowd: Crowd::new(layout),
        })
    }

    /// What the file says it is.
    pub(crate) fn format(&self) -> Result<Format, StoreError> {
        let mut connection = self.connection();
        // One transaction, since another process may be making the tables just now.
        let connection = connection.transaction()?;
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let application = pragma("application_id")?;
        let version = pragma("user_version")?;
        Ok(match (application, version) {
            (APPLICATION, FORMAT) => Format::Ours,
            (APPLICATION, OLDEST..FORMAT) => Format::Older,
            (APPLICATION, newer) => Format::Other(newer),
            (0, 0) => {
                let tables: i64 =
                    connection
                        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
                if tables == 0 {
                    Format::Empty
                } else {
                    Format::Foreign
                }
            }
            _ => Format::Foreign,
        })
    }

    /// Makes the tables. The caller holds a lock, because the switch to a write-ahead log does not
    /// wait for other processes.
    pub(crate) fn create(&self, boot: &str) -> Result<(), StoreError> {
        let connection = self.connection();
        connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        drop(connection);
        self.write(|transaction| {
            transaction.execute_batch(SCHEMA)?;
            transaction.execute_batch(SCHEMA_2)?;
            transaction.execute("INSERT INTO meta VALUES ('boot', ?1)", [boot])?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            Ok(())
        })
    }

    /// Brings the tables of an older format up to date; nothing of what is in them changes. The caller
    /// holds the lock under which stores are made.
    pub(crate) fn migrate(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            let version: i64 =
                transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version < 2 {
                transaction.execute_batch(SCHEMA_2)?;
            }
            transaction.pragma_update(None, "user_version", FORMAT)?;
            Ok(())
        })
    }

    /// Sets how large the log becomes before who writes copies it back. For an index that has its
    /// tables: before, nobody knows how large its pages are.
    pub(crate) fn limit_log(&self, limit: LogLimit) -> Result<(), StoreError> {
        let connection = self.connection();
        let pages = limit.bytes() / page_bytes(&connection)?;
        connection.pragma_update(None, "wal_autocheckpoint", pages)?;
        Ok(())
    }

    /// Reads. Several statements may see different states.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        query(&self.connection())
    }

    /// Reads; all statements see the same state.
    pub(crate) fn read_at_once<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        query(&*self.connection().transaction()?)
    }

    /// Writes: all of `change` or nothing of it. No other process writes meanwhile, which also is
    /// what orders the renames into and out of the store (see the crate's header).
    pub(crate) fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Before the connection is taken: this process' other threads may need it meanwhile.
        let _turn = self.begin_a_turn();
        let mut connection = self.connection();
        let transaction = self.noting_waits(|| {
            connection.transaction_with_behavior(TransactionBehavior::Immediate)
        })?;
        let _span = self.tracer().map(|tracer| tracer.span("write the index"));
        let done = change(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// To be called before what makes other processes wait; done while the value lives.
    pub(crate) fn begin_a_turn(&self) -> Option<Undisturbed> {
        self.crowd.begin_a_turn()
    }

    /// Copies the log back into the file, as far as no other process reads it. The log keeps its
    /// length, so that the next writes find room even on a full disk.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Copies a log that has grown back into the file and empties it: for the last process that
    /// leaves. Others would have to wait when they begin the log anew.
    ///
    /// A log that was copied and not emptied is read as a whole by the next process that comes alone,
    /// which can't know that it was copied.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        let checkpoint = |mode: &str| {
            connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
        };
        let (pages, _) = checkpoint("NOOP")?;
        if pages * page_bytes(&connection)? >= LOG_LEFT_BEHIND {
            // What takes long first, and without the write lock.
            checkpoint("PASSIVE")?;
            checkpoint("TRUNCATE")?;
        }
        Ok(())
    }

    /// What takes the times of waiting for other processes, from now on.
    pub(crate) fn trace(&self, tracer: &Tracer) {
        let _ = self.tracer.set(tracer.clone());
    }

    /// What was given to [`Index::trace`].
    pub(crate) fn tracer(&self) -> Option<&Tracer> {
        self.tracer.get()
    }

    /// Does what may wait for another process, and says how long it waited: to the end of the last
    /// sleep as it was asked for. That the processor was busy then is no wait for the index.
    fn noting_waits<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(tracer) = self.tracer.get() else {
            return work();
        };
        let (since, slept) = (tracer.since(), SLEPT.get());
        let done = work();
        if SLEPT.get() != slept {
            tracer.waited_until("wait for the index", since, LATE.get());
        }
        done
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogLimit {
    fn bytes(self) -> i64 {
        match self {
            Self::Roomy => 64 << 20,
            Self::Tight => 1 << 20,
        }
    }
}

fn page_bytes(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, "page_size", |row| row.get(0))?)
}

/// What kind of file the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing in it.
    Empty,
    /// A store of this format.
    Ours,
    /// A store of an older format, which can be brought up to date.
    Older,
    /// A store of a format that this program does not know.
    Other(i64),
    /// Some other program's file.
    Foreign,
}

/// Sleeps before the next attempt at a lock; gives up after about a minute.
///
/// SQLite's own handler sleeps up to 100 ms at a time, which starves some of many small writers.
fn wait_when_busy(attempt: i32) -> bool {
    const LONGEST: u64 = 4_000;
    const ATTEMPTS: i32 = 15_000;
    let microseconds = 50_u64 << attempt.clamp(0, 8);
    SLEPT.set(SLEPT.get() + 1);
    let (time, since) = (
        Duration::from_micros(microseconds.min(LONGEST)),
        Instant::now(),
    );
    std::thread::sleep(time);
    LATE.set(since.elapsed().saturating_sub(time));
    attempt < ATTEMPTS
}

/// A time as the index keeps it: nanoseconds since the epoch, cut to what fits (years 1678 to 2262).
pub(crate) fn to_column(time: Timestamp) -> i64 {
    let nanoseconds = i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds());
    let fits = nanoseconds.clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(fits).unwrap_or_default()
}

/// The reverse of [`to_column`].
pub(crate) fn from_column(column: i64) -> Timestamp {
    let nanoseconds = u32::try_from(column.rem_euclid(1_000_000_000)).unwrap_or_default();
    Timestamp::new(column.div_euclid(1_000_000_000), nanoseconds)
}

/// A byte count as the index keeps it.
pub(crate) fn count_to_column(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The reverse of [`count_to_column`].
pub(crate) fn count_from_column(column: i64) -> u64 {
    u64::try_from(column).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_come_back(seconds in -9_000_000_000_i64..9_000_000_000, nanoseconds in 0..1_000_000_000_u32) {
            let time = Timestamp::new(seconds, nanoseconds);
            prop_assert_eq!(from_column(to_column(time)), time);
        }

        #[test]
        fn times_keep_their_order(a: (i64, u32), b: (i64, u32)) {
            let [a, b] = [a, b].map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds));
            prop_assert!(a > b || to_column(a) <= to_column(b));
        }
    }
}
