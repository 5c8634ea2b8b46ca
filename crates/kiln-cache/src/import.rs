//! Reading a cache: its document at once, its layers when they are asked for.

use std::io::{Read, Write};

use kiln_base::CancelToken;
use kiln_oci::Descriptor;

use crate::context::Context;
use crate::options::CacheSource;
use crate::plan::Loaded;
use crate::record::{Found, Key};
use crate::sink::Sink;
use crate::{CacheError, gha, local, registry, s3};

const BUFFER_SIZE: usize = 64 * 1024;

/// A cache whose document was read.
#[derive(Debug)]
pub struct Imported<'a> {
    place: String,
    caches: Vec<Loaded>,
    origin: Origin<'a>,
}

/// Where the layers are.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    Registry(registry::Remote<'a>),
    Local(local::Folder),
    S3(Box<s3::Bucket>),
    Gha(Box<gha::Service>),
}

/// What a medium gives back when its documents were read.
pub(crate) type Opened<'a> = (String, Vec<Loaded>, Origin<'a>);

/// Reads a cache's document.
///
/// A cache that is not there is an error whose [`CacheError::is_missing`] says so. None of the
/// errors is a reason to stop a build: without its cache it only takes longer.
pub fn import<'a>(
    source: &CacheSource,
    context: Context<'a>,
    cancel: &CancelToken,
) -> Result<Imported<'a>, CacheError> {
    let (place, caches, origin) = match source {
        CacheSource::Registry(source) => registry::open(source, context, cancel)?,
        CacheSource::Local(source) => local::open(source)?,
        CacheSource::S3(settings) => s3::open(settings, context, cancel)?,
        CacheSource::Gha(settings) => gha::open(settings, context, cancel)?,
    };
    Ok(Imported {
        place,
        caches,
        origin,
    })
}

impl Imported<'_> {
    /// Where the cache is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many results there are under kiln's keys.
    pub fn len(&self) -> usize {
        self.caches.iter().map(Loaded::len).sum()
    }

    /// Whether nothing is under a key of kiln's; BuildKit's results may be there all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is under one of kiln's keys, if the cache has all its layers.
    pub fn find(&self, key: &Key) -> Option<Found> {
        self.caches.iter().find_map(|cache| cache.find(key))
    }

    /// The documents: one, or one for each image or branch.
    pub(crate) fn caches(&self) -> &[Loaded] {
        &self.caches
    }

    /// Writes a layer's blob into `sink`. When this succeeds, the bytes were those that the digest
    /// names, and as many as the descriptor says; when it fails, some may have been written.
    pub fn fetch_blob(
        &self,
        layer: &Descriptor,
        sink: &mut dyn Write,
        cancel: &CancelToken,
    ) -> Result<(), CacheError> {
        let mut sink = Sink::new(sink, layer);
        match &self.origin {
            Origin::Registry(remote) => remote.fetch(layer, &mut sink, cancel)?,
            Origin::Local(folder) => folder.fetch(layer, &mut sink, cancel)?,
            Origin::S3(bucket) => bucket.fetch(layer, &mut sink, cancel)?,
            Origin::Gha(service) => service.fetch(layer, &mut sink, cancel)?,
        }
        sink.finish(&self.place, layer)
    }
}

/// Why a transfer ended before its end.
pub(crate) enum Stop {
    /// The sender's side: going on may help.
    Sender(std::io::Error),
    /// This side, or a content that is too long: it does not.
    Here(CacheError),
}

/// Copies what is left of a layer.
pub(crate) fn copy(
    mut content: impl Read,
    layer: &Descriptor,
    sink: &mut Sink<'_>,
    cancel: &CancelToken,
) -> Result<(), Stop> {
    let fetch = |cause| CacheError::Fetch {
        digest: layer.digest.clone(),
        cause,
    };
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        cancel.check().map_err(|error| Stop::Here(error.into()))?;
        let count = match content.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::Sender(error)),
        };
        if count == 0 {
            break;
        }
        if sink.written() + count as u64 > layer.size {
            let cause = std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("it has more than the announced {} bytes", layer.size),
            );
            return Err(Stop::Here(fetch(cause)));
        }
        sink.write_all(&buffer[..count])
            .map_err(|cause| Stop::Here(fetch(cause)))?;
    }
    if sink.written() < layer.size {
        return Err(Stop::Sender(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// How often a transfer that broke off goes on.
const MAX_RESUMES: u32 = 5;

/// Copies a layer from whatever `open` gives for an offset, going on where it breaks off.
pub(crate) fn resume<R: Read>(
    layer: &Descriptor,
    sink: &mut Sink<'_>,
    cancel: &CancelToken,
    open: impl Fn(u64) -> Result<R, CacheError>,
) -> Result<(), CacheError> {
    let mut resumes = 0;
    loop {
        let content = open(sink.written())?;
        match copy(content, layer, sink, cancel) {
            Ok(()) => return Ok(()),
            Err(Stop::Here(error)) => return Err(error),
            Err(Stop::Sender(cause)) if resumes == MAX_RESUMES || layer.size == 0 => {
                return Err(CacheError::Fetch {
                    digest: layer.digest.clone(),
                    cause,
                });
            }
            Err(Stop::Sender(_)) => resumes += 1,
        }
    }
}
