//! The build cache: results of steps by key, layers made from snapshots, and what explains a miss.

use kiln_base::Timestamp;
use kiln_oci::{Descriptor, Digest, MediaType};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::index::{count_from_column, count_to_column, from_column, to_column};
use crate::lease::Protected;
use crate::{CacheKey, SlotId, SnapshotError, SnapshotId, Store, StoreError};

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// The key it is stored under, which is not the key that was asked for if that is an alias.
    pub key: CacheKey,
    /// The snapshot that the step made, if it made one.
    pub snapshot: Option<SnapshotId>,
    /// What else the step gave, in a form that only its writer knows; some hundred bytes at most.
    pub extra: Vec<u8>,
    /// When it was stored.
    pub created: Timestamp,
    /// When it was last found.
    pub last_used: Timestamp,
}

/// The layer that was made from a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRecord {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The layer's blob.
    pub descriptor: Descriptor,
    /// The size of the uncompressed archive, in bytes.
    pub uncompressed_size: u64,
}

/// One of the things that a step's key was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// What it is called when it differs from the last build.
    pub label: String,
    /// BLAKE3 of its value.
    pub digest: [u8; 32],
}

impl Store {
    /// The record stored under `key`, or under the key that `key` is an alias of.
    ///
    /// Its snapshot, with those below it, stays in the store as long as this handle lives.
    pub fn cache_get(&self, key: &CacheKey) -> Result<Option<CacheRecord>, StoreError> {
        let Some(record) = self.index().read(|index| find_record(index, key))? else {
            return Ok(None);
        };
        let protected = match &record.snapshot {
            Some(id) => self.protects(&Protected::Snapshot(id.clone())),
            None => false,
        };
        let lease = self.lease()?;
        if protected {
            lease.note_used(Some(&record.key), record.snapshot.as_ref());
            return Ok(Some(record));
        }
        // It may be another record by now, or none; this look counts.
        let found = self.index().write(|transaction| {
            let Some(record) = find_record(transaction, key)? else {
                return Ok(None);
            };
            let now = to_column(self.now());
            transaction
                .prepare_cached("UPDATE cache SET last_used = max(last_used, ?2) WHERE key = ?1")?
                .execute(params![record.key.0, now])?;
            let mut protected = Vec::new();
            if let Some(id) = &record.snapshot {
                let object = Protected::Snapshot(id.clone());
                lease.record(transaction, &object)?;
                protected.push(object);
                if let Some(place) = crate::snapshot::place_of(transaction, id)? {
                    protected.extend(lease.record_companions(transaction, place)?);
                }
                crate::snapshot::use_snapshot(transaction, self, id)?;
            }
            Ok(Some((record, protected)))
        })?;
        Ok(found.map(|(record, protected)| {
            for object in &protected {
                lease.remember(object);
            }
            lease.note_used(Some(&record.key), record.snapshot.as_ref());
            record
        }))
    }

    /// Stores the result of a step, in place of an earlier one under the same key.
    pub fn cache_put(
        &self,
        key: &CacheKey,
        snapshot: Option<&SnapshotId>,
        extra: &[u8],
    ) -> Result<(), SnapshotError> {
        let now = to_column(self.now());
        let is_stored = self.index().write(|transaction| {
            if !snapshot.map_or(Ok(true), |id| has_snapshot(transaction, id))? {
                return Ok(false);
            }
            transaction
                .prepare_cached(
                    "INSERT INTO cache VALUES (?1, ?2, ?3, ?4, ?4)
                     ON CONFLICT DO UPDATE SET snapshot = ?2, extra = ?3, created = ?4, last_used = ?4",
                )?
                .execute(params![key.0, snapshot.map(SnapshotId::as_str), extra, now])?;
            transaction
                .prepare_cached("DELETE FROM aliases WHERE key = ?1")?
                .execute([key.0])?;
            Ok(true)
        })?;
        self.note_unsynced();
        match snapshot {
            Some(id) if !is_stored => Err(SnapshotError::Unknown(id.clone())),
            _ => Ok(()),
        }
    }

    /// Lets `alias` lead to the record under `key`, until that record goes. Does nothing if there
    /// is no such record.
    ///
    /// A record stored under `alias` itself, now or later, goes before the alias.
    pub fn cache_alias(&self, alias: &CacheKey, key: &CacheKey) -> Result<(), StoreError> {
        self.index().write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO aliases SELECT ?1, key FROM cache WHERE key = ?2",
                )?
                .execute([alias.0, key.0])?;
            Ok(())
        })
    }

    /// Removes the record under `key`, for example because its result turned out unusable.
    pub fn cache_remove(&self, key: &CacheKey) -> Result<(), StoreError> {
        self.index().write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM cache WHERE key = ?1")?
                .execute([key.0])?;
            Ok(())
        })
    }

    /// The layer that was made from a snapshot with these options, if its blob is still there. The
    /// blob then stays in the store as long as this handle lives.
    pub fn layer(
        &self,
        snapshot: &SnapshotId,
        options: &str,
    ) -> Result<Option<LayerRecord>, StoreError> {
        let found = self
            .index()
            .read(|index| find_layer(index, snapshot, options))?;
        match found {
            Some(layer) if self.has_blob(&layer.descriptor.digest)? => Ok(Some(layer)),
            _ => Ok(None),
        }
    }

    /// All layers that were made from a snapshot and whose blobs are still there, each with the
    /// `options` of [`Store::put_layer`], in the order of those.
    pub fn layers_of(
        &self,
        snapshot: &SnapshotId,
    ) -> Result<Vec<(String, LayerRecord)>, StoreError> {
        let mut found = self.index().read(|index| {
            let mut statement = index.prepare_cached(
                "SELECT diff_id, media_type, digest, size, uncompressed_size, options FROM layers
                 WHERE snapshot = ?1 ORDER BY options",
            )?;
            let mut rows = statement.query([snapshot.as_str()])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push((row.get(5)?, read_layer(row)?));
            }
            Ok(found)
        })?;
        let mut missing = Vec::new();
        for (at, (_, layer)) in found.iter().enumerate() {
            if !self.has_blob(&layer.descriptor.digest)? {
                missing.push(at);
            }
        }
        for at in missing.into_iter().rev() {
            found.remove(at);
        }
        Ok(found)
    }

    /// Notes the layer that was made from a snapshot. `options` is a text for all that changes the
    /// layer's bytes; equal texts have to mean equal bytes.
    pub fn put_layer(
        &self,
        snapshot: &SnapshotId,
        options: &str,
        layer: &LayerRecord,
    ) -> Result<(), SnapshotError> {
        let is_stored = self.index().write(|transaction| {
            if !has_snapshot(transaction, snapshot)? {
                return Ok(false);
            }
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO layers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    snapshot.as_str(),
                    options,
                    layer.diff_id.as_str(),
                    layer.descriptor.media_type.as_str(),
                    layer.descriptor.digest.as_str(),
                    count_to_column(layer.descriptor.size),
                    count_to_column(layer.uncompressed_size),
                ])?;
            Ok(true)
        })?;
        if is_stored {
            Ok(())
        } else {
            Err(SnapshotError::Unknown(snapshot.clone()))
        }
    }

    /// What the key of the step in this slot was made from when it was last built.
    pub fn explanation(&self, slot: &SlotId) -> Result<Option<Vec<KeyPart>>, StoreError> {
        let parts = self.index().read(|index| find_parts(index, slot))?;
        parts
            .map(|bytes| {
                decode_parts(&bytes).ok_or(StoreError::Damaged {
                    what: "an explanation",
                })
            })
            .transpose()
    }

    /// Notes what the keys of these steps were made from, for the next build.
    pub fn put_explanations(&self, steps: &[(SlotId, Vec<KeyPart>)]) -> Result<(), StoreError> {
        let encoded = steps
            .iter()
            .map(|(slot, parts)| (slot, encode_parts(parts)));
        let changed = self.index().read(|index| {
            let mut changed = Vec::new();
            for (slot, bytes) in encoded {
                if find_parts(index, slot)?.as_ref() != Some(&bytes) {
                    changed.push((slot, bytes));
                }
            }
            Ok(changed)
        })?;
        if changed.is_empty() {
            return Ok(());
        }
        let now = to_column(self.now());
        self.index().write(|transaction| {
            let mut statement = transaction
                .prepare_cached("INSERT OR REPLACE INTO explanations VALUES (?1, ?2, ?3)")?;
            for (slot, bytes) in &changed {
                statement.execute(params![slot.0, bytes, now])?;
            }
            Ok(())
        })
    }
}

fn find_record(index: &Connection, key: &CacheKey) -> Result<Option<CacheRecord>, StoreError> {
    let direct = "SELECT key, snapshot, extra, created, last_used FROM cache WHERE key = ?1";
    let by_alias = "SELECT cache.key, snapshot, extra, created, last_used
                    FROM aliases JOIN cache ON cache.key = canonical WHERE aliases.key = ?1";
    for query in [direct, by_alias] {
        let mut statement = index.prepare_cached(query)?;
        if let Some(record) = statement.query_row([key.0], read_record).optional()? {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<CacheRecord> {
    Ok(CacheRecord {
        key: CacheKey(row.get(0)?),
        snapshot: row.get::<_, Option<String>>(1)?.map(SnapshotId::from_index),
        extra: row.get(2)?,
        created: from_column(row.get(3)?),
        last_used: from_column(row.get(4)?),
    })
}

fn has_snapshot(transaction: &Transaction<'_>, id: &SnapshotId) -> Result<bool, StoreError> {
    let mut statement = transaction.prepare_cached("SELECT 1 FROM snapshots WHERE id = ?1")?;
    Ok(statement.exists([id.as_str()])?)
}

fn find_layer(
    index: &Connection,
    snapshot: &SnapshotId,
    options: &str,
) -> Result<Option<LayerRecord>, StoreError> {
    let mut statement = index.prepare_cached(
        "SELECT diff_id, media_type, digest, size, uncompressed_size FROM layers
         WHERE snapshot = ?1 AND options = ?2",
    )?;
    let mut rows = statement.query(params![snapshot.as_str(), options])?;
    rows.next()?.map(read_layer).transpose()
}

fn read_layer(row: &Row<'_>) -> Result<LayerRecord, StoreError> {
    let digest = |column: usize| {
        let text: String = row.get(column)?;
        text.parse()
            .map_err(|_| StoreError::Damaged { what: "a layer" })
    };
    let media_type: String = row.get(1)?;
    Ok(LayerRecord {
        diff_id: digest(0)?,
        descriptor: Descriptor::new(
            MediaType::parse(&media_type),
            digest(2)?,
            count_from_column(row.get(3)?),
        ),
        uncompressed_size: count_from_column(row.get(4)?),
    })
}

fn find_parts(index: &Connection, slot: &SlotId) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement = index.prepare_cached("SELECT parts FROM explanations WHERE slot = ?1")?;
    Ok(statement.query_row([slot.0], |row| row.get(0)).optional()?)
}

/// Each part: the label's length (4 bytes, little endian), the label, 32 bytes of digest.
fn encode_parts(parts: &[KeyPart]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        // A label is a line of a Dockerfile at most; those are far below 4 GiB.
        let length = u32::try_from(part.label.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(part.label.as_bytes());
        bytes.extend_from_slice(&part.digest);
    }
    bytes
}

fn decode_parts(mut bytes: &[u8]) -> Option<Vec<KeyPart>> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (label, rest) = rest.split_at_checked(length)?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        parts.push(KeyPart {
            label: String::from_utf8(label.to_vec()).ok()?,
            digest: *digest,
        });
        bytes = rest;
    }
    Some(parts)
}
