//! What several compose files say of one project.

use super::yaml::{Mark, Yaml, YamlKind};
use crate::source::{Fault, Outcome};

/// Keys whose maps are lists of `key=value`, which are joined.
const PAIRS: [&str; 6] = [
    "args",
    "additional_contexts",
    "extra_hosts",
    "labels",
    "environment",
    "env_file",
];

/// `later` on top of `base`.
pub(crate) fn merge(base: Yaml, later: Yaml, key: &str) -> Outcome<Yaml> {
    if later.mark == Mark::Override {
        return Ok(Yaml {
            mark: Mark::Merge,
            ..later
        });
    }
    if later.is_null() {
        return Ok(base);
    }
    if PAIRS.contains(&key) {
        let mut items = sequence(&base);
        items.extend(sequence(&later));
        return Ok(Yaml {
            kind: YamlKind::List(items),
            ..later
        });
    }
    let (base, later) = if key == "build" {
        (mapping(base), mapping(later))
    } else {
        (base, later)
    };
    let (span, place) = (later.span, later.key);
    match (base.kind, later.kind) {
        (YamlKind::Map(mut entries), YamlKind::Map(more)) => {
            for (name, value) in more {
                let found = entries.iter().position(|(known, _)| *known == name);
                match found {
                    Some(at) if value.mark == Mark::Reset => drop(entries.remove(at)),
                    Some(at) => {
                        let old = std::mem::replace(&mut entries[at].1, value.clone());
                        entries[at].1 = merge(old, value, &name)?;
                    }
                    None if value.mark == Mark::Reset => {}
                    None => entries.push((name, value)),
                }
            }
            Ok(Yaml {
                kind: YamlKind::Map(entries),
                span,
                key: place,
                mark: Mark::Merge,
            })
        }
        (YamlKind::List(mut items), YamlKind::List(more)) => {
            items.extend(more);
            Ok(Yaml {
                kind: YamlKind::List(items),
                span,
                key: place,
                mark: Mark::Merge,
            })
        }
        (YamlKind::Map(_) | YamlKind::List(_), _) if key != "ulimits" => Err(Fault::at(
            span,
            format!("`{key}` has another form in an earlier file"),
        )),
        (_, kind) => Ok(Yaml {
            kind,
            span,
            key: place,
            mark: Mark::Merge,
        }),
    }
}

/// What is marked to be removed, removed.
pub(crate) fn without_resets(value: &mut Yaml) {
    match &mut value.kind {
        YamlKind::Map(entries) => {
            entries.retain(|(_, value)| value.mark != Mark::Reset);
            for (_, value) in entries {
                without_resets(value);
            }
        }
        YamlKind::List(items) => {
            items.retain(|value| value.mark != Mark::Reset);
            items.iter_mut().for_each(without_resets);
        }
        YamlKind::Null | YamlKind::Text(_) => {}
    }
}

/// `build: dir` is `build: {context: dir}`.
fn mapping(value: Yaml) -> Yaml {
    match &value.kind {
        YamlKind::Text(text) => {
            let entries = vec![("context".to_owned(), value.with_text(text.clone()))];
            Yaml {
                kind: YamlKind::Map(entries),
                span: value.span,
                key: value.key,
                mark: Mark::Merge,
            }
        }
        _ => value,
    }
}

fn sequence(value: &Yaml) -> Vec<Yaml> {
    match &value.kind {
        YamlKind::List(items) => items.clone(),
        YamlKind::Text(_) => vec![value.clone()],
        YamlKind::Null => Vec::new(),
        YamlKind::Map(entries) => entries
            .iter()
            .flat_map(|(key, value)| match &value.kind {
                YamlKind::List(items) => items
                    .iter()
                    .map(|item| {
                        value.with_text(format!("{key}={}", item.text().unwrap_or_default()))
                    })
                    .collect(),
                YamlKind::Text(text) => vec![value.with_text(format!("{key}={text}"))],
                _ => vec![value.with_text(key.clone())],
            })
            .collect(),
    }
}
