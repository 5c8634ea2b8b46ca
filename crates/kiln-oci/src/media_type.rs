//! Media types of the two families, OCI's and Docker schema 2's.

use std::fmt;

/// Which vocabulary a document is written in. The two are never mixed in one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `application/vnd.oci.image.…`
    Oci,
    /// `application/vnd.docker.…`, schema 2.
    Docker,
}

/// How a layer's tar stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Plain tar.
    None,
    /// One or more gzip members.
    Gzip,
    /// One or more Zstandard frames.
    Zstd,
}

/// What the media type of a layer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerType {
    /// The vocabulary.
    pub family: Family,
    /// The compression.
    pub compression: Compression,
    /// Foreign and non-distributable layers are fetched from their `urls`, not from the registry.
    pub distributable: bool,
}

/// A media type that can stand in a descriptor. Parsing and printing are inverse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// An image manifest.
    Manifest(Family),
    /// An image index, or Docker's manifest list.
    Index(Family),
    /// An image configuration.
    Config(Family),
    /// A layer.
    Layer(LayerType),
    /// OCI's empty JSON object, the configuration of artifacts.
    Empty,
    /// Anything else, kept as it is.
    Other(Box<str>),
}

const fn layer(family: Family, compression: Compression, distributable: bool) -> MediaType {
    MediaType::Layer(LayerType {
        family,
        compression,
        distributable,
    })
}

use Compression::{Gzip, None as Plain, Zstd};
use Family::{Docker, Oci};

/// The one list of names; both directions read it.
const NAMES: &[(MediaType, &str)] = &[
    (
        MediaType::Manifest(Oci),
        "application/vnd.oci.image.manifest.v1+json",
    ),
    (
        MediaType::Index(Oci),
        "application/vnd.oci.image.index.v1+json",
    ),
    (
        MediaType::Config(Oci),
        "application/vnd.oci.image.config.v1+json",
    ),
    (
        layer(Oci, Gzip, true),
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        layer(Oci, Zstd, true),
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        layer(Oci, Plain, true),
        "application/vnd.oci.image.layer.v1.tar",
    ),
    (
        layer(Oci, Gzip, false),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    (
        layer(Oci, Zstd, false),
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ),
    (
        layer(Oci, Plain, false),
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (MediaType::Empty, "application/vnd.oci.empty.v1+json"),
    (
        MediaType::Manifest(Docker),
        "application/vnd.docker.distribution.manifest.v2+json",
    ),
    (
        MediaType::Index(Docker),
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    (
        MediaType::Config(Docker),
        "application/vnd.docker.container.image.v1+json",
    ),
    (
        layer(Docker, Gzip, true),
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
    // Read, never written: containerd made these, Docker's own specification has no zstd.
    (
        layer(Docker, Zstd, true),
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ),
    (
        layer(Docker, Plain, true),
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
    (
        layer(Docker, Gzip, false),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    (
        layer(Docker, Zstd, false),
        "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd",
    ),
    (
        layer(Docker, Plain, false),
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
];

impl MediaType {
    /// Every media type that a manifest endpoint may be asked for, preferred ones first.
    pub const MANIFESTS: [Self; 4] = [
        Self::Index(Oci),
        Self::Manifest(Oci),
        Self::Index(Docker),
        Self::Manifest(Docker),
    ];

    /// A layer that registries carry.
    pub const fn layer(family: Family, compression: Compression) -> Self {
        layer(family, compression, true)
    }

    /// Reads a media type; parameters such as `; charset=utf-8` are dropped.
    pub fn parse(text: &str) -> Self {
        let text = text.split(';').next().unwrap_or(text).trim();
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map_or_else(
            || Self::Other(text.into()),
            |(media_type, _)| media_type.clone(),
        )
    }

    /// The media type as written in documents and headers.
    pub fn as_str(&self) -> &str {
        if let Self::Other(text) = self {
            return text;
        }
        let known = NAMES.iter().find(|(media_type, _)| media_type == self);
        known.map_or("", |(_, name)| name)
    }

    /// The vocabulary, where the type belongs to one.
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Manifest(family) | Self::Index(family) | Self::Config(family) => Some(*family),
            Self::Layer(layer) => Some(layer.family),
            Self::Empty => Some(Family::Oci),
            Self::Other(_) => None,
        }
    }

    /// Whether this is a manifest of one image.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::Manifest(_))
    }

    /// Whether this is an index of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index(_))
    }

    /// Whether this is an image layer.
    pub fn is_layer(&self) -> bool {
        matches!(self, Self::Layer(_))
    }

    /// How the layer is compressed; `None` where this is not a layer.
    pub fn compression(&self) -> Option<Compression> {
        match self {
            Self::Layer(layer) => Some(layer.compression),
            _ => None,
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_prints() {
        for (media_type, name) in NAMES {
            assert_eq!(MediaType::parse(name), *media_type);
            assert_eq!(media_type.as_str(), *name);
        }
    }

    #[test]
    fn every_layer_type_has_a_name() {
        for family in [Oci, Docker] {
            for compression in [Plain, Gzip, Zstd] {
                for distributable in [true, false] {
                    assert!(
                        !layer(family, compression, distributable)
                            .as_str()
                            .is_empty()
                    );
                }
            }
        }
    }

    #[test]
    fn unknown_types_are_kept_and_parameters_dropped() {
        assert_eq!(MediaType::parse("text/x").as_str(), "text/x");
        assert_eq!(
            MediaType::parse("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            MediaType::Index(Oci)
        );
    }
}
