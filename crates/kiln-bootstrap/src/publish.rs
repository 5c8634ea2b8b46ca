//! From a layer to a name: configuration, manifest, and the index of all platforms.

use kiln_base::Timestamp;
use kiln_layer::LayerSummary;
use kiln_oci::{
    Descriptor, Document, Family, History, ImageConfig, Index, MAX_DOCUMENT_SIZE, Manifest,
    MediaType, Platform, Reference, RuntimeConfig,
};
use kiln_store::Store;

use crate::{BootstrapError, BootstrapRequest};

/// What the distribution's own images set, and what every program expects.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image configuration for a layer.
pub(crate) fn config(
    request: &BootstrapRequest,
    epoch: Timestamp,
    layer: &LayerSummary,
) -> ImageConfig {
    let created = Some(epoch.to_string());
    let variant = request.variant.name();
    let mut made_by = format!("mmdebstrap --variant={variant} {}", request.suite);
    if !request.include.is_empty() {
        made_by = format!("{made_by} # with {}", request.include.join(" "));
    }
    let mut config = ImageConfig::empty(request.platform.normalized());
    config.created.clone_from(&created);
    config
        .with_layer(
            layer.diff_id.clone(),
            History {
                created,
                created_by: Some(made_by),
                comment: Some("kiln bootstrap".to_owned()),
                ..History::default()
            },
        )
        .with_runtime(|runtime| RuntimeConfig {
            env: vec![PATH.to_owned()],
            cmd: Some(vec!["bash".to_owned()]),
            ..runtime
        })
}

/// Stores configuration and manifest, and makes the name stand for the image beside those of other
/// platforms. Returns the manifest and what the name now stands for.
pub(crate) fn publish(
    store: &Store,
    request: &BootstrapRequest,
    epoch: Timestamp,
    layer: &LayerSummary,
) -> Result<(Descriptor, Descriptor), BootstrapError> {
    let config = config(request, epoch, layer).to_bytes();
    let config = put(store, MediaType::Config(Family::Oci), &config)?;
    let media_type = MediaType::layer(Family::Oci, request.compression.media());
    let layer = Descriptor::new(media_type, layer.digest.clone(), layer.size);
    let manifest = Manifest::new(Family::Oci, config, vec![layer]);
    let manifest = put(store, manifest.media_type(), &manifest.to_bytes())?
        .with_platform(request.platform.normalized());

    let before = images_of(store, &request.name)?;
    let others = elsewhere(&before, &request.platform);
    let index = (!others.is_empty()).then(|| index_of(others, manifest.clone()));
    let target = match &index {
        None => Descriptor {
            platform: None,
            ..manifest.clone()
        },
        Some(index) => put(store, index.media_type(), &index.to_bytes())?,
    };
    let old = store.image(&request.name)?;
    store.tag(&request.name, &target, epoch)?;
    if let (Some(old), Some(index)) = (old, index)
        && before.iter().all(|image| holds(&index, image))
    {
        forget_unnamed(store, &old.target)?;
    }
    Ok((manifest, target))
}

fn holds(index: &Index, image: &Descriptor) -> bool {
    let mut digests = index.manifests.iter().map(|entry| &entry.digest);
    digests.any(|digest| *digest == image.digest)
}

/// What lost its only name to an index that holds all of it is no image of its own any more.
fn forget_unnamed(store: &Store, image: &Descriptor) -> Result<(), BootstrapError> {
    let entries = store.images_by_id(image.digest.as_str())?;
    if entries.iter().all(|entry| entry.name.is_none()) {
        store.remove_image(&image.digest)?;
    }
    Ok(())
}

fn put(store: &Store, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, BootstrapError> {
    store.write_blob(bytes)?;
    Ok(Descriptor::of(media_type, bytes))
}

/// An index of all images, in the order of their platforms: the order in which they were made
/// leaves no trace.
fn index_of(mut images: Vec<Descriptor>, new: Descriptor) -> Index {
    images.push(new);
    images.sort_by(|one, other| one.platform.cmp(&other.platform));
    Index::new(Family::Oci, images)
}

/// The images that the name now stands for, each with its platform.
fn images_of(store: &Store, name: &Reference) -> Result<Vec<Descriptor>, BootstrapError> {
    let Some(image) = store.image(name)? else {
        return Ok(Vec::new());
    };
    let previous = |cause| BootstrapError::Previous {
        name: name.familiar(),
        cause,
    };
    let read = |descriptor: &Descriptor| -> Result<Option<Vec<u8>>, BootstrapError> {
        Ok(store.read_blob(&descriptor.digest, MAX_DOCUMENT_SIZE as u64)?)
    };
    let Some(bytes) = read(&image.target)? else {
        return Ok(Vec::new());
    };
    let images = match Document::parse(&bytes, Some(&image.target.media_type)).map_err(previous)? {
        Document::Index(index) => index.manifests,
        Document::Manifest(manifest) => {
            let Some(bytes) = read(&manifest.config)? else {
                return Ok(Vec::new());
            };
            let config = ImageConfig::from_bytes(&bytes).map_err(previous)?;
            vec![Descriptor {
                platform: Some(config.platform.normalized()),
                ..image.target
            }]
        }
    };
    Ok(images
        .into_iter()
        .filter(|image| !image.is_attestation() && image.platform.is_some())
        .collect())
}

/// Those of the images that run on another platform.
fn elsewhere(images: &[Descriptor], platform: &Platform) -> Vec<Descriptor> {
    let platform = Some(platform.normalized());
    let others = images.iter().filter(|image| {
        let known = image.platform.as_ref().map(Platform::normalized);
        known != platform
    });
    others.cloned().collect()
}

#[cfg(test)]
mod tests {
    use kiln_store::Clock;

    use super::*;

    fn summary(content: &str) -> LayerSummary {
        let descriptor = Descriptor::of(MediaType::Empty, content.as_bytes());
        LayerSummary {
            diff_id: descriptor.digest.clone(),
            digest: descriptor.digest,
            size: descriptor.size,
            uncompressed_size: descriptor.size,
        }
    }

    /// Publishes an image for each platform and prints what the name stands for after each.
    fn check(platforms: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(|| Timestamp::EPOCH);
        let store = Store::open(&folder.path().join("store"), clock).unwrap();
        let name: Reference = "debian:bookworm".parse().unwrap();
        let mut seen = Vec::new();
        for platform in platforms {
            let mut request = BootstrapRequest::new(name.clone(), None).unwrap();
            request.platform = platform.parse().unwrap();
            let epoch = Timestamp::from_seconds(1_700_000_000);
            let layer = summary(platform);
            store.write_blob(platform.as_bytes()).unwrap();
            let (_, target) = publish(&store, &request, epoch, &layer).unwrap();
            let images = store.images().unwrap();
            let [image] = images.as_slice() else {
                panic!("more than the name's own image: {images:?}");
            };
            assert_eq!(image.name.as_ref(), Some(&name));
            assert_eq!(image.target.digest, target.digest);
            let bytes = store.read_blob(&target.digest, 1 << 20).unwrap().unwrap();
            let text = match Document::parse(&bytes, None).unwrap() {
                Document::Manifest(_) => "manifest".to_owned(),
                Document::Index(index) => {
                    let platforms = index.manifests.iter().map(|image| image.platform.as_ref());
                    let platforms = platforms.map(|known| known.unwrap().to_string());
                    platforms.collect::<Vec<_>>().join(" ")
                }
            };
            seen.push(format!("{text} {}", target.digest));
        }
        seen
    }

    #[test]
    fn platforms_stand_beside_each_other_in_any_order() {
        let one = check(&["linux/amd64", "linux/arm64", "linux/arm/v7"]);
        let other = check(&["linux/arm/v7", "linux/amd64", "linux/arm64", "linux/amd64"]);
        assert!(one[0].starts_with("manifest"));
        assert!(
            one[1].starts_with("linux/amd64 linux/arm64 sha256:"),
            "{}",
            one[1]
        );
        assert_eq!(one[2], other[2]);
        assert_eq!(other[2], other[3]);
    }

    #[test]
    fn the_same_image_again_is_still_one_manifest() {
        let seen = check(&["linux/amd64", "linux/amd64"]);
        assert!(seen[0].starts_with("manifest"));
        assert_eq!(seen[0], seen[1]);
    }
}
