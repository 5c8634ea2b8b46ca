//! JSON of values: the functions `jsonencode` and `jsondecode`, and variables given as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Value;
use crate::source::Outcome;
use crate::syntax::cursor::Origin;
use crate::syntax::json::{Json, JsonKind, parse};

/// Compact JSON.
pub(crate) fn encode(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => quote(out, text),
        Value::List(_, items) | Value::Set(_, items) | Value::Tuple(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(_, entries) | Value::Object(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quote(out, key);
                out.push(':');
                write(out, value);
            }
            out.push('}');
        }
    }
}

/// A JSON string as Go's encoder writes it: safe within HTML.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for ch in text.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                write!(out, "\\u{:04x}", u32::from(ch)).unwrap_or_default();
            }
            _ => out.push(ch),
        }
    }
    out.push('"');
}

/// The value that a JSON text stands for.
pub(crate) fn decode(text: &str) -> Outcome<Value> {
    let json =
        parse(text, Origin::Within(crate::source::Span::default())).map_err(|mut fault| {
            fault.span = None;
            fault
        })?;
    Ok(value(json))
}

fn value(json: Json) -> Value {
    match json.kind {
        JsonKind::Null => Value::null(),
        JsonKind::Bool(value) => Value::Bool(value),
        JsonKind::Number(number) => Value::Number(number),
        JsonKind::String(text, _) => Value::text(&text),
        JsonKind::List(items) => Value::tuple(items.into_iter().map(value).collect()),
        JsonKind::Object(members) => {
            let entries: BTreeMap<_, _> = members
                .into_iter()
                .map(|member| (member.name, value(member.value)))
                .collect();
            Value::object(entries)
        }
    }
}
