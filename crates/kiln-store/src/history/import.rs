//! Builds of other stores in this one's history.

use kiln_oci::Digest;
use kiln_sys::lock::{FileLock, LockKind};
use rusqlite::params;

use super::log::LogWriter;
use super::{BuildRecord, BuildStatus, CANCELLED, COMPLETED, FAILED, HistoryError};
use crate::id::random_hex;
use crate::index::{count_to_column, to_column};
use crate::{Store, StoreError};

impl Store {
    /// Adds a build that was recorded elsewhere, with its events, under a new id; returns that. One
    /// that has no end counts as interrupted. It is as new as if it had been built now when old ones
    /// make room.
    pub fn import_build(
        &self,
        build: &BuildRecord,
        events: &[String],
    ) -> Result<String, HistoryError> {
        let id = random_hex();
        let path = self.layout().build_log(&id);
        let lock = FileLock::lock(&path, LockKind::Exclusive);
        let lock = lock.map_err(|error| StoreError::io("lock", &error.path)(error.cause))?;
        let mut log = LogWriter::new(lock.file(), &path)?;
        for event in events {
            log.append(event)?;
        }
        log.finish()?;
        let status = match build.status {
            BuildStatus::Completed => Some(COMPLETED),
            BuildStatus::Failed => Some(FAILED),
            BuildStatus::Cancelled => Some(CANCELLED),
            BuildStatus::Running | BuildStatus::Interrupted => None,
        };
        let [steps, cached, warnings] =
            [build.steps, build.cached, build.warnings].map(count_to_column);
        self.index().write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO builds
                        (id, names, target, dockerfile, context, platforms, started, finished,
                         status, digest, steps, cached, warnings, error)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                )?
                .execute(params![
                    id,
                    build.start.names.join("\n"),
                    build.start.target,
                    build.start.dockerfile,
                    build.start.context,
                    build.start.platforms.join("\n"),
                    to_column(build.started),
                    build.finished.map(to_column),
                    status,
                    build.digest.as_ref().map(Digest::as_str),
                    steps,
                    cached,
                    warnings,
                    build.error
                ])?;
            Ok(())
        })?;
        Ok(id)
    }
}
