//! The OCI image layout: a directory that holds images.
//!
//! ```text
//! oci-layout              {"imageLayoutVersion":"1.0.0"}
//! index.json              an image index; its descriptors carry the images' names
//! blobs/<algorithm>/<hex> every blob
//! ```
//!
//! Writing adds to a layout that is already there: blobs appear under their final name only when
//! complete and verified, and the index is replaced last, so a reader never sees an image whose
//! blobs are not there.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kiln_oci::{Descriptor, Digest, DocumentError, Family, Index, MAX_DOCUMENT_SIZE, MediaType};
use kiln_sys::files;
use kiln_sys::fs::FsError;
use serde::{Deserialize, Serialize};

use crate::archive::{NamedImage, descriptors_of};
use crate::blob::{BlobSource, Verified};
use crate::image::{ImageError, reachable};

pub(crate) const MARKER_NAME: &str = "oci-layout";
pub(crate) const INDEX_NAME: &str = "index.json";
const VERSION: &str = "1.0.0";

/// An image layout directory, opened for reading.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    index: Index,
}

/// Why a layout could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is no `oci-layout` file.
    #[error("`{0}` is not an image layout directory")]
    NotALayout(PathBuf),
    /// Another version of the layout than 1.
    #[error("`{path}` is an image layout of version `{version}`, which is not supported")]
    Version {
        /// The directory.
        path: PathBuf,
        /// As its marker says.
        version: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FsError),
    /// `index.json` is not an index.
    #[error("the index of the layout `{path}` can't be used")]
    Index {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: DocumentError,
    },
    /// An image to be written is not complete.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob to be written is not there, or not what its descriptor says.
    #[error("could not copy blob `{digest}`")]
    Copy {
        /// Which blob.
        digest: Digest,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

/// The content of the `oci-layout` file.
pub(crate) fn marker() -> Vec<u8> {
    format!(r#"{{"imageLayoutVersion":"{VERSION}"}}"#).into_bytes()
}

/// The version that the content of an `oci-layout` file names.
pub(crate) fn marker_version(bytes: &[u8]) -> Option<String> {
    let marker: Marker = serde_json::from_slice(bytes).ok()?;
    Some(marker.image_layout_version)
}

/// Whether a layout of this version is one that kiln reads.
pub(crate) fn is_supported(version: &str) -> bool {
    version.split('.').next() == Some("1")
}

/// Where a blob is, relative to the layout's root.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl Layout {
    /// Opens a layout directory.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        let marker = match files::read_limited(root.join(MARKER_NAME), MAX_DOCUMENT_SIZE as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => {
                return Err(LayoutError::NotALayout(root.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let version =
            marker_version(&marker).ok_or_else(|| LayoutError::NotALayout(root.to_owned()))?;
        if !is_supported(&version) {
            return Err(LayoutError::Version {
                path: root.to_owned(),
                version,
            });
        }
        let bytes = files::read_limited(root.join(INDEX_NAME), MAX_DOCUMENT_SIZE as u64)?;
        let index = Index::from_bytes(&bytes).map_err(|cause| LayoutError::Index {
            path: root.to_owned(),
            cause,
        })?;
        Ok(Self {
            root: root.to_owned(),
            index,
        })
    }

    /// The layout's index: one entry for each name of each image.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The first image that is called `name`, or has the tag or reference `name`.
    pub fn find(&self, name: &str) -> Option<&Descriptor> {
        let is_named = |key: &str, entry: &Descriptor| {
            entry
                .annotations
                .get(key)
                .is_some_and(|value| value == name)
        };
        self.index.manifests.iter().find(|entry| {
            is_named(Descriptor::REF_NAME, entry)
                || is_named(crate::archive::CONTAINERD_NAME, entry)
        })
    }
}

impl BlobSource for Layout {
    fn open(&self, digest: &Digest) -> io::Result<Option<Box<dyn Read + Send>>> {
        match files::open(self.root.join(blob_path(digest))) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes images, with all their blobs, into the layout directory `root`, which is made where it
/// does not exist. An image that has a name some image of the layout had takes that name over.
pub fn write_layout(
    source: &dyn BlobSource,
    images: &[NamedImage],
    root: &Path,
) -> Result<(), LayoutError> {
    let existing = match Layout::open(root) {
        Ok(layout) => layout.index,
        Err(LayoutError::NotALayout(_)) => Index::new(Family::Oci, Vec::new()),
        Err(error) => return Err(error),
    };
    for image in images {
        for blob in reachable(source, &image.descriptor)? {
            write_blob(source, &blob, root)?;
        }
    }
    if !files::exists(root.join(MARKER_NAME)) {
        replace(root, MARKER_NAME, &marker())?;
    }
    let index = merge(existing, descriptors_of(images));
    replace(root, INDEX_NAME, &index.to_bytes())
}

fn replace(root: &Path, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
    let temporary = root.join(format!(".{name}.{}", std::process::id()));
    Ok(files::replace(root.join(name), temporary, bytes)?)
}

/// Adds entries to an index; an entry of the same name, or an equal one, gives way.
fn merge(index: Index, added: Vec<Descriptor>) -> Index {
    let name = |entry: &Descriptor| {
        let full = entry.annotations.get(crate::archive::CONTAINERD_NAME);
        full.or_else(|| entry.annotations.get(Descriptor::REF_NAME))
            .cloned()
    };
    let names: BTreeSet<String> = added.iter().filter_map(name).collect();
    let is_kept = |entry: &Descriptor| {
        !added.contains(entry) && name(entry).is_none_or(|name| !names.contains(&name))
    };
    let mut manifests: Vec<Descriptor> = index.manifests.into_iter().filter(is_kept).collect();
    manifests.extend(added);
    Index { manifests, ..index }
}

fn write_blob(source: &dyn BlobSource, blob: &Descriptor, root: &Path) -> Result<(), LayoutError> {
    let path = root.join(blob_path(&blob.digest));
    if files::exists(&path) {
        return Ok(());
    }
    let copy = |cause| LayoutError::Copy {
        digest: blob.digest.clone(),
        cause,
    };
    let Some(content) = source.open(&blob.digest).map_err(copy)? else {
        if is_fetched_elsewhere(blob) {
            return Ok(());
        }
        return Err(copy(io::ErrorKind::NotFound.into()));
    };
    if let Some(directory) = path.parent() {
        files::create_dir_all(directory, 0o755)?;
    }
    let temporary = root.join(format!(
        "blobs/.{}.{}",
        blob.digest.hex(),
        std::process::id()
    ));
    files::remove_file(&temporary)?;
    let copied = files::create_new(&temporary, 0o644).map_err(LayoutError::from);
    let copied = copied.and_then(|mut file| {
        io::copy(&mut Verified::new(content, blob), &mut file).map_err(copy)?;
        Ok(files::rename(&temporary, &path)?)
    });
    if copied.is_err() {
        files::remove_file(&temporary)?;
    }
    copied
}

/// Whether images may lack this blob: foreign layers stay at their URLs.
pub(crate) fn is_fetched_elsewhere(blob: &Descriptor) -> bool {
    matches!(&blob.media_type, MediaType::Layer(layer) if !layer.distributable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::sample;

    #[test]
    fn a_layout_is_read_back_and_added_to() {
        let directory = tempfile::tempdir().expect("a directory");
        let (first, blobs) = sample(Family::Oci, &["a"]);
        let named = |image: &crate::Image, name: &str| NamedImage {
            descriptor: image.descriptor().clone(),
            names: vec![name.parse().expect("a name")],
        };
        let root = directory.path().join("layout");
        write_layout(&blobs, &[named(&first, "x:1"), named(&first, "x:2")], &root)
            .expect("written");
        let (second, blobs) = sample(Family::Docker, &["a", "b"]);
        write_layout(&blobs, &[named(&second, "x:1")], &root).expect("written");

        let layout = Layout::open(&root).expect("a layout");
        assert_eq!(layout.index().manifests.len(), 2);
        let found = layout.find("docker.io/library/x:1").expect("the image");
        let image = crate::Image::load(&layout, found).expect("an image");
        assert_eq!(image.id(), second.id());
        assert!(layout.find("2").is_some());
        let leftovers: Vec<PathBuf> = files::names(root.join("blobs")).expect("names");
        assert_eq!(leftovers, [PathBuf::from("sha256")]);
    }

    #[test]
    fn a_damaged_blob_is_not_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let (image, mut blobs) = sample(Family::Oci, &["a"]);
        let layer = &image.layers()[0];
        blobs.corrupt(&layer.digest, b"b");
        let named = NamedImage {
            descriptor: image.descriptor().clone(),
            names: Vec::new(),
        };
        let error = write_layout(&blobs, &[named], directory.path()).expect_err("damaged");
        assert_eq!(
            error.to_string(),
            format!("could not copy blob `{}`", layer.digest)
        );
        let path = directory.path().join(blob_path(&layer.digest));
        assert!(!files::exists(path));
        assert!(matches!(
            Layout::open(directory.path()),
            Err(LayoutError::NotALayout(_))
        ));
    }
}
