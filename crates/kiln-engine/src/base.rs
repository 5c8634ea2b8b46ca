//! Images that stages begin with: from the local store, or from their registry.

use kiln_base::CancelToken;
use kiln_graph::KeyHasher;
use kiln_image::Image;
use kiln_oci::{Digest, Platform, Reference, chain_ids};
use kiln_store::CacheKey;

use crate::Engine;
use crate::blobs::StoreBlobs;
use crate::chain::{Chain, ChainLayer, ImageLayer, Origin};
use crate::error::BaseError;
use crate::machine::Machine;
use crate::reporter::Reporter;
use crate::request::{BuildRequest, NamedContext, Pull};

/// An image that a stage begins with, or that `COPY --from` names.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) image: Image,
    /// Its layers, which may not be unpacked yet.
    pub(crate) chain: Chain,
}

/// What is done with the layers of an image that is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layers {
    /// They are kept as they come.
    Stored,
    /// They are also unpacked, while they come.
    Unpacked,
}

impl Engine {
    /// Finds an image in the local store, or pulls it.
    pub(crate) fn base(
        &self,
        reference: &Reference,
        platform: &Platform,
        (pull, layers): (Pull, Layers),
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<Base, BaseError> {
        let local = match pull {
            Pull::Missing => self.local_image(reference, platform)?,
            Pull::Always => None,
        };
        let image = match local {
            Some(image) => image,
            None => {
                let name = format!("pull {}", reference.familiar());
                reporter.step(&name, cancel, |number| {
                    self.pull_image(reference, platform, layers, (reporter, number), cancel)
                })?
            }
        };
        let chain = self.image_chain(&image)?;
        Ok(Base { image, chain })
    }

    /// Finds an image in the OCI layout of a named context, and takes its blobs into the store.
    pub(crate) fn layout_base(
        &self,
        request: &BuildRequest,
        name: &str,
        platform: &Platform,
        cancel: &CancelToken,
    ) -> Result<Base, BaseError> {
        let Some(NamedContext::Layout { path, tag, digest }) = request.contexts.get(name) else {
            return Err(BaseError::NoLayout(name.to_owned()));
        };
        let image =
            self.import_layout(path, (tag.as_deref(), digest.as_ref()), platform, cancel)?;
        let chain = self.image_chain(&image)?;
        Ok(Base { image, chain })
    }

    /// The image of this name for the platform, where the store has it with all its layers.
    pub(crate) fn local_image(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, BaseError> {
        let named = self.store.image(reference)?;
        let found = match (named, reference.digest()) {
            (Some(found), _) => found,
            (None, Some(digest)) => match self.image_with_digest(reference, digest)? {
                Some(found) => found,
                None => return Ok(None),
            },
            (None, None) => return Ok(None),
        };
        let image = match kiln_image::select(&StoreBlobs(&self.store), &found.target, platform) {
            Ok(image) => image,
            Err(kiln_image::ImageError::Platform { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !platform.matches(&image.config().platform) {
            return Ok(None);
        }
        for layer in image.layers() {
            if !self.store.has_blob(&layer.digest)? {
                return Ok(None);
            }
        }
        Ok(Some(image))
    }

    /// An image of the store that is of the reference's repository under another name.
    fn image_with_digest(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Option<kiln_store::Image>, BaseError> {
        let images = self.store.images()?;
        let is_it = |image: &kiln_store::Image| {
            let name = image.name.as_ref();
            image.target.digest == *digest
                && name.is_some_and(|name| {
                    (name.registry(), name.repository())
                        == (reference.registry(), reference.repository())
                })
        };
        Ok(images.into_iter().find(is_it))
    }
}

impl Engine {
    /// The layers of an image as a chain. Where the image was built here, the steps' own snapshots
    /// serve: nothing has to be unpacked.
    pub(crate) fn image_chain(&self, image: &Image) -> Result<Chain, BaseError> {
        let unpacked = chain(image, self.machine)?;
        let Some(record) = self.store.cache_get(&built_key(&unpacked))? else {
            return Ok(unpacked);
        };
        match Chain::from_bytes(&record.extra) {
            Some(built) if built.len() == unpacked.len() && self.is_unpacked(&built)? => {
                let layers = built.layers().into_iter().zip(unpacked.layers());
                let layers = layers.map(|(built, layer)| ChainLayer {
                    snapshot: built.snapshot.clone(),
                    ..layer.clone()
                });
                Ok(layers.collect())
            }
            Some(_) | None => Ok(unpacked),
        }
    }

    /// Notes that the image, just built, has its files in the chain's snapshots.
    pub(crate) fn note_built(&self, image: &Image, built: &Chain) -> Result<(), BaseError> {
        let key = built_key(&chain(image, self.machine)?);
        if let Some(top) = built.top()
            && self.store.cache_get(&key)?.is_none()
        {
            self.store
                .cache_put(&key, Some(&top.snapshot), &built.to_bytes())?;
        }
        Ok(())
    }
}

/// The name of the record that leads from an image's layers to the snapshots they were made from.
fn built_key(chain: &Chain) -> CacheKey {
    let mut hasher = KeyHasher::new("built here");
    for layer in chain.layers() {
        hasher.field("layer", layer.snapshot.as_str().as_bytes());
    }
    CacheKey(hasher.finish())
}

/// The layers of an image as a chain of what its blobs unpack to.
pub(crate) fn chain(image: &Image, machine: Machine) -> Result<Chain, BaseError> {
    let diff_ids = &image.config().diff_ids;
    if diff_ids.len() != image.layers().len() {
        return Err(BaseError::Layers {
            diff_ids: diff_ids.len(),
            layers: image.layers().len(),
        });
    }
    let chain = chain_ids(diff_ids)
        .iter()
        .zip(diff_ids.iter().zip(image.layers()))
        .map(|(chain_id, (diff_id, blob))| ChainLayer {
            snapshot: machine.snapshot_of_chain(chain_id),
            origin: Origin::Image(Box::new(ImageLayer {
                diff_id: diff_id.clone(),
                blob: blob.clone(),
                created: None,
            })),
        })
        .collect();
    Ok(chain)
}
