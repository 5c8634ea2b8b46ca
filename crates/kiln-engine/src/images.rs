//! Images in the local store: found by what people type, listed, named, removed.

use std::collections::BTreeSet;
use std::path::Path;

use kiln_base::CancelToken;
use kiln_image::{Image, ImageError, Layout};
use kiln_oci::{Descriptor, Digest, Document, MAX_DOCUMENT_SIZE, Platform, Reference};

use crate::blobs::StoreBlobs;
use crate::error::{BaseError, OutputError, TransferError};
use crate::{Engine, ImageRow};

impl Engine {
    /// Takes an image of an OCI layout into the store: what the digest or the tag says, or the only
    /// one there is.
    pub(crate) fn import_layout(
        &self,
        path: &Path,
        (tag, digest): (Option<&str>, Option<&Digest>),
        platform: &Platform,
        cancel: &CancelToken,
    ) -> Result<Image, BaseError> {
        let layout = Layout::open(path)?;
        let entries = &layout.index().manifests;
        let found = match (digest, tag) {
            (Some(digest), _) => entries.iter().find(|entry| entry.digest == *digest),
            (None, Some(tag)) => layout.find(tag),
            (None, None) => layout
                .find("latest")
                .or_else(|| entries.first().filter(|_| entries.len() == 1)),
        };
        let Some(target) = found else {
            return Err(BaseError::NotInLayout {
                path: path.to_owned(),
                wanted: match (digest, tag) {
                    (Some(digest), _) => digest.to_string(),
                    (None, tag) => tag.unwrap_or("latest").to_owned(),
                },
            });
        };
        let image = kiln_image::select(&layout, target, platform)?;
        let documents = [&image.manifest().config];
        for blob in documents.into_iter().chain(image.layers()) {
            cancel.check().map_err(TransferError::from)?;
            if !self.store.has_blob(&blob.digest)? {
                let reader =
                    kiln_image::BlobSource::open(&layout, &blob.digest).map_err(|cause| {
                        BaseError::ReadLayout {
                            path: path.to_owned(),
                            cause,
                        }
                    })?;
                let missing = || TransferError::MissingBlob(blob.digest.clone());
                let mut reader = reader.ok_or_else(missing)?;
                self.store
                    .import_blob(&mut reader, Some((&blob.digest, blob.size)))
                    .map_err(|source| BaseError::Blob {
                        digest: blob.digest.clone(),
                        source,
                    })?;
            }
        }
        let manifest = image.manifest_bytes();
        if !self.store.has_blob(&image.descriptor().digest)? {
            self.store
                .write_blob(manifest)
                .map_err(|source| BaseError::Blob {
                    digest: image.descriptor().digest.clone(),
                    source,
                })?;
        }
        Ok(image)
    }

    /// The image that `text` names: a name, the beginning of a digest, or the beginning of an image
    /// id (the digest of a configuration).
    pub fn find_image(&self, text: &str) -> Result<kiln_store::Image, OutputError> {
        let missing = || OutputError::NoSuchImage(text.to_owned());
        if let Ok(name) = text.parse::<Reference>()
            && let Some(image) = self.store.image(&name)?
        {
            return Ok(image);
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let prefix = prefix.to_ascii_lowercase();
        let mut found: Vec<kiln_store::Image> = Vec::new();
        for image in self.store.images()? {
            let known = found
                .iter()
                .any(|known| known.target.digest == image.target.digest);
            let matches = image.target.digest.hex().starts_with(&prefix)
                || self
                    .ids(&image.target)?
                    .iter()
                    .any(|id| id.hex().starts_with(&prefix));
            if matches && !known {
                found.push(image);
            }
        }
        match found.len() {
            0 => Err(missing()),
            1 => Ok(found.swap_remove(0)),
            _ => Err(OutputError::Ambiguous(text.to_owned())),
        }
    }

    /// The image that `text` names, of several the one for `platform`. A name that has one image
    /// only gives that, whatever it is for.
    pub fn open_image(&self, text: &str, platform: &Platform) -> Result<Image, OutputError> {
        let found = self.find_image(text)?;
        Ok(kiln_image::select(
            &StoreBlobs(&self.store),
            &found.target,
            platform,
        )?)
    }

    /// The image that `text` names, only if it is for this platform: what [`Engine::open_image`]
    /// would take at its word is refused.
    pub fn open_image_for(&self, text: &str, platform: &Platform) -> Result<Image, OutputError> {
        let image = self.open_image(text, platform)?;
        let found = &image.config().platform;
        if platform.matches(found) {
            return Ok(image);
        }
        Err(OutputError::Image(ImageError::Platform {
            wanted: platform.clone(),
            available: vec![found.clone()],
        }))
    }

    /// The manifest or the index that `text` names, byte for byte.
    pub fn image_document(&self, text: &str) -> Result<Vec<u8>, OutputError> {
        let target = self.find_image(text)?.target;
        Ok(kiln_image::read_blob(&StoreBlobs(&self.store), &target).map_err(ImageError::from)?)
    }

    /// All images, those without a name last. An image without a name that is part of an index
    /// with one is not told by itself.
    pub fn images(&self) -> Result<Vec<ImageRow>, OutputError> {
        let all = self.store.images()?;
        let mut parts = BTreeSet::new();
        for index in all
            .iter()
            .filter(|image| image.target.media_type.is_index())
        {
            let images = self.images_of(&index.target)?;
            parts.extend(images.iter().map(|image| image.descriptor().digest.clone()));
        }
        all.into_iter()
            .filter(|image| image.name.is_some() || !parts.contains(&image.target.digest))
            .map(|image| self.row(image))
            .collect()
    }

    /// Gives the image that `text` names another name.
    pub fn tag(&self, text: &str, name: &Reference) -> Result<(), OutputError> {
        let image = self.find_image(text)?;
        Ok(self.store.tag(name, &image.target, image.created)?)
    }

    /// Removes a name, and with its last name the image. A digest or id removes the image with all
    /// its names. Returns the names that are gone, and whether the image is.
    pub fn remove_image(&self, text: &str) -> Result<Removed, OutputError> {
        let image = self.find_image(text)?;
        let digest = &image.target.digest;
        let all = self
            .store
            .images()?
            .into_iter()
            .filter(|other| other.target.digest == *digest);
        let names: Vec<Reference> = all.filter_map(|image| image.name).collect();
        let by_name = text
            .parse::<Reference>()
            .ok()
            .filter(|name| names.contains(name));
        match by_name {
            Some(name) if names.len() > 1 => {
                self.store.untag(&name)?;
                Ok(Removed {
                    names: vec![name],
                    image: None,
                })
            }
            _ => {
                self.store.remove_image(digest)?;
                Ok(Removed {
                    names,
                    image: Some(digest.clone()),
                })
            }
        }
    }

    /// The images that a descriptor leads to and the store has, without attestations.
    pub(crate) fn images_of(&self, target: &Descriptor) -> Result<Vec<Image>, OutputError> {
        let blobs = StoreBlobs(&self.store);
        if target.media_type.is_manifest() {
            return match Image::load(&blobs, target) {
                Ok(image) => Ok(vec![image]),
                // Something else than a container image, kept as it is.
                Err(ImageError::NotAnImage(_)) => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            };
        }
        let limit = u64::try_from(MAX_DOCUMENT_SIZE).unwrap_or(u64::MAX);
        let Some(bytes) = self.store.read_blob(&target.digest, limit)? else {
            return Ok(Vec::new());
        };
        let Ok(Document::Index(index)) = Document::parse(&bytes, Some(&target.media_type)) else {
            return Ok(Vec::new());
        };
        let mut images = Vec::new();
        for entry in index
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
        {
            if self.store.has_blob(&entry.digest)? {
                images.extend(self.images_of(entry)?);
            }
        }
        Ok(images)
    }

    fn ids(&self, target: &Descriptor) -> Result<Vec<kiln_oci::Digest>, OutputError> {
        Ok(self
            .images_of(target)?
            .iter()
            .map(|image| image.id().clone())
            .collect())
    }

    fn row(&self, image: kiln_store::Image) -> Result<ImageRow, OutputError> {
        let images = self.images_of(&image.target)?;
        let first = images.first();
        let mut blobs: Vec<(&str, u64)> = images
            .iter()
            .flat_map(|image| image.layers().iter().chain([&image.manifest().config]))
            .map(|blob| (blob.digest.hex(), blob.size))
            .collect();
        blobs.sort_unstable();
        blobs.dedup();
        Ok(ImageRow {
            name: image.name,
            id: first.map_or_else(|| image.target.digest.clone(), |image| image.id().clone()),
            platforms: images
                .iter()
                .map(|image| image.config().platform.clone())
                .collect(),
            created: first.and_then(|image| image.config().created.as_deref()?.parse().ok()),
            size: blobs.iter().map(|(_, size)| size).sum(),
            descriptor: image.target,
        })
    }
}

/// What [`Engine::remove_image`] removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Names that lead nowhere now.
    pub names: Vec<Reference>,
    /// The image, if it is no longer in the store.
    pub image: Option<kiln_oci::Digest>,
}
