//! The JSON forms. Every field that Go's encoders may print as `null` is optional here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    Descriptor, Digest, Family, Healthcheck, History, ImageConfig, Index, Manifest, MediaType,
    Platform, RuntimeConfig, Unknown,
};

struct DigestWire(Digest);

impl Serialize for DigestWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for DigestWire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// Enough of a document to tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    pub(crate) schema_version: u64,
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Option<IgnoredAny>,
    pub(crate) config: Option<IgnoredAny>,
    pub(crate) layers: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorWire {
    media_type: String,
    digest: DigestWire,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct PlatformWire {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    os_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestWire {
    schema_version: u64,
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: DescriptorWire,
    layers: Option<Vec<DescriptorWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<DescriptorWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexWire {
    schema_version: u64,
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    manifests: Option<Vec<DescriptorWire>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<DescriptorWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(default)]
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(default)]
    os: String,
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    os_version: Option<String>,
    #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
    os_features: Option<Vec<String>>,
    config: Option<RuntimeWire>,
    rootfs: Option<RootfsWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<HistoryWire>>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct RootfsWire {
    #[serde(rename = "type", default)]
    kind: String,
    diff_ids: Option<Vec<DigestWire>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct RuntimeWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<NameSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<NameSet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<HealthcheckWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_build: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_escaped: Option<bool>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// Go's `map[string]struct{}`: printed as `{"name":{}}`, read with any values.
struct NameSet(BTreeSet<String>);

impl Serialize for NameSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|name| (name, Map::new())))
    }
}

impl<'de> Deserialize<'de> for NameSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = Map::deserialize(deserializer)?;
        Ok(Self(map.into_iter().map(|(name, _)| name).collect()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthcheckWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_period: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_interval: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct HistoryWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_layer: Option<bool>,
}

/// The values of a collection, or nothing where it is empty.
fn some<T, C: Default + PartialEq + FromIterator<T>>(items: impl Iterator<Item = T>) -> Option<C> {
    let items: C = items.collect();
    (items != C::default()).then_some(items)
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn some_annotations(annotations: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!annotations.is_empty()).then(|| annotations.clone())
}

impl From<&Platform> for PlatformWire {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: some(platform.os_features.iter().cloned()),
            variant: platform.variant.clone(),
        }
    }
}

impl From<PlatformWire> for Platform {
    fn from(wire: PlatformWire) -> Self {
        Self {
            os: wire.os,
            architecture: wire.architecture,
            variant: wire.variant.filter(|variant| !variant.is_empty()),
            os_version: wire.os_version.filter(|version| !version.is_empty()),
            os_features: wire.os_features.unwrap_or_default(),
        }
    }
}

impl From<&Descriptor> for DescriptorWire {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type.as_str().to_owned(),
            digest: DigestWire(descriptor.digest.clone()),
            size: descriptor.size,
            urls: some(descriptor.urls.iter().cloned()),
            annotations: some_annotations(&descriptor.annotations),
            platform: descriptor.platform.as_ref().map(PlatformWire::from),
            artifact_type: descriptor.artifact_type.clone(),
        }
    }
}

impl From<DescriptorWire> for Descriptor {
    fn from(wire: DescriptorWire) -> Self {
        Self {
            media_type: MediaType::parse(&wire.media_type),
            digest: wire.digest.0,
            size: wire.size,
            platform: wire.platform.map(Platform::from),
            artifact_type: wire.artifact_type,
            urls: wire.urls.unwrap_or_default(),
            annotations: wire.annotations.unwrap_or_default(),
        }
    }
}

fn descriptors(wires: Option<Vec<DescriptorWire>>) -> Vec<Descriptor> {
    wires.into_iter().flatten().map(Descriptor::from).collect()
}

impl From<&Manifest> for ManifestWire {
    fn from(manifest: &Manifest) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(manifest.media_type().as_str().to_owned()),
            artifact_type: manifest.artifact_type.clone(),
            config: DescriptorWire::from(&manifest.config),
            layers: Some(manifest.layers.iter().map(DescriptorWire::from).collect()),
            subject: manifest.subject.as_ref().map(DescriptorWire::from),
            annotations: some_annotations(&manifest.annotations),
        }
    }
}

impl ManifestWire {
    pub(crate) fn into_manifest(self, family: Family) -> Manifest {
        Manifest {
            family,
            config: self.config.into(),
            layers: descriptors(self.layers),
            artifact_type: self.artifact_type,
            subject: self.subject.map(Descriptor::from),
            annotations: self.annotations.unwrap_or_default(),
        }
    }
}

impl From<&Index> for IndexWire {
    fn from(index: &Index) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(index.media_type().as_str().to_owned()),
            artifact_type: index.artifact_type.clone(),
            manifests: Some(index.manifests.iter().map(DescriptorWire::from).collect()),
            subject: index.subject.as_ref().map(DescriptorWire::from),
            annotations: some_annotations(&index.annotations),
        }
    }
}

impl IndexWire {
    pub(crate) fn into_index(self, family: Family) -> Index {
        Index {
            family,
            manifests: descriptors(self.manifests),
            artifact_type: self.artifact_type,
            subject: self.subject.map(Descriptor::from),
            annotations: self.annotations.unwrap_or_default(),
        }
    }
}

impl From<&ImageConfig> for ConfigWire {
    fn from(config: &ImageConfig) -> Self {
        let platform = PlatformWire::from(&config.platform);
        Self {
            created: config.created.clone(),
            author: config.author.clone(),
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            os_version: platform.os_version,
            os_features: platform.os_features,
            config: Some(RuntimeWire::from(&config.runtime)),
            rootfs: Some(RootfsWire {
                kind: "layers".to_owned(),
                diff_ids: Some(config.diff_ids.iter().cloned().map(DigestWire).collect()),
            }),
            history: (!config.history.is_empty())
                .then(|| config.history.iter().map(HistoryWire::from).collect()),
            unknown: config.unknown.0.clone(),
        }
    }
}

impl From<ConfigWire> for ImageConfig {
    fn from(wire: ConfigWire) -> Self {
        let platform = PlatformWire {
            architecture: wire.architecture,
            os: wire.os,
            os_version: wire.os_version,
            os_features: wire.os_features,
            variant: wire.variant,
        };
        let diff_ids = wire.rootfs.and_then(|rootfs| rootfs.diff_ids);
        let history = wire.history.into_iter().flatten();
        Self {
            platform: platform.into(),
            created: wire.created,
            author: wire.author,
            runtime: wire.config.unwrap_or_default().into(),
            diff_ids: diff_ids.into_iter().flatten().map(|id| id.0).collect(),
            history: history.map(History::from).collect(),
            unknown: Unknown(wire.unknown),
        }
    }
}

fn to_set(names: &BTreeSet<String>) -> Option<NameSet> {
    (!names.is_empty()).then(|| NameSet(names.clone()))
}

fn from_set(names: Option<NameSet>) -> BTreeSet<String> {
    names.map_or_else(BTreeSet::new, |names| names.0)
}

impl From<&RuntimeConfig> for RuntimeWire {
    fn from(runtime: &RuntimeConfig) -> Self {
        Self {
            user: some_text(&runtime.user),
            exposed_ports: to_set(&runtime.exposed_ports),
            env: some(runtime.env.iter().cloned()),
            entrypoint: runtime.entrypoint.clone(),
            cmd: runtime.cmd.clone(),
            volumes: to_set(&runtime.volumes),
            working_dir: some_text(&runtime.working_dir),
            labels: some_annotations(&runtime.labels),
            stop_signal: runtime.stop_signal.clone(),
            healthcheck: runtime.healthcheck.as_ref().map(HealthcheckWire::from),
            shell: runtime.shell.clone(),
            on_build: some(runtime.on_build.iter().cloned()),
            args_escaped: runtime.args_escaped.then_some(true),
            unknown: runtime.unknown.0.clone(),
        }
    }
}

impl From<RuntimeWire> for RuntimeConfig {
    fn from(wire: RuntimeWire) -> Self {
        Self {
            user: wire.user.unwrap_or_default(),
            exposed_ports: from_set(wire.exposed_ports),
            env: wire.env.unwrap_or_default(),
            entrypoint: wire.entrypoint,
            cmd: wire.cmd,
            volumes: from_set(wire.volumes),
            working_dir: wire.working_dir.unwrap_or_default(),
            labels: wire.labels.unwrap_or_default(),
            stop_signal: wire.stop_signal.filter(|signal| !signal.is_empty()),
            healthcheck: wire.healthcheck.map(Healthcheck::from),
            shell: wire.shell,
            on_build: wire.on_build.unwrap_or_default(),
            args_escaped: wire.args_escaped.unwrap_or(false),
            unknown: Unknown(wire.unknown),
        }
    }
}

/// Go prints a duration as nanoseconds; zero and below mean that none was given.
fn to_nanoseconds(duration: Option<Duration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

fn from_nanoseconds(nanoseconds: Option<i64>) -> Option<Duration> {
    let nanoseconds = u64::try_from(nanoseconds?).ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

impl From<&Healthcheck> for HealthcheckWire {
    fn from(check: &Healthcheck) -> Self {
        Self {
            test: some(check.test.iter().cloned()),
            interval: to_nanoseconds(check.interval),
            timeout: to_nanoseconds(check.timeout),
            start_period: to_nanoseconds(check.start_period),
            start_interval: to_nanoseconds(check.start_interval),
            retries: check.retries.map(i64::from),
        }
    }
}

impl From<HealthcheckWire> for Healthcheck {
    fn from(wire: HealthcheckWire) -> Self {
        Self {
            test: wire.test.unwrap_or_default(),
            interval: from_nanoseconds(wire.interval),
            timeout: from_nanoseconds(wire.timeout),
            start_period: from_nanoseconds(wire.start_period),
            start_interval: from_nanoseconds(wire.start_interval),
            retries: wire.retries.and_then(|retries| u32::try_from(retries).ok()),
        }
    }
}

impl From<&History> for HistoryWire {
    fn from(history: &History) -> Self {
        Self {
            created: history.created.clone(),
            created_by: history.created_by.clone(),
            author: history.author.clone(),
            comment: history.comment.clone(),
            empty_layer: history.empty_layer.then_some(true),
        }
    }
}

impl From<HistoryWire> for History {
    fn from(wire: HistoryWire) -> Self {
        Self {
            created: wire.created,
            created_by: wire.created_by,
            author: wire.author,
            comment: wire.comment,
            empty_layer: wire.empty_layer.unwrap_or(false),
        }
    }
}
