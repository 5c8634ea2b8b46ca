//! Flags (`--name`, `--name=value`) by the rules of BuildKit.

use super::Reader;
use crate::{Spanned, Text, suggest};

/// How a flag is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name`, `--name=true` or `--name=false`; once.
    Bool,
    /// `--name=value`; once.
    Value,
    /// `--name=value`, any number of times.
    Repeated,
}

/// The flags of one instruction, each known and well formed.
pub(super) struct Flags(Vec<Flag>);

struct Flag {
    name: &'static str,
    value: Text,
}

impl Flags {
    /// Checks `written` against the flags an instruction has, and keeps those that are right.
    pub(super) fn check(
        written: Vec<Text>,
        known: &[(&'static str, Kind)],
        reader: &mut Reader<'_>,
    ) -> Self {
        let mut flags: Vec<Flag> = Vec::new();
        for Text { value: word, span } in written {
            let body = &word[2..];
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some(&(name, kind)) = known.iter().find(|(known, _)| *known == name) else {
                let hint = suggest::did_you_mean(name, known.iter().map(|(known, _)| *known));
                let hint = hint.map(|known| format!("did you mean `--{known}`?"));
                reader.error_with(span, format!("unknown flag `--{name}`"), hint);
                continue;
            };
            if kind != Kind::Repeated && flags.iter().any(|flag| flag.name == name) {
                reader.error(span, format!("duplicate flag `--{name}`"));
                continue;
            }
            match check_value(kind, value) {
                Ok(value) => flags.push(Flag {
                    name,
                    value: Text::new(value, span),
                }),
                Err(Problem::Missing) => reader.error_with(
                    span,
                    format!("missing a value on flag `--{name}`"),
                    Some(format!("write `--{name}=…`")),
                ),
                Err(Problem::NotBool) => {
                    let value = value.unwrap_or_default();
                    let message = format!("`{value}` is not a boolean value for flag `--{name}`");
                    reader.error(span, message);
                }
            }
        }
        Self(flags)
    }

    /// The value of a flag that can be given once.
    pub(super) fn value(&self, name: &str) -> Option<Text> {
        self.values(name).into_iter().next()
    }

    /// The values of a flag that can be repeated.
    pub(super) fn values(&self, name: &str) -> Vec<Text> {
        let named = self.0.iter().filter(|flag| flag.name == name);
        named.map(|flag| flag.value.clone()).collect()
    }

    /// A boolean flag; `None` where it isn't there.
    pub(super) fn bool(&self, name: &str) -> Option<Spanned<bool>> {
        let flag = self.0.iter().find(|flag| flag.name == name)?;
        Some(Spanned::new(flag.value.value == "true", flag.value.span))
    }

    /// Whether a boolean flag is there and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.bool(name).is_some_and(|flag| flag.value)
    }
}

enum Problem {
    Missing,
    NotBool,
}

fn check_value(kind: Kind, value: Option<&str>) -> Result<String, Problem> {
    match (kind, value) {
        (Kind::Bool, None) => Ok("true".to_owned()),
        (Kind::Bool, Some("")) | (Kind::Value | Kind::Repeated, None) => Err(Problem::Missing),
        (Kind::Bool, Some(value)) => match value.to_ascii_lowercase().as_str() {
            value @ ("true" | "false") => Ok(value.to_owned()),
            _ => Err(Problem::NotBool),
        },
        (Kind::Value | Kind::Repeated, Some(value)) => Ok(value.to_owned()),
    }
}
