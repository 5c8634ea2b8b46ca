//! A [`Build`] as JSON: <https://slsa.dev/spec/v1.1/provenance> and
//! <https://slsa.dev/spec/v0.2/provenance>.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_oci::{Descriptor, Digest};
use serde_json::{Map, Value, json};

use super::json::{put, put_attributes, put_text, some_list, step_id, without_credentials};
use super::{Build, ConfigSource, DigestSet, Material, ProvenanceError, SecretUse, SourceFile};
use crate::request::{ProvenanceMode, ProvenanceRequest, SlsaVersion};
use crate::statement::Predicate;
use crate::{PackageUrl, image_purl};

const PREDICATE_V1: &str = "https://slsa.dev/provenance/v1";
const PREDICATE_V02: &str = "https://slsa.dev/provenance/v0.2";
/// What the parameters and steps of this provenance mean: this module's documentation.
const BUILD_TYPE: &str = "urn:kiln:build-type:dockerfile:v1";
const EXTENSION_V02: &str = "https://mobyproject.org/buildkit@v1#metadata";
const HERMETIC_V02: &str = "https://mobyproject.org/buildkit@v1#hermetic";

impl Build {
    /// The predicate that says of this build what `request` asks for.
    pub fn predicate(&self, request: &ProvenanceRequest) -> Result<Predicate, ProvenanceError> {
        if request.complete_materials && !self.is_complete() {
            return Err(ProvenanceError::Incomplete(self.request.locals.clone()));
        }
        let said = Said {
            build: self,
            request,
        };
        Ok(match request.version {
            SlsaVersion::V1 => Predicate::of(PREDICATE_V1, &said.v1()),
            SlsaVersion::V02 => Predicate::of(PREDICATE_V02, &said.v02()),
        })
    }

    /// Whether every input is in the materials: local folders never are.
    fn is_complete(&self) -> bool {
        self.materials_complete && self.request.locals.is_empty()
    }

    /// Whether nothing but the materials can have come in.
    fn is_hermetic(&self) -> bool {
        self.is_complete() && !self.network
    }
}

/// A build and how much of it is said.
struct Said<'a> {
    build: &'a Build,
    request: &'a ProvenanceRequest,
}

impl Said<'_> {
    fn v1(&self) -> Value {
        let build = self.build;
        let mut source = config_source(&build.source);
        put_text(&mut source, "path", build.source.path.as_deref());
        let mut internal = Map::new();
        internal.insert("builderPlatform".to_owned(), self.builder_platform());
        put(&mut internal, "buildConfig", self.build_config());
        let mut metadata = Map::new();
        put_text(&mut metadata, "invocationId", Some(&build.invocation_id));
        metadata.insert("startedOn".to_owned(), build.started.to_string().into());
        metadata.insert("finishedOn".to_owned(), build.finished.to_string().into());
        metadata.insert("buildkit_metadata".to_owned(), self.extension());
        if build.is_hermetic() {
            metadata.insert("buildkit_hermetic".to_owned(), true.into());
        }
        if self.request.reproducible {
            metadata.insert("buildkit_reproducible".to_owned(), true.into());
        }
        let completeness = json!({
            "request": self.tells_all_of_the_request(),
            "resolvedDependencies": build.is_complete(),
        });
        metadata.insert("buildkit_completeness".to_owned(), completeness);
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": { "configSource": source, "request": self.parameters() },
                "internalParameters": internal,
                "resolvedDependencies": materials(&build.materials),
            },
            "runDetails": {
                "builder": { "id": self.request.builder_id },
                "metadata": metadata,
            },
        })
    }

    fn v02(&self) -> Value {
        let build = self.build;
        let mut source = config_source(&build.source);
        put_text(&mut source, "entryPoint", build.source.path.as_deref());
        let mut metadata = Map::new();
        put_text(
            &mut metadata,
            "buildInvocationID",
            Some(&build.invocation_id),
        );
        let (started, finished) = (build.started.to_string(), build.finished.to_string());
        metadata.insert("buildStartedOn".to_owned(), started.into());
        metadata.insert("buildFinishedOn".to_owned(), finished.into());
        let completeness = json!({
            "parameters": self.tells_all_of_the_request(),
            "environment": true,
            "materials": build.is_complete(),
        });
        metadata.insert("completeness".to_owned(), completeness);
        metadata.insert("reproducible".to_owned(), self.request.reproducible.into());
        metadata.insert(EXTENSION_V02.to_owned(), self.extension());
        if build.is_hermetic() {
            metadata.insert(HERMETIC_V02.to_owned(), true.into());
        }
        let mut predicate = Map::new();
        predicate.insert(
            "builder".to_owned(),
            json!({ "id": self.request.builder_id }),
        );
        predicate.insert("buildType".to_owned(), BUILD_TYPE.into());
        predicate.insert("materials".to_owned(), materials(&build.materials));
        let invocation = json!({
            "configSource": source,
            "parameters": self.parameters(),
            "environment": { "platform": self.builder_platform() },
        });
        predicate.insert("invocation".to_owned(), invocation);
        put(&mut predicate, "buildConfig", self.build_config());
        predicate.insert("metadata".to_owned(), Value::Object(metadata));
        Value::Object(predicate)
    }

    fn is_max(&self) -> bool {
        self.request.mode == ProvenanceMode::Max
    }

    fn builder_platform(&self) -> Value {
        self.build.builder_platform.normalized().to_string().into()
    }

    /// Build arguments and labels are left out of the short form.
    fn tells_all_of_the_request(&self) -> bool {
        let request = &self.build.request;
        let hidden = !request.build_args.is_empty() || !request.labels.is_empty();
        !request.frontend.is_empty() && (self.is_max() || !hidden)
    }

    fn parameters(&self) -> Value {
        let request = &self.build.request;
        let mut args: BTreeMap<String, &str> = BTreeMap::new();
        for (name, value) in &request.options {
            args.insert(name.clone(), value);
        }
        if let Some(target) = &request.target {
            args.insert("target".to_owned(), target);
        }
        let mut parameters = Map::new();
        put_text(&mut parameters, "frontend", Some(&request.frontend));
        if self.is_max() {
            for (name, value) in &request.build_args {
                args.insert(format!("build-arg:{name}"), value);
            }
            for (name, value) in &request.labels {
                args.insert(format!("label:{name}"), value);
            }
            put(&mut parameters, "secrets", secrets(&request.secrets));
            put(&mut parameters, "ssh", secrets(&request.ssh));
        }
        put(
            &mut parameters,
            "args",
            (!args.is_empty()).then(|| json!(args)),
        );
        let locals: Vec<Value> = request
            .locals
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        put(&mut parameters, "locals", some_list(locals));
        Value::Object(parameters)
    }

    fn build_config(&self) -> Option<Value> {
        if !self.is_max() {
            return None;
        }
        let steps = self.build.steps.iter().enumerate();
        let mapping: BTreeMap<&str, String> = steps
            .clone()
            .map(|(index, step)| (step.digest.as_str(), step_id(index)))
            .collect();
        let definition: Vec<Value> = steps.map(|(index, step)| step.to_json(index)).collect();
        Some(json!({ "llbDefinition": definition, "digestMapping": mapping }))
    }

    /// What BuildKit says beyond SLSA's words.
    fn extension(&self) -> Value {
        let build = self.build;
        let mut extension = Map::new();
        let vcs: BTreeMap<&str, String> = build
            .vcs
            .iter()
            .map(|(name, value)| (name.as_str(), without_credentials(value)))
            .collect();
        put(&mut extension, "vcs", (!vcs.is_empty()).then(|| json!(vcs)));
        if self.is_max() {
            put(&mut extension, "source", self.source());
            let mut layers = Map::new();
            for (index, step) in build.steps.iter().enumerate() {
                if !step.layers.is_empty() {
                    let chains = step.layers.iter();
                    let chains: Vec<Vec<Value>> = chains
                        .map(|chain| chain.iter().map(descriptor).collect())
                        .collect();
                    layers.insert(format!("{}:0", step_id(index)), json!(chains));
                }
            }
            put(
                &mut extension,
                "layers",
                (!layers.is_empty()).then_some(Value::Object(layers)),
            );
        }
        Value::Object(extension)
    }

    fn source(&self) -> Option<Value> {
        if self.build.sources.is_empty() {
            return None;
        }
        let infos: Vec<Value> = self.build.sources.iter().map(source_file).collect();
        let mut locations = Map::new();
        for (index, step) in self.build.steps.iter().enumerate() {
            if !step.lines.is_empty() {
                let ranges: Vec<Value> = step.lines.iter().map(|lines| lines.to_json()).collect();
                locations.insert(step_id(index), json!({ "locations": ranges }));
            }
        }
        Some(json!({ "infos": infos, "locations": locations }))
    }
}

fn config_source(source: &ConfigSource) -> Map<String, Value> {
    let mut map = Map::new();
    let uri = source.uri.as_deref().map(without_credentials);
    put_text(&mut map, "uri", uri.as_deref());
    put_attributes(&mut map, "digest", &source.digest);
    map
}

fn secrets(uses: &[SecretUse]) -> Option<Value> {
    let uses = uses.iter().map(|used| {
        let mut secret = Map::new();
        secret.insert("id".to_owned(), used.id.as_str().into());
        if used.optional {
            secret.insert("optional".to_owned(), true.into());
        }
        Value::Object(secret)
    });
    some_list(uses.collect())
}

fn source_file(file: &SourceFile) -> Value {
    json!({
        "filename": file.filename,
        "language": file.language,
        "data": STANDARD.encode(&file.data),
    })
}

fn descriptor(descriptor: &Descriptor) -> Value {
    let mut map = Map::new();
    map.insert(
        "mediaType".to_owned(),
        descriptor.media_type.as_str().into(),
    );
    map.insert("digest".to_owned(), descriptor.digest.as_str().into());
    map.insert("size".to_owned(), descriptor.size.into());
    put_attributes(&mut map, "annotations", &descriptor.annotations);
    Value::Object(map)
}

/// The materials, each once, in the order of images, repositories and downloads.
fn materials(materials: &[Material]) -> Value {
    let mut said: Vec<(u8, String, DigestSet)> = materials.iter().map(material).collect();
    said.sort();
    said.dedup();
    let said = said.into_iter();
    said.map(|(_, uri, digest)| json!({ "uri": uri, "digest": digest }))
        .collect()
}

fn material(material: &Material) -> (u8, String, DigestSet) {
    match material {
        Material::Image {
            reference,
            platform,
            digest,
        } => {
            let purl = image_purl(reference, Some(platform));
            (0, purl.to_string(), digest_set(digest))
        }
        Material::LocalImage {
            reference,
            platform,
            digest,
        } => {
            let purl = PackageUrl {
                kind: "oci".to_owned(),
                ..image_purl(reference, Some(platform))
            };
            (0, purl.to_string(), digest_set(digest))
        }
        Material::Git { url, commit } => {
            let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
            let digest = DigestSet::from([(algorithm.to_owned(), commit.clone())]);
            (1, without_credentials(url), digest)
        }
        Material::Http { url, digest } => (2, without_credentials(url), digest_set(digest)),
    }
}

fn digest_set(digest: &Digest) -> DigestSet {
    DigestSet::from([(
        digest.algorithm().name().to_owned(),
        digest.hex().to_owned(),
    )])
}
