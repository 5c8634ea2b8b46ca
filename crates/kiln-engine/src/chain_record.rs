//! Chains of layers as cache records.
//!
//! A short chain is one record. Of a long one a step's record has only the topmost layers, and names
//! a record with those below them, and so on, [`CHUNK`] at a time: the steps of a build have those
//! in common. Otherwise the records of a build would grow with the square of its steps.
//!
//! A chunk's record is named by what it holds. It names no snapshot, so it keeps none from being
//! removed; a step whose record leads to a chunk that is gone runs again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_graph::KeyHasher;
use kiln_store::{CacheKey, SnapshotError, StoreError};

use crate::Engine;
use crate::chain::{Chain, ChainLayer, Origin};

/// How many layers one record has at most.
const CHUNK: usize = 64;

/// Chunks that were read or written: the layers up to the topmost of each.
#[derive(Debug, Default)]
pub(crate) struct Chunks(Mutex<HashMap<CacheKey, Chain>>);

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Chain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// What to store for a step that came to this chain. The chunks are stored here.
    pub(crate) fn record_of(&self, chain: &Chain) -> Result<Vec<u8>, SnapshotError> {
        let (chains, layers) = (chain.prefixes(), chain.layers());
        let below = layers.len().saturating_sub(1) / CHUNK * CHUNK;
        let mut key = None;
        for end in (CHUNK..=below).step_by(CHUNK) {
            let chunk = &layers[end - CHUNK..end];
            let next = key_of(key.as_ref(), chunk);
            if !self.chunks.lock().contains_key(&next) {
                let record = Chain::record(key.as_ref(), chunk);
                self.store.cache_put(&next, None, &record)?;
                self.chunks.lock().insert(next, chains[end - 1].clone());
            }
            key = Some(next);
        }
        Ok(Chain::record(key.as_ref(), &layers[below..]))
    }

    /// The chain of a step's record; `None` where a chunk is gone, or another version of kiln wrote
    /// it.
    pub(crate) fn chain_of(&self, record: &[u8]) -> Result<Option<Chain>, StoreError> {
        let Some((mut below, layers)) = Chain::from_record(record) else {
            return Ok(None);
        };
        let mut parts = vec![layers];
        let mut keys = Vec::new();
        let mut lowest = None;
        while let Some(key) = below {
            lowest = self.chunks.lock().get(&key).cloned();
            if lowest.is_some() {
                break;
            }
            let found = self.store.cache_get(&key)?;
            let Some((next, layers)) = found.and_then(|found| Chain::from_record(&found.extra))
            else {
                return Ok(None);
            };
            keys.push(key);
            parts.push(layers);
            below = next;
        }
        let mut chain = lowest.unwrap_or_default();
        while let Some(part) = parts.pop() {
            chain = part
                .into_iter()
                .fold(chain, |chain, layer| chain.with(layer));
            if let Some(key) = keys.pop() {
                self.chunks.lock().insert(key, chain.clone());
            }
        }
        Ok(Some(chain))
    }
}

/// The name of a chunk: from all that it holds.
fn key_of(below: Option<&CacheKey>, layers: &[&ChainLayer]) -> CacheKey {
    let mut text = String::new();
    for layer in layers {
        text.push_str(layer.snapshot.as_str());
        match &layer.origin {
            Origin::Image(image) => {
                text.push_str(image.diff_id.as_str());
                text.push_str(image.blob.digest.as_str());
                text.push_str(image.blob.media_type.as_str());
                if let Some(created) = image.created {
                    text.push_str(&created.to_string());
                }
            }
            Origin::Step { created } => text.push_str(&created.to_string()),
        }
        text.push('\n');
    }
    let mut hasher = KeyHasher::new("layers of a chain");
    hasher
        .field("below", below.map_or(&[], |below| below.0.as_slice()))
        .field("layers", text.as_bytes());
    CacheKey(hasher.finish())
}
