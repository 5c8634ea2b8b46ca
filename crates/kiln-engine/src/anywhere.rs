//! Images for looking at, wherever they are: in the store, in a registry, in an OCI layout, in an
//! archive. Their blobs end in the store, where a prune takes them; no name is given to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_base::{CancelToken, Cancelled};
use kiln_image::{Image, ImageError, read_archive};
use kiln_oci::{Descriptor, Digest, Document, DocumentError, Platform, Reference, ReferenceError};
use kiln_registry::RegistryError;
use kiln_store::{BlobError, Download, StoreError};
use kiln_sys::fs::FsError;

use crate::Engine;
use crate::blobs::StoreBlobs;
use crate::error::{BaseError, OutputError};

/// Indexes within indexes that are followed.
const MAX_DEPTH: usize = 4;
/// Attempts at one blob.
const ATTEMPTS: u32 = 5;

/// Where names without a prefix are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// In the store.
    Store,
    /// In the store, and then in their registry.
    StoreThenRegistry,
}

/// Why an image was not found or read.
#[derive(Debug, thiserror::Error)]
pub enum AnywhereError {
    /// The store does not have it, or it is damaged.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An OCI layout does not have it, or can't be read.
    #[error(transparent)]
    Layout(#[from] BaseError),
    /// An archive can't be read.
    #[error("could not read the archive `{}`", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: kiln_image::ArchiveError,
    },
    /// An archive has no image, or several.
    #[error("the archive `{}` has {count} images; one is needed", path.display())]
    Several {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A name that is none.
    #[error("`{name}` is not the name of an image")]
    Name {
        /// As written.
        name: String,
        /// Why.
        #[source]
        cause: ReferenceError,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What a registry gave is no image.
    #[error("`{name}` is no image")]
    Document {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        cause: DocumentError,
    },
    /// An index has nothing for the platform.
    #[error("`{name}` has no image for {platform}")]
    Platform {
        /// Its name.
        name: String,
        /// What was wanted.
        platform: Platform,
    },
    /// A document can't be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob could not be kept.
    #[error("could not keep the blob {digest}")]
    Blob {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        cause: BlobError,
    },
    /// A file could not be opened.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Engine {
    /// The image that `text` names:
    ///
    /// * `docker-image://NAME` or `docker://NAME`: in a registry;
    /// * `oci-layout://DIR[:TAG][@DIGEST]`: in an OCI layout;
    /// * a path that begins with `/`, `./` or `../`: a layout's folder, or an archive;
    /// * anything else: a name, an ID or a digest, looked up as `lookup` says.
    pub fn image_anywhere(
        &self,
        text: &str,
        platform: &Platform,
        lookup: Lookup,
        cancel: &CancelToken,
    ) -> Result<Image, AnywhereError> {
        for prefix in ["docker-image://", "docker://"] {
            if let Some(name) = text.strip_prefix(prefix) {
                return self.remote_image(&parse(name)?, platform, cancel);
            }
        }
        if let Some(rest) = text.strip_prefix("oci-layout://") {
            let (path, tag, digest) = layout_parts(rest);
            let wanted = (tag.as_deref(), digest.as_ref());
            return Ok(self.import_layout(&path, wanted, platform, cancel)?);
        }
        if ["/", "./", "../"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            let path = Path::new(text);
            return if path.is_dir() {
                Ok(self.import_layout(path, (None, None), platform, cancel)?)
            } else {
                self.archived_image(path, platform)
            };
        }
        match self.open_image(text, platform) {
            Err(OutputError::NoSuchImage(_)) if lookup == Lookup::StoreThenRegistry => {
                self.remote_image(&parse(text)?, platform, cancel)
            }
            other => Ok(other?),
        }
    }

    fn archived_image(&self, path: &Path, platform: &Platform) -> Result<Image, AnywhereError> {
        let file = kiln_sys::files::open(path)?;
        let mut blobs = StoreBlobs(&self.store);
        let archive = read_archive(file, &mut blobs).map_err(|cause| AnywhereError::Archive {
            path: path.to_owned(),
            cause,
        })?;
        let [image] = archive.images.as_slice() else {
            return Err(AnywhereError::Several {
                path: path.to_owned(),
                count: archive.images.len(),
            });
        };
        Ok(kiln_image::select(&blobs, &image.descriptor, platform)?)
    }

    fn remote_image(
        &self,
        name: &Reference,
        platform: &Platform,
        cancel: &CancelToken,
    ) -> Result<Image, AnywhereError> {
        let mut found = self.registry.resolve(name, cancel)?;
        for _ in 0..MAX_DEPTH {
            let document = Document::parse(&found.bytes, Some(&found.descriptor.media_type));
            let document = document.map_err(|cause| AnywhereError::Document {
                name: name.familiar(),
                cause,
            })?;
            match document {
                Document::Index(index) => {
                    let Some(chosen) = index.select(platform) else {
                        break;
                    };
                    found = self.registry.manifest(name, &chosen.digest, cancel)?;
                }
                Document::Manifest(manifest) => {
                    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                        self.fetch_blob(name, blob, cancel)?;
                    }
                    let digest = &found.descriptor.digest;
                    let stored = self.store.write_blob(&found.bytes);
                    stored.map_err(blob_error(digest))?;
                    return Ok(Image::load(&StoreBlobs(&self.store), &found.descriptor)?);
                }
            }
        }
        Err(AnywhereError::Platform {
            name: name.familiar(),
            platform: platform.clone(),
        })
    }

    /// Takes a blob of a registry into the store, going on from where an earlier attempt broke off.
    pub(crate) fn fetch_blob(
        &self,
        name: &Reference,
        blob: &Descriptor,
        cancel: &CancelToken,
    ) -> Result<(), AnywhereError> {
        let mut partial = match self.store.partial(&blob.digest, cancel)? {
            Download::Done => return Ok(()),
            Download::Partial(partial) => partial,
        };
        let mut attempt = 1;
        loop {
            let offset = partial.len();
            let pulled = self
                .registry
                .pull_blob(name, blob, offset, &mut partial, cancel);
            match pulled {
                Ok(()) => break,
                Err(error) if attempt < ATTEMPTS && error.is_interrupted() => {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(100 << attempt));
                    attempt += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let committed = partial.commit(Some(blob.size));
        committed.map_err(blob_error(&blob.digest))
    }
}

fn blob_error(digest: &Digest) -> impl Fn(BlobError) -> AnywhereError + '_ {
    |cause| AnywhereError::Blob {
        digest: digest.clone(),
        cause,
    }
}

fn parse(name: &str) -> Result<Reference, AnywhereError> {
    name.parse().map_err(|cause| AnywhereError::Name {
        name: name.to_owned(),
        cause,
    })
}

/// `DIR[:TAG][@DIGEST]`.
fn layout_parts(text: &str) -> (PathBuf, Option<String>, Option<Digest>) {
    let (text, digest) = match text.rsplit_once('@') {
        Some((before, digest)) => match digest.parse() {
            Ok(digest) => (before, Some(digest)),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path.into(), Some(tag.to_owned()), digest),
        _ => (text.into(), None, digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_s_tag_and_digest_are_optional() {
        let digest = Digest::sha256(b"x");
        let check = |text: &str, path: &str, tag: Option<&str>, has_digest: bool| {
            let found = layout_parts(text);
            assert_eq!(found.0, Path::new(path));
            assert_eq!(found.1.as_deref(), tag);
            assert_eq!(found.2.is_some(), has_digest);
        };
        check("a/b", "a/b", None, false);
        check("a:1/b", "a:1/b", None, false);
        check("a/b:1", "a/b", Some("1"), false);
        check(&format!("a/b:1@{digest}"), "a/b", Some("1"), true);
        check(&format!("a/b@{digest}"), "a/b", None, true);
        check("a@b", "a@b", None, false);
    }
}
