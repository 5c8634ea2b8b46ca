//! The blobs of layers that steps made: compared, packed, hashed and compressed in one pass, in
//! the background, while later steps run.
//!
//! A layer's blob depends on the snapshots it lies on and on [`LayerOptions`]; the store remembers
//! it under the snapshot's id and a fingerprint of those options, so it is made once.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kiln_base::{CancelGuard, CancelToken, Timestamp};
use kiln_layer::{DiffOptions, LayerCompression, LayerOptions, diff, write_layer};
use kiln_oci::{Descriptor, Family, LayerType, MediaType};
use kiln_store::{LayerRecord, SnapshotId};

use crate::Engine;
use crate::assemble::ReadyLayer;
use crate::chain::{Chain, ChainLayer, Origin};
use crate::error::LayerError;

/// What decides a layer's bytes, besides its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerFormat {
    pub(crate) family: Family,
    pub(crate) compression: LayerCompression,
    pub(crate) clamp: Option<Timestamp>,
    pub(crate) threads: std::num::NonZeroUsize,
}

impl LayerFormat {
    /// A text that differs where the bytes may differ. The media type is not part of it: the same
    /// bytes serve both families.
    fn fingerprint(self) -> String {
        let clamp = self
            .clamp
            .map_or_else(|| "keep".to_owned(), |limit| limit.to_string());
        format!("{} {clamp}", self.compression.fingerprint())
    }

    fn media_type(self) -> MediaType {
        MediaType::Layer(LayerType {
            family: self.family,
            compression: self.compression.media(),
            distributable: true,
        })
    }
}

/// Layers that are being made, or wait for it.
pub(crate) struct LayerQueue<'a> {
    engine: &'a Engine,
    format: LayerFormat,
    cancel: CancelToken,
    shared: Arc<Shared>,
    /// Wakes whoever waits when the build is cancelled.
    _wake: CancelGuard,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Chain>,
    results: HashMap<SnapshotId, Slot>,
    closed: bool,
}

enum Slot {
    Pending,
    Ready(LayerRecord),
    Failed(LayerError),
}

impl<'a> LayerQueue<'a> {
    pub(crate) fn new(engine: &'a Engine, format: LayerFormat, cancel: CancelToken) -> Self {
        let shared = Arc::new(Shared::default());
        let waiting = Arc::clone(&shared);
        let wake = cancel.on_cancel(move || {
            // Under the lock, so that nobody is between looking at the token and waiting.
            let _state = waiting.lock();
            waiting.changed.notify_all();
        });
        Self {
            engine,
            format,
            cancel,
            shared,
            _wake: wake,
        }
    }

    /// Puts the topmost layer of the chain in line, unless it is there already.
    pub(crate) fn submit(&self, chain: &Chain) {
        let Some(top) = chain.layers.last() else {
            return;
        };
        let mut state = self.shared.lock();
        if !state.results.contains_key(&top.snapshot) {
            state.results.insert(top.snapshot.clone(), Slot::Pending);
            state.waiting.push(chain.clone());
            self.shared.changed.notify_all();
        }
    }

    /// Makes layers until [`LayerQueue::close_on_drop`] ends and none is left. Run by the threads
    /// that the build started for it.
    pub(crate) fn work(&self) {
        let _guard = CancelOnPanic(&self.cancel);
        while let Some(chain) = self.next() {
            let result = self.make(&chain);
            let slot = match result {
                Ok(record) => Slot::Ready(record),
                Err(error) => Slot::Failed(error),
            };
            if let Some(top) = chain.layers.last() {
                self.shared
                    .lock()
                    .results
                    .insert(top.snapshot.clone(), slot);
            }
            self.shared.changed.notify_all();
        }
    }

    /// No more layers will come once the returned value is dropped, be it by a panic: then those who
    /// [`LayerQueue::work`] come to an end.
    pub(crate) fn close_on_drop(&self) -> impl Drop + use<> {
        Closing(Arc::clone(&self.shared))
    }

    /// All layers of a chain, lowest first; waits for those that are being made.
    pub(crate) fn ready(&self, chain: &Chain) -> Result<Vec<ReadyLayer>, LayerError> {
        for end in 1..=chain.layers.len() {
            let below = Chain {
                layers: chain.layers[..end].to_vec(),
            };
            if matches!(chain.layers[end - 1].origin, Origin::Step { .. }) {
                self.submit(&below);
            }
        }
        chain
            .layers
            .iter()
            .map(|layer| self.ready_layer(layer))
            .collect()
    }

    fn ready_layer(&self, layer: &ChainLayer) -> Result<ReadyLayer, LayerError> {
        let created = match &layer.origin {
            Origin::Image(image) => {
                let blob = self.in_family(&image.blob)?;
                return Ok(ReadyLayer {
                    diff_id: image.diff_id.clone(),
                    blob,
                    created: image.created,
                });
            }
            Origin::Step { created } => *created,
        };
        let record = self.wait_for(&layer.snapshot)?;
        let media_type = self.format.media_type();
        let blob = Descriptor {
            media_type,
            ..record.descriptor
        };
        Ok(ReadyLayer {
            diff_id: record.diff_id,
            blob,
            created: Some(created),
        })
    }

    /// A base's layer under the media type of this image's family; the bytes are the same.
    fn in_family(&self, blob: &Descriptor) -> Result<Descriptor, LayerError> {
        let MediaType::Layer(layer) = blob.media_type else {
            return Err(LayerError::NotALayer(blob.media_type.clone()));
        };
        if self.format.family == Family::Docker && layer.compression == kiln_oci::Compression::Zstd
        {
            return Err(LayerError::ZstdInDocker);
        }
        let media_type = MediaType::Layer(LayerType {
            family: self.format.family,
            ..layer
        });
        Ok(Descriptor {
            media_type,
            ..blob.clone()
        })
    }

    fn wait_for(&self, snapshot: &SnapshotId) -> Result<LayerRecord, LayerError> {
        let mut state = self.shared.lock();
        loop {
            match state.results.get_mut(snapshot) {
                Some(Slot::Ready(record)) => return Ok(record.clone()),
                Some(slot @ Slot::Failed(_)) => {
                    // The error moves to the one who reports it; nobody else asks again.
                    let failed = std::mem::replace(slot, Slot::Pending);
                    if let Slot::Failed(error) = failed {
                        return Err(error);
                    }
                }
                Some(Slot::Pending) | None => {}
            }
            self.cancel.check()?;
            state = self.shared.wait(state);
        }
    }

    fn next(&self) -> Option<Chain> {
        let mut state = self.shared.lock();
        loop {
            if self.cancel.is_cancelled() {
                return None;
            }
            if !state.waiting.is_empty() {
                return Some(state.waiting.remove(0));
            }
            if state.closed {
                return None;
            }
            state = self.shared.wait(state);
        }
    }

    /// Finds the blob of the chain's topmost layer, or makes it.
    fn make(&self, chain: &Chain) -> Result<LayerRecord, LayerError> {
        let Some((top, below)) = chain.layers.split_last() else {
            return Err(LayerError::Empty);
        };
        let store = &self.engine.store;
        let fingerprint = self.format.fingerprint();
        if let Some(record) = store.layer(&top.snapshot, &fingerprint)? {
            return Ok(record);
        }
        let upper = self.engine.layer_dir(&top.snapshot)?;
        let lowers: Result<Vec<_>, _> = below
            .iter()
            .rev()
            .map(|layer| self.engine.layer_dir(&layer.snapshot))
            .collect();
        let options = DiffOptions {
            xattrs: self.engine.machine.overlay_xattrs(),
            clamp_mtime: self.format.clamp,
        };
        let changes = diff(&upper, &lowers?, &options, &self.cancel)?;
        let mut blob = store.blob_writer()?;
        let options = LayerOptions {
            compression: self.format.compression,
            clamp_mtime: self.format.clamp,
            threads: self.format.threads,
        };
        let summary = write_layer(&changes, &mut blob, &options, &self.cancel)?;
        blob.commit(Some((&summary.digest, summary.size)))?;
        let record = LayerRecord {
            diff_id: summary.diff_id,
            descriptor: Descriptor::new(self.format.media_type(), summary.digest, summary.size),
            uncompressed_size: summary.uncompressed_size,
        };
        store.put_layer(&top.snapshot, &fingerprint, &record)?;
        Ok(record)
    }
}

struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// Who waits for a layer must not wait for a worker that is gone.
struct CancelOnPanic<'a>(&'a CancelToken);

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use kiln_registry::{Client, ClientConfig, CredentialSource, Proxy, RetryPolicy};
    use kiln_store::{Clock, Store};
    use kiln_sys::namespace::Grade;

    use super::*;
    use crate::Settings;

    #[test]
    fn a_panic_of_the_build_ends_the_threads_that_make_layers() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(|| Timestamp::new(0, 0));
        let registry = ClientConfig {
            hosts: BTreeMap::new(),
            credentials: CredentialSource::default(),
            proxy: Proxy::None,
            retry: RetryPolicy::standard(0),
            user_agent: String::new(),
        };
        let engine = Engine::new(
            Store::open(folder.path(), clock.clone()).unwrap(),
            Client::new(registry),
            clock,
            Settings {
                grade: Grade::Root,
                jobs: NonZeroUsize::MIN,
                now: || Timestamp::new(0, 0),
                resolv_conf: String::new(),
            },
        );
        let format = LayerFormat {
            family: Family::Oci,
            compression: LayerCompression::None,
            clamp: None,
            threads: NonZeroUsize::MIN,
        };
        let layers = LayerQueue::new(&engine, format, CancelToken::new());
        let build = || {
            std::thread::scope(|scope| {
                let _closing = layers.close_on_drop();
                scope.spawn(|| layers.work());
                panic!("a defect");
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(build)).is_err());
    }
}
