//! Checks every invariant of an image and collects all that are broken.

use std::io::{self, Read};

use kiln_oci::{Descriptor, Digest, Digester, Family, MediaType};

use crate::blob::{self, BlobError, BlobSource};
use crate::{Image, decoder};

/// One broken invariant.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The configuration and the manifest count differently.
    #[error("the manifest has {layers} layers, but the configuration has {diff_ids} diff IDs")]
    DiffIds {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// The history and the layers do not fit.
    #[error("the manifest has {layers} layers, but the history tells of {history}")]
    History {
        /// In the manifest.
        layers: usize,
        /// History lines that made a layer.
        history: usize,
    },
    /// `os` or `architecture` is empty.
    #[error("the configuration names no platform")]
    NoPlatform,
    /// A blob of the other vocabulary.
    #[error("`{digest}` has the type `{media_type}` in an image of the {} family", name(*family))]
    Mixed {
        /// Which blob.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
        /// The manifest's vocabulary.
        family: Family,
    },
    /// Not a layer.
    #[error("layer `{digest}` has the type `{media_type}`")]
    NotALayer {
        /// Which blob.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
    },
    /// A blob is missing, damaged or unreadable.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer's content, uncompressed, is not what the configuration says.
    #[error("layer `{layer}` holds `{found}`, but the configuration says `{expected}`")]
    DiffId {
        /// Which layer.
        layer: Digest,
        /// In the configuration.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Oci => "OCI",
        Family::Docker => "Docker",
    }
}

/// What is wrong with an image, without looking into its layers. Empty is good.
pub fn validate(image: &Image) -> Vec<Problem> {
    let (manifest, config) = (image.manifest(), image.config());
    let layers = manifest.layers.len();
    let mut problems = Vec::new();
    if config.diff_ids.len() != layers {
        let diff_ids = config.diff_ids.len();
        problems.push(Problem::DiffIds { layers, diff_ids });
    }
    let history = config
        .history
        .iter()
        .filter(|line| !line.empty_layer)
        .count();
    if !config.history.is_empty() && history != layers {
        problems.push(Problem::History { layers, history });
    }
    if config.platform.os.is_empty() || config.platform.architecture.is_empty() {
        problems.push(Problem::NoPlatform);
    }
    for layer in &manifest.layers {
        let (digest, media_type) = (layer.digest.clone(), layer.media_type.clone());
        if !layer.media_type.is_layer() {
            problems.push(Problem::NotALayer { digest, media_type });
        }
    }
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if blob
            .media_type
            .family()
            .is_some_and(|family| family != manifest.family)
        {
            problems.push(Problem::Mixed {
                digest: blob.digest.clone(),
                media_type: blob.media_type.clone(),
                family: manifest.family,
            });
        }
    }
    problems
}

/// What is wrong with the layers of an image: reads all of them to the end, compressed and
/// uncompressed. Empty is good.
pub fn verify_blobs(image: &Image, source: &dyn BlobSource) -> Vec<Problem> {
    let layers = image.layers().iter().zip(&image.config().diff_ids);
    layers
        .filter_map(|(layer, diff_id)| verify_layer(source, layer, diff_id).err())
        .collect()
}

fn verify_layer(
    source: &dyn BlobSource,
    layer: &Descriptor,
    diff_id: &Digest,
) -> Result<(), Problem> {
    let unreadable = |cause| BlobError::Read {
        digest: layer.digest.clone(),
        cause,
    };
    let open = || -> Result<Box<dyn Read + Send>, BlobError> {
        let content = source.open(&layer.digest).map_err(unreadable)?;
        content.ok_or_else(|| BlobError::Missing(layer.digest.clone()))
    };
    let mut compressed = Digester::new(layer.digest.algorithm());
    io::copy(&mut open()?, &mut compressed).map_err(unreadable)?;
    blob::check(layer, compressed.length(), || compressed.finish())?;

    let mut uncompressed = Digester::new(diff_id.algorithm());
    let mut content = decoder(open()?).map_err(unreadable)?;
    io::copy(&mut content, &mut uncompressed).map_err(unreadable)?;
    let found = uncompressed.finish();
    if found == *diff_id {
        Ok(())
    } else {
        Err(Problem::DiffId {
            layer: layer.digest.clone(),
            expected: diff_id.clone(),
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kiln_oci::{Compression, History, Platform};

    use super::*;
    use crate::image::tests::sample;

    fn messages(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_image_has_no_problems() {
        let (image, blobs) = sample(Family::Oci, &["a", "b"]);
        assert!(validate(&image).is_empty());
        assert!(verify_blobs(&image, &blobs).is_empty());
    }

    #[test]
    fn all_problems_are_collected() {
        let (image, blobs) = sample(Family::Oci, &["a"]);
        let layer = image.layers()[0].clone();
        let docker = Descriptor {
            media_type: MediaType::layer(Family::Docker, Compression::None),
            ..layer.clone()
        };
        let config = image.config().clone();
        let mut config = config.with_layer(Digest::sha256(b"x"), History::default());
        config.platform = Platform {
            os: String::new(),
            ..config.platform
        };
        config.history.pop();
        let layers = vec![
            layer.clone(),
            docker,
            Descriptor {
                media_type: MediaType::Empty,
                ..layer
            },
        ];
        let broken = Image::new(Family::Oci, config, layers, BTreeMap::new());
        let digest = &image.layers()[0].digest;
        assert_eq!(
            messages(&validate(&broken)),
            [
                "the manifest has 3 layers, but the configuration has 2 diff IDs".to_owned(),
                "the manifest has 3 layers, but the history tells of 1".to_owned(),
                "the configuration names no platform".to_owned(),
                format!("layer `{digest}` has the type `application/vnd.oci.empty.v1+json`"),
                format!(
                    "`{digest}` has the type `application/vnd.docker.image.rootfs.diff.tar` in an image of the OCI family"
                ),
            ]
        );
        assert_eq!(
            messages(&verify_blobs(&broken, &blobs)),
            [format!(
                "layer `{digest}` holds `{digest}`, but the configuration says `{}`",
                Digest::sha256(b"x")
            )]
        );
    }
}
