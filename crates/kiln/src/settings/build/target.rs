//! A target of a bake file as the flags of `kiln build` that mean the same.

use clap::ValueEnum;
use kiln_bake::{Policy, Resources, Target};
use kiln_dockerfile::gitref::GitRef;

use super::FlagError;
use super::context::{context_name, is_http};
use crate::args::{
    AccessArgs, Assignment, BuildArgs, CacheArgs, ImageArgs, LegacyArgs, NetworkName, OutputArgs,
    ShowArgs, StepArgs,
};

/// What a bake file writes before a path of the working directory.
const HERE: &str = "cwd://";
/// What it writes before the name of another target.
const LINK: &str = "target:";

/// The flags. Contexts that are other targets are left out: no flag can say them.
pub(crate) fn flags(target: &Target) -> Result<BuildArgs, FlagError> {
    let context = local(target.context.as_deref().unwrap_or(".")).to_owned();
    Ok(BuildArgs {
        file: dockerfile(target, &context),
        dockerfile_inline: target.dockerfile_inline.clone(),
        tags: target.tags.clone().unwrap_or_default(),
        target: target.target.clone(),
        build_args: assignments(&target.args),
        platforms: target.platforms.clone().unwrap_or_default(),
        build_contexts: target
            .contexts
            .iter()
            .filter(|(_, value)| !value.starts_with(LINK))
            .map(|(name, value)| format!("{name}={}", local(value)))
            .collect(),
        outputs: OutputArgs {
            outputs: texts(target.outputs.as_deref().unwrap_or_default()),
            ..OutputArgs::default()
        },
        image: ImageArgs {
            labels: assignments(&target.labels),
            annotations: target.annotations.clone(),
            attest: texts(&target.attest),
            ..ImageArgs::default()
        },
        cache: CacheArgs {
            no_cache: target.no_cache.unwrap_or(false),
            no_cache_filter: target.no_cache_filter.clone(),
            pull: target.pull.unwrap_or(false),
            cache_from: texts(&target.cache_from),
            cache_to: texts(target.cache_to.as_deref().unwrap_or_default()),
        },
        steps: steps(target)?,
        access: AccessArgs {
            secrets: texts(&target.secrets),
            ssh: texts(&target.ssh),
            allow: target.entitlements.clone(),
        },
        show: ShowArgs {
            call: target.call.clone(),
            ..ShowArgs::default()
        },
        legacy: LegacyArgs {
            policy: texts::<Policy>(&target.policy),
            rm: true,
            ..resources(target.resources.as_ref())
        },
        context,
    })
}

/// The contexts that are other targets: the name as a Dockerfile writes it, and the target.
pub(crate) fn links(target: &Target) -> Result<Vec<(String, String)>, FlagError> {
    let linked = |(name, value): (&String, &String)| {
        let other = value.strip_prefix(LINK)?.to_owned();
        let text = format!("{name}={value}");
        let name =
            context_name(name).map_err(|reason| FlagError::new("--build-context", &text, reason));
        Some(name.map(|name| (name, other)))
    };
    target.contexts.iter().filter_map(linked).collect()
}

fn local(path: &str) -> &str {
    match path.strip_prefix(HERE) {
        Some("") => ".",
        Some(path) => path,
        None => path,
    }
}

/// The Dockerfile is named as seen from the context, unless it says `cwd://`.
fn dockerfile(target: &Target, context: &str) -> Option<String> {
    let name = target.dockerfile.as_deref().unwrap_or("Dockerfile");
    if let Some(path) = name.strip_prefix(HERE) {
        return Some(path.to_owned());
    }
    let is_remote = is_http(context) || matches!(GitRef::parse(context), Ok(Some(_)) | Err(_));
    match name {
        "Dockerfile" => None,
        name if is_remote || is_http(name) || name.starts_with('/') => Some(name.to_owned()),
        name => Some(format!("{context}/{name}")),
    }
}

fn texts<T: ToString>(entries: &[T]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

fn assignments(pairs: &std::collections::BTreeMap<String, String>) -> Vec<Assignment> {
    let pair = |(name, value): (&String, &String)| Assignment {
        name: name.clone(),
        value: Some(value.clone()),
    };
    pairs.iter().map(pair).collect()
}

fn steps(target: &Target) -> Result<StepArgs, FlagError> {
    let network = match target.network.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            NetworkName::from_str(text, false)
                .map_err(|_| FlagError::new("--network", text, "expected default, host or none"))?,
        ),
    };
    let hosts = target.extra_hosts.iter();
    Ok(StepArgs {
        network,
        add_hosts: hosts
            .flat_map(|(name, list)| {
                let addresses = list.split(',').map(str::trim);
                addresses.map(move |address| format!("{name}={address}"))
            })
            .collect(),
        shm_size: target.shm_size.clone(),
        ulimits: target.ulimits.clone(),
        ..StepArgs::default()
    })
}

fn resources(resources: Option<&Resources>) -> LegacyArgs {
    let Some(resources) = resources else {
        return LegacyArgs::default();
    };
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    LegacyArgs {
        memory: resources.memory.clone(),
        memory_swap: resources.memory_swap.clone(),
        cpu_shares: number(resources.cpu_shares),
        cpu_period: number(resources.cpu_period),
        cpu_quota: number(resources.cpu_quota),
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        ..LegacyArgs::default()
    }
}
