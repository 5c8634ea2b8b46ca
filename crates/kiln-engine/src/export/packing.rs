//! How an image is written for an output: the request's word where the output has none.

use kiln_base::Timestamp;
use kiln_oci::{Compression, Family, Platform, Reference};

use crate::error::OutputError;
use crate::layers::{LayerFormat, LayerTerms};
use crate::request::{
    Annotation, AnnotationLevel, ArchiveKind, BuildRequest, FileTimes, ImageOptions, Output,
};

/// How an image is written, all decided. Equal packings make equal images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) layers: LayerFormat,
    pub(crate) terms: LayerTerms,
    /// The time of the documents.
    pub(crate) epoch: Option<Timestamp>,
    pub(crate) annotations: Vec<Annotation>,
    /// Attestations that stand beside the image; `None` where there are none.
    pub(crate) attestations: Option<Attested>,
}

/// How attestations are attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attested {
    /// As OCI artifacts with a subject.
    pub(crate) artifact: bool,
    /// The names of the image that they are about.
    pub(crate) names: Vec<Reference>,
}

impl Packing {
    /// How an output wants its image; `None` where it wants none.
    pub(crate) fn of(request: &BuildRequest, output: &Output) -> Option<Self> {
        let options = output.image_options()?;
        let mut annotations = request.annotations.clone();
        annotations.extend(options.annotations.iter().cloned());
        let family = options.format.unwrap_or(match output {
            // What reads these knows Docker's words best, but those have no annotations.
            _ if output.is_for_docker() && annotations.is_empty() => Family::Docker,
            _ if output.is_for_docker() => Family::Oci,
            _ => request.format,
        });
        let epoch = options.epoch.or(request.source_date_epoch);
        let attested = !request.attest.is_empty() && !output.is_for_docker();
        Some(Self {
            layers: LayerFormat {
                compression: options.compression.unwrap_or(request.compression),
                clamp: match options.file_times.unwrap_or(request.file_times) {
                    FileTimes::Clamp => epoch,
                    FileTimes::Keep => None,
                },
                threads: request.jobs,
            },
            terms: LayerTerms {
                family,
                force: options.force_compression,
                keep_nondistributable: options.keep_nondistributable,
            },
            epoch,
            annotations,
            attestations: attested.then(|| Attested {
                artifact: options.attestation_artifact,
                names: names(request, options).to_vec(),
            }),
        })
    }

    /// How the layers of a cache are packed where no image is made.
    pub(crate) fn of_cache(request: &BuildRequest) -> Self {
        Self {
            layers: LayerFormat {
                compression: request.compression,
                clamp: match request.file_times {
                    FileTimes::Clamp => request.source_date_epoch,
                    FileTimes::Keep => None,
                },
                threads: request.jobs,
            },
            terms: LayerTerms {
                family: request.format,
                force: false,
                keep_nondistributable: false,
            },
            epoch: request.source_date_epoch,
            annotations: Vec::new(),
            attestations: None,
        }
    }

    /// Whether the result is an index, also for one platform.
    pub(crate) fn makes_index(&self, request: &BuildRequest) -> bool {
        request.platforms.len() > 1 || self.attestations.is_some()
    }

    /// Refuses what the image's media types, or its number of platforms, can't say.
    pub(crate) fn check(&self, request: &BuildRequest) -> Result<(), OutputError> {
        let for_index = |level| {
            matches!(
                level,
                AnnotationLevel::Index | AnnotationLevel::IndexDescriptor
            )
        };
        for annotation in &self.annotations {
            if let Some(platform) = &annotation.platform
                && !request
                    .platforms
                    .iter()
                    .any(|built| is_same(platform, built))
            {
                return Err(OutputError::AnnotationPlatform {
                    key: annotation.key.clone(),
                    platform: platform.clone(),
                });
            }
            if for_index(annotation.level) && !self.makes_index(request) {
                return Err(OutputError::AnnotationWithoutIndex(annotation.key.clone()));
            }
            if self.terms.family == Family::Docker {
                return Err(OutputError::DockerWords("annotations"));
            }
        }
        if self.terms.family == Family::Docker {
            if self.attestations.is_some() {
                return Err(OutputError::DockerWords("attestations"));
            }
            if self.layers.compression.media() == Compression::Zstd {
                return Err(OutputError::DockerWords("zstd layers"));
            }
        }
        Ok(())
    }

    /// The annotations of a document; `platform` is `None` for the index.
    pub(crate) fn annotations_of(
        &self,
        level: AnnotationLevel,
        platform: Option<&Platform>,
    ) -> impl Iterator<Item = (&str, &str)> {
        let of_platform = move |annotation: &&Annotation| match (&annotation.platform, platform) {
            (Some(wanted), Some(built)) => is_same(wanted, built),
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.annotations
            .iter()
            .filter(move |annotation| annotation.level == level)
            .filter(of_platform)
            .map(|annotation| (annotation.key.as_str(), annotation.value.as_str()))
    }
}

fn is_same(one: &Platform, other: &Platform) -> bool {
    one.normalized() == other.normalized()
}

/// The output's own names, or else the request's.
pub(crate) fn names<'a>(request: &'a BuildRequest, options: &'a ImageOptions) -> &'a [Reference] {
    if options.names.is_empty() {
        &request.tags
    } else {
        &options.names
    }
}

impl Output {
    /// How its image is to be written; `None` where it wants none.
    pub(crate) const fn image_options(&self) -> Option<&ImageOptions> {
        match self {
            Self::Store { image, .. }
            | Self::Push { image, .. }
            | Self::Archive { image, .. }
            | Self::Layout { image, .. }
            | Self::Load { image, .. } => Some(image),
            Self::Tar { .. } | Self::Local { .. } | Self::CacheOnly => None,
        }
    }

    /// Whether what reads it knows one image only, and no index.
    pub(crate) const fn is_for_docker(&self) -> bool {
        matches!(
            self,
            Self::Archive {
                kind: ArchiveKind::Docker,
                ..
            } | Self::Load { .. }
        )
    }
}
