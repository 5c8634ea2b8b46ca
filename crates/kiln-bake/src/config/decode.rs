//! Values to attributes.

use std::collections::BTreeMap;

use super::schema::Shape;
use crate::entry::{Entry, Noun, Policy, Resources, Secret, Ssh};
use crate::source::{Fault, Outcome};
use crate::target::Target;
use crate::value::{Type, Value, convert};

/// Entries of one attribute.
const MAX_ENTRIES: usize = 1000;

/// The value in the type of its attribute: flags' texts become maps.
pub(super) fn normalize(value: &Value, shape: Shape) -> Outcome<Value> {
    let ty = shape.ty();
    if value.is_null()
        || !matches!(
            shape,
            Shape::Entries(_) | Shape::Secrets | Shape::Ssh | Shape::Policies
        )
    {
        return convert(value, &ty);
    }
    let (Value::List(..) | Value::Tuple(_)) = value else {
        return Err(Fault::new(format!(
            "{ty} required, but this is {}",
            value.ty()
        )));
    };
    let mut items = Vec::new();
    for item in value.items().unwrap_or_default() {
        match item.as_str() {
            Some("") => {}
            Some(text) => items.extend(parse(text, shape)?),
            None if item.is_null() => return Err(Fault::new("an item of the list is null")),
            None => {
                let Type::List(element) = &ty else { continue };
                items.push(convert(item, element)?);
            }
        }
    }
    if items.len() > MAX_ENTRIES {
        return Err(Fault::new(format!("more than {MAX_ENTRIES} entries")));
    }
    convert(&Value::tuple(items), &ty)
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::object(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn parse(text: &str, shape: Shape) -> Outcome<Vec<Value>> {
    Ok(match shape {
        Shape::Secrets => {
            let secret = Secret::parse(text)?;
            let fields = [("id", secret.id), ("src", secret.src), ("env", secret.env)];
            vec![map(fields
                .iter()
                .map(|(key, value)| (*key, Value::text(value)))
                .collect())]
        }
        Shape::Ssh => {
            let ssh = Ssh::parse(text);
            vec![map(vec![
                ("id", Value::text(&ssh.id)),
                ("paths", Value::texts(ssh.paths)),
            ])]
        }
        Shape::Policies => {
            let policy = Policy::parse(text)?;
            let mut pairs = vec![];
            pairs.extend(
                policy
                    .files
                    .first()
                    .map(|file| ("filename", Value::text(file))),
            );
            pairs.extend(policy.reset.then(|| ("reset", Value::text("true"))));
            pairs.extend(policy.disabled.then(|| ("disabled", Value::text("true"))));
            pairs.extend(
                policy
                    .strict
                    .map(|strict| ("strict", Value::text(&strict.to_string()))),
            );
            pairs.extend(
                policy
                    .log_level
                    .map(|level| ("log-level", Value::text(&level))),
            );
            vec![map(pairs)]
        }
        Shape::Entries(noun) => {
            let entries = Entry::parse(text, noun)?;
            let entry = |entry: &Entry| {
                let mut pairs = vec![("type", Value::text(&entry.kind))];
                pairs.extend(
                    entry
                        .attributes
                        .iter()
                        .map(|(key, value)| (key.as_str(), Value::text(value))),
                );
                map(pairs)
            };
            entries.iter().map(entry).collect()
        }
        _ => Vec::new(),
    })
}

/// Texts; null is refused.
pub(super) fn texts(value: &Value) -> Outcome<Vec<String>> {
    let items = value.items().unwrap_or_default().iter();
    items
        .map(|item| {
            item.as_str()
                .map(str::to_owned)
                .ok_or_else(|| Fault::new("an item of the list is null"))
        })
        .collect()
}

/// Texts by key; what is null is left out.
pub(super) fn text_map(value: &Value) -> BTreeMap<String, String> {
    let empty = BTreeMap::new();
    let entries = value.entries().unwrap_or(&empty).iter();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn items<T>(value: &Value, read: impl Fn(&Value) -> Outcome<T>) -> Outcome<Vec<T>> {
    value.items().unwrap_or_default().iter().map(read).collect()
}

fn field(value: &Value, name: &str) -> String {
    value
        .entries()
        .and_then(|entries| entries.get(name)?.as_str())
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn entries(value: &Value, noun: Noun) -> Outcome<Vec<Entry>> {
    items(value, |item| Entry::from_map(text_map(item), noun))
}

pub(super) fn secrets(value: &Value) -> Outcome<Vec<Secret>> {
    items(value, |item| {
        Ok(Secret {
            id: field(item, "id"),
            src: field(item, "src"),
            env: field(item, "env"),
        })
    })
}

pub(super) fn ssh(value: &Value) -> Outcome<Vec<Ssh>> {
    items(value, |item| {
        let paths = item.entries().and_then(|entries| entries.get("paths"));
        Ok(Ssh {
            id: field(item, "id"),
            paths: paths.map_or(Ok(Vec::new()), texts)?,
        })
    })
}

pub(super) fn policies(value: &Value) -> Outcome<Vec<Policy>> {
    items(value, |item| {
        let pairs = text_map(item)
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        Policy::from_pairs(pairs.map(Ok))
    })
}

pub(super) fn resources(value: &Value) -> Outcome<Option<Resources>> {
    let Some(entries) = value.entries() else {
        return Ok(None);
    };
    let mut resources = Resources::default();
    for (key, value) in entries {
        if let Some(text) = convert(value, &Type::String)?.as_str() {
            resources.set(key, text)?;
        }
    }
    Ok(Some(resources))
}

/// Sets an attribute of a target to its value.
pub(super) fn set(target: &mut Target, name: &str, value: &Value) -> Outcome<()> {
    let text = || value.as_str().map(str::to_owned);
    let flag = || Some(matches!(value, Value::Bool(true)));
    match name {
        "annotations" => target.annotations = texts(value)?,
        "args" => target.args = text_map(value),
        "attest" => target.attest = entries(value, Noun::Attestation)?,
        "cache-from" => target.cache_from = entries(value, Noun::Cache)?,
        "cache-to" => target.cache_to = Some(entries(value, Noun::Cache)?),
        "call" => target.call = text(),
        "context" => target.context = text(),
        "contexts" => target.contexts = text_map(value),
        "description" => target.description = text().unwrap_or_default(),
        "dockerfile" => target.dockerfile = text(),
        "dockerfile-inline" => target.dockerfile_inline = text(),
        "entitlements" => target.entitlements = texts(value)?,
        "extra-hosts" => target.extra_hosts = text_map(value),
        "inherits" => target.inherits = texts(value)?,
        "labels" => target.labels = text_map(value),
        "network" => target.network = text(),
        "no-cache" => target.no_cache = flag(),
        "no-cache-filter" => target.no_cache_filter = texts(value)?,
        "output" => target.outputs = Some(entries(value, Noun::Output)?),
        "platforms" => target.platforms = Some(texts(value)?),
        "policy" => target.policy = policies(value)?,
        "pull" => target.pull = flag(),
        "resources" => target.resources = resources(value)?,
        "secret" => target.secrets = secrets(value)?,
        "shm-size" => target.shm_size = text(),
        "ssh" => target.ssh = ssh(value)?,
        "tags" => target.tags = Some(texts(value)?),
        "target" => target.target = text(),
        "ulimits" => target.ulimits = texts(value)?,
        _ => {}
    }
    Ok(())
}
