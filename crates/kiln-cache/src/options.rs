//! Where caches come from and go to, decided: what the flags' attributes and the environment say
//! together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kiln_base::Secret;
use kiln_oci::{Digest, Family, Reference};

/// Values of environment variables, as the program was started with them. Only those that
/// [`Environment::NAMES`] lists are looked at.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, Secret<String>>);

impl Environment {
    /// The variables that decide something here.
    pub const NAMES: [&'static str; 12] = [
        "ACTIONS_CACHE_SERVICE_V2",
        "ACTIONS_CACHE_URL",
        "ACTIONS_RESULTS_URL",
        "ACTIONS_RUNTIME_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_BUCKET",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];

    /// Keeps the listed variables of these; empty values count as unset.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let kept = variables
            .into_iter()
            .filter(|(name, value)| Self::NAMES.contains(&name.as_str()) && !value.is_empty());
        Self(
            kept.map(|(name, value)| (name, Secret::new(value)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.expose().clone())
    }
}

/// Where a cache is read from: one `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheSource {
    /// `type=registry`: a cache, or an image with an inline cache.
    Registry(RegistrySource),
    /// `type=local`: an image layout in a folder.
    Local(LocalSource),
    /// `type=s3`.
    S3(S3),
    /// `type=gha`.
    Gha(Gha),
}

/// Where a cache is written to: one `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTarget {
    /// The place.
    pub target: Target,
    /// Which records are wanted; whoever makes the [`crate::Exported`] looks at it.
    pub mode: Mode,
    /// How the layers shall be compressed; whoever makes the [`crate::Exported`] looks at it.
    pub compression: CompressionChoice,
    /// Whether a failed export is only worth a warning.
    pub ignore_error: bool,
}

/// A place to write a cache to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `type=registry`.
    Registry(RegistryTarget),
    /// `type=local`.
    Local(LocalTarget),
    /// `type=inline`: in the configuration of the image that is built.
    Inline,
    /// `type=s3`.
    S3(S3),
    /// `type=gha`.
    Gha(Gha),
}

/// How much of a build is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What the result consists of.
    Min,
    /// Every step's result.
    Max,
}

/// How layers of an exported cache are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompressionChoice {
    /// `compression=…`: for layers made anew; `None` leaves it to the build.
    pub kind: Option<kiln_oci::Compression>,
    /// `compression-level=…`: gzip 0 to 9, Zstandard 0 to 22.
    pub level: Option<u32>,
    /// `force-compression`: also for layers that there are already.
    pub force: bool,
}

/// Which document names the layers of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An OCI image manifest whose configuration is the cache's: every registry takes it.
    ImageManifest,
    /// An image index that lists the layers, as BuildKit wrote it before 0.21.
    Index(Family),
}

/// A cache in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySource {
    /// Its name.
    pub reference: Reference,
    /// `registry.insecure`: speak HTTP.
    pub insecure: bool,
}

/// A cache to be written to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTarget {
    /// Its name.
    pub reference: Reference,
    /// `registry.insecure`: speak HTTP.
    pub insecure: bool,
    /// `image-manifest` and `oci-mediatypes`.
    pub shape: Shape,
}

/// A cache in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSource {
    /// The folder, as given.
    pub src: PathBuf,
    /// The name in the layout's index; `latest` where none is given.
    pub tag: String,
    /// The manifest itself, whatever the index says.
    pub digest: Option<Digest>,
}

/// A cache to be written to a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTarget {
    /// The folder, as given; made where it does not exist.
    pub dest: PathBuf,
    /// The name in the layout's index; `latest` where none is given.
    pub tag: String,
    /// Whether blobs that nothing in the layout names any more are removed.
    pub reset: bool,
    /// `image-manifest` and `oci-mediatypes`.
    pub shape: Shape,
}

/// A cache in an S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Before all keys.
    pub prefix: String,
    /// Before keys of layers, after `prefix`.
    pub blobs_prefix: String,
    /// Before keys of documents, after `prefix`.
    pub manifests_prefix: String,
    /// The document's names, at least one: all are written, the first is read.
    pub names: Vec<String>,
    /// `https://host[:port][/path]`, where it is not Amazon's.
    pub endpoint_url: Option<String>,
    /// Whether the bucket is part of the path rather than of the host.
    pub use_path_style: bool,
    /// After how long a layer that is there already is made younger, so that a bucket's rules do
    /// not expire it.
    pub touch_refresh: Duration,
    /// Layers sent at the same time.
    pub upload_parallelism: usize,
    /// Requests in all, the first included, before one is given up.
    pub retry_max_attempts: Option<u32>,
    /// Who asks; `None` for buckets that let everybody in.
    pub credentials: Option<S3Credentials>,
}

/// An access key of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// Its public part.
    pub access_key_id: String,
    /// Its secret part.
    pub secret_access_key: Secret<String>,
    /// What temporary keys have besides.
    pub session_token: Option<Secret<String>>,
}

/// A cache in GitHub's cache service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gha {
    /// Which cache of a branch.
    pub scope: String,
    /// How the service is reached; `None` outside of a workflow, where this cache is empty and
    /// takes nothing.
    pub access: Option<GhaAccess>,
    /// How long a request is tried.
    pub timeout: Duration,
}

/// How GitHub's cache service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GhaAccess {
    /// The service's address.
    pub url: String,
    /// Which protocol it speaks.
    pub api: GhaApi,
    /// The workflow's token.
    pub token: Secret<String>,
}

/// The protocols of GitHub's cache service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GhaApi {
    /// REST, which GitHub ended in 2025 and GitHub Enterprise Server still has.
    V1,
    /// Twirp, with uploads to Azure's blob storage.
    V2,
}
