//! HTTP validators: what is known of a download, so that the next request for it can be conditional.
//!
//! The bytes are a blob, which may have been pruned since; whoever sends `If-None-Match` first makes
//! sure that [`Store::blob`](crate::Store) still has it. Formats: RFC 9110, sections 8.8 and 13.1.

use kiln_oci::Digest;
use rusqlite::{OptionalExtension as _, params};

use crate::index::to_column;
use crate::{Store, StoreError};

/// What a server said about a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDownload {
    /// The `ETag` header, as it came.
    pub etag: Option<String>,
    /// The `Last-Modified` header, as it came.
    pub last_modified: Option<String>,
    /// The blob that came.
    pub digest: Digest,
    /// The name that the server gave to the file.
    pub file_name: Option<String>,
}

impl Store {
    /// Keeps what a server said for the next request with the same key: the URL, and whatever of the
    /// request decides about the answer. Keys are kept as they are, so they hold no credentials.
    pub fn remember_download(&self, key: &str, known: &KnownDownload) -> Result<(), StoreError> {
        let now = to_column(self.now());
        self.index().write(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO downloads VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![
                    key,
                    known.etag,
                    known.last_modified,
                    known.digest.as_str(),
                    known.file_name,
                    now
                ])?;
            // A table that only grows would slow down everything in the end.
            transaction
                .prepare_cached(
                    "DELETE FROM downloads WHERE key NOT IN
                        (SELECT key FROM downloads ORDER BY updated DESC LIMIT ?1)",
                )?
                .execute([KEPT])?;
            Ok(())
        })
    }

    /// What a server said last time.
    pub fn known_download(&self, key: &str) -> Result<Option<KnownDownload>, StoreError> {
        let row = self.index().read(|index| {
            let query =
                "SELECT etag, last_modified, digest, file_name FROM downloads WHERE key = ?1";
            let mut statement = index.prepare_cached(query)?;
            let row = statement.query_row([key], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get::<_, String>(2)?,
                    row.get(3)?,
                ))
            });
            Ok(row.optional()?)
        })?;
        row.map(|(etag, last_modified, digest, file_name)| {
            Ok(KnownDownload {
                etag,
                last_modified,
                digest: digest.parse().map_err(|_| StoreError::Damaged {
                    what: "a download's digest",
                })?,
                file_name,
            })
        })
        .transpose()
    }
}

/// How many downloads are remembered, the latest ones.
const KEPT: i64 = 10_000;
