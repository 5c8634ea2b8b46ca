//! The history of builds: a row for each in the index, and its events in one compressed file.
//!
//! The file is `builds/<id>.jsonl.zst`: the lines that `--progress=json` writes (`docs/events.md`),
//! zstd. Its writer keeps it locked, so a build without an end whose file can be locked was
//! interrupted. Compressed blocks are handed to the system every [`FLUSH_BYTES`], so a killed build
//! keeps its events up to there.
//!
//! Names of secrets may be in rows and events, values never: whoever writes takes them out first.
//!
//! Deliberately absent: what the lines mean.

mod import;
mod log;
mod query;

use kiln_base::Timestamp;
use kiln_oci::Digest;
use kiln_sys::lock::{FileLock, LockKind};
use rusqlite::params;

use crate::id::random_hex;
use crate::index::{count_to_column, to_column};
use crate::{Store, StoreError};

use log::LogWriter;
pub use query::BuildFilter;

/// Uncompressed bytes after which events are handed to the system.
pub(crate) const FLUSH_BYTES: usize = 32 << 10;

/// What is known when a build begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildStart {
    /// The names that the image is to get.
    pub names: Vec<String>,
    /// The target stage or bake target, as asked for.
    pub target: Option<String>,
    /// Which Dockerfile, for people: a path, a URL, `-`.
    pub dockerfile: String,
    /// Which context, for people: a path or a URL without credentials.
    pub context: String,
    /// The platforms asked for, as `os/arch[/variant]`.
    pub platforms: Vec<String>,
}

/// How a build ended, or that it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStatus {
    /// It runs.
    Running,
    /// All went well.
    Completed,
    /// An error ended it.
    Failed,
    /// The user ended it.
    Cancelled,
    /// Its process was killed, or the machine went down.
    Interrupted,
}

/// The end that a recording is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildOutcome {
    /// All went well.
    Completed,
    /// An error ended it.
    Failed,
    /// The user ended it.
    Cancelled,
}

/// What is known when a build ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSummary {
    /// How it ended.
    pub outcome: BuildOutcome,
    /// The manifest or index that was made.
    pub digest: Option<Digest>,
    /// How many steps there were.
    pub steps: u64,
    /// How many of them came from the cache.
    pub cached: u64,
    /// How many warnings were given.
    pub warnings: u64,
    /// The error with its causes.
    pub error: Option<String>,
}

/// A build of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecord {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub start: BuildStart,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; `None` for one that runs or was interrupted.
    pub finished: Option<Timestamp>,
    /// How it ended.
    pub status: BuildStatus,
    /// What it made.
    pub digest: Option<Digest>,
    /// How many steps there were.
    pub steps: u64,
    /// How many of them came from the cache.
    pub cached: u64,
    /// How many warnings were given.
    pub warnings: u64,
    /// The error with its causes.
    pub error: Option<String>,
}

/// How much history is kept. The latest builds stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// How many builds.
    pub builds: u64,
    /// How many bytes of compressed events.
    pub bytes: u64,
}

impl Default for HistoryLimits {
    /// 500 builds, 256 MiB.
    fn default() -> Self {
        Self {
            builds: 500,
            bytes: 256 << 20,
        }
    }
}

/// Why a build of the history was not found or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No build has an id that begins so.
    #[error("there is no build `{0}` in the history")]
    Unknown(String),
    /// Several have.
    #[error("`{prefix}` fits {count} builds")]
    Ambiguous {
        /// The shortened id.
        prefix: String,
        /// How many it fits.
        count: usize,
    },
    /// The build still runs.
    #[error("the build `{0}` is still running")]
    Running(String),
    /// The machine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A build that is being recorded. Dropping it without [`Recording::finish`] leaves the build
/// interrupted.
#[derive(Debug)]
pub struct Recording {
    store: Store,
    id: String,
    log: LogWriter,
    _lock: FileLock,
}

impl Recording {
    /// The build's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds one event: a JSON document in one line, without the newline.
    pub fn append(&mut self, line: &str) -> Result<(), StoreError> {
        self.log.append(line)
    }

    /// Ends the build.
    pub fn finish(self, summary: &BuildSummary) -> Result<(), StoreError> {
        self.log.finish()?;
        let status = match summary.outcome {
            BuildOutcome::Completed => COMPLETED,
            BuildOutcome::Failed => FAILED,
            BuildOutcome::Cancelled => CANCELLED,
        };
        let now = to_column(self.store.now());
        let [steps, cached, warnings] =
            [summary.steps, summary.cached, summary.warnings].map(count_to_column);
        self.store.index().write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE builds SET finished = ?2, status = ?3, digest = ?4, steps = ?5,
                        cached = ?6, warnings = ?7, error = ?8 WHERE id = ?1",
                )?
                .execute(params![
                    self.id,
                    now,
                    status,
                    summary.digest.as_ref().map(Digest::as_str),
                    steps,
                    cached,
                    warnings,
                    summary.error
                ])?;
            Ok(())
        })
    }
}

/// After so many builds the history is trimmed.
const TRIM_EVERY: i64 = 16;

const COMPLETED: &str = "completed";
const FAILED: &str = "failed";
const CANCELLED: &str = "cancelled";

impl Store {
    /// Begins to record a build. Now and then, removes the oldest ones beyond `limits`.
    pub fn begin_build(
        &self,
        start: &BuildStart,
        limits: HistoryLimits,
    ) -> Result<Recording, StoreError> {
        let id = random_hex();
        let path = self.layout().build_log(&id);
        // The lock makes the file. It comes before the row: a row without a lock is interrupted.
        let lock = FileLock::lock(&path, LockKind::Exclusive);
        let lock = lock.map_err(|error| StoreError::io("lock", &error.path)(error.cause))?;
        let log = LogWriter::new(lock.file(), &path)?;
        let now = to_column(self.now());
        let number = self.index().write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO builds
                        (id, names, target, dockerfile, context, platforms, started)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    id,
                    start.names.join("\n"),
                    start.target,
                    start.dockerfile,
                    start.context,
                    start.platforms.join("\n"),
                    now
                ])?;
            Ok(transaction.last_insert_rowid())
        })?;
        // All logs are looked at for that, as many as there are builds.
        if number % TRIM_EVERY == 0 {
            self.trim_builds(limits)?;
        }
        Ok(Recording {
            store: self.clone(),
            id,
            log,
            _lock: lock,
        })
    }
}
