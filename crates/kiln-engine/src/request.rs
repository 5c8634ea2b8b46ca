//! What can be asked of the engine: plain values, already decided.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use kiln_base::Timestamp;
use kiln_graph::Network;
use kiln_layer::LayerCompression;
use kiln_oci::{Family, Platform, Reference};

/// A build, as the engine does it.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// Where `COPY` and `ADD` find their files.
    pub context: Context,
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// The stage to build; the last one where it is `None`.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Names for the result.
    pub tags: Vec<Reference>,
    /// What becomes of the result. Empty means the local store.
    pub outputs: Vec<Output>,
    /// Which cached results may be used.
    pub cache: CacheUse,
    /// When a base image is looked up in its registry.
    pub pull: Pull,
    /// The network of steps that do not say which.
    pub network: Network,
    /// Lines added to `/etc/hosts` of steps: name and address.
    pub extra_hosts: Vec<(String, String)>,
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
    /// Certificate authorities that `RUN` steps trust in addition to the image's own.
    pub trust: Trust,
    /// Say for each step why its result was, or was not, found in the cache.
    pub explain: bool,
}

/// Where the files of a build come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A directory on this machine, read in place.
    Directory(PathBuf),
    /// No files at all: a Dockerfile on standard input and nothing else.
    Empty,
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// `Dockerfile` in the context, or `dockerfile` where that is missing.
    Default,
    /// A file on this machine.
    Path(PathBuf),
    /// Its text, as read from standard input.
    Text(String),
}

/// Which cached results a build may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// All that fit.
    Use,
    /// None; new results replace the old ones.
    Ignore,
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

/// One thing that becomes of a build's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The image in the local store, under the request's tags.
    Store,
    /// The image in the registries that its names say.
    Push {
        /// The names; the request's tags where empty.
        names: Vec<Reference>,
    },
    /// An archive.
    Archive {
        /// Its layout.
        kind: ArchiveKind,
        /// The names inside the archive; the request's tags where empty.
        names: Vec<Reference>,
        /// Where it goes.
        dest: Dest,
    },
    /// An OCI layout as a directory (`type=oci,tar=false`).
    Layout {
        /// The names inside the layout; the request's tags where empty.
        names: Vec<Reference>,
        /// The directory, created if it does not exist.
        dest: PathBuf,
    },
    /// The result's files as a tar stream.
    Tar(Dest),
    /// The result's files in a directory.
    Local(PathBuf),
    /// The image in a running Docker or Podman.
    Load(LoadTarget),
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
