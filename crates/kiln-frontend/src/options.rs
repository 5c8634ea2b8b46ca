//! What a build is told beside its Dockerfile.

use std::collections::BTreeMap;

use kiln_oci::Platform;

/// How to lower a Dockerfile.
#[derive(Debug, Clone)]
pub struct LowerOptions {
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
}

/// Which steps ignore the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    None,
    /// All.
    All,
}
