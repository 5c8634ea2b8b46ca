//! One image: its manifest and its configuration, read and verified.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_oci::{
    Descriptor, Digest, Document, DocumentError, Family, ImageConfig, Index, Manifest, MediaType,
    Platform,
};

use crate::blob::{BlobError, BlobSource, read_blob};

/// How deep indexes may hold indexes.
const MAX_DEPTH: usize = 4;

/// An image as a value: what its manifest and configuration say, with the bytes that say it.
///
/// Layers are named, not held; a [`BlobSource`] has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    descriptor: Descriptor,
    manifest: Manifest,
    manifest_bytes: Arc<[u8]>,
    config: ImageConfig,
    config_bytes: Arc<[u8]>,
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A document could not be read from the source.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A document is not what it should be.
    #[error("`{digest}` is not a usable image document")]
    Document {
        /// Which document.
        digest: Digest,
        /// Why.
        #[source]
        cause: DocumentError,
    },
    /// The descriptor names something that is not an image: an artifact, a layer, …
    #[error("`{0}` is not an image")]
    NotAnImage(MediaType),
    /// The index has no image for the platform.
    #[error("there is no image for `{wanted}`, only for {}", quoted(available))]
    Platform {
        /// The platform asked for.
        wanted: Platform,
        /// The platforms of the index.
        available: Vec<Platform>,
    },
    /// Indexes within indexes, beyond reason.
    #[error("index `{0}` is nested too deeply")]
    TooDeep(Digest),
}

fn quoted(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform at all".to_owned();
    }
    let quoted: Vec<String> = platforms.iter().map(|p| format!("`{p}`")).collect();
    quoted.join(", ")
}

impl Image {
    /// Makes an image from a configuration and its layers, base first.
    pub fn new(
        family: Family,
        config: ImageConfig,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let config_bytes = config.to_bytes();
        let described = Descriptor::of(MediaType::Config(family), &config_bytes);
        let manifest = Manifest {
            annotations,
            ..Manifest::new(family, described, layers)
        };
        Self::with_manifest(manifest, config, config_bytes.into())
    }

    /// The image of a manifest just made, around a configuration whose bytes are kept.
    pub(crate) fn with_manifest(
        manifest: Manifest,
        config: ImageConfig,
        config_bytes: Arc<[u8]>,
    ) -> Self {
        let manifest_bytes = manifest.to_bytes();
        Self {
            descriptor: Descriptor::of(manifest.media_type(), &manifest_bytes),
            manifest,
            manifest_bytes: manifest_bytes.into(),
            config,
            config_bytes,
        }
    }

    /// Reads and verifies the manifest that `descriptor` names, and its configuration.
    pub fn load(source: &dyn BlobSource, descriptor: &Descriptor) -> Result<Self, ImageError> {
        let manifest_bytes = read_blob(source, descriptor)?;
        let manifest = match parse(descriptor, &manifest_bytes)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => return Err(ImageError::NotAnImage(index.media_type())),
        };
        Self::from_parts(source, descriptor, manifest, manifest_bytes)
    }

    fn from_parts(
        source: &dyn BlobSource,
        descriptor: &Descriptor,
        manifest: Manifest,
        manifest_bytes: Vec<u8>,
    ) -> Result<Self, ImageError> {
        if !matches!(manifest.config.media_type, MediaType::Config(_)) {
            return Err(ImageError::NotAnImage(manifest.config.media_type));
        }
        let config_bytes = read_blob(source, &manifest.config)?;
        let config = ImageConfig::from_bytes(&config_bytes)
            .map_err(|cause| unusable(&manifest.config, cause))?;
        Ok(Self {
            descriptor: Descriptor {
                media_type: manifest.media_type(),
                ..descriptor.clone()
            },
            manifest,
            manifest_bytes: manifest_bytes.into(),
            config,
            config_bytes: config_bytes.into(),
        })
    }

    /// What names this image: its manifest's type, digest and size.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes of the manifest, which have the digest of [`Image::descriptor`].
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The bytes of the configuration, which have the digest of [`Image::id`].
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    pub(crate) fn shared_config_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.config_bytes)
    }

    /// The image's ID as Docker and Podman show it: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// The layers, base first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.manifest.layers
    }

    /// The size of everything the manifest names, compressed as it is, in bytes.
    pub fn size(&self) -> u64 {
        let layers = self.manifest.layers.iter().map(|layer| layer.size);
        layers.fold(self.manifest.config.size, u64::saturating_add)
    }
}

/// Reads the image that `descriptor` names, or, where that is an index, its best image for
/// `platform`.
///
/// A descriptor of a single image is taken at its word, whatever its platform: the caller asked for
/// this image and finds the platform in its configuration.
pub fn select(
    source: &dyn BlobSource,
    descriptor: &Descriptor,
    platform: &Platform,
) -> Result<Image, ImageError> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_DEPTH {
        let bytes = read_blob(source, &descriptor)?;
        match parse(&descriptor, &bytes)? {
            Document::Manifest(manifest) => {
                return Image::from_parts(source, &descriptor, manifest, bytes);
            }
            Document::Index(index) => {
                let best = index.select(platform).cloned();
                descriptor = best.ok_or_else(|| no_platform(platform, &index))?;
            }
        }
    }
    Err(ImageError::TooDeep(descriptor.digest))
}

fn no_platform(wanted: &Platform, index: &Index) -> ImageError {
    let images = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation());
    ImageError::Platform {
        wanted: wanted.clone(),
        available: images.filter_map(|entry| entry.platform.clone()).collect(),
    }
}

/// Every blob that `root` leads to, each once, a document after everything it names: the order in
/// which a registry accepts them. `root` is last.
pub fn reachable(
    source: &dyn BlobSource,
    root: &Descriptor,
) -> Result<Vec<Descriptor>, ImageError> {
    let mut walk = Walk {
        source,
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    walk.visit(root, 0)?;
    Ok(walk.found)
}

struct Walk<'a> {
    source: &'a dyn BlobSource,
    seen: BTreeSet<Digest>,
    found: Vec<Descriptor>,
}

impl Walk<'_> {
    fn visit(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), ImageError> {
        if !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        if descriptor.media_type.is_manifest() || descriptor.media_type.is_index() {
            if depth > MAX_DEPTH {
                return Err(ImageError::TooDeep(descriptor.digest.clone()));
            }
            let bytes = read_blob(self.source, descriptor)?;
            for child in &children(&parse(descriptor, &bytes)?) {
                self.visit(child, depth + 1)?;
            }
        }
        self.found.push(descriptor.clone());
        Ok(())
    }
}

fn children(document: &Document) -> Vec<Descriptor> {
    match document {
        Document::Index(index) => index.manifests.clone(),
        Document::Manifest(manifest) => {
            let config = std::iter::once(&manifest.config);
            config.chain(&manifest.layers).cloned().collect()
        }
    }
}

fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Document, ImageError> {
    Document::parse(bytes, Some(&descriptor.media_type))
        .map_err(|cause| unusable(descriptor, cause))
}

fn unusable(descriptor: &Descriptor, cause: DocumentError) -> ImageError {
    ImageError::Document {
        digest: descriptor.digest.clone(),
        cause,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::MemoryBlobs;
    use kiln_oci::{Compression, History};

    /// An image whose layers hold the given texts, uncompressed, and the blobs it is made of.
    pub(crate) fn sample(family: Family, layers: &[&str]) -> (Image, MemoryBlobs) {
        let mut blobs = MemoryBlobs::new();
        let mut config = ImageConfig::empty(Platform::new("linux", "amd64"));
        let mut descriptors = Vec::new();
        for text in layers {
            let layer_type = MediaType::layer(family, Compression::None);
            descriptors.push(blobs.insert(layer_type, text.as_bytes()));
            config = config.with_layer(Digest::sha256(text.as_bytes()), History::default());
        }
        let image = Image::new(family, config, descriptors, BTreeMap::new());
        blobs.insert(MediaType::Config(family), image.config_bytes());
        blobs.insert(MediaType::Manifest(family), image.manifest_bytes());
        (image, blobs)
    }

    #[test]
    fn an_image_is_read_back() {
        let (image, blobs) = sample(Family::Oci, &["a", "b"]);
        assert_eq!(Image::load(&blobs, image.descriptor()).ok(), Some(image));
    }

    #[test]
    fn an_index_gives_the_platform_asked_for() {
        let (image, mut blobs) = sample(Family::Oci, &["a"]);
        let amd64 = Platform::new("linux", "amd64");
        let entry = image.descriptor().clone().with_platform(amd64.clone());
        let index = Index::new(Family::Oci, vec![entry]);
        let root = blobs.insert(index.media_type(), &index.to_bytes());
        let found = select(&blobs, &root, &amd64).expect("an image");
        assert_eq!(found.id(), image.id());

        let error = select(&blobs, &root, &Platform::new("linux", "s390x"));
        assert_eq!(
            error.expect_err("no such platform").to_string(),
            "there is no image for `linux/s390x`, only for `linux/amd64`"
        );
        let order: Vec<Digest> = reachable(&blobs, &root)
            .expect("all blobs")
            .into_iter()
            .map(|found| found.digest)
            .collect();
        assert_eq!(order.last(), Some(&root.digest));
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn an_artifact_is_not_an_image() {
        let mut blobs = MemoryBlobs::new();
        let empty = blobs.insert(MediaType::Empty, b"{}");
        let manifest = Manifest::new(Family::Oci, empty, Vec::new());
        let root = blobs.insert(manifest.media_type(), &manifest.to_bytes());
        let error = Image::load(&blobs, &root).expect_err("an artifact");
        assert_eq!(
            error.to_string(),
            "`application/vnd.oci.empty.v1+json` is not an image"
        );
    }
}
