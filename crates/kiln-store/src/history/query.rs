//! Reading the history, and its limits.

use std::fs;

use kiln_base::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::log::read_lines;
use super::{
    BuildRecord, BuildStart, BuildStatus, CANCELLED, COMPLETED, FAILED, HistoryError, HistoryLimits,
};
use crate::index::{count_from_column, from_column};
use crate::lock::try_lock_file;
use crate::tree::measure_file;
use crate::{Store, StoreError};

/// Which builds are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFilter {
    /// Only those with this status.
    pub status: Option<BuildStatus>,
    /// Only those that have this name.
    pub name: Option<String>,
    /// Only those that began at this time or later.
    pub since: Option<Timestamp>,
    /// Only so many, the latest.
    pub limit: Option<usize>,
}

const COLUMNS: &str = "SELECT id, names, target, dockerfile, context, platforms, started, finished,
    status, digest, steps, cached, warnings, error FROM builds";

impl BuildFilter {
    fn takes(&self, build: &BuildRecord) -> bool {
        self.status.is_none_or(|status| build.status == status)
            && (self.name.as_ref()).is_none_or(|name| build.start.names.contains(name))
            && self.since.is_none_or(|since| build.started >= since)
    }
}

impl Store {
    /// The builds of the history, latest first.
    pub fn builds(&self, filter: &BuildFilter) -> Result<Vec<BuildRecord>, StoreError> {
        let builds = self.index().read(|index| {
            let query = format!("{COLUMNS} ORDER BY number DESC");
            let mut statement = index.prepare_cached(&query)?;
            let rows = statement.query_map([], read_build)?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        let mut taken = Vec::new();
        for build in builds {
            if filter.limit.is_some_and(|limit| taken.len() >= limit) {
                break;
            }
            let build = self.with_status(build)?;
            if filter.takes(&build) {
                taken.push(build);
            }
        }
        Ok(taken)
    }

    /// The build whose id begins with `prefix`.
    pub fn build(&self, prefix: &str) -> Result<BuildRecord, HistoryError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if prefix.is_empty() || !prefix.bytes().all(is_hex) {
            return Err(HistoryError::Unknown(prefix.to_owned()));
        }
        let mut found = self.index().read(|index| {
            // Hexadecimal digits sort before `g`.
            let query = format!("{COLUMNS} WHERE id >= ?1 AND id < ?1 || 'g'");
            let mut statement = index.prepare_cached(&query)?;
            let rows = statement.query_map([prefix], read_build)?;
            Ok(rows.collect::<Result<Vec<_>, _>>()?)
        })?;
        match (found.pop(), found.len()) {
            (Some(build), 0) => Ok(self.with_status(build)?),
            (None, _) => Err(HistoryError::Unknown(prefix.to_owned())),
            (Some(_), others) => Err(HistoryError::Ambiguous {
                prefix: prefix.to_owned(),
                count: others + 1,
            }),
        }
    }

    /// The events of a build, one JSON document each; those of a running or interrupted one as far as
    /// they were written.
    pub fn build_events(&self, prefix: &str) -> Result<Vec<String>, HistoryError> {
        let build = self.build(prefix)?;
        Ok(read_lines(&self.layout().build_log(&build.id))?)
    }

    /// Removes a build from the history.
    pub fn remove_build(&self, prefix: &str) -> Result<BuildRecord, HistoryError> {
        let build = self.build(prefix)?;
        if build.status == BuildStatus::Running {
            return Err(HistoryError::Running(build.id));
        }
        self.forget_build(&build.id)?;
        Ok(build)
    }

    /// Removes the oldest builds beyond `limits`; running ones stay. Returns how many that were.
    pub fn trim_builds(&self, limits: HistoryLimits) -> Result<u64, StoreError> {
        let ids = self.index().read(|index| {
            let mut statement = index
                .prepare_cached("SELECT id, status IS NULL FROM builds ORDER BY number DESC")?;
            let ids = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
            })?;
            Ok(ids.collect::<Result<Vec<_>, _>>()?)
        })?;
        let (mut builds, mut bytes, mut removed) = (0, 0_u64, 0);
        for (id, may_run) in ids {
            builds += 1;
            bytes = bytes.saturating_add(measure_file(&self.layout().build_log(&id))?.apparent);
            if builds <= limits.builds && bytes <= limits.bytes {
                continue;
            }
            if !(may_run && self.is_recording(&id)?) {
                self.forget_build(&id)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn forget_build(&self, id: &str) -> Result<(), StoreError> {
        self.index().write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM builds WHERE id = ?1")?
                .execute(params![id])?;
            Ok(())
        })?;
        let path = self.layout().build_log(id);
        match fs::remove_file(&path) {
            Err(error) if crate::lock::is_missing(&error) => Ok(()),
            other => other.map_err(StoreError::io("remove", &path)),
        }
    }

    /// Whether the process that records the build lives.
    fn is_recording(&self, id: &str) -> Result<bool, StoreError> {
        let path = self.layout().build_log(id);
        // Locking would make the file.
        Ok(crate::blob::exists(&path)? && try_lock_file(&path)?.is_none())
    }

    fn with_status(&self, build: BuildRecord) -> Result<BuildRecord, StoreError> {
        if build.status != BuildStatus::Running || self.is_recording(&build.id)? {
            return Ok(build);
        }
        // It may have ended between the two looks.
        let again = self.index().read(|index| {
            let query = format!("{COLUMNS} WHERE id = ?1");
            let row = index
                .prepare_cached(&query)?
                .query_row([&build.id], read_build);
            Ok(row.optional()?)
        })?;
        let build = again.unwrap_or(build);
        let status = match build.status {
            BuildStatus::Running => BuildStatus::Interrupted,
            status => status,
        };
        Ok(BuildRecord { status, ..build })
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn read_build(row: &Row<'_>) -> rusqlite::Result<BuildRecord> {
    let status: Option<String> = row.get(8)?;
    let digest: Option<String> = row.get(9)?;
    let count = |column| row.get::<_, i64>(column).map(count_from_column);
    Ok(BuildRecord {
        id: row.get(0)?,
        start: BuildStart {
            names: lines(&row.get::<_, String>(1)?),
            target: row.get(2)?,
            dockerfile: row.get(3)?,
            context: row.get(4)?,
            platforms: lines(&row.get::<_, String>(5)?),
        },
        started: from_column(row.get(6)?),
        finished: row.get::<_, Option<i64>>(7)?.map(from_column),
        status: match status.as_deref() {
            Some(COMPLETED) => BuildStatus::Completed,
            Some(FAILED) => BuildStatus::Failed,
            Some(CANCELLED) => BuildStatus::Cancelled,
            _ => BuildStatus::Running,
        },
        digest: digest.and_then(|digest| digest.parse().ok()),
        steps: count(10)?,
        cached: count(11)?,
        warnings: count(12)?,
        error: row.get(13)?,
    })
}
