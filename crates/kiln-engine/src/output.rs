//! What becomes of a build's result: store, registry, archive, layout, files, a container engine.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kiln_base::CancelToken;
use kiln_image::{
    BlobSource, MemoryBlobs, NamedImage, convert, write_docker_archive, write_layout,
    write_oci_archive,
};
use kiln_oci::{Family, Platform, Reference};
use kiln_sys::files;

use crate::Engine;
use crate::blobs::{StoreBlobs, Watched, WithDocuments};
use crate::error::OutputError;
use crate::request::{ArchiveKind, Dest, SaveRequest};

/// How much is gathered before a file or pipe is written, in bytes.
const BUFFER: usize = 256 * 1024;

/// An open destination: standard output, or a file that gets its name when it is complete.
struct Opened {
    sink: BufWriter<File>,
    /// The temporary name and the final one.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Dest {
    fn open(&self) -> Result<Opened, OutputError> {
        let (file, rename) = match self {
            Self::Stdout => {
                let stdout = io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(OutputError::Stdout)?;
                (File::from(stdout), None)
            }
            // A pipe or a device keeps its name and is written as it is.
            Self::File(path) if is_special(path) => {
                let file = File::options().write(true).open(path);
                (file.map_err(|cause| self.write_error(cause))?, None)
            }
            Self::File(path) => {
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(format!(".kiln-{}", std::process::id()));
                let temporary = path.with_file_name(name);
                (files::create(&temporary)?, Some((temporary, path.clone())))
            }
        };
        Ok(Opened {
            sink: BufWriter::with_capacity(BUFFER, file),
            rename,
        })
    }

    fn write_error(&self, cause: io::Error) -> OutputError {
        match self {
            Self::Stdout => OutputError::Stdout(cause),
            Self::File(path) => OutputError::Write {
                path: path.clone(),
                cause,
            },
        }
    }

    /// Writes by `work`; a file appears under its name only when that succeeded.
    pub(crate) fn write<E: Into<OutputError>>(
        &self,
        work: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), OutputError> {
        let mut opened = self.open()?;
        let result = work(&mut opened.sink).map_err(Into::into);
        let result =
            result.and_then(|()| opened.sink.flush().map_err(|cause| self.write_error(cause)));
        match (&opened.rename, result) {
            (Some((temporary, path)), Ok(())) => Ok(files::rename(temporary, path)?),
            (Some((temporary, _)), Err(error)) => {
                // The first error is the one to tell; the file may not even exist.
                let _ = files::remove_file(temporary);
                Err(error)
            }
            (None, result) => result,
        }
    }
}

pub(crate) fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

impl Engine {
    /// Writes images of the store as one archive.
    pub(crate) fn write_archive(
        &self,
        kind: ArchiveKind,
        images: &[NamedImage],
        dest: &Dest,
        cancel: &CancelToken,
    ) -> Result<(), OutputError> {
        let source = Watched {
            source: &StoreBlobs(&self.store),
            cancel,
        };
        let written = dest.write(|sink| write_named(kind, &source, images, sink));
        cancel.check()?;
        written
    }

    /// Writes an image into an OCI layout directory.
    pub(crate) fn write_layout(
        &self,
        image: NamedImage,
        dest: &Path,
        cancel: &CancelToken,
    ) -> Result<(), OutputError> {
        let source = Watched {
            source: &StoreBlobs(&self.store),
            cancel,
        };
        let written = write_layout(&source, &[image], dest);
        cancel.check()?;
        Ok(written?)
    }

    /// Writes images of the store as one archive (`kiln save`).
    pub fn save(&self, request: &SaveRequest) -> Result<(), OutputError> {
        let mut images: Vec<NamedImage> = Vec::new();
        let mut documents = MemoryBlobs::new();
        for text in &request.images {
            let found = self.find_image(text)?;
            let names: Vec<Reference> = found.name.into_iter().collect();
            let descriptor = match (&request.platform, request.kind) {
                (None, ArchiveKind::Oci) => found.target,
                (platform, kind) => {
                    let image = match platform {
                        Some(platform) => self.open_image_for(text, platform)?,
                        None => self.open_image(text, &Platform::host())?,
                    };
                    let image = match kind {
                        ArchiveKind::Oci => image,
                        ArchiveKind::Docker => convert(&image, Family::Docker)?,
                    };
                    let media_type = image.descriptor().media_type.clone();
                    documents.insert(media_type, image.manifest_bytes());
                    image.descriptor().clone()
                }
            };
            match images
                .iter_mut()
                .find(|known| known.descriptor.digest == descriptor.digest)
            {
                Some(known) => known.names.extend(names),
                None => images.push(NamedImage { descriptor, names }),
            }
        }
        let source = WithDocuments {
            documents,
            store: StoreBlobs(&self.store),
        };
        request
            .dest
            .write(|sink| write_named(request.kind, &source, &images, sink))
    }
}

pub(crate) fn write_named(
    kind: ArchiveKind,
    source: &dyn BlobSource,
    named: &[NamedImage],
    sink: &mut dyn Write,
) -> Result<(), OutputError> {
    match kind {
        ArchiveKind::Oci => write_oci_archive(source, named, sink)?,
        ArchiveKind::Docker => write_docker_archive(source, named, sink)?,
    }
    Ok(())
}
