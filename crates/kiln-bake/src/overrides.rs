//! `--set pattern.key[+]=value`.

use std::collections::BTreeMap;

use crate::entitlement::Entitlement;
use crate::entry::{Entry, Noun, Policy, Secret, Ssh, parse_bool};
use crate::input::BakeInput;
use crate::resolve;
use crate::source::{Fault, Outcome, did_you_mean};
use crate::target::Target;

/// Values for one key of one target.
#[derive(Clone, Debug, Default)]
struct Override {
    key: String,
    /// What follows the key, after a dot.
    name: String,
    values: Vec<String>,
    append: bool,
}

/// Overrides by target, in order.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    by_target: BTreeMap<String, Vec<Override>>,
}

/// Keys that stand alone.
const PLAIN: [&str; 22] = [
    "annotations",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "dockerfile",
    "entitlements",
    "load",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platform",
    "policy",
    "pull",
    "push",
    "secrets",
    "shm-size",
    "ssh",
    "tags",
    "target",
];
/// Keys with a name after a dot, and one more that stands alone.
const NAMED: [&str; 6] = [
    "args",
    "contexts",
    "extra-hosts",
    "labels",
    "resources",
    "secret",
];

impl Overrides {
    /// Reads the texts of `--set`; patterns are resolved among `targets`.
    pub(crate) fn read(input: &BakeInput, targets: &[Target]) -> Outcome<Self> {
        let mut overrides = Self::default();
        for text in &input.overrides {
            let fault = |message: String| Fault::new(format!("`--set {text}`: {message}"));
            let (left, value) = match text.split_once('=') {
                Some((left, value)) => (left, Some(value)),
                None => (text.as_str(), None),
            };
            let (left, append) = left
                .strip_suffix('+')
                .map_or((left, false), |left| (left, true));
            let mut parts = left.splitn(3, '.');
            let (Some(pattern), Some(key)) = (parts.next(), parts.next()) else {
                return Err(fault("expected `target.key=value`".to_owned()));
            };
            let name = parts.next().unwrap_or_default();
            check_key(key, name, append)
                .map_err(|inner| fault(inner.message.clone()).hint(inner.hint.clone()))?;
            let value = match value {
                Some(value) => value,
                None if key == "args" => match input.environment.get(name) {
                    Some(value) => value,
                    None => continue,
                },
                None => return Err(fault("expected `target.key=value`".to_owned())),
            };
            for target in resolve::expand_targets(pattern, targets)? {
                overrides.add(
                    target,
                    Override {
                        key: key.to_owned(),
                        name: name.to_owned(),
                        values: vec![value.to_owned()],
                        append,
                    },
                );
            }
        }
        Ok(overrides)
    }

    fn add(&mut self, target: String, new: Override) {
        let list = self.by_target.entry(target).or_default();
        match list
            .iter_mut()
            .find(|old| old.key == new.key && old.name == new.name)
        {
            Some(old) => {
                old.append = new.append;
                old.values.extend(new.values);
            }
            None => list.push(new),
        }
    }

    /// Applies what is said of a target. What that lets a build do is granted by whoever typed it.
    pub(crate) fn apply(
        &self,
        name: &str,
        target: &mut Target,
        granted: &mut Vec<Entitlement>,
    ) -> Outcome<()> {
        let list = self
            .by_target
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        // Outputs first, for `push` and `load` look at them, and secrets before their sources.
        let late = |key: &str| matches!(key, "push" | "load" | "secret");
        for each in list
            .iter()
            .filter(|each| !late(&each.key))
            .chain(list.iter().filter(|each| late(&each.key)))
        {
            apply(each, target, granted)
                .map_err(|fault| fault.context(&format!("`--set {name}.{}`", each.key)))?;
        }
        Ok(())
    }
}

fn check_key(key: &str, name: &str, append: bool) -> Outcome<()> {
    if NAMED.contains(&key) {
        if name.is_empty() {
            return Err(Fault::new(format!("expected `{key}.NAME=value`")));
        }
        if append && (key == "resources" || key == "secret") {
            return Err(Fault::new(format!("`{key}` can't be appended to")));
        }
    } else if !PLAIN.contains(&key) && key != "ulimits" {
        let keys = PLAIN.iter().chain(&NAMED).copied().chain(["ulimits"]);
        return Err(Fault::new(format!("unknown key `{key}`")).hint(did_you_mean(key, keys)));
    }
    Ok(())
}

fn apply(each: &Override, target: &mut Target, granted: &mut Vec<Entitlement>) -> Outcome<()> {
    let value = each.values.last().cloned().unwrap_or_default();
    let name = each.name.clone();
    let flag = || parse_bool(&value).ok_or_else(|| Fault::new(format!("`{value}` is no boolean")));
    match each.key.as_str() {
        "context" => target.context = Some(value),
        "dockerfile" => target.dockerfile = Some(value),
        "target" => target.target = Some(value),
        "call" => target.call = Some(value),
        "shm-size" => target.shm_size = Some(value),
        "network" => target.network = Some(value),
        "args" => drop(target.args.insert(name, value)),
        "contexts" => drop(target.contexts.insert(name, value)),
        "labels" => drop(target.labels.insert(name, value)),
        "extra-hosts" => drop(target.extra_hosts.insert(name, value)),
        "resources" => target
            .resources
            .get_or_insert_default()
            .set(&name, &value)?,
        "no-cache" => target.no_cache = Some(flag()?),
        "pull" => target.pull = Some(flag()?),
        "push" => push(target.outputs.get_or_insert_default(), flag()?),
        "load" if flag()? => load(target.outputs.get_or_insert_default()),
        "annotations" => target.annotations.extend(each.values.iter().cloned()),
        "tags" => put(target.tags.get_or_insert_default(), each),
        "platform" => put(target.platforms.get_or_insert_default(), each),
        "no-cache-filter" => put(&mut target.no_cache_filter, each),
        "ulimits" => put(&mut target.ulimits, each),
        "entitlements" => {
            target.entitlements.extend(each.values.iter().cloned());
            granted.extend(
                each.values
                    .iter()
                    .filter_map(|value| Entitlement::named(value)),
            );
        }
        _ => apply_entries(each, target, granted)?,
    }
    Ok(())
}

fn put(list: &mut Vec<String>, each: &Override) {
    if !each.append {
        list.clear();
    }
    list.extend(each.values.iter().cloned());
}

fn put_entries(list: &mut Vec<Entry>, each: &Override, noun: Noun) -> Outcome<()> {
    if !each.append && noun != Noun::Attestation {
        list.clear();
    }
    for value in &each.values {
        list.extend(Entry::parse(value, noun)?);
    }
    Ok(())
}

fn apply_entries(
    each: &Override,
    target: &mut Target,
    granted: &mut Vec<Entitlement>,
) -> Outcome<()> {
    let path = |entry: &Entry, kind: &str, key: &str| {
        entry
            .attributes
            .get(key)
            .filter(|_| kind.is_empty() || entry.kind == kind)
            .cloned()
    };
    match each.key.as_str() {
        "attest" => put_entries(&mut target.attest, each, Noun::Attestation)?,
        "cache-from" => {
            put_entries(&mut target.cache_from, each, Noun::Cache)?;
            let paths = target
                .cache_from
                .iter()
                .filter_map(|entry| path(entry, "local", "src"));
            granted.extend(paths.map(Entitlement::FsRead));
        }
        "cache-to" => {
            let list = target.cache_to.get_or_insert_default();
            put_entries(list, each, Noun::Cache)?;
            granted.extend(
                list.iter()
                    .filter_map(|entry| path(entry, "local", "dest"))
                    .map(Entitlement::FsWrite),
            );
        }
        "output" => {
            let list = target.outputs.get_or_insert_default();
            put_entries(list, each, Noun::Output)?;
            granted.extend(
                list.iter()
                    .filter_map(|entry| path(entry, "", "dest"))
                    .map(Entitlement::FsWrite),
            );
        }
        "policy" => {
            if !each.append {
                target.policy.clear();
            }
            for value in &each.values {
                target.policy.push(Policy::parse(value)?);
            }
        }
        "secrets" => {
            if !each.append {
                target.secrets.clear();
            }
            for value in each.values.iter().filter(|value| !value.is_empty()) {
                let secret = Secret::parse(value)?;
                granted.extend(
                    Some(secret.src.clone())
                        .filter(|src| !src.is_empty())
                        .map(Entitlement::FsRead),
                );
                target.secrets.push(secret);
            }
        }
        "secret" => secret(each, target, granted)?,
        "ssh" => {
            if !each.append {
                target.ssh.clear();
            }
            target.ssh.extend(
                each.values
                    .iter()
                    .filter(|value| !value.is_empty())
                    .map(|value| Ssh::parse(value)),
            );
            granted.extend(
                target
                    .ssh
                    .iter()
                    .flat_map(|ssh| ssh.paths.clone())
                    .map(Entitlement::FsRead),
            );
        }
        _ => {}
    }
    Ok(())
}

fn secret(each: &Override, target: &mut Target, granted: &mut Vec<Entitlement>) -> Outcome<()> {
    let next = Secret::parse(each.values.last().map_or("", String::as_str))?;
    if !next.id.is_empty() && next.id != each.name {
        return Err(Fault::new(format!(
            "`id={}` for the secret `{}`",
            next.id, each.name
        )));
    }
    let Some(secret) = target
        .secrets
        .iter_mut()
        .find(|secret| secret.id == each.name)
    else {
        return Err(Fault::new(format!(
            "the target declares no secret `{}`",
            each.name
        )));
    };
    granted.extend(
        Some(next.src.clone())
            .filter(|src| !src.is_empty())
            .map(Entitlement::FsRead),
    );
    (secret.src, secret.env) = (next.src, next.env);
    Ok(())
}

fn image(pairs: &[(&str, &str)], kind: &str) -> Entry {
    let attributes = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Entry {
        kind: kind.to_owned(),
        attributes,
    }
}

fn push(outputs: &mut Vec<Entry>, wanted: bool) {
    for output in outputs.iter_mut().filter(|output| output.kind == "image") {
        output
            .attributes
            .insert("push".to_owned(), wanted.to_string());
    }
    if !wanted {
        let mut at = 0;
        while at < outputs.len() {
            if outputs[at].kind == "registry" {
                outputs.swap_remove(at);
            } else {
                at += 1;
            }
        }
    } else if outputs.iter().all(|output| output.kind == "docker") {
        outputs.push(image(&[("push", "true")], "image"));
    }
}

fn load(outputs: &mut Vec<Entry>) {
    let elsewhere = |output: &Entry| match output.kind.as_str() {
        "docker" => !output.attributes.contains_key("dest"),
        "image" | "registry" | "oci" => false,
        _ => true,
    };
    if !outputs.iter().any(elsewhere) {
        outputs.push(image(&[], "docker"));
    }
}
