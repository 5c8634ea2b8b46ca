//! Writing archives: sorted by name, with zero times and owners, so that equal images give equal
//! archives.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use kiln_oci::{Compression, Descriptor, Digest, Family, Index};

use super::{
    DockerEntry, MANIFEST_NAME, NamedImage, REPOSITORIES_NAME, Repositories, descriptors_of,
};
use crate::blob::{BlobSource, Verified};
use crate::image::{Image, ImageError, reachable};
use crate::layout::{self, INDEX_NAME, MARKER_NAME, blob_path};

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// An image is not complete in the source.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A blob is missing or damaged, or the archive can't be written to.
    #[error("could not copy blob `{digest}` into the archive")]
    Copy {
        /// Which blob.
        digest: Digest,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The archive can't be written to.
    #[error("could not write the archive")]
    Write(#[source] io::Error),
    /// `docker load` does not read zstd.
    #[error("layer `{0}` is compressed with zstd, which `docker load` does not read")]
    Zstd(Digest),
}

/// Writes images and indexes, with everything they name, as a tar of an image layout.
pub fn write_oci_archive(
    source: &dyn BlobSource,
    images: &[NamedImage],
    sink: &mut dyn Write,
) -> Result<(), WriteError> {
    let mut contents = Contents::default();
    for image in images {
        contents.add_all(reachable(source, &image.descriptor)?);
    }
    contents.add_layout(images);
    contents.write(source, sink)
}

/// Writes images as an archive that `docker load` and `podman load` read.
///
/// Each descriptor has to be of one image: `docker load` knows no indexes. Its manifest is kept in
/// whichever family it is; a caller who wants Docker's media types converts before.
pub fn write_docker_archive(
    source: &dyn BlobSource,
    images: &[NamedImage],
    sink: &mut dyn Write,
) -> Result<(), WriteError> {
    let mut contents = Contents::default();
    let mut entries: Vec<DockerEntry> = Vec::new();
    let mut repositories = Repositories::new();
    for named in images {
        let image = Image::load(source, &named.descriptor)?;
        refuse_zstd(&image)?;
        contents.add_all(reachable(source, &named.descriptor)?);
        entries.push(docker_entry(&image, named));
        if let Some(top) = image.layers().last() {
            for name in &named.names {
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.extend(
                    name.tag()
                        .map(|tag| (tag.to_owned(), top.digest.hex().to_owned())),
                );
            }
        }
    }
    contents.add_layout(images);
    contents.add_json(MANIFEST_NAME, &entries)?;
    contents.add_json(REPOSITORIES_NAME, &repositories)?;
    contents.write(source, sink)
}

fn refuse_zstd(image: &Image) -> Result<(), WriteError> {
    let is_zstd = |layer: &&Descriptor| layer.media_type.compression() == Some(Compression::Zstd);
    match image.layers().iter().find(is_zstd) {
        Some(layer) => Err(WriteError::Zstd(layer.digest.clone())),
        None => Ok(()),
    }
}

fn docker_entry(image: &Image, named: &NamedImage) -> DockerEntry {
    let tagged = named.names.iter().filter(|name| name.tag().is_some());
    let repo_tags: Vec<String> = tagged
        .map(|name| {
            format!(
                "{}:{}",
                name.familiar_name(),
                name.tag().unwrap_or_default()
            )
        })
        .collect();
    let layers = image.layers().iter();
    DockerEntry {
        config: blob_path(image.id()),
        repo_tags: (!repo_tags.is_empty()).then_some(repo_tags),
        layers: Some(layers.map(|layer| blob_path(&layer.digest)).collect()),
    }
}

/// What an archive will hold, by path.
#[derive(Default)]
struct Contents(BTreeMap<String, Content>);

enum Content {
    Directory,
    Blob(Box<Descriptor>),
    Document(Vec<u8>),
}

impl Contents {
    fn add_all(&mut self, blobs: Vec<Descriptor>) {
        for blob in blobs {
            self.0
                .entry("blobs/".to_owned())
                .or_insert(Content::Directory);
            let directory = format!("blobs/{}/", blob.digest.algorithm().name());
            self.0.entry(directory).or_insert(Content::Directory);
            self.0
                .insert(blob_path(&blob.digest), Content::Blob(Box::new(blob)));
        }
    }

    fn add_layout(&mut self, images: &[NamedImage]) {
        let index = Index::new(Family::Oci, descriptors_of(images));
        self.add(MARKER_NAME, layout::marker());
        self.add(INDEX_NAME, index.to_bytes());
    }

    fn add_json(&mut self, name: &str, value: &impl serde::Serialize) -> Result<(), WriteError> {
        let bytes = serde_json::to_vec(value).map_err(|error| WriteError::Write(error.into()))?;
        self.add(name, bytes);
        Ok(())
    }

    fn add(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.insert(name.to_owned(), Content::Document(bytes));
    }

    fn write(self, source: &dyn BlobSource, sink: &mut dyn Write) -> Result<(), WriteError> {
        let mut builder = tar::Builder::new(sink);
        for (path, content) in self.0 {
            match content {
                Content::Directory => {
                    let mut header = header(tar::EntryType::Directory, 0o755, 0);
                    builder
                        .append_data(&mut header, &path, io::empty())
                        .map_err(WriteError::Write)?;
                }
                Content::Document(bytes) => {
                    let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
                    builder
                        .append_data(&mut header, &path, bytes.as_slice())
                        .map_err(WriteError::Write)?;
                }
                Content::Blob(blob) => write_blob(&mut builder, source, &path, &blob)?,
            }
        }
        let sink = builder.into_inner().map_err(WriteError::Write)?;
        sink.flush().map_err(WriteError::Write)
    }
}

fn write_blob(
    builder: &mut tar::Builder<&mut dyn Write>,
    source: &dyn BlobSource,
    path: &str,
    blob: &Descriptor,
) -> Result<(), WriteError> {
    let copy = |cause| WriteError::Copy {
        digest: blob.digest.clone(),
        cause,
    };
    let Some(content) = source.open(&blob.digest).map_err(copy)? else {
        if layout::is_fetched_elsewhere(blob) {
            return Ok(());
        }
        return Err(copy(io::ErrorKind::NotFound.into()));
    };
    let mut header = header(tar::EntryType::Regular, 0o644, blob.size);
    let content: &mut dyn Read = &mut Verified::new(content, blob);
    builder
        .append_data(&mut header, path, content)
        .map_err(copy)
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
