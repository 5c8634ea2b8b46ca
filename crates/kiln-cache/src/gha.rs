//! Caches in GitHub's cache service, which a workflow's runs share:
//!
//! ```text
//! index-<scope>-1-<8 hex of the branch's SHA-256>#<number>   the document; the highest counts
//! buildkit-blob-1-sha256:<hex>                              a layer
//! ```
//!
//! An entry can be written once, so a new document gets the next number. The token says which
//! branches may be read and which one is written.

mod service;
mod token;

use std::sync::Arc;
use std::time::Duration;

use kiln_base::CancelToken;
use kiln_oci::{Descriptor, Digest};

use crate::CacheError;
use crate::chunks::Chunks;
use crate::context::Context;
use crate::export::{Export, Sent, Summary, each};
use crate::format::{CacheConfig, MAX_SIZE};
use crate::http::{self, HttpError, pause};
use crate::import::{Opened, Origin, resume};
use crate::options::{Gha, GhaAccess};
use crate::plan::Loaded;
use crate::sink::Sink;

pub(crate) use service::Service;
use service::{CHUNK_SIZE, Reserved};

/// Layers sent at the same time.
const AT_ONCE: usize = 4;
/// How long another run may take to write a number that it has reserved.
const LONGEST_BLOCK: Duration = Duration::from_secs(15);
const BLOCK_WAIT: Duration = Duration::from_secs(2);

pub(crate) fn open(
    settings: &Gha,
    context: Context<'_>,
    cancel: &CancelToken,
) -> Result<Opened<'static>, CacheError> {
    let (service, access) = connect(settings, context)?;
    let place = place(settings);
    let failed = |cause| CacheError::Http {
        action: format!("fetch {place}"),
        cause,
    };
    let token = token::read(&access.token, (context.clock)()).map_err(CacheError::Settings)?;
    let mut caches = Vec::new();
    for scope in &token.scopes {
        let key = index_key(settings, &scope.name);
        let Some(entry) = service.load(&key, cancel).map_err(failed)? else {
            continue;
        };
        let response = service.download(&entry, 0, cancel).map_err(failed)?;
        let bytes = http::body(response, MAX_SIZE as u64).map_err(failed)?;
        let config = CacheConfig::from_bytes(&bytes).map_err(|cause| CacheError::Format {
            place: place.clone(),
            cause,
        })?;
        caches.push(Loaded::annotated(config));
    }
    if caches.is_empty() {
        return Err(CacheError::Missing(place));
    }
    Ok((place, caches, Origin::Gha(Box::new(service))))
}

fn connect<'a>(
    settings: &'a Gha,
    context: Context<'_>,
) -> Result<(Service, &'a GhaAccess), CacheError> {
    let access = settings.access.as_ref().ok_or(CacheError::Inactive)?;
    let service = Service::new(access, settings.timeout, context.config);
    let service = service.map_err(|cause| CacheError::Http {
        action: format!("reach {}", place(settings)),
        cause,
    })?;
    Ok((service, access))
}

fn place(settings: &Gha) -> String {
    format!("GitHub's cache `{}`", settings.scope)
}

fn index_key(settings: &Gha, branch: &str) -> String {
    let digest = Digest::sha256(branch.as_bytes());
    format!("index-{}-1-{}", settings.scope, &digest.hex()[..8])
}

fn layer_key(digest: &Digest) -> String {
    format!("buildkit-blob-1-{digest}")
}

impl Service {
    pub(crate) fn fetch(
        &self,
        layer: &Descriptor,
        sink: &mut Sink<'_>,
        cancel: &CancelToken,
    ) -> Result<(), CacheError> {
        let key = layer_key(&layer.digest);
        let failed = |cause| CacheError::Http {
            action: format!("fetch layer `{}` from GitHub's cache", layer.digest),
            cause,
        };
        resume(layer, sink, cancel, |offset| {
            // The address is asked for each time, since it expires.
            let entry = self.load(&key, cancel).map_err(failed)?;
            let entry = entry.ok_or_else(|| CacheError::LayerMissing {
                place: "GitHub".to_owned(),
                digest: layer.digest.clone(),
            })?;
            self.download(&entry, offset, cancel).map_err(failed)
        })
    }
}

pub(crate) fn write(
    job: &Export<'_>,
    settings: &Gha,
    context: Context<'_>,
) -> Result<Summary, CacheError> {
    let (service, access) = connect(settings, context)?;
    let token = token::read(&access.token, (context.clock)()).map_err(CacheError::Settings)?;
    let branch = token
        .scopes
        .iter()
        .rfind(|scope| scope.can_write)
        .ok_or_else(|| {
            CacheError::Settings("the workflow's token may not write to the cache".to_owned())
        })?;
    let sent = Sent::default();
    let layers: Vec<&Descriptor> = job.plan.layers.values().map(|l| &l.descriptor).collect();
    each(&layers, AT_ONCE, |layer| {
        if send_layer(&service, job, layer)? {
            sent.add(layer.size);
        }
        Ok(())
    })?;
    let bytes = Arc::new(job.plan.annotated().to_bytes());
    let key = index_key(settings, &branch.name);
    send_index(&service, &key, &bytes, job.cancel).map_err(|cause| CacheError::Http {
        action: format!("write {}", place(settings)),
        cause,
    })?;
    Ok(sent.summary(place(settings), None))
}

/// Sends a layer that is not there; whether it was sent.
fn send_layer(service: &Service, job: &Export<'_>, layer: &Descriptor) -> Result<bool, CacheError> {
    let failed = |cause| CacheError::Http {
        action: format!("write layer `{}` to GitHub's cache", layer.digest),
        cause,
    };
    let key = layer_key(&layer.digest);
    if service.load(&key, job.cancel).map_err(failed)?.is_some() {
        return Ok(false);
    }
    let Reserved::Yours(slot) = service.reserve(&key, job.cancel).map_err(failed)? else {
        // Another run is sending it.
        return Ok(false);
    };
    let mut chunks = Chunks::open(job, layer, CHUNK_SIZE)?;
    let mut upload = service.upload(&slot, layer.size);
    while let Some(bytes) = chunks.next()? {
        upload.send(&bytes, job.cancel).map_err(failed)?;
    }
    upload.finish(job.cancel).map_err(failed)?;
    service
        .commit(&slot, layer.size, job.cancel)
        .map_err(failed)?;
    Ok(true)
}

/// Writes the document under the number after the highest.
fn send_index(
    service: &Service,
    key: &str,
    bytes: &Arc<Vec<u8>>,
    cancel: &CancelToken,
) -> Result<(), HttpError> {
    let prefix = format!("{key}#");
    let mut blocked = Duration::ZERO;
    let mut last = highest(service, &prefix, cancel)?;
    let slot = loop {
        match service.reserve(&format!("{prefix}{}", last + 1), cancel)? {
            Reserved::Yours(slot) => break slot,
            Reserved::Taken if blocked < LONGEST_BLOCK => {
                blocked += BLOCK_WAIT;
                pause(BLOCK_WAIT, cancel)?;
                last = last.max(highest(service, &prefix, cancel)?);
            }
            // Whoever reserved it is gone.
            Reserved::Taken => last += 1,
        }
    };
    let size = bytes.len() as u64;
    let mut upload = service.upload(&slot, size);
    upload.send(bytes, cancel)?;
    upload.finish(cancel)?;
    service.commit(&slot, size, cancel)
}

fn highest(service: &Service, prefix: &str, cancel: &CancelToken) -> Result<u64, HttpError> {
    let Some(entry) = service.load(prefix, cancel)? else {
        return Ok(0);
    };
    let number = entry.key.strip_prefix(prefix).and_then(|n| n.parse().ok());
    number.ok_or(HttpError::Protocol("a document without a number"))
}
