//! The document that leads to a cache in a registry or an image layout: an image manifest, an
//! index, or an image with an inline cache.

use std::collections::HashMap;

use kiln_oci::{Descriptor, Document, Family, Index, Manifest, MediaType};
use serde::Deserialize;

use crate::CacheError;
use crate::format::{CacheConfig, MAX_SIZE, MEDIA_TYPE};
use crate::options::Shape;
use crate::plan::{Loaded, Plan, descriptor_of, layer_of};
use crate::record::Layer;

/// How many images of an index are looked into for inline caches.
const MAX_IMAGES: usize = 64;
/// How deep indexes may be nested.
const MAX_DEPTH: usize = 4;

/// Fetches a document by its descriptor; the bytes are what the descriptor says.
pub(crate) type Fetch<'a> = &'a dyn Fn(&Descriptor) -> Result<Vec<u8>, CacheError>;

/// The manifest for a plan, and the layers as it lists them.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Vec<u8>,
    /// The cache's document.
    pub(crate) config: Descriptor,
    pub(crate) config_bytes: Vec<u8>,
    /// Without the document.
    pub(crate) layers: Vec<Descriptor>,
}

/// The manifest, or the index, for a plan.
pub(crate) fn write(plan: &Plan, shape: Shape) -> Written {
    let family = match shape {
        Shape::ImageManifest => Family::Oci,
        Shape::Index(family) => family,
    };
    let config_bytes = plan.config.to_bytes();
    let config = Descriptor::of(MediaType::parse(MEDIA_TYPE), &config_bytes);
    let layers: Vec<Descriptor> = plan
        .layers
        .values()
        .map(|layer| descriptor_of(layer, media_type(layer, family)))
        .collect();
    let (media_type, bytes) = match shape {
        Shape::ImageManifest => {
            let manifest = Manifest::new(family, config.clone(), layers.clone());
            (manifest.media_type(), manifest.to_bytes())
        }
        Shape::Index(family) => {
            let mut entries = layers.clone();
            entries.push(config.clone());
            let index = Index::new(family, entries);
            (index.media_type(), index.to_bytes())
        }
    };
    Written {
        media_type,
        bytes,
        config,
        config_bytes,
        layers,
    }
}

/// The layer's type in the words of a family. What kiln does not know stays as it is.
fn media_type(layer: &Layer, family: Family) -> MediaType {
    match layer.descriptor.media_type.compression() {
        Some(compression) => MediaType::layer(family, compression),
        None => layer.descriptor.media_type.clone(),
    }
}

/// Reads the caches that a manifest or an index leads to.
pub(crate) fn load(
    place: &str,
    bytes: &[u8],
    announced: Option<&MediaType>,
    fetch: Fetch<'_>,
) -> Result<Vec<Loaded>, CacheError> {
    let reader = Reader { place, fetch };
    let document = reader.parse(bytes, announced)?;
    let (config, layers) = match &document {
        Document::Manifest(manifest) => (
            is_cache(&manifest.config).then_some(&manifest.config),
            manifest.layers.as_slice(),
        ),
        Document::Index(index) => (
            index.manifests.iter().find(|entry| is_cache(entry)),
            index.manifests.as_slice(),
        ),
    };
    let Some(config) = config else {
        let mut caches = Vec::new();
        reader.inline(&document, 0, &mut caches)?;
        if caches.is_empty() {
            return Err(CacheError::NoCache(place.to_owned()));
        }
        return Ok(caches);
    };
    let config = CacheConfig::from_bytes(&reader.document(config)?);
    let config = config.map_err(|cause| reader.format(cause))?;
    let listed: HashMap<_, _> = layers.iter().map(|entry| (&entry.digest, entry)).collect();
    Ok(vec![Loaded::new(config, |layer| {
        layer_of(listed.get(&layer.blob)?)
    })])
}

fn is_cache(descriptor: &Descriptor) -> bool {
    descriptor.media_type.as_str() == MEDIA_TYPE
}

struct Reader<'a> {
    place: &'a str,
    fetch: Fetch<'a>,
}

/// What of an image's configuration counts here.
#[derive(Deserialize)]
struct InlineWire {
    /// Base64, as Go prints bytes.
    #[serde(rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
}

impl Reader<'_> {
    fn parse(&self, bytes: &[u8], announced: Option<&MediaType>) -> Result<Document, CacheError> {
        Document::parse(bytes, announced).map_err(|cause| CacheError::Document {
            place: self.place.to_owned(),
            cause,
        })
    }

    fn format(&self, cause: crate::format::FormatError) -> CacheError {
        CacheError::Format {
            place: self.place.to_owned(),
            cause,
        }
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, CacheError> {
        if descriptor.size > MAX_SIZE as u64 {
            let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
            return Err(self.format(crate::format::FormatError::TooLarge(size)));
        }
        (self.fetch)(descriptor)
    }

    /// The caches in the configurations of the images that a document is or lists.
    fn inline(
        &self,
        document: &Document,
        depth: usize,
        caches: &mut Vec<Loaded>,
    ) -> Result<(), CacheError> {
        match document {
            Document::Manifest(manifest) => {
                if !matches!(manifest.config.media_type, MediaType::Config(_)) {
                    return Ok(());
                }
                caches.extend(self.inline_of(manifest)?);
            }
            Document::Index(index) => {
                let is_image = |entry: &&Descriptor| {
                    !entry.is_attestation()
                        && (entry.media_type.is_manifest() || entry.media_type.is_index())
                };
                for entry in index.manifests.iter().filter(is_image) {
                    if depth >= MAX_DEPTH || caches.len() >= MAX_IMAGES {
                        return Ok(());
                    }
                    let bytes = self.document(entry)?;
                    let child = self.parse(&bytes, Some(&entry.media_type))?;
                    self.inline(&child, depth + 1, caches)?;
                }
            }
        }
        Ok(())
    }

    fn inline_of(&self, manifest: &Manifest) -> Result<Option<Loaded>, CacheError> {
        let bytes = self.document(&manifest.config)?;
        let not_json = |error| self.format(crate::format::FormatError::Json(error));
        let wire: InlineWire = serde_json::from_slice(&bytes).map_err(not_json)?;
        let Some(cache) = wire.cache else {
            return Ok(None);
        };
        let image =
            kiln_oci::ImageConfig::from_bytes(&bytes).map_err(|cause| CacheError::Document {
                place: self.place.to_owned(),
                cause,
            })?;
        if image.diff_ids.len() != manifest.layers.len() {
            return Ok(None);
        }
        let records = crate::inline::decode(&cache).map_err(|cause| self.format(cause))?;
        let blobs: Vec<_> = manifest.layers.iter().map(|l| l.digest.clone()).collect();
        let config = CacheConfig::from_inline(&records, &blobs);
        let config = config.map_err(|cause| self.format(cause))?;
        let made = image.history.iter().filter(|entry| !entry.empty_layer);
        let made: Vec<_> = made.map(|entry| entry.created.clone()).collect();
        let places: HashMap<_, _> = blobs.iter().zip(0usize..).collect();
        Ok(Some(Loaded::new(config, |layer| {
            let index = *places.get(&layer.blob)?;
            let listed = &manifest.layers[index];
            let created = made.get(index).cloned().flatten();
            Some(Layer {
                descriptor: Descriptor::new(
                    listed.media_type.clone(),
                    listed.digest.clone(),
                    listed.size,
                ),
                diff_id: image.diff_ids[index].clone(),
                created: created.and_then(|time| time.parse().ok()),
            })
        })))
    }
}
