//! From one family of media types to the other.

use kiln_oci::{Compression, Descriptor, Digest, Family, LayerType, Manifest, MediaType};

use crate::Image;

/// Why an image can't be written in the other family's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Docker's vocabulary has no zstd layers.
    #[error("layer `{0}` is compressed with zstd, which Docker's image format does not have")]
    Zstd(Digest),
    /// Docker's manifests have no annotations, no artifact type and no subject.
    #[error("the image has {0}, which Docker's image format does not have")]
    OciOnly(&'static str),
    /// Not a layer of either family.
    #[error("`{digest}` has the type `{media_type}`, which is not an image layer")]
    NotALayer {
        /// Which blob.
        digest: Digest,
        /// Its type.
        media_type: MediaType,
    },
}

/// The same image in the words of `family`: the configuration's and the layers' bytes are equal,
/// only the manifest is another. An image that already is of the family is returned as it is.
pub fn convert(image: &Image, family: Family) -> Result<Image, ConvertError> {
    let manifest = image.manifest();
    let is_layer_done = |layer: &Descriptor| layer.media_type.family() == Some(family);
    if manifest.family == family && manifest.layers.iter().all(is_layer_done) {
        return Ok(image.clone());
    }
    if family == Family::Docker {
        refuse_oci_only(manifest)?;
    }
    let layers: Result<Vec<_>, _> = manifest
        .layers
        .iter()
        .map(|layer| convert_layer(layer, family))
        .collect();
    let converted = Manifest {
        family,
        config: Descriptor {
            media_type: MediaType::Config(family),
            ..manifest.config.clone()
        },
        layers: layers?,
        ..manifest.clone()
    };
    Ok(Image::with_manifest(
        converted,
        image.config().clone(),
        image.shared_config_bytes(),
    ))
}

fn convert_layer(layer: &Descriptor, family: Family) -> Result<Descriptor, ConvertError> {
    let MediaType::Layer(layer_type) = layer.media_type else {
        return Err(ConvertError::NotALayer {
            digest: layer.digest.clone(),
            media_type: layer.media_type.clone(),
        });
    };
    if family == Family::Docker && layer_type.compression == Compression::Zstd {
        return Err(ConvertError::Zstd(layer.digest.clone()));
    }
    Ok(Descriptor {
        media_type: MediaType::Layer(LayerType {
            family,
            ..layer_type
        }),
        ..layer.clone()
    })
}

fn refuse_oci_only(manifest: &Manifest) -> Result<(), ConvertError> {
    let mut described = std::iter::once(&manifest.config).chain(&manifest.layers);
    if !manifest.annotations.is_empty() || described.any(|blob| !blob.annotations.is_empty()) {
        Err(ConvertError::OciOnly("annotations"))
    } else if manifest.artifact_type.is_some() {
        Err(ConvertError::OciOnly("an artifact type"))
    } else if manifest.subject.is_some() {
        Err(ConvertError::OciOnly("a subject"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::image::tests::sample;

    #[test]
    fn there_and_back_gives_the_same_image() {
        let (oci, _) = sample(Family::Oci, &["a", "b"]);
        let docker = convert(&oci, Family::Docker).expect("a Docker image");
        assert_eq!(docker.id(), oci.id());
        assert_ne!(docker.descriptor().digest, oci.descriptor().digest);
        let types: Vec<&str> = docker
            .layers()
            .iter()
            .map(|l| l.media_type.as_str())
            .collect();
        assert_eq!(types, ["application/vnd.docker.image.rootfs.diff.tar"; 2]);
        assert_eq!(convert(&docker, Family::Oci), Ok(oci.clone()));
        assert_eq!(convert(&oci, Family::Oci), Ok(oci));
    }

    #[test]
    fn what_docker_does_not_have_is_refused() {
        let (image, _) = sample(Family::Oci, &["a"]);
        let zstd = Descriptor {
            media_type: MediaType::layer(Family::Oci, Compression::Zstd),
            ..image.layers()[0].clone()
        };
        let digest = zstd.digest.clone();
        let with = |layers, annotations| {
            let image = Image::new(Family::Oci, image.config().clone(), layers, annotations);
            convert(&image, Family::Docker).expect_err("not a Docker image")
        };
        assert_eq!(
            with(vec![zstd], BTreeMap::new()),
            ConvertError::Zstd(digest)
        );
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!(
            with(Vec::new(), annotations),
            ConvertError::OciOnly("annotations")
        );
    }
}
