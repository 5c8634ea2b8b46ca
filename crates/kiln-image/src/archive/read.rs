//! Reading archives from anywhere: one pass, nothing but small documents in memory, every blob into
//! a sink that verifies it.
//!
//! The archive is not trusted. Names are compared as text and never used as paths; links are
//! followed only between entries of the archive; entries of other kinds, names that climb and
//! names that come twice are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use kiln_oci::{
    Compression, Descriptor, Digest, Document, DocumentError, Family, ImageConfig, Index,
    MAX_DOCUMENT_SIZE, Manifest, MediaType, Reference,
};

use super::{DockerEntry, MANIFEST_NAME, NamedImage, REPOSITORIES_NAME, name_of};
use crate::blob::{BlobError, BlobSink, PutError, read_blob};
use crate::decode::{self, decoder};
use crate::image::{Image, ImageError, reachable};
use crate::layout::{self, INDEX_NAME, MARKER_NAME};
use crate::tar_stream::{Entry, Kind, TarError, TarStream};

const MAX_ENTRIES: usize = 100_000;
const MAX_LINKS: usize = 16;
const MAX_PATH: usize = 4096;

/// Which form an archive had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A tar of an image layout.
    Oci,
    /// What `docker save` wrote before version 25.
    Docker,
}

/// An image that an archive held.
pub type LoadedImage = NamedImage;

/// What an archive held. The blobs are in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The form.
    pub kind: ArchiveKind,
    /// The images, in the archive's order.
    pub images: Vec<LoadedImage>,
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream is not a tar archive, or is cut off.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A tar archive, but not of images.
    #[error(
        "the archive has neither an `{INDEX_NAME}` nor a `{MANIFEST_NAME}`: it holds no images"
    )]
    NoImages,
    /// A name that is absolute, climbs, or is not text.
    #[error("the archive has an entry with the name `{0}`, which is not allowed")]
    Name(String),
    /// Two entries of one name, of which two readers could take different ones.
    #[error("the archive has two entries with the name `{0}`")]
    Duplicate(String),
    /// A device, a pipe, or another entry that no image archive has.
    #[error("the archive entry `{name}` is of the type `{kind}`, which is not allowed")]
    Kind {
        /// The entry.
        name: String,
        /// Its tar type flag.
        kind: char,
    },
    /// More entries than any image has.
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// A document larger than documents may be.
    #[error("`{0}` in the archive is larger than the allowed {MAX_DOCUMENT_SIZE} bytes")]
    TooLarge(String),
    /// A document that can't be understood.
    #[error("`{name}` in the archive can't be used")]
    Document {
        /// The entry.
        name: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something the documents name is not there.
    #[error("`{0}` is missing from the archive")]
    Missing(String),
    /// A blob could not be stored, or has another digest than its name says.
    #[error("could not take `{name}` from the archive")]
    Put {
        /// The entry.
        name: String,
        /// Why.
        #[source]
        cause: PutError,
    },
    /// An image of the archive is damaged.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A document of the archive is damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The configuration and the layers do not fit.
    #[error("the layers of `{config}` are not those its configuration names")]
    Layers {
        /// The configuration.
        config: String,
    },
}

/// Reads an archive of images, of either form, as it is or wrapped in gzip or zstd.
pub fn read_archive(
    reader: impl Read + Send,
    sink: &mut dyn BlobSink,
) -> Result<Archive, ArchiveError> {
    let decoded = decoder(reader).map_err(TarError::Read)?;
    let mut stream = TarStream::new(decoded);
    let mut found = Found::default();
    while let Some(entry) = stream.next()? {
        found.take(&entry, &mut stream, sink)?;
    }
    if found.documents.contains_key(INDEX_NAME) {
        found.oci_images(sink)
    } else if found.documents.contains_key(MANIFEST_NAME) {
        found.docker_images(sink)
    } else {
        Err(ArchiveError::NoImages)
    }
}

/// What was met on the way through the archive.
#[derive(Default)]
struct Found {
    names: BTreeSet<String>,
    documents: BTreeMap<String, Vec<u8>>,
    files: BTreeMap<String, Stored>,
    links: BTreeMap<String, String>,
}

struct Stored {
    digest: Digest,
    size: u64,
    compression: Compression,
}

impl Found {
    fn take(
        &mut self,
        entry: &Entry,
        stream: &mut TarStream<impl Read>,
        sink: &mut dyn BlobSink,
    ) -> Result<(), ArchiveError> {
        let name = clean(&entry.path)?;
        if entry.kind == Kind::Directory {
            return Ok(());
        }
        if self.names.len() >= MAX_ENTRIES {
            return Err(ArchiveError::TooManyEntries);
        }
        if name.is_empty() || !self.names.insert(name.clone()) {
            return Err(ArchiveError::Duplicate(name));
        }
        match &entry.kind {
            Kind::Directory => {}
            Kind::Symlink(target) => {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                let target = resolve(directory, target)?;
                self.links.insert(name, target);
            }
            Kind::HardLink(target) => {
                let target = clean(target)?;
                self.links.insert(name, target);
            }
            Kind::Other(kind) => return Err(ArchiveError::Kind { name, kind: *kind }),
            Kind::File if is_document(&name) => {
                let bytes = read_document(&name, stream)?;
                self.documents.insert(name, bytes);
            }
            Kind::File if is_legacy(&name) => {}
            Kind::File => {
                let stored = store(&name, stream, sink)?;
                self.files.insert(name, stored);
            }
        }
        Ok(())
    }

    /// The images of an image layout.
    fn oci_images(&self, sink: &dyn BlobSink) -> Result<Archive, ArchiveError> {
        let marker = self.document(MARKER_NAME)?;
        let version = layout::marker_version(marker).unwrap_or_default();
        if !layout::is_supported(&version) {
            let cause = format!("the image layout has the version `{version}`").into();
            let name = MARKER_NAME.to_owned();
            return Err(ArchiveError::Document { name, cause });
        }
        let index = Index::from_bytes(self.document(INDEX_NAME)?)
            .map_err(|cause| unusable(INDEX_NAME, cause))?;
        let mut images: Vec<LoadedImage> = Vec::new();
        for entry in &index.manifests {
            let descriptor = Descriptor {
                annotations: BTreeMap::new(),
                ..entry.clone()
            };
            self.check_complete(sink, &descriptor)?;
            let names = name_of(entry).into_iter().collect::<Vec<_>>();
            match images
                .iter_mut()
                .find(|known| known.descriptor == descriptor)
            {
                Some(known) => known.names.extend(names),
                None => images.push(NamedImage { descriptor, names }),
            }
        }
        self.add_docker_names(sink, &mut images)?;
        Ok(Archive {
            kind: ArchiveKind::Oci,
            images,
        })
    }

    /// Every blob of an image has to be there. Of an index, one image has to be: Docker leaves out
    /// those for platforms it does not hold.
    fn check_complete(
        &self,
        sink: &dyn BlobSink,
        descriptor: &Descriptor,
    ) -> Result<(), ArchiveError> {
        let has = |blob: &Descriptor| {
            self.files.contains_key(&layout::blob_path(&blob.digest))
                || layout::is_fetched_elsewhere(blob)
        };
        let missing = |blob: &Descriptor| ArchiveError::Missing(layout::blob_path(&blob.digest));
        if !has(descriptor) {
            return Err(missing(descriptor));
        }
        let bytes = read_blob(sink, descriptor)?;
        let name = layout::blob_path(&descriptor.digest);
        match document_of(descriptor, &bytes).map_err(|cause| unusable(&name, cause))? {
            Document::Manifest(_) => {
                let blobs = reachable(sink, descriptor)?;
                blobs
                    .iter()
                    .find(|blob| !has(blob))
                    .map_or(Ok(()), |blob| Err(missing(blob)))
            }
            Document::Index(index) => {
                let present: Vec<_> = index.manifests.iter().filter(|entry| has(entry)).collect();
                if present.is_empty() && !index.manifests.is_empty() {
                    return Err(missing(&index.manifests[0]));
                }
                for entry in present {
                    for blob in reachable(sink, entry)? {
                        if !has(&blob) {
                            return Err(missing(&blob));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// Docker 25 and later write names into `manifest.json` that the index may lack.
    fn add_docker_names(
        &self,
        sink: &dyn BlobSink,
        images: &mut [LoadedImage],
    ) -> Result<(), ArchiveError> {
        if !self.documents.contains_key(MANIFEST_NAME) {
            return Ok(());
        }
        let entries = self.docker_entries()?;
        for image in images
            .iter_mut()
            .filter(|image| image.descriptor.media_type.is_manifest())
        {
            let id = Image::load(sink, &image.descriptor)?.id().clone();
            let same = entries
                .iter()
                .filter(|entry| self.file(&entry.config).is_ok_and(|file| file.digest == id));
            for name in same.flat_map(names_of) {
                if !image.names.contains(&name) {
                    image.names.push(name);
                }
            }
        }
        Ok(())
    }

    /// The images of a `manifest.json`.
    fn docker_images(&self, sink: &mut dyn BlobSink) -> Result<Archive, ArchiveError> {
        let images: Result<Vec<_>, _> = self
            .docker_entries()?
            .iter()
            .map(|entry| self.docker_image(entry, sink))
            .collect();
        Ok(Archive {
            kind: ArchiveKind::Docker,
            images: images?,
        })
    }

    fn docker_entries(&self) -> Result<Vec<DockerEntry>, ArchiveError> {
        serde_json::from_slice(self.document(MANIFEST_NAME)?)
            .map_err(|cause| unusable(MANIFEST_NAME, cause))
    }

    fn docker_image(
        &self,
        entry: &DockerEntry,
        sink: &mut dyn BlobSink,
    ) -> Result<LoadedImage, ArchiveError> {
        let file = self.file(&entry.config)?;
        let config = Descriptor::new(
            MediaType::Config(Family::Docker),
            file.digest.clone(),
            file.size,
        );
        let bytes = read_blob(sink, &config)?;
        let parsed =
            ImageConfig::from_bytes(&bytes).map_err(|cause| unusable(&entry.config, cause))?;
        let layers: Result<Vec<_>, ArchiveError> = entry
            .layers
            .iter()
            .flatten()
            .map(|name| Ok(layer_descriptor(self.file(name)?)))
            .collect();
        let layers = layers?;
        // An uncompressed layer is its own diff ID; the others are checked when they are unpacked.
        let fits = |(layer, diff_id): (&Descriptor, &Digest)| {
            layer.media_type.compression() != Some(Compression::None) || layer.digest == *diff_id
        };
        if layers.len() != parsed.diff_ids.len() || !layers.iter().zip(&parsed.diff_ids).all(fits) {
            return Err(ArchiveError::Layers {
                config: entry.config.clone(),
            });
        }
        let manifest = Manifest::new(Family::Docker, config, layers);
        let image = Image::with_manifest(manifest, parsed, bytes.into());
        sink.put(
            &mut image.manifest_bytes(),
            Some(&image.descriptor().digest),
        )
        .map_err(|cause| put_error(MANIFEST_NAME, cause))?;
        Ok(NamedImage {
            descriptor: image.descriptor().clone(),
            names: names_of(entry),
        })
    }

    fn document(&self, name: &str) -> Result<&[u8], ArchiveError> {
        let found = self.documents.get(name).map(Vec::as_slice);
        found.ok_or_else(|| ArchiveError::Missing(name.to_owned()))
    }

    /// The file of this name, through links between entries.
    fn file(&self, name: &str) -> Result<&Stored, ArchiveError> {
        let mut path = clean(name.as_bytes())?;
        for _ in 0..MAX_LINKS {
            if let Some(stored) = self.files.get(&path) {
                return Ok(stored);
            }
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => break,
            }
        }
        Err(ArchiveError::Missing(name.to_owned()))
    }
}

/// The document that an entry of the index names. An entry of another type is refused: what the
/// document names would be left behind when the image is written again.
fn document_of(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, DocumentError> {
    let document = Document::parse(bytes, Some(&descriptor.media_type))?;
    let said = document.media_type();
    if said == descriptor.media_type {
        return Ok(document);
    }
    Err(DocumentError::MediaType {
        said,
        announced: descriptor.media_type.clone(),
    })
}

fn names_of(entry: &DockerEntry) -> Vec<Reference> {
    let tags = entry.repo_tags.iter().flatten();
    tags.filter_map(|tag| tag.parse().ok()).collect()
}

fn layer_descriptor(stored: &Stored) -> Descriptor {
    let media_type = MediaType::layer(Family::Docker, stored.compression);
    Descriptor::new(media_type, stored.digest.clone(), stored.size)
}

/// The documents that say what the archive holds.
fn is_document(name: &str) -> bool {
    matches!(name, MARKER_NAME | INDEX_NAME | MANIFEST_NAME)
}

/// What Docker before 1.10 read, and nobody since.
fn is_legacy(name: &str) -> bool {
    name == REPOSITORIES_NAME || name.ends_with("/VERSION") || name.ends_with("/json")
}

fn read_document(name: &str, stream: &mut TarStream<impl Read>) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_SIZE as u64 + 1;
    stream
        .content()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(TarError::Read)?;
    if bytes.len() > MAX_DOCUMENT_SIZE {
        return Err(ArchiveError::TooLarge(name.to_owned()));
    }
    Ok(bytes)
}

fn store(
    name: &str,
    stream: &mut TarStream<impl Read>,
    sink: &mut dyn BlobSink,
) -> Result<Stored, ArchiveError> {
    let expected = digest_in_name(name);
    let (compression, mut content) = decode::peek(stream.content()).map_err(TarError::Read)?;
    let (digest, size) = sink
        .put(&mut content, expected.as_ref())
        .map_err(|cause| put_error(name, cause))?;
    Ok(Stored {
        digest,
        size,
        compression,
    })
}

/// The digest that a file's own name promises: `blobs/<algorithm>/<hex>` in layouts, `<hex>.json`
/// for the configurations of old archives.
fn digest_in_name(name: &str) -> Option<Digest> {
    if let Some(rest) = name.strip_prefix("blobs/") {
        return rest.replacen('/', ":", 1).parse().ok();
    }
    let hex = name.strip_suffix(".json")?;
    format!("sha256:{hex}").parse().ok()
}

/// A name as text, without the `./` and `/` that some writers put around it.
fn clean(path: &[u8]) -> Result<String, ArchiveError> {
    let bad = || ArchiveError::Name(String::from_utf8_lossy(path).chars().take(200).collect());
    let text = std::str::from_utf8(path).map_err(|_| bad())?;
    if text.len() > MAX_PATH || text.starts_with('/') || text.contains('\0') {
        return Err(bad());
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err(bad());
    }
    Ok(parts.join("/"))
}

/// Where a symbolic link in `directory` leads, inside the archive.
fn resolve(directory: &str, target: &[u8]) -> Result<String, ArchiveError> {
    let bad = || ArchiveError::Name(String::from_utf8_lossy(target).chars().take(200).collect());
    let text = std::str::from_utf8(target).map_err(|_| bad())?;
    if text.len() > MAX_PATH || text.starts_with('/') {
        return Err(bad());
    }
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(bad)?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn unusable(
    name: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ArchiveError {
    ArchiveError::Document {
        name: name.to_owned(),
        cause: cause.into(),
    }
}

fn put_error(name: &str, cause: PutError) -> ArchiveError {
    ArchiveError::Put {
        name: name.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests;
