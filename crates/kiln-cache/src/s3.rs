//! Caches in an S3 bucket:
//!
//! ```text
//! <prefix><manifests_prefix><name>     the document, with descriptions of its layers
//! <prefix><blobs_prefix>sha256:<hex>   a layer
//! ```

mod bucket;
mod sign;

use kiln_base::CancelToken;
use kiln_oci::Descriptor;

use crate::CacheError;
use crate::context::Context;
use crate::export::{Export, Sent, Summary, each};
use crate::format::{CacheConfig, MAX_SIZE};
use crate::http;
use crate::import::{Opened, Origin, resume};
use crate::options::S3;
use crate::plan::Loaded;
use crate::sink::Sink;

pub(crate) use bucket::Bucket;

pub(crate) fn open(
    settings: &S3,
    context: Context<'_>,
    cancel: &CancelToken,
) -> Result<Opened<'static>, CacheError> {
    let bucket = Bucket::new(settings, context)?;
    let key = bucket.document_key(&settings.names[0]);
    let place = bucket.place(&key);
    let action = || format!("fetch the cache `{place}`");
    let failed = |cause| CacheError::Http {
        action: action(),
        cause,
    };
    let response = match bucket.get(&key, 0, cancel) {
        Err(error) if error.is_not_found() => return Err(CacheError::Missing(place)),
        result => result.map_err(failed)?,
    };
    let bytes = http::body(response, MAX_SIZE as u64).map_err(failed)?;
    let config = CacheConfig::from_bytes(&bytes).map_err(|cause| CacheError::Format {
        place: place.clone(),
        cause,
    })?;
    Ok((
        place,
        vec![Loaded::annotated(config)],
        Origin::S3(Box::new(bucket)),
    ))
}

impl Bucket {
    pub(crate) fn fetch(
        &self,
        layer: &Descriptor,
        sink: &mut Sink<'_>,
        cancel: &CancelToken,
    ) -> Result<(), CacheError> {
        let key = self.layer_key(&layer.digest);
        resume(layer, sink, cancel, |offset| {
            match self.get(&key, offset, cancel) {
                Ok(response) => Ok(response),
                Err(error) if error.is_not_found() => Err(CacheError::LayerMissing {
                    place: self.place(&key),
                    digest: layer.digest.clone(),
                }),
                Err(cause) => Err(CacheError::Http {
                    action: format!("fetch layer `{}`", self.place(&key)),
                    cause,
                }),
            }
        })
    }
}

pub(crate) fn write(
    job: &Export<'_>,
    settings: &S3,
    context: Context<'_>,
) -> Result<Summary, CacheError> {
    let bucket = Bucket::new(settings, context)?;
    let config = job.plan.annotated();
    let sent = Sent::default();
    let layers: Vec<&Descriptor> = job.plan.layers.values().map(|l| &l.descriptor).collect();
    each(&layers, settings.upload_parallelism, |layer| {
        let key = bucket.layer_key(&layer.digest);
        let failed = |cause| CacheError::Http {
            action: format!("write layer `{}`", bucket.place(&key)),
            cause,
        };
        match bucket.head(&key, job.cancel).map_err(failed)? {
            Some(object) => {
                let age = (context.clock)().seconds() - object.modified.seconds();
                if u64::try_from(age).is_ok_and(|age| age > settings.touch_refresh.as_secs()) {
                    let touched = bucket.touch(&key, object.size, job.cancel);
                    touched.map_err(failed)?;
                }
            }
            None => {
                bucket.send_layer(job, layer, &key)?;
                sent.add(layer.size);
            }
        }
        Ok(())
    })?;
    let bytes = std::sync::Arc::new(config.to_bytes());
    for name in &settings.names {
        let key = bucket.document_key(name);
        let put = bucket.put(&key, &bytes, job.cancel);
        put.map_err(|cause| CacheError::Http {
            action: format!("write the cache `{}`", bucket.place(&key)),
            cause,
        })?;
    }
    let place = bucket.place(&bucket.document_key(&settings.names[0]));
    Ok(sent.summary(place, None))
}
