//! A service to a target.

use std::collections::BTreeMap;

use super::fields::{flag, hosts, pairs, size, text, texts, ulimits};
use super::variables::Environment;
use super::yaml::{Yaml, YamlKind};
use crate::entry::{Entry, Noun, Secret, Ssh, parse_bool};
use crate::path;
use crate::source::{Fault, Outcome, did_you_mean};
use crate::target::{Target, first_of_each, without_duplicates};

const BUILD: [&str; 25] = [
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];
const X_BAKE: [&str; 11] = [
    "cache-from",
    "cache-to",
    "contexts",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "secret",
    "ssh",
    "tags",
];

/// The target of a service, if it is built. Paths are seen from `base`.
pub(super) fn target(
    project: &Yaml,
    (name, service): (&str, &Yaml),
    environment: &Environment,
    base: Option<&str>,
) -> Outcome<Option<Target>> {
    let Some(build) = service.get("build").filter(|build| !build.is_null()) else {
        if service.get("image").is_none_or(Yaml::is_null) && service.get("provider").is_none() {
            return Err(Fault::at(
                service.key,
                format!("service `{name}` has neither `image` nor `build`"),
            ));
        }
        return Ok(None);
    };
    let name = name.replace('.', "_");
    if name.is_empty()
        || !name
            .chars()
            .all(|ch| ch.is_ascii_alphanumeric() || ch == '_' || ch == '-')
    {
        return Err(Fault::at(
            service.span,
            format!("service `{name}`: letters, digits, `_` and `-` are allowed"),
        ));
    }
    let mut target = Target {
        name,
        default_base: base.map(str::to_owned),
        ..Target::default()
    };
    match &build.kind {
        YamlKind::Text(context) => target.context = Some(local(context)),
        YamlKind::Map(entries) => {
            for (key, value) in entries {
                if key.starts_with("x-") {
                    continue;
                }
                if !BUILD.contains(&key.as_str()) {
                    return Err(Fault::at(value.key, format!("`build` has no `{key}`"))
                        .hint(did_you_mean(key, BUILD)));
                }
                set(&mut target, key, value).map_err(|fault| fault.or_at(value.span))?;
            }
            if let Some(args) = build.get("args") {
                target.args = arguments(args, service, environment)?;
            }
            if let Some(list) = build.get("secrets") {
                target.secrets = secrets(list, project)?;
            }
            if let Some(extension) = build.get("x-bake") {
                extend(&mut target, extension)?;
            }
        }
        _ => return Err(Fault::at(build.span, "`build` is a directory or a map")),
    }
    if target.tags.as_ref().is_none_or(Vec::is_empty) {
        let image = service
            .get("image")
            .map_or(Ok(None), |image| text(image, "image"))?;
        target.tags = image.map(|image| vec![image]).or(target.tags);
    }
    if let Some(base) = base {
        target.context = target
            .context
            .map(|context| crate::path::rebased(base, &context));
        target
            .contexts
            .values_mut()
            .for_each(|context| *context = crate::path::rebased(base, context));
    }
    Ok(Some(target))
}

/// A path without `./`; anything else stays.
fn local(context: &str) -> String {
    let fixed =
        context.contains("://") || context.starts_with("service:") || path::is_remote(context);
    if fixed || context.is_empty() {
        context.to_owned()
    } else {
        path::clean(context)
    }
}

fn named_contexts(value: &Yaml, clean: bool) -> Outcome<BTreeMap<String, String>> {
    let contexts = pairs(value, "additional_contexts")?.into_iter();
    Ok(contexts
        .map(|(key, context)| {
            let context = context.unwrap_or_default();
            let context = match context
                .strip_prefix("service:")
                .or_else(|| context.strip_prefix("target:"))
            {
                Some(other) => format!("target:{}", other.replace('.', "_")),
                None if clean => local(&context),
                None => context,
            };
            (key, context)
        })
        .collect())
}

fn caches(value: &Yaml, what: &str) -> Outcome<Vec<Entry>> {
    let lists: Vec<Vec<Entry>> = texts(value, what)?
        .iter()
        .map(|text| Entry::parse(text, Noun::Cache))
        .collect::<Outcome<_>>()?;
    Ok(lists.concat())
}

fn attestation(kind: &str, value: &Yaml) -> Outcome<Vec<Entry>> {
    let Some(given) = text(value, kind)? else {
        return Ok(Vec::new());
    };
    let options = match parse_bool(&given) {
        Some(enabled) => format!("disabled={}", !enabled),
        None => given,
    };
    Entry::parse(&format!("type={kind},{options}"), Noun::Attestation)
}

fn set(target: &mut Target, key: &str, value: &Yaml) -> Outcome<()> {
    match key {
        "context" => target.context = text(value, key)?.map(|context| local(&context)),
        "dockerfile" => target.dockerfile = text(value, key)?,
        "dockerfile_inline" => target.dockerfile_inline = text(value, key)?,
        "additional_contexts" => target.contexts = named_contexts(value, true)?,
        "labels" => {
            let labels = pairs(value, key)?.into_iter();
            target.labels = labels
                .map(|(key, value)| (key, value.unwrap_or_default()))
                .collect();
        }
        "cache_from" => target.cache_from = caches(value, key)?,
        "cache_to" => target.cache_to = Some(caches(value, key)?),
        "network" => target.network = text(value, key)?,
        "target" => target.target = text(value, key)?,
        "tags" => target.tags = Some(texts(value, key)?),
        "platforms" => target.platforms = Some(texts(value, key)?),
        "no_cache_filter" => target.no_cache_filter = texts(value, key)?,
        "entitlements" => target.entitlements.extend(texts(value, key)?),
        "privileged" if flag(value, key)? => {
            target.entitlements.push("security.insecure".to_owned());
        }
        "no_cache" => target.no_cache = Some(flag(value, key)?).filter(|set| *set),
        "pull" => target.pull = Some(flag(value, key)?).filter(|set| *set),
        "shm_size" => target.shm_size = size(value)?,
        "ulimits" => target.ulimits = ulimits(value)?,
        "extra_hosts" => target.extra_hosts = hosts(value)?.into_iter().collect(),
        "provenance" | "sbom" => target.attest.extend(attestation(key, value)?),
        "ssh" => {
            let keys = pairs(value, key)?.into_iter();
            target.ssh = keys
                .map(|(id, path)| Ssh {
                    id,
                    paths: path.iter().map(|path| local(path)).collect(),
                })
                .collect();
            target.ssh.sort();
        }
        "isolation" if text(value, key)?.is_some_and(|isolation| isolation != "default") => {
            return Err(Fault::new("`isolation` is only for Windows"));
        }
        _ => {}
    }
    // Both attestations may be given, in any order.
    target
        .attest
        .sort_by(|one, other| other.kind.cmp(&one.kind));
    Ok(())
}

/// Arguments; one without a value takes it from the service's environment, or from ours.
fn arguments(
    args: &Yaml,
    service: &Yaml,
    environment: &Environment,
) -> Outcome<BTreeMap<String, String>> {
    let own: BTreeMap<String, Option<String>> = match service.get("environment") {
        Some(own) => pairs(own, "environment")?.into_iter().collect(),
        None => BTreeMap::new(),
    };
    let mut resolved = BTreeMap::new();
    for (name, value) in pairs(args, "args")? {
        let value = value
            .or_else(|| own.get(&name).cloned().flatten())
            .or_else(|| environment.get(&name).cloned());
        match value {
            Some(value) => drop(resolved.insert(name, value)),
            None if service
                .get("env_file")
                .is_some_and(|files| !files.is_null()) =>
            {
                return Err(Fault::at(
                    args.span,
                    format!("argument `{name}` has no value, and `env_file` is not read"),
                )
                .hint(Some(format!(
                    "set `{name}` in the environment or in `.env`"
                ))));
            }
            None => {}
        }
    }
    Ok(resolved)
}

fn secrets(list: &Yaml, project: &Yaml) -> Outcome<Vec<Secret>> {
    let YamlKind::List(items) = &list.kind else {
        return Err(Fault::at(list.span, "`secrets` is a list"));
    };
    let declared = project
        .get("secrets")
        .map(Yaml::entries)
        .unwrap_or_default();
    let mut secrets = Vec::new();
    for item in items {
        let Some(id) = item
            .text()
            .or_else(|| item.get("source").and_then(Yaml::text))
        else {
            return Err(Fault::at(item.span, "a secret has a name, or a `source`"));
        };
        let Some((_, source)) = declared.iter().find(|(name, _)| name == id) else {
            let names = declared.iter().map(|(name, _)| name.as_str());
            return Err(Fault::at(item.span, format!("unknown secret `{id}`"))
                .hint(did_you_mean(id, names)));
        };
        if source
            .get("external")
            .map_or(Ok(false), |external| flag(external, "external"))?
        {
            return Err(Fault::at(
                source.span,
                format!("secret `{id}` is external: a build can't get it"),
            ));
        }
        let field = |key: &str| source.get(key).map_or(Ok(None), |value| text(value, key));
        let src = field("file")?
            .map(|file| path::clean(&file))
            .unwrap_or_default();
        secrets.push(Secret {
            id: id.to_owned(),
            src,
            env: field("environment")?.unwrap_or_default(),
        });
    }
    Ok(secrets)
}

/// `x-bake`: what compose has no words for.
fn extend(target: &mut Target, extension: &Yaml) -> Outcome<()> {
    for (key, value) in extension.entries() {
        if !X_BAKE.contains(&key.as_str()) {
            return Err(Fault::at(value.key, format!("`x-bake` has no `{key}`"))
                .hint(did_you_mean(key, X_BAKE)));
        }
        let list = match value.text() {
            Some(text) => text.split_whitespace().map(str::to_owned).collect(),
            None if key == "contexts" => Vec::new(),
            None => texts(value, key)?,
        };
        extend_field(target, key, value, &list).map_err(|fault| fault.or_at(value.span))?;
    }
    Ok(())
}

fn extend_field(target: &mut Target, key: &str, value: &Yaml, list: &[String]) -> Outcome<()> {
    let entries = |noun| -> Outcome<Vec<Entry>> {
        let lists: Vec<Vec<Entry>> = list
            .iter()
            .map(|text| Entry::parse(text, noun))
            .collect::<Outcome<_>>()?;
        Ok(lists.concat())
    };
    // Merging knows how each attribute is added.
    let mut more = Target::default();
    let joined = |own: &mut Option<Vec<String>>| {
        let own = own.get_or_insert_default();
        own.extend(list.iter().cloned());
        first_of_each(own);
    };
    match key {
        "tags" => joined(&mut target.tags),
        "platforms" => joined(&mut target.platforms),
        "cache-from" => more.cache_from = entries(Noun::Cache)?,
        "cache-to" => {
            let own = target.cache_to.get_or_insert_default();
            own.extend(entries(Noun::Cache)?);
            without_duplicates(own);
        }
        "output" => {
            let own = target.outputs.get_or_insert_default();
            own.extend(entries(Noun::Output)?);
            without_duplicates(own);
        }
        "secret" => {
            more.secrets = list
                .iter()
                .map(|text| Secret::parse(text))
                .collect::<Outcome<_>>()?;
        }
        "ssh" => more.ssh = list.iter().map(|text| Ssh::parse(text)).collect(),
        "pull" => target.pull = Some(flag(value, key)?),
        "no-cache" => target.no_cache = Some(flag(value, key)?),
        "no-cache-filter" => {
            target.no_cache_filter.extend(list.iter().cloned());
            first_of_each(&mut target.no_cache_filter);
        }
        _ => {
            for (name, context) in named_contexts(value, false)? {
                target.contexts.entry(name).or_insert(context);
            }
        }
    }
    target.merge(more);
    target.ssh.sort();
    Ok(())
}
