//! Values of compose files: lists, maps, sizes.

use super::yaml::{Yaml, YamlKind};
use crate::source::{Fault, Outcome};

/// A text.
pub(super) fn text(value: &Yaml, what: &str) -> Outcome<Option<String>> {
    match &value.kind {
        YamlKind::Null => Ok(None),
        YamlKind::Text(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(Fault::at(value.span, format!("`{what}` is a text"))),
    }
}

/// A list of texts; one text is a list of one.
pub(super) fn texts(value: &Yaml, what: &str) -> Outcome<Vec<String>> {
    let one = |item: &Yaml| match item.text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Fault::at(item.span, format!("`{what}` is a list of texts"))),
    };
    match &value.kind {
        YamlKind::Null => Ok(Vec::new()),
        YamlKind::List(items) => items.iter().map(one).collect(),
        _ => Ok(vec![one(value)?]),
    }
}

/// A boolean.
pub(super) fn flag(value: &Yaml, what: &str) -> Outcome<bool> {
    match value.text().map(str::to_lowercase).as_deref() {
        Some("true" | "yes" | "y" | "on" | "1") => Ok(true),
        Some("false" | "no" | "n" | "off" | "0" | "") => Ok(false),
        None if value.is_null() => Ok(false),
        _ => Err(Fault::at(
            value.span,
            format!("`{what}` is `true` or `false`"),
        )),
    }
}

/// Names and values: a map, or a list of `name=value` and names.
pub(super) fn pairs(value: &Yaml, what: &str) -> Outcome<Vec<(String, Option<String>)>> {
    match &value.kind {
        YamlKind::Null => Ok(Vec::new()),
        YamlKind::Map(entries) => entries
            .iter()
            .map(|(key, value)| match &value.kind {
                YamlKind::Null => Ok((key.clone(), None)),
                YamlKind::Text(text) => Ok((key.clone(), Some(text.clone()))),
                _ => Err(Fault::at(
                    value.span,
                    format!("`{key}` of `{what}` is a text"),
                )),
            })
            .collect(),
        _ => {
            let items = texts(value, what)?;
            Ok(items
                .iter()
                .map(|item| match item.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (item.clone(), None),
                })
                .collect())
        }
    }
}

/// Addresses by host: a map to one or several, or a list of `host=address` or `host:address`.
pub(super) fn hosts(value: &Yaml) -> Outcome<Vec<(String, String)>> {
    match &value.kind {
        YamlKind::Map(entries) => {
            let host = |(host, value): &(String, Yaml)| {
                Ok((host.clone(), texts(value, "extra_hosts")?.join(",")))
            };
            entries.iter().map(host).collect()
        }
        _ => texts(value, "extra_hosts")?
            .iter()
            .map(
                |item| match item.split_once('=').or_else(|| item.split_once(':')) {
                    Some((host, address)) => {
                        Ok((host.to_owned(), address.trim_matches(['[', ']']).to_owned()))
                    }
                    None => Err(Fault::at(
                        value.span,
                        format!("`{item}` is not `host=address`"),
                    )),
                },
            )
            .collect(),
    }
}

/// Bytes of `64m`, as it is shown: `64MiB`.
pub(super) fn size(value: &Yaml) -> Outcome<Option<String>> {
    let Some(text) = text(value, "shm_size")? else {
        return Ok(None);
    };
    let fault = || Fault::at(value.span, format!("`{text}` is no size such as `64m`"));
    let lower = text.to_lowercase();
    let end = lower
        .find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))
        .unwrap_or(lower.len());
    let number: f64 = lower[..end].parse().map_err(|_| fault())?;
    let power = match lower[end..].trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(fault()),
    };
    let mut bytes = (number * 1024f64.powi(power)).trunc();
    if bytes <= 0.0 {
        return Ok(None);
    }
    let mut unit = 0;
    while bytes >= 1024.0 && unit < 5 {
        bytes /= 1024.0;
        unit += 1;
    }
    // Four digits are shown.
    let whole = format!("{bytes:.0}").len();
    let mut shown = format!("{bytes:.*}", 4usize.saturating_sub(whole));
    if shown.contains('.') {
        shown = shown.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    Ok(Some(format!(
        "{shown}{}",
        ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]
    )))
}

/// `name=soft:hard`, sorted.
pub(super) fn ulimits(value: &Yaml) -> Outcome<Vec<String>> {
    let mut limits = Vec::new();
    for (name, limit) in value.entries() {
        let number = |limit: Option<&Yaml>| {
            let text = limit
                .and_then(Yaml::text)
                .filter(|text| text.parse::<i64>().is_ok())
                .map(str::to_owned);
            text.ok_or_else(|| {
                Fault::at(
                    value.span,
                    format!("ulimit `{name}` is a number, or has `soft` and `hard`"),
                )
            })
        };
        let (soft, hard) = match &limit.kind {
            YamlKind::Map(_) => (number(limit.get("soft"))?, number(limit.get("hard"))?),
            _ => (number(Some(limit))?, number(Some(limit))?),
        };
        limits.push(format!("{name}={soft}:{hard}"));
    }
    limits.sort();
    Ok(limits)
}
