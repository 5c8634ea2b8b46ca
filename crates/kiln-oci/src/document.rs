//! Manifests and indexes, and the checks on documents that come from elsewhere.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{IndexWire, ManifestWire, Probe};
use crate::{Descriptor, Family, MediaType, Platform};

/// The largest manifest, index or configuration that is read, in bytes: what registries have to
/// accept, and what a hostile one can make kiln hold in memory.
pub const MAX_DOCUMENT_SIZE: usize = 4 * 1024 * 1024;

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The vocabulary it is written in.
    pub family: Family,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// The type of an artifact that is not an image.
    pub artifact_type: Option<String>,
    /// The manifest that this one describes.
    pub subject: Option<Descriptor>,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The vocabulary it is written in.
    pub family: Family,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// The type of an artifact that is not an image.
    pub artifact_type: Option<String>,
    /// The manifest that this one describes.
    pub subject: Option<Descriptor>,
    /// Annotations, by key.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest endpoint, or an entry of an index, can be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a document is taken apart right after it was read"
)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for each of several platforms.
    Index(Index),
}

/// Why bytes are not the document they should be.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT_SIZE`].
    #[error("the document has {0} bytes, more than the allowed {MAX_DOCUMENT_SIZE}")]
    TooLarge(usize),
    /// Not JSON, or a field has the wrong form.
    #[error("the document is not well-formed")]
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An old schema, most often Docker's schema 1.
    #[error("schema version {0} is not supported")]
    Schema(u64),
    /// Both an index and a manifest, which two readers could read differently.
    #[error("the document has the fields of both a manifest and an index")]
    Ambiguous,
    /// Neither an index nor a manifest.
    #[error("`{0}` is neither a manifest nor an index")]
    NotAManifest(MediaType),
    /// The document says another type than the descriptor or header that led to it.
    #[error("the document says it is `{said}`, but was announced as `{announced}`")]
    MediaType {
        /// In the document.
        said: MediaType,
        /// In the header or descriptor.
        announced: MediaType,
    },
}

impl DocumentError {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Json(error.into())
    }
}

impl Manifest {
    /// The manifest of an image with no annotations.
    pub fn new(family: Family, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            family,
            config,
            layers,
            artifact_type: None,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(bytes, None)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(index) => Err(DocumentError::MediaType {
                said: index.media_type(),
                announced: MediaType::Manifest(index.family),
            }),
        }
    }

    /// The manifest as JSON: equal manifests give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&ManifestWire::from(self))
    }

    /// The manifest's own media type.
    pub fn media_type(&self) -> MediaType {
        MediaType::Manifest(self.family)
    }
}

impl Index {
    /// An index with no annotations.
    pub fn new(family: Family, manifests: Vec<Descriptor>) -> Self {
        Self {
            family,
            manifests,
            artifact_type: None,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads an index.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(bytes, None)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(manifest) => Err(DocumentError::MediaType {
                said: manifest.media_type(),
                announced: MediaType::Index(manifest.family),
            }),
        }
    }

    /// The index as JSON: equal indexes give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&IndexWire::from(self))
    }

    /// The index's own media type.
    pub fn media_type(&self) -> MediaType {
        MediaType::Index(self.family)
    }

    /// The manifest (or nested index) that runs best on `platform`; the first of equals.
    ///
    /// An entry that names no platform is taken only where no other fits: what it runs on is in
    /// its configuration.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
            .filter(|entry| entry.media_type.is_manifest() || entry.media_type.is_index())
            .filter_map(|entry| {
                let rank = match &entry.platform {
                    Some(candidate) => platform.preference(candidate)?,
                    None => usize::MAX,
                };
                Some((rank, entry))
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
    }
}

impl Document {
    /// Reads a manifest or an index, whichever it is.
    ///
    /// `announced` is the media type of the header or descriptor that led here. A type that the
    /// document and the announcement disagree on is refused, as is a document that could be read
    /// as either.
    pub fn parse(bytes: &[u8], announced: Option<&MediaType>) -> Result<Self, DocumentError> {
        check_size(bytes)?;
        let probe: Probe = read(bytes)?;
        if probe.schema_version != 2 {
            return Err(DocumentError::Schema(probe.schema_version));
        }
        let is_known = |media_type: &MediaType| media_type.is_manifest() || media_type.is_index();
        let said = probe.media_type.as_deref().map(MediaType::parse);
        let announced = announced.filter(|media_type| is_known(media_type)).cloned();
        let media_type = match (said, announced) {
            (Some(said), Some(announced)) if said != announced => {
                return Err(DocumentError::MediaType { said, announced });
            }
            (Some(media_type), _) | (None, Some(media_type)) => media_type,
            (None, None) if probe.manifests.is_some() => MediaType::Index(Family::Oci),
            (None, None) => MediaType::Manifest(Family::Oci),
        };
        let has_index = probe.manifests.is_some();
        let has_manifest = probe.config.is_some() || probe.layers.is_some();
        match media_type {
            MediaType::Manifest(_) | MediaType::Index(_) if has_index && has_manifest => {
                Err(DocumentError::Ambiguous)
            }
            MediaType::Manifest(family) => Ok(Self::Manifest(
                read::<ManifestWire>(bytes)?.into_manifest(family),
            )),
            MediaType::Index(family) => {
                Ok(Self::Index(read::<IndexWire>(bytes)?.into_index(family)))
            }
            other => Err(DocumentError::NotAManifest(other)),
        }
    }

    /// The document's own media type.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type(),
        }
    }
}

pub(crate) fn check_size(bytes: &[u8]) -> Result<(), DocumentError> {
    if bytes.len() > MAX_DOCUMENT_SIZE {
        Err(DocumentError::TooLarge(bytes.len()))
    } else {
        Ok(())
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(bytes).map_err(DocumentError::json)
}

pub(crate) fn print(wire: &impl Serialize) -> Vec<u8> {
    // The wire types are structs, lists and maps with string keys: none of them can fail to print.
    serde_json::to_vec(wire).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::{Compression, Digest};

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(announced: Option<&str>, text: &str, expected: &Expect) {
        let text = text.replace("EMPTY", EMPTY);
        let announced = announced.map(MediaType::parse);
        let shown = match Document::parse(text.as_bytes(), announced.as_ref()) {
            Ok(Document::Manifest(manifest)) => String::from_utf8(manifest.to_bytes()),
            Ok(Document::Index(index)) => String::from_utf8(index.to_bytes()),
            Err(error) => Ok(format!("error: {error}")),
        };
        expected.assert_eq(&shown.expect("UTF-8").replace(EMPTY, "EMPTY"));
    }

    #[test]
    fn reads_a_manifest_without_media_type() {
        check(
            None,
            r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",
                "digest":"EMPTY","size":0},"layers":null}"#,
            &expect![[
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"EMPTY","size":0},"layers":[]}"#
            ]],
        );
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        check(
            None,
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            &expect!["error: the document has the fields of both a manifest and an index"],
        );
        check(
            Some("application/vnd.oci.image.manifest.v1+json"),
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
            &expect![
                "error: the document says it is `application/vnd.oci.image.index.v1+json`, but was announced as `application/vnd.oci.image.manifest.v1+json`"
            ],
        );
    }

    #[test]
    fn refuses_other_documents() {
        check(
            None,
            r#"{"schemaVersion":1}"#,
            &expect!["error: schema version 1 is not supported"],
        );
        check(
            None,
            "[]",
            &expect!["error: the document is not well-formed"],
        );
        check(
            None,
            r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"EMPTY","size":-1},"layers":[]}"#,
            &expect!["error: the document is not well-formed"],
        );
        check(
            None,
            r#"{"schemaVersion":2,"mediaType":"text/plain"}"#,
            &expect!["error: `text/plain` is neither a manifest nor an index"],
        );
        let large = vec![b' '; MAX_DOCUMENT_SIZE + 1];
        assert!(matches!(
            Document::parse(&large, None),
            Err(DocumentError::TooLarge(_))
        ));
    }

    #[test]
    fn an_index_keeps_the_words_of_its_platforms() {
        check(
            Some("application/json"),
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json",
                "manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
                "digest":"EMPTY","size":1,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}]}"#,
            &expect![[
                r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","digest":"EMPTY","size":1,"platform":{"architecture":"arm64","os":"linux","variant":"v8"}}]}"#
            ]],
        );
    }

    #[test]
    fn selects_the_best_platform_and_never_an_attestation() {
        let entry = |name: &str| Descriptor::of(MediaType::Manifest(Family::Oci), name.as_bytes());
        let on = |name: &str, platform: &str| {
            entry(name).with_platform(platform.parse().expect("a platform"))
        };
        let index = Index::new(
            Family::Oci,
            vec![
                entry("attestation")
                    .with_annotation("vnd.docker.reference.type", "attestation-manifest"),
                entry("anything"),
                on("386", "linux/386"),
                on("v2", "linux/amd64/v2"),
                on("amd64", "linux/amd64"),
                on("again", "linux/amd64"),
            ],
        );
        let selected = |platform: &str| {
            let platform = platform.parse().expect("a platform");
            index.select(&platform).map(|entry| entry.digest.clone())
        };
        assert_eq!(selected("linux/amd64"), Some(Digest::sha256(b"amd64")));
        assert_eq!(selected("linux/amd64/v3"), Some(Digest::sha256(b"v2")));
        assert_eq!(selected("linux/riscv64"), Some(Digest::sha256(b"anything")));
    }

    #[test]
    fn manifests_print_and_parse() {
        let layer = MediaType::layer(Family::Docker, Compression::Gzip);
        let manifest = Manifest::new(
            Family::Docker,
            Descriptor::of(MediaType::Config(Family::Docker), b"{}"),
            vec![Descriptor::of(layer, b"layer")],
        );
        assert_eq!(
            Manifest::from_bytes(&manifest.to_bytes()).ok(),
            Some(manifest)
        );
    }
}
