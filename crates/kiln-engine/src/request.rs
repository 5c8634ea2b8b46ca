//! What can be asked of the engine: plain values, already decided.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use kiln_base::{Secret, Timestamp};
use kiln_graph::Network;
use kiln_layer::LayerCompression;
use kiln_oci::{Digest, Family, Platform, Reference};

mod output;

pub use output::{
    Annotation, AnnotationLevel, ArchiveKind, Dest, ImageOptions, LoadTarget, LocalMode, Output,
};

/// A build, as the engine does it.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// What progress calls this build where there are several: the bake target's name. Empty
    /// otherwise.
    pub name: String,
    /// Where `COPY` and `ADD` find their files.
    pub context: Context,
    /// `--build-context`: further places for files, and images under other names. The key is the
    /// name as written, with its optional `::platform`.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The stage to build; the last one where it is `None`.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// The platforms to build for, in the order asked for; never empty. More than one gives an
    /// index.
    pub platforms: Vec<Platform>,
    /// Names for the result.
    pub tags: Vec<Reference>,
    /// What becomes of the result. Empty means the local store.
    pub outputs: Vec<Output>,
    /// Which cached results may be used.
    pub cache: CacheUse,
    /// Caches that are looked into (`--cache-from`).
    pub cache_from: Vec<kiln_cache::CacheSource>,
    /// Caches that are written (`--cache-to`).
    pub cache_to: Vec<kiln_cache::CacheTarget>,
    /// When a base image is looked up in its registry.
    pub pull: Pull,
    /// What steps are given beside their root.
    pub steps: StepSettings,
    /// What `RUN --mount=type=secret` may have, and what fetching sources may use, by id.
    pub secrets: BTreeMap<String, Secret<Vec<u8>>>,
    /// What `RUN --mount=type=ssh` and git over SSH may use, by id.
    pub ssh: BTreeMap<String, SshSource>,
    /// Proxy variables for what kiln itself fetches (sources and contexts), as name and value.
    pub proxies: Vec<(String, String)>,
    /// Steps that run at the same time, and threads that compress.
    pub jobs: NonZeroUsize,
    /// `SOURCE_DATE_EPOCH`: the time of the image's documents, and the latest time of a file in a
    /// new layer unless [`BuildRequest::file_times`] says otherwise.
    pub source_date_epoch: Option<Timestamp>,
    /// What becomes of file times in new layers.
    pub file_times: FileTimes,
    /// Which family of media types the image uses.
    pub format: Family,
    /// How new layers are compressed.
    pub compression: LayerCompression,
    /// `--annotation`.
    pub annotations: Vec<Annotation>,
    /// `--attest`, `--sbom`, `--provenance`.
    pub attest: kiln_attest::AttestRequest,
    /// Certificate authorities that `RUN` steps trust in addition to the image's own.
    pub trust: Trust,
    /// Say for each step why its result was, or was not, found in the cache.
    pub explain: bool,
}

/// What the steps of a build are given beside their root.
#[derive(Debug, Clone)]
pub struct StepSettings {
    /// The network of steps that do not say which.
    pub network: Network,
    /// Lines added to `/etc/hosts` of steps: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// What steps may ask for beyond the usual (`--allow`).
    pub allow: Allow,
    /// `--shm-size`: bytes of `/dev/shm`; `None` for 64 MiB.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `--resource`: limits of a step's control group, as name and value (`memory`, `cpu-quota`).
    pub resources: BTreeMap<String, String>,
}

/// What steps may ask for beyond the usual: BuildKit's entitlements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allow {
    /// `network.host`: `RUN --network=host`.
    pub network_host: bool,
    /// `security.insecure`: `RUN --security=insecure`.
    pub security_insecure: bool,
}

/// A limit of `setrlimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// As Docker writes it, lower case without `RLIMIT_`: `nofile`.
    pub name: String,
    /// The limit in force; `None` means none.
    pub soft: Option<u64>,
    /// The most it may be raised to; `None` means none.
    pub hard: Option<u64>,
}

/// Where SSH keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshSource {
    /// An agent's socket.
    Agent(PathBuf),
    /// Private key files, not encrypted.
    Keys(Vec<PathBuf>),
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A directory on this machine, read in place.
    Directory(PathBuf),
    /// No files at all: a Dockerfile on standard input and nothing else.
    Empty,
    /// A git repository, as written: see [`kiln_dockerfile::gitref`].
    Git(String),
    /// A URL: an archive, or a Dockerfile alone.
    Http(String),
    /// An archive in a file on this machine: what came on standard input.
    Archive(PathBuf),
}

/// What a name given by `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Files.
    Files(Context),
    /// An image by another name (`docker-image://`).
    Image(Reference),
    /// An image in an OCI layout (`oci-layout://`).
    Layout {
        /// The layout's directory.
        path: PathBuf,
        /// The tag in its index, where one was given.
        tag: Option<String>,
        /// The digest of the manifest or index, where one was given.
        digest: Option<Digest>,
    },
    /// The result of another build of the same call, by its place in the list (`target:`).
    Build(usize),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// `Dockerfile` in the context, or `dockerfile` where that is missing.
    Default,
    /// A file on this machine.
    Path(PathBuf),
    /// A path in the context: for contexts that are fetched.
    InContext(String),
    /// A URL.
    Http(String),
    /// Its text, as read from standard input or a bake file.
    Text(String),
}

/// Which cached results a build may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheUse {
    /// All that fit.
    Use,
    /// None; new results replace the old ones.
    Ignore,
    /// All but those of these stages, by name or number (`--no-cache-filter`).
    IgnoreStages(Vec<String>),
}

/// When a base image is looked up in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Only where the local store does not have it for the platform.
    Missing,
    /// Each time.
    Always,
}

/// What becomes of file times in new layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTimes {
    /// Times later than `SOURCE_DATE_EPOCH`, where it is set, become that time.
    Clamp,
    /// Times stay as they are.
    Keep,
}

/// Certificate authorities that `RUN` steps trust in addition to the image's own.
///
/// They reach the step as a file that is mounted while it runs and as variables that name it; they
/// are in no layer, no image configuration and no cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// None.
    ImageOnly,
    /// These, as concatenated PEM certificates.
    Extra(Vec<u8>),
}

/// What an image archive is made of.
#[derive(Debug, Clone)]
pub struct SaveRequest {
    /// The images, by name or id, as the user wrote them.
    pub images: Vec<String>,
    /// The archive's layout.
    pub kind: ArchiveKind,
    /// Where it goes.
    pub dest: Dest,
    /// The platform taken from an index; all of them where it is `None` and the layout allows it.
    pub platform: Option<Platform>,
}

/// A container started from an image in the local store.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The image, by name or id.
    pub image: String,
    /// The platform taken from an index.
    pub platform: Platform,
    /// What is run instead of the image's `CMD`.
    pub command: Vec<String>,
    /// `--entrypoint`: replaces the image's entry point; an empty list removes it.
    pub entrypoint: Option<Vec<String>>,
    /// `--env`, in order.
    pub env: Vec<(String, String)>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--volume`: paths of this machine inside the container.
    pub volumes: Vec<Volume>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: Network,
    /// `--add-host`.
    pub extra_hosts: Vec<(String, String)>,
    /// What the process's standard streams are.
    pub stdio: Stdio,
    /// Extra certificate authorities.
    pub trust: Trust,
}

/// A path of this machine inside a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// On this machine, absolute.
    pub source: PathBuf,
    /// In the container, absolute.
    pub target: String,
    /// It can't be written.
    pub read_only: bool,
}

/// What a container's standard streams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Input is empty, outputs are kiln's own.
    Outputs,
    /// All three are kiln's own (`-i`).
    Inherit,
    /// A terminal of its own, joined to kiln's (`-t`).
    Terminal,
}
