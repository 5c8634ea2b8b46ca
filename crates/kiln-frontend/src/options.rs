//! What a build is told beside its Dockerfile.

use std::collections::BTreeMap;

use kiln_graph::{Part, Sharing};
use kiln_oci::Platform;

use crate::ImageName;

/// How to lower a Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
    /// Which of the builds that share the graph this is.
    pub build: usize,
    /// Which other builds its steps may be shared with.
    pub sharing: Sharing,
    /// What progress puts before a stage's name: a bake target, a platform. Often empty.
    pub prefix: String,
    /// The stage to build, by name or number; the last one where it is `None`.
    pub target: Option<String>,
    /// `--build-arg`; `SOURCE_DATE_EPOCH` of the environment is among them.
    pub build_args: BTreeMap<String, String>,
    /// `--label`: set on the result after all instructions.
    pub labels: BTreeMap<String, String>,
    /// The platform to build for.
    pub target_platform: Platform,
    /// The platform that builds.
    pub build_platform: Platform,
    /// Which steps ignore the cache.
    pub no_cache: NoCache,
    /// The number under which the caller holds the main context.
    pub context: usize,
    /// `--build-context`, by name as written, with its `::platform` where it has one.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What `RUN` may ask for.
    pub allow: Allow,
    /// What the build says for all its `RUN` steps, as parts of their keys.
    pub run_settings: Vec<Part>,
}

/// Which steps ignore the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    None,
    /// All.
    All,
    /// Those of these stages, by name or number.
    Stages(Vec<String>),
}

/// What a name given by `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Files that the caller holds under this number.
    Files(usize),
    /// An image.
    Image(ImageName),
}

/// What `RUN` may ask for: BuildKit's entitlements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    /// `--network=host`.
    pub network_host: bool,
    /// `--security=insecure`.
    pub security_insecure: bool,
}
