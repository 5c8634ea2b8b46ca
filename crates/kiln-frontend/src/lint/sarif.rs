//! What was found, as a SARIF 2.1.0 log: the format that code scanning services read.

use std::fmt::Write as _;

use kiln_dockerfile::{Diagnostic, LintRule, Span};
use serde_json::{Value, json};

use super::ReportSource;
use crate::location::LineIndex;

/// The log with one run. Columns count characters from 1, and a region's end is the place after it.
pub(super) fn log(source: ReportSource<'_>, diagnostics: &[Diagnostic]) -> String {
    let index = LineIndex::new(source.text);
    let rules: Vec<Value> = LintRule::ALL.into_iter().map(rule).collect();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|found| result(source, &index, found))
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kiln",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "artifacts": [{
                "location": { "uri": uri(source.file) },
                "sourceLanguage": "dockerfile",
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}")
}

fn rule(rule: LintRule) -> Value {
    let text = rule.description().replace('`', "");
    json!({
        "id": rule.name(),
        "name": rule.name(),
        "shortDescription": { "text": text, "markdown": rule.description() },
        "help": { "text": format!("{text}. See {}.", rule.url()) },
        "defaultConfiguration": { "enabled": !rule.is_experimental(), "level": "warning" },
    })
}

fn result(source: ReportSource<'_>, index: &LineIndex, found: &Diagnostic) -> Value {
    let text = match &found.hint {
        Some(hint) => format!("{}: {hint}", found.message),
        None => found.message.clone(),
    };
    let mut result = json!({
        "level": if found.is_error() { "error" } else { "warning" },
        "message": { "text": text },
        "locations": [{ "physicalLocation": place(source, index, found.span) }],
    });
    if let Some(rule) = found.rule
        && let Some(index) = LintRule::ALL.iter().position(|known| *known == rule)
        && let Some(result) = result.as_object_mut()
    {
        result.insert("ruleId".to_owned(), json!(rule.name()));
        result.insert("ruleIndex".to_owned(), json!(index));
    }
    result
}

/// The file, and the region unless the span is that of the whole file.
fn place(source: ReportSource<'_>, index: &LineIndex, span: Span) -> Value {
    let artifact = json!({ "uri": uri(source.file), "index": 0 });
    if span == Span::default() {
        return json!({ "artifactLocation": artifact });
    }
    json!({ "artifactLocation": artifact, "region": region(source.text, index, span) })
}

fn region(text: &str, index: &LineIndex, span: Span) -> Value {
    let (start_line, start_column) = line_and_column(text, index, span.start);
    let (end_line, end_column) = line_and_column(text, index, span.end.max(span.start));
    json!({
        "startLine": start_line,
        "startColumn": start_column,
        "endLine": end_line,
        "endColumn": end_column,
    })
}

/// Line and column of a byte, from 1.
fn line_and_column(text: &str, index: &LineIndex, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let line = index.line(offset);
    let column = text[index.start(line)..offset].chars().count() + 1;
    (line, column)
}

/// A path as a relative reference: everything but what RFC 3986 leaves alone is escaped.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
