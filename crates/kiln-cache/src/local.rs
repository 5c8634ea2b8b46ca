//! Caches in a folder: an OCI image layout whose index names each cache's manifest by a tag.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;

use kiln_base::CancelToken;
use kiln_image::{Layout, reachable};
use kiln_oci::{Descriptor, Digest, Family, Index, MAX_DOCUMENT_SIZE, MediaType};
use kiln_sys::files;
use kiln_sys::lock::{FileLock, LockKind};

use crate::CacheError;
use crate::export::{Export, Sent, Summary};
use crate::format::MAX_SIZE;
use crate::import::{Opened, Origin, Stop, copy};
use crate::manifest;
use crate::options::{LocalSource, LocalTarget};
use crate::sink::Sink;

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A folder with a cache.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

pub(crate) fn open(source: &LocalSource) -> Result<Opened<'static>, CacheError> {
    let folder = Folder {
        root: source.src.clone(),
    };
    let place = source.src.display().to_string();
    let missing = || CacheError::Missing(place.clone());
    let digest = match &source.digest {
        Some(digest) => digest.clone(),
        None => {
            let index = folder.index(&place)?.ok_or_else(missing)?;
            let entry = index.manifests.into_iter().find(|entry| {
                let tag = entry.annotations.get(Descriptor::REF_NAME);
                tag.is_some_and(|tag| *tag == source.tag)
            });
            entry.ok_or_else(missing)?.digest
        }
    };
    let bytes = match files::read_limited(folder.blob(&digest), MAX_DOCUMENT_SIZE as u64) {
        Err(error) if error.is_not_found() => return Err(missing()),
        result => result?,
    };
    let announced = Descriptor::of(MediaType::Empty, &bytes);
    if announced.digest.algorithm() == digest.algorithm() && announced.digest != digest {
        return Err(CacheError::Layer {
            place,
            expected: digest,
            found: announced.digest,
        });
    }
    let fetch = |descriptor: &Descriptor| folder.document(&place, descriptor);
    let caches = manifest::load(&place, &bytes, None, &fetch)?;
    Ok((place, caches, Origin::Local(folder)))
}

impl Folder {
    fn blob(&self, digest: &Digest) -> PathBuf {
        let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        self.root.join(name)
    }

    /// The layout's index; `None` where there is no layout.
    fn index(&self, place: &str) -> Result<Option<Index>, CacheError> {
        let path = self.root.join("index.json");
        let bytes = match files::read_limited(path, MAX_DOCUMENT_SIZE as u64) {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        let index = Index::from_bytes(&bytes).map_err(|cause| CacheError::Document {
            place: place.to_owned(),
            cause,
        })?;
        Ok(Some(index))
    }

    fn document(&self, place: &str, descriptor: &Descriptor) -> Result<Vec<u8>, CacheError> {
        let path = self.blob(&descriptor.digest);
        let bytes = match files::read_limited(path, MAX_SIZE as u64) {
            Err(error) if error.is_not_found() => {
                return Err(CacheError::LayerMissing {
                    place: place.to_owned(),
                    digest: descriptor.digest.clone(),
                });
            }
            result => result?,
        };
        let mut sink = io::sink();
        let mut sink = Sink::new(&mut sink, descriptor);
        io::copy(&mut bytes.as_slice(), &mut sink).map_err(|cause| CacheError::Fetch {
            digest: descriptor.digest.clone(),
            cause,
        })?;
        sink.finish(place, descriptor)?;
        Ok(bytes)
    }

    pub(crate) fn fetch(
        &self,
        layer: &Descriptor,
        sink: &mut Sink<'_>,
        cancel: &CancelToken,
    ) -> Result<(), CacheError> {
        let file = match files::open(self.blob(&layer.digest)) {
            Err(error) if error.is_not_found() => {
                return Err(CacheError::LayerMissing {
                    place: self.root.display().to_string(),
                    digest: layer.digest.clone(),
                });
            }
            result => result?,
        };
        copy(file, layer, sink, cancel).map_err(|stop| match stop {
            Stop::Here(error) => error,
            Stop::Sender(cause) => CacheError::Fetch {
                digest: layer.digest.clone(),
                cause,
            },
        })
    }

    /// Writes a blob under its name when it is complete; whether it was not there.
    fn put(
        &self,
        blob: &Descriptor,
        content: impl FnOnce() -> Result<Box<dyn Read + Send>, CacheError>,
        cancel: &CancelToken,
    ) -> Result<bool, CacheError> {
        let path = self.blob(&blob.digest);
        if files::exists(&path) {
            return Ok(false);
        }
        if let Some(directory) = path.parent() {
            files::create_dir_all(directory, 0o755)?;
        }
        let name = format!("blobs/.{}.{}", blob.digest.hex(), std::process::id());
        let temporary = self.root.join(name);
        files::remove_file(&temporary)?;
        let written = content().and_then(|content| {
            let mut file = files::create_new(&temporary, 0o644)?;
            let mut sink = Sink::new(&mut file, blob);
            copy(content, blob, &mut sink, cancel).map_err(|stop| match stop {
                Stop::Here(error) => error,
                Stop::Sender(cause) => CacheError::Source {
                    digest: blob.digest.clone(),
                    cause,
                },
            })?;
            sink.finish("this build", blob)?;
            Ok(files::rename(&temporary, &path)?)
        });
        if written.is_err() {
            files::remove_file(&temporary)?;
        }
        written.map(|()| true)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let temporary = self.root.join(format!(".{name}.{}", std::process::id()));
        Ok(files::replace(self.root.join(name), temporary, bytes)?)
    }
}

pub(crate) fn write(job: &Export<'_>, target: &LocalTarget) -> Result<Summary, CacheError> {
    let folder = Folder {
        root: target.dest.clone(),
    };
    let place = target.dest.display().to_string();
    files::create_dir_all(&folder.root, 0o755)?;
    // From the first blob on, since another export's reset removes what no index names yet. BuildKit
    // locks the same file while it changes the index.
    let lock = FileLock::lock(&folder.root.join("index.json.lock"), LockKind::Exclusive)?;
    let written = manifest::write(job.plan, target.shape);
    let sent = Sent::default();
    for layer in &written.layers {
        if folder.put(layer, || job.open(&layer.digest), job.cancel)? {
            sent.add(layer.size);
        }
    }
    let manifest = Descriptor::of(written.media_type, &written.bytes);
    for (blob, bytes) in [
        (&written.config, written.config_bytes),
        (&manifest, written.bytes),
    ] {
        folder.put(blob, || Ok(Box::new(io::Cursor::new(bytes))), job.cancel)?;
    }
    folder.replace("oci-layout", MARKER)?;
    let index = named(folder.index(&place)?, &target.tag, &manifest);
    folder.replace("index.json", &index.to_bytes())?;
    if target.reset {
        reset(&folder, &place)?;
    }
    lock.remove()?;
    Ok(sent.summary(place, Some(manifest)))
}

/// The index with the manifest under a tag, which it takes over.
fn named(existing: Option<Index>, tag: &str, manifest: &Descriptor) -> Index {
    let mut index = existing.unwrap_or_else(|| Index::new(Family::Oci, Vec::new()));
    let is_other = |entry: &Descriptor| {
        let name = entry.annotations.get(Descriptor::REF_NAME);
        name.is_none_or(|name| name != tag)
    };
    index.manifests.retain(is_other);
    let entry = manifest.clone().with_annotation(Descriptor::REF_NAME, tag);
    index.manifests.push(entry);
    index
}

/// Removes the blobs that no entry of the index leads to.
fn reset(folder: &Folder, place: &str) -> Result<(), CacheError> {
    let layout = Layout::open(&folder.root).map_err(|error| unusable(place, &error))?;
    let mut used = BTreeSet::new();
    for entry in &layout.index().manifests {
        // What can't be followed is not a reason to remove anything.
        let found = reachable(&layout, entry);
        let found = found.map_err(|error| unusable(place, &error))?;
        used.extend(found.into_iter().map(|blob| blob.digest));
    }
    let directory = folder.root.join("blobs/sha256");
    for name in files::names(&directory)? {
        let text = format!("sha256:{}", name.display());
        if let Ok(digest) = text.parse::<Digest>()
            && !used.contains(&digest)
        {
            files::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

fn unusable(place: &str, error: &dyn std::error::Error) -> CacheError {
    let cause = error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"));
    CacheError::Settings(format!("`{place}` was not reset, since {error}{cause}"))
}
