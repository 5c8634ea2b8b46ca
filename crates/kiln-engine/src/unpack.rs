//! Layers of existing images as snapshots: each is unpacked once, side by side, and completed from
//! the layers below it.

mod arriving;

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_base::CancelToken;
use kiln_base::events::StepNumber;
use kiln_layer::{
    BlobFormat, UnpackOptions, UnpackReport, UnpackTimes, resolve_against, unpack_timed,
};
use kiln_oci::{Descriptor, Digest, Family, MediaType};
use kiln_store::ActiveSnapshot;
use kiln_sys::fs::Dir;

use crate::Engine;
use crate::chain::{Chain, ChainLayer, ImageLayer, Origin};
use crate::error::RootError;
use crate::reporter::Reporter;

pub(crate) use self::arriving::Arrival;

/// A layer's blob, being read.
pub(crate) type LayerBlob = Box<dyn Read + Send>;

/// Opens the blob of the layer with this number.
type OpenBlob<'a> = &'a (dyn Fn(usize, &ImageLayer) -> Result<LayerBlob, RootError> + Sync);

/// A layer that was unpacked but is not yet completed and kept.
pub(crate) struct Unpacked {
    pub(crate) snapshot: ActiveSnapshot,
    report: UnpackReport,
}

impl Engine {
    /// Whether all layers of the chain are snapshots already.
    pub(crate) fn is_unpacked(&self, chain: &Chain) -> Result<bool, RootError> {
        self.has_layers(chain)
    }

    /// Makes snapshots of those layers of an image that are not there yet. Their blobs are.
    pub(crate) fn unpack_chain(
        &self,
        chain: &Chain,
        (reporter, number): (&Reporter<'_>, StepNumber),
        cancel: &CancelToken,
    ) -> Result<(), RootError> {
        let Some(bottom) = chain.bottom() else {
            return Ok(());
        };
        // One lock for all images on this bottom layer, not one for each layer: two processes that
        // each held some of the other's layers would wait for ever.
        let _lock = reporter.tracer(number).within("lock the base", || {
            self.store.lock_snapshot(&bottom.snapshot, cancel)
        })?;
        let stored = |_: usize, image: &ImageLayer| self.open_layer(image);
        self.unpack_locked(chain, &stored, (reporter, number), cancel)
    }

    fn open_layer(&self, image: &ImageLayer) -> Result<LayerBlob, RootError> {
        let digest = &image.blob.digest;
        let blob = self.store.open_blob(digest)?;
        let blob = blob.ok_or_else(|| RootError::BlobGone(digest.clone()))?;
        Ok(Box::new(blob))
    }

    /// As [`Self::unpack_chain`], for a caller that holds the lock. Keeps all layers or none.
    fn unpack_locked(
        &self,
        chain: &Chain,
        open: OpenBlob<'_>,
        (reporter, number): (&Reporter<'_>, StepNumber),
        cancel: &CancelToken,
    ) -> Result<(), RootError> {
        let tracer = reporter.tracer(number);
        let chains = chain.prefixes();
        let slots: Vec<Mutex<Option<Unpacked>>> = chains.iter().map(|_| Mutex::default()).collect();
        let next = AtomicUsize::new(0);
        let threads = self.settings.jobs.get().min(chains.len());
        let work = || -> Result<(), RootError> {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = chains.get(index).and_then(|chain| chain.top()) else {
                    return Ok(());
                };
                let open = |image: &ImageLayer| open(index, image);
                let unpacked = self.unpack_layer(layer, &open, (reporter, number), cancel);
                if unpacked.is_err() {
                    // Nobody begins another one.
                    next.store(chains.len(), Ordering::Relaxed);
                }
                *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = unpacked?;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| match thread.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        for (index, slot) in slots.into_iter().enumerate() {
            if let Some(unpacked) = slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
                tracer.within("complete layer", || {
                    self.complete(chains[index], unpacked, cancel)
                })?;
            }
        }
        Ok(())
    }

    /// Unpacks one layer, unless that has been done.
    fn unpack_layer(
        &self,
        layer: &ChainLayer,
        open: &dyn Fn(&ImageLayer) -> Result<LayerBlob, RootError>,
        (reporter, number): (&Reporter<'_>, StepNumber),
        cancel: &CancelToken,
    ) -> Result<Option<Unpacked>, RootError> {
        let Origin::Image(image) = &layer.origin else {
            return Ok(None);
        };
        if self.store.snapshot(&layer.snapshot)?.is_some() {
            return Ok(None);
        }
        let blob = open(image)?;
        let item = format!("unpacking {}", short(image));
        reporter.progress(number, &item, 0, Some(image.blob.size));
        let mut span = reporter.tracer(number).span("unpack layer");
        span.text("digest", || image.blob.digest.to_string());
        span.number("compressed_bytes", image.blob.size);
        let times = UnpackTimes::of(&reporter.tracer(number));
        let unpacked = self.unpack_blob(blob, (&image.blob, &image.diff_id), (&times, cancel));
        times.note(&mut span);
        drop(span);
        let unpacked = unpacked?;
        reporter.progress(number, &item, image.blob.size, Some(image.blob.size));
        Ok(Some(unpacked))
    }

    /// Unpacks a layer's blob into a new snapshot.
    pub(crate) fn unpack_blob(
        &self,
        blob: LayerBlob,
        (descriptor, diff_id): (&Descriptor, &Digest),
        progress: (&UnpackTimes, &CancelToken),
    ) -> Result<Unpacked, RootError> {
        let snapshot = self.store.begin_snapshot()?;
        let into = self.machine.tree(Dir::open(snapshot.upper())?);
        let options = UnpackOptions {
            // Docker's media types don't say the compression for certain: containerd looks at the
            // bytes, too, and there are images that need it.
            format: match descriptor.media_type {
                MediaType::Layer(layer) if layer.family == Family::Oci => {
                    BlobFormat::Is(layer.compression)
                }
                _ => BlobFormat::Detect,
            },
            xattrs: self.machine.overlay_xattrs(),
            expected: None,
            diff_id: Some(diff_id.clone()),
        };
        let report = unpack_timed(blob, &into, &options, progress);
        let report = report.map_err(|source| RootError::Unpack {
            layer: descriptor.digest.clone(),
            source,
        })?;
        Ok(Unpacked { snapshot, report })
    }

    /// Takes from the layers below what an unpacked layer leaves to them.
    pub(crate) fn resolve(
        &self,
        unpacked: &Unpacked,
        into: &Dir,
        lowers: &[Dir],
    ) -> Result<(), RootError> {
        let report = &unpacked.report;
        let resolved = resolve_against(report, into, lowers, self.machine.overlay_xattrs());
        resolved.map_err(|source| RootError::Unpack {
            layer: report.diff_id.clone(),
            source,
        })
    }

    /// Takes from the layers below what an unpacked layer, the topmost of the chain, leaves to them,
    /// and keeps it.
    fn complete(
        &self,
        chain: &Chain,
        unpacked: Unpacked,
        cancel: &CancelToken,
    ) -> Result<(), RootError> {
        let Some((layer, below)) = chain.split_top() else {
            return Ok(());
        };
        let into = self.machine.tree(Dir::open(unpacked.snapshot.upper())?);
        let lowers = self.lower_dirs(below, cancel)?;
        self.resolve(&unpacked, &into, &lowers)?;
        let parent = below.top().map(|layer| &layer.snapshot);
        unpacked.snapshot.commit(&layer.snapshot, parent)?;
        Ok(())
    }
}

fn short(image: &ImageLayer) -> &str {
    let hex = image.blob.digest.hex();
    hex.get(..12).unwrap_or(hex)
}
