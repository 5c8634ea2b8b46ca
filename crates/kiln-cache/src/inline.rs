//! A cache in the configuration of the image that it is of: its member
//! `moby.buildkit.cache.v0`, which holds the document's records; the layers are the image's own.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kiln_oci::{Digest, DocumentError, ImageConfig};
use serde_json::Value;

use crate::format::{FormatError, MAX_SIZE};
use crate::plan::Plan;
use crate::record::Exported;

const MEMBER: &str = "moby.buildkit.cache.v0";

/// A cache could not be put into a configuration.
#[derive(Debug, thiserror::Error)]
pub enum InlineError {
    /// The records are too many, or a result has too many layers.
    #[error("the records can't be written as an inline cache")]
    Format(#[from] FormatError),
    /// The configuration is not one.
    #[error("the image's configuration can't be used")]
    Config(#[source] DocumentError),
}

/// The same configuration with a cache in it: of the records, those whose layers the image has.
/// `layers` are the digests of the image's compressed blobs, base first.
///
/// A cache that the configuration had, as that of its base image, is replaced, or removed where
/// there is nothing to put in its place: it is about other layers.
pub fn embed(
    config: &ImageConfig,
    exported: &Exported,
    layers: &[Digest],
) -> Result<ImageConfig, InlineError> {
    let cache = Plan::inline(exported, layers)?;
    let read = |error: serde_json::Error| InlineError::Format(FormatError::Json(error));
    let mut document: Value = serde_json::from_slice(&config.to_bytes()).map_err(read)?;
    if let Some(members) = document.as_object_mut() {
        members.remove(MEMBER);
        if !cache.records().is_empty() {
            let text = BASE64_STANDARD.encode(cache.records_to_bytes());
            members.insert(MEMBER.to_owned(), Value::String(text));
        }
    }
    ImageConfig::from_bytes(document.to_string().as_bytes()).map_err(InlineError::Config)
}

/// The records in the member's text.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, FormatError> {
    if text.len() > MAX_SIZE {
        return Err(FormatError::TooLarge(text.len()));
    }
    BASE64_STANDARD
        .decode(text)
        .map_err(|error| FormatError::Json(serde::de::Error::custom(error)))
}

#[cfg(test)]
mod tests {
    use kiln_oci::{Descriptor, Family, History, Manifest, MediaType, Platform};

    use super::*;
    use crate::manifest;
    use crate::plan::tests::{exported, layer, record};

    #[test]
    fn a_configuration_carries_the_cache_of_its_image() {
        let image = [layer("x"), layer("y")];
        let blobs: Vec<Digest> = image.iter().map(|l| l.descriptor.digest.clone()).collect();
        let plain = image
            .iter()
            .fold(ImageConfig::empty(Platform::host()), |config, layer| {
                let history = History {
                    created: Some("2023-11-14T22:13:20Z".to_owned()),
                    ..History::default()
                };
                config.with_layer(layer.diff_id.clone(), history)
            });
        let records = vec![record(&[1], "x"), record(&[2], "x y"), record(&[3], "z")];
        let config = embed(&plain, &exported(records), &blobs).expect("a configuration");
        let bytes = config.to_bytes();
        let config_descriptor = Descriptor::of(MediaType::Config(Family::Oci), &bytes);
        let layers = image.iter().map(|l| l.descriptor.clone()).collect();
        let image_manifest = Manifest::new(Family::Oci, config_descriptor, layers);
        let caches = manifest::load(
            "x",
            &image_manifest.to_bytes(),
            None,
            &|_| Ok(bytes.clone()),
        )
        .expect("a cache");
        assert_eq!(caches.len(), 1);
        let found = caches[0].find(&[2; 32]).expect("a result");
        assert_eq!(found.layers, image);
        assert!(caches[0].find(&[3; 32]).is_none());

        let without = embed(&config, &exported(Vec::new()), &blobs).expect("a configuration");
        assert_eq!(without, plain);
    }
}
