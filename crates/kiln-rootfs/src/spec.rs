//! builderd's configuration of a build as JSON, in both of its vocabularies.
//!
//! Its documentation and its protocol had different names for the same things (`registry_auth` and
//! `auth`, `docker_strategy` and `docker_extract`); both are taken, also in the protocol's camel
//! case, and may be mixed. A name that nobody knows is an error, and so is a wish that a disk can't
//! fulfil: nothing is read and then ignored.
//!
//! Deliberately absent: tenants, quotas, webhooks and retries, which are a server's.

mod object;
mod source;

use std::collections::BTreeMap;

use serde_json::Value;

use self::object::{Meaning, Object};
use self::source::source;
pub use self::source::{ArchiveSource, GitAuth, GitSource, ImageAuth, Source};
use crate::request::{DiskFormat, FileCompression, Overrides};

/// A build as builderd's configuration describes it.
#[derive(Debug)]
pub struct Spec {
    /// What the disk is made from.
    pub source: Source,
    /// The file system; `None` leaves it open.
    pub format: Option<DiskFormat>,
    /// The file's compression.
    pub compression: Option<FileCompression>,
    /// The most bytes that the disk may have.
    pub size_limit: Option<u64>,
    /// What is the machine's first process.
    pub init: Option<InitName>,
    /// The script of [`InitName::Custom`], where one is named.
    pub init_script: Option<String>,
    /// What runs instead of what the image says.
    pub runtime: Overrides,
    /// What is removed.
    pub optimise: OptimiseSpec,
    /// Patterns of files that are left out.
    pub exclude: Vec<String>,
    /// Patterns of files that stay, whatever a rule says.
    pub preserve: Vec<String>,
    /// Commands that are run in the image before the disk is made.
    pub commands: Vec<String>,
    /// What the build may take.
    pub limits: Limits,
    /// What the build is called.
    pub name: Option<String>,
    /// Labels of the build.
    pub labels: BTreeMap<String, String>,
}

/// What a build may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Seconds that it may take.
    pub seconds: Option<u64>,
    /// Whether its commands have no network.
    pub no_network: bool,
}

/// What the machine's first process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitName {
    /// kiln's own, which starts the image's command.
    Direct,
    /// The image's systemd.
    Systemd,
    /// The user's.
    Custom,
}

/// What is removed, as builderd's options name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the wire format's own, independent switches"
)]
pub struct OptimiseSpec {
    /// `optimize_for_size`: all that a running program does not need.
    pub size: bool,
    /// `remove_dev_packages`.
    pub dev_packages: bool,
    /// `remove_docs`.
    pub docs: bool,
    /// `remove_cache`.
    pub cache: bool,
    /// `strip_debug_symbols`.
    pub strip: bool,
}

/// Why a configuration can't be used. Places are as `config.target.microvm_rootfs.format`.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is no JSON.
    #[error("the configuration is no JSON")]
    Json(#[source] serde_json::Error),
    /// A name that means nothing.
    #[error("`{0}` is no part of a configuration")]
    Unknown(String),
    /// A value of another type.
    #[error("`{path}` has to be {expected}")]
    Type {
        /// Where.
        path: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A value that means nothing.
    #[error("`{path}` is `{value}`; it can be {expected}")]
    Value {
        /// Where.
        path: String,
        /// What it is.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// Something that has to be said is not.
    #[error("`{0}` is missing")]
    Missing(String),
    /// Two names of the same thing, or two things of which there can be one.
    #[error("`{0}` and `{1}` can't both be given")]
    Both(String, String),
    /// Known, and not to be had here.
    #[error("`{path}` can't be done: {why}")]
    Unsupported {
        /// Where.
        path: String,
        /// Why.
        why: &'static str,
    },
}

/// Things of a server, which one command does not have.
const SERVICE: &[&str] = &["webhook", "retry_policy", "tenant", "suggested_asset_id"];
/// Limits of a service that has many tenants, or of machines that it starts.
const SERVICE_LIMITS: &[&str] = &[
    "max_memory_bytes",
    "max_cpu_cores",
    "max_concurrent_builds",
    "max_daily_builds",
    "max_storage_bytes",
    "allowed_registries",
    "allowed_git_hosts",
    "allow_privileged_builds",
    "blocked_commands",
    "sandbox_level",
];
/// Strategies that need a builder of their own.
const BUILDERS: &[&str] = &["go_api", "sinatra", "nodejs"];
/// What an archive's own builder would be told.
const ARCHIVE_BUILDER: &[&str] = &[
    "build_script",
    "runtime",
    "version",
    "dependencies",
    "output_path",
];

impl Spec {
    /// Reads a configuration: `{"config": {…}}`, or what is in `config` alone.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let value: Value = serde_json::from_str(text).map_err(SpecError::Json)?;
        let mut top = Object::of(String::new(), &value)?;
        let mut config = match top.object(&["config"])? {
            Some(config) => {
                top.refuse(SERVICE, "it is part of a service, not of one disk")?;
                top.finish()?;
                config
            }
            None => top,
        };
        config.refuse(SERVICE, "it is part of a service, not of one disk")?;
        let mut spec = Self::empty(source(&mut config)?);
        spec.name = config.text(&["build_name"])?;
        spec.labels = config.texts_by_name(&["labels"])?.into_iter().collect();
        let mut target = config.need_object("target")?;
        target.refuse(
            &["container_image"],
            "the result of `kiln rootfs` is a disk; `kiln build` makes images",
        )?;
        spec.take_rootfs(target.need_object("microvm_rootfs")?)?;
        target.finish()?;
        if let Some(strategy) = config.object(&["strategy"])? {
            spec.take_strategy(strategy)?;
        }
        if let Some(limits) = config.object(&["limits"])? {
            spec.take_limits(limits)?;
        }
        config.finish()?;
        Ok(spec)
    }

    fn empty(source: Source) -> Self {
        Self {
            source,
            format: None,
            compression: None,
            size_limit: None,
            init: None,
            init_script: None,
            runtime: Overrides::default(),
            optimise: OptimiseSpec::default(),
            exclude: Vec::new(),
            preserve: Vec::new(),
            commands: Vec::new(),
            limits: Limits::default(),
            name: None,
            labels: BTreeMap::new(),
        }
    }

    fn take_rootfs(&mut self, mut rootfs: Object<'_>) -> Result<(), SpecError> {
        self.format = rootfs.word(
            &["format"],
            "ext4, erofs, squashfs, cpio",
            DiskFormat::from_name,
        )?;
        self.compression = rootfs.word(
            &["compression"],
            "none, gzip, zstd",
            FileCompression::from_name,
        )?;
        self.size_limit = rootfs
            .number(&["size_limit_bytes"])?
            .filter(|limit| *limit > 0);
        self.init = rootfs.choice(
            &["init_strategy"],
            "INIT_STRATEGY_DIRECT_EXEC, INIT_STRATEGY_SYSTEMD, INIT_STRATEGY_CUSTOM",
            init_name,
        )?;
        self.init_script = rootfs.text(&["init_script"])?;
        self.preserve.extend(rootfs.texts(&["preserve_paths"])?);
        if let Some(mut runtime) = rootfs.object(&["runtime_config"])? {
            let given = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
            self.runtime.cmd = given(runtime.texts(&["command"])?);
            self.runtime.entrypoint = given(runtime.texts(&["entrypoint"])?);
            let dir = runtime.text(&["working_dir"])?;
            self.runtime.working_dir = dir.filter(|dir| !dir.is_empty());
            self.runtime.env = runtime.texts_by_name(&["environment"])?;
            self.runtime.exposed_ports = runtime.texts(&["exposed_ports"])?;
            runtime.finish()?;
        }
        if let Some(mut settings) = rootfs.object(&["optimization"])? {
            self.optimise.strip |= settings.switch(&["strip_debug_symbols"])?;
            self.optimise.docs |= settings.switch(&["remove_docs"])?;
            self.optimise.cache |= settings.switch(&["remove_cache"])?;
            settings.refuse_switch(
                "compress_binaries",
                "packed programs start slower and take more memory; compress the disk instead",
            )?;
            self.preserve.extend(settings.texts(&["preserve_paths"])?);
            self.exclude.extend(settings.texts(&["exclude_patterns"])?);
            settings.finish()?;
        }
        rootfs.finish()
    }

    fn take_strategy(&mut self, mut strategy: Object<'_>) -> Result<(), SpecError> {
        strategy.refuse(
            BUILDERS,
            "kiln builds from a Dockerfile; a repository with one is a source",
        )?;
        if let Some(mut docker) = strategy.object(&["docker_strategy", "docker_extract"])? {
            self.optimise.size |= docker.switch(&["optimize_for_size"])?;
            self.optimise.dev_packages |= docker.switch(&["remove_dev_packages"])?;
            docker.refuse_switch(
                "preserve_layers",
                "a disk has one file system, into which all layers are merged",
            )?;
            // Merged they always are.
            docker.switch(&["flatten_filesystem"])?;
            self.commands.extend(docker.texts(&["custom_commands"])?);
            self.exclude.extend(docker.texts(&["exclude_patterns"])?);
            docker.finish()?;
        }
        if let Some(git) = strategy.object(&["git_strategy"])? {
            self.take_git_strategy(git)?;
        }
        if let Some(archive) = strategy.object(&["archive_strategy"])? {
            archive.refuse(
                ARCHIVE_BUILDER,
                "kiln builds an archive by the Dockerfile in it, which says all of this",
            )?;
            archive.finish()?;
        }
        strategy.finish()
    }

    fn take_limits(&mut self, mut limits: Object<'_>) -> Result<(), SpecError> {
        limits.refuse(
            SERVICE_LIMITS,
            "it is for a service with tenants, not for one disk",
        )?;
        let given = |number: Option<u64>| number.filter(|number| *number > 0);
        let disk = given(limits.number(&["max_disk_bytes"])?);
        let both = [self.size_limit, disk];
        self.size_limit = both.into_iter().flatten().min();
        let seconds = given(limits.number(&["timeout_seconds"])?);
        let minutes = given(limits.number(&["max_build_time_minutes"])?);
        let minutes = minutes.map(|minutes| minutes.saturating_mul(60));
        self.limits.seconds = [seconds, minutes].into_iter().flatten().min();
        self.limits.no_network = limits.given_switch("allow_external_network")? == Some(false);
        limits.finish()
    }

    fn take_git_strategy(&mut self, mut git: Object<'_>) -> Result<(), SpecError> {
        let path = git.path().to_owned();
        let Source::Git(source) = &mut self.source else {
            return Err(SpecError::Unsupported {
                path,
                why: "the source is no git repository",
            });
        };
        git.word(&["build_system"], "docker", |word| {
            (word == "docker").then_some(())
        })?;
        let dockerfile = git.text(&["dockerfile_path"])?;
        if let (Some(one), Some(other)) = (&source.dockerfile, &dockerfile)
            && one != other
        {
            return Err(SpecError::Both(
                "source.git_repository.dockerfile_path".to_owned(),
                format!("{path}.dockerfile_path"),
            ));
        }
        source.dockerfile = dockerfile.or(source.dockerfile.take());
        source.build_args = git.texts_by_name(&["build_args"])?.into_iter().collect();
        // Steps are kept in any case.
        git.switch(&["cache_dependencies"])?;
        git.finish()
    }
}

/// The protocol's names and numbers, and the documentation's names.
fn init_name(value: &Value) -> Meaning<InitName> {
    let number = value.as_u64();
    let name = value.as_str().unwrap_or_default();
    let name = name.strip_prefix("INIT_STRATEGY_").unwrap_or(name);
    match (name, number) {
        ("UNSPECIFIED", _) | (_, Some(0)) => Meaning::NotSaid,
        // What tini does, kiln's own does, too.
        ("DIRECT" | "DIRECT_EXEC" | "TINI", _) | (_, Some(1 | 2)) => {
            Meaning::Said(InitName::Direct)
        }
        ("SYSTEMD", _) => Meaning::Said(InitName::Systemd),
        ("CUSTOM", _) | (_, Some(3)) => Meaning::Said(InitName::Custom),
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests;
