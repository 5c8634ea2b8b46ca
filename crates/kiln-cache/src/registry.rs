//! Caches in a registry, and inline in images there.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_base::CancelToken;
use kiln_oci::{Descriptor, Reference};

use crate::CacheError;
use crate::context::{Context, Registry};
use crate::export::{Export, Sent, Summary, each};
use crate::import::{Opened, Origin};
use crate::manifest;
use crate::options::{RegistrySource, RegistryTarget};
use crate::sink::Sink;

/// Layers sent at the same time.
const AT_ONCE: usize = 4;
/// How often a transfer that broke off goes on.
const MAX_RESUMES: u32 = 5;

/// A repository with a cache.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    registry: Registry<'a>,
    reference: Reference,
}

pub(crate) fn open<'a>(
    source: &RegistrySource,
    context: Context<'a>,
    cancel: &CancelToken,
) -> Result<Opened<'a>, CacheError> {
    let remote = Remote {
        registry: context.registry(&source.reference, source.insecure),
        reference: source.reference.clone(),
    };
    let place = source.reference.familiar();
    let client = remote.registry.client();
    let resolved = match client.resolve(&source.reference, cancel) {
        Err(error) if error.is_not_found() => return Err(CacheError::Missing(place)),
        result => result?,
    };
    let fetch = |descriptor: &Descriptor| remote.document(&place, descriptor, cancel);
    let media_type = Some(&resolved.descriptor.media_type);
    let caches = manifest::load(&place, &resolved.bytes, media_type, &fetch)?;
    Ok((place, caches, Origin::Registry(remote)))
}

impl Remote<'_> {
    fn document(
        &self,
        place: &str,
        descriptor: &Descriptor,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, CacheError> {
        let client = self.registry.client();
        if descriptor.media_type.is_manifest() || descriptor.media_type.is_index() {
            let resolved = client.manifest(&self.reference, &descriptor.digest, cancel)?;
            return Ok(resolved.bytes);
        }
        let mut bytes = Vec::new();
        let mut sink = Sink::new(&mut bytes, descriptor);
        self.fetch(descriptor, &mut sink, cancel)?;
        sink.finish(place, descriptor)?;
        Ok(bytes)
    }

    pub(crate) fn fetch(
        &self,
        layer: &Descriptor,
        sink: &mut Sink<'_>,
        cancel: &CancelToken,
    ) -> Result<(), CacheError> {
        let mut resumes = 0;
        loop {
            let offset = sink.written();
            let client = self.registry.client();
            match client.pull_blob(&self.reference, layer, offset, sink, cancel) {
                Err(error) if error.is_interrupted() && resumes < MAX_RESUMES => resumes += 1,
                result => return Ok(result?),
            }
        }
    }
}

pub(crate) fn write(
    job: &Export<'_>,
    target: &RegistryTarget,
    mount_from: &[String],
    context: Context<'_>,
) -> Result<Summary, CacheError> {
    let registry = context.registry(&target.reference, target.insecure);
    let client = registry.client();
    let written = manifest::write(job.plan, target.shape);
    let sent = Sent::default();
    each(&written.layers, AT_ONCE, |layer| {
        // The content is asked for only where the registry neither has the layer nor can take it
        // from another repository.
        let is_read = AtomicBool::new(false);
        let open = || -> std::io::Result<Box<dyn Read + Send>> {
            is_read.store(true, Ordering::Relaxed);
            let found = job.blobs.open(&layer.digest)?;
            found.ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        client.push_blob(&target.reference, layer, mount_from, &open, job.cancel)?;
        if is_read.into_inner() {
            sent.add(layer.size);
        }
        Ok(())
    })?;
    let bytes = written.config_bytes;
    let open = || -> std::io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(bytes.clone())))
    };
    client.push_blob(&target.reference, &written.config, &[], &open, job.cancel)?;
    client.push_manifest(
        &target.reference,
        &written.media_type,
        &written.bytes,
        job.cancel,
    )?;
    let manifest = Descriptor::of(written.media_type, &written.bytes);
    Ok(sent.summary(target.reference.familiar(), Some(manifest)))
}
