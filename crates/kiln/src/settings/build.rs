//! From the flags of `kiln build`, or a target of `kiln bake`, to the engine's request.
//!
//! One file for each family of flags. What a value means is buildx's; where buildx drops what it
//! can't use, this is an error.

mod access;
pub(crate) mod call;
mod context;
mod legacy;
mod limits;
pub(crate) mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;

use kiln_attest::{AttestError, AttestRequest};
use kiln_base::Timestamp;
use kiln_cache::{CacheSource, CacheTarget};
use kiln_engine::{Annotation, BuildRequest, CacheUse, Output, Pull, StepSettings};
use kiln_graph::Network;
use kiln_oci::{Platform, PlatformError};

use super::Settings;
use super::annotation::{self, AnnotationError};
use super::env::{self, Environment, SOURCE_DATE_EPOCH};
use super::outputs::{self, Asked, Outputs, OutputsError, parse_name};
use super::trust;
use crate::args::{Assignment, BuildArgs, HostEntry, NetworkName, ProgressChoice};
use crate::spool::Spool;

pub(crate) use call::{Call, CallFormat, Method};

/// Why a build can't be asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildArgsError {
    #[error(transparent)]
    Flag(#[from] FlagError),
    #[error("no build context is named")]
    NoContext,
    #[error("could not use `{address}` as a git repository")]
    Git {
        address: String,
        #[source]
        cause: kiln_dockerfile::gitref::GitRefError,
    },
    #[error("the context and the Dockerfile can't both be standard input")]
    StdinTwice,
    #[error("standard input is a Dockerfile, and so is `{0}`")]
    TwoDockerfiles(String),
    #[error("could not read standard input")]
    Stdin(#[source] std::io::Error),
    #[error("could not keep the archive from standard input")]
    Spool(#[source] kiln_sys::fs::FsError),
    #[error("what standard input holds is neither an archive nor a Dockerfile: it is not UTF-8")]
    StdinBinary,
    #[error("`SOURCE_DATE_EPOCH` is `{0}`, not a number of seconds")]
    Epoch(String),
    #[error("`{0}` is not a platform")]
    Platform(String, #[source] PlatformError),
    #[error("`--push` needs a name for the image")]
    PushNeedsName,
    #[error("`--iidfile` needs an image, and the outputs are files only")]
    NoImage,
    #[error("`--no-cache` leaves nothing for `--no-cache-filter` to choose from")]
    FilterOfNothing,
    #[error("`EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names a policy, and kiln has none")]
    SourcePolicy,
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error("could not use `{flag} {value}`")]
    Cache {
        flag: &'static str,
        value: String,
        #[source]
        cause: kiln_cache::OptionError,
    },
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    #[error(transparent)]
    Trust(#[from] trust::TrustError),
}

/// A flag's value that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("could not use `{}`: {reason}", self.shown())]
pub(crate) struct FlagError {
    flag: &'static str,
    value: String,
    reason: String,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl FlagError {
    fn new(flag: &'static str, value: &str, reason: impl Into<String>) -> Self {
        Self {
            flag,
            value: value.to_owned(),
            reason: reason.into(),
            cause: None,
        }
    }

    fn shown(&self) -> String {
        format!("{} {}", self.flag, self.value)
            .trim_end()
            .to_owned()
    }

    fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }
}

/// A build, decided.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) request: BuildRequest,
    /// A question that is answered instead of building.
    pub(crate) call: Option<Call>,
    /// What the user should know before, each a line.
    pub(crate) notes: Vec<String>,
    /// Keeps an archive from standard input while it is needed.
    pub(crate) spool: Option<Spool>,
}

/// Decides what to build. Of `stdin` no more is read than the flags ask for.
pub(crate) fn resolve(
    args: &BuildArgs,
    settings: &Settings,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Result<Plan, BuildArgsError> {
    refuse_two_ways_to_show(args)?;
    let call = call::resolve(args)?;
    let mut notes = legacy::notes(args, environment)?;
    let (allow, may_delete) = access::allow(&args.access.allow, &mut notes)?;
    let outputs = all_outputs(args, settings, environment)?;
    if !may_delete {
        outputs::check_deletes(&outputs.list, environment)?;
    }
    notes.extend(outputs.notes.iter().cloned());
    let build_args = build_args(&args.build_args, environment);
    let attest = attest(args, &build_args)?;
    let (cache_from, cache_to) = caches(args, &build_args, environment)?;
    let secrets = access::secrets(&args.access.secrets, environment, &mut notes)?;
    let ssh = access::ssh(&args.access.ssh, &args.context, environment)?;
    let network = args.steps.network.unwrap_or(settings.network);
    let sources = context::sources(args, environment, stdin)?;
    let request = BuildRequest {
        name: String::new(),
        context: sources.context,
        contexts: context::named(&args.build_contexts, environment)?,
        dockerfile: sources.dockerfile,
        target: args.target.clone().filter(|target| !target.is_empty()),
        source_date_epoch: epoch_number(build_args.get(SOURCE_DATE_EPOCH.name)),
        build_args,
        labels: labels(&args.image.labels),
        platforms: platforms(args, settings)?,
        tags: names(&args.tags)?,
        outputs: outputs.list,
        cache: cache_use(args)?,
        cache_from,
        cache_to,
        pull: if args.cache.pull {
            Pull::Always
        } else {
            Pull::Missing
        },
        steps: StepSettings {
            network: self::network(network),
            extra_hosts: limits::hosts(&args.steps.add_hosts)?,
            allow: kiln_engine::Allow {
                network_host: allow.network_host || network == NetworkName::Host,
                ..allow
            },
            shm_size: limits::shm_size(args.steps.shm_size.as_deref())?,
            ulimits: limits::ulimits(&args.steps.ulimits)?,
            cgroup_parent: args
                .steps
                .cgroup_parent
                .clone()
                .filter(|path| !path.is_empty()),
            resources: limits::resources(&args.legacy, &args.steps.resources)?,
        },
        secrets,
        ssh,
        proxies: proxies(environment),
        annotations: annotations(&args.image.annotations)?,
        attest,
        jobs: settings.jobs,
        file_times: outputs.packing.file_times,
        format: outputs.packing.format,
        compression: outputs.packing.compression,
        trust: trust::read(&settings.trust_host_cas, environment)?,
        explain: args.show.explain || args.show.debug,
    };
    check_names(args, &request)?;
    Ok(Plan {
        request,
        call,
        notes,
        spool: sources.spool,
    })
}

/// `-o`, `--push` and `--load`.
fn all_outputs(
    args: &BuildArgs,
    settings: &Settings,
    environment: &Environment,
) -> Result<Outputs, OutputsError> {
    let asked = Asked {
        specs: &args.outputs.outputs,
        push: args.outputs.push,
        load: args.outputs.load,
        rewrite_timestamp: args.outputs.rewrite_timestamp,
        tagged: !args.tags.is_empty(),
    };
    outputs::resolve(asked, settings, environment)
}

/// `--quiet` says how progress is shown, and so does `--progress`.
fn refuse_two_ways_to_show(args: &BuildArgs) -> Result<(), FlagError> {
    use ProgressChoice::{Auto, Json, None, Plain, Quiet, Rawjson, Tty};
    match args.show.progress {
        Some(Tty | Plain | Json | Rawjson) if args.show.quiet => Err(FlagError::new(
            "--quiet",
            "",
            "`--progress` asks for something else",
        )),
        Some(Tty | Plain | Json | Rawjson | Auto | Quiet | None) | Option::None => Ok(()),
    }
}

/// `--attest`, `--sbom`, `--provenance`, and the build arguments that stand for them.
fn attest(
    args: &BuildArgs,
    build_args: &BTreeMap<String, String>,
) -> Result<AttestRequest, AttestError> {
    let image = &args.image;
    AttestRequest::parse(
        &image.attest,
        image.provenance.as_deref(),
        image.sbom.as_deref(),
    )?
    .with_build_args(build_args)
}

/// A cache's attributes as an error may show them: keys and tokens are among the values.
fn without_values(text: &str) -> String {
    let shown = |field: &str| match field.split_once('=') {
        Some(("type", _)) | None => field.to_owned(),
        Some((name, _)) => format!("{name}=…"),
    };
    text.split(',').map(shown).collect::<Vec<_>>().join(",")
}

/// `--cache-from`, `--cache-to`, and the build argument that asks for an inline cache.
fn caches(
    args: &BuildArgs,
    build_args: &BTreeMap<String, String>,
    environment: &Environment,
) -> Result<(Vec<CacheSource>, Vec<CacheTarget>), BuildArgsError> {
    let variables = kiln_cache::Environment::new(
        kiln_cache::Environment::NAMES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), environment.passed_on(name)?))),
    );
    let wrong = |flag, value: &str, cause| BuildArgsError::Cache {
        flag,
        value: without_values(value),
        cause,
    };
    let mut from = Vec::new();
    for text in args.cache.cache_from.iter().filter(|text| !text.is_empty()) {
        let parsed = kiln_cache::parse_from(text, &variables);
        from.extend(parsed.map_err(|cause| wrong("--cache-from", text, cause))?);
    }
    let mut to = Vec::new();
    let inline = build_args
        .get("BUILDKIT_INLINE_CACHE")
        .is_some_and(|value| crate::args::parse_switch(value) == Ok(true));
    let inline = inline.then(|| "type=inline".to_owned());
    let targets = args.cache.cache_to.iter().chain(&inline);
    for text in targets.filter(|text| !text.is_empty()) {
        let parsed = kiln_cache::parse_to(text, &variables);
        to.extend(parsed.map_err(|cause| wrong("--cache-to", text, cause))?);
    }
    Ok((from, to))
}

fn check_names(args: &BuildArgs, request: &BuildRequest) -> Result<(), BuildArgsError> {
    let outputs = &request.outputs;
    let nameless =
        |output: &Output| matches!(output, Output::Push { image, .. } if image.names.is_empty());
    if request.tags.is_empty() && outputs.iter().any(nameless) {
        return Err(BuildArgsError::PushNeedsName);
    }
    let is_files = |output: &Output| {
        matches!(
            output,
            Output::Tar { .. } | Output::Local { .. } | Output::CacheOnly
        )
    };
    if args.outputs.iidfile.is_some() && !outputs.is_empty() && outputs.iter().all(is_files) {
        return Err(BuildArgsError::NoImage);
    }
    Ok(())
}

fn names(tags: &[String]) -> Result<Vec<kiln_oci::Reference>, OutputsError> {
    tags.iter().map(|tag| parse_name(tag)).collect()
}

fn platforms(args: &BuildArgs, settings: &Settings) -> Result<Vec<Platform>, BuildArgsError> {
    if args.platforms.iter().all(String::is_empty) {
        return Ok(settings.platforms.clone());
    }
    parse_platforms(&args.platforms.join(","))
        .map_err(|(text, cause)| BuildArgsError::Platform(text, cause))
}

/// Platforms separated by commas, each once. The error comes with the text that is none.
pub(crate) fn parse_platforms(list: &str) -> Result<Vec<Platform>, (String, PlatformError)> {
    let mut platforms: Vec<Platform> = Vec::new();
    for text in list.split(',').filter(|text| !text.is_empty()) {
        let platform = if text.eq_ignore_ascii_case("local") {
            Platform::host()
        } else {
            text.parse::<Platform>()
                .map_err(|cause| (text.to_owned(), cause))?
                .normalized()
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn cache_use(args: &BuildArgs) -> Result<CacheUse, BuildArgsError> {
    let stages: Vec<String> = args
        .cache
        .no_cache_filter
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|stage| !stage.is_empty())
        .map(str::to_owned)
        .collect();
    match (args.cache.no_cache, stages.is_empty()) {
        (true, true) => Ok(CacheUse::Ignore),
        (true, false) => Err(BuildArgsError::FilterOfNothing),
        (false, true) => Ok(CacheUse::Use),
        (false, false) => Ok(CacheUse::IgnoreStages(stages)),
    }
}

fn annotations(flags: &[String]) -> Result<Vec<Annotation>, AnnotationError> {
    let mut annotations = Vec::new();
    for flag in flags.iter().filter(|flag| !flag.is_empty()) {
        for parsed in annotation::parse_flag(flag)? {
            annotation::add(&mut annotations, parsed);
        }
    }
    Ok(annotations)
}

/// Values for ARGs. One without a value takes the environment's, or is left out; as with docker,
/// `SOURCE_DATE_EPOCH` is handed on without being asked for.
fn build_args(typed: &[Assignment], environment: &Environment) -> BTreeMap<String, String> {
    let epoch = environment.get(&SOURCE_DATE_EPOCH).map(|epoch| {
        let epoch = epoch.to_string_lossy().into_owned();
        (SOURCE_DATE_EPOCH.name.to_owned(), epoch)
    });
    let typed = typed.iter().filter_map(|arg| {
        let value = arg
            .value
            .clone()
            .or_else(|| environment.passed_on(&arg.name))?;
        Some((arg.name.clone(), value))
    });
    epoch.into_iter().chain(typed).collect()
}

/// `SOURCE_DATE_EPOCH` of the environment.
pub(crate) fn source_date_epoch(
    environment: &Environment,
) -> Result<Option<Timestamp>, BuildArgsError> {
    epoch(environment.passed_on(SOURCE_DATE_EPOCH.name).as_ref())
}

/// The time that a build argument says as a number; what else it may say the engine knows.
fn epoch_number(text: Option<&String>) -> Option<Timestamp> {
    let seconds = text?.parse().ok()?;
    Some(Timestamp::from_seconds(seconds))
}

fn epoch(text: Option<&String>) -> Result<Option<Timestamp>, BuildArgsError> {
    match text {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => match text.parse() {
            Ok(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
            Err(_) => Err(BuildArgsError::Epoch(text.clone())),
        },
    }
}

/// Unlike a build argument, a label without a value is an empty one.
fn labels(typed: &[Assignment]) -> BTreeMap<String, String> {
    let pair = |label: &Assignment| (label.name.clone(), label.value.clone().unwrap_or_default());
    typed.iter().map(pair).collect()
}

/// The proxies that kiln itself uses.
fn proxies(environment: &Environment) -> Vec<(String, String)> {
    let set = |name: &str| Some((name.to_owned(), environment.passed_on(name)?));
    let names = env::PROXIES.iter().filter_map(|name| set(name));
    names.filter(|(_, value)| !value.is_empty()).collect()
}

/// The engine's word for a network.
pub(crate) const fn network(name: NetworkName) -> Network {
    match name {
        NetworkName::Default => Network::Default,
        NetworkName::Host => Network::Host,
        NetworkName::None => Network::None,
    }
}

/// Lines for `/etc/hosts` as the engine takes them.
pub(crate) fn extra_hosts(entries: &[HostEntry]) -> Vec<(String, String)> {
    let pair = |entry: &HostEntry| (entry.host.clone(), entry.address.to_string());
    entries.iter().map(pair).collect()
}
