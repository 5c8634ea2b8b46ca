//! Base64, JSON, CSV and URLs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Args, Function, entry, text};
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value, json};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("base64encode", "s", |args| {
        text::text(STANDARD.encode(args.text(0)))
    }),
    entry("base64decode", "s", |args| {
        match STANDARD.decode(args.text(0)) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(decoded) => text::text(decoded),
                Err(_) => Err(Fault::new("the decoded bytes are no UTF-8 text")),
            },
            Err(_) => Err(Fault::new("this is no base64")),
        }
    }),
    entry("jsonencode", "A", |args| {
        text::text(json::encode(args.value(0)))
    }),
    entry("jsondecode", "s", |args| json::decode(args.text(0))),
    entry("csvdecode", "s", csv_decode),
    entry("urlencode", "s", |args| {
        let mut out = String::new();
        for &byte in args.text(0).as_bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    out.push(char::from(byte));
                }
                b' ' => out.push('+'),
                _ => write!(out, "%{byte:02X}").unwrap_or_default(),
            }
        }
        text::text(out)
    }),
];

fn csv_decode(args: &Args<'_>) -> Outcome<Value> {
    let mut records = records(args.text(0))?.into_iter();
    let header = records
        .next()
        .ok_or_else(|| Fault::new("there is no line of column names"))?;
    let columns: BTreeMap<&str, usize> = header
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at))
        .collect();
    if columns.len() != header.len() {
        return Err(Fault::new("two columns have the same name"));
    }
    let mut rows = Vec::new();
    for record in records {
        args.charge(record.len())?;
        if record.len() != header.len() {
            return Err(Fault::new(format!(
                "row {} has {} fields, not {}",
                rows.len() + 2,
                record.len(),
                header.len()
            )));
        }
        let row = columns
            .iter()
            .map(|(name, &at)| ((*name).to_owned(), Value::text(&record[at])));
        rows.push(Value::object(row.collect()));
    }
    let element = Type::Object(
        columns
            .keys()
            .map(|name| ((*name).to_owned(), (Type::String, false)))
            .collect(),
    );
    Ok(Value::list(element, rows))
}

/// Lines and fields of a CSV text, as RFC 4180 has them; empty lines are skipped.
fn records(text: &str) -> Outcome<Vec<Vec<String>>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if record.is_empty() && rest.starts_with(['\n', '\r']) {
            rest = rest.trim_start_matches(['\n', '\r']);
            continue;
        }
        let (field, after) = crate::csv::field(rest).ok_or_else(|| {
            Fault::new(format!(
                "a quoted field of line {} is not closed or goes on after the quote",
                records.len() + 1
            ))
        })?;
        record.push(field);
        let Some(more) = after.strip_prefix(',') else {
            records.push(std::mem::take(&mut record));
            rest = after
                .strip_prefix("\r\n")
                .or_else(|| after.strip_prefix('\n'))
                .unwrap_or(after);
            continue;
        };
        rest = more;
        if rest.is_empty() || rest.starts_with('\n') {
            record.push(String::new());
            records.push(std::mem::take(&mut record));
        }
    }
    if !record.is_empty() {
        records.push(record);
    }
    Ok(records)
}
