//! Regular expressions, in the syntax that RE2 and Rust share.

use regex::{Captures, Regex, RegexBuilder};

use super::{Args, Function, entry, text};
use crate::eval::MAX_TEXT;
use crate::source::{Fault, Outcome};
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    entry("regex", "ss", |args| {
        let pattern = compile(args)?;
        match pattern.captures(args.text(1)) {
            Some(captures) => result(&pattern, &captures),
            None => Err(Fault::new("the pattern matches no part of the text")),
        }
    }),
    entry("regexall", "ss", regex_all),
    entry("regex_replace", "sss", |args| {
        let pattern = RegexBuilder::new(args.text(1));
        let pattern = build(pattern)?;
        args.charge(args.text(0).len())?;
        replace(&pattern, args.text(0), args.text(2))
    }),
];

/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1 << 20;

fn build(mut builder: RegexBuilder) -> Outcome<Regex> {
    builder.size_limit(MAX_PATTERN).build().map_err(|error| {
        // The last line says what is wrong; those before show the pattern.
        let text = error.to_string();
        Fault::new(format!(
            "invalid pattern: {}",
            text.lines()
                .last()
                .unwrap_or_default()
                .trim()
                .trim_start_matches("error: ")
        ))
    })
}

fn compile(args: &Args<'_>) -> Outcome<Regex> {
    args.charge(args.text(0).len() + args.text(1).len())?;
    build(RegexBuilder::new(args.text(0)))
}

fn regex_all(args: &Args<'_>) -> Outcome<Value> {
    let pattern = compile(args)?;
    let mut results = Vec::new();
    for captures in pattern.captures_iter(args.text(1)) {
        args.charge(1 + captures.len())?;
        results.push(result(&pattern, &captures)?);
    }
    let element = results.first().map_or(Type::Dynamic, Value::ty);
    Ok(Value::list(element, results))
}

/// A text, a tuple or an object, as the pattern has no groups, unnamed groups or named ones.
fn result(pattern: &Regex, captures: &Captures<'_>) -> Outcome<Value> {
    let group = |at: usize| {
        captures.get(at).map_or(Value::Null(Type::String), |group| {
            Value::text(group.as_str())
        })
    };
    let names: Vec<Option<&str>> = pattern.capture_names().skip(1).collect();
    let with_name = names.iter().flatten().count();
    if names.is_empty() {
        Ok(group(0))
    } else if with_name == 0 {
        Ok(Value::tuple((1..=names.len()).map(group).collect()))
    } else if with_name == names.len() {
        let entries = names.iter().flatten().enumerate();
        Ok(Value::object(
            entries
                .map(|(at, name)| ((*name).to_owned(), group(at + 1)))
                .collect(),
        ))
    } else {
        Err(Fault::new("the pattern has both named and unnamed groups"))
    }
}

fn replace(pattern: &Regex, source: &str, replacement: &str) -> Outcome<Value> {
    let mut out = String::new();
    let mut last = 0;
    for captures in pattern.captures_iter(source) {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        out.push_str(&source[last..whole.start()]);
        captures.expand(replacement, &mut out);
        last = whole.end();
        if out.len() > MAX_TEXT {
            return Err(Fault::limit(format!(
                "this text is longer than {MAX_TEXT} bytes"
            )));
        }
    }
    out.push_str(&source[last..]);
    text::text(out)
}
