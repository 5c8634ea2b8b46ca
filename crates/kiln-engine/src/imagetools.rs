//! Indexes in registries, made of images that are there: what `docker buildx imagetools` does.
//!
//! Blobs are copied from repository to repository by the registry itself where it can, and through
//! the store where it can't.

use std::collections::BTreeMap;
use std::io::Read;

use kiln_base::CancelToken;
use kiln_oci::{
    Descriptor, Digest, Document, Family, ImageConfig, Index, Manifest, MediaType, Platform,
    Reference,
};
use kiln_registry::Resolved;

use crate::Engine;
use crate::anywhere::AnywhereError;
use crate::request::{Annotation, AnnotationLevel};

/// The prefix of a name that is looked up in the store.
const STORE: &str = "store://";
/// Indexes within indexes that are copied.
const MAX_DEPTH: usize = 4;

/// An index that is to be made.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// Its names. They may be in several repositories.
    pub tags: Vec<Reference>,
    /// What it is made of: references, `store://` and a name of the store, digests, or descriptors
    /// as JSON.
    pub sources: Vec<String>,
    /// For the index and its entries.
    pub annotations: Vec<Annotation>,
    /// A single image becomes an index with one entry, and not a copy.
    pub prefer_index: bool,
    /// Only what runs on these; empty for all.
    pub platforms: Vec<Platform>,
}

/// What was made, or would be.
#[derive(Debug, Clone)]
pub struct Created {
    /// What names it.
    pub descriptor: Descriptor,
    /// The index, or the manifest of a copy.
    pub bytes: Vec<u8>,
    copies: Vec<(Place, Descriptor)>,
}

/// What a name leads to.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What names it.
    pub descriptor: Descriptor,
    /// The manifest or index.
    pub bytes: Vec<u8>,
    /// It, parsed.
    pub document: Document,
    /// The configurations of its images, as they are stored; attestations have none.
    pub configs: Vec<(Option<Platform>, Vec<u8>)>,
}

/// Why it was not made.
#[derive(Debug, thiserror::Error)]
pub enum ImagetoolsError {
    /// A source was not found or read.
    #[error("could not use `{name}`")]
    Source {
        /// As written.
        name: String,
        /// Why.
        #[source]
        cause: Box<AnywhereError>,
    },
    /// A digest alone, and repositories to look into are none or several.
    #[error("in which repository is `{0}`? all names have to be in one, or to say it")]
    Repository(String),
    /// A descriptor that is none.
    #[error("`{0}` is not a descriptor")]
    Descriptor(String),
    /// An annotation of what is not made here.
    #[error("the annotation `{key}` is for a {level}, which imagetools does not make")]
    Annotation {
        /// Its name.
        key: String,
        /// What it is for.
        level: &'static str,
    },
    /// Docker's index has no annotations.
    #[error("the images are of Docker's media types, and a manifest list has no annotations")]
    DockerList,
    /// Nothing is left.
    #[error("no image is for {0}")]
    Platform(String),
    /// A copy failed.
    #[error("could not copy {digest} to `{name}`")]
    Copy {
        /// What.
        digest: Digest,
        /// Where to.
        name: String,
        /// Why.
        #[source]
        cause: Box<AnywhereError>,
    },
}

/// Where a document and what it names are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Registry(Reference),
    Store,
}

struct Source {
    place: Place,
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

impl Engine {
    /// What a name leads to in its registry, or with `store://` in the store.
    pub fn imagetools_inspect(
        &self,
        name: &str,
        cancel: &CancelToken,
    ) -> Result<Inspected, ImagetoolsError> {
        let failed = |cause: AnywhereError| ImagetoolsError::Source {
            name: name.to_owned(),
            cause: Box::new(cause),
        };
        let source = self.source(name, None, cancel)?;
        let document = parse(&source, name)?;
        let manifests: Vec<Descriptor> = match &document {
            Document::Manifest(_) => vec![source.descriptor.clone()],
            Document::Index(index) => index.manifests.clone(),
        };
        let mut configs = Vec::new();
        for entry in manifests.iter().filter(|entry| !entry.is_attestation()) {
            let bytes = self
                .document(&source.place, entry, cancel)
                .map_err(failed)?;
            let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, None) else {
                continue;
            };
            if matches!(manifest.config.media_type, MediaType::Config(_)) {
                let config = self
                    .blob(&source.place, &manifest.config, cancel)
                    .map_err(failed)?;
                let platform = entry.platform.clone();
                let platform =
                    platform.or_else(|| Some(ImageConfig::from_bytes(&config).ok()?.platform));
                configs.push((platform, config));
            }
        }
        Ok(Inspected {
            descriptor: source.descriptor,
            bytes: source.bytes,
            document,
            configs,
        })
    }

    /// Puts an index together, and writes nothing.
    pub fn imagetools_combine(
        &self,
        request: &CreateRequest,
        cancel: &CancelToken,
    ) -> Result<Created, ImagetoolsError> {
        let repository = default_repository(request);
        let mut sources = Vec::new();
        for text in &request.sources {
            let source = self.source(text, repository.as_ref(), cancel)?;
            sources.push(self.with_platform(source, text, cancel)?);
        }
        let created = combine(sources, request)?;
        filter(created, &request.platforms)
    }

    /// Copies what an index names to where its names are, and gives it these names.
    pub fn imagetools_push(
        &self,
        created: &Created,
        tags: &[Reference],
        cancel: &CancelToken,
    ) -> Result<(), ImagetoolsError> {
        for tag in tags {
            let failed = |digest: &Digest| {
                let digest = digest.clone();
                move |cause: AnywhereError| ImagetoolsError::Copy {
                    digest,
                    name: tag.familiar(),
                    cause: Box::new(cause),
                }
            };
            for (place, descriptor) in &created.copies {
                let copied = self.copy(place, descriptor, (tag, MAX_DEPTH), cancel);
                copied.map_err(failed(&descriptor.digest))?;
            }
            let (media_type, digest) = (&created.descriptor.media_type, &created.descriptor.digest);
            let pushed = self
                .registry
                .push_manifest(tag, media_type, &created.bytes, cancel);
            pushed.map_err(|error| failed(digest)(error.into()))?;
        }
        Ok(())
    }

    fn source(
        &self,
        text: &str,
        repository: Option<&Reference>,
        cancel: &CancelToken,
    ) -> Result<Source, ImagetoolsError> {
        let failed = |cause: AnywhereError| ImagetoolsError::Source {
            name: text.to_owned(),
            cause: Box::new(cause),
        };
        if let Some(name) = text.strip_prefix(STORE) {
            let found = self
                .find_image(name)
                .map_err(|error| failed(error.into()))?;
            let bytes = self
                .document(&Place::Store, &found.target, cancel)
                .map_err(failed)?;
            return Ok(Source {
                place: Place::Store,
                descriptor: found.target,
                bytes,
            });
        }
        let given = if text.trim_start().starts_with('{') {
            Some(descriptor(text)?)
        } else {
            let digest = text.parse::<Digest>().ok();
            digest.map(|digest| Descriptor::new(MediaType::Index(Family::Oci), digest, 0))
        };
        let reference = match &given {
            Some(given) => {
                let repository = repository
                    .ok_or_else(|| ImagetoolsError::Repository(given.digest.to_string()))?;
                repository.with_digest(given.digest.clone())
            }
            None => text.parse().map_err(|cause| {
                failed(AnywhereError::Name {
                    name: text.to_owned(),
                    cause,
                })
            })?,
        };
        let found = self.registry.resolve(&reference, cancel);
        let Resolved { descriptor, bytes } = found.map_err(|error| failed(error.into()))?;
        let descriptor = match given {
            Some(given) => Descriptor {
                platform: given.platform,
                annotations: given.annotations,
                ..descriptor
            },
            None => descriptor,
        };
        Ok(Source {
            place: Place::Registry(reference),
            descriptor,
            bytes,
        })
    }

    /// The source, with what its image runs on, as its configuration says.
    fn with_platform(
        &self,
        source: Source,
        text: &str,
        cancel: &CancelToken,
    ) -> Result<Source, ImagetoolsError> {
        let Document::Manifest(manifest) = parse(&source, text)? else {
            return Ok(source);
        };
        let is_image = matches!(manifest.config.media_type, MediaType::Config(_));
        if source.descriptor.platform.is_some() || !is_image {
            return Ok(source);
        }
        let failed = |cause: AnywhereError| ImagetoolsError::Source {
            name: text.to_owned(),
            cause: Box::new(cause),
        };
        let config = self
            .blob(&source.place, &manifest.config, cancel)
            .map_err(failed)?;
        let platform = ImageConfig::from_bytes(&config)
            .ok()
            .map(|config| config.platform);
        Ok(Source {
            descriptor: Descriptor {
                platform,
                ..source.descriptor
            },
            ..source
        })
    }

    fn document(
        &self,
        place: &Place,
        descriptor: &Descriptor,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, AnywhereError> {
        match place {
            Place::Registry(name) => Ok(self
                .registry
                .manifest(name, &descriptor.digest, cancel)?
                .bytes),
            Place::Store => self.read(descriptor),
        }
    }

    fn blob(
        &self,
        place: &Place,
        descriptor: &Descriptor,
        cancel: &CancelToken,
    ) -> Result<Vec<u8>, AnywhereError> {
        if let Place::Registry(name) = place {
            self.fetch_blob(name, descriptor, cancel)?;
        }
        self.read(descriptor)
    }

    fn read(&self, descriptor: &Descriptor) -> Result<Vec<u8>, AnywhereError> {
        let blobs = crate::blobs::StoreBlobs(&self.store);
        let read = kiln_image::read_blob(&blobs, descriptor);
        Ok(read.map_err(kiln_image::ImageError::from)?)
    }

    /// Copies a manifest or an index with all that it names into the repository of `to`.
    fn copy(
        &self,
        from: &Place,
        descriptor: &Descriptor,
        (to, depth): (&Reference, usize),
        cancel: &CancelToken,
    ) -> Result<(), AnywhereError> {
        cancel.check()?;
        let same_registry = match from {
            Place::Registry(name) if name.name() == to.name() => return Ok(()),
            Place::Registry(name) if name.registry() == to.registry() => Some(name),
            Place::Registry(_) | Place::Store => None,
        };
        let bytes = self.document(from, descriptor, cancel)?;
        let unusable = |cause| AnywhereError::Document {
            name: descriptor.digest.to_string(),
            cause,
        };
        let document = Document::parse(&bytes, Some(&descriptor.media_type)).map_err(unusable)?;
        match &document {
            Document::Index(index) if depth > 0 => {
                for entry in &index.manifests {
                    self.copy(from, entry, (to, depth - 1), cancel)?;
                }
            }
            Document::Index(_) => {}
            Document::Manifest(Manifest { config, layers, .. }) => {
                let mount: Vec<String> = same_registry
                    .iter()
                    .map(|name| name.repository().to_owned())
                    .collect();
                for blob in std::iter::once(config).chain(layers) {
                    self.copy_blob(from, blob, (to, &mount), cancel)?;
                }
            }
        }
        let place = to.with_digest(descriptor.digest.clone());
        let media_type = document.media_type();
        Ok(self
            .registry
            .push_manifest(&place, &media_type, &bytes, cancel)?)
    }

    fn copy_blob(
        &self,
        from: &Place,
        blob: &Descriptor,
        (to, mount): (&Reference, &[String]),
        cancel: &CancelToken,
    ) -> Result<(), AnywhereError> {
        // Asked for only if the registry has the blob nowhere.
        let open = || -> std::io::Result<Box<dyn Read + Send>> {
            if let Place::Registry(name) = from {
                let fetched = self.fetch_blob(name, blob, cancel);
                fetched.map_err(std::io::Error::other)?;
            }
            let stored = self
                .store
                .open_blob(&blob.digest)
                .map_err(std::io::Error::other)?;
            Ok(Box::new(stored.ok_or(std::io::ErrorKind::NotFound)?))
        };
        Ok(self.registry.push_blob(to, blob, mount, &open, cancel)?)
    }
}

/// The repository of digests that say none: the only one that is spoken of.
fn default_repository(request: &CreateRequest) -> Option<Reference> {
    let named = request.sources.iter().filter(|text| {
        !text.trim_start().starts_with('{')
            && !text.starts_with(STORE)
            && text.parse::<Digest>().is_err()
    });
    let named = named.filter_map(|text| text.parse::<Reference>().ok());
    let all: BTreeMap<String, Reference> = named
        .chain(request.tags.iter().cloned())
        .map(|reference| (reference.name(), reference))
        .collect();
    let mut all = all.into_values();
    all.next().filter(|_| all.next().is_none())
}

/// A descriptor as JSON: its digest, and what else it says.
fn descriptor(text: &str) -> Result<Descriptor, ImagetoolsError> {
    let wrong = || ImagetoolsError::Descriptor(text.to_owned());
    // An index with this one entry, so that it is read as descriptors are anywhere.
    let entry: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong())?;
    let mut entry = entry;
    if entry["mediaType"].is_null() {
        entry["mediaType"] = MediaType::Manifest(Family::Oci).to_string().into();
    }
    if entry["size"].is_null() {
        entry["size"] = 0.into();
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let index = Index::from_bytes(index.as_bytes()).map_err(|_| wrong())?;
    index.manifests.into_iter().next().ok_or_else(wrong)
}

fn parse(source: &Source, name: &str) -> Result<Document, ImagetoolsError> {
    let parsed = Document::parse(&source.bytes, Some(&source.descriptor.media_type));
    parsed.map_err(|cause| ImagetoolsError::Source {
        name: name.to_owned(),
        cause: Box::new(AnywhereError::Document {
            name: name.to_owned(),
            cause,
        }),
    })
}

/// One index of all sources; a single one stays as it is.
fn combine(sources: Vec<Source>, request: &CreateRequest) -> Result<Created, ImagetoolsError> {
    if let [source] = sources.as_slice()
        && request.annotations.is_empty()
        && (source.descriptor.media_type.is_index() || !request.prefer_index)
    {
        return Ok(Created {
            descriptor: source.descriptor.clone(),
            bytes: source.bytes.clone(),
            copies: vec![(source.place.clone(), source.descriptor.clone())],
        });
    }
    let mut entries: Vec<(Place, Descriptor)> = Vec::new();
    for source in sources {
        let document = parse(&source, &source.descriptor.digest.to_string())?;
        let of_source = match document {
            Document::Index(index) => index.manifests,
            Document::Manifest(_) => vec![source.descriptor],
        };
        for entry in of_source {
            let known = entries
                .iter_mut()
                .find(|(_, known)| known.digest == entry.digest);
            match known {
                Some((_, known)) => {
                    known.platform = entry.platform.or(known.platform.take());
                    known.annotations.extend(entry.annotations);
                }
                None => entries.push((source.place.clone(), entry)),
            }
        }
    }
    let is_docker = |(_, entry): &(Place, Descriptor)| {
        entry.media_type == MediaType::Manifest(Family::Docker)
            || entry.media_type == MediaType::Index(Family::Docker)
    };
    let family = if entries.iter().all(is_docker) {
        Family::Docker
    } else {
        Family::Oci
    };
    if family == Family::Docker && !request.annotations.is_empty() {
        return Err(ImagetoolsError::DockerList);
    }
    let annotations = annotate(&mut entries, &request.annotations)?;
    Ok(created(family, entries, annotations))
}

fn created(
    family: Family,
    entries: Vec<(Place, Descriptor)>,
    annotations: BTreeMap<String, String>,
) -> Created {
    let manifests = entries.iter().map(|(_, entry)| entry.clone()).collect();
    let index = Index {
        annotations,
        ..Index::new(family, manifests)
    };
    let bytes = index.to_bytes();
    Created {
        descriptor: Descriptor::of(index.media_type(), &bytes),
        bytes,
        copies: entries,
    }
}

/// Annotates entries; returns what is for the index.
fn annotate(
    entries: &mut [(Place, Descriptor)],
    annotations: &[Annotation],
) -> Result<BTreeMap<String, String>, ImagetoolsError> {
    let mut of_index = BTreeMap::new();
    for annotation in annotations {
        let (key, value) = (annotation.key.clone(), annotation.value.clone());
        match annotation.level {
            AnnotationLevel::Index => drop(of_index.insert(key, value)),
            AnnotationLevel::ManifestDescriptor => {
                for (_, entry) in entries.iter_mut() {
                    let fits =
                        annotation.platform.is_none() || annotation.platform == entry.platform;
                    if fits {
                        entry.annotations.insert(key.clone(), value.clone());
                    }
                }
            }
            AnnotationLevel::Manifest => {
                let level = "manifest";
                return Err(ImagetoolsError::Annotation { key, level });
            }
            AnnotationLevel::IndexDescriptor => {
                let level = "index descriptor";
                return Err(ImagetoolsError::Annotation { key, level });
            }
        }
    }
    Ok(of_index)
}

/// Only what runs on the platforms, with what is attached to that.
fn filter(all: Created, platforms: &[Platform]) -> Result<Created, ImagetoolsError> {
    if platforms.is_empty() {
        return Ok(all);
    }
    let wanted = |entry: &Descriptor| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platforms.iter().any(|wanted| wanted.matches(platform)))
    };
    let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let nothing = || ImagetoolsError::Platform(names.join(", "));
    let Ok(Document::Index(index)) = Document::parse(&all.bytes, None) else {
        return if wanted(&all.descriptor) {
            Ok(all)
        } else {
            Err(nothing())
        };
    };
    let kept: Vec<&Digest> = index
        .manifests
        .iter()
        .filter(|entry| wanted(entry))
        .map(|entry| &entry.digest)
        .collect();
    if kept.is_empty() {
        return Err(nothing());
    }
    let stays = |entry: &&Descriptor| {
        let subject = entry.annotations.get("vnd.docker.reference.digest");
        kept.contains(&&entry.digest)
            || subject.is_some_and(|of| kept.iter().any(|kept| kept.as_str() == of))
    };
    let place_of = |entry: &Descriptor| {
        let found = all
            .copies
            .iter()
            .find(|(_, copy)| copy.digest == entry.digest);
        found
            .or_else(|| all.copies.first())
            .map(|(place, _)| place.clone())
    };
    let entries = index.manifests.iter().filter(stays);
    let entries = entries.filter_map(|entry| Some((place_of(entry)?, entry.clone())));
    Ok(created(
        index.family,
        entries.collect(),
        index.annotations.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(repository: &str, arch: &str, family: Family) -> Source {
        let config = Descriptor::of(MediaType::Config(family), arch.as_bytes());
        let manifest = Manifest::new(family, config, Vec::new());
        let bytes = manifest.to_bytes();
        let descriptor = Descriptor::of(manifest.media_type(), &bytes);
        Source {
            place: Place::Registry(format!("registry.example/{repository}:1").parse().unwrap()),
            descriptor: descriptor.with_platform(Platform::new("linux", arch)),
            bytes,
        }
    }

    fn request() -> CreateRequest {
        CreateRequest {
            tags: Vec::new(),
            sources: Vec::new(),
            annotations: Vec::new(),
            prefer_index: true,
            platforms: Vec::new(),
        }
    }

    /// The platforms of an index with where they come from.
    fn shown(created: &Created) -> String {
        let Document::Index(index) = Document::parse(&created.bytes, None).unwrap() else {
            return "a manifest".to_owned();
        };
        assert_eq!(created.descriptor.digest, Digest::sha256(&created.bytes));
        let entries = index.manifests.iter().map(|entry| {
            let place = created
                .copies
                .iter()
                .find(|(_, copy)| copy.digest == entry.digest);
            let Some((Place::Registry(place), _)) = place else {
                panic!("it comes from nowhere");
            };
            format!(
                "{} from {}",
                entry.platform.as_ref().unwrap(),
                place.repository()
            )
        });
        let entries: Vec<String> = entries.collect();
        format!("{:?}: {}", index.family, entries.join(", "))
    }

    #[test]
    fn images_become_an_index() {
        let (one, other) = (
            source("a", "amd64", Family::Oci),
            source("b", "arm64", Family::Oci),
        );
        let created = combine(vec![one, other], &request()).unwrap();
        assert_eq!(
            shown(&created),
            "Oci: linux/amd64 from a, linux/arm64 from b"
        );
        let only = filter(created.clone(), &[Platform::new("linux", "arm64")]).unwrap();
        assert_eq!(shown(&only), "Oci: linux/arm64 from b");
        assert!(filter(created, &[Platform::new("linux", "s390x")]).is_err());
    }

    #[test]
    fn indexes_are_taken_apart() {
        let images = vec![
            source("a", "amd64", Family::Docker),
            source("a", "arm64", Family::Docker),
        ];
        let index = combine(images, &request()).unwrap();
        assert_eq!(
            shown(&index),
            "Docker: linux/amd64 from a, linux/arm64 from a"
        );
        let index = Source {
            place: Place::Registry("registry.example/a:all".parse().unwrap()),
            descriptor: index.descriptor,
            bytes: index.bytes,
        };
        let more = source("b", "riscv64", Family::Oci);
        let created = combine(vec![index, more], &request()).unwrap();
        let expected = "Oci: linux/amd64 from a, linux/arm64 from a, linux/riscv64 from b";
        assert_eq!(shown(&created), expected);
    }

    #[test]
    fn a_single_image_is_copied_where_no_index_is_wanted() {
        let one = || vec![source("a", "amd64", Family::Oci)];
        assert_eq!(
            shown(&combine(one(), &request()).unwrap()),
            "Oci: linux/amd64 from a"
        );
        let copy = CreateRequest {
            prefer_index: false,
            ..request()
        };
        let copied = combine(one(), &copy).unwrap();
        assert_eq!(shown(&copied), "a manifest");
        assert_eq!(copied.bytes, one()[0].bytes);
    }

    #[test]
    fn annotations_go_where_they_are_for() {
        let annotation = |level, platform: Option<&str>| Annotation {
            level,
            platform: platform.map(|arch| Platform::new("linux", arch)),
            key: "k".to_owned(),
            value: "v".to_owned(),
        };
        let make = |annotation, family| {
            let images = vec![source("a", "amd64", family), source("b", "arm64", family)];
            let request = CreateRequest {
                annotations: vec![annotation],
                ..request()
            };
            let created = combine(images, &request).map_err(|error| error.to_string())?;
            let Ok(Document::Index(index)) = Document::parse(&created.bytes, None) else {
                panic!("no index");
            };
            let entries = index.manifests.iter().map(|entry| entry.annotations.len());
            Ok::<_, String>((index.annotations.len(), entries.collect::<Vec<_>>()))
        };
        let (index, entry) = (AnnotationLevel::Index, AnnotationLevel::ManifestDescriptor);
        assert_eq!(
            make(annotation(index, None), Family::Oci),
            Ok((1, vec![0, 0]))
        );
        assert_eq!(
            make(annotation(entry, None), Family::Oci),
            Ok((0, vec![1, 1]))
        );
        assert_eq!(
            make(annotation(entry, Some("arm64")), Family::Oci),
            Ok((0, vec![0, 1]))
        );
        assert!(make(annotation(AnnotationLevel::Manifest, None), Family::Oci).is_err());
        assert!(make(annotation(index, None), Family::Docker).is_err());
    }

    #[test]
    fn a_digest_is_looked_for_in_the_only_repository() {
        let check = |tags: &[&str], sources: &[&str], expected: Option<&str>| {
            let request = CreateRequest {
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
                sources: sources.iter().map(|text| (*text).to_owned()).collect(),
                ..request()
            };
            let found = default_repository(&request).map(|found| found.name());
            assert_eq!(found.as_deref(), expected);
        };
        let digest = Digest::sha256(b"").to_string();
        check(&["r.example/a:1"], &[&digest], Some("r.example/a"));
        check(
            &["r.example/a:1"],
            &["r.example/a:2", &digest],
            Some("r.example/a"),
        );
        check(&["r.example/a:1", "r.example/b:1"], &[&digest], None);
        check(&[], &["{}", "store://x"], None);
    }
}
