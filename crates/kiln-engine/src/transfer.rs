//! Images between registries and the store: several blobs at a time, each verified, each resumed
//! where it broke off.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_base::events::{Events, StepNumber};
use kiln_base::trace::{Span, Tracer};
use kiln_image::{Image, reachable};
use kiln_oci::{Descriptor, Digest, Document, Manifest, Platform, Reference};
use kiln_registry::{Client, MAX_MOUNTS, Resolved};
use kiln_store::Download;

use crate::Engine;
use crate::base::{Base, Layers};
use crate::blobs::StoreBlobs;
use crate::early::EarlyUploads;
use crate::error::{BaseError, TransferError};
use crate::reporter::Reporter;
use crate::request::Pull;
use crate::unpack::Arrival;

/// Attempts at one blob before its error counts, each going on where the last one broke off.
const ATTEMPTS: u32 = 5;

/// Blobs that are moved at the same time, as Docker does it by default.
pub(crate) const TRANSFERS: usize = 4;

/// How often a transfer says how far it is, in bytes.
const REPORT_EVERY: u64 = 256 * 1024;

/// Where an image is pushed to.
#[derive(Clone, Copy)]
pub(crate) struct PushTo<'a> {
    pub(crate) registry: &'a Client,
    pub(crate) name: &'a Reference,
    /// What the build has sent already.
    pub(crate) early: Option<&'a EarlyUploads>,
    /// Other names under which the image has just been pushed.
    pub(crate) also_in: &'a [Reference],
}

type Progress<'a> = (&'a Reporter<'a>, StepNumber);

impl Engine {
    /// Pulls an image into the store under its name (`kiln pull`).
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<Image, BaseError> {
        let reporter = Reporter::new(events).traced(&self.tracer);
        let how = (Pull::Always, Layers::Stored);
        let Base { image, .. } = self.base(reference, platform, how, &reporter, cancel)?;
        self.store.sync()?;
        Ok(image)
    }

    /// Pushes what `source` names in the store to the registry that `name` says (`kiln push`).
    pub fn push(
        &self,
        source: &str,
        name: &Reference,
        events: &dyn Events,
        cancel: &CancelToken,
    ) -> Result<Descriptor, crate::OutputError> {
        let target = self.find_image(source)?.target;
        let reporter = Reporter::new(events).traced(&self.tracer);
        reporter.step(&format!("push {}", name.familiar()), cancel, |number| {
            let to = PushTo {
                registry: &self.registry,
                name,
                early: None,
                also_in: &[],
            };
            self.push_image(&target, to, (&reporter, number), cancel)
        })?;
        Ok(target)
    }

    /// Pulls an image into the store under its name.
    pub(crate) fn pull_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        layers: Layers,
        progress: Progress<'_>,
        cancel: &CancelToken,
    ) -> Result<Image, TransferError> {
        let tracer = progress.0.tracer(progress.1);
        let (found, manifest) = self.find_manifest(reference, platform, &tracer, cancel)?;
        let pull = |blob: &Descriptor, arrival: &Arrival| {
            let _span = blob_span(&tracer, "download", blob);
            self.pull_blob(reference, blob, arrival, progress, cancel)
        };
        pull(&manifest.config, &Arrival::default())?;
        let stored = self.store.write_blob(&found.bytes);
        stored.map_err(|source| TransferError::Blob {
            reference: reference.clone(),
            source,
        })?;
        let image = Image::load(&StoreBlobs(&self.store), &found.descriptor)?;
        let chain = match layers {
            // An image whose layers are no chain is refused where it is used.
            Layers::Unpacked => self.image_chain(&image).ok(),
            Layers::Stored => None,
        };
        match chain {
            Some(chain) => self.download_unpacking(
                &chain,
                |layer, arrival| pull(&layer.blob, arrival),
                progress,
                cancel,
            )?,
            None => in_parallel(&manifest.layers, |blob| pull(blob, &Arrival::default()))?,
        }
        let _span = tracer.span("keep the image");
        self.store.tag(reference, &found.descriptor, self.now())?;
        Ok(image)
    }

    /// The manifest that a name leads to on this platform, as it is and as what it says.
    fn find_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
        tracer: &Tracer,
        cancel: &CancelToken,
    ) -> Result<(Resolved, Manifest), TransferError> {
        let unusable = |source| TransferError::Document {
            reference: reference.clone(),
            source,
        };
        let resolve =
            |reference| tracer.within("resolve", || self.registry.resolve(reference, cancel));
        let mut found = resolve(reference)?;
        let mut document =
            Document::parse(&found.bytes, Some(&found.descriptor.media_type)).map_err(unusable)?;
        if let Document::Index(index) = &document {
            let chosen = index
                .select(platform)
                .ok_or_else(|| TransferError::Platform {
                    reference: reference.clone(),
                    platform: platform.clone(),
                })?;
            let pinned = reference.with_digest(chosen.digest.clone());
            found = resolve(&pinned)?;
            document = Document::parse(&found.bytes, Some(&found.descriptor.media_type))
                .map_err(unusable)?;
        }
        let Document::Manifest(manifest) = document else {
            return Err(TransferError::Platform {
                reference: reference.clone(),
                platform: platform.clone(),
            });
        };
        Ok((found, manifest))
    }

    /// Downloads one blob, going on from what an earlier attempt left.
    fn pull_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        arrival: &Arrival,
        progress: Progress<'_>,
        cancel: &CancelToken,
    ) -> Result<(), TransferError> {
        let mut partial = match self.store.partial(&blob.digest, cancel)? {
            Download::Done => {
                arrival.stored();
                return Ok(());
            }
            Download::Partial(partial) => partial,
        };
        arrival.growing(&partial)?;
        let mut attempt = 1;
        loop {
            let offset = partial.len();
            let mut counted = Counted::new(&mut partial, offset, blob, progress);
            match self
                .registry
                .pull_blob(reference, blob, offset, &mut counted, cancel)
            {
                Ok(()) => break,
                Err(error) if attempt < ATTEMPTS && error.is_interrupted() => {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(100 << attempt));
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        partial
            .commit(Some(blob.size))
            .map_err(|source| TransferError::Blob {
                reference: reference.clone(),
                source,
            })
    }
}

impl Engine {
    /// Pushes what `target` leads to, under `name`: first the blobs, several at a time, then the
    /// documents, each after those it names.
    pub(crate) fn push_image(
        &self,
        target: &Descriptor,
        to: PushTo<'_>,
        progress: Progress<'_>,
        cancel: &CancelToken,
    ) -> Result<(), TransferError> {
        let PushTo { registry, name, .. } = to;
        let blobs = StoreBlobs(&self.store);
        let all = reachable(&blobs, target)?;
        let is_document =
            |blob: &&Descriptor| blob.media_type.is_manifest() || blob.media_type.is_index();
        let (documents, content): (Vec<&Descriptor>, Vec<&Descriptor>) =
            all.iter().partition(is_document);
        let mounts = self.mount_candidates(name)?;
        let tracer = progress.0.tracer(progress.1);
        in_parallel(&content, |blob| {
            let _span = blob_span(&tracer, "push blob", blob);
            self.push_blob(to, blob, &mounts, progress, cancel)
        })?;
        for document in documents {
            let limit = u64::try_from(kiln_oci::MAX_DOCUMENT_SIZE).unwrap_or(u64::MAX);
            let bytes = self
                .store
                .read_blob(&document.digest, limit)
                .map_err(|source| TransferError::Blob {
                    reference: name.clone(),
                    source,
                })?;
            let bytes = bytes.ok_or_else(|| TransferError::MissingBlob(document.digest.clone()))?;
            // Documents below the target are reached by their digest; only the target is named.
            let place = if document.digest == target.digest {
                name.clone()
            } else {
                name.with_digest(document.digest.clone())
            };
            let _span = blob_span(&tracer, "push manifest", document);
            registry.push_manifest(&place, &document.media_type, &bytes, cancel)?;
        }
        Ok(())
    }

    fn push_blob(
        &self,
        to: PushTo<'_>,
        blob: &Descriptor,
        mounts: &BTreeMap<Digest, Vec<String>>,
        (reporter, number): Progress<'_>,
        cancel: &CancelToken,
    ) -> Result<(), TransferError> {
        let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
            let stored = self
                .store
                .open_blob(&blob.digest)
                .map_err(std::io::Error::other)?;
            let stored = stored.ok_or(std::io::ErrorKind::NotFound)?;
            Ok(Box::new(stored))
        };
        if !self.store.has_blob(&blob.digest)? {
            // Registries leave it to others to keep what must not be distributed.
            if !blob.urls.is_empty() {
                return Ok(());
            }
            return Err(TransferError::MissingBlob(blob.digest.clone()));
        }
        let item = short(&blob.digest).to_owned();
        reporter.progress(number, &item, 0, Some(blob.size));
        let from: Vec<String> = to
            .neighbours()
            .chain(mounts.get(&blob.digest).into_iter().flatten().cloned())
            .collect();
        let watched = (cancel, &reporter.tracer(number));
        // It is done when the registry has it, not when all is on its way.
        let told = |sent| {
            if sent < blob.size {
                reporter.progress(number, &item, sent, Some(blob.size));
            }
        };
        if !to.finish_early(blob, &from, told, watched)? {
            to.registry
                .push_blob_traced(to.name, blob, &from, &open, watched)?;
        }
        reporter.progress(number, &item, blob.size, Some(blob.size));
        Ok(())
    }

    /// For each blob of images of the same registry, the other repositories that have it: a
    /// registry can take it from there.
    fn mount_candidates(
        &self,
        name: &Reference,
    ) -> Result<BTreeMap<Digest, Vec<String>>, TransferError> {
        let mut candidates: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
        for image in self.store.images()? {
            let Some(other) = &image.name else { continue };
            if other.registry() != name.registry() || other.repository() == name.repository() {
                continue;
            }
            for blob in reachable(&StoreBlobs(&self.store), &image.target).unwrap_or_default() {
                let repositories = candidates.entry(blob.digest).or_default();
                if !repositories.iter().any(|known| known == other.repository()) {
                    repositories.push(other.repository().to_owned());
                }
            }
        }
        Ok(candidates)
    }
}

impl PushTo<'_> {
    /// The repositories of the same registry that have just got the image.
    fn neighbours(&self) -> impl Iterator<Item = String> {
        let is_other = |other: &&Reference| {
            other.registry() == self.name.registry() && other.repository() != self.name.repository()
        };
        let others = self.also_in.iter().filter(is_other);
        others.map(|other| other.repository().to_owned())
    }

    /// Finishes the upload of a blob that began while it was packed; whether the registry has the
    /// blob then.
    pub(crate) fn finish_early(
        &self,
        blob: &Descriptor,
        mount_from: &[String],
        told: impl Fn(u64),
        watched: (&CancelToken, &Tracer),
    ) -> Result<bool, TransferError> {
        let claim = |early: &EarlyUploads| early.claim(self.name, &blob.digest);
        let Some(claim) = self.early.and_then(claim) else {
            return Ok(false);
        };
        let mount = |from: &String| {
            let taken = self
                .registry
                .mount_blob(self.name, &blob.digest, from, watched.0);
            matches!(taken, Ok(true))
        };
        if claim.is_sending() && mount_from.iter().take(MAX_MOUNTS).any(mount) {
            claim.stop();
            return Ok(true);
        }
        Ok(claim.finish(blob.size, told, watched)?)
    }
}

/// Does the work for each blob, several at a time; the first error ends it.
pub(crate) fn in_parallel<T: Sync, E: Send>(
    blobs: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let lane = || -> Result<(), E> {
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(blob) {
                // Nobody begins another one.
                next.store(blobs.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let lanes = TRANSFERS.min(blobs.len());
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        let results: Vec<_> = lanes
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        results.into_iter().try_for_each(|result| match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// A span of what is done with one blob.
fn blob_span(tracer: &Tracer, name: &'static str, blob: &Descriptor) -> Span {
    let mut span = tracer.span(name);
    span.text("digest", || blob.digest.to_string());
    span.number("bytes", blob.size);
    span
}

/// A sink that says how far a download is.
struct Counted<'a, W> {
    sink: &'a mut W,
    item: String,
    done: u64,
    told: u64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a, W: Write> Counted<'a, W> {
    fn new(sink: &'a mut W, done: u64, blob: &Descriptor, progress: Progress<'a>) -> Self {
        let item = short(&blob.digest).to_owned();
        progress
            .0
            .progress(progress.1, &item, done, Some(blob.size));
        Self {
            sink,
            item,
            done,
            told: done,
            total: blob.size,
            progress,
        }
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.done += u64::try_from(written).unwrap_or(0);
        if self.done == self.total || self.done - self.told >= REPORT_EVERY {
            self.told = self.done;
            self.progress
                .0
                .progress(self.progress.1, &self.item, self.done, Some(self.total));
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

fn short(digest: &Digest) -> &str {
    digest.hex().get(..12).unwrap_or(digest.hex())
}
