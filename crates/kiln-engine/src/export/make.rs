//! Images and indexes: one image for each platform, put together, and its documents stored.

use kiln_attest::{AttestationForm, Statement, Subject, attestation_manifest};
use kiln_cache::Mode;
use kiln_image::Image;
use kiln_oci::{Descriptor, Digest, Index, Platform, Reference};

use crate::assemble::{Documents, Times, assemble};
use crate::chain::Chain;
use crate::error::{BuildError, OutputError};
use crate::layers::ImageLayers;
use crate::plan::{PlannedBuild, PlannedResult};
use crate::remote::Exporter;
use crate::request::{AnnotationLevel, BuildRequest, Output};
use crate::{BuiltImage, BuiltPlatform};

use super::{Attester, Packing};

/// What was made for one packing: an image, or an index of several. Its documents are in the store.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The manifest or the index, with the annotations of its descriptor.
    pub(crate) target: Descriptor,
    /// The image of each platform.
    pub(crate) images: Vec<MadeImage>,
}

/// One platform's image.
#[derive(Debug, Clone)]
pub(crate) struct MadeImage {
    pub(crate) platform: Platform,
    pub(crate) image: Image,
}

impl Made {
    /// The image where there is one only, and nothing beside it.
    pub(crate) fn only(&self) -> Option<&Image> {
        match self.images.as_slice() {
            [only] => Some(&only.image),
            _ => None,
        }
    }

    /// What the image is called where one name has to do: the configuration's digest, for an index
    /// its own.
    pub(crate) fn id(&self) -> &Digest {
        match self.only() {
            Some(image) if self.target.media_type.is_manifest() => image.id(),
            _ => &self.target.digest,
        }
    }
}

impl Made {
    /// What the caller of a build is told.
    pub(crate) fn outcome(&self, request: &BuildRequest) -> BuiltImage {
        let platforms = self.images.iter().map(|made| BuiltPlatform {
            platform: made.platform.clone(),
            manifest: made.image.descriptor().clone(),
            config: made.image.id().clone(),
        });
        BuiltImage {
            manifest: self.target.clone(),
            config: self.id().clone(),
            platforms: platforms.collect(),
            names: request.result_names(),
        }
    }
}

/// What an image is made with.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'m, 'a> {
    pub(crate) exporter: &'m Exporter<'a>,
    pub(crate) build: &'m PlannedBuild<'m>,
    pub(crate) packing: &'m Packing,
    pub(crate) layers: ImageLayers<'m, 'a>,
    pub(crate) attester: Option<&'m Attester<'m, 'a>>,
}

impl Maker<'_, '_> {
    /// Makes what a packing asks for from the chains of the build's results.
    pub(crate) fn make(&self, chains: &[Chain]) -> Result<Made, BuildError> {
        let (request, packing) = (self.build.request, self.packing);
        let mut images = Vec::new();
        for (planned, chain) in self.build.results.iter().zip(chains) {
            self.exporter.cancel.check()?;
            images.push(MadeImage {
                platform: planned.platform.clone(),
                image: self.image(planned, chain)?,
            });
        }
        let described = |made: &MadeImage| {
            let level = AnnotationLevel::ManifestDescriptor;
            let annotations = packing.annotations_of(level, Some(&made.platform));
            annotated(made.image.descriptor(), annotations)
        };
        if let ([only], false) = (images.as_slice(), packing.makes_index(request)) {
            return Ok(Made {
                target: described(only),
                images,
            });
        }
        let mut entries: Vec<Descriptor> = images
            .iter()
            .map(|made| described(made).with_platform(made.platform.clone()))
            .collect();
        for (number, made) in images.iter().enumerate() {
            entries.extend(self.attest(number, made)?);
        }
        let annotations = packing.annotations_of(AnnotationLevel::Index, None);
        let index = Index {
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            ..Index::new(packing.terms.family, entries)
        };
        let bytes = index.to_bytes();
        self.store(&bytes)?;
        let target = Descriptor::of(index.media_type(), &bytes);
        let annotations = packing.annotations_of(AnnotationLevel::IndexDescriptor, None);
        Ok(Made {
            target: annotated(&target, annotations),
            images,
        })
    }

    /// Puts one platform's image together.
    fn image(&self, planned: &PlannedResult, chain: &Chain) -> Result<Image, BuildError> {
        let (engine, request) = (self.exporter.engine, self.build.request);
        let tracer = self.exporter.reporter.phases();
        let ready = tracer.within("wait for layers", || self.layers.ready(chain))?;
        let _span = tracer.span("write documents");
        let annotations = self
            .packing
            .annotations_of(AnnotationLevel::Manifest, Some(&planned.platform));
        let documents = Documents {
            family: self.packing.terms.family,
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            times: Times {
                now: engine.now(),
                epoch: self.packing.epoch,
            },
        };
        let config = planned.config.clone();
        let image = assemble(config, planned.base_history, &ready, documents)?;
        let image = if request.has_inline_cache() {
            let records = self.exporter.records(self.build, Mode::Min, self.layers)?;
            with_inline_cache(&image, records)?
        } else {
            image
        };
        self.store(image.config_bytes())?;
        self.store(image.manifest_bytes())?;
        // Clamped times are in the layers only; a build on top of them has to see those.
        if self.packing.layers.clamp.is_none() {
            engine.note_built(&image, chain)?;
        }
        Ok(image)
    }

    /// Makes the manifest of an image's attestations; `None` where there are none.
    fn attest(&self, number: usize, made: &MadeImage) -> Result<Option<Descriptor>, BuildError> {
        let (Some(attester), Some(wanted)) = (self.attester, &self.packing.attestations) else {
            return Ok(None);
        };
        let subject = made.image.descriptor();
        let subjects = Subject::of_image(&wanted.names, &made.platform, &subject.digest);
        let statements: Vec<Statement> = attester
            .attestations(number, Some(self.layers))?
            .into_iter()
            .map(|said| Statement::new(subjects.clone(), said.predicate))
            .collect();
        let form = if wanted.artifact {
            AttestationForm::Artifact
        } else {
            AttestationForm::Image
        };
        let manifest = attestation_manifest(subject, &statements, form);
        for (_, blob) in &manifest.blobs {
            self.store(blob)?;
        }
        self.store(&manifest.manifest_bytes)?;
        Ok(Some(manifest.descriptor))
    }

    fn store(&self, document: &[u8]) -> Result<(), BuildError> {
        let store = &self.exporter.engine.store;
        if !store.has_blob(&Digest::sha256(document))? {
            store.write_blob(document).map_err(OutputError::from)?;
        }
        Ok(())
    }
}

fn annotated<'a>(
    descriptor: &Descriptor,
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) -> Descriptor {
    annotations.fold(descriptor.clone(), |descriptor, (key, value)| {
        descriptor.with_annotation(key, value)
    })
}

/// The same image with its own steps' keys in the configuration.
fn with_inline_cache(image: &Image, records: Vec<kiln_cache::Record>) -> Result<Image, BuildError> {
    let exported = kiln_cache::Exported {
        records,
        mount_from: Vec::new(),
    };
    let layers: Vec<Digest> = image
        .layers()
        .iter()
        .map(|layer| layer.digest.clone())
        .collect();
    let config = kiln_cache::inline::embed(image.config(), &exported, &layers)?;
    let layers = image.layers().to_vec();
    let annotations = image.manifest().annotations.clone();
    Ok(Image::new(
        image.manifest().family,
        config,
        layers,
        annotations,
    ))
}

impl BuildRequest {
    /// The names that the result has anywhere: the tags, or else those of the outputs.
    fn result_names(&self) -> Vec<Reference> {
        let mut names = self.tags.clone();
        let outputs = self.outputs.iter().filter_map(Output::image_options);
        for name in outputs.flat_map(|options| &options.names) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Whether what each step came to is to be remembered: for a cache, or for provenance.
    pub(crate) fn notes_results(&self) -> bool {
        let provenance = self.attest.provenance.as_ref();
        self.exports_cache()
            || provenance.is_some_and(|wanted| wanted.mode == kiln_attest::ProvenanceMode::Max)
    }

    /// Whether results are to be exported as a cache.
    pub(crate) fn exports_cache(&self) -> bool {
        !self.cache_to.is_empty() || self.has_inline_cache()
    }

    /// Whether the image's configuration is to hold its cache.
    pub(crate) fn has_inline_cache(&self) -> bool {
        let argument = self.build_args.get("BUILDKIT_INLINE_CACHE");
        let is_inline =
            |target: &kiln_cache::CacheTarget| target.target == kiln_cache::Target::Inline;
        argument.is_some_and(|value| matches!(value.as_str(), "1" | "true"))
            || self.cache_to.iter().any(is_inline)
    }
}
