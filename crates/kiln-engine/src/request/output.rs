//! What becomes of a build's result.

use std::path::PathBuf;

use kiln_base::Timestamp;
use kiln_layer::LayerCompression;
use kiln_oci::{Family, Platform, Reference};

use super::FileTimes;

/// One thing that becomes of a build's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The image in the local store, under its names (`type=image`).
    Store {
        /// How the image is written.
        image: ImageOptions,
        /// Its layers are unpacked at once, so that the next start needs no time (`unpack`).
        unpack: bool,
    },
    /// The image in the registries that its names say (`type=registry`, `type=image,push=true`).
    Push {
        /// How the image is written.
        image: ImageOptions,
        /// Only under its digest: no tag is set (`push-by-digest`).
        by_digest: bool,
        /// These registries may be spoken to without TLS, or with a certificate that can't be
        /// checked (`registry.insecure`).
        insecure: bool,
    },
    /// An archive (`type=oci`, `type=docker` with a destination).
    Archive {
        /// Its layout.
        kind: ArchiveKind,
        /// How the image is written.
        image: ImageOptions,
        /// Where it goes.
        dest: Dest,
    },
    /// An OCI layout as a directory (`type=oci,tar=false`).
    Layout {
        /// How the image is written.
        image: ImageOptions,
        /// The directory, created if it does not exist.
        dest: PathBuf,
    },
    /// The image in a running Docker or Podman.
    Load {
        /// How the image is written.
        image: ImageOptions,
        /// Who gets it.
        target: LoadTarget,
    },
    /// The result's files as a tar stream (`type=tar`).
    Tar {
        /// Where it goes.
        dest: Dest,
        /// A folder for each platform; `None` means where there are several.
        split: Option<bool>,
    },
    /// The result's files in a directory (`type=local`).
    Local {
        /// The directory, created if it does not exist.
        dest: PathBuf,
        /// A folder for each platform; `None` means where there are several.
        split: Option<bool>,
        /// What happens to files that are there already.
        mode: LocalMode,
    },
    /// Nothing but what the cache keeps (`type=cacheonly`).
    CacheOnly,
}

/// How an image is written for one output; `None` means what the request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an attribute of `--output` that stands for itself"
)]
pub struct ImageOptions {
    /// The names; the request's tags where empty (`name`).
    pub names: Vec<Reference>,
    /// Which family of media types (`oci-mediatypes`).
    pub format: Option<Family>,
    /// How layers are compressed (`compression`, `compression-level`).
    pub compression: Option<LayerCompression>,
    /// Layers of the base are compressed anew where they differ (`force-compression`).
    pub force_compression: bool,
    /// What becomes of file times (`rewrite-timestamp`).
    pub file_times: Option<FileTimes>,
    /// The time of the image's documents (`source-date-epoch`).
    pub epoch: Option<Timestamp>,
    /// Annotations beside the request's (`annotation.*`).
    pub annotations: Vec<Annotation>,
    /// Names are kept with their digest (`name-canonical`).
    pub name_canonical: bool,
    /// What an image without a name is called, before `@` and its digest (`dangling-name-prefix`).
    pub dangling_prefix: Option<String>,
    /// Attestations as OCI artifacts with a subject (`oci-artifact`).
    pub attestation_artifact: bool,
    /// Layers that must not be distributed keep their type (`prefer-nondist-layers`).
    pub keep_nondistributable: bool,
}

/// An annotation and what it is put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The document that carries it.
    pub level: AnnotationLevel,
    /// For one platform only.
    pub platform: Option<Platform>,
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// The document that carries an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnnotationLevel {
    /// The manifest.
    Manifest,
    /// The manifest's descriptor in the index.
    ManifestDescriptor,
    /// The index.
    Index,
    /// The index's descriptor in a layout's `index.json`.
    IndexDescriptor,
}

/// What happens to files of the destination that the result does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalMode {
    /// They stay (`mode=copy`).
    Copy,
    /// They are removed (`mode=delete`).
    Delete,
}

/// The layout of an image archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An OCI layout as a tar file.
    Oci,
    /// What `docker save` writes; the same file is an OCI layout, too.
    Docker,
}

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dest {
    /// Standard output.
    Stdout,
    /// A file; it appears under its name only when it is complete.
    File(PathBuf),
}

/// A running container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadTarget {
    /// The Docker or Podman API at this Unix socket.
    Socket(PathBuf),
}
