//! Writing a cache: the layers that are missing, then the document, then what leads to it, so that
//! a reader never finds a document whose layers are not there.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_base::CancelToken;
use kiln_image::BlobSource;
use kiln_oci::{Descriptor, Digest};

use crate::context::Context;
use crate::options::{CacheTarget, Target};
use crate::plan::Plan;
use crate::record::Exported;
use crate::{CacheError, gha, local, registry, s3};

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where the cache is now, for people.
    pub place: String,
    /// Results in it, by key.
    pub records: usize,
    /// Layers in it.
    pub layers: usize,
    /// Those that had to be sent.
    pub sent: usize,
    /// Their size in bytes.
    pub sent_bytes: u64,
    /// The manifest, where the medium has one.
    pub manifest: Option<Descriptor>,
}

/// Where an export's layers come from.
pub type Blobs<'a> = &'a (dyn BlobSource + Sync);

/// Writes records and the layers that they consist of, as far as they are not there yet.
///
/// The cache that was there under the same name is replaced. Records whose layers can't be opened
/// have no place in `exported`: a missing layer is an error. `target.ignore_error` is the caller's:
/// it says what to make of the error. Nothing is written for [`Target::Inline`], whose records
/// [`crate::inline::embed`] puts into the image, nor where there are no records.
pub fn export(
    target: &CacheTarget,
    exported: &Exported,
    blobs: Blobs<'_>,
    context: Context<'_>,
    cancel: &CancelToken,
) -> Result<Summary, CacheError> {
    let plan = Plan::new(exported).map_err(|cause| CacheError::Format {
        place: "this build".to_owned(),
        cause,
    })?;
    if plan.config.records().is_empty() {
        return Ok(Summary::default());
    }
    let job = Export {
        plan: &plan,
        blobs,
        cancel,
    };
    let written = match &target.target {
        Target::Inline => return Ok(Summary::default()),
        Target::Registry(target) => registry::write(&job, target, &exported.mount_from, context)?,
        Target::Local(target) => local::write(&job, target)?,
        Target::S3(settings) => s3::write(&job, settings, context)?,
        Target::Gha(settings) => gha::write(&job, settings, context)?,
    };
    Ok(Summary {
        records: plan.config.records().len(),
        layers: plan.layers.len(),
        ..written
    })
}

/// One export.
#[derive(Clone, Copy)]
pub(crate) struct Export<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) blobs: Blobs<'a>,
    pub(crate) cancel: &'a CancelToken,
}

impl Export<'_> {
    /// A layer's content from its beginning.
    pub(crate) fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, CacheError> {
        let found = self.blobs.open(digest);
        let found = found.and_then(|found| found.ok_or(std::io::ErrorKind::NotFound.into()));
        found.map_err(|cause| CacheError::Source {
            digest: digest.clone(),
            cause,
        })
    }
}

/// Does something with each item, some at the same time; the first error ends it.
pub(crate) fn each<T: Sync>(
    items: &[T],
    at_once: usize,
    work: impl Fn(&T) -> Result<(), CacheError> + Sync,
) -> Result<(), CacheError> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<CacheError>> = Mutex::new(None);
    let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(|| {
                while lock().is_none()
                    && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(error) = work(item) {
                        lock().get_or_insert(error);
                    }
                }
            });
        }
    });
    failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// Counts what was sent, from several threads.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<(usize, u64)>);

impl Sent {
    pub(crate) fn add(&self, size: u64) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sent = (sent.0 + 1, sent.1.saturating_add(size));
    }

    pub(crate) fn summary(self, place: String, manifest: Option<Descriptor>) -> Summary {
        let (sent, sent_bytes) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Summary {
            place,
            sent,
            sent_bytes,
            manifest,
            ..Summary::default()
        }
    }
}
