//! The blobs of layers that steps made: compared, packed, hashed and compressed in one pass, in
//! the background, while later steps run.
//!
//! A layer's blob depends on the snapshots it lies on and on [`LayerOptions`]; the store remembers
//! it under the snapshot's id and a fingerprint of those options, so it is made once. Layers of a
//! base are taken as they are; only where an output forces its compression on them they are
//! compressed anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kiln_base::trace::{Since, Tracer};
use kiln_base::{CancelGuard, CancelToken, Timestamp};
use kiln_graph::KeyHasher;
use kiln_layer::{
    DiffOptions, LayerCompression, LayerOptions, Upper, WriteTimes, diff_upper, recompress,
    write_hashed_layer,
};
use kiln_oci::{Compression, Descriptor, Family, LayerType, MediaType};
use kiln_store::{CacheKey, LayerRecord, SnapshotId};

use crate::Engine;
use crate::assemble::ReadyLayer;
use crate::chain::{Chain, ChainLayer, ImageLayer, Origin};
use crate::early::{Destination, EarlyUploads, SentWriter};
use crate::error::LayerError;

/// What decides a layer's bytes, besides its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerFormat {
    pub(crate) compression: LayerCompression,
    pub(crate) clamp: Option<Timestamp>,
    pub(crate) threads: std::num::NonZeroUsize,
}

impl LayerFormat {
    /// A text that differs where the bytes may differ.
    fn fingerprint(self) -> String {
        let clamp = self
            .clamp
            .map_or_else(|| "keep".to_owned(), |limit| limit.to_string());
        format!("{} {clamp}", self.compression.fingerprint())
    }

    /// Whether a layer of this fingerprint has the times that its files have.
    pub(crate) fn is_unclamped(fingerprint: &str) -> bool {
        fingerprint.ends_with(" keep")
    }
}

/// How an image names its layers, and which of them it takes as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerTerms {
    /// The words of the media types: the same bytes serve both families.
    pub(crate) family: Family,
    /// Layers of the base are compressed as new ones are.
    pub(crate) force: bool,
    /// Layers that must not be distributed keep their type and their addresses.
    pub(crate) keep_nondistributable: bool,
}

/// The layers of one kind of image: where they are packed, and how they are named.
#[derive(Clone, Copy)]
pub(crate) struct ImageLayers<'q, 'a> {
    pub(crate) queue: &'q LayerQueue<'a>,
    pub(crate) terms: LayerTerms,
}

impl ImageLayers<'_, '_> {
    /// All layers of a chain, lowest first; waits for those that are being made.
    pub(crate) fn ready(&self, chain: &Chain) -> Result<Vec<ReadyLayer>, LayerError> {
        self.queue.ready(chain, self.terms)
    }
}

/// What packs the layer of one step, and where the layer is sent meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Packer<'q, 'a> {
    pub(crate) queue: &'q LayerQueue<'a>,
    pub(crate) to: &'q [Arc<Destination>],
}

impl Packer<'_, '_> {
    /// Makes the blob of what `upper` changes in the layers below it.
    pub(crate) fn write(
        &self,
        upper: Upper,
        below: &Chain,
        tracer: &Tracer,
    ) -> Result<LayerRecord, LayerError> {
        self.queue.write(upper, below, self.to, tracer)
    }
}

/// Layers that are being made, or wait for it.
pub(crate) struct LayerQueue<'a> {
    engine: &'a Engine,
    format: LayerFormat,
    early: Arc<EarlyUploads>,
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
    waiting: VecDeque<Waiting>,
    results: HashMap<SnapshotId, Slot>,
    closed: bool,
}

/// A layer in line: the topmost of a chain.
struct Waiting {
    chain: Chain,
    /// Where it is sent while it is packed.
    to: Vec<Arc<Destination>>,
    /// Takes the spans of the step that made the layer.
    tracer: Tracer,
    since: Since,
}

enum Slot {
    Pending,
    Ready(LayerRecord),
    Failed(LayerError),
}

impl<'a> LayerQueue<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        format: LayerFormat,
        early: &Arc<EarlyUploads>,
        cancel: CancelToken,
    ) -> Self {
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
            early: Arc::clone(early),
            cancel,
            shared,
            _wake: wake,
        }
    }

    /// Puts the topmost layer of the chain in line, unless it is there already. If it is packed it
    /// is sent to `to` meanwhile.
    pub(crate) fn submit(&self, chain: &Chain, to: &[Arc<Destination>], tracer: &Tracer) {
        let Some(top) = chain.top() else {
            return;
        };
        let mut state = self.shared.lock();
        if !state.results.contains_key(&top.snapshot) {
            state.results.insert(top.snapshot.clone(), Slot::Pending);
            state.waiting.push_back(Waiting {
                chain: chain.clone(),
                to: to.to_vec(),
                tracer: tracer.clone(),
                since: tracer.since(),
            });
            self.shared.changed.notify_all();
        }
    }

    /// Makes layers until [`LayerQueue::close_on_drop`] ends and none is left. Run by the threads
    /// that the build started for it.
    pub(crate) fn work(&self) {
        let _guard = CancelOnPanic(&self.cancel);
        self.engine.tracer.name_thread("layers");
        while let Some(waiting) = self.next() {
            let Waiting {
                chain,
                to,
                tracer,
                since,
            } = waiting;
            tracer.waited("wait for the packer", since);
            let result = tracer.within("layer", || self.make(&chain, &to, &tracer));
            let slot = match result {
                Ok(record) => Slot::Ready(record),
                Err(error) => Slot::Failed(error),
            };
            if let Some(top) = chain.top() {
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
    fn ready(&self, chain: &Chain, terms: LayerTerms) -> Result<Vec<ReadyLayer>, LayerError> {
        for chain in chain.prefixes() {
            if chain.top().is_some_and(|top| self.is_made(top, terms)) {
                self.submit(chain, &[], &self.engine.tracer);
            }
        }
        let layers = chain.layers().into_iter();
        layers.map(|layer| self.ready_layer(layer, terms)).collect()
    }

    /// Whether the layer's blob is made here, and not the one that it came with.
    fn is_made(&self, layer: &ChainLayer, terms: LayerTerms) -> bool {
        match &layer.origin {
            Origin::Step { .. } => true,
            Origin::Image(image) => {
                self.is_clamped(image)
                    || (terms.force
                        && image.blob.media_type.compression()
                            != Some(self.format.compression.media()))
            }
        }
    }

    /// Whether a layer that came with an imported cache gets other times: it is packed from its
    /// files, as if the step had run here.
    fn is_clamped(&self, image: &ImageLayer) -> bool {
        image.created.is_some() && self.format.clamp.is_some()
    }

    fn ready_layer(&self, layer: &ChainLayer, terms: LayerTerms) -> Result<ReadyLayer, LayerError> {
        let created = match &layer.origin {
            Origin::Image(image) => image.created,
            Origin::Step { created } => Some(*created),
        };
        let (diff_id, blob) = match &layer.origin {
            Origin::Image(image) if !self.is_made(layer, terms) => {
                (image.diff_id.clone(), image.blob.clone())
            }
            Origin::Image(_) | Origin::Step { .. } => {
                let record = self.wait_for(&layer.snapshot)?;
                (record.diff_id, record.descriptor)
            }
        };
        Ok(ReadyLayer {
            diff_id,
            blob: terms.named(&blob)?,
            created,
        })
    }

    fn wait_for(&self, snapshot: &SnapshotId) -> Result<LayerRecord, LayerError> {
        let mut state = self.shared.lock();
        loop {
            match state.results.get_mut(snapshot) {
                Some(Slot::Ready(record)) => return Ok(record.clone()),
                Some(Slot::Failed(_)) => {
                    // The error moves to the one who reports it; who asks again tries again.
                    if let Some(Slot::Failed(error)) = state.results.remove(snapshot) {
                        return Err(error);
                    }
                }
                Some(Slot::Pending) | None => {}
            }
            self.cancel.check()?;
            state = self.shared.wait(state);
        }
    }

    fn next(&self) -> Option<Waiting> {
        let mut state = self.shared.lock();
        loop {
            if self.cancel.is_cancelled() {
                return None;
            }
            if let Some(waiting) = state.waiting.pop_front() {
                return Some(waiting);
            }
            if state.closed {
                return None;
            }
            state = self.shared.wait(state);
        }
    }

    /// Finds the blob of the chain's topmost layer, or makes it.
    fn make(
        &self,
        chain: &Chain,
        to: &[Arc<Destination>],
        tracer: &Tracer,
    ) -> Result<LayerRecord, LayerError> {
        let Some((top, below)) = chain.split_top() else {
            return Err(LayerError::Empty);
        };
        match &top.origin {
            Origin::Image(image) if !self.is_clamped(image) => {
                tracer.within("recompress", || self.recompress(image))
            }
            Origin::Image(_) | Origin::Step { .. } => self.pack(top, below, to, tracer),
        }
    }

    /// Packs what a step changed.
    fn pack(
        &self,
        top: &ChainLayer,
        below: &Chain,
        to: &[Arc<Destination>],
        tracer: &Tracer,
    ) -> Result<LayerRecord, LayerError> {
        let known = self
            .engine
            .store
            .layer(&top.snapshot, &self.format.fingerprint())?;
        if let Some(record) = known {
            return Ok(record);
        }
        let upper = self.engine.filled_dir(&top.snapshot, &self.cancel)?;
        let record = self.write(upper.into(), below, to, tracer)?;
        self.note(&top.snapshot, &record)?;
        Ok(record)
    }

    /// Remembers the blob of a snapshot.
    pub(crate) fn note(
        &self,
        snapshot: &SnapshotId,
        record: &LayerRecord,
    ) -> Result<(), LayerError> {
        let fingerprint = self.format.fingerprint();
        Ok(self
            .engine
            .store
            .put_layer(snapshot, &fingerprint, record)?)
    }

    /// Whether a blob made here has the times that the files have, so that the files can be made from
    /// it.
    pub(crate) const fn keeps_times(&self) -> bool {
        self.format.clamp.is_none()
    }

    /// Makes the blob of what `upper` changes in the layers below it, and sends it meanwhile.
    fn write(
        &self,
        upper: Upper,
        below: &Chain,
        to: &[Arc<Destination>],
        tracer: &Tracer,
    ) -> Result<LayerRecord, LayerError> {
        let lowers = self.engine.lower_dirs(below, &self.cancel)?;
        let options = DiffOptions {
            xattrs: self.engine.machine.overlay_xattrs(),
            clamp_mtime: self.format.clamp,
        };
        let changes = tracer.within("diff", || {
            diff_upper(upper, &lowers, &options, &self.cancel)
        })?;
        let blob = self.engine.store.blob_writer()?;
        let mut blob = SentWriter::new(blob, (&self.early, to), tracer);
        let options = LayerOptions {
            compression: self.format.compression,
            clamp_mtime: self.format.clamp,
            threads: self.format.threads,
        };
        let mut span = tracer.span("write");
        let times = WriteTimes::of(tracer);
        let progress = (&times, &self.cancel);
        let tar = write_hashed_layer(&changes, &mut blob, &options, progress)?;
        times.note(&mut span);
        span.number("bytes", tar.size);
        span.number("compressed_bytes", blob.len());
        drop(span);
        let _span = tracer.span("keep the blob");
        let (digest, size) = blob.commit()?;
        Ok(LayerRecord {
            diff_id: tar.diff_id,
            descriptor: Descriptor::new(self.media_type(), digest, size),
            uncompressed_size: tar.size,
        })
    }

    /// Compresses a layer of an image anew; what came of it is remembered under its diff id.
    fn recompress(&self, image: &ImageLayer) -> Result<LayerRecord, LayerError> {
        let store = &self.engine.store;
        let key = recompressed_key(image, self.format.compression);
        if let Some(record) = store.cache_get(&key)?
            && let Some(known) = Chain::from_bytes(&record.extra)
            && let Some(ChainLayer {
                origin: Origin::Image(known),
                ..
            }) = known.top()
            && known.diff_id == image.diff_id
            && store.has_blob(&known.blob.digest)?
        {
            return Ok(LayerRecord {
                diff_id: known.diff_id.clone(),
                descriptor: known.blob.clone(),
                uncompressed_size: 0,
            });
        }
        let missing = || LayerError::MissingBlob(image.blob.digest.clone());
        let blob = store.open_blob(&image.blob.digest)?.ok_or_else(missing)?;
        let mut sink = store.blob_writer()?;
        let options = LayerOptions {
            compression: self.format.compression,
            clamp_mtime: None,
            threads: self.format.threads,
        };
        let summary = recompress(blob, &image.diff_id, &mut sink, &options, &self.cancel)?;
        sink.commit(Some((&summary.digest, summary.size)))?;
        let descriptor = Descriptor::new(self.media_type(), summary.digest, summary.size);
        let made = ChainLayer {
            snapshot: SnapshotId::of_chain(&image.diff_id),
            origin: Origin::Image(Box::new(ImageLayer {
                diff_id: image.diff_id.clone(),
                blob: descriptor.clone(),
                created: None,
            })),
        };
        store.cache_put(&key, None, &Chain::default().with(made).to_bytes())?;
        Ok(LayerRecord {
            diff_id: summary.diff_id,
            descriptor,
            uncompressed_size: summary.uncompressed_size,
        })
    }

    /// What a blob made here is, in one family's words; an image says it in its own.
    fn media_type(&self) -> MediaType {
        MediaType::layer(Family::Oci, self.format.compression.media())
    }
}

/// The name of the record that leads from a layer to the same one compressed otherwise.
fn recompressed_key(image: &ImageLayer, compression: LayerCompression) -> CacheKey {
    let mut hasher = KeyHasher::new("recompressed layer");
    hasher
        .field("diff id", image.diff_id.as_str().as_bytes())
        .field("compression", compression.fingerprint().as_bytes());
    CacheKey(hasher.finish())
}

impl LayerTerms {
    /// A blob as the image names it; the bytes are the same.
    fn named(self, blob: &Descriptor) -> Result<Descriptor, LayerError> {
        let MediaType::Layer(layer) = blob.media_type else {
            return Err(LayerError::NotALayer(blob.media_type.clone()));
        };
        if self.family == Family::Docker && layer.compression == Compression::Zstd {
            return Err(LayerError::ZstdInDocker);
        }
        let distributable = layer.distributable || !self.keep_nondistributable;
        let mut named = Descriptor {
            media_type: MediaType::Layer(LayerType {
                family: self.family,
                distributable,
                ..layer
            }),
            ..blob.clone()
        };
        if distributable {
            named.urls.clear();
        }
        if self.family == Family::Docker {
            named.annotations.clear();
        }
        Ok(named)
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
                flatten: crate::Flatten::STANDARD,
            },
        );
        let format = LayerFormat {
            compression: LayerCompression::None,
            clamp: None,
            threads: NonZeroUsize::MIN,
        };
        let layers = LayerQueue::new(&engine, format, &Arc::default(), CancelToken::new());
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
